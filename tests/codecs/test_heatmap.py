import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.crop import BoxTransform
from vitruvian.codecs.heatmap import Heatmap, blur, flip_average_maps

SIZE, CELLS = (96, 128), (24, 32)
RULES = ("argmax", "quarter", "dark", "udp")
inner = st.tuples(st.floats(30, 66), st.floats(30, 98))  # farther from the border than the blur reaches


def gaussians(cells, size=CELLS, sigma=2.0):
    """(1, k, h, w) exact Gaussians around `cells` (k, 2)."""
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    cells = np.asarray(cells, float)[:, :, None, None]
    return np.exp(-((x - cells[:, 0]) ** 2 + (y - cells[:, 1]) ** 2) / (2 * sigma**2))[None].astype(np.float32)


@pytest.mark.parametrize("rule, error", [("argmax", 0.5001), ("quarter", 0.2501), ("dark", 0.0125), ("udp", 0.0125)])
@settings(max_examples=40)
@given(cell=st.tuples(st.floats(7, 16), st.floats(7, 24)))
def test_a_bump_between_cells_is_found(rule, error, cell):
    """Errors in cells of 4 pixels: dark and udp find it within 0.05 of a pixel."""
    codec = Heatmap(SIZE, CELLS, rule)
    keypoints, scores = codec.decode(gaussians([cell]))
    assert np.abs(keypoints[0, 0] / codec.stride - cell).max() <= error
    assert scores[0, 0] == gaussians([cell]).max()


@pytest.mark.parametrize("rule, error", [("argmax", 2.01), ("quarter", 3.01), ("dark", 0.05), ("udp", 0.05)])
@settings(max_examples=40)
@given(place=inner)
def test_decode_finds_what_encode_drew(rule, error, place):
    """quarter: its targets stand at whole cells, between two equal neighbours, so that a rounded quarter may add to half a cell."""
    codec = Heatmap(SIZE, CELLS, rule)
    maps, weights = codec.encode(np.float32([[place]]), np.ones((1, 1)))
    keypoints, scores = codec.decode(maps)
    assert np.abs(keypoints[0, 0] - place).max() <= error
    assert weights.item() == 1 and 0.85 < scores.item() <= 1


@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_the_blur_fits_the_width_of_the_targets(sigma):
    codec = Heatmap((192, 256), (48, 64), "dark", sigma)
    places = np.random.default_rng(0).uniform(50, 140, (3, 9, 2))
    assert np.abs(codec.decode(codec.encode(places, np.ones((3, 9)))[0])[0] - places).max() < 0.05


def test_udp_counts_between_the_centres_of_the_outer_pixels():
    assert Heatmap((192, 256), (48, 64), "udp").stride == pytest.approx([191 / 47, 255 / 63])
    assert Heatmap((192, 256), (48, 64), "dark").stride.tolist() == [4, 4]


@pytest.mark.parametrize("rule", RULES)
def test_keypoints_far_outside_or_unlabelled_are_not_drawn(rule):
    keypoints = np.float32([[[48, 64], [-40, 64], [48, 190], [48, 64]]])
    maps, weights = Heatmap(SIZE, CELLS, rule).encode(keypoints, np.float32([[1, 1, 1, 0]]))
    assert weights.tolist() == [[1, 0, 0, 0]]
    assert maps[0].any(axis=(1, 2)).tolist() == [True, False, False, False]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_map_without_a_peak_is_no_keypoint(rule, value):
    codec = Heatmap(SIZE, CELLS, rule)
    maps = np.concatenate([np.full((1, 1, 32, 24), value, np.float32), gaussians([(12, 16)])], axis=1)
    keypoints, scores = codec.decode(maps)
    np.testing.assert_allclose(keypoints[0], [-codec.stride, codec.stride * (12, 16)], atol=1e-3)
    assert not scores[0, 0] > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cell", [(0, 0), (23, 31), (0, 31), (1, 30), (23, 0)])
def test_at_the_border_the_place_stays_near_the_highest_cell(rule, cell):
    codec = Heatmap(SIZE, CELLS, rule)
    assert np.abs(codec.decode(gaussians([cell]))[0][0, 0] / codec.stride - cell).max() < 1.5


def test_noise_does_not_throw_a_keypoint_out_of_its_surroundings():
    maps = np.random.default_rng(0).uniform(0, 1, (8, 17, 32, 24)).astype(np.float32) ** 6
    for rule in ("dark", "udp"):
        codec, plain = Heatmap(SIZE, CELLS, rule), Heatmap(SIZE, CELLS, "argmax")
        moved = codec.decode(maps)[0] / codec.stride - plain.decode(maps)[0] / plain.stride
        assert np.abs(moved).max() <= 3.0 and np.abs(moved).max() > 0.1


def test_a_map_knows_nothing_of_its_neighbours():
    maps = gaussians([(1, 1), (22, 30), (12, 31), (5, 5)])
    for mirror in (False, True):
        together, gains = blur(maps[0], 11, mirror)
        for index in range(4):
            alone, gain = blur(maps[0, index : index + 1], 11, mirror)
            np.testing.assert_allclose(together[index], alone[0], atol=1e-7)
            assert gains[index] == pytest.approx(gain[0])


@pytest.mark.parametrize("rule", ["quarter", "udp"])
def test_the_flip_test_agrees_with_the_crop_rule(rule):
    """A point of the picture, seen in a crop and in its mirror image, has one place after averaging; crops as the rule makes them."""
    codec = Heatmap(SIZE, CELLS, rule)
    place = BoxTransform.from_boxes(np.float32([[10, 20, 110, 140]]), SIZE, unbiased=rule == "udp")
    crop = place.to_crop(np.float32([[[70, 60], [40, 90]]]))[0]
    mirrored = np.stack([SIZE[0] - 1 - crop[::-1, 0], crop[::-1, 1]], axis=1)  # partners exchanged
    seen, other = (gaussians(points / codec.stride) for points in (crop, mirrored))
    mean = flip_average_maps(seen, other, (1, 0), shift=rule != "udp")
    assert np.abs(codec.decode(mean)[0][0] - crop).max() < (0.05 if rule == "udp" else 2.6)
    assert np.abs(mean - seen).max() < (1e-5 if rule == "udp" else 0.2)


@pytest.mark.parametrize("rule", RULES)
def test_no_people_give_empty_arrays_of_maps(rule):
    codec = Heatmap(SIZE, CELLS, rule)
    maps, weights = codec.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)))
    keypoints, scores = codec.decode(maps)
    assert (maps.shape, weights.shape, keypoints.shape, scores.shape) == ((0, 17, 32, 24), (0, 17), (0, 17, 2), (0, 17))
    assert flip_average_maps(maps, maps, range(17), shift=True).shape == maps.shape
