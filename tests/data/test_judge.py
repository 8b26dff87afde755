"""Judging a network: an estimator that knows the truth gets full marks, in every set's own table."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vitruvian.codecs.poses import Poses
from vitruvian.data.judge import judge, part_points, pose_scores, poses_of, read_boxes, table
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.media.pictures import write_image
from vitruvian.skeletons import AIC_14, COCO_17, COCO_WHOLEBODY_133, CROWDPOSE_14, JHMDB_15, MPII_16, POSETRACK_17


@pytest.fixture
def scene(tmp_path):
    """Makes a data set of four pictures, the last without anybody, and an estimator that finds each person `off` pixels to the right."""

    def make(name, skeleton, network=None, off=0.0):
        rng, k = np.random.default_rng(0), len(skeleton)
        pictures, truths = [], []
        for number in range(4):
            file = tmp_path / f"{number}.png"
            write_image(file, np.full((120, 160, 3), number, np.uint8))
            n = 0 if number == 3 else 2
            corners = rng.uniform(0, 40, (n, 1, 2))
            points = corners + rng.uniform(5, 75, (n, k, 2))
            boxes = np.concatenate([corners[:, 0], corners[:, 0] + 80], axis=1)
            people = labels(points, np.full((n, k), 2), boxes, heads=np.tile([0, 0, 12.0, 16], (n, 1))) if n else Labels.empty(k)
            pictures.append(Picture(file, number, (160, 120), people, crowding=number / 3))
            truths.append(points + [off, 0])

        def estimator(images, boxes):
            found = []
            for image, places in zip(images, boxes, strict=True):
                true = truths[int(image[0, 0, 0])]
                found.append(Poses(true[: len(places)].astype(np.float32), np.ones((len(places), k), np.float32)))
            return found

        estimator.card = SimpleNamespace(skeleton=(network or skeleton).name)
        return Dataset(name, skeleton, "", lambda: iter(pictures)), estimator

    return make


@pytest.mark.parametrize(
    "name,skeleton,row",
    [
        ("coco-wholebody", COCO_WHOLEBODY_133, "whole"),
        ("coco", COCO_17, "body"),
        ("crowdpose", CROWDPOSE_14, "all"),
        ("mpii", MPII_16, "PCKh@0.5"),
        ("mpii", MPII_16, "AUC"),
        ("posetrack18", POSETRACK_17, "mAP"),
        ("jhmdb", JHMDB_15, "PCK@0.2"),
        ("jhmdb", JHMDB_15, "torso AUC"),
        ("aic", AIC_14, "AUC"),
    ],
)
def test_the_truth_gets_full_marks(scene, name, skeleton, row):
    dataset, estimator = scene(name, skeleton)
    done = []
    judged = judge(dataset, estimator, on_picture=done.append)
    assert done == [4] and sum(len(one.people) for one in judged) == 6
    figures = table(judged, dataset)
    assert all(value in (1.0, -1.0) for value in figures[row].values())
    dataset, estimator = scene(name, skeleton, off=60.0)
    assert max(table(judge(dataset, estimator), dataset)[row].values()) < 0.2


def test_people_whose_head_has_no_box_count_neither_way(scene):
    dataset, estimator = scene("posetrack18", POSETRACK_17)
    judged = judge(dataset, estimator)
    for one in judged:
        one.people.heads[:1] = np.nan
    assert table(judged, dataset)["mAP"]["mean"] == 1.0


def test_whole_body_rows(scene):
    dataset, estimator = scene("coco-wholebody", COCO_WHOLEBODY_133)
    assert list(table(judge(dataset, estimator), dataset)) == ["body", "foot", "face", "hand", "left_hand", "right_hand", "whole"]


def test_a_network_of_another_set_is_converted(scene):
    dataset, estimator = scene("coco", COCO_17)
    whole = lambda images, boxes: [  # noqa: E731
        Poses(*(np.pad(values, ((0, 0), (0, 116)) + ((0, 0),) * (values.ndim - 2)) for values in poses))
        for poses in estimator(images, boxes)
    ]
    whole.card = SimpleNamespace(skeleton="coco-wholebody-133")
    assert table(judge(dataset, whole), dataset)["body"]["AP"] == 1.0


def test_a_part_that_a_network_lacks_is_not_found(scene):
    dataset, estimator = scene("coco-wholebody", COCO_WHOLEBODY_133)
    body = lambda images, boxes: [Poses(poses.keypoints[:, :17], poses.scores[:, :17]) for poses in estimator(images, boxes)]  # noqa: E731
    body.card = SimpleNamespace(skeleton="coco-17")
    figures = table(judge(dataset, body), dataset)
    assert figures["body"]["AP"] == 1.0 and figures["face"]["AP"] == 0.0


def test_detections_are_read_and_used(scene, tmp_path):
    rows = [
        {"image_id": 0, "category_id": 1, "bbox": [0, 0, 80, 80], "score": 0.5},
        {"image_id": 0, "category_id": 3, "bbox": [0] * 4, "score": 1},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    boxes = read_boxes(tmp_path / "boxes.json")
    assert boxes[0].tolist() == [[0, 0, 80, 80, 0.5]]
    dataset, estimator = scene("coco", COCO_17)
    judged = judge(dataset, estimator, boxes)
    assert [len(one.scores) for one in judged] == [1, 0, 0, 0] and judged[0].scores[0] == 0.5
    assert table(judged, dataset)["body"]["AR"] == pytest.approx(1 / 6)
    (tmp_path / "boxes.json").write_text("[3]")
    with pytest.raises(FormatError):
        read_boxes(tmp_path / "boxes.json")


def test_no_pictures_and_limits(scene):
    dataset, estimator = scene("coco-wholebody", COCO_WHOLEBODY_133)
    assert table(judge(dataset, estimator, limit=0), dataset)["whole"]["AP"] == -1
    assert len(judge(dataset, estimator, limit=2)) == 2
    truth, found = poses_of([], COCO_17)
    assert truth.keypoints.shape == found.keypoints.shape == (0, 17, 2)


def test_what_can_t_be_judged(scene):
    for name, skeleton in (("mpii", MPII_16), ("jhmdb", JHMDB_15)):
        dataset, estimator = scene(name, skeleton)
        with pytest.raises(VitruvianError, match="its own boxes"):
            table(judge(dataset, estimator, {}), dataset)


def test_pck_counts_both_sides_of_a_joint_and_measures_in_the_box(scene):
    dataset, estimator = scene("jhmdb", JHMDB_15, off=11.0)  # 0.1375 of the boxes' 80 pixels
    rows = table(judge(dataset, estimator), dataset)
    assert list(rows) == ["PCK@0.2", "AUC", "torso PCK@0.2", "torso AUC"]
    assert list(rows["PCK@0.2"])[:4] == ["neck", "belly", "head", "shoulder"]
    assert rows["PCK@0.2"]["mean"] == 1 and rows["AUC"]["mean"] == pytest.approx(7 / 20)


def test_hands_and_faces_of_whole_bodies_have_points_of_their_own(scene):
    dataset, estimator = scene("coco-wholebody", COCO_WHOLEBODY_133)
    judged = judge(dataset, estimator)
    rows = part_points(judged, dataset.skeleton)
    assert list(rows) == ["left_hand", "right_hand", "face"]
    assert rows["left_hand"]["PCK@0.2"] == rows["right_hand"]["AUC"] == 1 and rows["face"]["NME"] == pytest.approx(0, abs=1e-4)
    eyes = [COCO_WHOLEBODY_133.parts["face"].start + corner for corner in (36, 45)]
    apart = [np.linalg.norm(np.subtract(*person[eyes])) for one in judged for person in one.people.keypoints]
    dataset, estimator = scene("coco-wholebody", COCO_WHOLEBODY_133, off=5.0)
    moved = judge(dataset, estimator)
    assert part_points(moved, dataset.skeleton)["face"]["NME"] == pytest.approx(np.mean(5 / np.array(apart)), rel=1e-4)
    assert part_points(judge(dataset, estimator, {}), dataset.skeleton) == {} == part_points(moved, COCO_17)
    assert np.isnan(part_points([], COCO_WHOLEBODY_133)["face"]["NME"])


def test_pose_score_is_the_mean_of_the_sure_points_times_the_box_s():
    confidence = np.array([[0.1, 0.5, 0.9], [0.1, 0.1, 0.2]])
    np.testing.assert_allclose(pose_scores(confidence, np.array([0.5, 1.0])), [0.35, 0.0])


@pytest.mark.shared
def test_the_packaged_network_on_the_sample():
    pytest.importorskip("onnxruntime")
    folder = Path(__file__).parents[3] / "shared/data/images/coco"
    if not folder.is_dir():
        pytest.skip("no ../shared/data")
    from vitruvian.data.coco_wholebody import coco_wholebody
    from vitruvian.runtime.pose import PoseEstimator

    dataset = coco_wholebody(folder)
    figures = table(judge(dataset, PoseEstimator("wholebody-s", threads=1)), dataset)
    assert 0 < figures["body"]["AP"] < 1
