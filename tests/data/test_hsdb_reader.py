"""hSDB-instrument's files, class tree, and which annotated parts are one instrument."""

import json

import numpy as np
import pytest

from vitruvian.data.hsdb_instrument import (
    CHOLECYSTECTOMY,
    CLASSES,
    GASTRECTOMY,
    hsdb_instrument,
    instrument_of,
    instruments_of,
    part_of,
    tie_parts,
)
from vitruvian.data.hsdb_labels import LABELS
from vitruvian.errors import FormatError


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def document(*rows, classes=CHOLECYSTECTOMY):
    images = [{"id": 1, "file_name": "case1/f.png", "width": 64, "height": 48}, {"id": 2, "file_name": "case1/g.png"}]
    annotations = [{"id": i, "image_id": 1, "category_id": classes.index(name) + 1} | more for i, (name, more) in enumerate(rows)]
    return {"images": images, "annotations": annotations, "categories": [{"id": i + 1, "name": name} for i, name in enumerate(classes)]}


def test_class_tree():
    assert (len(CHOLECYSTECTOMY), len(GASTRECTOMY)) == (17, 33)
    assert (len(instruments_of(CHOLECYSTECTOMY)), len(instruments_of(GASTRECTOMY))) == (10, 17)
    assert len({*instruments_of(CHOLECYSTECTOMY), *instruments_of(GASTRECTOMY)}) == 21
    assert instrument_of("ClipApplier(Hem-O-Lok)_Head") == "ClipApplier(Hem-O-Lok)" and part_of("ClipApplier(Hem-O-Lok)_Head") == "head"
    assert instrument_of("Suction-Irrigation") == "Suction-Irrigation" and part_of("Suction-Irrigation") == ""


@pytest.mark.parametrize("surgery", CLASSES)
def test_every_class_has_its_count(surgery):
    assert set(LABELS[surgery]) == set(CLASSES[surgery])


def test_frames_with_boxes_and_polygons(tmp_path):
    ring = [1, 2, 11, 2, 11, 22]
    rows = [("Scissors_Head", {"bbox": [1, 2, 10, 20], "segmentation": [ring, [0, 0, 1, 1]]}), ("Electrichook", {"bbox": [5, 5, 4, 4]})]
    write(tmp_path / "annotations/cholecystectomy_test.json", document(*rows))
    first, second = hsdb_instrument(tmp_path)
    assert first.file == tmp_path / "images/case1/f.png" and first.names == ("Scissors_Head", "Electrichook") and second.names == ()
    assert first.boxes[0].tolist() == [1, 2, 11, 22] and first.polygons[1] is None and first.size == (64, 48)
    np.testing.assert_array_equal(first.polygons[0], np.reshape(ring, (-1, 2)))
    assert first.tied.names == ("Scissors", "Electrichook") and len(first.tied.polygons[0]) == 1
    assert hsdb_instrument(tmp_path, merged=True)[0].names == ("Scissors", "Electrichook")
    assert len(second.tied.names) == 0 and second.tied.parts.shape == (0, 3, 4)


def test_names_are_known_with_and_without_hyphens(tmp_path):
    write(tmp_path / "annotations/gastrectomy_val.json", document(classes=tuple(name.replace("-", " ") for name in GASTRECTOMY)))
    assert len(hsdb_instrument(tmp_path, "gastrectomy", "val")) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"categories": [{"id": 1, "name": "HarmonicAce_Head"}]},
        {"categories": []},
        {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]},
        {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [["x"] * 6]}]},
        {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 1e9, 4]]}]},
        {"images": [{"id": 1, "file_name": "/etc/passwd"}], "annotations": []},
    ],
)
def test_hostile_files(tmp_path, change):
    write(tmp_path / "annotations/cholecystectomy_test.json", document(("Scissors_Head", {"bbox": [1, 2, 3, 4]})) | change)
    with pytest.raises(FormatError):
        hsdb_instrument(tmp_path)


def test_one_of_each_part_is_one_instrument_however_far():
    boxes = np.array([[0, 0, 10, 10], [500, 500, 510, 510]], float)
    tied = tie_parts(["Scissors_Body", "Scissors_Head"], boxes)
    assert tied.names == ("Scissors",) and not tied.ambiguous[0] and tied.wholes[0].tolist() == [0, 0, 510, 510]
    assert tied.parts[0, 0].tolist() == boxes[1].tolist() and np.isnan(tied.parts[0, 1]).all()


def test_several_of_one_name_are_tied_by_nearness_and_the_rest_stay_alone():
    names = ["CadiereForceps_Head", "CadiereForceps_Head", "CadiereForceps_Wrist", "CadiereForceps_Body", "CadiereForceps_Body"]
    boxes = np.array([[0, 0, 10, 10], [200, 0, 210, 10], [208, 8, 220, 20], [9, 9, 60, 60], [218, 18, 280, 60]], float)
    tied = tie_parts(names, boxes)
    left, right = np.argsort(tied.wholes[:, 0])
    assert len(tied.names) == 2 and not tied.ambiguous.any()
    assert tied.wholes[left].tolist() == [0, 0, 60, 60] and np.isnan(tied.parts[left, 1]).all()
    assert tied.wholes[right].tolist() == [200, 0, 280, 60] and np.isfinite(tied.parts[right]).all()
    alone = tie_parts(
        ["Scissors_Head", "Scissors_Head", "Scissors_Body"], np.array([[0, 0, 10, 10], [900, 0, 910, 10], [9, 9, 60, 60]], float)
    )
    assert len(alone.names) == 2 and not alone.ambiguous.any()


def test_crossing_tools_are_ambiguous():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [10, 10, 20, 20], [10, -10, 20, 0]], float)
    assert tie_parts(["Scissors_Head"] * 2 + ["Scissors_Body"] * 2, boxes).ambiguous.all()
