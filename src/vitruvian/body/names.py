"""Names of the published body models: their joints, the blocks of their pose, and which joints make a hand, a foot or a head.

Sources: the published models' joint orders (SMPL 2015, SMPL+H and MANO 2017, FLAME 2017, SMPL-X 2019, HACK 2023; card `mano` section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vitruvian.skeletons import SMPL_24

PART_NAMES = ("body", "head", "left_hand", "right_hand", "left_foot", "right_foot")
"""What `BodyModel.vertex_parts` counts in."""

FINGER_ORDER = ("index", "middle", "pinky", "ring", "thumb")
"""The published order of fingers, which is not the hand's."""

_FINGER_JOINTS = tuple(f"{finger}{i}" for finger in FINGER_ORDER for i in (1, 2, 3))
_BODY_22 = SMPL_24.names[:22]


def _fingers(side: str) -> tuple[str, ...]:
    return tuple(f"{side}_{name}" for name in _FINGER_JOINTS)


JOINT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "smpl": SMPL_24.names,
        "smplh": (*_BODY_22, *_fingers("left"), *_fingers("right")),
        "smplx": (*_BODY_22, "jaw", "left_eye", "right_eye", *_fingers("left"), *_fingers("right")),
        "mano": ("wrist", *_FINGER_JOINTS),
        "flame": ("root", "neck", "jaw", "left_eye", "right_eye"),
        "hack": ("c7t1", "c6c7", "c5c6", "c4c5", "c3c4", "c2c3", "c1c2", "oc1"),
    }
)
"""Joints of each published kind of model, in the order of its files."""

POSE_BLOCKS: Mapping[str, Mapping[str, slice]] = MappingProxyType(
    {
        "smpl": {"root": slice(0, 1), "body": slice(1, 24)},
        "smplh": {"root": slice(0, 1), "body": slice(1, 22), "left_hand": slice(22, 37), "right_hand": slice(37, 52)},
        "smplx": {
            "root": slice(0, 1),
            "body": slice(1, 22),
            "jaw": slice(22, 23),
            "left_eye": slice(23, 24),
            "right_eye": slice(24, 25),
            "left_hand": slice(25, 40),
            "right_hand": slice(40, 55),
        },
        "mano": {"root": slice(0, 1), "hand": slice(1, 16)},
        "flame": {
            "root": slice(0, 1),
            "neck": slice(1, 2),
            "jaw": slice(2, 3),
            "left_eye": slice(3, 4),
            "right_eye": slice(4, 5),
        },
        "hack": {"root": slice(0, 1), "neck": slice(1, 8)},
    }
)
"""The named blocks of a pose, as slices of the joints."""


def pose_blocks(kind: str, num_joints: int) -> Mapping[str, slice]:
    """The blocks of a kind's pose; a kind without published blocks has "root" and "body" (all other joints)."""
    return POSE_BLOCKS.get(kind, {"root": slice(0, 1), "body": slice(1, num_joints)})


_HAND_WORDS = (*FINGER_ORDER, "hand", "wrist", "finger", "metacarpal")
_HEAD_WORDS = ("head", "jaw", "eye", "neck", "tongue", "c7t1", "c6c7", "c5c6", "c4c5", "c3c4", "c2c3", "c1c2", "oc1")
_FOOT_WORDS = ("ankle", "foot", "toe")


def joint_parts(names: Sequence[str]) -> list[int]:
    """The part (index into PART_NAMES) that each joint moves, told by its name; the sides are `left_...`/`....L` and their likes.

    A neck counts as head: its skin moves with the head. A hand without a side (MANO) counts as the right one.
    """
    return [_joint_part(name.lower()) for name in names]


def _joint_part(name: str) -> int:
    left = name.startswith(("left", "l_")) or name.endswith((".l", "_l", "_left"))
    if any(word in name for word in _HEAD_WORDS):
        return PART_NAMES.index("head")
    if any(word in name for word in _FOOT_WORDS):
        return PART_NAMES.index("left_foot" if left else "right_foot")
    if any(word in name for word in _HAND_WORDS):
        return PART_NAMES.index("left_hand" if left else "right_hand")
    return PART_NAMES.index("body")
