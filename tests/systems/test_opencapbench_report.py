"""From a take in the world to .trc, .osim, .mot and a page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swap_scenes import HALPE, person
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.mot import read_mot
from vitruvian.formats.trc import Trc, read_trc, write_trc
from vitruvian.systems.biomechanics import opensim_report as room
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES
from vitruvian.systems.biomechanics.opensim_report import markers_report, opensim_report
from vitruvian.systems.biomechanics.trial_checks import MarkerMismatchError, TruncatedTrialError, read_trial
from vitruvian.take import People, Take

DATA = Path(__file__).parents[3] / "shared" / "data"


def world_take(times, space="world"):
    points = person(times) * ([1, 1, 1] if space == "world" else [1, -1, -1])
    n = len(times)
    people = People(np.arange(n), np.ones(n), np.zeros((n, 4)), np.ones(n), np.full((n, 26, 2), np.nan), np.ones((n, 26)), points=points)
    return Take(people, HALPE, times, np.zeros((n, 2)), space=space)


@pytest.mark.shared
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_a_walk_becomes_markers_model_angles_and_a_page(tmp_path):
    pytest.importorskip("opensim")
    take = world_take(np.arange(0.4, 0.55, 1 / 20))
    found = opensim_report(take, tmp_path / "out", stem="walk", model=DATA / "opensim" / "LaiUhlrich2022.osim", cutoff=None, mass=70)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["walk.html", "walk.mot", "walk.osim", "walk.trc"]
    markers, angles = read_trc(found.trc), read_mot(found.mot)
    assert set(markers.names) == set(JOINT_CENTRES.places) and len(angles.times) == len(take.times)
    truth = take.people.points[:, HALPE.index("left_knee")]
    assert np.allclose(markers.points[:, markers.names.index("left_knee")], truth, atol=1e-4)
    assert np.nanmean(found.kinematics.marker_rms) < 0.03
    text = found.html.read_text()
    assert "marker error, root mean square [mm]" in text and "knee angle [deg]" in text and "height guessed" in text
    assert "<script" not in text and any("rough" in note for note in found.notes)


@pytest.mark.shared
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_a_keypoint_that_is_far_off_bends_nothing_and_is_told(tmp_path):
    pytest.importorskip("opensim")
    take = world_take(np.arange(0.4, 0.55, 1 / 20))
    points = take.people.points.copy()
    points[1, HALPE.index("left_wrist")] += [0.0, 0.6, 0.0]
    wrong = replace(take, people=replace(take.people, points=points))
    found = opensim_report(wrong, tmp_path, model=DATA / "opensim" / "LaiUhlrich2022.osim", cutoff=None, mass=70)
    errors = found.kinematics.errors
    assert errors[1, found.kinematics.markers.index("left_wrist")] > 0.12 and np.median(errors) < 0.03
    assert any("hardly counted" in note for note in found.notes) and "markers that count [1]" in found.html.read_text()


@pytest.mark.shared
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_angles_that_the_models_ranges_cut_off_are_told():
    pytest.importorskip("opensim")
    model = opensim_tools.load_model(DATA / "opensim" / "LaiUhlrich2022.osim")
    coordinates = model.getCoordinateSet()
    names = ("hip_rotation_r", "elbow_flex_r", "knee_angle_l", "pelvis_ty")
    most, _, _, up = (coordinates.get(name).getRangeMax() for name in names)
    values = np.zeros((10, 4)) + [0, 0.0, 0.5, up]  # a straight elbow is at rest, and a place is no angle
    values[:3, 0] = most
    found = opensim_tools.Kinematics(np.arange(10) / 10, names, values, np.array([True, True, True, False]), (), np.zeros((10, 0)))
    assert room._at_limits(model, found) == ["hip_rotation_r 30%"]


@pytest.mark.shared
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_markers_of_a_model_of_the_person_are_followed_as_they_are(tmp_path):
    pytest.importorskip("opensim")
    walk = read_trial(DATA / "opensim" / "markers_walk.trc")
    few = Trc(walk.names, walk.times[:40:20], walk.points[:40:20], 5.0)
    model, weights = (DATA / "opensim" / name for name in ("subject_walk_scaled.osim", "ik_tasks_walk.xml"))
    found = markers_report(few, tmp_path, stem="walk", model=model, weights=weights)
    assert np.nanmean(found.kinematics.marker_rms) < 0.02 and len(read_mot(found.mot).times) == 2
    assert any("not scaled" in note for note in found.notes)
    strange = Trc(tuple(f"m{i}" for i in range(len(few.names))), few.times, few.points, 5.0)
    with pytest.raises(MarkerMismatchError, match="rename"):
        markers_report(strange, tmp_path, model=model)


def test_a_file_that_was_cut_short_is_no_shorter_trial(tmp_path):
    trial = Trc(("a", "b"), np.arange(4) / 10, np.random.default_rng(0).normal(size=(4, 2, 3)), 10.0)
    whole = tmp_path / "t.trc"
    write_trc(trial, whole)
    assert np.allclose(read_trial(whole).points, trial.points, atol=1e-6)
    text = whole.read_text()
    lines = text.splitlines(keepends=True)
    for cut, words in (("".join(lines[:-1]), "promises 4 frames and holds 3"), (text[:-12], "middle of frame 4")):
        whole.write_text(cut)
        with pytest.raises(TruncatedTrialError, match=words):
            read_trial(whole)
    whole.write_text("".join(lines[:2]))
    with pytest.raises(FormatError, match="cut short"):
        read_trial(whole)
    write_trc(Trc(("a",), np.zeros(0), np.zeros((0, 1, 3))), whole)
    assert read_trial(whole).points.shape == (0, 1, 3)


def test_takes_without_points_or_people_are_refused(tmp_path):
    with pytest.raises(VitruvianError, match="no points in space"):
        opensim_report(Take(People.empty(26), HALPE, np.zeros(0), np.zeros((0, 2))), tmp_path, model="x.osim")
    with pytest.raises(VitruvianError, match="nobody"):
        people = People(**People.empty(26).columns(), points=np.zeros((0, 26, 3)))
        opensim_report(Take(people, HALPE, np.zeros(0), np.zeros((0, 2)), space="world"), tmp_path, model="x.osim")


def test_points_of_a_camera_are_turned_up(tmp_path):
    names, _, world, _ = room._points(world_take(np.arange(3) / 30), None)
    _, _, camera, notes = room._points(world_take(np.arange(3) / 30, "camera"), None)
    assert np.allclose(world, camera, atol=1e-6) and "left_hip" in names and any("camera" in note for note in notes)
