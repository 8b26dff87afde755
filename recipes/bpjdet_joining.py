"""Ways to join heads to bodies on the same detections, how right each is, and how far hooks are ahead: for the claims of BPJDet in small.

| rule | who gets a head |
|---|---|
| hooks | BPJDet's own: the surest head first, to the nearest hook |
| hooks, best | ours, the product's: all heads together, by hooks and by where heads expect their body |
| inside | overlap: the body that most of the head lies in, of equals the one whose top is nearest |
| nearest top | distance: the body whose top centre is nearest |
| assignment of boxes | all heads together by where in a box heads usually are (`people.joining`) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from bpjdet_scenes import DENSITIES, PICTURES, candidates_of
from jaxtyping import Bool, Float, Int

from vitruvian.codecs.anchors import Candidates, select
from vitruvian.codecs.association import HEAD, Bodies, Thresholds, hang_parts, inside_share
from vitruvian.codecs.detections import Detections
from vitruvian.geometry.boxes import iou
from vitruvian.metrics.association import FoundPairs, Setup, TruePairs, miss_rate, pair_scores
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.people.joining import join_parts
from vitruvian.synth.crowds import Crowd
from vitruvian.systems.detection import bpjdet
from vitruvian.train.scenes import LEAST_VISIBLE

HOOKS = ("hooks", "hooks, best")
RULES = (*HOOKS, "inside", "nearest top", "assignment of boxes")
SETTINGS: Mapping[str, Thresholds] = {"published": Thresholds(), "product": Thresholds(0.3, part_score=0.3)}
"""Least scores of bodies and heads: as published evaluations, and as `vitruvian detect` has them."""
COMPARED = {"conditional_accuracy": 1, "own": 1, "mMR-2": -1}
"""The figures whose gap is told with an error, and whether more is better."""
GROUPS = 10
FEW, MANY = (2, 4), (12, 16, 20)


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture, the bodies and heads that were found in it, and by each rule the body of every head (-1: nobody)."""

    crowd: Crowd
    found: Bodies
    owners: dict[str, np.ndarray]

    @cached_property
    def own(self) -> dict[str, np.ndarray]:
        """By each rule, `on_their_own`."""
        return {rule: on_their_own(self.crowd, self.found, owners) for rule, owners in self.owners.items()}

    @cached_property
    def bodies_right(self) -> dict[str, np.ndarray]:
        """By each rule, of the found heads that are right, whether their body is: what conditional accuracy is the mean of."""
        rows = right_heads(self.crowd, self.found)
        boxes = np.vstack([self.found.boxes, np.full((1, 4), -9.0, np.float32)])
        persons = self.crowd.bodies[rows[:, 1]]
        return {rule: _overlap(boxes[owners[rows[:, 0]]], persons) > 0.5 for rule, owners in self.owners.items()}


def head_rows(crowd: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the heads, and their owners."""
    heads = crowd.labels == 0
    return crowd.parts[heads], crowd.owners[heads]


def by_inside(bodies: Float[np.ndarray, "n 4"], heads: Float[np.ndarray, "m 4"]) -> Int[np.ndarray, " m"]:
    """Each head (surest first) to the body that most of it lies in, of equals the one whose top is nearest; a body has one head."""
    tops = np.stack([(bodies[:, 0] + bodies[:, 2]) / 2, bodies[:, 1]], 1)
    middles = (heads[:, :2] + heads[:, 2:]) / 2
    apart = np.linalg.norm(middles[:, None] - tops, axis=2)
    cost = -np.round(inside_share(heads, bodies), 2) * 1e4 + apart
    return one_each(cost, inside_share(heads, bodies) > 0.6)


def by_nearness(bodies: Float[np.ndarray, "n 4"], heads: Float[np.ndarray, "m 4"]) -> Int[np.ndarray, " m"]:
    """Each head (surest first) to the body whose top centre is nearest, in widths and heights of that body; a body has one head."""
    size = np.maximum(bodies[:, 2:] - bodies[:, :2], 1)
    place = (((heads[:, :2] + heads[:, 2:]) / 2)[:, None] - bodies[:, :2]) / size - (0.5, 0.0)
    return one_each(np.linalg.norm(place, axis=2), inside_share(heads, bodies) > 0.6)


def one_each(cost: Float[np.ndarray, "m n"], allowed: Bool[np.ndarray, "m n"]) -> Int[np.ndarray, " m"]:
    """The cheapest allowed body that has nothing yet, row by row; -1 for none."""
    owners, cost = np.full(len(cost), -1), np.where(allowed, cost, np.inf)
    for row in range(len(cost)):
        if cost.shape[1] and np.isfinite(cost[row]).any():
            owners[row] = cost[row].argmin()
            cost[:, owners[row]] = np.inf
    return owners


def owners_by(found: Bodies, hooks: Float[np.ndarray, "n 1 2"], body_points: Float[np.ndarray, "m 2"]) -> dict[str, np.ndarray]:
    """By each of RULES, the body of every detected head."""

    def hung(rule: str) -> np.ndarray:
        _, part = hang_parts(found.boxes, hooks, found.parts, HEAD, rule=rule, body_points=body_points, scores=found.scores)
        owners = np.full(len(found.parts), -1)
        owners[part[part[:, 0] >= 0, 0]] = np.flatnonzero(part[:, 0] >= 0)
        return owners

    heads = found.parts.boxes
    joined = (by_inside(found.boxes, heads), by_nearness(found.boxes, heads), join_parts(found.boxes, heads, ["head"] * len(heads)))
    return dict(zip(RULES, (hung("published"), hung("best"), *joined), strict=True))


def joined(crowd: Crowd, candidates: Candidates, t: Thresholds) -> Seen:
    """Bodies and heads as `find_bodies` selects them, and the heads given to bodies by each rule. `hooks` stay where they were said."""
    bodies, extras = select(candidates, (0,), t.body_score, t.body_iou)
    heads, of_heads = select(candidates, (1,), t.part_score, t.part_iou)
    hooks = extras[:, :2].reshape(-1, 1, 2)
    empty = np.full((len(bodies), 1), -1), heads, np.zeros((len(bodies), 1, 0), np.float32)
    found = Bodies(bodies.boxes, bodies.scores, hooks, *empty)
    return Seen(crowd, found, owners_by(found, hooks, of_heads[:, :2]))


def measure_association(
    model: AnchorNet, draw: Callable[[int], Crowd], pictures: int = PICTURES, settings: Mapping[str, Thresholds] = SETTINGS
) -> list[dict]:
    """For each number of people and each setting: a row for each rule, and one for how far hooks are ahead of each baseline."""
    deployed, rows = bpjdet.Deployed(model, HEAD).eval(), []
    for density in DENSITIES:
        crowds = [draw(density) for _ in range(pictures)]
        said = [candidates_of(deployed, crowd.image) for crowd in crowds]
        for name, thresholds in settings.items():
            seen = [joined(*one, thresholds) for one in zip(crowds, said, strict=True)]
            rows += [{"people": density, "setting": name, **row} for row in figures_of(seen)]
    return rows


def figures_of(seen: Sequence[Seen]) -> list[dict]:
    """A row for each rule, then for each baseline the figures by which hooks are ahead of it, with their standard errors."""
    rows = [{"rule": rule} | {name: round(x, 4) for name, x in pair_figures(seen, rule).items()} for rule in RULES]
    rows[0]["hook_error"] = rows[1]["hook_error"] = round(float(np.median(np.concatenate([hook_errors(one) for one in seen]))), 3)
    groups = [[one for i, one in enumerate(seen) if i % GROUPS != group] for group in range(GROUPS)]
    values = [{rule: compared(some, rule) for rule in RULES} for some in (seen, *groups)]
    for baseline in RULES[len(HOOKS) :]:
        for rule in HOOKS:
            ahead = {}
            for figure, sign in COMPARED.items():
                gap, *others = (sign * (of[rule][figure] - of[baseline][figure]) for of in values)
                ahead[figure] = [round(gap, 4), round(jackknife(others), 4)]
            rows.append({"ahead": rule, "of": baseline, **ahead})
    return rows


def compared(seen: Sequence[Seen], rule: str) -> dict[str, float]:
    """Those figures of `pair_figures` whose gap is told."""
    return {
        "conditional_accuracy": float(np.concatenate([one.bodies_right[rule] for one in seen]).mean()),
        "own": strict_figures(np.concatenate([one.own[rule] for one in seen]))["own"],
        "mMR-2": miss_rate(true_pairs(seen), hung_pairs(seen, rule), len(seen), Setup()),
    }


def jackknife(values: Sequence[float]) -> float:
    """Standard error of a figure, from what it is without each of equal groups of the pictures (delete-a-group jackknife)."""
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def growth(rows: Iterable[dict]) -> list[dict]:
    """From rows of `measure_association`: by how much the mean gap in crowds of MANY exceeds that in those of FEW, with standard errors.

    Each number of people has pictures of its own, so that their errors are independent.
    """
    gaps = {(row["setting"], row["ahead"], row["of"], row["people"]): row for row in rows if "ahead" in row}
    out = []
    for setting, rule, baseline in dict.fromkeys(key[:3] for key in gaps):
        row = {"setting": setting, "grows": rule, "of": baseline}
        for figure in COMPARED:
            few, many = ([gaps[setting, rule, baseline, n][figure] for n in numbers] for numbers in (FEW, MANY))
            change = np.mean([gap for gap, _ in many]) - np.mean([gap for gap, _ in few])
            error = np.sqrt(sum(sum(e**2 for _, e in part) / len(part) ** 2 for part in (few, many)))
            row[figure] = [round(float(change), 4), round(float(error), 4)]
        out.append(row)
    return out


def pair_figures(seen: Sequence[Seen], rule: str) -> dict[str, float]:
    """Conditional accuracy, joint AP, AP of heads, miss rates of pairs and of bodies, and the strict figures, by one rule."""
    pairs, people, bodies = [], [], []
    for i, one in enumerate(seen):
        crowd, found = one.crowd, one.found
        boxes = np.vstack([found.boxes, np.full((1, 4), -9.0, np.float32)])[one.owners[rule]]  # a head that nobody has is wrong
        pairs.append((np.full(len(boxes), i), boxes, found.parts.boxes, found.parts.scores))
        people.append((np.full(len(crowd.bodies), i), crowd.bodies, crowd.visible, crowd.visible < LEAST_VISIBLE))
        bodies.append((np.full(len(found), i), found.boxes, found.scores))
    image, boxes, visible, ignore = _columns(people)
    where, found_boxes, sure = _columns(bodies)
    truth, hung = true_pairs(seen), hung_pairs(seen, rule)
    scores = pair_scores(truth, FoundPairs(*_columns(pairs)), inclusive=False)
    everybody, found_bodies = TruePairs(image, boxes, None, visible, ignore), FoundPairs(where, found_boxes, None, sure)
    return {
        "conditional_accuracy": scores.conditional_accuracy,
        "joint_ap": scores.joint_ap,
        "head_ap": scores.part_ap,
        "mMR-2": miss_rate(truth, hung, len(seen), Setup()),
        "body MR-2": miss_rate(everybody, found_bodies, len(seen)),
        "heads": int((~truth.ignore).sum()),
        "attached": len(hung.scores),
        **strict_figures(np.concatenate([one.own[rule] for one in seen])),
    }


def true_pairs(seen: Sequence[Seen]) -> TruePairs:
    """All heads with their person; those of people who are hardly seen don't count."""
    rows = []
    for i, one in enumerate(seen):
        heads, belongs = head_rows(one.crowd)
        visible = one.crowd.visible[belongs]
        rows.append((np.full(len(heads), i), one.crowd.bodies[belongs], heads, visible, visible < LEAST_VISIBLE))
    return TruePairs(*_columns(rows))


def hung_pairs(seen: Sequence[Seen], rule: str) -> FoundPairs:
    """All found heads that somebody has, with their body."""
    rows = []
    for i, one in enumerate(seen):
        found, owner = one.found, one.owners[rule]
        has = np.flatnonzero(owner >= 0)
        boxes = found.boxes[owner[has]], found.parts.boxes[has]
        rows.append((np.full(len(has), i), *boxes, found.scores[owner[has]], found.parts.scores[has]))
    return FoundPairs(*_columns(rows))


def _columns(rows: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


class Met(NamedTuple):
    """Whom the found bodies are, and what became of the heads (h, ...) that should be found."""

    person: Int[np.ndarray, " n"]
    heads: Float[np.ndarray, "h 4"]
    owners: Int[np.ndarray, " h"]


def met(crowd: Crowd, found: Bodies) -> Met:
    """The person whom each found body overlaps most, -1 where by less than half; heads of people who are seen, and whose these are."""
    heads, owners = head_rows(crowd)
    seen = crowd.visible[owners] >= LEAST_VISIBLE
    overlap = iou(found.boxes.astype(float), crowd.bodies.astype(float))
    person = np.where(overlap.max(1, initial=0.0) >= 0.5, overlap.argmax(1), -1) if overlap.size else np.full(len(found), -1)
    return Met(person, heads[seen].astype(float), owners[seen])


def right_heads(crowd: Crowd, found: Bodies) -> Int[np.ndarray, "r 2"]:
    """The found heads that are right by the protocol of `metrics.association.pair_scores`, and whose they are."""
    heads, belongs = head_rows(crowd)
    overlap, rows, taken = iou(found.parts.boxes, heads), [], set()
    for row in np.argsort(-found.parts.scores.astype(float), kind="stable") if len(heads) else ():
        best = int(overlap[row].argmax())
        if overlap[row, best] > 0.5 and best not in taken and crowd.visible[belongs[best]] >= LEAST_VISIBLE:
            taken.add(best)
            rows.append((row, belongs[best]))
    return np.array(rows, int).reshape(-1, 2)


def _overlap(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """IoU of corresponding boxes."""
    return np.array([iou(a[i : i + 1], b[i : i + 1])[0, 0] for i in range(len(a))])


def on_their_own(crowd: Crowd, found: Bodies, owners: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "h 2"]:
    """Per true head: whether it and its person are found, and whether it hangs on that person.

    Conditional accuracy takes any body that overlaps the right one by half for the right one; in a crowd that is often a neighbour.
    Here a body that was found is the person whom it overlaps most.
    """
    person, heads, belongs = met(crowd, found)
    out = np.zeros((len(heads), 2), bool)
    if not len(heads) or not len(found) or not len(found.parts):
        return out
    overlap = iou(heads, found.parts.boxes.astype(float))
    part = overlap.argmax(1)
    out[:, 0] = (overlap.max(1) >= 0.5) & np.isin(belongs, person)
    out[:, 1] = out[:, 0] & (np.append(person, -1)[owners[part]] == belongs)
    return out


def hook_errors(one: Seen) -> Float[np.ndarray, " f"]:
    """Of the people who are found and whose head is seen: how far their surest body's hook is from their head's middle, in its heights."""
    person, heads, belongs = met(one.crowd, one.found)
    rows = np.flatnonzero(np.isin(belongs, person))
    body = np.array([np.flatnonzero(person == belongs[row])[0] for row in rows], int)
    middles = (heads[rows, :2] + heads[rows, 2:]) / 2
    return np.linalg.norm(one.found.hooks[body, 0] - middles, axis=1) / (heads[rows, 3] - heads[rows, 1])


def strict_figures(own: Bool[np.ndarray, "h 2"]) -> dict[str, float]:
    """Of rows of `on_their_own`."""
    both = int(own[:, 0].sum())
    return {"both found": both, "own": int(own[:, 1].sum()) / max(both, 1), "own of all": float(own[:, 1].mean())}


def measure_decoding(draw: Callable[[int], Crowd], pictures: int = PICTURES) -> list[dict]:
    """True boxes, and hooks with noise: share of heads on the wrong body, by rule."""
    rng, results = np.random.default_rng(0), []
    for density in DENSITIES:
        wrong: dict[str, list[float]] = {}
        for _ in range(pictures):
            found, points, own = noisy(rng, draw(density))
            for rule, owners in owners_by(found, found.hooks, points).items():
                wrong.setdefault(rule, []).extend(owners != own)
        results += [
            {"arm": "decoding", "people": density, "rule": r, "wrong": round(float(np.mean(w)), 4), "heads": len(w)}
            for r, w in wrong.items()
        ]
    return results


def noisy(rng: np.random.Generator, crowd: Crowd, noise: float = 0.06) -> tuple[Bodies, np.ndarray, np.ndarray]:
    """The people whose head is seen as if they were found, hooks with noise (in body heights); where heads expect theirs; whose each is."""
    heads, belongs = head_rows(crowd)
    has = np.zeros(len(crowd.bodies), bool)
    has[belongs] = True
    rows = np.flatnonzero((crowd.visible >= LEAST_VISIBLE) & has)
    heads = heads[np.isin(belongs, rows)]
    own = np.searchsorted(rows, belongs[np.isin(belongs, rows)])
    bodies, height = crowd.bodies[rows], crowd.bodies[rows, 3] - crowd.bodies[rows, 1]
    middles = np.zeros((len(rows), 2))
    middles[own] = (heads[:, :2] + heads[:, 2:]) / 2
    hooks = middles + rng.normal(0, noise, (len(rows), 2)) * height[:, None]
    parts = Detections(heads, np.ones(len(heads), np.float32), np.ones(len(heads), np.int32))
    empty = np.full((len(rows), 1), -1), parts, np.zeros((len(rows), 1, 0), np.float32)
    points = (bodies[own, :2] + bodies[own, 2:]) / 2 + rng.normal(0, noise, (len(own), 2)) * height[own, None]
    return Bodies(bodies, np.ones(len(rows), np.float32), hooks[:, None], *empty), points, own
