"""rtmlib's solutions (a detector and a pose network together) and its tracker; see `vitruvian.compat.rtmlib`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.compat import models
from vitruvian.compat.models import RTMO, YOLOX, Image, People, RTMDet, RTMPose, RTMPose3d
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import area, enclosing, iou

Size = tuple[int, int]
T = TypeVar("T")


class Mode(NamedTuple):
    """The networks of one mode: ids in the store, and input sizes (width, height)."""

    det: str
    det_input_size: Size
    pose: str
    pose_input_size: Size


_M, _X, _TINY = ("yolox-m-humanart", (640, 640)), ("yolox-x-humanart", (640, 640)), ("yolox-tiny-humanart", (416, 416))
_SMALL, _LARGE = (192, 256), (288, 384)


class _TwoStage:
    """A detector and a pose network: call it with a picture. Networks that are not given are those of `mode`."""

    MODE: Mapping[str, Mode] = {}
    USUAL = "balanced"  # mode
    SIZES = (640, 640), _LARGE  # of networks that are given without one
    one_stage = False
    _detector: type = YOLOX
    _pose: type = RTMPose

    def __init__(
        self,
        det: str | Path | None = None,
        det_input_size: Size | None = None,
        pose: str | Path | None = None,
        pose_input_size: Size | None = None,
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        usual = _mode(type(self).__name__, self.MODE, mode or self.USUAL) if det is None or pose is None else None
        if det is None:
            det, det_input_size = usual.det, usual.det_input_size
        if pose is None:
            pose, pose_input_size = usual.pose, usual.pose_input_size
        where = {"backend": backend, "device": device}
        self.det_model = self._detector(det, model_input_size=det_input_size or self.SIZES[0], **where)
        self.pose_model = self._pose(pose, model_input_size=pose_input_size or self.SIZES[1], to_openpose=to_openpose, **where)

    def __call__(self, image: Image) -> People:
        return self.pose_model(image, bboxes=self.det_model(image))


class Wholebody(_TwoStage):
    """People with COCO-WholeBody's 133 keypoints."""

    MODE = {
        "performance": Mode(*_M, "rtmw-l-384", _LARGE),
        "lightweight": Mode(*_TINY, "rtmw-m", _SMALL),
        "balanced": Mode(*_M, "rtmw-l", _SMALL),
    }


class Wholebody3d(_TwoStage):
    """People with 133 keypoints in three dimensions: see `RTMPose3d` for the four arrays."""

    MODE = {"balanced": Mode(*_M, "rtmw3d-x", _LARGE)}
    _pose = RTMPose3d


class BodyWithFeet(_TwoStage):
    """People with Halpe's 26 keypoints."""

    MODE = {
        "performance": Mode(*_X, "rtmpose-x-body26-384", _LARGE),
        "lightweight": Mode(*_TINY, "rtmpose-s-body26", _SMALL),
        "balanced": Mode(*_M, "rtmpose-m-body26", _SMALL),
    }
    SIZES = (640, 640), _SMALL


class Hand(_TwoStage):
    """Hands with 21 keypoints."""

    MODE = {"lightweight": Mode("rtmdet-nano-hand", (320, 320), "rtmpose-m-hand", (256, 256))}
    USUAL = "lightweight"
    SIZES = (320, 320), (256, 256)
    _detector = RTMDet


class Body(_TwoStage):
    """People with COCO's 17 keypoints; `pose="rtmo"`, or a file with "rtmo" in its name, finds them in one stage."""

    MODE = {
        "performance": Mode(*_X, "rtmpose-x-body17-384", _LARGE),
        "lightweight": Mode(*_TINY, "rtmpose-s-body17", _SMALL),
        "balanced": Mode(*_M, "rtmpose-m-body17", _SMALL),
    }
    RTMO_MODE = {"performance": "rtmo-l", "lightweight": "rtmo-s", "balanced": "rtmo-m"}

    def __init__(
        self,
        det: str | Path | None = None,
        det_input_size: Size | None = None,
        pose: str | Path | None = None,
        pose_input_size: Size | None = None,
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        self.one_stage = pose is not None and "rtmo" in Path(pose).name
        if not self.one_stage:
            super().__init__(det, det_input_size, pose, pose_input_size, mode, to_openpose, backend, device)
            return
        if str(pose) == "rtmo":
            pose = _mode("Body", self.RTMO_MODE, mode or self.USUAL)
        self.pose_model = RTMO(pose, pose_input_size or (640, 640), to_openpose=to_openpose, backend=backend, device=device)

    def __call__(self, image: Image) -> People:
        return self.pose_model(image) if self.one_stage else super().__call__(image)


class Custom:
    """Any detector and pose network of `vitruvian.compat.rtmlib`, by the names of their classes; without a detector, RTMO."""

    def __init__(
        self,
        det_class: str | None = None,
        det: str | Path | None = None,
        det_input_size: Size = (640, 640),
        det_mode: str = "human",
        det_categories: Sequence[str] | None = None,
        pose_class: str | None = None,
        pose: str | Path | None = None,
        pose_input_size: Size = _SMALL,
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        if det_categories:
            raise VitruvianError("det_categories are not offered here: vitruvian.Detector finds the classes that it is given.")
        where = {"backend": backend, "device": device}
        self.one_stage = det_class is None
        if not self.one_stage:
            self.det_model = _class(det_class, ("YOLOX", "RTMDet"))(det, det_input_size, det_mode, **where)
        kinds = ("RTMO",) if self.one_stage else ("RTMPose", "ViTPose", "RTMPose3d")
        self.pose_model = _class(pose_class, kinds)(pose, pose_input_size, to_openpose=to_openpose, **where)

    def __call__(self, image: Image) -> People:
        return self.pose_model(image) if self.one_stage else self.pose_model(image, bboxes=self.det_model(image))


class PoseTracker:
    """A solution with boxes taken from the last frame's keypoints between detections, and people in the order of their ids.

    `solution` is a class above, or a `functools.partial` of one. `track_ids` are those of the last result's rows; ids start at 0. A person
    is the one of the last frame whose box overlaps most and by more than `tracking_thr`; others get a new id when their box is larger than
    `MIN_AREA`, and are left out when it isn't.
    rtmlib's tracker mixes up its lists when the number of people changes: it loses ids, gives a row to the wrong person, or fails with an
    IndexError. Here it doesn't. Its rows are the same while all are in sight.
    """

    MIN_AREA = 1000

    def __init__(
        self,
        solution: Callable[..., object],
        det_frequency: int = 1,
        tracking: bool = True,
        tracking_thr: float = 0.3,
        mode: str | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        if det_frequency < 1:
            raise VitruvianError(f"det_frequency is a number of frames, at least 1, not {det_frequency}.")
        options = {} if mode is None else {"mode": mode}
        model = solution(**options, to_openpose=to_openpose, backend=backend, device=device)
        self.one_stage: bool = getattr(model, "one_stage", False)
        self.det_model, self.pose_model = getattr(model, "det_model", None), model.pose_model
        self.det_frequency, self.tracking, self.tracking_thr = det_frequency, tracking, tracking_thr
        self.reset()

    def reset(self) -> None:
        """Forget everybody, as before the first frame."""
        self.frame_cnt, self.next_id = 0, 0
        self.bboxes_last_frame: Float32[np.ndarray, "n 4"] = np.zeros((0, 4), np.float32)
        self.track_ids: list[int] = []

    def __call__(self, image: Image) -> People:
        if self.one_stage:
            found = self.pose_model(image)
        else:
            detect = self.frame_cnt % self.det_frequency == 0
            found = self.pose_model(image, bboxes=self.det_model(image) if detect else self.bboxes_last_frame)
        self.frame_cnt += 1
        boxes = _around(found[3] if len(found) == 4 else found[0])  # a 3D network's fourth array is in picture pixels
        if not self.tracking:
            self.bboxes_last_frame = boxes
            return found
        ids = self._identify(boxes)
        rows = np.array(sorted((row for row, known in enumerate(ids) if known >= 0), key=lambda row: ids[row]), np.int64)
        self.bboxes_last_frame, self.track_ids = boxes[rows], [ids[row] for row in rows]
        return tuple(array[rows] for array in found)

    def _identify(self, boxes: Float[np.ndarray, "n 4"]) -> list[int]:
        """The id of each box, -1 for one that is too small to be new."""
        if not self.track_ids:
            self.next_id = 0
        overlaps, ids = iou(boxes, self.bboxes_last_frame), []
        for box, row in zip(boxes, overlaps, strict=True):
            best = int(row.argmax()) if row.size else -1
            if best >= 0 and row[best] > self.tracking_thr:
                ids.append(self.track_ids[best])
                overlaps[:, best] = -1.0
            elif area(box) > self.MIN_AREA:
                ids.append(self.next_id)
                self.next_id += 1
            else:
                ids.append(-1)
        return ids


def _around(keypoints: Float[np.ndarray, "n k 2"]) -> Float32[np.ndarray, "n 4"]:
    """rtmlib's boxes between detections: around all keypoints, and a quarter larger."""
    boxes = enclosing(keypoints, np.ones(keypoints.shape[:2], bool))
    centre, half = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * (0.5 * 1.25)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _mode(name: str, modes: Mapping[str, T], mode: str) -> T:
    if mode not in modes:
        raise VitruvianError(f"{name} has no mode {mode!r}: choose {' or '.join(modes)}, or give the files of both networks.")
    return modes[mode]


def _class(name: str | None, offered: Sequence[str]) -> type:
    if name not in offered:
        raise VitruvianError(f"{name!r} is not offered here: choose {' or '.join(offered)}.")
    return getattr(models, name)
