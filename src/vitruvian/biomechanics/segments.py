"""Directions and frames of body segments from named points, vectorised over frames; NaN in, NaN out.

ISB's axes (Wu et al., J Biomech 2002 and 2005): X forward, Y up along the segment, Z to the person's right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Points = dict[str, Float[np.ndarray, "f d"]]
_ALIASES = {
    "mid_hip": ("mid_hip", "hip", "pelvis", "root"),
    "neck": ("neck", "thorax"),
    "left_ankle": ("left_ankle", "left_foot"),
    "right_ankle": ("right_ankle", "right_foot"),
}
_MIDDLES = {"mid_hip": ("left_hip", "right_hip"), "neck": ("left_shoulder", "right_shoulder")}
_SHORT = 1e-6  # a shorter vector has no direction


def both_sides(*stems: str) -> tuple[str, ...]:
    """The names of points that there are two of, right before left."""
    return tuple(f"{side}_{stem}" for stem in stems for side in ("right", "left"))


def named_points(points: Float[np.ndarray, "f k d"], names: Sequence[str]) -> Points:
    """Points by name; neck and mid hip as means of both sides where they lack, and the toes' middle as `left_toes`, `right_toes`."""
    points = np.asarray(points, np.float64)
    points = np.where(np.isfinite(points).all(-1, keepdims=True), points, np.nan)
    found = {name: points[:, i] for i, name in enumerate(names)}
    for wanted, aliases in _ALIASES.items():
        alias = next((name for name in aliases if name in found), None)
        if alias is not None:
            found[wanted] = found[alias]
    _add_joint_centres(found)
    for wanted, (one, other) in _MIDDLES.items():
        if one in found and other in found:  # also where the set has a point of that name: annotators' necks differ
            found[wanted] = (found[one] + found[other]) / 2
    for side in ("left", "right"):
        toes = [found[name] for name in (f"{side}_big_toe", f"{side}_small_toe") if name in found]
        if toes:
            found[f"{side}_toes"] = mean_seen(toes)
    return found


def _add_joint_centres(found: Points) -> None:
    """Joints that only anatomical markers tell: means of both sides of knee, ankle, elbow and wrist; hips by Harrington's regression.

    Hips from ASIS and PSIS (Harrington et al., J Biomech 2007, with their depth and width of the pelvis; points in metres).
    """
    for side, letter in (("left", "l"), ("right", "r")):
        pairs = {"knee": ("knee", "mknee"), "ankle": ("ankle", "mankle"), "elbow": ("lelbow", "melbow"), "wrist": ("lwrist", "mwrist")}
        for joint, markers in pairs.items():
            both = [found[f"{letter}_{marker}"] for marker in markers if f"{letter}_{marker}" in found]
            if len(both) == 2:
                found.setdefault(f"{side}_{joint}", (both[0] + both[1]) / 2)
        for marker, joint in ((f"{letter}shoulder", "shoulder"), (f"{letter}_calc", "heel"), (f"{letter}_toe", "big_toe")):
            if marker in found:
                found.setdefault(f"{side}_{joint}", found[marker])
        if f"{letter}_5meta" in found:
            found.setdefault(f"{side}_small_toe", found[f"{letter}_5meta"])
    if all(name in found for name in ("r_ASIS", "l_ASIS", "r_PSIS", "l_PSIS")) and found["r_ASIS"].shape[1] == 3:
        pelvis, _ = pelvis_frame(found)
        front, back = (found["r_ASIS"] + found["l_ASIS"]) / 2, (found["r_PSIS"] + found["l_PSIS"]) / 2
        depth = np.linalg.norm(front - back, axis=-1)
        width = np.linalg.norm(found["r_ASIS"] - found["l_ASIS"], axis=-1)
        for side, sign in (("left", -1), ("right", 1)):
            local = np.stack([-0.24 * depth - 0.0099, -0.30 * width - 0.0109, sign * (0.33 * width + 0.0073)], -1)
            found.setdefault(f"{side}_hip", front + np.einsum("fij,fj->fi", pelvis, local))


def mean_seen(points: Sequence[Float[np.ndarray, "f d"]]) -> Float[np.ndarray, "f d"]:
    """The mean of those that are seen, frame by frame; NaN where none is."""
    stack = np.stack(points)
    seen = np.isfinite(stack).all(-1, keepdims=True)
    count = seen.sum(0)
    return np.where(count > 0, np.where(seen, stack, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def unit(vectors: Float[np.ndarray, "f d"]) -> Float[np.ndarray, "f d"]:
    """Vectors of length 1; NaN for those without a direction."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > _SHORT, length, np.nan)


def dot(a: Float[np.ndarray, "f d"], b: Float[np.ndarray, "f d"]) -> Float[np.ndarray, " f"]:
    """Scalar products over the last axis."""
    return (a * b).sum(-1)


def between(a: Float[np.ndarray, "f d"], b: Float[np.ndarray, "f d"]) -> Float[np.ndarray, " f"]:
    """The angle between vectors, 0 to pi, exact also where they are nearly parallel."""
    a, b = unit(a), unit(b)
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def across(vectors: Float[np.ndarray, "f 3"], axis: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """What of the vectors is perpendicular to `axis` (unit)."""
    return vectors - dot(vectors, axis)[..., None] * axis


def frame(up: Float[np.ndarray, "f 3"], right: Float[np.ndarray, "f 3"], keep: str = "up") -> Float[np.ndarray, "f 3 3"]:
    """Rotation matrices whose columns are X forward, Y up, Z right. `keep` "up" or "right": which of the two directions is exact."""
    if keep == "up":
        y = unit(up)
        z = unit(across(right, y))
    else:
        z = unit(right)
        y = unit(across(up, z))
    return np.stack([np.cross(y, z), y, z], -1)


def pelvis_frame(p: Points) -> tuple[Float[np.ndarray, "f 3 3"] | None, bool]:
    """The pelvis, and whether its tilt is its own.

    From ASIS and PSIS by ISB's definition (Z along the ASIS, X in the plane of ASIS and mid PSIS). From hips and shoulders only Z is its
    own; up is that of the trunk, so that its tilt, and with it hip flexion, are the trunk's. None without hips or shoulders.
    """
    if all(name in p for name in ("r_ASIS", "l_ASIS", "r_PSIS", "l_PSIS")):
        z = unit(p["r_ASIS"] - p["l_ASIS"])
        ahead = (p["r_ASIS"] + p["l_ASIS"]) / 2 - (p["r_PSIS"] + p["l_PSIS"]) / 2
        x = unit(across(ahead, z))
        return np.stack([x, np.cross(z, x), z], -1), True
    if all(name in p for name in ("left_hip", "right_hip", "neck", "mid_hip")):
        return frame(p["neck"] - p["mid_hip"], p["right_hip"] - p["left_hip"], keep="right"), False
    return None, False


def thorax_frame(p: Points) -> Float[np.ndarray, "f 3 3"] | None:
    """The trunk: up from mid hip to neck, right along the shoulders. None without them."""
    if all(name in p for name in ("left_shoulder", "right_shoulder", "neck", "mid_hip")):
        return frame(p["neck"] - p["mid_hip"], p["right_shoulder"] - p["left_shoulder"])
    return None
