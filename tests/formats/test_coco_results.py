"""COCO results: layout, scores, ids from names, what the official evaluation makes of them, hostile files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import assert_columns_agree, takes, walk_take
from hypothesis import HealthCheck, given, settings

from vitruvian.errors import FormatError
from vitruvian.formats.coco import write_coco
from vitruvian.formats.coco_results import read_results, write_results
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, OPENPOSE_BODY_25
from vitruvian.take import Take

PARTS = ["keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"]
SCORES = ["score", "foot_score", "face_score", "lefthand_score", "righthand_score"]


def test_whole_body_layout(tmp_path: Path):
    take = replace(walk_take(2), names=("000000000785.jpg", "000000040083.jpg"))
    write_results(take, tmp_path / "r.json")
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["image_id"] for row in rows] == [785, 40083]
    assert set(rows[0]) == {"image_id", "category_id", *PARTS, *SCORES, "wholebody_score"}
    assert [len(rows[0][part]) for part in PARTS] == [51, 18, 204, 63, 63]
    assert rows[0]["score"] == pytest.approx(0.9 * 0.8) and rows[0]["face_score"] == 0 and rows[0]["wholebody_score"] == pytest.approx(0.9)
    assert rows[0]["keypoints"][:2] == pytest.approx(take.keypoints[0, 0].tolist(), abs=1e-3)
    assert rows[0]["face_kpts"][:3] == [0, 0, 0]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes((COCO_17, COCO_WHOLEBODY_133), optional=False))
def test_write_read(take: Take, tmp_path: Path):
    write_results(take, tmp_path / "r.json")
    back = read_results(tmp_path / "r.json")
    assert_columns_agree(back, take, ("keypoints", "confidence", "scores"))
    assert len(back.people) == len(take.people) and len(back.times) == len(np.unique(take.people.frame))
    if len(take.people):
        assert back.skeleton is take.skeleton


def test_the_official_evaluation_reads_it(tmp_path: Path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    take = walk_take(4)
    people = replace(take.people, keypoints=rng.uniform(0, 400, (4, 133, 2)), confidence=np.ones((4, 133)), points=None)
    from vitruvian.formats.convert import convert_take

    body = convert_take(replace(take, people=people, space=""), COCO_17)
    write_coco(body, tmp_path / "truth.json")
    write_results(body, tmp_path / "r.json", image_ids=range(4))
    truth = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "r.json")), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_frames_without_numbers_count_from_1_and_wrong_ids_are_refused(tmp_path: Path):
    take = walk_take(2)
    write_results(take, tmp_path / "r.json")
    assert [row["image_id"] for row in json.loads((tmp_path / "r.json").read_text())] == [1, 2]
    with pytest.raises(FormatError, match="ids"):
        write_results(take, tmp_path / "r.json", image_ids=[1])


def test_other_sets_are_refused(tmp_path: Path):
    from vitruvian.formats.convert import convert_take

    with pytest.raises(FormatError, match="convert"):
        write_results(convert_take(walk_take(1), OPENPOSE_BODY_25), tmp_path / "r.json")


ROW = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}


def test_scores_over_1_stay(tmp_path: Path):
    (tmp_path / "r.json").write_text(json.dumps([ROW | {"score": 7.5, "keypoints": [3.0] * 51}]))
    back = read_results(tmp_path / "r.json")
    assert back.people.scores.tolist() == [7.5] and back.confidence.max() == 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        3,
        [3],
        [{}],
        [ROW | {"keypoints": [1.0] * 50}],
        [ROW | {"keypoints": None}],
        [ROW | {"keypoints": ["1"] * 51}],
        [ROW | {"keypoints": [1e300] * 51}],
        [ROW | {"image_id": "a"}],
        [ROW | {"image_id": 1e20}],
        [ROW | {"score": None}],
        [ROW | {"face_kpts": [1.0] * 204}],
    ],
)
def test_hostile_files_are_format_errors(document: object, tmp_path: Path):
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(FormatError):
        read_results(tmp_path / "r.json")
