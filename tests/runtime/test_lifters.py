"""Published lifters (HopFIR, FinePOSE), exported: lifted as torch does, put where they are seen, and a capture with each of them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nets
from lifted_walker import CAMERA, FOV, FRAMES, SIZE, TIMES, export_lifters, seen, walker
from scenes import walk
from vitruvian.capture.bodies import add_bodies
from vitruvian.codecs.lifting import joints_of_coco, normalise_keypoints, normalised_camera, solve_roots
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133, H36M_17
from vitruvian.take import People, Take
from vitruvian.weights import Card

KINDS = ["hopfir", "finepose"]
LIMBS = [COCO_WHOLEBODY_133.index(f"{s}_{j}") for s in ("left", "right") for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")]
OTHERS = [k for k in range(133) if k not in LIMBS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Paths of the ONNX files, and the same networks in torch."""
    return export_lifters(tmp_path_factory.mktemp("lifters"))


@pytest.fixture(scope="module")
def lifters(exported):
    return {name: Lifter(path, device="cpu", threads=1) for name, path in exported[0].items()}


def lifted(lifter, rows=slice(None), confidence=1.0):
    keypoints = seen(walker())[rows]
    return lifter(keypoints, np.broadcast_to(confidence, keypoints.shape[:2]).astype(np.float32), TIMES[rows], CAMERA, SIZE)


def poses_of_torch(model, inputs):
    """What the system's own file makes of normalised joints."""
    import torch

    from vitruvian.systems.pose3d import finepose, hopfir

    if isinstance(model, hopfir.HopFIR):
        return hopfir.lift(model, torch.from_numpy(inputs), model.graph).numpy()
    return finepose.lift(model, inputs).mean(0)


@pytest.mark.parametrize("name", KINDS)
def test_a_walker_is_lifted_as_in_torch_and_put_where_the_camera_sees_it(exported, lifters, name):
    joints, _ = joints_of_coco(seen(walker())[:, :17], np.ones((FRAMES, 17)))
    inputs = normalise_keypoints(joints, SIZE)
    poses = poses_of_torch(exported[1][name], inputs)
    camera = normalised_camera(np.array([CAMERA[0, 0], CAMERA[1, 1], *CAMERA[:2, 2]]), SIZE)
    expected = poses + solve_roots(poses, inputs, camera)[:, None]
    found = lifted(lifters[name])
    names = [COCO_WHOLEBODY_133.names[k].replace("ankle", "foot") for k in LIMBS]
    np.testing.assert_allclose(found.points[:, LIMBS], expected[:, [H36M_17.index(n) for n in names]], atol=2e-3)
    assert np.isnan(found.points[:, OTHERS]).all() and found.body is None and found.known.all()
    pixels = (seen(found.points) - seen(walker()))[:, LIMBS].mean(1)
    assert np.abs(pixels).max() < 25  # of a person 580 pixels tall


def test_frames_in_which_nothing_was_seen_are_unknown_and_the_others_as_before(lifters):
    confidence = np.ones((FRAMES, 1))
    confidence[5:7] = 0
    for name in KINDS:
        found = lifted(lifters[name], confidence=confidence)
        assert np.flatnonzero(~found.known).tolist() == [5, 6] and np.isnan(found.points[5:7]).all()
        whole = lifted(lifters[name])
        np.testing.assert_allclose(found.points[10:, LIMBS], whole.points[10:, LIMBS], atol=0.05)


def test_clips_are_seen_at_the_rate_that_networks_were_trained_at(lifters):
    half = lifted(lifters["finepose"], slice(None, None, 2))
    whole = lifted(lifters["finepose"])
    assert np.linalg.norm(half.points - whole.points[::2], axis=-1)[:, LIMBS].mean() < 0.02


def test_a_text_changes_what_is_lifted_and_unknown_ones_are_refused(exported, lifters):
    def told(text):
        return lifted(Lifter(exported[0]["finepose"], text=text, device="cpu", threads=1)).points[:, LIMBS]

    walking = told("walking ")
    np.testing.assert_array_equal(walking, told("Walking"))
    nothing = lifted(lifters["finepose"]).points[:, LIMBS]
    np.testing.assert_array_equal(told(""), nothing)
    assert np.abs(walking - nothing).max() > 1e-4
    with pytest.raises(VitruvianError, match="Directions, Discussion"):
        told("Juggling")
    with pytest.raises(VitruvianError, match="leave the text"):
        Lifter(exported[0]["hopfir"], text="Walking")


def test_nobody_one_frame_and_senseless_input(lifters):
    for lifter in lifters.values():
        assert lifted(lifter, slice(0)).points.shape == (0, 133, 3)
        assert np.isfinite(lifted(lifter, slice(1)).points[:, LIMBS]).all()
        nothing = lifter(np.full((3, 133, 2), np.nan), np.zeros((3, 133)), TIMES[:3], CAMERA, SIZE)
        assert not nothing.known.any() and np.isnan(nothing.points).all()
        with pytest.raises(VitruvianError, match="fit together"):
            lifter(np.zeros((3, 17, 2)), np.ones((3, 17)), TIMES[:3], CAMERA, SIZE)
        with pytest.raises(VitruvianError, match="increase"):
            lifter(np.zeros((3, 133, 2)), np.ones((3, 133)), TIMES[[0, 2, 1]], CAMERA, SIZE)


def test_networks_that_are_no_such_lifters_are_refused(exported, lifters):
    card = Card.load(exported[0]["hopfir"].with_suffix(".json"))
    with pytest.raises(WeightsError, match="ntu-25"):
        Lifter(replace(card, skeleton="ntu-25"))
    with pytest.raises(WeightsError, match="export it again"):
        Lifter(replace(card, codec="lift-diffusion", diffusion_times=100), device="cpu")
    with pytest.raises(WeightsError, match="export it again"):
        Lifter(replace(card, codec=""), device="cpu")
    with pytest.raises(WeightsError, match="does not lift"):
        Lifter("person-parts-s")


@pytest.mark.parametrize("name", KINDS)
def test_bodies_are_fitted_without_a_body_from_the_network(lifters, name):
    truth, keypoints = walker(), seen(walker())
    confidence = np.ones((FRAMES, 133))
    confidence[12] = 0
    boxes = np.concatenate([keypoints.min(1), keypoints.max(1)], 1)
    people = People(np.arange(FRAMES), np.ones(FRAMES), boxes, np.ones(FRAMES), keypoints, confidence)
    take = add_bodies(Take(people, COCO_WHOLEBODY_133, TIMES, np.tile(SIZE, (FRAMES, 1))), lifters[name], FOV)
    assert take.space == "camera" and take.body == "compact" and name in take.cards
    there = np.arange(FRAMES) != 12
    assert np.isnan(take.people.points[12]).all()
    found = take.people.points[there]
    assert np.isfinite(found).all() and np.isfinite(take.people.body_pose[there]).all()
    pixels = np.linalg.norm(seen(found) - keypoints[there], axis=-1)[:, :17]
    assert np.median(pixels) < 8  # of a person 300 pixels tall
    if name == "hopfir":  # FinePOSE's few steps of training teach it little
        relative = [points - points[:, 11:13].mean(1, keepdims=True) for points in (found, truth[there])]
        assert np.linalg.norm(relative[0] - relative[1], axis=-1)[:, :17].mean() < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_a_capture_with_the_network_writes_points_and_needs_no_torch(exported, name, tmp_path, monkeypatch):
    place = seen(walker(times=TIMES[:1]))[0]
    place = 0.5 + 0.9 * (place - (place.min(0) + place.max(0)) / 2) / np.ptp(place, axis=0).max() * (4 / 3, 1)
    monkeypatch.setattr(nets, "pose_places", lambda count: place)  # somebody stands in every box
    networks = ["--detector", str(nets.detector(tmp_path)), "--pose", str(nets.pose(tmp_path)), "--lift", str(exported[0][name])]
    networks += ["--text", "walking"] if name == "finepose" else []
    arguments = ["capture", str(walk(tmp_path / "walk.mp4", np.arange(5) / 30)), "-o", str(tmp_path / "out"), *networks]
    code = f"import sys; from vitruvian.cli import main; print(main({arguments!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["0", "False"], done.stderr
    take = Take.load(tmp_path / "out" / "take.npz")
    assert name in take.cards and take.space == "camera"
    assert take.people.points.shape == (10, 133, 3) and np.isfinite(take.people.points).all()
    assert {"bodies.glb", "markers_person1.trc"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_films_at_other_rates_move_as_smoothly_as_the_network_s_own():
    """A film of 24 frames per second says, at its own times, what one of 30 says there: not what that one says up to 17 ms off."""
    own = Lifter("lift-s", device="cpu", threads=1)

    def limbs_at(rate):
        times = np.arange(0, 1.5, 1 / rate)
        return times, own(seen(walker(times=times)), np.ones((len(times), 133), np.float32), times, CAMERA, SIZE).points[:, LIMBS]

    (times, found), (clock, expected) = limbs_at(24.0), limbs_at(30.0)
    between = np.stack([np.interp(times, clock, values) for values in expected.reshape(len(clock), -1).T], 1).reshape(found.shape)
    away = np.linalg.norm(found - between, axis=-1)[4:-4]
    assert np.median(away) < 0.004
    bends = [np.linalg.norm(np.diff(points, 2, axis=0), axis=-1)[4:-4].mean() for points in (found, between)]
    assert bends[0] < 1.3 * bends[1]
