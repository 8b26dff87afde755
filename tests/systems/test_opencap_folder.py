"""OpenCap's folder layout, made up: which trials come of it, and the benchmark over them from the command line."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import FormatError
from vitruvian.formats.mot import write_mot
from vitruvian.formats.trc import Trc, write_trc
from vitruvian.geometry.camera import Camera, project
from vitruvian.skeletons import SYNTHPOSE_52
from vitruvian.systems.biomechanics.opencap_folder import Subject, main, read_metadata, trials_of
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, Trial, run_trial
from vitruvian.systems.biomechanics.published_steps import placement_for
from vitruvian.take import People, Take

MODEL = Path(__file__).parents[3] / "shared" / "data" / "opensim" / "LaiUhlrich2022.osim"
METADATA = """\
# made up
checkerBoard:
  black2BlackCornersHeight_n: 4
  placement: {placement}
gender_mf: f
height_m: 1.7
mass_kg: 70.5  # kilograms
openSimModel: 'LaiUhlrich2022'
"""
ANGLES = {"Cam1": -0.6, "Cam3": 0.6}


def camera(angle):
    """4 m from (0, 1, 0), y up in the world."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, 0, -s], [0, -1, 0], [-s, 0, -c]])
    intrinsics = np.array([[900.0, 0, 360], [0, 900, 640], [0, 0, 1]])
    return Camera(intrinsics, turn, turn @ -np.array([4 * s, 1, 4 * c]), np.zeros(5), (720, 1280))


def write_folder(folder, trials, placement="none", subject="subject2"):
    """A subject's folder; trials: session -> names. Truths and models are empty files."""
    place = folder / subject
    for session, names in trials.items():
        for name, angle in ANGLES.items():
            for trial in names:
                (place / "VideoData" / session / name / trial).mkdir(parents=True)
            one = camera(angle)
            values = {"intrinsicMat": one.intrinsics, "distortion": np.zeros((1, 5)), "rotation": one.R_cam_world}
            values |= {"translation": 1000 * one.t_cam_world[:, None], "imageSize": np.array([[1280], [720]])}
            (place / "VideoData" / session / name / "cameraIntrinsicsExtrinsics.pickle").write_bytes(pickle.dumps(values))
    for part in ("IK", "Model"):
        (place / "OpenSimData" / "Mocap" / part).mkdir(parents=True)
    for name in ("plain_scaled.osim", "plain_scaled_adjusted.osim"):
        (place / "OpenSimData" / "Mocap" / "Model" / name).touch()
    for trial in {trial for names in trials.values() for trial in names} - {"extrinsics"}:
        (place / "OpenSimData" / "Mocap" / "IK" / f"{trial}.mot").touch()
    (place / "sessionMetadata.yaml").write_text(METADATA.format(placement=placement))
    return place


@pytest.fixture
def data(tmp_path):
    trials = {"Session0": ("static1", "squats1", "extrinsics"), "Session1": ("walking1",)}
    write_folder(tmp_path / "data", trials, "backWall", "subject10")
    write_folder(tmp_path / "data", trials, "ground", "subject2")
    return tmp_path / "data"


def test_trials_are_those_with_films_and_a_truth(data, tmp_path):
    trials = trials_of(data, tmp_path / "keypoints")
    assert [trial.name for trial in trials] == [
        f"{subject}/{rest}" for subject in ("subject2", "subject10") for rest in ("Session0/squats1", "Session1/walking1")
    ]
    assert [trial.placement for trial in trials] == ["ground", "ground", "backWall", "backWall_walking"]
    one = trials[0]
    assert (one.mass, one.height, one.model.name, one.static) == (70.5, 1.7, "plain_scaled_adjusted.osim", None)
    assert one.views == tuple(tmp_path / "keypoints/subject2/Session0" / name / "squats1" for name in ANGLES)
    assert all(path.is_file() for path in (one.truth, *one.cameras))


def test_a_generic_model_is_scaled_by_the_static_trials_films(data, tmp_path):
    walking = trials_of(data, tmp_path, model="generic.osim")[1]
    assert walking.model == walking.static.model == Path("generic.osim")
    assert walking.static.name == "subject2/Session0/static1" and "Session0" in str(walking.static.cameras[0])


def test_keypoints_are_takes_or_openpose_folders(data, tmp_path):
    place = tmp_path / "k/subject2/Session0"
    (place / "Cam1/squats1").mkdir(parents=True)
    (place / "Cam1/squats1/take.npz").touch()
    (place / "Cam3").mkdir()
    (place / "Cam3/squats1.npz").touch()
    assert trials_of(data, tmp_path / "k")[0].views == (place / "Cam1/squats1/take.npz", place / "Cam3/squats1.npz")


def test_without_keypoints_the_laboratorys_markers_are_followed(data):
    with pytest.raises(FormatError, match="task file"):
        trials_of(data)
    one = trials_of(data, weights="tasks.xml")[0]
    assert one.markers == data / "subject2/MarkerData/Mocap/squats1.trc" and one.weights == Path("tasks.xml") and one.views == ()


def test_other_folders_are_told_what_is_missing(data, tmp_path, capsys):
    with pytest.raises(FormatError, match="no subject folders"):
        trials_of(tmp_path / "nowhere", tmp_path)
    with pytest.raises(FormatError, match="no trial with films of Cam9"):
        trials_of(data, tmp_path, cameras=("Cam9",))
    shutil.rmtree(data / "subject2/OpenSimData/Mocap/Model")
    with pytest.raises(FormatError, match=r"Model/\*\.osim"):
        trials_of(data, tmp_path)
    assert main([str(tmp_path / "nowhere"), str(tmp_path)]) == 2 and "no subject folders" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "mass_kg: 70", "mass_kg: heavy\nheight_m: 1.7", "mass_kg: 0\nheight_m: 1.7", "mass_kg:\nheight_m: 1.7"]
)
def test_metadata_without_a_person_are_refused(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(FormatError, match="m.yaml"):
        read_metadata(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").write_text("mass_kg: 70\nheight_m: 1.8\n")
    assert read_metadata(tmp_path / "m.yaml") == Subject(70.0, 1.8, "none")


def test_a_board_on_the_back_wall_may_be_upside_down():
    upright = Camera(np.diag([900.0, 900.0, 1.0]))
    assert placement_for("backWall", upright) == "backWall" and placement_for("ground", camera(0.0)) == "ground"
    assert placement_for("backWall", camera(0.0)) == "backWall_upsideDown"


@pytest.mark.shared
@pytest.mark.skipif(not MODEL.exists(), reason="needs ../shared/data")
def test_the_command_prints_errors_per_degree_of_freedom_and_the_mode(tmp_path, capsys):
    """Somebody who stands as the model does in all films; one film has no keypoints, and that trial alone fails."""
    pytest.importorskip("opensim")
    from vitruvian.systems.biomechanics.marker_sets import SYNTHPOSE
    from vitruvian.systems.biomechanics.opensim_tools import load_model, model_markers

    places = model_markers(load_model(MODEL, SYNTHPOSE))
    body = np.array([places.get(name, (np.nan,) * 3) for name in SYNTHPOSE_52.names])
    folder = write_folder(tmp_path / "data", {"Session0": ("static1", "squats1"), "Session1": ("walking1",)})
    write_trc(Trc(tuple(places), np.arange(5) / 100, np.repeat(np.array([*places.values()])[None], 5, 0), 100.0), tmp_path / "t.trc")
    truth = run_trial(Trial("t", MODEL, tmp_path / "t.trc"), VARIANTS["corrected"]).angles
    for trial in ("squats1", "walking1"):
        write_mot(truth, folder / "OpenSimData/Mocap/IK" / f"{trial}.mot")
    for name, angle in ANGLES.items():
        pixels = np.repeat(project(camera(angle), body)[None], 5, 0)
        people = People(np.arange(5), np.ones(5), np.ones((5, 4)), np.ones(5), pixels, 0.9 * np.isfinite(pixels).all(-1))
        for trial in ("static1", "squats1"):
            path = tmp_path / "k/subject2/Session0" / name / f"{trial}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            Take(people, SYNTHPOSE_52, np.arange(5) / 60, np.tile((720, 1280), (5, 1))).save(path)
    asked = [tmp_path / "data", tmp_path / "k", "--model", MODEL, "--workers", 1, "--out", tmp_path / "found.json"]
    assert main([str(word) for word in asked]) == 1
    printed, told = capsys.readouterr()
    assert printed.startswith("mode: corrected; 1 of 2 trials") and "walking1" in told and "check the path" in told
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["mode"] == "corrected" and [bool(trial["error"]) for trial in found["trials"]] == [False, True]
    errors = {name: values["no_shift"] for name, values in found["rmse_deg"].items()}
    assert len(errors) == 12 and max(errors[name] for name in ("pelvis_tilt", "lumbar_extension", "hip_flexion", "knee_angle")) < 1.0
    assert max(errors.values()) < 8.0  # foot and turn of the thigh hang on where the marker placer puts the markers
    assert all(f"{name} " in printed for name in errors) and "mean" in printed


@pytest.mark.shared
@pytest.mark.skipif(not MODEL.exists(), reason="needs ../shared/data")
def test_a_scaled_model_keeps_its_own_markers(tmp_path):
    """One of them lies 5 cm from where the set has it; a model without them gets the set's."""
    pytest.importorskip("opensim")
    from vitruvian.systems.biomechanics.marker_sets import SYNTHPOSE
    from vitruvian.systems.biomechanics.opensim_tools import load_model, model_markers, place_markers, save_model

    model = load_model(MODEL, SYNTHPOSE)
    body, (x, y, z) = SYNTHPOSE.places["sternum"]
    place_markers(model, {**SYNTHPOSE.places, "sternum": (body, (x + 0.05, y, z))})
    model.initSystem()
    save_model(model, tmp_path / "adjusted.osim")
    places = model_markers(model)
    write_trc(Trc(tuple(places), np.arange(2) / 100, np.repeat(np.array([*places.values()])[None], 2, 0), 100.0), tmp_path / "t.trc")
    assert run_trial(Trial("own", tmp_path / "adjusted.osim", tmp_path / "t.trc")).marker_rms < 1e-3
    assert run_trial(Trial("set", MODEL, tmp_path / "t.trc")).marker_rms > 3e-3
