"""rtmlib's classes for single networks, on our runtime; see `vitruvian.compat.rtmlib`.

Boxes and keypoints are float32 where rtmlib gives float64.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.codecs.simcc3d import REACH, SimCC3D
from vitruvian.compat.files import local_file
from vitruvian.errors import VitruvianError
from vitruvian.runtime import Detector, OneStage, PoseEstimator
from vitruvian.weights import Card

logger = logging.getLogger(__name__)

Image = UInt8[np.ndarray, "h w 3"]
Boxes = Float32[np.ndarray, "n 4"]
People = tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]

_RAW, _ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
_BUILT_IN_THRESHOLD = 0.3
"""rtmlib's least score where the graph of a YOLOX suppresses by itself, whatever the caller asked for."""


class YOLOX:
    """A YOLOX detector, or any that takes grey levels as they are and suppresses in the graph. Call it with a picture: boxes (n, 4)."""

    det_mode = "human"

    def __init__(
        self,
        onnx_model: str | Path,
        model_input_size: tuple[int, int] = (640, 640),
        det_mode: str | None = None,
        nms_thr: float = 0.45,
        score_thr: float = 0.7,
        backend: str = "onnxruntime",
        device: str = "cpu",
        *,
        mode: str | None = None,
    ) -> None:
        _only_people(det_mode or mode)
        card = _card(onnx_model, "detection", "yolox", model_input_size, _RAW, _ONE)
        self.detector = Detector(card, score_threshold=score_thr, iou_threshold=nms_thr, compat="rtmlib", device=_device(backend, device))
        if self.detector.layout.kind == "suppressed":
            self.detector.score_threshold = _BUILT_IN_THRESHOLD
        self.onnx_model, self.model_input_size, self.nms_thr, self.score_thr = card.file, tuple(model_input_size), nms_thr, score_thr

    def __call__(self, image: Image) -> Boxes:
        return self.detector([image])[0].boxes


class RTMDet:
    """An RTMDet detector. Call it with a picture: boxes (n, 4)."""

    det_mode = "human"

    def __init__(
        self,
        onnx_model: str | Path,
        model_input_size: tuple[int, int] = (640, 640),
        det_mode: str | None = None,
        mean: Sequence[float] = IMAGENET_MEAN[::-1],
        std: Sequence[float] = IMAGENET_STD[::-1],
        backend: str = "onnxruntime",
        device: str = "cpu",
        *,
        mode: str | None = None,
        nms_thr: float = 0.45,
        score_thr: float = 0.3,
    ) -> None:
        _only_people(det_mode or mode)
        card = _card(onnx_model, "detection", "rtmdet", model_input_size, mean, std)
        self.detector = Detector(card, score_threshold=score_thr, iou_threshold=nms_thr, compat="rtmlib", device=_device(backend, device))
        self.onnx_model, self.model_input_size, self.nms_thr, self.score_thr = card.file, tuple(model_input_size), nms_thr, score_thr

    def __call__(self, image: Image) -> Boxes:
        return self.detector([image])[0].boxes


class RTMPose:
    """A SimCC pose network. Call it with a picture and boxes: keypoints (n, k, 2) and scores (n, k); no boxes mean the whole picture."""

    _codec, _task = "simcc", "pose2d"

    def __init__(
        self,
        onnx_model: str | Path,
        model_input_size: tuple[int, int] = (192, 256),
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        card = _card(onnx_model, self._task, self._codec, model_input_size, mean, std)
        # One crop at a time, as rtmlib: a batch changes the last digits, and with them now and then the bin that wins.
        self.estimator = PoseEstimator(card, compat="rtmlib", device=_device(backend, device), max_batch=1)
        self.onnx_model, self.model_input_size, self.to_openpose = card.file, tuple(model_input_size), to_openpose

    def __call__(self, image: Image, bboxes: Sequence[Sequence[float]] | Boxes = ()) -> People:
        keypoints, scores = self.estimator([image], [_four(bboxes)])[0]
        return openpose_order(keypoints, scores) if self.to_openpose else (keypoints, scores)


class ViTPose(RTMPose):
    """A heat-map pose network. As `RTMPose`."""

    _codec = "heatmap-udp"


class RTMPose3d:
    """A 3D SimCC network. Call it with a picture and boxes; no boxes mean the whole picture.

    Gives keypoints (n, k, 3) with x and y in crop pixels and z in "metres" (0.75 of the true depth and too near, rtmlib's slip), scores
    (n, k), keypoints in crop units (n, k, 3), and keypoints in picture pixels (n, k, 2).
    """

    def __init__(
        self,
        onnx_model: str | Path,
        model_input_size: tuple[int, int] = (288, 384),
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
        z_range: float | None = None,
    ) -> None:
        card = _card(onnx_model, "pose3d", "simcc3d", model_input_size, mean, std)
        self.estimator = PoseEstimator(card, compat="rtmlib", device=_device(backend, device), max_batch=1)
        self.estimator.codec = replace(self.estimator.codec, reach=REACH if z_range is None else z_range)
        self.onnx_model, self.model_input_size = card.file, tuple(model_input_size)

    def __call__(
        self, image: Image, bboxes: Sequence[Sequence[float]] | Boxes = ()
    ) -> tuple[Float32[np.ndarray, "n k 3"], Float32[np.ndarray, "n k"], Float32[np.ndarray, "n k 3"], Float32[np.ndarray, "n k 2"]]:
        codec: SimCC3D = self.estimator.codec
        (place, crop, scores) = self.estimator.in_crops([image], [_four(bboxes)])[0]
        metric = np.concatenate([crop[..., :2], codec.metres(crop[..., 2:])], axis=-1)
        return metric, scores, crop, place.to_image(crop[..., :2])


class RTMO:
    """A one-stage pose network. Call it with a picture: keypoints (n, k, 2) and scores (n, k); nobody is one person of zeros."""

    def __init__(
        self,
        onnx_model: str | Path,
        model_input_size: tuple[int, int] = (640, 640),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        nms_thr: float = 0.45,
        score_thr: float = 0.7,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        card = _card(onnx_model, "one-stage", "rtmo", model_input_size, mean or _RAW, std or _ONE)
        self.network = OneStage(card, score_threshold=score_thr, iou_threshold=nms_thr, compat="rtmlib", device=_device(backend, device))
        self.onnx_model, self.model_input_size, self.to_openpose = card.file, tuple(model_input_size), to_openpose
        self.nms_thr, self.score_thr = nms_thr, score_thr

    def __call__(self, image: Image, nms_thr: float | None = None, score_thr: float | None = None) -> People:
        self.network.iou_threshold = self.nms_thr if nms_thr is None else nms_thr
        self.network.score_threshold = self.score_thr if score_thr is None else score_thr
        _, (keypoints, scores) = self.network([image])[0]
        if not len(scores):
            keypoints, scores = np.zeros((1, *keypoints.shape[1:]), np.float32), np.zeros((1, scores.shape[1]), np.float32)
        return openpose_order(keypoints, scores) if self.to_openpose else (keypoints, scores)


def openpose_order(keypoints: Float32[np.ndarray, "n k 2"], scores: Float32[np.ndarray, "n k"]) -> People:
    """rtmlib's OpenPose style: the first 17 points, COCO's body, become OpenPose's 18; what follows stays in its order.

    The neck is the middle of the shoulders, its score the smaller of theirs.
    """
    order = [0, 17, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    body, neck = slice(0, 17), keypoints[:, 5:7].mean(axis=1, keepdims=True)
    places = np.concatenate([keypoints[:, body], neck], axis=1)[:, order]
    values = np.concatenate([scores[:, body], scores[:, 5:7].min(axis=1, keepdims=True)], axis=1)[:, order]
    return np.concatenate([places, keypoints[:, 17:]], axis=1), np.concatenate([values, scores[:, 17:]], axis=1)


def _four(boxes: Sequence[Sequence[float]] | Boxes) -> Boxes:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _only_people(det_mode: str | None) -> None:
    """What rtmlib calls "multiclass" (labels beside the boxes) is our Detector's own way of working."""
    if det_mode not in (None, "human"):
        raise VitruvianError(f"det_mode {det_mode!r} is not offered here: vitruvian.Detector gives boxes with labels.")


def _device(backend: str, device: str) -> str:
    """Our name of a device. Other backends than ONNX Runtime are replaced by it: same numbers."""
    if backend != "onnxruntime":
        logger.warning("backend %r is replaced by ONNX Runtime", backend)
    if device not in ("cpu", "cuda"):
        logger.warning("device %r is not offered: taking the CPU", device)
    return "cuda" if device == "cuda" else "cpu"


def _card(network: str | Path, task: str, codec: str, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> Card:
    """The card of a network as rtmlib's callers describe it; what the file says of itself doesn't count."""
    options = {"skeleton": "coco-17"} if task != "detection" else {"classes": ("person",)}
    numbers = tuple(size), tuple(mean), tuple(std)
    file = local_file(network, Card("unknown", task, "unknown.onnx", *numbers, codec=codec, **options))
    return Card(file.stem, task, str(file), *numbers, codec=codec, **options)
