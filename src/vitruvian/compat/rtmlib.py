"""rtmlib's call style on our runtime: change `from rtmlib import ...` to `from vitruvian.compat.rtmlib import ...`.

    from vitruvian.compat.rtmlib import PoseTracker, Wholebody, draw_skeleton

    wholebody = Wholebody(mode="balanced")
    keypoints, scores = wholebody(image)        # (n, 133, 2) pixels, (n, 133)

Same networks, same numbers (tests/compat runs both on the same files): pictures are taken in the order of channels that they have, a
picture without detections is one person, scores are means of two maxima. `vitruvian.capture` and `vitruvian.runtime` are the same without
these quirks.

| name | what | differs from rtmlib 0.0.16 |
|---|---|---|
| YOLOX, RTMDet | detectors | det_mode "human" only; float32 |
| RTMPose, ViTPose, RTMPose3d | pose networks of given boxes | float32 |
| RTMO | pose network without boxes | |
| Wholebody, Wholebody3d, Body, BodyWithFeet, Hand, Custom | both kinds together | no det_categories; a file of RTMO is used as given |
| PoseTracker | boxes from the last frame, ids | keeps ids when the number of people changes, where rtmlib mixes them up or fails |
| draw_skeleton, draw_bbox | drawing | our colours and links |

Networks are named by path, address, or id in the store; the modes' come from the store (`vitruvian weights list`). `backend` is always ONNX
Runtime, `device` "cpu" or "cuda". Not offered: RFDETR, Animal.
Written from the package's signatures, its results on networks with known answers, and card dwpose.md section 5.2. rtmlib is Apache-2.0.
"""

from vitruvian.compat.drawing import draw_bbox, draw_skeleton
from vitruvian.compat.models import RTMO, YOLOX, RTMDet, RTMPose, RTMPose3d, ViTPose
from vitruvian.compat.solutions import Body, BodyWithFeet, Custom, Hand, PoseTracker, Wholebody, Wholebody3d

__all__ = [
    "RTMO",
    "YOLOX",
    "Body",
    "BodyWithFeet",
    "Custom",
    "Hand",
    "PoseTracker",
    "RTMDet",
    "RTMPose",
    "RTMPose3d",
    "ViTPose",
    "Wholebody",
    "Wholebody3d",
    "draw_bbox",
    "draw_skeleton",
]
