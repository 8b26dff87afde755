"""Sets of joints in space: MPI-INF-3DHP's, XNect's, and that of Shelf and Campus."""

from __future__ import annotations

from collections.abc import Mapping

from vitruvian.skeletons.types import Skeleton, link_colors, swap_from_names

_SIDES = ("right", "left")
_DETECTED = (
    "head_top",
    "neck",
    *(f"{side}_{part}" for side in _SIDES for part in ("shoulder", "elbow", "wrist")),
    *(f"{side}_{part}" for side in _SIDES for part in ("hip", "knee", "ankle")),
)
_ALL = (*_DETECTED, "pelvis", "spine", "head", "right_hand", "left_hand", "right_foot", "left_foot")
_PARENT_OF = {"spine": "pelvis", "neck": "spine", "head": "neck", "head_top": "head"} | {
    f"{side}_{child}": parent if parent in ("neck", "pelvis") else f"{side}_{parent}"
    for side in _SIDES
    for child, parent in (
        *(("shoulder", "neck"), ("elbow", "shoulder"), ("wrist", "elbow"), ("hand", "wrist")),
        *(("hip", "pelvis"), ("knee", "hip"), ("ankle", "knee"), ("foot", "ankle")),
    )
}


def _set(name: str, names: tuple[str, ...], parent_of: Mapping[str, str]) -> Skeleton:
    parents = tuple(names.index(parent_of[joint]) if joint in parent_of else -1 for joint in names)
    links = tuple((parent, child) for child, parent in enumerate(parents) if parent >= 0)
    return Skeleton(name, names, swap_from_names(names), links, link_colors(names, links), {"body": slice(0, len(names))}, parents)


XNECT_21 = _set("xnect-21", _ALL, _PARENT_OF)
"""The joints of XNect's stages II and III, the first 14 those of its stage I. The feet are the toes' tips. [order ours]"""

_ROOTED_AT_NECK = {"head_top": "neck", "right_hip": "neck", "left_hip": "neck"}

XNECT_14 = _set("xnect-14", _DETECTED, {name: parent for name, parent in _PARENT_OF.items() if parent in _DETECTED} | _ROOTED_AT_NECK)
"""The joints that XNect's stage I looks for; the neck is the root of people."""

INF_3DHP_17 = _set("inf-3dhp-17", _ALL[:17], {name: parent for name, parent in _PARENT_OF.items() if name in _ALL[:17]})
"""The 17 "relevant" joints of MPI-INF-3DHP, in the order of its test annotations [mem]. The pelvis, 14, is the root."""

_SHELF_NAMES = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head_bottom", "head_top"),
)
_SHELF_LINKS = (*((0, 1), (1, 2), (3, 4), (4, 5), (2, 3), (6, 7), (7, 8), (9, 10), (10, 11), (8, 12), (9, 12), (12, 13), (2, 8), (3, 9)),)

SHELF_14 = Skeleton(
    name="shelf-14",
    names=_SHELF_NAMES,
    swap=swap_from_names(_SHELF_NAMES),
    links=_SHELF_LINKS,
    colors=link_colors(_SHELF_NAMES, _SHELF_LINKS),
    parts={"body": slice(0, 14)},
)
"""Shelf and Campus, measured by PCP; links are proposed."""
