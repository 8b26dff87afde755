"""`vitruvian opensim`: what is written, and what is said where it can't be."""

from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

from swap_scenes import HALPE, person
from vitruvian.cli.opensim import opensim
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.trc import Trc, write_trc
from vitruvian.systems.biomechanics.trial_checks import TruncatedTrialError
from vitruvian.take import People, Take

MODEL = Path(__file__).parents[3] / "shared" / "data" / "opensim" / "LaiUhlrich2022.osim"
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="needs ../shared/data")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    pytest.importorskip("opensim")
    monkeypatch.chdir(tmp_path)
    app = App(result_action="return_value")
    app.command(opensim)

    def run(*arguments):
        code = app(["opensim", *map(str, arguments)], exit_on_error=False, print_error=False)
        return code, *capsys.readouterr()

    return run


def take(people=1, missing=False):
    times = np.arange(4) / 20 + 0.4
    n = len(times)
    points = np.concatenate([np.zeros((0, 26, 3)), *(person(times) + [0, 0, 2.0 * i] for i in range(people))])
    if missing:
        points[n:] = np.nan
    track = np.repeat(np.arange(people) + 1, n)
    rows = People(
        np.tile(np.arange(n), people), track, np.zeros((n * people, 4)), np.ones(n * people),
        np.full((n * people, 26, 2), np.nan), np.ones((n * people, 26)), points=points,
    )  # fmt: skip
    return Take(rows, HALPE, times, np.zeros((n, 2)), space="world")


@pytest.mark.shared
@needs_model
def test_a_take_becomes_files_for_whom_it_can_and_the_others_are_told(run, tmp_path):
    take(2, missing=True).save(tmp_path / "take.npz")
    code, out, err = run("take.npz", "--model", MODEL, "--mass", 70, "--cutoff", 0)
    assert code == 0 and "error: person 2: only 0 joints" in err and "person 1:" in out
    assert sorted(path.name for path in tmp_path.glob("opensim*")) == [f"opensim_person1.{end}" for end in ("html", "mot", "osim", "trc")]


@pytest.mark.shared
@needs_model
def test_what_is_wrong_is_told_at_once(run, tmp_path):
    write_trc(Trc(("a", "b"), np.arange(3) / 10, np.zeros((3, 2, 3)), 10.0), tmp_path / "m.trc")
    (tmp_path / "m.trc").write_text((tmp_path / "m.trc").read_text()[:-40])
    with pytest.raises(TruncatedTrialError, match="cut short"):
        run("m.trc", "--model", MODEL)
    take(0).save(tmp_path / "nobody.npz")
    with pytest.raises(VitruvianError, match="nobody"):
        run("nobody.npz", "--model", MODEL)
    take().save(tmp_path / "take.npz")
    with pytest.raises(VitruvianError, match="--weights"):
        run("take.npz", "--model", MODEL, "--weights", "w.xml")
    with pytest.raises(VitruvianError, match="two networks"):
        run("take.npz", "--model", MODEL, "--augment", "--augmenters", "one")


@pytest.mark.shared
@needs_model
def test_a_take_of_synthposes_points_is_followed_by_its_anatomical_markers(run, tmp_path):
    """Somebody who stands as the model does: the markers are taken by their names, joints are not, and the angles are small."""
    from vitruvian.formats.mot import read_mot
    from vitruvian.formats.trc import read_trc
    from vitruvian.skeletons import SYNTHPOSE_52
    from vitruvian.systems.biomechanics.marker_sets import SYNTHPOSE
    from vitruvian.systems.biomechanics.opensim_tools import load_model, model_markers

    places = model_markers(load_model(MODEL, SYNTHPOSE))
    body = np.array([places.get(name, (9.0, 9.0, 9.0)) for name in SYNTHPOSE_52.names])  # where the 17 joints are nobody must look
    points = np.repeat(body[None], 3, 0)
    people = People(np.arange(3), np.ones(3), np.zeros((3, 4)), np.ones(3), np.full((3, 52, 2), np.nan), np.ones((3, 52)), points=points)
    Take(people, SYNTHPOSE_52, np.arange(3) / 20, np.zeros((3, 2)), space="world").save(tmp_path / "take.npz")
    code, out, _ = run("take.npz", "--model", MODEL, "--mass", 70, "--height", 1.7, "--cutoff", 0)
    assert code == 0 and "no anatomical markers" not in out and "0 mm apart" in out
    assert set(read_trc(tmp_path / "opensim.trc").names) == set(SYNTHPOSE.places)
    angles = read_mot(tmp_path / "opensim.mot")
    assert np.abs(angles.column("knee_angle_r")).max() < 2 and np.abs(angles.column("hip_rotation_l")).max() < 2


def test_cameras_and_a_network_of_synthposes_points_make_such_a_take(networks, tmp_path):
    import nets
    from two_cameras import write_films
    from vitruvian.capture.cameras import capture_cameras

    folder = write_films(tmp_path)
    films, out, pose = [folder / "left.mp4", folder / "right.mp4"], tmp_path / "out", nets.pose(tmp_path, "synthpose-52")
    capture_cameras(films, folder / "calibration.toml", out, detector=networks["detector"], pose=pose, overlay=False)
    take = Take.load(out / "take.npz")
    assert take.skeleton.name == "synthpose-52" and np.isfinite(take.people.points[:, 17:]).all(-1).mean() > 0.9


def test_a_model_that_is_none_is_told_before_anything_else(run, tmp_path):
    (tmp_path / "m.osim").write_text("<model/>")
    with pytest.raises(FormatError, match="no OpenSim model"):
        run("film.npz", "--model", "m.osim")
