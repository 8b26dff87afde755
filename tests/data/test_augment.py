"""Augmentations: geometry takes pixels and points along together, looks change pixels only."""

import numpy as np
import pytest

from vitruvian.codecs.crop import BoxTransform
from vitruvian.data.augment import DWPOSE, NONE, RTMW, Geometry, Jitter, Looks, change_looks, lower_body, placements
from vitruvian.data.crops import cut
from vitruvian.data.pictures import Labels, labels
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133

SIZE = (48, 64)


def person(rng, n=1):
    """People with points on a picture of 200 x 160."""
    points = rng.uniform([40, 30], [160, 130], (n, 17, 2))
    return labels(points, np.full((n, 17), 2), np.tile([40.0, 30, 160, 130], (n, 1)))


def dots(points, reach=3):
    """A picture in which every point is a bright square of its own grey level."""
    image = np.zeros((160, 200, 3), np.uint8)
    for number, (x, y) in enumerate(points.round().astype(int)):
        image[y - reach : y + reach + 1, x - reach : x + reach + 1] = 40 + 12 * number
    return image


def test_nothing_moved_is_the_crop_of_inference():
    people = person(np.random.default_rng(0), 3)
    matrices, mirrored = placements(
        people.boxes, people.keypoints, people.visible > 0, SIZE, COCO_17, Geometry.still(), np.random.default_rng(0)
    )
    np.testing.assert_allclose(matrices, BoxTransform.from_boxes(people.boxes, SIZE).matrices, atol=1e-4)
    assert not mirrored.any()


@pytest.mark.parametrize("seed", range(8))
def test_points_stay_on_their_pixels_and_sides_are_exchanged(seed):
    rng = np.random.default_rng(seed)
    people = person(rng)
    found = cut(dots(people.keypoints[0]), people, COCO_17, (192, 256), Geometry(shift=Jitter()), rng)
    levels = {40 + 12 * number: number for number in range(17)}
    checked = set()
    for number, (x, y, weight) in enumerate(found.keypoints[0]):
        if weight and 3 < x < 188 and 3 < y < 252:
            level = int(found.images[0, round(float(y)), round(float(x)), 0])
            if level in levels:  # points that lie on one another hide each other
                checked.add((number, levels[level]))
    swap = COCO_17.swap
    agreeing = [sum(a == b for a, b in checked), sum(a == swap[b] for a, b in checked)]
    assert len(checked) >= 3 and max(agreeing) >= 0.8 * len(checked)


def test_a_mirrored_crop_is_the_mirror_image():
    rng = np.random.default_rng(1)
    people = person(rng)
    image = rng.integers(0, 255, (160, 200, 3)).astype(np.uint8)
    plain = cut(image, people, COCO_17, SIZE, Geometry.still(), rng)
    still = Geometry.still()
    flipped = cut(image, people, COCO_17, SIZE, Geometry(1.0, 0.0, still.shift, still.scale, still.rotation), rng)
    assert np.abs(flipped.images[:, :, ::-1].astype(int) - plain.images).mean() < 3
    np.testing.assert_allclose(flipped.keypoints[0, COCO_17.swap, 0], SIZE[0] - 1 - plain.keypoints[0, :, 0], atol=1e-3)


def test_half_body_shows_one_half():
    rng = np.random.default_rng(2)
    people = person(rng)
    points = people.keypoints.copy()
    points[0, lower_body(COCO_17), 1] += 300
    geometry = Geometry(flip=0, half_body=1.0, shift=Jitter(), scale=Jitter(), rotation=Jitter())
    inside = []
    for _ in range(40):
        matrices, _ = placements(people.boxes, points, people.visible > 0, SIZE, COCO_17, geometry, rng)
        crop = points[0] @ matrices[0, :, :2].T + matrices[0, :, 2]
        inside.append(((crop > 0) & (crop < SIZE)).all(axis=1))
    upper = [bool(found[~lower_body(COCO_17)].all() and not found[lower_body(COCO_17)].any()) for found in inside]
    lower = [bool(found[lower_body(COCO_17)].all() and not found[~lower_body(COCO_17)].any()) for found in inside]
    assert all(a != b for a, b in zip(upper, lower, strict=True)) and 0.5 < np.mean(upper) < 0.9


def test_lower_body_of_the_whole_body_are_legs_and_feet():
    assert np.flatnonzero(lower_body(COCO_WHOLEBODY_133)).tolist() == list(range(11, 23))


def test_few_points_are_no_half_body():
    rng = np.random.default_rng(3)
    people = person(rng)
    visible = np.arange(17)[None] < 8
    geometry = Geometry(flip=0, half_body=1.0, shift=Jitter(), scale=Jitter(), rotation=Jitter())
    matrices, _ = placements(people.boxes, people.keypoints, visible, SIZE, COCO_17, geometry, rng)
    np.testing.assert_allclose(matrices, BoxTransform.from_boxes(people.boxes, SIZE).matrices, atol=1e-4)


def test_jitter_keeps_its_limits_and_its_chance():
    rng = np.random.default_rng(4)
    uniform, normal = Jitter(0.5, 0.3).draw(rng, (4000, 2)), Jitter(90, 0.6, 45).draw(rng, (4000,))
    assert np.abs(uniform).max() <= 0.5 and abs((uniform != 0).all(axis=1).mean() - 0.3) < 0.03
    assert ((uniform == 0).all(axis=1) | (uniform != 0).all(axis=1)).all()
    assert np.abs(normal).max() == 90 and abs((normal != 0).mean() - 0.6) < 0.03


def test_looks_are_a_function_of_the_generator():
    crops = np.random.default_rng(5).integers(0, 255, (6, 64, 48, 3)).astype(np.uint8)
    for looks in (DWPOSE.looks, RTMW.looks):
        a, b = (change_looks(crops.copy(), looks, np.random.default_rng(6)) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        assert (a != crops).any()
    np.testing.assert_array_equal(change_looks(crops.copy(), NONE.looks, np.random.default_rng(6)), crops)


def test_dropout_is_one_rectangle_of_the_right_size():
    white = np.full((30, 100, 80, 3), 255, np.uint8)
    for crop in change_looks(white, Looks(blur=0, median=0), np.random.default_rng(7)):
        hole = (crop == 0).all(axis=2)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns) and 19 <= len(rows) <= 41 and 15 <= len(columns) <= 33


def test_grey_stays_grey_under_a_change_of_hue():
    grey = np.full((8, 16, 16, 3), 120, np.uint8)
    found = change_looks(grey.copy(), Looks(hsv=(90.0, 0.0, 0.0), blur=0, median=0, dropout=0), np.random.default_rng(8))
    assert np.abs(found.astype(int) - 120).max() <= 1


def test_the_late_stage_is_calmer():
    assert DWPOSE.at(True).geometry.shift.limit == 0 and DWPOSE.at(True).looks.dropout == 0.5 and DWPOSE.at(False) is DWPOSE
    assert RTMW.at(True).looks.photometric == 0 and NONE.at(True) is NONE


def test_nobody_gives_no_crops():
    found = cut(np.zeros((20, 20, 3), np.uint8), Labels.empty(17), COCO_17, SIZE, Geometry(), np.random.default_rng(0))
    assert found.images.shape == (0, 64, 48, 3) and found.keypoints.shape == (0, 17, 3)
    assert len(change_looks(found.images, DWPOSE.looks, np.random.default_rng(0))) == 0
    assert len(change_looks(found.images, RTMW.looks, np.random.default_rng(0))) == 0


def test_crowds_and_unlabelled_people_are_left_out():
    points = np.tile(np.linspace(5, 15, 17)[:, None], (3, 1, 2))
    visible = np.full((3, 17), 2)
    visible[1] = 0
    people = labels(points, visible, np.tile([0.0, 0, 20, 20], (3, 1)), crowd=np.array([True, False, False]))
    assert len(cut(np.zeros((20, 20, 3), np.uint8), people, COCO_17, SIZE)) == 1


def test_gains_change_by_shares_of_what_is_there():
    grey = np.full((40, 4, 4, 3), 100, np.uint8)
    found = change_looks(grey.copy(), Looks(gains=(0.0, 0.7, 0.4), blur=0, median=0, dropout=0), np.random.default_rng(0))
    assert (found == found[..., :1]).all() and 60 <= found.min() < 70 and 130 < found.max() <= 140
    assert not change_looks(grey * 0, Looks(gains=(0.1, 0.7, 0.4), blur=0, median=0, dropout=0), np.random.default_rng(0)).any()
