import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.simcc3d import SimCC3D, camera_points, flip_average_3d, weak_perspective

CASE = Path(__file__).with_name("simcc3d_codec.json")
CODEC = SimCC3D((288, 384, 288))
SMALL = SimCC3D((48, 64, 48), root=(0,))


def case():
    """Inputs of the parity case, and the assertion that holds its tolerance."""
    meta = json.loads(CASE.read_text())
    with np.load(CASE.with_suffix(".npz")) as archive:
        arrays = {key: archive[key] for key in archive.files}

    def check(output, found):
        np.testing.assert_allclose(found, arrays[f"output/{output}"], rtol=meta["rtol"], atol=meta["atol"], err_msg=output)

    return {key.removeprefix("input/"): value for key, value in arrays.items() if key.startswith("input/")}, check


def test_decoding_equals_the_release():
    inputs, check = case()
    keypoints, scores = CODEC.decode(inputs["logits_x"], inputs["logits_y"], inputs["logits_z"])
    check("keypoints_crop", keypoints)
    check("keypoints_metric_z", np.concatenate([keypoints[..., :2], CODEC.metres(keypoints[..., 2:])], axis=-1))
    check("scores", scores)


def test_targets_with_depth_equal_the_release():
    inputs, check = case()
    found = CODEC.encode(inputs["keypoints2d"], inputs["keypoints3d"][..., 2], inputs["visible"])
    check("label_z", found.z[..., ::4])
    check("label_weights", found.weights)
    check("weight_z", found.depth_weights)
    check("root_z", found.root_depth)


def test_targets_without_depth_equal_the_release():
    inputs, check = case()
    found = CODEC.encode(inputs["keypoints2d"], None, inputs["visible"])
    check("label_z_2d_only", found.z[..., ::4])
    check("weight_z_2d_only", found.depth_weights)


def test_default_target_widths_are_those_of_rtmw3d():
    assert CODEC.widths == (6.0, 6.93, 6.0)


@settings(max_examples=40)
@given(st.floats(12, 36), st.floats(16, 48), st.floats(-0.9, 0.9), st.floats(2, 20))
def test_decode_finds_place_and_depth_that_encode_drew(x, y, z, distance):
    targets = SMALL.encode(np.float64([[[24, 32], [x, y]]]), np.float64([[distance, distance + z]]), np.ones((1, 2)))
    keypoints, scores = SMALL.decode(targets.x, targets.y, targets.z)
    assert np.abs(keypoints[0, 1, :2] - (x, y)).max() <= 0.2501
    assert abs(SMALL.metres(keypoints[0, 1, 2]) - z) <= SMALL.reach / 24 * 0.2501
    assert scores.tolist() == [[1, 1]] and targets.root_depth == pytest.approx(distance)


def test_rtmlib_takes_the_height_for_the_depth():
    peer = SimCC3D((288, 384, 288), rule="rtmlib")
    right = CODEC.metres(np.float32([0, 100, 288]))
    np.testing.assert_allclose(peer.metres(np.float32([0, 100, 288])), 0.75 * right - 0.25 * 2.1744869, atol=1e-6)


def test_the_mirror_image_turns_x_and_exchanges_partners_but_keeps_depth():
    keypoints = np.float64([[[10, 20], [30, 40]]])
    seen = SMALL.encode(keypoints, np.float64([[3, 3.5]]), np.ones((1, 2)))[:3]
    x, y, z = (array[:, ::-1] for array in seen)
    mean = flip_average_3d(seen, (x[..., ::-1], y, z), (1, 0))
    assert all(np.array_equal(a, b) for a, b in zip(mean, seen, strict=True))


def test_camera_points_project_back_to_the_picture():
    rng = np.random.default_rng(0)
    keypoints, depth = rng.uniform(0, 600, (2, 17, 2)), rng.uniform(-0.5, 0.5, (2, 17))
    points = camera_points(keypoints, depth, np.float64([3, 5]), (1100, 1150), (320, 240))
    np.testing.assert_allclose(points[..., :2] / points[..., 2:] * (1100, 1150) + (320, 240), keypoints, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(points[..., 2] - [[3], [5]], depth, atol=1e-6)


def standing(stature):
    """(17, 3) COCO's body of a person with mean proportions in a pose with depth: one arm forward, one leg back. Metres, camera axes."""
    bones = ((5, 7, 0.186, (0, 1, 0)), (7, 9, 0.146, (0, 0.6, -0.8)), (6, 8, 0.186, (0.6, 0.8, 0)), (8, 10, 0.146, (1, 0, 0)))
    bones += ((11, 13, 0.245, (0, 1, 0)), (13, 15, 0.246, (0, 0.8, 0.6)), (12, 14, 0.245, (0, 1, 0)), (14, 16, 0.246, (0, 1, 0)))
    points = np.zeros((17, 3))
    points[11], points[12] = (0.08, 0, 0), (-0.08, 0, 0)
    points[5], points[6] = (0.08, -0.288, 0), (-0.08, -0.288, 0)
    points[:5] = (0, -0.4, 0)
    for start, end, length, direction in bones:
        points[end] = points[start] + length * np.array(direction)
    return points * stature


@pytest.mark.parametrize("stature", [1.1, 1.7, 1.95])
def test_weak_perspective_gives_metres_for_a_person_of_known_stature(stature):
    points = standing(stature)
    keypoints = points[None, :, :2] * 250 + (400, 300)
    found = weak_perspective(keypoints, points[None, :, 2], np.ones((1, 17)), stature)
    np.testing.assert_allclose(found[0], points, atol=1e-3)


def test_what_was_not_found_has_no_point():
    points = standing(1.7)
    scores = np.ones((3, 17))
    scores[0, 9], scores[1, 5:] = 0, -1  # a hand; all limbs
    scores[2] = 0
    found = weak_perspective(np.repeat(points[None, :, :2] * 250, 3, 0), np.repeat(points[None, :, 2], 3, 0), scores)
    assert np.array_equal(np.isnan(found).all(axis=-1), scores <= 0) and np.array_equal(np.isnan(found).any(axis=-1), scores <= 0)


def test_no_people_give_empty_arrays_in_three_dimensions():
    targets = SMALL.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)), np.zeros((0, 17)))
    keypoints, scores = SMALL.decode(*targets[:3])
    assert (targets.z.shape, targets.root_depth.shape, keypoints.shape, scores.shape) == ((0, 17, 96), (0,), (0, 17, 3), (0, 17))
    assert weak_perspective(keypoints[..., :2], keypoints[..., 2], scores).shape == (0, 17, 3)
    assert camera_points(keypoints[..., :2], keypoints[..., 2], 3.0, (1, 1), (0, 0)).shape == (0, 17, 3)
