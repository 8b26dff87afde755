import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.crop import BoxTransform, crop_people
from vitruvian.codecs.normalise import normalise
from vitruvian.codecs.simcc import SimCC, flip_average

CASES = Path(__file__).parents[1] / "parity" / "cases" / "dwpose"


def load_case(name):
    """Inputs, outputs, and the assertion that holds the case's tolerance."""
    meta = json.loads((CASES / f"{name}.json").read_text())
    with np.load(CASES / f"{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}

    def check(output, found):
        np.testing.assert_allclose(found, arrays[f"output/{output}"], rtol=meta["rtol"], atol=meta["atol"], err_msg=output)

    return {key.removeprefix("input/"): value for key, value in arrays.items() if key.startswith("input/")}, check


def test_targets_equal_the_published_ones():
    inputs, check = load_case("simcc_codec")
    x, y, weights = SimCC((192, 256)).encode(inputs["keypoints"], inputs["visible"])
    check("label_x", x[..., ::4])
    check("label_y", y[..., ::4])
    check("label_weights", weights)


def test_decoding_equals_mmpose():
    inputs, check = load_case("simcc_codec")
    codec = SimCC((192, 256))
    keypoints, scores = codec.decode(inputs["logits_x"], inputs["logits_y"])
    check("mm_keypoints", keypoints)
    check("mm_scores", scores)
    check("mm_visibility", codec.visibility(inputs["logits_x"], inputs["logits_y"]))
    place = BoxTransform(np.float32([[301.5, 222.25]] * 2), np.float32([[240, 320]] * 2), codec.size)
    check("mm_keypoints_image", place.to_image(keypoints))


def test_decoding_equals_rtmlib():
    inputs, check = load_case("simcc_codec")
    keypoints, scores = SimCC((192, 256), rule="rtmlib").decode(inputs["logits_x"], inputs["logits_y"])
    check("rtmlib_keypoints", keypoints)
    check("rtmlib_scores", scores)


def test_dark_refinement_equals_mmpose():
    inputs, check = load_case("simcc_codec")
    x, y = inputs["logits_x"].copy(), inputs["logits_y"].copy()
    for logits in (x, y):  # the case was computed on logits changed in this way
        logits[1, 5:7] = logits[1, 0:2]
    check("dark_keypoints", SimCC((192, 256), dark=True).decode(x, y)[0])


def test_flip_average_equals_mmpose():
    inputs, check = load_case("simcc_codec")
    x, y = inputs["logits_x"], inputs["logits_y"]
    mean_x, mean_y = flip_average(x, y, x, y, range(x.shape[1])[::-1])
    check("flip_avg_x", mean_x[..., ::4])
    check("flip_avg_y", mean_y[..., ::4])


def test_crop_equals_mmpose():
    inputs, check = load_case("topdown_crop")
    place = BoxTransform.from_boxes(inputs["boxes"], (192, 256))
    crops, matrices = crop_people(inputs["image"], inputs["boxes"], (192, 256))
    check("center", place.centers)
    check("scale", place.scales)
    check("matrix", matrices)
    check("crop", normalise(crops)[:, :, ::8, ::8])


@pytest.mark.parametrize("size, expected", [((192, 256), (4.9, 5.66)), ((288, 384), (6.0, 6.93))])
def test_default_target_widths_are_the_published_ones(size, expected):
    assert SimCC(size).widths == expected


@pytest.mark.parametrize("dark, tolerance", [(False, 0.25), (True, 0.02)])
def test_decode_finds_what_encode_drew(dark, tolerance):
    codec = SimCC((96, 128), dark=dark)
    keypoints = np.random.default_rng(0).uniform(20, 76, (3, 5, 2)).astype(np.float32)
    # Targets at whole bins, so that a refinement has the exact answer.
    keypoints = np.round(keypoints * 2) / 2 if dark else keypoints
    x, y, weights = codec.encode(keypoints, np.ones((3, 5), np.float32))
    found, scores = codec.decode(x, y)
    assert np.abs(found - keypoints).max() <= tolerance
    np.testing.assert_allclose(scores, 1, atol=1e-6)
    assert (weights == 1).all()


@settings(max_examples=40)
@given(st.tuples(st.floats(-5, 100), st.floats(-5, 130)))
def test_what_is_drawn_is_found_within_a_quarter_of_a_pixel_of_the_crop(place):
    codec = SimCC((96, 128))
    x, y, weights = codec.encode(np.float64([[place]]), np.ones((1, 1)))
    found, scores = codec.decode(x, y)
    inside = np.clip(place, 0, (95.5, 127.5))  # the outermost bins
    if weights.item():
        assert np.abs(found[0, 0] - inside).max() <= 0.2501 and scores.item() > 0
    else:
        assert found.tolist() == [[[-0.5, -0.5]]] and scores.item() == 0


def test_keypoints_far_outside_or_unlabelled_are_not_drawn():
    codec = SimCC((96, 128))
    keypoints = np.float32([[[48, 64], [-50, 64], [48, 200], [48, 64]]])
    x, y, weights = codec.encode(keypoints, np.float32([[1, 1, 1, 0]]))
    assert weights.tolist() == [[1, 0, 0, 0]]
    assert x[0].any(axis=1).tolist() == y[0].any(axis=1).tolist() == [True, False, False, False]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_keypoint_without_score_lies_at_minus_half_a_pixel(value):
    keypoints, _ = SimCC((96, 128)).decode(np.full((1, 1, 192), value, np.float32), np.ones((1, 1, 256), np.float32))
    assert keypoints.tolist() == [[[-0.5, -0.5]]]


@pytest.mark.parametrize("dark", [False, True])
def test_no_people_give_empty_arrays(dark):
    codec = SimCC((96, 128), dark=dark)
    x, y, weights = codec.encode(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32))
    keypoints, scores = codec.decode(x, y)
    assert (
        x.shape == (0, 17, 192) and y.shape == (0, 17, 256) and weights.shape == scores.shape == (0, 17) and keypoints.shape == (0, 17, 2)
    )
    assert codec.visibility(x, y).shape == (0, 17)
