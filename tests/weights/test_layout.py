import numpy as np
import pytest

from vitruvian.weights import card_for
from vitruvian.weights.layout import layout_of

nets = pytest.importorskip("nets", reason="needs onnx")

POSE, SQUARE, WIDE = (None, 3, 256, 192), (1, 3, 256, 256), (1, 3, 640, 640)
FREE = (None, 3, None, None)


@pytest.mark.parametrize(
    "image, outputs, kind, places",
    [
        (POSE, {"simcc_y": (None, 17, 512), "simcc_x": (None, 17, 384)}, "simcc", (1, 0)),
        (POSE, {"533": (1, 133, 384), "540": (1, 133, 512)}, "simcc", (0, 1)),
        (SQUARE, {"a": (1, 21, 512), "b": (1, 21, 512)}, "simcc", (0, 1)),
        (FREE, {"a": (1, 17, 384), "b": (1, 17, 512)}, "simcc", (0, 1)),
        (POSE, {"output": (1, 133, 384), "1": (1, 133, 512), "2": (1, 133, 384)}, "simcc3d", (0, 1, 2)),
        (POSE, {"simcc_x": (1, 9, 384), "simcc_y": (1, 9, 512), "simcc_z": (1, 9, 384)}, "simcc3d", (0, 1, 2)),
        (POSE, {"heatmaps": (None, 133, 64, 48)}, "maps", (0,)),
        (FREE, {"output": (None, 17, None, None)}, "maps", (0,)),
        (WIDE, {"dets": (1, 100, 5), "keypoints": (1, 100, 17, 3)}, "people", (0, 1)),
        (WIDE, {"k": (1, 100, 17, 3), "d": (1, 100, 5)}, "people", (1, 0)),
        (WIDE, {"labels": (), "dets": ()}, "suppressed", (1, 0)),
        (WIDE, {"a": (1, 100, 5), "b": (1, 100)}, "suppressed", (0, 1)),
        (WIDE, {"output": (None, 5)}, "suppressed", (0,)),
        (WIDE, {"output": (1, 200, 5)}, "suppressed", (0,)),
        (WIDE, {"scores": (1, 8400, 5), "boxes": (1, 8400, 4)}, "boxes", (1, 0)),
        (WIDE, {"owners": (1, 8400, 4), "scores": (1, 8400, 5), "boxes": (1, 8400, 4)}, "boxes", (2, 1, 0)),
        (WIDE, {"a": (1, 8400, 4), "b": (1, 8400, 80)}, "boxes", (0, 1)),
        (WIDE, {"a": (1, 8400, 4), "b": (1, 8400, 5)}, "boxes", (0, 1)),
        (WIDE, {"output": (1, 8400, 85)}, "cells", (0,)),
        (FREE, {"output": (1, None, None)}, "cells", (0,)),
    ],
)
def test_outputs_are_told_by_names_and_shapes(image, outputs, kind, places):
    assert layout_of(image, list(outputs.items())) == (kind, places)


@pytest.mark.parametrize(
    "image, outputs",
    [
        ((1, 60, 47), {"out": (1, 60, 105)}),
        (WIDE, {"logits": (1, 1000)}),
        (WIDE, {"output": (1, 8400, 4)}),
        (WIDE, {"output": (1, 500, 85)}),
        (POSE, {"a": (1, 17, 384), "b": (1, 18, 512)}),
        (POSE, {"a": (1, 17, 384), "b": (1, 17, 500)}),
        (POSE, {"simcc_x": (1, 384), "simcc_y": (1, 512)}),
        (POSE, {"maps": (1, 17, 60, 48)}),
        (WIDE, {"a": (1, 3, 80, 80), "b": (1, 3, 40, 40)}),
        (POSE, {}),
    ],
)
def test_other_outputs_are_not_taken_for_what_they_are_not(image, outputs):
    assert layout_of(image, list(outputs.items())) is None


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    "name, size, outputs, expected",
    [
        ("vit", (48, 64), {"out": zeros(133, 16, 12)}, ("pose2d", "heatmap-udp", "coco-wholebody-133", "rgb", 123.675)),
        (
            "deep",
            (48, 64),
            {"a": zeros(133, 96), "b": zeros(133, 128), "c": zeros(133, 96)},
            ("pose3d", "simcc3d", "coco-wholebody-133", "rgb", 123.675),
        ),
        ("once", (64, 64), {"dets": zeros(9, 5), "keypoints": zeros(9, 17, 3)}, ("one-stage", "rtmo", "coco-17", "bgr", 0.0)),
        ("grid", (64, 64), {"output": zeros(84, 85)}, ("detection", "yolox", "", "bgr", 0.0)),
        ("grid1", (64, 64), {"output": zeros(84, 6)}, ("detection", "yolox", "", "bgr", 0.0)),
        ("yolox_tiny", (64, 64), {"dets": zeros(9, 5), "labels": np.zeros(9, np.int64)}, ("detection", "yolox", "", "bgr", 0.0)),
        ("end2end", (64, 64), {"dets": zeros(9, 5), "labels": np.zeros(9, np.int64)}, ("detection", "rtmdet", "", "bgr", 103.53)),
        ("raw", (64, 64), {"x": zeros(9, 4), "y": zeros(9, 80)}, ("detection", "rtmdet", "", "bgr", 103.53)),
    ],
)
def test_a_bare_file_of_each_kind_gets_its_card(tmp_path, name, size, outputs, expected):
    card = card_for(nets.fixed(tmp_path / f"{name}.onnx", outputs, size))
    assert (card.task, card.codec, card.skeleton, card.channel_order, card.mean[0]) == expected
    assert card.input_size == size
    if card.task == "detection":
        assert card.classes[0] == "person" and len(card.classes) == (1 if name == "grid1" else 80)


def test_an_augmenter_is_no_network_for_pictures():
    assert layout_of((1, 60, 47), [("out", (1, 60, 105))]) is None
