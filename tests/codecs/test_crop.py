import numpy as np
import pytest

from vitruvian.codecs.crop import BoxTransform, crop_people, warp_crops
from vitruvian.errors import VitruvianError


def test_a_crop_has_the_network_s_aspect_and_contains_the_padded_box():
    boxes = np.float32([[10, 20, 110, 40], [10, 20, 30, 220]])
    place = BoxTransform.from_boxes(boxes, (192, 256), 1.25)
    np.testing.assert_allclose(place.scales[:, 0] / place.scales[:, 1], 0.75, rtol=1e-6)
    np.testing.assert_allclose(place.scales.max(axis=1), [125 / 0.75, 250], rtol=1e-6)
    np.testing.assert_allclose(place.centers, [[60, 30], [20, 120]])


def test_points_survive_the_round_trip_and_agree_with_the_matrix():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 300, (6, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2] + 1
    place = BoxTransform.from_boxes(boxes, (288, 384))
    points = rng.uniform(-50, 600, (6, 9, 2)).astype(np.float32)
    crop = place.to_crop(points)
    np.testing.assert_allclose(place.to_image(crop), points, atol=1e-3)
    by_matrix = np.einsum("nij,nkj->nki", place.matrices[:, :, :2], points) + place.matrices[:, None, :, 2]
    np.testing.assert_allclose(by_matrix, crop, atol=2e-2, rtol=1e-4)


def test_a_dot_lies_in_the_crop_where_to_crop_says():
    image = np.zeros((200, 300, 3), np.uint8)
    image[70:73, 140:143] = 255
    boxes = np.float32([[100, 30, 180, 130], [120, 60, 160, 90]])
    crops, _ = crop_people(image, boxes, (96, 128))
    expected = BoxTransform.from_boxes(boxes, (96, 128)).to_crop(np.full((2, 1, 2), (141, 71), np.float32))[:, 0]
    for crop, (x, y) in zip(crops[..., 0].astype(float), expected, strict=True):
        assert (crop.sum(0) @ np.arange(96) / crop.sum(), crop.sum(1) @ np.arange(128) / crop.sum()) == pytest.approx((x, y), abs=0.1)


def test_outside_the_image_the_crop_is_black():
    (crop,), _ = crop_people(np.full((90, 90, 3), 200, np.uint8), np.float32([[-45, -60, 45, 60]]), (96, 128), padding=1.0)
    assert (crop[66:, 50:] == 200).all()
    assert not crop[:62].any() and not crop[:, :46].any()


def test_crops_land_in_the_array_that_was_given():
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    boxes = np.float32([[5, 5, 40, 50], [10, 0, 60, 60]])
    room = np.zeros((4, 32, 24, 3), np.uint8)
    crops, matrices = crop_people(image, boxes, (24, 32))
    warp_crops(image, matrices, (24, 32), out=room[1:3])
    assert np.array_equal(room[1:3], crops) and not room[0].any() and not room[3].any()


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.float32), []])
def test_no_boxes_give_no_crops(boxes):
    crops, matrices = crop_people(np.zeros((10, 10, 3), np.uint8), boxes, (24, 32))
    assert crops.shape == (0, 32, 24, 3) and matrices.shape == (0, 2, 3)


def test_a_box_without_area_still_gives_a_finite_crop():
    place = BoxTransform.from_boxes(np.float32([[7, 7, 7, 7], [9, 9, 3, 3]]), (24, 32))
    assert np.isfinite(place.matrices).all() and (place.scales > 0).all()


@pytest.mark.parametrize(
    "boxes", [np.float32([[0, 0, np.nan, 1]]), np.float32([[0, 0, np.inf, 1]]), np.zeros((2, 5), np.float32), np.zeros(4)]
)
def test_what_is_no_box_is_refused(boxes):
    with pytest.raises(VitruvianError, match="finite"):
        BoxTransform.from_boxes(boxes, (24, 32))


@pytest.mark.parametrize("unbiased", [False, True])
def test_both_crop_rules_agree_with_their_matrices(unbiased):
    boxes = np.float32([[10, 20, 110, 140], [-30, 0, 10, 300]])
    place = BoxTransform.from_boxes(boxes, (96, 128), unbiased=unbiased)
    points = np.random.default_rng(0).uniform(0, 200, (2, 7, 2)).astype(np.float32)
    by_matrix = np.einsum("nij,nkj->nki", place.matrices[:, :, :2], points) + place.matrices[:, None, :, 2]
    np.testing.assert_allclose(by_matrix, place.to_crop(points), atol=2e-3, rtol=1e-5)
    np.testing.assert_allclose(place.to_image(by_matrix), points, atol=1e-2)
    assert place[:1].unbiased is unbiased


def test_the_unbiased_crop_puts_the_corners_of_the_region_on_pixel_centres():
    place = BoxTransform.from_boxes(np.float32([[0, 0, 76.8, 102.4]]), (96, 128), unbiased=True)
    corners = np.stack([place.centers - place.scales / 2, place.centers + place.scales / 2], axis=1)
    np.testing.assert_allclose(place.to_crop(corners)[0], [[0, 0], [95, 127]], atol=1e-4)


def test_the_unbiased_crop_of_a_mirrored_picture_is_the_mirrored_crop():
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    box = np.float32([[20, 10, 50, 50]])
    mirrored = np.float32([[79 - 50, 10, 79 - 20, 50]])
    crops = [
        warp_crops(picture, BoxTransform.from_boxes(places, (48, 64), unbiased=True).matrices, (48, 64))[0]
        for picture, places in ((image, box), (image[:, ::-1].copy(), mirrored))
    ]
    assert np.abs(crops[0].astype(int) - crops[1][:, ::-1]).max() <= 8  # OpenCV rounds places to 1/32 of a pixel
