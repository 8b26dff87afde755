"""Running exported networks with ONNX Runtime: a session, a detector, pose estimators for pictures and for clips, both in one. Batched, no
state between calls.

What the numbers mean is written in `vitruvian.codecs`, which file belongs to which network in `vitruvian.weights`.
"""

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.poses import Poses
from vitruvian.runtime.clips import ClipEstimator
from vitruvian.runtime.detector import Detector
from vitruvian.runtime.mesh import MeshEstimator
from vitruvian.runtime.multicrop import MultiCrop
from vitruvian.runtime.onestage import OneStage
from vitruvian.runtime.pose import PoseEstimator
from vitruvian.runtime.session import Session

__all__ = ["ClipEstimator", "Detections", "Detector", "MeshEstimator", "MultiCrop", "OneStage", "PoseEstimator", "Poses", "Session"]
