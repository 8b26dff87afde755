"""The recipes that measure who gets a head and which way people face: rules, error bars, and what they draw."""

import dataclasses
import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import Thresholds
from vitruvian.synth.crowds import Crowd


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "recipes"))
    return importlib.import_module


def crossing():
    """Two leaning figures whose heads lie over each other's body, and what a detector without faults says of them."""
    bodies, heads = np.array([[0, 0, 60, 50], [20, 0, 80, 50.0]]), np.array([[48, 0, 58, 10], [22, 0, 32, 10.0]])
    nobody = np.full(len(bodies), np.nan)
    crowd = Crowd(np.zeros((60, 90, 3), np.uint8), bodies, np.ones(2), nobody, heads, np.zeros(2, int), np.array([0, 1]))
    middles = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (heads, bodies)]
    scores = np.repeat([[0.9, 0.0], [0.0, 0.8]], 2, axis=0)
    said = Candidates(*(x.astype(np.float32) for x in (np.vstack([bodies, heads]), scores, np.vstack(middles))))
    return crowd, said


def test_hooks_tell_heads_apart_that_boxes_do_not(recipe):
    joining = recipe("bpjdet_joining")
    seen = [joining.joined(*crossing(), Thresholds())] * 20
    assert seen[0].owners["hooks"].tolist() == [0, 1] and seen[0].owners["hooks, best"].tolist() == [0, 1]
    rows = {row.get("rule"): row for row in joining.figures_of(seen)}
    assert rows["hooks"]["own"] == 1 and rows["hooks"]["conditional_accuracy"] == 1 and rows["hooks"]["hook_error"] == 0
    assert rows["nearest top"]["own"] == 0 and rows["hooks"]["both found"] == 40
    ahead = [row for row in joining.figures_of(seen) if row.get("of") == "nearest top"]
    assert [row["own"] for row in ahead] == [[1, 0], [1, 0]]  # all groups of pictures are alike


def test_what_is_compared_are_the_figures_that_are_told(recipe):
    joining, figures = recipe("bpjdet_joining"), recipe("bpjdet_figures")
    drawn, rng, seen = figures.Drawn(0), np.random.default_rng(0), []
    for crowd in (drawn.crowd(8) for _ in range(12)):
        found, points, _ = joining.noisy(rng, crowd, 0.3)
        boxes = found.parts.boxes + rng.normal(0, 1.5, found.parts.boxes.shape)  # some are found, some are not
        found = dataclasses.replace(found, parts=dataclasses.replace(found.parts, boxes=boxes.astype(np.float32)))
        seen.append(joining.Seen(crowd, found, joining.owners_by(found, found.hooks, points)))
    for rule in joining.RULES:
        told = joining.pair_figures(seen, rule)
        assert 0 < told["head_ap"] < 1 and joining.compared(seen, rule) == pytest.approx({name: told[name] for name in joining.COMPARED})


def test_nothing_found_is_nothing_owned(recipe):
    joining = recipe("bpjdet_joining")
    crowd, said = crossing()
    nothing = Candidates(said.boxes, np.zeros_like(said.scores), said.extras)
    seen = [joining.joined(crowd, nothing, Thresholds())]
    figures = joining.pair_figures(seen, "hooks")
    assert figures["both found"] == 0 and figures["own of all"] == 0 and figures["mMR-2"] == 1
    assert len(joining.hook_errors(seen[0])) == 0


def test_the_error_of_a_mean_is_the_known_one(recipe):
    joining = recipe("bpjdet_joining")
    values = np.random.default_rng(0).normal(size=joining.GROUPS)
    without = [np.delete(values, i).mean() for i in range(len(values))]
    assert joining.jackknife(without) == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)))


def test_growth_is_of_means_over_few_and_many(recipe):
    joining = recipe("bpjdet_joining")
    gaps = {2: 0.1, 4: 0.2, 6: 9.0, 12: 0.4, 16: 0.5, 20: 0.6}
    key = {"setting": "published", "ahead": "hooks", "of": "inside"}
    rows = [{**key, "people": n, **{name: [gap, 0.06] for name in joining.COMPARED}} for n, gap in gaps.items()]
    (row,) = joining.growth([{"setting": "published", "rule": "hooks", "people": 2}, *rows])
    assert row["own"] == [pytest.approx(0.35), pytest.approx(0.06 * math.sqrt(1 / 2 + 1 / 3), abs=1e-4)]


def test_more_figures_are_a_denser_crowd(recipe):
    figures = recipe("bpjdet_figures")
    rows = figures.crowding(figures.Drawn(0).crowd, 10)
    for name in ("bodies", "heads", "overlap"):
        assert rows[0][name] < rows[3][name] < rows[-1][name]


def test_a_mirror_turns_a_figure_around(recipe):
    turned = recipe("bpjdet_turned")
    inks = np.array([[200.0, 90, 60], [60, 90, 200]])
    for heading in (0.3, 1.9, math.pi):
        a, b = (turned.ellipsoid(sign * heading, 80, inks).astype(int) for sign in (1, -1))
        assert np.abs(a[:, ::-1] - b).max() <= 1
    front, back, left = (turned.ellipsoid(h, 80, inks)[40, :, 0] for h in (math.pi, 0, math.pi / 2))
    assert front[40] > 2 * back[40]
    assert left[:40].sum() > 1.2 * left[40:].sum()  # a quarter of a turn faces the picture's left


def test_crops_of_any_size_are_sorted(recipe):
    turned, headings = recipe("bpjdet_turned"), recipe("bpjdet_headings")
    image = np.zeros((100, 120, 3), np.uint8)
    crop = headings.crop(image, np.array([10.0, 20, 40, 90]), turned.CROP)
    assert turned.build("crops")(headings.tensor([crop, crop])).shape == (2, headings.BINS)
