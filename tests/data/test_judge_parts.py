"""Judging a detector: one that knows the truth gets full marks in every set's own table, and one that mixes up owners is found out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import part_sets
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.data.judge_parts import PART_KINDS, JudgedParts, boxes_of, judge_parts, part_table, read_parts
from vitruvian.errors import FormatError, VitruvianError

FOLDERS = {
    "crowdhuman": "crowdhuman", "crowdhuman-face": "bodyface", "citypersons": "citypersons", "citypersons-face": "bodyface",
    "citypersons-head": "bodyface", "bodyhands": "bodyhands", "contacthands": "contacthands", "cocohumanparts": "cocohumanparts",
    "mebow": "mebow",
}  # fmt: skip
WITH_PARTS = [kind for kind in FOLDERS if kind not in ("citypersons", "mebow")]


class Knowing:
    """Finds what is annotated, in the order of the data set; people are `turned` from where they face, parts may change hands."""

    def __init__(self, dataset, swap=False, turned=0.0, owns=True, missed=0):
        self.pictures, self.classes = iter(list(dataset)), dataset.classes
        self.card = SimpleNamespace(id="knowing", classes=tuple(name.replace(" ", "_") for name in dataset.classes))
        self.layout = SimpleNamespace(kind="facing" if dataset.name == "mebow" else "owned" if owns else "boxes")
        self.swap, self.turned, self.owns, self.missed = swap, turned, owns, missed

    def __call__(self, images):
        (picture,) = (next(self.pictures) for _ in images)
        people, many = len(picture.bodies) - min(self.missed, len(picture.bodies)), len(picture.parts)
        boxes = np.concatenate([picture.bodies[:people], picture.parts]).astype(np.float32)
        labels = np.concatenate([np.zeros(people), picture.labels]).astype(np.int32)
        scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
        owners = picture.owners[::-1] if self.swap else picture.owners
        persons = np.concatenate([np.arange(people), owners]).astype(np.int32)
        angles = np.concatenate([picture.headings[:people] + np.radians(self.turned), np.full(many, np.nan)]).astype(np.float32)
        if not self.owns:
            return [Detections(boxes, scores, labels)]
        nothing = np.full((people, picture.contacts.shape[1]), np.nan)
        contacts = np.concatenate([nothing, picture.contacts]).astype(np.float32)
        return [OwnedDetections(boxes, scores, labels, persons, angles, contacts)]


@pytest.fixture
def judged(tmp_path):
    def judge(kind, weak=False, **options):
        folder = part_sets.mebow(tmp_path / kind, weak) if kind == "mebow" else getattr(part_sets, FOLDERS[kind])(tmp_path / kind)
        dataset = read_parts(kind, folder)
        found = judge_parts(dataset, Knowing(dataset, **options))
        assert len(found) == (1 if kind == "mebow" else 2)  # a picture without labels is not read
        return part_table(found, dataset, kind)

    return judge


def test_every_set_is_tried():
    assert set(FOLDERS) == set(PART_KINDS)


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_truth_gets_full_marks(judged, kind):
    for row, figures in judged(kind).items():
        for name, value in figures.items():
            less = "MR-2" in (row[:4], name) or name in ("Reasonable", "Bare", "Partial", "Heavy", "Small", "All", "MAE")
            counts = name in ("matched", "people")
            assert value == -1 or np.isnan(value) or value == pytest.approx(2 if counts else 0 if less else 1, abs=1e-4), (row, name)


@pytest.mark.parametrize("kind", ["crowdhuman", "crowdhuman-face", "citypersons-face", "citypersons-head"])
def test_pairs_with_the_wrong_people_are_all_missed(judged, kind):
    table = judged(kind, swap=True)
    part = kind.partition("-")[2] or "head"
    assert table[part]["AP"] == pytest.approx(1) and table[part]["MR-2"] == pytest.approx(0, abs=1e-9)
    assert table[f"mMR-2 {part}"]["Reasonable"] == pytest.approx(1)


def test_setups_of_pedestrians(judged):
    table = judged("citypersons", missed=1)
    assert table.keys() == {"person"} and table["person"]["Reasonable"] == pytest.approx(0.5) and np.isnan(table["person"]["Heavy"])


def test_hands_of_the_wrong_bodies(judged):
    assert judged("bodyhands", swap=True)["hand"] == {"AP50": pytest.approx(1), "cond. acc.": 0, "Joint AP": 0}


def test_contacts_are_hands_in_a_state(tmp_path):
    dataset = read_parts("contacthands", part_sets.contacthands(tmp_path))

    def marks(change):
        knowing = Knowing(dataset)
        find = lambda images: [replace(one, contacts=change(one.contacts)) for one in knowing(images)]  # noqa: E731
        find.card, find.layout = knowing.card, knowing.layout
        table = part_table(judge_parts(dataset, find), dataset, "contacthands")
        return [table[name]["AP50"] for name in ("hand", "contact: self", "contact: object", "contact: mean")]

    sure = marks(lambda told: told)
    assert sure[:2] == [1, 1] and np.isnan(sure[2]) and sure[3] == 1  # nobody touches a thing, and of one hand nobody knows
    assert marks(lambda told: np.where(told == 1, 0.1, 0.9).astype(np.float32))[1] == 1  # the unsure hand is no fault
    with pytest.raises(VitruvianError, match="what hands touch"):
        marks(lambda told: told[:, :0])


def test_subordinate_parts_are_those_that_hang_on_somebody(judged):
    table = judged("cocohumanparts", missed=1)  # the second head's owner is not found
    assert table["head"]["AP"] == pytest.approx(1) and table["head"]["AP sub"] == pytest.approx(51 / 101)
    assert table["face"]["AP"] == -1 and table["mean"]["AP"] == pytest.approx((1 + table["person"]["AP"]) / 2)


def test_headings(judged):
    table = judged("mebow", turned=10.0, missed=1)
    assert table["MEBOW"]["Acc-5"] == 0 and table["MEBOW"]["Acc-15"] == 1 and table["MEBOW"]["MAE"] == pytest.approx(10, abs=1e-3)
    assert (table["MEBOW"]["matched"], table["MEBOW"]["people"]) == (1, 2) and table["MEBOW all"]["Acc-15"] == 0.5
    assert table["MEBOW sure"]["Acc-15"] == 0.5 and table["person"]["AP50"] == pytest.approx(51 / 101)
    assert "FULL" not in table


def test_weak_labels_have_a_row_of_their_own(judged):
    table = judged("mebow", weak=True)
    assert table["MEBOW"]["people"] == 1 and table["FULL"]["people"] == 2


def test_without_owners_parts_are_joined_by_boxes(judged):
    assert judged("crowdhuman", owns=False)["mMR-2 head"]["Reasonable"] == pytest.approx(0, abs=1e-9)


def test_classes_that_the_set_lacks_are_left_out(tmp_path):
    dataset = read_parts("crowdhuman", part_sets.crowdhuman(tmp_path))
    knowing = Knowing(dataset)
    knowing.card.classes = ("foot", "person")
    (first, _) = judge_parts(dataset, knowing)
    assert first.found.labels.tolist() == [0, 0] and first.owners.tolist() == [0, 1]  # the heads of the network are people here


def test_limits_and_nothing_at_all(tmp_path):
    dataset, done = read_parts("crowdhuman", part_sets.crowdhuman(tmp_path)), []
    assert len(judge_parts(dataset, Knowing(dataset), 1, done.append)) == 1 and done == [1]
    for kind in PART_KINDS:
        table = part_table([], dataset, kind)
        assert all(not value > 0 for row in table.values() for value in row.values())
    nobody = JudgedParts(
        next(iter(dataset)),
        Detections(*(np.zeros(s, np.float32) for s in ((0, 4), 0)), np.zeros(0, int)),
        *(np.zeros(s, k) for s, k in ((0, int), (0, float), ((0, 0), float))),
    )
    truth, found = boxes_of([nobody])
    assert len(truth.image) == 4 and len(found.image) == 0 and part_table([nobody], dataset, "crowdhuman")["person"]["AP"] == 0


def test_what_can_t_be_judged(tmp_path):
    dataset = read_parts("mebow", part_sets.mebow(tmp_path))
    knowing = Knowing(dataset)
    knowing.layout.kind = "owned"
    with pytest.raises(VitruvianError, match="which way people face"):
        judge_parts(dataset, knowing)
    knowing.card.classes = ("cat",)
    with pytest.raises(VitruvianError, match="no people"):
        judge_parts(dataset, knowing)
    with pytest.raises(VitruvianError, match="no split"):
        read_parts("bodyhands", tmp_path, "val")
    with pytest.raises(FormatError, match="expected there"):
        read_parts("crowdhuman", tmp_path)
