"""Crowds: labels follow people into the picture, whoever stands in front of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.synth.crowds import TALL, Actor, cast, crowd_picture, figure, mirrored
from vitruvian.synth.look import Look
from vitruvian.synth.store import PAINTED, SIZE
from vitruvian.take import PARTS

BACKDROP = np.zeros((160, 192, 3), np.uint8)


def actor(colour=(200, 200, 200), heading=1.0):
    """A rectangle of 40 x 160 in a picture with a margin, its head and left hand marked."""
    image = np.zeros((180, 80, 4), np.uint8)
    image[10:170, 20:60] = (*colour, 255)
    parts = np.full((6, 4), np.nan)
    parts[PARTS.index("head")], parts[PARTS.index("left_hand")] = (30, 10, 50, 40), (50, 80, 60, 95)
    return Actor(image, np.array([20, 10, 60, 170], float), parts, heading)


def test_boxes_are_around_what_is_drawn():
    for seed in range(6):
        crowd = crowd_picture(np.random.default_rng(seed), [actor()], BACKDROP, 1)
        rows, columns = np.nonzero(crowd.image.max(-1) > 60)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(crowd.bodies[0], box, atol=1.6)
        assert crowd.visible[0] == 1


def test_a_mirror_turns_sides_and_heading():
    one = mirrored(actor(heading=0.5))
    assert one.heading == pytest.approx(2 * np.pi - 0.5)
    assert np.isnan(one.parts[PARTS.index("left_hand")]).all() and one.parts[PARTS.index("right_hand")].tolist() == [19, 80, 29, 95]
    twice = mirrored(one)
    np.testing.assert_array_equal(twice.image, actor().image)
    np.testing.assert_allclose(twice.parts, actor().parts)


def test_owners_are_the_people_that_the_parts_were_drawn_with():
    rng = np.random.default_rng(1)
    for count in (2, 8, 20):
        crowd = crowd_picture(rng, [actor()], BACKDROP, count)
        assert len(crowd.bodies) <= count and len(crowd.visible) == len(crowd.headings) == len(crowd.bodies)
        body = crowd.bodies[crowd.owners]
        assert (crowd.parts[:, :2] >= body[:, :2] - 1e-3).all() and (crowd.parts[:, 2:] <= body[:, 2:] + 1e-3).all()
        heads = crowd.owners[crowd.labels == PARTS.index("head")]
        assert len(set(heads)) == len(heads)


def test_the_more_people_the_more_are_hidden_and_hidden_heads_have_no_box():
    shares, heads = [], []
    for count in (2, 8, 20):
        crowds = [crowd_picture(np.random.default_rng(seed), [actor()], BACKDROP, count) for seed in range(20)]
        shares.append(np.concatenate([crowd.visible for crowd in crowds]).mean())
        heads.append(sum((crowd.labels == 0).sum() for crowd in crowds) / sum(len(crowd.bodies) for crowd in crowds))
    assert shares[0] > shares[1] > shares[2] and heads[0] > heads[2]


def test_nobody_leaves_the_backdrop_as_it_is():
    crowd = crowd_picture(np.random.default_rng(0), [], BACKDROP, 0)
    assert len(crowd.bodies) == 0 and crowd.parts.shape == (0, 4) and (crowd.image == BACKDROP).all() and crowd.image is not BACKDROP


def test_four_apart_do_not_hide_each_other():
    for seed in range(5):
        crowd = crowd_picture(np.random.default_rng(seed), [actor()], np.zeros((100, 240, 3), np.uint8), 4, (0.4, 0.6), apart=True)
        assert len(crowd.bodies) == 4 and (crowd.visible == 1).all()


def test_the_head_of_a_drawn_figure_lies_in_its_box_at_an_upper_corner():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one = figure(rng)
        height, width = one.image.shape[:2]
        head = one.parts[PARTS.index("head")]
        assert max(height, width) == pytest.approx(TALL, abs=1) and one.body.tolist() == [0, 0, width, height]
        assert head.min() > 0 and head[2] < width and head[1] < 6 and np.isnan(one.parts[1:]).all()
        x, y = ((head[:2] + head[2:]) / 2).astype(int)
        assert one.image[y, x, 3] == 255


def test_same_seed_same_crowd():
    a, b = (crowd_picture(np.random.default_rng(3), [actor(), actor((90, 20, 20))], BACKDROP, 6) for _ in range(2))
    assert (a.image == b.image).all() and (a.parts == b.parts).all()


def studio(whole=3, truth=True):
    """Five people of a store, of whom some are whole in their pictures."""
    keypoints, boxes = np.zeros((5, 133, 3), np.float32), np.full((5, 7, 4), np.nan, np.float32)
    keypoints[:whole, :, 2] = 2
    boxes[:, 0], boxes[:, 1] = (80, 40, 160, 280), (100, 40, 140, 90)
    planes = np.zeros((PAINTED, SIZE[1], SIZE[0]), np.uint8)
    planes[:, 40:280, 80:160] = np.array([1, 128, 128, 100, 100, 100, 128], np.uint8)[:, None, None]
    heading = {"orientation": np.arange(5) * 0.1} if truth else {}
    store = SimpleNamespace(
        keypoints=keypoints, boxes=boxes, relief=np.ones(5, np.float32), truth=heading, look=Look(), image=lambda i, n: planes.copy()
    )
    return SimpleNamespace(store=store, members=np.arange(5))


def test_actors_are_whole_people_with_their_heading():
    actors = cast(np.random.default_rng(0), studio(), 3)
    np.testing.assert_allclose(sorted(one.heading for one in actors), np.pi + np.array([0, 0.1, 0.2]), atol=1e-6)
    for one in actors:
        np.testing.assert_allclose(one.body[3] - one.body[1], 160, atol=0.1)
        rows = np.flatnonzero((one.image[..., 3] > 127).any(1))
        np.testing.assert_allclose(one.body[[1, 3]], [rows[0], rows[-1] + 1], atol=1.5)
        np.testing.assert_allclose(one.parts[0] - np.tile(one.body[:2], 2), np.array([20, 0, 60, 50]) * 160 / 240, atol=0.1)


def test_too_few_people_or_no_headings_are_told():
    with pytest.raises(VitruvianError, match="3 people"):
        cast(np.random.default_rng(0), studio(), 4)
    with pytest.raises(VitruvianError, match="truth=True"):
        cast(np.random.default_rng(0), studio(truth=False), 1)
