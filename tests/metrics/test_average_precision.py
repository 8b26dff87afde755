"""AP of keypoints must be pycocotools' number, not one like it."""

import contextlib
import io

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133

NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
K = 17


def crowd(seed: int, pictures: int = 12) -> tuple[TruePoses, FoundPoses]:
    """Random persons of all sizes, some crowds, some without keypoints, and poses near them, doubled, missing, or nowhere."""
    random = np.random.default_rng(seed)
    count = random.integers(0, 6, pictures)
    image = np.repeat(np.arange(pictures), count)
    size = random.uniform(20, 300, len(image))
    centre = random.uniform(0, 640, (len(image), 2))
    keypoints = (centre[:, None] + random.uniform(-0.5, 0.5, (len(image), K, 2)) * size[:, None, None]).round(2)
    visible = (random.random((len(image), K)) < 0.7) & (random.random((len(image), 1)) < 0.85)
    boxes = np.concatenate([centre - size[:, None] / 2, centre + size[:, None] / 2], axis=1).round(2)
    is_crowd = random.random(len(image)) < 0.1
    truth = TruePoses(image, keypoints, visible, boxes, (0.6 * size**2).round(2), is_crowd | ~visible.any(1), is_crowd)

    source = np.concatenate([random.permutation(len(image))[: int(0.9 * len(image))], random.integers(0, max(len(image), 1), 9)])
    source = source[: len(source) if len(image) else 0]
    noise = random.choice([0.01, 0.05, 0.2], (len(source), 1, 1)) * size[source, None, None]
    poses = (keypoints[source] + noise * random.normal(size=(len(source), K, 2))).round(2)
    scores = random.choice(np.linspace(0.1, 1, 15), len(source)).round(3)  # with ties
    return truth, FoundPoses(image[source], poses, scores)


def reference(truth: TruePoses, found: FoundPoses, pictures: int) -> list[float]:
    """What pycocotools says."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    person = {"category_id": 1}
    annotations = []
    for row, image in enumerate(truth.image.tolist()):
        points = np.concatenate([truth.keypoints[row], 2.0 * truth.visible[row][:, None]], axis=1).ravel().tolist()
        box, size = truth.boxes[row, :2], truth.boxes[row, 2:] - truth.boxes[row, :2]
        about = {"id": row + 1, "image_id": image, "iscrowd": int(truth.crowd[row]), "area": float(truth.area[row])}
        annotations.append(person | about | {"bbox": [*box, *size], "keypoints": points, "num_keypoints": int(truth.visible[row].sum())})
    with contextlib.redirect_stdout(io.StringIO()):
        ground, images = coco.COCO(), [{"id": i} for i in range(pictures)]
        ground.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        ground.createIndex()
        results = []
        for image, pose, score in zip(found.image.tolist(), found.keypoints, found.scores.tolist(), strict=True):
            points = np.concatenate([pose, np.ones((K, 1))], axis=1).ravel().tolist()
            results.append(person | {"image_id": image, "score": score, "keypoints": points})
        evaluation = COCOeval(ground, ground.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_equals_pycocotools(seed):
    truth, found = crowd(seed)
    table = average_precision(truth, found, COCO_17.sigmas)
    assert list(table) == list(NAMES)
    np.testing.assert_allclose(list(table.values()), reference(truth, found, 12), atol=1e-12)


def test_perfect_poses_are_perfect_and_order_of_rows_does_not_matter():
    truth, _ = crowd(1)
    counts = ~truth.ignore
    found = FoundPoses(truth.image[counts], truth.keypoints[counts], np.linspace(0.2, 1, counts.sum()))
    table = average_precision(truth, found, COCO_17.sigmas)
    assert table["AP"] == table["AR"] == 1.0
    order = np.random.default_rng(0).permutation(counts.sum())
    shuffled = FoundPoses(found.image[order], found.keypoints[order], found.scores[order])
    assert average_precision(truth, shuffled, COCO_17.sigmas) == table


def test_nobody_found_is_zero_and_nobody_there_is_minus_one():
    truth, found = crowd(2)
    nothing = FoundPoses(found.image[:0], found.keypoints[:0], found.scores[:0])
    assert average_precision(truth, nothing, COCO_17.sigmas)["AP"] == 0.0
    nobody = TruePoses(*(getattr(truth, name)[:0] for name in ("image", "keypoints", "visible", "boxes", "area", "ignore", "crowd")))
    for poses in (nothing, found):
        assert set(average_precision(nobody, poses, COCO_17.sigmas).values()) == {-1.0}


def test_a_missing_keypoint_is_far_away():
    truth, _ = crowd(3)
    gone = truth.keypoints.copy()
    gone[:, :9] = np.nan
    table = average_precision(truth, FoundPoses(truth.image, gone, np.ones(len(gone))), COCO_17.sigmas)
    assert 0 <= table["AP"] < 0.7


def test_other_keypoint_sets_are_refused():
    truth, found = crowd(4)
    with pytest.raises(VitruvianError, match="one keypoint set"):
        average_precision(truth, found, np.full(14, 0.1))


def test_parts_are_judged_by_themselves_and_only_where_they_are_annotated():
    random = np.random.default_rng(5)
    keypoints = random.uniform(0, 200, (4, 133, 2))
    boxes = np.tile([0.0, 0.0, 200.0, 200.0], (4, 1))
    no = np.zeros(4, bool)
    truth = TruePoses(np.arange(4), keypoints, np.ones((4, 133), bool), boxes, np.full(4, 2e4), no, no)
    wrong = keypoints.copy()
    wrong[2:, COCO_WHOLEBODY_133.parts["left_hand"]] += 500
    found = FoundPoses(np.arange(4), wrong, np.ones(4))
    table = average_precision_by_part(truth, found, COCO_WHOLEBODY_133)
    assert table["body"]["AP"] == table["face"]["AP"] == table["right_hand"]["AP"] == 1.0
    assert table["left_hand"]["AR"] == pytest.approx(0.5) and table["hand"]["AR"] == pytest.approx(0.75)
    only_right = {"left_hand": np.array([True, True, False, False])}
    assert average_precision_by_part(truth, found, COCO_WHOLEBODY_133, only_right)["left_hand"]["AR"] == 1.0
