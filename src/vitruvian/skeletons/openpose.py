"""OpenPose's sets: BODY_25, the older 18 points (ControlNet's body), and the 134 points of COCO-WholeBody with a neck.

OpenPose publishes no sigmas: those here are COCO-WholeBody's by name; neck and mid hip take the shoulder's and the hip's (proposed).
"""

from __future__ import annotations

import numpy as np

from vitruvian.skeletons.coco import COCO_WHOLEBODY_133, FOOT_NAMES, hand_names
from vitruvian.skeletons.faces import FACE_68
from vitruvian.skeletons.hands import HAND_LINKS
from vitruvian.skeletons.types import Color, Skeleton, link_colors, parents_from_links, swap_from_names

# RGB of OpenPose's drawing, one per limb (17 are used) and per point.
OPENPOSE_COLORS: tuple[Color, ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)

_ARMS = ("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist")
_LEGS = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
_HEAD = ("right_eye", "left_eye", "right_ear", "left_ear")
_NAMES_18 = ("nose", "neck", *_ARMS, *_LEGS, *_HEAD)
_NAMES_25 = ("nose", "neck", *_ARMS, "mid_hip", *_LEGS, *_HEAD, *FOOT_NAMES)
_NAMES_134 = (*_NAMES_18, *FOOT_NAMES, *FACE_68.names, *hand_names("left"), *hand_names("right"))

_LINKS_18 = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
_LINKS_25 = (
    *((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14)),
    *((1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
)
_FOOT_LINKS_134 = ((13, 18), (13, 19), (13, 20), (10, 21), (10, 22), (10, 23))
_LINKS_134 = (*_LINKS_18, *_FOOT_LINKS_134, *((a + base, b + base) for base in (92, 113) for a, b in HAND_LINKS))


def _sigmas(names: tuple[str, ...]) -> np.ndarray:
    stand_in = {"neck": "left_shoulder", "mid_hip": "left_hip"}
    return COCO_WHOLEBODY_133.sigmas[[COCO_WHOLEBODY_133.index(stand_in.get(name, name)) for name in names]]


OPENPOSE_BODY_18 = Skeleton(
    name="openpose-body-18",
    names=_NAMES_18,
    swap=swap_from_names(_NAMES_18),
    links=_LINKS_18,
    colors=OPENPOSE_COLORS[: len(_LINKS_18)],
    parts={"body": slice(0, 18)},
    parents=parents_from_links(18, 1, _LINKS_18),
    sigmas=_sigmas(_NAMES_18),
)
"""OpenPose's older COCO model and ControlNet's body, with the 17 limbs in drawing order."""

OPENPOSE_BODY_25 = Skeleton(
    name="openpose-body-25",
    names=_NAMES_25,
    swap=swap_from_names(_NAMES_25),
    links=_LINKS_25,
    colors=link_colors(_NAMES_25, _LINKS_25),
    parts={"body": slice(0, 19), "foot": slice(19, 25)},
    parents=parents_from_links(25, 8, _LINKS_25),
    sigmas=_sigmas(_NAMES_25),
)
"""OpenPose BODY_25: neck and mid hip are points of their own, six foot points at the end."""

OPENPOSE_134 = Skeleton(
    name="openpose-134",
    names=_NAMES_134,
    swap=tuple(24 + FACE_68.swap[i - 24] if 24 <= i < 92 else j for i, j in enumerate(swap_from_names(_NAMES_134))),
    links=_LINKS_134,
    colors=(*OPENPOSE_COLORS[: len(_LINKS_18)], *link_colors(_NAMES_134, _LINKS_134[len(_LINKS_18) :])),
    parts={"body": slice(0, 18), "foot": slice(18, 24), "face": slice(24, 92), "left_hand": slice(92, 113), "right_hand": slice(113, 134)},
    sigmas=_sigmas(_NAMES_134),
)
"""COCO-WholeBody with a neck, body in OpenPose's order: what DWPose's tools and rtmlib call OpenPose style."""
