"""AP of body, feet, face, hands and all 133 points must be pycocotools' numbers, each part judged as a keypoint set of its own."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from vitruvian.data.coco_wholebody import FLAGS, LISTS, coco_wholebody
from vitruvian.data.judge import Judged, poses_of
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133

SHARED = Path(__file__).parents[3] / "shared/data/images/coco"
PARTS = {**COCO_WHOLEBODY_133.parts, "whole": slice(None)}


def reference(people: list[dict], points: np.ndarray, found: FoundPoses, part: slice, sigmas: np.ndarray) -> list[float]:
    """What pycocotools says of some of the keypoints: annotations without them, with points (n, 133, 3) x, y, v."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    annotations = [
        person | {"category_id": 1, "keypoints": own[part].ravel().tolist(), "num_keypoints": int((own[part, 2] > 0).sum())}
        for person, own in zip(people, points, strict=True)
    ]
    results = [
        {"category_id": 1, "image_id": int(image), "score": float(score), "keypoints": np.insert(pose[part], 2, 1, axis=1).ravel().tolist()}
        for image, pose, score in zip(found.image, found.keypoints, found.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        ground = coco.COCO()
        images = sorted({person["image_id"] for person in people} | set(found.image.tolist()))
        ground.dataset = {"images": [{"id": i} for i in images], "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas[part]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def poses_near(random: np.random.Generator, truth: TruePoses) -> FoundPoses:
    """Poses near most people, some doubled, some where somebody of another picture is; scores with ties."""
    count = len(truth.image)
    source = np.concatenate([random.permutation(count)[: int(0.9 * count)], random.integers(0, count, count // 2)])
    image = truth.image[source].copy()
    image[-count // 4 :] = random.choice(truth.image, len(image[-count // 4 :]))
    size = np.sqrt(truth.area[source])[:, None, None]
    middle = (truth.boxes[source, :2] + truth.boxes[source, 2:])[:, None] / 2
    points = np.where(truth.visible[source][..., None], truth.keypoints[source], middle)
    # Faces and hands have small sigmas: noise of their size tells good from bad.
    noise = random.choice([0.002, 0.01, 0.03], (len(source), 1, 1)) * size * random.normal(size=points.shape)
    return FoundPoses(image, (points + noise).round(2), random.choice(np.linspace(0.1, 1, 9), len(source)).round(3))


def compare(people: list[dict], points: np.ndarray, truth: TruePoses, found: FoundPoses) -> dict[str, dict[str, float]]:
    table = average_precision_by_part(truth, found, COCO_WHOLEBODY_133)
    for part, where in PARTS.items():
        expected = reference(people, points, found, where, COCO_WHOLEBODY_133.sigmas)
        np.testing.assert_allclose(list(table[part].values()), expected, atol=1e-12, err_msg=part)
    for name, value in table["hand"].items():
        hands = [table[hand][name] for hand in ("left_hand", "right_hand") if table[hand][name] > -1]
        assert value == pytest.approx(np.mean(hands) if hands else -1, abs=1e-12)
    return table


@pytest.mark.parametrize("seed", range(4))
def test_random_people(seed):
    random = np.random.default_rng(seed)
    count = 24
    image = np.sort(random.integers(0, 6, count))
    size, centre = random.uniform(30, 300, count), random.uniform(0, 640, (count, 2))
    keypoints = (centre[:, None] + random.uniform(-0.5, 0.5, (count, 133, 2)) * size[:, None, None]).round(2)
    visible = random.random((count, 133)) < 0.7
    for part in COCO_WHOLEBODY_133.parts.values():
        visible[random.random(count) < 0.25, part] = False  # not annotated
    boxes, crowd = np.concatenate([centre - size[:, None] / 2, centre + size[:, None] / 2], 1).round(2), random.random(count) < 0.1
    truth = TruePoses(image, keypoints, visible, boxes, (0.6 * size**2).round(2), crowd | ~visible.any(1), crowd)
    people = [
        {
            "id": i + 1,
            "image_id": int(image[i]),
            "iscrowd": int(crowd[i]),
            "area": float(truth.area[i]),
            "bbox": [*box[:2], *(box[2:] - box[:2])],
        }
        for i, box in enumerate(boxes)
    ]
    table = compare(people, np.concatenate([keypoints, 2.0 * visible[..., None]], 2), truth, poses_near(random, truth))
    assert 0 < table["body"]["AP"] < 1 and 0 < table["whole"]["AP"] < 1


@pytest.fixture
def annotated():
    """The shared annotations as the file has them, and as reader and judge give them."""
    if not (SHARED / "wholebody.json").is_file():
        pytest.skip("no ../shared/data")
    people = json.loads((SHARED / "wholebody.json").read_text())["annotations"]
    points = np.zeros((len(people), 133, 3))
    for row, person in zip(points, people, strict=True):
        lists = [np.reshape(person[key], (-1, 3)) * (person.get(FLAGS.get(key), True) or (1, 1, 0)) for key in LISTS]
        row[:] = np.concatenate(lists)
    nothing = np.zeros((0, 133, 2)), np.zeros((0, 133)), np.zeros(0)
    truth, _ = poses_of([Judged(picture, picture.people, *nothing, True) for picture in coco_wholebody(SHARED)], COCO_WHOLEBODY_133)
    return people, points, truth


@pytest.mark.shared
@pytest.mark.parametrize("seed", range(3))
def test_shared_annotations_by_part(annotated, seed):
    table = compare(*annotated, poses_near(np.random.default_rng(seed), annotated[2]))
    assert 0 < table["body"]["AP"] < 1 and 0 < table["whole"]["AP"] < 1


@pytest.mark.shared
def test_shared_annotations_of_bodies(annotated):
    people, points, truth = annotated
    found = poses_near(np.random.default_rng(7), truth)
    body = COCO_WHOLEBODY_133.parts["body"]
    columns = truth.keypoints[:, body], truth.visible[:, body]
    bodies = TruePoses(truth.image, *columns, truth.boxes, truth.area, truth.crowd | ~columns[1].any(1), truth.crowd)
    table = average_precision(bodies, FoundPoses(found.image, found.keypoints[:, body], found.scores), COCO_17.sigmas)
    np.testing.assert_allclose(list(table.values()), reference(people, points, found, body, COCO_WHOLEBODY_133.sigmas), atol=1e-12)
