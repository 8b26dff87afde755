"""Pose priors for fitting: which turns of a body's joints are free, and how likely they are.

A pose prior writes the rotation vectors of all joints but the root as mean + basis z: a knee has one number, the five joints of a spine
share two turns, a hand may be a few coefficients of its linear space. A Gaussian over z says what is likely.

The compact body's anatomical space: hinges and axes as in `vitruvian.synth.poses`; its Gaussian is that of the poses that room draws,
widened, as they were made by rule and real people do more. SMPL models get standard deviations per joint [ours, not measured].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from vitruvian.body.compact import compact_arrays
from vitruvian.body.model import BodyModel
from vitruvian.body.products import product

DEGREE = np.pi / 180
_WIDER, _FLOOR = 1.3, 9 * DEGREE


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Rotation vectors of J joints = mean + basis z, with z ~ N(likely, precision^-1). The root's rows are zero: it is always free."""

    mean: Float[np.ndarray, "j 3"]
    basis: Float[np.ndarray, "r d"]
    likely: Float[np.ndarray, " d"]
    precision: Float[np.ndarray, "d d"]

    @cached_property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The inverse of the precision."""
        return np.linalg.inv(self.precision.astype(np.float64))

    @property
    def size(self) -> int:
        """The number of free values d."""
        return self.basis.shape[1]

    def vectors(self, z: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "b j 3"]:
        """Rotation vectors of all joints (the root's are zero)."""
        return self.mean + product(z, self.basis.T).reshape(len(z), len(self.mean), 3)

    def nearest(self, vectors: Float[np.ndarray, "b j 3"]) -> Float[np.ndarray, "b d"]:
        """The z whose rotation vectors come nearest, by least squares."""
        return ((vectors - self.mean).reshape(len(vectors), self.mean.size)) @ np.linalg.pinv(self.basis).T


def make_pose_prior(
    model: BodyModel, hand_components: int | None = None, hand_widths: Float[np.ndarray, " h"] | None = None, free: bool = False
) -> PosePrior:
    """The turns that a model is fitted with: anatomical for the compact body, every joint free for the others.

    hand_components: for a model with linear hand spaces (SMPL+H, SMPL-X, MANO from their files), how many of each hand's coefficients to
    use about the mean hand; None leaves the fingers free. hand_widths: standard deviations of the coefficients (None: 1 each).
    free: every joint free in any case, for targets that show every turn (whole meshes).
    """
    if model.kind == "anny-compact" and not free:
        return _anatomical(model)
    return _free(model, hand_components, hand_widths)


def _anatomical(model: BodyModel) -> PosePrior:
    columns = [(joints, axis) for joints, axes in _axes(model) for axis in axes]
    basis = np.zeros((model.num_joints, 3, len(columns)))
    for d, (shares, axis) in enumerate(columns):
        for name, share in shares.items():
            basis[model.joint_names.index(name), :, d] = share * axis
    basis = basis.reshape(-1, len(columns))
    data = compact_arrays()
    inverse = np.linalg.pinv(basis)
    covariance = inverse @ data["pose_covariance"] @ inverse.T
    precision = np.linalg.inv(_WIDER**2 * covariance + np.diag(_floors(columns) ** 2))
    mean = np.zeros((model.num_joints, 3))
    dtype = model.template.dtype
    return PosePrior(mean.astype(dtype), basis.astype(dtype), (inverse @ data["pose_mean"]).astype(dtype), precision.astype(dtype))


def _floors(columns: list) -> np.ndarray:
    """Least standard deviations: a joint that the drawn poses never move may move a little, a toe or jaw more."""
    widths = {"jaw": 8 * DEGREE, "toes": 15 * DEGREE, "clavicle": 8 * DEGREE, "knee": 5 * DEGREE, "elbow": 5 * DEGREE, "thumb": 20 * DEGREE}
    return np.array([next((w for key, w in widths.items() if any(key in name for name in shares)), _FLOOR) for shares, _ in columns])


def _axes(model: BodyModel) -> list[tuple[dict[str, float], list[np.ndarray]]]:
    """The free turns of the compact body: (share of each joint, axes), from the template's joints."""
    place = dict(zip(model.joint_names, model.joints.astype(float), strict=True))

    def along(start: str, end: str) -> np.ndarray:
        d = place[end] - place[start]
        return d / np.linalg.norm(d)

    x, y, z = np.eye(3)
    free = [({"spine1": 1 / 3, "spine2": 1 / 3, "spine3": 1 / 3}, [x, y, z]), ({"spine4": 0.5, "spine5": 0.5}, [x, y, z])]
    free += [({"neck1": 0.5, "neck2": 0.5}, [x, y, z]), ({"neck3": 0.5, "head": 0.5}, [x, y, z]), ({"jaw": 1.0}, [x])]
    for side in ("left", "right"):
        free += [({f"{side}_hip": 1.0}, [x, y, z]), ({f"{side}_knee": 1.0}, [x, y, z]), ({f"{side}_ankle": 1.0}, [x, y, z])]
        free += [({f"{side}_toes": 1.0}, [x]), ({f"{side}_clavicle": 0.5, f"{side}_scapula": 0.5}, [y, z])]
        upper, fore = along(f"{side}_shoulder", f"{side}_elbow"), along(f"{side}_elbow", f"{side}_wrist")
        hinge = np.cross(upper, fore) / np.linalg.norm(np.cross(upper, fore))
        free += [
            ({f"{side}_shoulder": 1.0}, [x, y, z]),
            ({f"{side}_elbow": 1.0}, [hinge, fore, np.cross(fore, hinge)]),
            ({f"{side}_forearm": 1.0}, [fore]),
        ]
        free += [({f"{side}_wrist": 1.0}, [hinge, np.cross(fore, hinge)])]
        back = np.cross(along(f"{side}_wrist", f"{side}_index1"), along(f"{side}_wrist", f"{side}_pinky1"))
        back *= (1 if side == "left" else -1) / np.linalg.norm(back)
        for finger in ("thumb", "index", "middle", "ring", "pinky"):
            first, second, third = (f"{side}_{finger}{i}" for i in (1, 2, 3))
            reach = along(first, third)
            bend = np.cross(back, reach) / np.linalg.norm(np.cross(back, reach))
            free += [({first: 1.0}, [bend, back, reach] if finger == "thumb" else [bend, back])]
            # A thumb is turned against the hand's plane by a quarter or so, not always the same: it may bend about two axes.
            free += [({joint: 1.0}, [bend, back] if finger == "thumb" else [bend]) for joint in (second, third)]
    return free


# Standard deviations in degrees about the axes x, y, z of SMPL's T pose.
_WIDTHS = {
    "hip": (45, 20, 20), "knee": (50, 8, 8), "ankle": (20, 15, 12), "foot": (15, 5, 5), "spine": (14, 12, 8), "neck": (15, 20, 12),
    "head": (15, 20, 12), "collar": (8, 12, 12), "shoulder": (35, 45, 50), "elbow": (20, 60, 20), "wrist": (30, 25, 30),
    "hand": (10, 10, 10), "jaw": (10, 3, 3), "eye": (12, 12, 1),
}  # fmt: skip


def _free(model: BodyModel, hand_components: int | None, hand_widths: np.ndarray | None) -> PosePrior:
    """Every joint but the root free about three axes, with independent widths; hands in their linear space if asked."""
    joints = model.num_joints
    widths = np.full((joints, 3), 30.0)
    for i, name in enumerate(model.joint_names):
        widths[i] = next((w for key, w in _WIDTHS.items() if key in name), widths[i])
    mean = np.zeros((joints, 3))
    blocks = [(np.eye(3 * joints)[3:], widths.reshape(-1)[3:] * DEGREE)]
    if hand_components is not None and model.hands:
        taken = np.zeros(joints, bool)
        for part, hand in model.hands.items():
            where = model.pose_slices[part]
            taken[where] = True
            mean[where] = hand.mean.reshape(-1, 3)
            rows = np.zeros((min(hand_components, len(hand.components)), 3 * joints))
            rows[:, 3 * where.start : 3 * where.stop] = hand.components[: len(rows)]
            blocks.append((rows, np.ones(len(rows)) if hand_widths is None else np.asarray(hand_widths, float)[: len(rows)]))
        keep = ~np.repeat(taken, 3)[3:]
        blocks[0] = (blocks[0][0][keep], blocks[0][1][keep])
    basis = np.concatenate([rows for rows, _ in blocks]).T
    precision = np.diag(np.concatenate([w for _, w in blocks]) ** -2.0)
    dtype = model.template.dtype
    return PosePrior(mean.astype(dtype), basis.astype(dtype), np.zeros(basis.shape[1], dtype), precision.astype(dtype))
