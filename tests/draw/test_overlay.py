from dataclasses import replace

import numpy as np
import pytest

from vitruvian.draw.overlay import draw_people, track_color
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People


def person(skeleton, box=(200, 60, 440, 660), track=1, confidence=0.9, seed=0):
    """One row with keypoints spread over the box."""
    low, high = np.array(box[:2]), np.array(box[2:])
    keypoints = np.random.default_rng(seed).uniform(low, high, (1, len(skeleton), 2))
    sure = np.full((1, len(skeleton)), confidence)
    return People(frame=[0], track=[track], boxes=[box], scores=[1.0], keypoints=keypoints, confidence=sure)


def canvas(height=720, width=1280):
    return np.zeros((height, width, 3), np.uint8)


def test_sure_limbs_appear_in_their_colours_between_their_joints():
    image, people = canvas(), person(COCO_17)
    draw_people(image, people, COCO_17)
    # The last limb is drawn over the others.
    (a, b), color = COCO_17.links[-1], COCO_17.colors[-1]
    x, y = people.keypoints[0, [a, b]].mean(0).round().astype(int)
    assert (np.abs(image[y - 2 : y + 3, x - 2 : x + 3].astype(int) - color).max(-1) < 30).any()
    assert (image[:, :150] == 0).all() and (image[:, 500:] == 0).all()


def test_points_below_the_threshold_are_left_out_but_the_box_stays():
    image = canvas()
    draw_people(image, person(COCO_17, confidence=0.2), COCO_17, threshold=0.3)
    assert (image[120:600, 250:400] == 0).all()
    assert image[60:62, 300].any()


def test_a_track_has_its_own_colour_and_label():
    images = [canvas() for _ in range(3)]
    for image, track in zip(images, (1, 2, -1), strict=True):
        draw_people(image, person(COCO_17, track=track, confidence=0), COCO_17)
    assert (images[0][660, 320] != images[1][660, 320]).any()
    assert images[0].any(-1).sum() > images[2].any(-1).sum() + 50  # untracked: no label
    assert len({track_color(track) for track in range(1, 30)}) == 29


def test_nobody_changes_nothing():
    image = canvas()
    draw_people(image, People.empty(133), COCO_WHOLEBODY_133)
    assert not image.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9, 1e20])
def test_senseless_coordinates_are_skipped(value):
    people = person(COCO_17)
    keypoints, boxes = people.keypoints.copy(), people.boxes.copy()
    keypoints[0, :5] = value
    boxes[0, 0] = value
    strange_points, strange_box = canvas(), canvas()
    draw_people(strange_points, replace(people, keypoints=keypoints), COCO_17)
    draw_people(strange_box, replace(people, boxes=boxes), COCO_17)
    assert strange_points.any()
    assert not strange_box.any()


def test_a_person_half_outside_a_tiny_picture_is_drawn():
    image = canvas(40, 30)
    draw_people(image, person(COCO_WHOLEBODY_133, box=(-20, -20, 20, 60)), COCO_WHOLEBODY_133)
    assert image.any()


def test_lines_are_thinner_on_small_people():
    shares = []
    for scale in (1.0, 0.1):
        image = canvas()
        draw_people(image, person(COCO_17, box=tuple(scale * np.array([200, 60, 440, 660])), track=-1), COCO_17)
        shares.append(image.any(-1).sum())
    assert shares[1] < 0.2 * shares[0]
