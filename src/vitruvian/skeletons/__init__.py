"""Keypoint sets as data, and the conversions between them.

Here: names, orders, left-right swaps, trees, links, parts and metric constants of every set that the library meets (numpy only).
Not here: drawing (draw/), metrics (metrics/), files (formats/), body models (body/).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vitruvian.errors import VitruvianError
from vitruvian.skeletons.bodies import (
    AIC_14,
    AP10K_17,
    CROWDPOSE_14,
    H36M_17,
    HALPE_26,
    HALPE_136,
    HUMANART_21,
    JHMDB_15,
    MPII_16,
    NTU_25,
    PANOPTIC_15,
    PANOPTIC_19,
    POSETRACK_15,
    POSETRACK_17,
    SMPL_24,
)
from vitruvian.skeletons.coco import COCO_17, COCO_WHOLEBODY_133
from vitruvian.skeletons.convert import Converted, convert, neck_score_binary
from vitruvian.skeletons.faces import COFW_29, FACE_68, LAPA_106, WFLW_98
from vitruvian.skeletons.hands import HAND_21, INTERHAND_21, INTERHAND_42
from vitruvian.skeletons.markers import SYNTHPOSE_52
from vitruvian.skeletons.openpose import OPENPOSE_134, OPENPOSE_BODY_18, OPENPOSE_BODY_25
from vitruvian.skeletons.spatial import INF_3DHP_17, SHELF_14, XNECT_14, XNECT_21
from vitruvian.skeletons.types import Skeleton

_ALL = (
    *(COCO_WHOLEBODY_133, COCO_17, OPENPOSE_134, OPENPOSE_BODY_25, OPENPOSE_BODY_18),
    *(HALPE_26, HALPE_136, MPII_16, H36M_17, CROWDPOSE_14, POSETRACK_17, POSETRACK_15, NTU_25),
    *(PANOPTIC_15, PANOPTIC_19, SMPL_24, JHMDB_15, AIC_14, HUMANART_21, AP10K_17),
    *(INF_3DHP_17, SHELF_14, XNECT_14, XNECT_21),
    *(HAND_21, INTERHAND_21, INTERHAND_42, FACE_68, WFLW_98, COFW_29, LAPA_106, SYNTHPOSE_52),
)
SKELETONS: Mapping[str, Skeleton] = MappingProxyType({skeleton.name: skeleton for skeleton in _ALL})
"""Every keypoint set by its name."""


def by_name(name: str) -> Skeleton:
    """The keypoint set called `name`; case and `_` for `-` don't matter. Raises VitruvianError if there is none."""
    try:
        return SKELETONS[name.lower().replace("_", "-")]
    except KeyError:
        raise VitruvianError(f"no keypoint set {name!r}; choose one of {', '.join(SKELETONS)}") from None


__all__ = [
    "AIC_14",
    "AP10K_17",
    "COCO_17",
    "COCO_WHOLEBODY_133",
    "COFW_29",
    "CROWDPOSE_14",
    "Converted",
    "FACE_68",
    "H36M_17",
    "HALPE_26",
    "HALPE_136",
    "HAND_21",
    "HUMANART_21",
    "INF_3DHP_17",
    "INTERHAND_21",
    "INTERHAND_42",
    "JHMDB_15",
    "LAPA_106",
    "MPII_16",
    "NTU_25",
    "OPENPOSE_134",
    "OPENPOSE_BODY_18",
    "OPENPOSE_BODY_25",
    "PANOPTIC_15",
    "PANOPTIC_19",
    "POSETRACK_15",
    "POSETRACK_17",
    "SHELF_14",
    "SKELETONS",
    "SMPL_24",
    "SYNTHPOSE_52",
    "Skeleton",
    "WFLW_98",
    "XNECT_14",
    "XNECT_21",
    "by_name",
    "convert",
    "neck_score_binary",
]
