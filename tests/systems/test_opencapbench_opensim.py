"""OpenSim in this process: a small model made here, whose angles are known; and the real material where it is at hand."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import FormatError, MissingExtraError, VitruvianError
from vitruvian.formats.mot import Mot, write_mot
from vitruvian.formats.trc import Trc, read_trc, write_trc
from vitruvian.skeletons import SYNTHPOSE_52
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.isolated import run_isolated
from vitruvian.systems.biomechanics.marker_sets import (
    AUGMENTED_NAMES,
    JOINT_CENTRES,
    SYNTHPOSE,
    MarkerSet,
    Measurement,
    reduced,
)
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, Trial, marker_set_of, run_benchmark, run_trial
from vitruvian.systems.biomechanics.trial_checks import (
    AxesError,
    MarkerGapError,
    MarkerMismatchError,
    UnitsError,
    check_gaps,
    check_names,
    check_space,
    stretches,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "opensim"
shared = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")

# A trunk with five markers, and a leg that hangs from it by a pin about z (to the right) with three.
PLACES = {
    "r_hip": ("trunk", (0.0, 0.0, 0.15)),
    "l_hip": ("trunk", (0.0, 0.0, -0.15)),
    "head": ("trunk", (0.05, 0.8, 0.0)),
    "r_shoulder": ("trunk", (0.0, 0.5, 0.2)),
    "l_shoulder": ("trunk", (0.0, 0.5, -0.2)),
    "knee": ("leg", (0.03, -0.4, 0.02)),
    "ankle": ("leg", (0.0, -0.8, 0.0)),
    "toe": ("leg", (0.2, -0.85, 0.03)),
}
MARKERS = MarkerSet(
    "toy",
    PLACES,
    dict.fromkeys(PLACES, 1.0),
    (
        Measurement("trunk", (("r_shoulder", "r_hip"), ("l_shoulder", "l_hip")), ("trunk",), "XY"),
        Measurement("width", (("r_hip", "l_hip"),), ("trunk",), "Z"),
        Measurement("leg", (("knee", "ankle"),), ("leg",)),
    ),
)
STANDING = {name: np.array(place) + [0, 1.0, 0] for name, (_, place) in PLACES.items()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Path of the small model."""
    osim = pytest.importorskip("opensim")
    opensim_tools.opensim()
    model = osim.Model()
    model.setName("toy")
    bodies = [osim.Body(name, 10.0, osim.Vec3(0), osim.Inertia(1, 1, 1)) for name in ("trunk", "leg")]
    free = osim.FreeJoint("root", model.getGround(), bodies[0])
    pin = osim.PinJoint("hip", bodies[0], bodies[1])
    pin.updCoordinate().setName("swing")
    free.upd_coordinates(4).set_default_value(1.0)
    for part in bodies:
        model.addBody(part)
    for joint in (free, pin):
        model.addJoint(joint)
    model.finalizeConnections()
    path = tmp_path_factory.mktemp("toy") / "toy.osim"
    opensim_tools.save_model(model, path)
    return path


def swung(angles):
    """Markers of the toy with its leg turned by angles (radians)."""
    out = []
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        out.append([np.array(p) @ (turn.T if body == "leg" else np.eye(3)) + [0.2, 1.0, 0] for body, p in PLACES.values()])
    return Trc(tuple(PLACES), np.arange(len(angles)) / 100, np.array(out).reshape(-1, len(PLACES), 3), 100.0)


def test_known_angles_are_recovered_with_small_residuals(toy):
    angles = np.linspace(-0.5, 0.9, 12)
    found = opensim_tools.inverse_kinematics(opensim_tools.load_model(toy, MARKERS), swung(angles), MARKERS.weights)
    assert np.allclose(found.values[:, found.names.index("swing")], angles, atol=2e-3)
    assert found.method == "opensim", "a free joint's speeds are not its coordinates' rates"
    assert found.marker_rms.max() < 2e-3 and found.errors.shape == (12, 8) and not found.gaps
    assert np.allclose(found.mot().column("swing"), np.degrees(angles), atol=0.1) and found.size == pytest.approx(1, abs=0.05)


def test_a_missing_marker_does_not_pull_and_is_reported(toy):
    trial = swung(np.linspace(0, 0.5, 8))
    trial.points[3:6, trial.names.index("toe")] = np.nan
    trial.points[6] = np.nan
    found = opensim_tools.inverse_kinematics(opensim_tools.load_model(toy, MARKERS), trial, MARKERS.weights)
    assert np.allclose(found.values[3:6, found.names.index("swing")], np.linspace(0, 0.5, 8)[3:6], atol=2e-3)
    assert np.isnan(found.values[6]).all() and np.isnan(found.errors[4, found.markers.index("toe")])
    assert {gap.marker for gap in found.gaps} == set(PLACES)


def test_no_frames_are_a_table_without_rows(toy):
    found = opensim_tools.inverse_kinematics(opensim_tools.load_model(toy, MARKERS), swung([]), MARKERS.weights)
    assert found.values.shape == (0, 7) and found.mot().values.shape == (0, 7)


def test_scaling_recovers_known_factors_and_mass(toy):
    osim = pytest.importorskip("opensim")
    model = opensim_tools.load_model(toy, MARKERS)
    trial = swung([0.0] * 4)
    hips = np.array([0.2, 1.0, 0])
    leg = [trial.names.index(name) for name in ("knee", "ankle", "toe")]
    trial.points[:, leg] = hips + 1.2 * (trial.points[:, leg] - hips)
    factors = opensim_tools.scale_factors(model, trial, MARKERS.measurements)
    assert np.allclose(factors["leg"], 1.2) and np.allclose(factors["trunk"], 1)
    scaled = opensim_tools.scale_model(model, trial, MARKERS, mass=64.0, place=False)
    assert scaled.getTotalMass(scaled.initSystem()) == pytest.approx(64)
    ankle = opensim_tools.model_markers(scaled)["ankle"]
    assert ankle[1] == pytest.approx(1 - 1.2 * 0.8) and isinstance(model, osim.Model)
    assert opensim_tools.model_markers(model)["ankle"][1] == pytest.approx(0.2), "the given model stays as it was"


def test_models_round_trip_and_no_log_is_left(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opensim_tools.save_model(opensim_tools.load_model(toy, MARKERS), tmp_path / "again.osim")
    assert set(opensim_tools.model_markers(opensim_tools.load_model(tmp_path / "again.osim"))) == set(PLACES)
    assert [path.name for path in tmp_path.iterdir()] == ["again.osim"]


@pytest.mark.parametrize("text", ["", "no xml", '<?xml version="1.0"?><OpenSimDocument Version="40000"><Model', "<html/>"])
def test_files_that_are_no_models_are_refused(toy, tmp_path, text):
    (tmp_path / "x.osim").write_text(text)
    with pytest.raises(VitruvianError):
        opensim_tools.load_model(tmp_path / "x.osim")
    with pytest.raises(FormatError, match="can't read"):
        opensim_tools.load_model(tmp_path / "none.osim")


def test_markers_on_bodies_that_the_model_lacks_are_named(toy):
    with pytest.raises(MarkerMismatchError, match="femur_r"):
        opensim_tools.load_model(toy, SYNTHPOSE)


def test_without_opensim_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensim", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[biomech\]"):
        opensim_tools.opensim()


# What can be wrong with a trial needs no OpenSim.


def test_names_that_differ_are_told():
    trial = swung([0.0])
    weights = dict.fromkeys(PLACES, 1.0)
    assert check_names(trial, PLACES, weights) == tuple(PLACES)
    with pytest.raises(MarkerMismatchError, match="trial has no sternum"):
        check_names(trial, {**PLACES, "sternum": 0}, {**weights, "sternum": 2.0})
    with pytest.raises(MarkerMismatchError, match="model has no toe"):
        check_names(trial, PLACES.keys() - {"toe"}, weights)
    assert "toe" not in check_names(trial, PLACES.keys() - {"toe"}, weights, missing="ignore")
    with pytest.raises(MarkerMismatchError):
        check_names(trial, (), weights, missing="ignore")


def test_a_long_gap_of_everything_is_an_error_with_its_time():
    trial = swung(np.zeros(200))
    trial.points[50:90] = np.nan
    assert len(check_gaps(trial, trial.names, 0.5)) == 8
    trial.points[50:150] = np.nan
    with pytest.raises(MarkerGapError, match="0.500 s to 1.490 s"):
        check_gaps(trial, trial.names, 0.5)


@pytest.mark.parametrize("factor, unit", [(1000, "millimetres"), (100, "centimetres"), (7, "7|11|12")])
def test_other_units_are_told(factor, unit):
    trial = swung(np.zeros(3))
    with pytest.raises(UnitsError, match=unit):
        check_space(Trc(trial.names, trial.times, trial.points * factor), STANDING)


def test_other_axes_are_told():
    trial = swung(np.zeros(3))
    z_up = Trc(trial.names, trial.times, np.stack([trial.points[..., 0], -trial.points[..., 2], trial.points[..., 1]], -1))
    with pytest.raises(AxesError, match="up is z"):
        check_space(z_up, STANDING)
    assert check_space(z_up, STANDING, upright=False) == pytest.approx(1)
    with pytest.raises(AxesError, match="mirror"):
        check_space(Trc(trial.names, trial.times, trial.points * [-1, 1, 1]), STANDING)


def test_too_few_markers_say_nothing_about_space():
    assert check_space(Trc(("toe",), np.zeros(1), np.full((1, 1, 3), 1e6)), STANDING) == 1.0


def test_stretches():
    assert stretches(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 1), (3, 3), (6, 6)]
    assert stretches(np.zeros(0, bool)) == []


def test_task_files_are_read_and_hostile_ones_refused(tmp_path):
    body = '<O><IKMarkerTask name="a"><apply>{}</apply><weight> 5 </weight></IKMarkerTask></O>'
    (tmp_path / "t.xml").write_text(body.format("true"))
    assert opensim_tools.read_weights(tmp_path / "t.xml") == {"a": 5.0}
    (tmp_path / "t.xml").write_text(body.format("false"))
    assert opensim_tools.read_weights(tmp_path / "t.xml") == {"a": 0.0}
    for text in (
        "",
        "<O/>",
        "<O>",
        '<!DOCTYPE x [<!ENTITY a "b">]><O>&a;</O>',
        body.format("true").replace("5", "-5"),
        body.replace("5", "x"),
    ):
        (tmp_path / "t.xml").write_text(text)
        with pytest.raises(FormatError):
            opensim_tools.read_weights(tmp_path / "t.xml")


# Marker sets


def test_marker_sets_are_whole():
    for markers in (SYNTHPOSE, JOINT_CENTRES):
        used = {name for measurement in markers.measurements for pair in measurement.pairs for name in pair}
        assert set(markers.weights) | used | set(markers.placement) <= set(markers.places)
    assert len(SYNTHPOSE.places) == 33 and set(SYNTHPOSE.places) <= set(SYNTHPOSE_52.names)
    assert set(AUGMENTED_NAMES.values()) <= set(SYNTHPOSE.places)


def test_mirrored_markers_sit_on_the_other_side():
    (body, (x, y, z)), (other, (u, v, w)) = SYNTHPOSE.places["r_toe"], SYNTHPOSE.places["l_toe"]
    assert (body, other) == ("calcn_r", "calcn_l") and (x, y, z) == (u, v, -w)


def test_a_reduced_set_keeps_measurements_that_have_a_pair():
    some = reduced(JOINT_CENTRES, [name for name in JOINT_CENTRES.places if "toe" not in name and "heel" not in name])
    assert "foot" not in {measurement.name for measurement in some.measurements} and len(some.places) == 14
    assert marker_set_of(SYNTHPOSE_52.names) is SYNTHPOSE and marker_set_of(("left_hip", "neck")) is JOINT_CENTRES


# Processes


def job(number, hang=30.0):
    """Fails, crashes or hangs where its number says so; else doubles it."""
    if number == 1:
        raise VitruvianError("corrupt; get it again")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        time.sleep(hang)
    return 2 * number


def test_jobs_that_fail_crash_or_hang_are_reported_and_the_others_finish():
    found = {outcome.index: outcome for outcome in run_isolated(job, range(6), workers=2, timeout=1.0)}
    assert len(found) == 6 and [found[i].result for i in (0, 4, 5)] == [0, 8, 10]
    assert "corrupt" in found[1].error and "process died" in found[2].error and "longer than" in found[3].error


def test_no_jobs_and_no_workers():
    assert list(run_isolated(partial(job), [])) == []
    with pytest.raises(VitruvianError):
        list(run_isolated(job, [0], workers=0))


# The real material


@pytest.fixture(scope="module")
def real_walk():
    """The scaled model of the real walk, its tasks' weights, and four frames of the walk with the markers that have a task."""
    pytest.importorskip("opensim")
    walk, weights = read_trc(DATA / "markers_walk.trc"), opensim_tools.read_weights(DATA / "ik_tasks_walk.xml")
    model = opensim_tools.load_model(DATA / "subject_walk_scaled.osim")
    return model, weights, Trc(walk.names, walk.times[100:104], walk.points[100:104], walk.rate)


def solved(real_walk, change=lambda points: points, **options):
    model, weights, trial = real_walk
    trial = Trc(trial.names, trial.times, change(trial.points), trial.rate)
    return opensim_tools.inverse_kinematics(model, trial, weights, missing="ignore", **options)


def cost(found, weights):
    return (found.errors**2 @ np.array([weights[name] for name in found.markers])).sum()


@pytest.mark.shared
@shared
def test_our_solver_goes_on_where_opensims_stops(real_walk):
    ours, theirs = solved(real_walk), solved(real_walk, method="opensim")
    assert (ours.method, theirs.method) == ("converged", "opensim")
    assert cost(ours, real_walk[1]) < cost(theirs, real_walk[1])
    legs = [ours.names.index(name) for name in ("hip_flexion_r", "knee_angle_r", "ankle_angle_l", "pelvis_tilt")]
    assert np.allclose(ours.values[:, legs], theirs.values[:, legs], atol=np.radians(2))
    beta, knee = (ours.names.index(name) for name in ("knee_angle_r_beta", "knee_angle_r"))
    assert np.allclose(ours.values[:, beta], ours.values[:, knee], atol=1e-6), "the kneecap follows the knee"


@pytest.mark.shared
@shared
def test_our_solver_does_not_depend_on_rounding_or_on_which_way_the_person_looks(real_walk):
    plain = solved(real_walk)
    rounded = solved(real_walk, lambda points: np.round(points, 5))
    assert np.abs(plain.values - rounded.values)[:, plain.is_angle].max() < np.radians(0.2)
    turned = solved(real_walk, lambda points: points * [-1, 1, -1])
    inner = [i for i, name in enumerate(plain.names) if not name.startswith("pelvis") and plain.is_angle[i]]
    assert np.abs(plain.values - turned.values)[:, inner].max() < np.radians(0.05)


@pytest.mark.shared
@shared
def test_the_pelvis_is_turned_as_little_as_can_be_and_through_half_a_turn_without_a_stop(real_walk):
    """This model's pelvis has three ranges of a whole turn: 180 degrees about each are the same pose, and their ends are no limits."""
    walk = read_trc(DATA / "markers_walk.trc")
    model, weights, trial = real_walk
    start = Trc(trial.names, walk.times[:4], walk.points[:4], walk.rate)
    plain = solved((model, weights, start), robust=0.06)
    pelvis = [plain.names.index(f"pelvis_{name}") for name in ("tilt", "list", "rotation")]
    assert np.abs(plain.values[:, pelvis]).max() < np.radians(15)
    turns = np.radians([178.0, 179.0, 180.0, 181.0]) - plain.values[:, pelvis[2]]
    around = np.stack([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in turns])
    turned = solved((model, weights, Trc(start.names, start.times, start.points @ around.swapaxes(1, 2), start.rate)), robust=0.06)
    inner = [i for i, name in enumerate(plain.names) if not name.startswith("pelvis") and plain.is_angle[i]]
    assert np.abs(plain.values - turned.values)[:, inner].max() < np.radians(0.5)
    assert np.degrees(np.ptp(turned.values[:, pelvis[2]])) == pytest.approx(3, abs=0.1)


@pytest.mark.shared
@shared
def test_coordinates_stay_in_their_ranges(real_walk):
    model = real_walk[0]
    found = solved(real_walk, lambda points: points * [1.0, 1.06, 1.0])
    for name, values in zip(found.names, found.values.T, strict=True):
        coordinate = model.getCoordinateSet().get(name)
        assert values.min() >= coordinate.getRangeMin() - 1e-9 and values.max() <= coordinate.getRangeMax() + 1e-9, name


@pytest.mark.shared
@shared
def test_scaling_is_the_scale_tools(tmp_path):
    """Our scaling of the generic model by a static trial puts every marker where OpenSim's own tool, run on the published set-up, does."""
    osim = pytest.importorskip("opensim")
    generic = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", SYNTHPOSE)
    places = opensim_tools.model_markers(generic)
    noise = np.random.default_rng(0).normal(0, 0.008, (len(places), 3))
    points = np.stack(list(places.values())) * [1.05, 1.08, 1.02] + noise
    static = Trc(tuple(places), np.arange(5) / 100, np.repeat(points[None], 5, 0), 100.0)
    mine = opensim_tools.model_markers(opensim_tools.scale_model(generic, static, SYNTHPOSE, 75.0))
    for name, write in (("generic.osim", partial(opensim_tools.save_model, generic)), ("static.trc", partial(write_trc, static))):
        write(tmp_path / name)
    tool = osim.ScaleTool(str(DATA / "Setup_scaling_RajagopalModified2016_withArms_KA_mmpose_final.xml"))
    tool.setPathToSubject("")  # else it puts the set-up file's folder before absolute paths too
    tool.setSubjectMass(75.0)
    tool.getGenericModelMaker().setModelFileName(str(tmp_path / "generic.osim"))
    times = osim.ArrayDouble()
    for moment in (0.0, 0.04):
        times.append(moment)
    scaler, placer = tool.getModelScaler(), tool.getMarkerPlacer()
    scaler.setMarkerFileName(str(tmp_path / "static.trc"))
    placer.setStaticPoseFileName(str(tmp_path / "static.trc"))
    placer.setOutputMotionFileName(str(tmp_path / "static.mot"))
    tasks = placer.getIKTaskSet()
    for task in (tasks.get(i) for i in range(tasks.getSize())):
        task.setApply(task.getApply() and not task.getName().startswith("knee_adduction"))
    scaler.setOutputScaleFileName(str(tmp_path / "factors.xml"))
    for part in (scaler, placer):
        part.setTimeRange(times)
        part.setOutputModelFileName(str(tmp_path / "scaled.osim"))
    assert tool.run()
    theirs = opensim_tools.model_markers(opensim_tools.load_model(tmp_path / "scaled.osim"))
    assert max(np.abs(mine[name] - theirs[name]).max() for name in mine) < 1e-5


ALIASES = {
    f"{side.upper()}.{theirs}": f"{side}{ours}"
    for side in "rl"
    for theirs, ours in (
        *(("Shoulder", "shoulder"), ("Elbow", "_lelbow"), ("Wrist", "_lwrist"), ("ASIS", "_ASIS"), ("PSIS", "_PSIS")),
        *(("Knee", "_knee"), ("Ankle", "_ankle"), ("Heel", "_calc"), ("MT5", "_5meta")),
    )
}
PUBLISHED = {  # degrees, root mean square over 8 frames, of ours against the published coordinates: bounds a bit over what was measured
    "pelvis_tilt": 9,
    "pelvis_list": 4,
    "pelvis_rotation": 5,
    "hip_flexion_r": 11,
    "hip_adduction_r": 5,
    "knee_angle_r": 6,
    "knee_angle_l": 7,
    "lumbar_extension": 12,
    "lumbar_bending": 5,
    "lumbar_rotation": 5,
}


@pytest.mark.shared
@shared
def test_a_real_walk_scaled_and_solved_is_near_the_published_coordinates():
    """18 of the trial's markers by SynthPose's names, the generic model scaled by the motion itself; see benchmarks/opensim_trials.py."""
    from vitruvian.formats.mot import read_mot

    pytest.importorskip("opensim")
    walk = read_trc(DATA / "markers_walk.trc")
    kept = [name for name in walk.names if name in ALIASES]
    points = walk.points[:, [walk.names.index(name) for name in kept]]
    trial = Trc(tuple(ALIASES[name] for name in kept), walk.times, points, 100.0)
    markers = reduced(SYNTHPOSE, trial.names)
    generic = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", markers)
    scaled = opensim_tools.scale_model(generic, trial, markers, 75.0, average="median", place=False)
    some = slice(50, 178, 16)
    found = opensim_tools.inverse_kinematics(scaled, Trc(trial.names, trial.times[some], points[some], 6.25), markers.weights)
    assert np.sqrt(np.nanmean(found.errors**2)) < 0.022
    published = read_mot(DATA / "coordinates.sto")
    for name, bound in PUBLISHED.items():
        label = next(label for label in published.labels if label.split("/")[-2] == name)
        truth = np.degrees(np.interp(found.times, published.times, published.column(label)))
        assert np.sqrt(np.mean((found.mot().column(name) - truth) ** 2)) < bound, name


@pytest.mark.shared
@shared
def test_a_benchmark_names_its_mode_and_reports_a_corrupt_trial(tmp_path):
    pytest.importorskip("opensim")
    generic = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", SYNTHPOSE)
    places = opensim_tools.model_markers(generic)
    trial = Trc(tuple(places), np.arange(3) / 100, np.repeat(np.stack(list(places.values()))[None], 3, 0), 100.0)
    write_trc(trial, tmp_path / "good.trc")
    (tmp_path / "bad.trc").write_text("no trial")
    (tmp_path / "cut.trc").write_text("".join((tmp_path / "good.trc").read_text().splitlines(keepends=True)[:6]))
    truth = run_trial(Trial("good", DATA / "LaiUhlrich2022.osim", tmp_path / "good.trc"), VARIANTS["published"])
    assert truth.mode == "published" and truth.marker_rms < 0.01
    write_mot(truth.angles, tmp_path / "truth.mot")
    trials = [
        Trial(name, DATA / "LaiUhlrich2022.osim", tmp_path / f"{name}.trc", truth=tmp_path / "truth.mot") for name in ("good", "bad", "cut")
    ]
    found = run_benchmark(trials, VARIANTS["corrected"], workers=2, timeout=120.0)
    assert found.mode == "corrected" and found.errors.mode == "corrected" and found.errors.trials == 1
    assert [result.name for result in found.failed] == ["bad", "cut"]
    assert "TRC" in found.failed[0].error and "promises 3 frames and holds 0" in found.failed[1].error
    assert np.nanmax(found.errors.rmse_no_shift) < 0.01


@pytest.mark.shared
@shared
@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_takes_and_calibration_become_angles(mode, tmp_path):
    """Somebody who stands as the model does, seen by three cameras: the scaled model's angles are small."""
    pytest.importorskip("opensim")
    from vitruvian.formats.calibration import write_calibration
    from vitruvian.geometry.camera import Camera, project
    from vitruvian.skeletons import HALPE_26
    from vitruvian.take import People, Take

    places = opensim_tools.model_markers(opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", JOINT_CENTRES))
    body = np.full((26, 3), np.nan)
    for i, name in enumerate(HALPE_26.names):
        body[i] = places.get({"hip": "mid_hip"}.get(name, name), np.nan)
    cameras = []
    for angle in (-0.6, 0.3, 1.0):  # 4 m from (0, 1, 0), y up in the world
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, 0, -s], [0, -1, 0], [-s, 0, -c]])
        intrinsics = [[900.0, 0, 360], [0, 900, 640], [0, 0, 1]]
        cameras.append(Camera(intrinsics, turn, turn @ -np.array([4 * s, 1, 4 * c]), np.zeros(5), (720, 1280), f"cam{len(cameras)}"))
    write_calibration(cameras, tmp_path / "rig.toml")
    for one in cameras:
        pixels = np.repeat(project(one, body)[None], 5, 0)
        seen = np.isfinite(pixels).all(-1)
        people = People(np.arange(5), np.ones(5), np.tile([0, 0, 500, 900], (5, 1)), np.ones(5), pixels, seen * 0.9)
        Take(people, HALPE_26, np.arange(5) / 60, np.tile((720, 1280), (5, 1))).save(tmp_path / f"{one.name}.npz")
    views = tuple(tmp_path / f"{one.name}.npz" for one in cameras)
    static = Trc(tuple(places), np.zeros(1), np.stack(list(places.values()))[None], 100.0)
    write_trc(static, tmp_path / "static.trc")
    trial = Trial("stand", DATA / "LaiUhlrich2022.osim", None, views, (tmp_path / "rig.toml",), static=tmp_path / "static.trc")
    found = run_trial(trial, VARIANTS[mode])
    assert found.mode == found.markers.mode == mode and found.marker_rms < 0.01
    assert np.abs(found.angles.column("knee_angle_r")).max() < 5


def test_nothing_to_run():
    found = run_benchmark([])
    assert found.trials == () and found.errors is None and isinstance(Mot((), np.zeros(0), np.zeros((0, 0))), Mot)
