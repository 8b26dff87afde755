import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.geometry.boxes import iou
from vitruvian.runtime import Detector
from vitruvian.runtime.session import Session

SHARED = Path(__file__).parents[3] / "shared" / "data"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def scene(size, *cells):
    """A picture whose 4 x 4 cells (over its longer side) are black but for `cells`: (column, row, colour)."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    side = max(size) // 4
    for column, row, colour in cells:
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] = colour
    return image


SCENES = [
    scene((64, 64), (1, 2, RED), (3, 3, GREEN)),
    scene((128, 96), (0, 0, RED), (3, 2, RED)),
    scene((32, 64)),
    scene((40, 80), (1, 3, GREEN)),
]
PEOPLE = [[[16, 32, 32, 48]], [[0, 0, 32, 32], [96, 64, 128, 96]], [], []]


@pytest.mark.parametrize("suppressed, batch, max_batch", [(False, "b", 8), (False, "b", 3), (False, 1, 8), (True, 1, 8)])
def test_people_are_found_in_picture_pixels(make_detector, suppressed, batch, max_batch):
    detector = Detector(make_detector(suppressed, batch), device="cpu", threads=1, max_batch=max_batch)
    found = detector(SCENES)
    assert len(found) == len(SCENES)
    for detections, expected in zip(found, PEOPLE, strict=True):
        order = np.lexsort(detections.boxes.T[:1])
        np.testing.assert_allclose(detections.boxes[order], np.float32(expected).reshape(-1, 4), atol=0.01)
        assert (detections.scores > 0.9).all() and (detections.labels == 0).all()


def test_parts_are_found_on_request(make_detector):
    card = make_detector()
    (found,) = Detector(card, classes=("person", "head"), device="cpu", threads=1)(SCENES[:1])
    assert {card.classes[label]: box.tolist() for label, box in zip(found.labels, found.boxes, strict=True)} == {
        "person": [16, 32, 32, 48],
        "head": [48, 48, 64, 64],
    }


def test_a_box_in_the_padding_is_dropped(make_detector):
    detector = Detector(make_detector(), device="cpu", threads=1, score_threshold=-9.0, iou_threshold=0.5)
    (found,) = detector([scene((64, 32))])  # every cell counts as found, and the lower half is padding
    assert len(found) == 8 and found.boxes[:, 3].max() == 32


def test_no_pictures_give_nothing_and_run_nothing(make_detector, monkeypatch):
    detector = Detector(make_detector(), device="cpu", threads=1)
    monkeypatch.setattr(Session, "run", lambda *_: pytest.fail("the network ran"))
    assert detector([]) == []


def test_a_class_that_the_network_does_not_know_is_named(make_detector):
    with pytest.raises(WeightsError, match="unicorn"):
        Detector(make_detector(), classes=("person", "unicorn"))


def test_a_float_picture_is_refused(make_detector):
    with pytest.raises(VitruvianError, match="RGB uint8"):
        Detector(make_detector(), device="cpu", threads=1)([np.zeros((64, 64, 3))])


def test_a_pose_network_is_no_detector(make_pose):
    with pytest.raises(WeightsError, match="no detector"):
        Detector(make_pose())


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no ../shared/data here")
def test_the_real_rtmdet_finds_most_big_people_of_real_pictures():
    import cv2

    truth = json.loads((SHARED / "images/coco/wholebody.json").read_text())
    images = [cv2.imread(str(SHARED / "images/coco" / entry["file_name"]))[..., ::-1] for entry in truth["images"]]
    found = Detector(SHARED / "models/rtmdet-nano-coco-320.onnx", device="cpu", threads=1)(images)
    best = []
    for entry, detections in zip(truth["images"], found, strict=True):
        boxes = np.float32([a["bbox"] for a in truth["annotations"] if a["image_id"] == entry["id"] and a["area"] > 96**2])
        boxes[:, 2:] += boxes[:, :2]
        best += iou(boxes, detections.boxes).max(axis=1, initial=0).tolist()
    assert len(best) >= 6 and np.mean(np.array(best) > 0.5) >= 0.75, best


def test_padding_is_left_out_where_the_card_allows_it(make_detector, monkeypatch):
    card = replace(make_detector(), input_size=(320, 320), size_step=32)
    inputs = []

    def run(_, batch):
        inputs.append(batch.shape)
        return [np.zeros((len(batch), 1, 4), np.float32), np.zeros((len(batch), 1, 5), np.float32)]

    monkeypatch.setattr(Session, "run", run)
    wide, classic, tall = (np.zeros((*size, 3), np.uint8) for size in ((1080, 1920), (480, 640), (1920, 1080)))
    assert len(Detector(card, device="cpu", threads=1)([wide, wide, classic, tall])) == 4
    assert inputs == [(2, 3, 224, 320), (1, 3, 256, 320), (1, 3, 320, 224)]
    inputs.clear()
    Detector(replace(card, size_step=0), device="cpu", threads=1)([wide, classic])
    assert inputs == [(2, 3, 320, 320)]
