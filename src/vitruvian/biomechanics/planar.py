"""Segment and joint angles in the picture, from 2D keypoints of one camera that sees the person from the side (or front).

Segments: angle of the line against the picture's horizontal, anticlockwise positive as the viewer sees it, within half a turn of their
mean (so that nothing jumps from 180 to -180 degrees that stays near there): trunk and head from below upwards, arms and legs from the
trunk outwards, feet from heel to toes. Joints: flexion in the picture's plane, with the sign
that the way the person faces gives it; what is out of that plane looks shorter and bends less, so these are no 3D angles (Sports2D
makes the same reservation). Facing is told from the feet, or from nose and ears, by a running median over a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vitruvian.biomechanics.segments import Points, mean_seen, named_points
from vitruvian.biomechanics.table import Angles

_SEGMENTS = {
    **{f"foot_{s}": (f"{s}_heel", f"{s}_toes") for s in ("right", "left")},
    **{f"shank_{s}": (f"{s}_knee", f"{s}_ankle") for s in ("right", "left")},
    **{f"thigh_{s}": (f"{s}_hip", f"{s}_knee") for s in ("right", "left")},
    "pelvis": ("left_hip", "right_hip"),
    "trunk": ("mid_hip", "neck"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "head": ("neck", "head_middle"),
    **{f"upper_arm_{s}": (f"{s}_shoulder", f"{s}_elbow") for s in ("right", "left")},
    **{f"forearm_{s}": (f"{s}_elbow", f"{s}_wrist") for s in ("right", "left")},
}
# Joint angle = from + sign of facing * (second segment - first segment), wrapped. Facing right, a limb that swings forward turns
# anticlockwise; a shank that bends backward turns clockwise.
_JOINTS = {
    "hip_flexion": ("trunk", "thigh", 1.0, np.pi),
    "knee_flexion": ("thigh", "shank", -1.0, 0.0),
    "ankle_dorsiflexion": ("shank", "foot", 1.0, -np.pi / 2),
    "shoulder_flexion": ("trunk", "upper_arm", 1.0, np.pi),
    "elbow_flexion": ("upper_arm", "forearm", 1.0, 0.0),
}
_SECOND = 1.0
_DIRECTED = 0.3  # length of the mean of unit vectors from which it is a direction


def planar_angles(keypoints: Float[np.ndarray, "f k 2"], names: Sequence[str], times: Float[np.ndarray, " f"]) -> Angles:
    """Segment angles (names end in _segment) and joint angles (as in `angles`) in the picture's plane, radians; pixels, y down.

    Joints are NaN where facing can't be told. No frames, one frame and missing points (NaN) are valid. Raises VitruvianError where shapes
    don't fit.
    """
    times = np.asarray(times, np.float64)
    p = named_points(keypoints, names)
    head = [p[name] for name in ("left_ear", "right_ear", "nose") if name in p]
    if head:
        p["head_middle"] = mean_seen(head)
    lines = {name: p[b] - p[a] for name, (a, b) in _SEGMENTS.items() if a in p and b in p}
    segments = {name: np.arctan2(-line[:, 1], line[:, 0]) for name, line in lines.items()}
    toward = facing(p, times)
    joints = {}
    for joint, (first, second, sign, offset) in _JOINTS.items():
        for side in ("right", "left"):
            one, other = segments.get(first, segments.get(f"{first}_{side}")), segments.get(f"{second}_{side}")
            if one is not None and other is not None:
                joints[f"{joint}_{side}"] = _wrapped(toward * sign * (other - one) + offset)
    columns = joints | {f"{name}_segment": values for name, values in segments.items()}
    values = _about_their_mean(np.stack(list(columns.values()), 1)) if columns else np.zeros((len(times), 0))
    unknown = float(np.mean(np.isnan(toward))) if len(toward) else 0.0
    notes = ("angles in the picture's plane: what points towards the camera looks straighter",)
    if unknown > 0:
        notes += (f"which way the person faces is not known in {unknown:.0%} of the frames",)
    return Angles(tuple(columns), times, values, "picture", notes=notes)


def facing(p: Points, times: Float[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
    """1 where the person faces right in the picture, -1 left, NaN unknown: the sign of a running median over a second."""
    hints = [p[f"{s}_toes"][:, 0] - p[f"{s}_heel"][:, 0] for s in ("left", "right") if f"{s}_toes" in p and f"{s}_heel" in p]
    ears = [p[name][:, 0] for name in ("left_ear", "right_ear") if name in p]
    if "nose" in p and ears:
        hints.append(p["nose"][:, 0] - mean_seen([ear[:, None] for ear in ears])[:, 0])
    if not hints or not len(times):
        return np.full(len(times), np.nan)
    ahead = mean_seen([hint[:, None] for hint in hints])[:, 0]
    out = np.full(len(times), np.nan)
    for i, time in enumerate(times):
        first, last = np.searchsorted(times, (time - _SECOND / 2, time + _SECOND / 2))
        window = ahead[first : last + 1]
        window = window[np.isfinite(window)]
        out[i] = (np.sign(np.median(window)) or np.nan) if len(window) else np.nan
    return out


def _about_their_mean(angles: Float[np.ndarray, "f a"]) -> Float[np.ndarray, "f a"]:
    """Each column within half a turn of its mean direction; from -pi to pi where it points everywhere."""
    mean = np.where(np.isfinite(angles), np.exp(1j * np.nan_to_num(angles)), 0).sum(0) / np.maximum(np.isfinite(angles).sum(0), 1)
    centre = np.where(np.abs(mean) > _DIRECTED, np.angle(mean), 0.0)
    return centre + _wrapped(angles - centre)


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Into -pi to pi."""
    return (angles + np.pi) % (2 * np.pi) - np.pi
