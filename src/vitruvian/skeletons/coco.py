"""COCO's 17 body points and COCO-WholeBody's 133 (also H3WB's and UBody's order)."""

from __future__ import annotations

import numpy as np

from vitruvian.skeletons.faces import FACE_68, FACE_SIGMAS
from vitruvian.skeletons.hands import HAND_21, HAND_LINKS, HAND_SIGMAS
from vitruvian.skeletons.types import Skeleton, link_colors, swap_from_names

BODY_NAMES = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
FOOT_NAMES = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
BODY_SIGMAS = np.array([0.026, 0.025, 0.025, 0.035, 0.035] + [s for s in (0.079, 0.072, 0.062, 0.107, 0.087, 0.089) for _ in "lr"])
FOOT_SIGMAS = np.array([0.068, 0.066, 0.066, 0.092, 0.094, 0.094])  # not mirror-symmetric, and published so

_BODY_LINKS = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
_FOOT_LINKS = ((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22))


def hand_names(side: str) -> tuple[str, ...]:
    """The 21 names of one hand (`side` is left or right) within a whole-body set; the wrist is the hand's root."""
    return (f"{side}_hand_root", *(f"{side}_{name}" for name in HAND_21.names[1:]))


COCO_17 = Skeleton(
    name="coco-17",
    names=BODY_NAMES,
    swap=swap_from_names(BODY_NAMES),
    links=_BODY_LINKS,
    colors=link_colors(BODY_NAMES, _BODY_LINKS),
    parts={"body": slice(0, 17)},
    sigmas=BODY_SIGMAS,
)
"""COCO's person keypoints."""

_WHOLE_NAMES = (*BODY_NAMES, *FOOT_NAMES, *FACE_68.names, *hand_names("left"), *hand_names("right"))
_WHOLE_LINKS = (*_BODY_LINKS, *_FOOT_LINKS, *((a + base, b + base) for base in (91, 112) for a, b in HAND_LINKS))
_FACE_START = 23

COCO_WHOLEBODY_133 = Skeleton(
    name="coco-wholebody-133",
    names=_WHOLE_NAMES,
    swap=tuple(_FACE_START + FACE_68.swap[i - _FACE_START] if 23 <= i < 91 else j for i, j in enumerate(swap_from_names(_WHOLE_NAMES))),
    links=_WHOLE_LINKS,
    colors=link_colors(_WHOLE_NAMES, _WHOLE_LINKS),
    parts={"body": slice(0, 17), "foot": slice(17, 23), "face": slice(23, 91), "left_hand": slice(91, 112), "right_hand": slice(112, 133)},
    sigmas=np.concatenate([BODY_SIGMAS, FOOT_SIGMAS, FACE_SIGMAS, HAND_SIGMAS, HAND_SIGMAS]),
)
"""The library's own whole-body set. Its links are the 65 published ones: the face has none (see FACE_68 for polylines)."""
