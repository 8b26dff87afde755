"""Training pictures keep their labels through warps, mirrors and crowds."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.synth.backgrounds import load_photographs, make_background
from vitruvian.synth.classes import OUTSIDE, SEEN, SEGMENTS, SELF, THING
from vitruvian.synth.scene import (
    DOUBTFUL,
    SMALLEST,
    SURFACE_STRIDE,
    UNTOLD,
    Figure,
    Repertory,
    Studio,
    _tall_enough,
    compose_crop,
    compose_scene,
    detection_scene,
    hidden_in,
    owned_scene,
    pose_crop,
)
from vitruvian.synth.store import SIZE, Store
from vitruvian.weights.classes import PERSON_PARTS


@pytest.fixture(scope="module")
def studio(people_folder):
    return Studio.open(Store.open(people_folder), [], np.random.default_rng(0), backdrops=4)


def test_pose_crops_have_their_size_and_weights_only_inside(studio):
    rng = np.random.default_rng(0)
    for _ in range(20):
        image, keypoints, surface = pose_crop(rng, studio)
        assert image.shape == (256, 192, 3) and image.dtype == np.uint8 and keypoints.shape == (133, 3)
        assert surface.shape == (4, 32, 24) and surface.dtype == np.uint8
        inside = (keypoints[:, :2] > -1).all(1) & (keypoints[:, 0] < 192) & (keypoints[:, 1] < 256)
        assert not (keypoints[:, 2] > 0)[~inside].any()


def test_mirroring_swaps_sides_and_nothing_else(studio):
    """Over many draws of one person, both mirrored and not: the left ankle's row always goes with the left ankle's label."""
    rng = np.random.default_rng(0)
    single = Studio(studio.store, studio.backdrops, np.array([0]))
    truth = studio.store.keypoints[0]
    for _ in range(6):
        keypoints = single.person(rng).keypoints
        mirrored = not np.allclose(keypoints[:, 0], truth[:, 0])
        expected = truth[[16, 15]] if mirrored else truth[[15, 16]]
        np.testing.assert_allclose(keypoints[[15, 16], 1], expected[:, 1])
        if mirrored:
            np.testing.assert_allclose(keypoints[15, 0], 239 - truth[16, 0])


def test_the_surface_at_a_wrist_is_that_sides_arm_or_hides_it(studio):
    """Where a wrist or a knee is seen, the cell around it is of that limb: in crops turned, scaled and mirrored at random."""
    rng, limbs = np.random.default_rng(2), {9: "left_", 10: "right_", 13: "left_", 14: "right_"}
    own = other = hidden = 0
    for _ in range(120):
        _, keypoints, surface = pose_crop(rng, studio)
        for row, side in limbs.items():
            x, y = (keypoints[row, :2] // SURFACE_STRIDE).astype(int)
            if keypoints[row, 2] and 0 <= y < 32 and 0 <= x < 24:
                segment = surface[0, y, x]
                hidden += segment == UNTOLD
                if segment not in (0, UNTOLD) and "_" in SEGMENTS[segment]:
                    own, other = own + SEGMENTS[segment].startswith(side), other + (not SEGMENTS[segment].startswith(side))
    assert own > 6 * other and own > 100  # the other side's where limbs cross
    assert hidden


def test_the_surface_tells_of_the_crops_own_person_only(studio):
    """Heights above the floor grow from the feet to the head; nobody else's are told."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        segment, height = pose_crop(rng, studio).surface[[0, 3]].astype(float)
        heads, shins = height[segment == SEGMENTS.index("head")], height[segment == SEGMENTS.index("left_shin")]
        if len(heads) and len(shins):
            assert heads.min() > shins.max()


def test_scene_boxes_lie_inside_and_have_known_classes(studio):
    rng = np.random.default_rng(1)
    counts, doubtful = [], 0
    for _ in range(25):
        image, boxes, labels = detection_scene(rng, studio)
        assert image.shape == (320, 320, 3) and len(boxes) == len(labels)
        assert (boxes >= 0).all() and (boxes <= 320).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        assert set(labels) <= {DOUBTFUL, *range(len(PERSON_PARTS))}
        sides = (boxes[:, 2:] - boxes[:, :2])[labels == 0]
        assert (sides.prod(1) >= SMALLEST**2).all()
        doubtful += (labels == DOUBTFUL).sum()
        counts.append((labels == 0).sum())
    assert doubtful
    assert 0 in counts and max(counts) > 1  # empty scenes teach what is no person


def test_a_keypoint_is_what_lies_before_it_or_what_it_was():
    points = np.array([[1, 1], [6, 6], [6, 1], [1, 6], [-3, 1], [8, 1], [1, 1]], float)
    before = np.array([SEEN, SEEN, SELF, SELF, SEEN, SEEN, OUTSIDE], np.uint8)
    covered = np.zeros((8, 8), bool)
    covered[:, 4:] = True
    assert hidden_in(points, before, covered, (8, 8)).tolist() == [SEEN, THING, THING, SELF, OUTSIDE, OUTSIDE, OUTSIDE]


def test_people_behind_others_keep_their_keypoints_and_know_what_hides_them(studio):
    """Whoever is laid last is hidden by no other person."""
    rng, by_others = np.random.default_rng(1), 0
    plain = replace(studio, store=replace(studio.store, look=studio.store.look.without(["occluders"])))
    for _ in range(24):
        scene = compose_scene(rng, plain)
        assert len(scene.boxes) == len(scene.labels) == len(scene.parts) == len(scene.owners)
        assert scene.keypoints.shape == (len(scene.hidden), 133, 2)
        for row, (points, hidden) in enumerate(zip(scene.keypoints, scene.hidden, strict=True)):
            inside = (points > -0.5).all(1) & (points < 319.5).all(1)
            assert (hidden[~inside] == OUTSIDE).all()
            by_others += (hidden == THING).any() and row < len(scene.hidden) - 1
    assert by_others


def test_labels_of_added_keypoints_go_without_what_hides_them(studio):
    """As marker sets use it: more keypoints than the store knows the hidden ones of."""
    store = studio.store
    more = replace(store, keypoints=np.concatenate([store.keypoints, store.keypoints[:, :3]], 1))
    both = replace(studio, store=more, swap=np.r_[studio.swap, 133, 134, 135])
    assert compose_crop(np.random.default_rng(0), both, (192, 256)).figure.hidden.shape == (136,)


def test_who_is_cut_off_on_both_sides_fills_the_scene(studio):
    boxes = np.full((7, 4), np.nan)
    figure = lambda box: Figure(None, None, np.vstack([box, boxes[1:]]), None, None)  # noqa: E731
    assert _tall_enough(100, figure([0, 50, SIZE[0], 200]), (320, 320)) >= 320 * SIZE[1] / SIZE[0]
    assert _tall_enough(100, figure([60, 0, 90, SIZE[1]]), (320, 320)) >= 320
    assert _tall_enough(100, figure([0, 50, 90, 200]), (320, 320)) == 100


def test_same_seed_same_picture(studio):
    a, b = (pose_crop(np.random.default_rng(5), studio) for _ in range(2))
    assert (a[0] == b[0]).all() and (a[1] == b[1]).all()


def test_backgrounds_need_no_photographs_and_skip_unreadable_ones(tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    photographs = load_photographs([tmp_path / "no.jpg", tmp_path / "missing.png"])
    assert photographs == []
    assert make_background(np.random.default_rng(0), photographs, (64, 48)).shape == (48, 64, 3)


def test_owners_boxes_are_those_of_people_in_the_scene(studio):
    rng = np.random.default_rng(6)
    for _ in range(20):
        scene = compose_scene(rng, studio, (192, 160), 5)
        told = np.isfinite(scene.owner_boxes).all(1)
        assert len(scene.keypoints) == 5 and not told[scene.labels <= 0].any()
        people = {int(owner): box for owner, box, label in zip(scene.owners, scene.boxes, scene.labels, strict=True) if label == 0}
        for row in np.flatnonzero(scene.labels > 0):
            assert told[row] == (scene.owners[row] in people)
            if told[row]:
                np.testing.assert_array_equal(scene.owner_boxes[row], people[scene.owners[row]])


def test_a_repertory_paints_once_and_shows_again(studio, monkeypatch):
    monkeypatch.setattr("vitruvian.synth.scene.MOST", 4)
    troupe, rng = Repertory(studio.store, studio.backdrops, studio.members), np.random.default_rng(0)
    people = [troupe.person(rng) for _ in range(60)]
    assert len(troupe.painted) == 4 and 4 < len({id(person) for person in people}) < 30
    image, boxes, labels, owners = owned_scene(rng, troupe, (128, 128))
    assert image.shape == (128, 128, 3) and boxes.shape == owners.shape and len(labels) == len(boxes)
