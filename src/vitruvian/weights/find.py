"""From what a user names - an embedded network, or the path of an ONNX file - to its card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitruvian.codecs.association import known_part_set
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.weights.card import ASSETS, Card
from vitruvian.weights.classes import COCO_80, PERSON_PARTS
from vitruvian.weights.graph import Port, Ports, read_ports
from vitruvian.weights.layout import Kind, layout_of

EMBEDDED = ("person-parts-s", "wholebody-s", "lift-s", "person-parts-n", "wholebody-n", "dwpose-t-synth")
"""Ids of the networks that are installed with the package: the default detector, pose network and lifter; the detector's file at a smaller
input (a second card for it), a pose network for crops of half the size; and what DWPose's two stages made of wholebody-s
(`recipes/dwpose-t.md`), to compare with."""

SKELETON_OF = {
    **{133: "coco-wholebody-133", 136: "halpe-136", 106: "lapa-106", 68: "face-68", 52: "synthpose-52", 26: "halpe-26", 21: "hand-21"},
    17: "coco-17",
}
"""The keypoint set that a network with so many keypoints is taken to have."""
_SUPPORTED = "SimCC, heat maps, RTMO, BPJDet, JointBDOE, RTMDet and YOLOX, with and without suppression inside (vitruvian.weights.layout)"
_GREY_LEVELS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def card_for(network: str | Path, assets: Path = ASSETS) -> Card:
    """The card of an embedded network (its id), of one in the store (its id; fetched when it isn't here), or of an ONNX file (its path).

    A file's card is the JSON beside it with the same stem; without one it is inferred from the graph (`infer_card`).
    Raises WeightsError when nothing is there or the graph is of no known kind, FormatError when the JSON is no card.
    """
    if isinstance(network, str) and network in EMBEDDED:
        path = assets / f"{network}.json"
        card = Card.load(path) if path.is_file() else None
        if card is None or not Path(card.file).is_file():
            raise WeightsError(
                f"The weights of {network!r} are not in this installation ({path if card is None else card.file}): "
                "reinstall vitruvian, or give the path of an ONNX file."
            )
        return card
    path = Path(network)
    if path.suffix.lower() != ".onnx":
        if path.is_file():  # a film, say, that followed the wrong option
            raise WeightsError(
                f"{path} is a file, but not an .onnx: give a network's .onnx file (vitruvian export makes it of a checkpoint), "
                "or its id (vitruvian weights list)"
            )
        from vitruvian.weights.store import locate

        return locate(str(network))
    if not path.is_file():
        raise WeightsError(f"No network file at {path}: check the path.")
    beside = path.with_suffix(".json")
    return Card.load(beside) if beside.is_file() else infer_card(path)


def infer_card(path: str | Path) -> Card:
    """What a bare ONNX file can be, by the names and shapes of its outputs (`vitruvian.weights.layout`).

    | layout | taken as |
    |---|---|
    | simcc, simcc3d | RTMPose family (DWPose, RTMW), RTMW3D: RGB, ImageNet mean and std, padding 1.25 |
    | maps | ViTPose: same, UDP |
    | people | RTMO: BGR grey levels |
    | cells | YOLOX: BGR grey levels, COCO's 80 classes, or one, person |
    | suppressed | YOLOX where "yolox" is in the file's name, else RTMDet: BGR; COCO's 80 classes (a person detector has only the first) |
    | owned | BPJDet: RGB in [0, 1]; parts by their number (`codecs.association.known_part_set`) |
    | facing | JointBDOE: the same, persons only |
    | boxes | five classes: our own detector, RGB; else RTMDet: BGR, COCO's 80 classes, or one, person |

    Keypoint sets are told by the number of keypoints (`SKELETON_OF`): 17 may also be an animal's. What is wrong here is set right by a card
    beside the file. Raises WeightsError with what was found and what is supported.
    """
    path = Path(path)
    found = read_ports(path)
    image = found.inputs[0] if len(found.inputs) == 1 else None
    layout = image and layout_of(image.shape, [(port.name, port.shape) for port in found.outputs])
    if not image or not layout:
        raise WeightsError(f"{path} is of no known kind: {_describe(found)}. Supported: {_SUPPORTED}; or put a card beside it.")
    outputs = [found.outputs[place] for place in layout.outputs]
    if layout.kind in ("simcc", "simcc3d"):
        return _simcc_card(path, image, outputs)
    if layout.kind in ("maps", "people"):
        return _points_card(path, image, outputs, layout.kind)
    return _detector_card(path, image, outputs, layout.kind)


def _simcc_card(path: Path, image: Port, outputs: Sequence[Port]) -> Card:
    """Card of a SimCC network; its size comes from the input, or from the bins where the input is free."""
    bins = (outputs[0].shape[-1], outputs[1].shape[-1])
    if None in bins:
        raise WeightsError(f"{path} returns SimCC with a free number of bins, {_shapes(outputs)}: put a card (.json) beside it.")
    size, ratio = (bins[0] // 2, bins[1] // 2), 2.0
    if image.shape[2] and image.shape[3]:
        size = (image.shape[3], image.shape[2])
        ratio = bins[0] / size[0]
    codec, task, source = ("simcc", "pose2d", "RTMPose") if len(outputs) == 2 else ("simcc3d", "pose3d", "RTMW3D")
    skeleton = _skeleton(path, outputs, outputs[0].shape[1])
    options = {"skeleton": skeleton, "split_ratio": ratio, "codec": codec, "source": source}
    return Card(path.stem, task, str(path), size, IMAGENET_MEAN, IMAGENET_STD, **options)


def _points_card(path: Path, image: Port, outputs: Sequence[Port], kind: Kind) -> Card:
    """Card of a network that returns heat maps, or of RTMO."""
    if kind == "maps":
        maps = outputs[0].shape
        size = _size(image, (4 * maps[3], 4 * maps[2]) if maps[2] and maps[3] else (192, 256))
        skeleton = _skeleton(path, outputs, maps[1])
        return Card(
            path.stem, "pose2d", str(path), size, IMAGENET_MEAN, IMAGENET_STD, skeleton=skeleton, codec="heatmap-udp", source="ViTPose"
        )
    points = outputs[1].shape
    skeleton = _skeleton(path, outputs, points[2] if len(points) == 4 and points[2] else 17)
    options = {"skeleton": skeleton, "classes": ("person",), "codec": "rtmo", "source": "RTMO"}
    return Card(path.stem, "one-stage", str(path), _size(image, (640, 640)), *_GREY_LEVELS, "bgr", **options)


def _detector_card(path: Path, image: Port, outputs: Sequence[Port], kind: Kind) -> Card:
    """Card of a detector."""
    if kind in ("owned", "facing"):
        return _owner_card(path, image, outputs, kind)
    count = {"cells": lambda: (outputs[0].shape[2] or 85) - 5, "boxes": lambda: outputs[1].shape[2] or len(PERSON_PARTS)}
    classes = {1: ("person",), 80: COCO_80}.get(count[kind]() if kind in count else 80)
    if kind == "boxes" and count[kind]() == len(PERSON_PARTS):
        size = _size(image, (320, 320))
        return Card(path.stem, "detection", str(path), size, IMAGENET_MEAN, IMAGENET_STD, classes=PERSON_PARTS, codec="rtmdet")
    if classes is None:
        raise WeightsError(f"{path} tells {count[kind]()} classes apart, {_shapes(outputs)}: name them in a card (.json) beside it.")
    options = {"channel_order": "bgr", "classes": classes}
    if kind == "cells" or "yolox" in path.name.lower():
        return Card(path.stem, "detection", str(path), _size(image, (640, 640)), *_GREY_LEVELS, codec="yolox", source="YOLOX", **options)
    mean, std = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]
    return Card(path.stem, "detection", str(path), _size(image, (320, 320)), mean, std, codec="rtmdet", source="RTMDet", **options)


def _owner_card(path: Path, image: Port, outputs: Sequence[Port], kind: Kind) -> Card:
    """Card of a detector that knows whose a part is, or which way people face."""
    in_one = (0.0,) * 3, (255.0,) * 3
    if kind == "facing":
        return Card(path.stem, "detection", str(path), _size(image, (1024, 1024)), *in_one, classes=("person",), codec="jointbdoe")
    count, points, states = ([port.shape[-1] or 0 for port in outputs[1:]] + [0])[:3]
    slots = max(points // 2, 1)
    try:
        classes = known_part_set(count, slots, states // slots).classes
    except VitruvianError as error:
        raise WeightsError(f"{path}: {error}; put a card (.json) beside it") from error
    return Card(path.stem, "detection", str(path), _size(image, (1536, 1536)), *in_one, classes=classes, codec="bpjdet")


def _skeleton(path: Path, outputs: Sequence[Port], keypoints: int | None) -> str:
    """The keypoint set of so many keypoints; WeightsError when there is none."""
    if keypoints not in SKELETON_OF:
        known = ", ".join(map(str, SKELETON_OF))
        raise WeightsError(f"{path} returns {_shapes(outputs)}; known are {known} keypoints: put a card (.json) beside it.")
    return SKELETON_OF[keypoints]


def _size(image: Port, otherwise: tuple[int, int]) -> tuple[int, int]:
    """Input size (width, height), `otherwise` where the graph takes any: the usual one of such networks."""
    height, width = image.shape[2:]
    return (width, height) if width and height else otherwise


def _shapes(outputs: Sequence[Port]) -> str:
    """Names and shapes on one line."""
    return " ".join(f"{port.name}{list(port.shape)}" for port in outputs)


def _describe(found: Ports) -> str:
    """One line on a graph's inputs and outputs."""
    return f"inputs {_shapes(found.inputs[:6])}, outputs {_shapes(found.outputs[:6])}"
