"""Which part hangs on which body."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import (
    BODY_PARTS,
    CONTACT_HANDS,
    FACE,
    HANDS,
    HEAD,
    PartSet,
    Thresholds,
    contact_states,
    find_bodies,
    hang_parts,
    inside_share,
    known_part_set,
)
from vitruvian.codecs.detections import Detections
from vitruvian.errors import VitruvianError


def parts(middles, labels=None, side=4.0):
    middles = np.asarray(middles, np.float32).reshape(-1, 2)
    count = len(middles)
    boxes = np.concatenate([middles - side / 2, middles + side / 2], 1)
    return Detections(boxes, np.linspace(0.9, 0.5, count, dtype=np.float32), np.asarray(labels or [1] * count, np.int32))


def boxes(*corners):
    return np.array(corners, np.float32).reshape(-1, 4)


WIDE = boxes((0, 0, 100, 100), (0, 0, 100, 100))


def test_nearest_hook_gets_the_part():
    hooks, part = hang_parts(WIDE, np.array([[[20, 20]], [[70, 20]]]), parts([(60, 22)]), HEAD)
    assert part.tolist() == [[-1], [0]]
    assert hooks.tolist() == [[[20, 20]], [[60, 22]]]


def test_part_outside_its_nearest_body_has_no_second_choice():
    bodies = boxes((0, 0, 40, 100), (40, 0, 100, 100))
    hooks = np.array([[[45, 20]], [[80, 20]]])
    assert (hang_parts(bodies, hooks, parts([(48, 20)]), HEAD)[1] == -1).all()
    assert hang_parts(bodies, hooks, parts([(48, 20)]), HEAD, rule="best")[1].tolist() == [[-1], [0]]


def test_inside_needs_more_than_the_share():
    bodies = boxes((0, 0, 100, 100))
    for middle, hung in ((99.61, False), (99.5, True)):
        part = hang_parts(bodies, np.array([[[99.0, 50]]]), parts([(middle, 50)]), HEAD, inside=0.6)[1]
        assert (part[0, 0] == 0) == hung


def test_used_hook_moves_to_its_part():
    # The surer part pulls the first hook to x = 40, so the second part at 46 goes there and finds it taken, although the hook of the second
    # body, at 60, is free; with the hook left at 20 it would have gone to 60.
    hooks = np.array([[[20.0, 20]], [[60.0, 20]]])
    assert hang_parts(WIDE, hooks, parts([(39, 20), (46, 20)]), HEAD)[1].tolist() == [[0], [-1]]


def test_class_says_the_slot():
    hooks = np.tile(np.float32([50, 50]), (1, 6, 1))
    part = hang_parts(WIDE[:1], hooks, parts([(50, 50)] * 3, [3, 6, 1]), BODY_PARTS)[1]
    assert part.tolist() == [[2, -1, 0, -1, -1, 1]]


def test_hand_that_lost_the_first_slot_may_take_the_second_of_another():
    hooks = np.array([[[20, 20], [80, 80]], [[90, 90], [24, 20]]], np.float32)
    part = hang_parts(WIDE, hooks, parts([(20, 20), (23, 20)]), HANDS)[1]
    assert part.tolist() == [[0, -1], [-1, 1]]


def by_the_card(bodies, hooks, found, part_set, inside):
    """The card's text in loops, with the replacement that never happens."""
    slots = np.zeros((*hooks.shape[:2], 3))
    slots[..., :2] = hooks
    part = np.full(hooks.shape[:2], -1)

    def offer(row, j):
        box = found.boxes[row]
        middle = (box[:2] + box[2:]) / 2
        b = np.linalg.norm(slots[:, j, :2] - middle, axis=1).argmin()
        common = np.clip(np.minimum(box[2:], bodies[b, 2:]) - np.maximum(box[:2], bodies[b, :2]), 0, None).prod()
        if found.scores[row] > slots[b, j, 2] and common / (box[2:] - box[:2]).prod() > inside:
            slots[b, j] = (*middle, found.scores[row])
            part[b, j] = row

    for row, label in enumerate(found.labels):
        offer(row, label - 1 if part_set.sided else 0)
    if not part_set.sided:
        for row in sorted(set(range(len(found))) - set(part[:, 0])):
            offer(row, 1)
    return slots[..., :2], part


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 20), st.sampled_from([HEAD, HANDS, BODY_PARTS]))
def test_published_rule_equals_the_card(seed, count, many, part_set):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (count, 2))
    bodies = np.concatenate([corner, corner + random.uniform(20, 60, (count, 2))], 1).astype(np.float32)
    hooks = random.uniform(0, 100, (count, len(part_set.slots), 2)).astype(np.float32)
    found = parts(random.uniform(0, 100, (many, 2)), random.integers(1, len(part_set.classes), many).tolist(), 8.0)
    got = hang_parts(bodies, hooks, found, part_set)
    for mine, theirs in zip(got, by_the_card(bodies, hooks, found, part_set, 0.6), strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_best_rule_gives_parts_a_second_choice():
    hooks = np.array([[[20.0, 20]], [[60.0, 20]]])
    assert hang_parts(WIDE, hooks, parts([(39, 20), (46, 20)]), HEAD, rule="best")[1].tolist() == [[0], [1]]


def test_best_rule_leaves_to_nobody_what_is_a_body_away_from_its_hook():
    for hook, hung in ((-5.0, True), (-15.0, False)):
        part = hang_parts(boxes((0, 0, 100, 100)), np.array([[[hook, 50]]]), parts([(90, 50)]), HEAD, rule="best")[1]
        assert (part[0, 0] == 0) == hung


def test_best_rule_lets_a_body_that_is_hardly_sure_stand_back():
    hooks = np.array([[[45.0, 20]], [[50.0, 20]]])
    for scores, owner in (((0.9, 0.9), 1), ((0.9, 0.1), 0)):
        part = hang_parts(WIDE, hooks, parts([(50, 20)]), HEAD, rule="best", scores=np.array(scores))[1]
        assert part[owner, 0] == 0 and part[1 - owner, 0] == -1


def test_a_thin_body_reaches_half_of_its_length():
    tool = boxes((0, 0, 100, 4))
    assert hang_parts(tool, np.array([[[50.0, 2]]]), parts([(90, 2)]), HEAD, rule="best")[1].tolist() == [[0]]


def test_best_rule_asks_the_parts_for_their_body():
    bodies = boxes((0, 0, 60, 100), (20, 0, 100, 100))
    hooks = np.array([[[40.0, 20]], [[41.0, 20]]])
    for owner in (0, 1):
        middle = (bodies[owner, :2] + bodies[owner, 2:]) / 2
        part = hang_parts(bodies, hooks, parts([(40, 20)]), HEAD, rule="best", body_points=middle[None])[1]
        assert part[owner, 0] == 0 and part[1 - owner, 0] == -1


def test_best_rule_gives_both_hands_to_the_body_that_they_are_at():
    # By slots one after the other the second body, who lies around both hands, would get one of them.
    hooks = np.array([[[20, 20], [80, 20]], [[300, 300], [300, 300]]], np.float32)
    part = hang_parts(WIDE, hooks, parts([(80, 20), (20, 20)]), HANDS, rule="best")[1]
    assert part.tolist() == [[1, 0], [-1, -1]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 4), st.sampled_from([HEAD, HANDS, BODY_PARTS]))
def test_best_rule_equals_trying_everything(seed, count, many, part_set):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 30, (count, 2))
    bodies = np.concatenate([corner, corner + random.uniform(30, 60, (count, 2))], 1)
    hooks = random.uniform(0, 90, (count, len(part_set.slots), 2))
    found = parts(random.uniform(0, 90, (many, 2)), random.integers(1, len(part_set.classes), many).tolist(), 8.0)
    scores = random.uniform(0, 1, count)
    part = hang_parts(bodies, hooks, found, part_set, rule="best", scores=scores)[1]
    middles, size = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, np.sqrt((bodies[:, 2:] - bodies[:, :2]).prod(1))
    shares = inside_share(found.boxes, bodies)

    def fits(row, body, slot):
        return shares[row, body] > 0.6 and (not part_set.sided or found.labels[row] == slot + 1)

    places = [[None, *((b, k) for b in range(count) for k in range(hooks.shape[1]) if fits(row, b, k))] for row in range(many)]
    ways = [way for way in itertools.product(*places) if len({p for p in way if p}) == sum(p is not None for p in way)]

    def worth(way):
        apart = (np.linalg.norm(middles[row] - hooks[place]) / size[place[0]] for row, place in enumerate(way) if place)
        return sum(apart) - 0.1 * sum(np.log(scores[place[0]]) for place in way if place) + sum(place is None for place in way)

    mine = tuple(next(((b, k) for b, k in np.argwhere(part == row).tolist()), None) for row in range(many))
    np.testing.assert_allclose(worth(mine), min(map(worth, ways)), atol=1e-4)


@pytest.mark.parametrize("rule", ["published", "best"])
@pytest.mark.parametrize(("count", "many"), [(0, 0), (0, 3), (2, 0)])
def test_nobody_or_no_parts(rule, count, many):
    hooks, part = hang_parts(WIDE[:count], np.zeros((count, 1, 2)), parts(np.zeros((many, 2))), HEAD, rule=rule)
    assert hooks.shape == (count, 1, 2) and part.shape == (count, 1) and (part == -1).all()


def test_hooks_beat_geometry_where_people_overlap():
    # Card section 8, decoding only: true boxes, hooks off by 6 % of the body's height, heads leaning far; without hooks, the body whose top
    # is nearest. Counted among the heads that hang somewhere (conditional accuracy).
    random = np.random.default_rng(0)
    wrong = {"hooks": 0, "tops": 0}
    total = hung = 0
    for _ in range(60):
        count = random.integers(2, 7)
        height = random.uniform(60, 110, count)
        middle = random.uniform(70, 186, (count, 2))
        half = np.stack([0.35 * height, height / 2], 1)
        bodies = np.concatenate([middle - half, middle + half], 1)
        heads = middle + np.stack([random.uniform(-0.3, 0.3, count) * height, random.uniform(-0.45, -0.25, count) * height], 1)
        hooks = heads + random.normal(0, 0.06, (count, 2)) * height[:, None]
        part = hang_parts(bodies, hooks[:, None], parts(heads, side=8), HEAD)[1][:, 0]
        tops = np.stack([middle[:, 0], bodies[:, 1]], 1)
        nearest = np.linalg.norm(heads[:, None] - tops[None], axis=2).argmin(1)
        hung += int((part >= 0).sum())
        wrong["hooks"] += int(((part != np.arange(count)) & (part >= 0)).sum())
        wrong["tops"] += int((nearest != np.arange(count)).sum())
        total += count
    assert hung / total > 0.9 and wrong["hooks"] / hung < 0.05
    assert wrong["tops"] / total > 0.2


def candidates(rows, classes, extras):
    """One row per (box, class, score, extras)."""
    count = len(rows)
    out = Candidates(np.zeros((count, 4), np.float32), np.zeros((count, classes), np.float32), np.zeros((count, extras), np.float32))
    for i, (box, label, score, more) in enumerate(rows):
        out.boxes[i], out.scores[i, label], out.extras[i] = box, score, more
    return out


def test_whole_way_from_candidates_to_people():
    found = find_bodies(
        candidates([((20, 40, 60, 90), 0, 0.9, (40, 48)), ((36, 44, 44, 52), 1, 0.8, (40, 65)), ((90, 44, 98, 52), 1, 0.7, (1, 1))], 2, 2),
        HEAD,
        (128, 128),
        (256, 192),
    )
    # The picture is halved, and lies 16 pixels down.
    np.testing.assert_allclose(found.boxes, [[40, 48, 120, 148]])
    np.testing.assert_allclose(found.part_boxes, [[[72, 56, 88, 72]]])
    np.testing.assert_allclose(found.part_scores, [[0.8]])
    np.testing.assert_allclose(found.hooks, [[[80, 64]]])
    assert found.owners.tolist() == [0, -1] and len(found.parts) == 2


@pytest.mark.parametrize("rows", [[], [((36, 44, 44, 52), 1, 0.8, (40, 65))]])
def test_pictures_without_people(rows):
    found = find_bodies(candidates(rows, 2, 2), HEAD, (128, 128), (256, 256))
    assert len(found) == 0 and found.part_boxes.shape == (0, 1, 4) and found.states.shape == (0, 1, 0)
    assert len(found.parts) == len(rows) and (found.owners == -1).all()


def test_thresholds_are_apart_for_bodies_and_parts():
    rows = [((0, 0, 50, 50), 0, 0.3, (8, 8)), ((4, 4, 12, 12), 1, 0.3, (25, 25))]
    found = find_bodies(candidates(rows, 2, 2), HEAD, (64, 64), (64, 64), Thresholds(body_score=0.2, part_score=0.4))
    assert len(found) == 1 and len(found.parts) == 0 and np.isnan(found.part_boxes).all()


def test_contact_states_are_blended_and_the_published_second_four_read():
    of_bodies, of_parts = np.arange(8.0)[None], np.arange(10.0, 18.0)[None]
    second = np.array([[-1, 0]])
    states = contact_states(of_bodies, of_parts, second, 4)
    assert np.isnan(states[0, 0]).all()
    np.testing.assert_allclose(states[0, 1], 0.4 * np.arange(4, 8) + 0.6 * np.arange(14, 18))
    np.testing.assert_allclose(
        contact_states(of_bodies, of_parts, second, 4, published=False)[0, 1], 0.4 * np.arange(4, 8) + 0.6 * np.arange(10, 14)
    )


def test_part_sets_by_their_numbers():
    assert known_part_set(2, 1) == HEAD and known_part_set(2, 1, names=("face",)) == FACE
    assert known_part_set(2, 2) == HANDS and known_part_set(2, 2, 4) == CONTACT_HANDS and known_part_set(7, 6) == BODY_PARTS
    assert known_part_set(4, 3).classes == ("person", "part 1", "part 2", "part 3")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PartSet(("person",), ()),
        lambda: PartSet(("person", "a", "b"), ("a",)),
        lambda: known_part_set(1, 1),
        lambda: known_part_set(3, 2, names=("head",)),
    ],
)
def test_impossible_part_sets_are_refused(wrong):
    with pytest.raises(VitruvianError):
        wrong()


def test_hooks_that_do_not_fit_are_refused():
    with pytest.raises(VitruvianError, match="give a point for each"):
        hang_parts(WIDE, np.zeros((2, 2, 2)), parts([(0, 0)]), HEAD)
    with pytest.raises(VitruvianError, match="own part set"):
        find_bodies(candidates([], 3, 2), HEAD, (64, 64), (64, 64))
