"""Joint angles, gait and their pictures from keypoints, without OpenSim: numpy, scipy and OpenCV only.

`angles` from points in space, `planar` from points in the picture, `gait` events and parameters, `augmenter` more markers from few
(ONNX Runtime), `plots` and `report` for reading. Through a musculoskeletal model: `vitruvian.systems.biomechanics`.
"""

from vitruvian.biomechanics.angles import joint_angles
from vitruvian.biomechanics.gait import Gait, GaitEvents, gait_events, gait_parameters
from vitruvian.biomechanics.planar import planar_angles
from vitruvian.biomechanics.report import angles_of, gait_of
from vitruvian.biomechanics.table import Angles

__all__ = ["Angles", "Gait", "GaitEvents", "angles_of", "gait_events", "gait_of", "gait_parameters", "joint_angles", "planar_angles"]
