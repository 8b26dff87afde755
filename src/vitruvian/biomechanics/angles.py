"""Joint angles from points in space, after the ISB's recommendations as far as keypoints allow.

| angle | positive | definition |
|---|---|---|
| hip_flexion, hip_adduction, hip_rotation | flexion, adduction, internal | thigh in the pelvis, order Z X Y \
(Wu et al., J Biomech 2002, 35: 543; Grood and Suntay, J Biomech Eng 1983) |
| knee_flexion | flexion | pi less the angle hip, knee, ankle; below 0 where the knee bends forward |
| ankle_dorsiflexion | dorsiflexion | pi / 2 less the angle between shank and the line from heel to toes |
| lumbar_extension, lumbar_bending, lumbar_rotation | backward, to the right, to the left | thorax in the pelvis, order Z X Y; extension \
only with ASIS and PSIS |
| pelvis_tilt, pelvis_list, pelvis_rotation | backward, right side down, to the left | pelvis in the world, order Y X Z (rotation, \
obliquity, tilt: Baker, J Biomech 2001); tilt only with ASIS and PSIS |
| trunk_lean | forward | of the line from mid hip to neck against up, in the plane that faces where the person does |
| trunk_sideways | to the right | the same, sideways |
| shoulder_elevation | away from the trunk | between upper arm and the trunk's down (Wu et al., J Biomech 2005, 38: 981) |
| shoulder_plane | forward | plane of elevation: 0 sideways, pi / 2 forward; NaN below 15 degrees of elevation |
| elbow_flexion | flexion | pi less the angle shoulder, elbow, wrist |

What keypoints do not tell: the pelvis' tilt (hip flexion is against the trunk then), the thigh's turn while the knee is straight
(hip_rotation is NaN below 20 degrees of flexion, unless there are markers on both sides of the knee), inversion of the foot. Joint centres
are where annotators click, not where ISB puts them: expect offsets of several degrees against a marker laboratory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vitruvian.biomechanics.segments import Points, across, between, dot, frame, named_points, pelvis_frame, thorax_frame, unit
from vitruvian.biomechanics.table import Angles

_BENT = np.radians(20)  # of a knee whose plane tells how the thigh is turned
_RAISED = np.radians(15)  # of an arm whose plane of elevation means anything


def joint_angles(points: Float[np.ndarray, "f k 3"], names: Sequence[str], times: Float[np.ndarray, " f"]) -> Angles:
    """All angles that the named points allow, in radians; points in metres (or any unit), y up, right-handed.

    names: as in COCO and Halpe (left_hip ...), with feet and SynthPose's anatomical markers where there are any. Missing points are NaN
    and give NaN. No frames, and names that allow nothing, are valid. Pelvis and trunk against the world need y to be up; the others hold
    in any frame. Raises VitruvianError where shapes don't fit.
    """
    times = np.asarray(times, np.float64)
    p = named_points(points, names)
    columns: dict[str, np.ndarray] = {}
    pelvis, own_tilt = pelvis_frame(p)
    notes = []
    with np.errstate(invalid="ignore"):
        for side in ("right", "left"):
            columns |= _leg(p, side, pelvis)
        if pelvis is not None:
            columns |= _pelvis(pelvis, own_tilt)
        columns |= _trunk(p, pelvis, own_tilt)
        for side in ("right", "left"):
            columns |= _arm(p, side)
    if pelvis is not None and not own_tilt:
        notes.append("pelvis tilt can't be told from hips and shoulders: hip flexion is against the trunk")
    values = np.stack(list(columns.values()), 1) if columns else np.zeros((len(times), 0))
    return Angles(tuple(columns), times, values, notes=tuple(notes))


def cardan_zxy(rotation: Float[np.ndarray, "f 3 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(z, x, y) with rotation = Rz(z) Rx(x) Ry(y); x within a quarter turn of 0."""
    z = np.arctan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    x = np.arcsin(np.clip(rotation[:, 2, 1], -1, 1))
    y = np.arctan2(-rotation[:, 2, 0], rotation[:, 2, 2])
    return z, x, y


def _leg(p: Points, side: str, pelvis: np.ndarray | None) -> dict[str, np.ndarray]:
    mirror = 1.0 if side == "right" else -1.0
    hip, knee, ankle = (p.get(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
    out: dict[str, np.ndarray] = {}
    bend = None
    if hip is not None and knee is not None and ankle is not None:
        bend = between(knee - hip, ankle - knee)
        # A knee bends about the axis to the person's right; the other way is over-extension.
        turn = np.cross(ankle - knee, knee - hip)
        ahead = np.ones(len(bend)) if pelvis is None else dot(turn, pelvis[:, :, 2])
        bend = np.where((ahead < 0) & (bend < _BENT), -bend, bend)
    if pelvis is not None and hip is not None and knee is not None:
        # x, y, z of the thigh's way down in the pelvis; the order Z X Y makes two angles of it without knowing the thigh's turn.
        down = np.einsum("fji,fj->fi", pelvis, unit(knee - hip))
        out[f"hip_flexion_{side}"] = np.arctan2(down[:, 0], -down[:, 1])
        out[f"hip_adduction_{side}"] = -mirror * np.arcsin(np.clip(down[:, 2], -1, 1))
        out[f"hip_rotation_{side}"] = mirror * _thigh_turn(p, side, pelvis, bend)
    if bend is not None:
        out[f"knee_flexion_{side}"] = bend
    heel, toes = p.get(f"{side}_heel"), p.get(f"{side}_toes")
    if knee is not None and ankle is not None and heel is not None and toes is not None:
        out[f"ankle_dorsiflexion_{side}"] = np.pi / 2 - between(knee - ankle, toes - heel)
    return out


def _thigh_turn(p: Points, side: str, pelvis: np.ndarray, bend: np.ndarray | None) -> np.ndarray:
    """The thigh's rotation about its length (about +Y), from markers at the knee or from the plane of a bent knee."""
    up = p[f"{side}_hip"] - p[f"{side}_knee"]
    letter = side[0]
    if f"{letter}_knee" in p and f"{letter}_mknee" in p:
        right = (p[f"{letter}_knee"] - p[f"{letter}_mknee"]) * (1 if side == "right" else -1)
    elif bend is not None:
        shank = p[f"{side}_knee"] - p[f"{side}_ankle"]
        right = np.where((bend > _BENT)[:, None], np.cross(shank, up), np.nan)
    else:
        return np.full(len(up), np.nan)
    return cardan_zxy(np.einsum("fji,fjk->fik", pelvis, frame(up, right)))[2]


def _pelvis(pelvis: np.ndarray, own_tilt: bool) -> dict[str, np.ndarray]:
    """R = Ry(rotation) Rx(list) Rz(tilt)."""
    out = {
        "pelvis_list": -np.arcsin(np.clip(pelvis[:, 1, 2], -1, 1)),
        "pelvis_rotation": _unwrapped(np.arctan2(pelvis[:, 0, 2], pelvis[:, 2, 2])),
    }
    return {"pelvis_tilt": np.arctan2(pelvis[:, 1, 0], pelvis[:, 1, 1]), **out} if own_tilt else out


def _unwrapped(angles: np.ndarray) -> np.ndarray:
    """Without jumps of a full turn, across gaps too."""
    out, seen = angles.copy(), np.isfinite(angles)
    out[seen] = np.unwrap(angles[seen])
    return out


def _trunk(p: Points, pelvis: np.ndarray | None, own_tilt: bool) -> dict[str, np.ndarray]:
    thorax = thorax_frame(p)
    if thorax is None:
        return {}
    out = {}
    if pelvis is not None:
        extension, bending, rotation = cardan_zxy(np.einsum("fji,fjk->fik", pelvis, thorax))
        out = {"lumbar_extension": extension} if own_tilt else {}
        out |= {"lumbar_bending": bending, "lumbar_rotation": rotation}
    up = thorax[:, :, 1]
    level = np.array([0.0, 1.0, 0.0])
    right = unit(across(thorax[:, :, 2], level))
    forward = np.cross(level, right)
    out["trunk_lean"] = np.arctan2(dot(up, forward), up[:, 1])
    out["trunk_sideways"] = np.arctan2(dot(up, right), up[:, 1])
    return out


def _arm(p: Points, side: str) -> dict[str, np.ndarray]:
    shoulder, elbow, wrist = (p.get(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
    out: dict[str, np.ndarray] = {}
    thorax = thorax_frame(p)
    if thorax is not None and shoulder is not None and elbow is not None:
        arm = np.einsum("fji,fj->fi", thorax, unit(elbow - shoulder))
        raised = np.arccos(np.clip(-arm[:, 1], -1, 1))
        sideways = arm[:, 2] * (1 if side == "right" else -1)
        out[f"shoulder_elevation_{side}"] = raised
        out[f"shoulder_plane_{side}"] = np.where(raised > _RAISED, np.arctan2(arm[:, 0], sideways), np.nan)
    if shoulder is not None and elbow is not None and wrist is not None:
        out[f"elbow_flexion_{side}"] = between(elbow - shoulder, wrist - elbow)
    return out
