"""From what a user names - an embedded network, or the path of an ONNX file - to its card."""

from __future__ import annotations

from pathlib import Path

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.weights.card import Card
from vitruvian.weights.classes import COCO_80, PERSON_PARTS
from vitruvian.weights.graph import Port, Ports, read_ports

ASSETS = Path(__file__).parents[1] / "assets"
"""Where the networks lie that are installed with the package."""

EMBEDDED = ("person-parts-nano", "wholebody-t")
"""Ids of the networks that are installed with the package: the default detector and the default pose network."""

_SKELETON_OF = {133: "coco-wholebody-133", 26: "halpe-26", 21: "hand-21", 17: "coco-17"}
_SUPPORTED = "simcc_x and simcc_y (pose), dets and labels (detector with suppression inside), boxes and scores (detector without)"


def card_for(network: str | Path, assets: Path = ASSETS) -> Card:
    """The card of an embedded network (its id) or of an ONNX file (its path).

    A file's card is the JSON beside it with the same stem; without one it is inferred from the graph (`infer_card`).
    Raises WeightsError when nothing is there or the graph is of no known kind, FormatError when the JSON is no card.
    """
    if isinstance(network, str) and network in EMBEDDED:
        path = assets / f"{network}.json"
        if not path.is_file() or not path.with_suffix(".onnx").is_file():
            raise WeightsError(
                f"The weights of {network!r} are not in this installation ({path.with_suffix('.onnx')} and its .json): "
                "reinstall vitruvian, or give the path of an ONNX file."
            )
        return Card.load(path)
    path = Path(network)
    if path.suffix.lower() != ".onnx":
        raise WeightsError(f"No network {str(network)!r}: give one of {', '.join(EMBEDDED)}, or the path of an .onnx file.")
    if not path.is_file():
        raise WeightsError(f"No network file at {path}: check the path.")
    beside = path.with_suffix(".json")
    return Card.load(beside) if beside.is_file() else infer_card(path)


def infer_card(path: str | Path) -> Card:
    """What a bare ONNX file can be, by the names and shapes of its outputs.

    | outputs | taken as |
    |---|---|
    | simcc_x, simcc_y | RTMPose family (DWPose, RTMW): 133, 26, 21 or 17 keypoints, RGB, ImageNet mean and std, padding 1.25 |
    | dets, labels | RTMDet with suppression inside: BGR, COCO's 80 classes (a person detector has only the first) |
    | boxes, scores | our detector without suppression: RGB, person, head, face, hand, foot |

    Raises WeightsError with what was found and what is supported.
    """
    path = Path(path)
    found = read_ports(path)
    outputs = {port.name: port for port in found.outputs}
    if len(found.inputs) == 1 and len(found.inputs[0].shape) == 4:
        if {"simcc_x", "simcc_y"} <= outputs.keys():
            return _pose_card(path, found.inputs[0], outputs["simcc_x"], outputs["simcc_y"])
        if {"dets", "labels"} <= outputs.keys():
            mean, std = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]
            return Card(path.stem, "detection", str(path), _size(found.inputs[0]), mean, std, "bgr", classes=COCO_80, source="RTMDet")
        if {"boxes", "scores"} <= outputs.keys() and outputs["scores"].shape[-1] in (len(PERSON_PARTS), None):
            return Card(path.stem, "detection", str(path), _size(found.inputs[0]), IMAGENET_MEAN, IMAGENET_STD, classes=PERSON_PARTS)
    raise WeightsError(f"{path} is of no known kind: {_describe(found)}. Supported outputs: {_SUPPORTED}; or put a card beside it.")


def _pose_card(path: Path, image: Port, x: Port, y: Port) -> Card:
    """Card of a SimCC network; its size comes from the input, or from the bins where the input is free."""
    keypoints = x.shape[1] if len(x.shape) == 3 else None
    bins = (x.shape[-1], y.shape[-1])
    if keypoints not in _SKELETON_OF or None in bins:
        raise WeightsError(
            f"{path} returns SimCC of shape {x.shape} and {y.shape}; known are {', '.join(map(str, _SKELETON_OF))} keypoints "
            "with a fixed number of bins: put a card (.json) beside it."
        )
    size, ratio = (bins[0] // 2, bins[1] // 2), 2.0
    if image.shape[2] and image.shape[3]:
        size = (image.shape[3], image.shape[2])
        ratio = bins[0] / size[0]
    skeleton = _SKELETON_OF[keypoints]
    return Card(path.stem, "pose2d", str(path), size, IMAGENET_MEAN, IMAGENET_STD, skeleton=skeleton, split_ratio=ratio, source="RTMPose")


def _size(image: Port) -> tuple[int, int]:
    """Input size of a detector, 320 x 320 (RTMDet-nano) where the graph takes any."""
    height, width = image.shape[2:]
    return (width, height) if width and height else (320, 320)


def _describe(found: Ports) -> str:
    """One line on a graph's inputs and outputs."""
    sides = ("inputs", found.inputs), ("outputs", found.outputs)
    return ", ".join(f"{side} " + " ".join(f"{p.name}{list(p.shape)}" for p in side_ports[:6]) for side, side_ports in sides)
