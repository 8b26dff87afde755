"""Our own detector says whose a part is: captures and tables of objects have it."""

import numpy as np
import pytest

from scenes import picture

nets = pytest.importorskip("nets", reason="needs onnx")
import owner_nets  # noqa: E402
from vitruvian.capture.detect import detect  # noqa: E402
from vitruvian.codecs.pointed import PointedDetections  # noqa: E402
from vitruvian.media import write_image  # noqa: E402
from vitruvian.runtime import Detector  # noqa: E402
from vitruvian.take import PARTS  # noqa: E402
from vitruvian.weights import card_for  # noqa: E402

HEAD = PARTS.index("head")
IMAGE = picture(owner_nets.BODIES)


def test_the_table_of_objects_has_the_owners_that_the_detector_says(tmp_path):
    write_image(tmp_path / "two.png", IMAGE)
    objects = detect(tmp_path / "two.png", detector=owner_nets.pointing(tmp_path), overlay=False)
    assert objects.knows_owners
    assert objects.owner.tolist() == [0, 1, 0, 1, -1] and np.isnan(objects.heading).all()


def test_pointers_are_in_pixels_of_each_picture(tmp_path):
    card = card_for(owner_nets.pointing(tmp_path))
    large, usual = Detector(card, classes=card.classes, device="cpu", threads=1)(
        [np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)]
    )
    assert isinstance(usual, PointedDetections)
    np.testing.assert_allclose(usual.owner_boxes[2:4], owner_nets.BODIES)
    np.testing.assert_allclose(large.owner_boxes[2:4], 2 * owner_nets.BODIES)
