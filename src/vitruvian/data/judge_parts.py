"""A detector on a data set of people with parts or headings: what it finds, and the set's own table (card bpjdet.md section 7).

| data set | figures |
|---|---|
| CrowdHuman, also BFJDet's faces | AP, AP50, its toolkit's AP, MR-2 of people and of parts; mMR-2 of both together by four setups |
| CityPersons, also with BFJDet's faces or heads | AP, MR-2 of people by four setups; AP, MR-2 of parts, and mMR-2 |
| BodyHands | hands: 11-point AP, conditional accuracy, Joint AP with the body checked |
| ContactHands | hands: 11-point AP; of each state of contact the AP of hands in it, ranked by hand times state, and their mean |
| COCOHumanParts | AP of each class, of all parts and of those alone that hang on somebody ("sub": subordinate) |
| MEBOW | Acc-5 ... Acc-45 and mean error of the people who were found; the same with those who were missed counted as wrong ("all"), and \
so with detections of at least 0.3, each for one person ("sure"); AP of people |

AP is COCO's (101 points of recall, areas to ignore as its crowds); "AP-toolkit" is CrowdHuman's own (`metrics.crowd_precision`). Parts of
detectors that don't know whose they are (`codecs.owned`) are joined to people by their boxes: the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from vitruvian.codecs.association import CONTACTS, Thresholds
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.data.bodyface import bodyface
from vitruvian.data.bodyhands import bodyhands
from vitruvian.data.citypersons import citypersons
from vitruvian.data.cocohumanparts import cocohumanparts
from vitruvian.data.contacthands import contacthands
from vitruvian.data.crowdhuman import crowdhuman
from vitruvian.data.mebow import mebow
from vitruvian.data.parts import PartDataset, PartPicture, pairs_of
from vitruvian.errors import VitruvianError
from vitruvian.media.pictures import read_image
from vitruvian.metrics.association import CITYPERSONS, CROWDHUMAN, FoundPairs, Setup, TruePairs, crowd_precision, miss_rate, pair_scores
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision
from vitruvian.metrics.orientation import LIMITS, Facings, OrientationScores, orientation_scores
from vitruvian.people.owners import owners_of, whole_people

if TYPE_CHECKING:
    from vitruvian.runtime.detector import Detector

PartKind = Literal[
    "crowdhuman", "crowdhuman-face", "citypersons", "citypersons-face", "citypersons-head", "bodyhands", "contacthands", "cocohumanparts",
    "mebow",
]  # fmt: skip
_READERS: Mapping[str, Callable[..., PartDataset]] = {
    "crowdhuman": crowdhuman, "citypersons": citypersons, "bodyhands": bodyhands, "contacthands": contacthands,
    "cocohumanparts": cocohumanparts, "mebow": mebow,
}  # fmt: skip
_SURE = 0.3  # the score from which a person counts as found, in the rows "sure"
_SETUPS: Mapping[str, Mapping[str, Setup]] = {"crowdhuman": CROWDHUMAN, "citypersons": CITYPERSONS}

Table = dict[str, dict[str, float]]
"""Row -> column -> figure: shares in [0, 1], and what `PLAIN` names."""
PLAIN = ("people", "matched", "MAE")
"""Columns that are no shares: numbers of people, and degrees."""


@dataclass(frozen=True, eq=False)
class JudgedParts:
    """A picture and what was found in it. found: labels index the data set's classes. owners: (n,) row of the person, -1 for nobody's.

    contacts: (n, s) scores of `codecs.association.CONTACTS`, NaN where the network says nothing.
    """

    picture: PartPicture
    found: Detections
    owners: Int[np.ndarray, " n"]
    headings: Float[np.ndarray, " n"]
    contacts: Float[np.ndarray, "n s"]


def read_parts(kind: PartKind, folder: str | Path, split: str = "") -> PartDataset:
    """A data set in its official folder; split "" is the one figures are published of (BodyHands and ContactHands: test, others val).

    Raises FormatError where it is not there, VitruvianError for a split that it hasn't.
    """
    usual = "test" if kind in ("bodyhands", "contacthands") else "val"
    if split and split not in ("train", usual):
        raise VitruvianError(f"{kind} has no split {split!r}: take train or {usual}")
    name, _, part = kind.partition("-")
    if part:
        return bodyface(folder, split or usual, part)
    return _READERS[name](folder, split or usual)


def thresholds_for(kind: PartKind) -> Thresholds:
    """Least scores and largest overlaps of the published evaluations (cards bpjdet.md section 5, jointbdoe.md section 5)."""
    if kind == "mebow":
        return Thresholds(0.001, 0.65, 0.001)
    return Thresholds(0.01, 0.6, 0.02) if kind.startswith("citypersons") else Thresholds()


def judge_parts(
    dataset: PartDataset, detector: Detector, limit: int | None = None, on_picture: Callable[[int], object] = lambda done: None
) -> list[JudgedParts]:
    """Run a detector over a data set's pictures (the first `limit`). What is of none of the set's classes is left out.

    Raises MediaError where a picture can't be read, VitruvianError where the network finds nobody, or the set asks for headings and the
    network knows none; and so for contacts.
    """
    names = [name.replace("_", " ") for name in detector.card.classes]
    label_of = np.array([dataset.classes.index(name) if name in dataset.classes else -1 for name in names])
    if 0 not in label_of:
        raise VitruvianError(f"{detector.card.id} finds {', '.join(names[:6])}, no people: take a detector of people")
    if dataset.name == "mebow" and detector.layout.kind != "facing":
        raise VitruvianError(f"{detector.card.id} doesn't say which way people face: take a JointBDOE network")
    judged: list[JudgedParts] = []
    for picture in islice(dataset, limit):
        found = whole_people(detector([read_image(picture.file)])[0], names)
        owners = owners_of(found, names)
        labels = label_of[found.labels]
        kept = np.flatnonzero(labels >= 0)
        place = np.full(len(found) + 1, -1)
        place[kept] = np.arange(len(kept))
        mine = Detections(found.boxes[kept], found.scores[kept], labels[kept].astype(np.int32))
        unknown = np.full(len(kept), np.nan, np.float32), np.zeros((len(kept), 0), np.float32)
        headings, contacts = (found.angles[kept], found.contacts[kept]) if isinstance(found, OwnedDetections) else unknown
        if dataset.name == "contacthands" and contacts.shape[1] != len(CONTACTS):
            raise VitruvianError(f"{detector.card.id} doesn't say what hands touch: take a network for contact hands")
        judged.append(JudgedParts(picture, mine, place[owners[kept]], headings, contacts))
        on_picture(len(judged))
    return judged


def part_table(judged: Sequence[JudgedParts], dataset: PartDataset, kind: PartKind) -> Table:
    """The figures of the data set, see the head of this file; NaN or -1 where there is nobody to find. Miss rates: less is better."""
    if kind == "mebow":
        return _headings(judged)
    if kind == "bodyhands":
        scores = pair_scores(_true_hands(judged), _found_hands(judged))
        return {"hand": {"AP50": scores.part_ap, "cond. acc.": scores.conditional_accuracy, "Joint AP": scores.joint_ap}}
    if kind == "contacthands":
        return _contacts(judged)
    if kind == "cocohumanparts":
        return _subordinate(judged, dataset.classes)
    return _miss_rates(judged, dataset.classes, _SETUPS[kind.partition("-")[0]])


def boxes_of(judged: Sequence[JudgedParts], owned_only: bool = False) -> tuple[TrueBoxes, FoundBoxes]:
    """All true and all found boxes. People to ignore, and their parts, are crowds. owned_only: without found parts that are nobody's."""
    pictures = [one.picture for one in judged]
    kept = [np.flatnonzero((one.found.labels == 0) | (one.owners >= 0) | (not owned_only)) for one in judged]
    truth = TrueBoxes(
        _numbers(len(p.bodies) + len(p.parts) for p in pictures),
        _stacked([boxes for p in pictures for boxes in (p.bodies, p.parts)], 4),
        _stacked([labels for p in pictures for labels in (np.zeros(len(p.bodies)), p.labels)]).astype(int),
        _stacked([rows for p in pictures for rows in (p.ignore, np.append(p.ignore, False)[p.owners])]).astype(bool),
    )
    found = FoundBoxes(
        _numbers(len(rows) for rows in kept),
        _stacked([one.found.boxes[rows] for one, rows in zip(judged, kept, strict=True)], 4),
        _stacked([one.found.labels[rows] for one, rows in zip(judged, kept, strict=True)]).astype(int),
        _stacked([one.found.scores[rows] for one, rows in zip(judged, kept, strict=True)]),
    )
    return truth, found


def _subordinate(judged: Sequence[JudgedParts], classes: Sequence[str]) -> Table:
    """COCOHumanParts: each class and the mean over those that there are."""
    every, sub = (box_average_precision(*boxes_of(judged, owned), len(classes)) for owned in (False, True))
    columns = {name: every[name] for name in ("AP", "AP50", "AP75")} | {f"{name} sub": sub[name] for name in ("AP", "AP50")}
    table = {name: {key: float(values[i]) for key, values in columns.items()} for i, name in enumerate(classes)}
    return table | {"mean": {key: _mean(values[values >= 0]) for key, values in columns.items()}}


def _miss_rates(judged: Sequence[JudgedParts], classes: Sequence[str], setups: Mapping[str, Setup]) -> Table:
    """CrowdHuman and CityPersons: people, and the part where the set has one, alone and together."""
    truth, found = boxes_of(judged)
    precision, count = box_average_precision(truth, found, len(classes)), len(judged)
    table = {name: {key: float(precision[key][label]) for key in ("AP", "AP50")} for label, name in enumerate(classes)}
    people, bodies = _true_people(judged), _found_people(judged)
    alone = {"person": (people, bodies), **({classes[1]: _parts_alone(truth, found)} if len(classes) > 1 else {})}
    for name, boxes in alone.items():
        table[name] |= {"AP-toolkit": crowd_precision(*boxes)} if setups is CROWDHUMAN else {}
        table[name]["MR-2"] = miss_rate(*boxes, count)
    if setups is CITYPERSONS:
        table["person"] |= {name: miss_rate(people, bodies, count, setup) for name, setup in setups.items()}
    if len(classes) > 1:
        pairs, hung = pairs_of((one.picture for one in judged), 1), _found_pairs(judged)
        rates = {name: miss_rate(pairs, hung, count, setup) for name, setup in setups.items()}
        table[f"mMR-2 {classes[1]}"] = rates | {"mean": float(np.mean(list(rates.values())))}
    return table


def _true_people(judged: Sequence[JudgedParts]) -> TruePairs:
    image = _numbers(len(one.picture.bodies) for one in judged)
    boxes, visible, ignore = (
        _stacked([getattr(one.picture, n) for one in judged], *t) for n, t in (("bodies", (4,)), ("visible", ()), ("ignore", ()))
    )
    return TruePairs(image, boxes, None, visible, ignore.astype(bool))


def _found_people(judged: Sequence[JudgedParts]) -> FoundPairs:
    people = [one.found[one.found.labels == 0] for one in judged]
    image = _numbers(len(one) for one in people)
    return FoundPairs(image, _stacked([one.boxes for one in people], 4), None, _stacked([one.scores for one in people]))


def _parts_alone(truth: TrueBoxes, found: FoundBoxes) -> tuple[TruePairs, FoundPairs]:
    mine, seen = truth.labels == 1, found.labels == 1
    true = TruePairs(truth.image[mine], truth.boxes[mine], None, np.ones(mine.sum()), truth.crowd[mine])
    return true, FoundPairs(found.image[seen], found.boxes[seen], None, found.scores[seen])


def _found_pairs(judged: Sequence[JudgedParts]) -> FoundPairs:
    """People who have a part, with it."""
    rows = [np.flatnonzero((one.found.labels == 1) & (one.owners >= 0)) for one in judged]
    owners = [one.owners[mine] for one, mine in zip(judged, rows, strict=True)]
    image = _numbers(len(mine) for mine in rows)

    def column(name: str, at: Sequence[np.ndarray], *shape: int) -> np.ndarray:
        return _stacked([getattr(one.found, name)[mine] for one, mine in zip(judged, at, strict=True)], *shape)

    return FoundPairs(image, column("boxes", owners, 4), column("boxes", rows, 4), column("scores", owners), column("scores", rows))


def _true_hands(judged: Sequence[JudgedParts]) -> TruePairs:
    """All hands, those of nobody with a body that nothing overlaps."""
    pictures = [one.picture for one in judged]
    image = _numbers(len(p.parts) for p in pictures)
    bodies = _stacked([np.concatenate([p.bodies, np.full((1, 4), -1e9)])[p.owners] for p in pictures], 4)
    ignore = _stacked([np.append(p.ignore, False)[p.owners] for p in pictures]).astype(bool)
    return TruePairs(image, bodies, _stacked([p.parts for p in pictures], 4), np.ones(len(image)), ignore)


def _found_hands(judged: Sequence[JudgedParts]) -> FoundPairs:
    """All hands, those of nobody with a body that overlaps none."""
    rows = [np.flatnonzero(one.found.labels == 1) for one in judged]
    image = _numbers(len(mine) for mine in rows)
    places = [np.concatenate([one.found.boxes, np.full((1, 4), -2e9)])[one.owners[mine]] for one, mine in zip(judged, rows, strict=True)]
    boxes, scores = ([getattr(one.found, name)[mine] for one, mine in zip(judged, rows, strict=True)] for name in ("boxes", "scores"))
    return FoundPairs(image, _stacked(places, 4), _stacked(boxes, 4), _stacked(scores))


def _contacts(judged: Sequence[JudgedParts]) -> Table:
    """ContactHands: hands, and hands in each state. A state that nobody is sure of is neither missed nor a fault to find."""
    true, found = _true_hands(judged), _found_hands(judged)
    known = _stacked([one.picture.contacts for one in judged], len(CONTACTS))
    told = _stacked([one.contacts[one.found.labels == 1] for one in judged], len(CONTACTS))
    table = {"hand": {"AP50": pair_scores(true, found).part_ap}}
    for state, name in enumerate(CONTACTS):
        rows = np.flatnonzero(known[:, state] != 0)
        columns = (getattr(true, column)[rows] for column in ("image", "bodies", "parts", "visible"))
        of_state = TruePairs(*columns, true.ignore[rows] | np.isnan(known[rows, state]))
        scores = pair_scores(of_state, replace(found, scores=found.scores * np.nan_to_num(told[:, state])))
        table[f"contact: {name}"] = {"AP50": scores.part_ap}
    states = np.array([table[f"contact: {name}"]["AP50"] for name in CONTACTS])
    return table | {"contact: mean": {"AP50": _mean(states[np.isfinite(states)])}}


def _headings(judged: Sequence[JudgedParts]) -> Table:
    """MEBOW: people whom a person labelled; and, where there are weak labels, all who are labelled ("FULL")."""
    table: Table = {}
    for name, weak_too in (("MEBOW", False), ("FULL", True)):
        if weak_too and not any(one.picture.weak.any() for one in judged):
            continue
        truth, found = [], []
        for one in judged:
            known = np.isfinite(one.picture.headings) & (weak_too | ~one.picture.weak)
            truth.append(Facings(one.picture.bodies[known], one.picture.headings[known]))
            people = one.found.labels == 0
            found.append(Facings(one.found.boxes[people], one.headings[people], one.found.scores[people]))
        published = orientation_scores(truth, found)
        sure = orientation_scores(truth, found, one_to_one=True, least_score=_SURE)
        table[name] = _row_of(published, published.accuracy)
        table[f"{name} all"] = _row_of(published, published.of_all)
        table[f"{name} sure"] = _row_of(sure, sure.of_all)
    precision = box_average_precision(*boxes_of(judged), 1)
    return table | {"person": {key: float(precision[key][0]) for key in ("AP", "AP50")}}


def _row_of(scores: OrientationScores, shares: Mapping[float, float]) -> dict[str, float]:
    counts = {"matched": float(scores.matched), "people": float(scores.people), "MAE": scores.mae}
    return counts | {f"Acc-{limit:g}": shares[limit] for limit in LIMITS}


def _numbers(counts: Iterable[int]) -> Int[np.ndarray, " n"]:
    """The number of a picture for each of its rows."""
    counts = np.fromiter(counts, np.int64)
    return np.repeat(np.arange(len(counts)), counts)


def _stacked(values: Sequence[np.ndarray], *shape: int) -> np.ndarray:
    return np.concatenate([np.zeros((0, *shape)), *(np.reshape(value, (-1, *shape)) for value in values)])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
