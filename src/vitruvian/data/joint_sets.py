"""Points of one data set as those of another, with rules for heads and spines where `skeletons.convert` has nothing.

Lifters need all their joints, and their sets differ in where they put the head: the rules are linear, hold in pixels and in space, and are
ours. They are for what networks are shown or trained on; figures leave such joints out (`data.judge3d.shared_joints`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vitruvian.codecs.lifting import LIFTED, joints_of_coco
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_17, H36M_17, INF_3DHP_17, SHELF_14, SMPL_24, Skeleton, convert

_MADE: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]] = {
    (INF_3DHP_17.name, H36M_17.name): {"neck_base": {"neck": 0.5, "head_top": 0.5}},
    (H36M_17.name, INF_3DHP_17.name): {"head": {"neck_base": 0.5, "head": 0.5}},
    (SMPL_24.name, H36M_17.name): {"spine": {"spine2": 1}, "neck_base": {"head": 1}, "head": {"head": 3, "neck": -2}},
    (SMPL_24.name, INF_3DHP_17.name): {"spine": {"spine2": 1}, "head": {"head": 2, "neck": -1}, "head_top": {"head": 3, "neck": -2}},
    (H36M_17.name, SHELF_14.name): {"head_bottom": {"neck_base": 1}},
}
"""(from, to) -> joint -> shares of the joints that it is made of [ours]."""


def brought(points: Float[np.ndarray, "*n k d"], source: Skeleton, target: Skeleton) -> Float[np.ndarray, "*n j d"]:
    """Points (pixels or metres) of one set as those of another, NaN where it lacks them; head and spine of lifters' sets by rule [ours].

    Raises VitruvianError where the target is lifters' and not all of its joints follow.
    """
    if source is target:
        return points
    there = np.isfinite(points).all(-1).astype(np.float64)
    if target.name in LIFTED and source.names[:17] == COCO_17.names:
        return joints_of_coco(points, there, target)[0]
    made = _MADE.get((source.name, target.name), {})
    found = convert(points, there, source, target)
    if target.name in LIFTED and set(found.missing) - set(made):
        raise VitruvianError(f"the joints of {target.name} don't follow from those of {source.name}: take a lifter of another set")
    out = found.keypoints
    for name, parts in made.items():
        out[..., target.index(name), :] = sum(share * points[..., source.index(part), :] for part, share in parts.items())
    return out
