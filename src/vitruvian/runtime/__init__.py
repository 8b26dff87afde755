"""Running exported networks with ONNX Runtime: a session, a detector, a pose estimator. Batched, no state between calls.

What the numbers mean is written in `vitruvian.codecs`, which file belongs to which network in `vitruvian.weights`.
"""

from vitruvian.codecs.rtmdet import Detections
from vitruvian.runtime.detector import Detector
from vitruvian.runtime.pose import PoseEstimator
from vitruvian.runtime.session import Session

__all__ = ["Detections", "Detector", "PoseEstimator", "Session"]
