"""COCO-WholeBody annotations written: what was read comes back; takes become annotations and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED, assert_columns_agree, takes, walk_take
from hypothesis import HealthCheck, given, settings

from vitruvian.errors import FormatError
from vitruvian.formats.coco import WholeBodyAnnotations, read_coco, read_wholebody_annotations
from vitruvian.formats.coco_wholebody import annotations_from_take, take_from_annotations, write_wholebody_annotations
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import Take


def assert_same(a: WholeBodyAnnotations, b: WholeBodyAnnotations) -> None:
    for field in fields(WholeBodyAnnotations):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "valid":
            assert {part: flags.tolist() for part, flags in x.items()} == {part: flags.tolist() for part, flags in y.items()}
        elif field.name == "files":
            assert x == y
        else:
            np.testing.assert_allclose(x, y, atol=1e-4, err_msg=field.name)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes((COCO_WHOLEBODY_133,), optional=False))
def test_write_read(take: Take, tmp_path: Path):
    annotations = annotations_from_take(take)
    write_wholebody_annotations(annotations, tmp_path / "a.json")
    back = read_wholebody_annotations(tmp_path / "a.json")
    assert_same(back, annotations)
    again = take_from_annotations(back)
    if len(take.people):
        assert_columns_agree(again, take, ("boxes", "keypoints"))
        assert [again.name_of(i) for i in again.people.frame] == [take.name_of(i) for i in take.people.frame]


def test_layout(tmp_path: Path):
    write_wholebody_annotations(annotations_from_take(walk_take(1)), tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert set(document) == {"info", "licenses", "images", "annotations", "categories"}
    (annotation,) = document["annotations"]
    assert {"face_box", "lefthand_box", "righthand_box", "foot_kpts", "face_valid", "foot_valid", "lefthand_valid"} <= set(annotation)
    assert not annotation["face_valid"] and annotation["face_box"] == [0, 0, 0, 0] and annotation["lefthand_valid"]
    assert annotation["num_keypoints"] == 15 and annotation["keypoints"][2] == 2 and annotation["keypoints"][3:6] == [0, 0, 0]
    x, y, width, height = annotation["lefthand_box"]
    hand = np.array(annotation["lefthand_kpts"]).reshape(21, 3)
    assert [x, y] == pytest.approx(hand[:, :2].min(0).tolist(), abs=1e-3) and x + width == pytest.approx(hand[:, 0].max(), abs=1e-3)
    assert read_coco(tmp_path / "a.json").skeleton is COCO_17  # as plain COCO it is a file of 17 points


def test_other_sets_and_repeated_ids_are_refused(tmp_path: Path):
    take = walk_take(2)
    with pytest.raises(FormatError, match="133"):
        annotations_from_take(Take(take.people.empty(17), COCO_17, [], np.zeros((0, 2))))
    with pytest.raises(FormatError, match="id"):
        write_wholebody_annotations(replace(annotations_from_take(take), ids=np.array([1, 1])), tmp_path / "a.json")


@pytest.mark.shared
def test_published_annotations_come_back(tmp_path: Path):
    path = SHARED / "images" / "coco" / "wholebody.json"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    annotations = read_wholebody_annotations(path)
    write_wholebody_annotations(annotations, tmp_path / "a.json")
    assert_same(read_wholebody_annotations(tmp_path / "a.json"), annotations)
    take = take_from_annotations(annotations)
    assert len(take.times) == 4 and len(take.people) == 14 and take.names[0].endswith(".jpg")
