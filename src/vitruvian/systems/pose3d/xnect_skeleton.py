"""XNect's joints, and its skeleton of 29 degrees of freedom: where the joints are for given angles, and how they move (numpy only).

The skeleton has bones of fixed length. 20 bones join 21 joints; a bone's frame is its parent bone's, turned by exp(w) about the parent
joint, w being a rotation vector in the parent bone's axes. Twelve bones can turn: trunk (3 values), head (2), upper arms and thighs (3
each), forearms, shanks and feet (hinges): 23 angles, with the pelvis' place (3) and turn (3) the 29 of the paper [its number; which joints
they are is ours, card xnect.md section 4.5]. Rotation vectors about a rest pose in the middle of a joint's range have no gimbal lock there.

Rest pose: upright, facing the camera, arms hanging at 45 degrees. Axes are those of an OpenCV camera: x to the picture's right, which is
the person's left, y down, z away from the camera. Metres, radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.body.fitting.moments import left_jacobian_product
from vitruvian.body.lbs import rotation_matrices
from vitruvian.skeletons import XNECT_21

DEGREE = np.pi / 180
ROOT = 6  # columns before the angles': place and turn of the pelvis
REFERENCE_HEIGHT = 1.7
"""Metres: the stature that stage II's people are scaled to, and that is supposed of people of unknown height."""

_SIDES = ("right", "left")
PELVIS, NECK = XNECT_21.index("pelvis"), XNECT_21.index("neck")
PARENTS = XNECT_21.parents
_OUTWARDS = tuple(
    XNECT_21.index(name)
    for name in (
        *("spine", "neck", "head", "head_top"),
        *(f"{side}_{part}" for side in _SIDES for part in ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")),
    )
)
"""Joints in an order in which parents come first, without the pelvis."""

_DOWN = {"spine": (0, -1, 0), "neck": (0, -1, 0), "head": (0, -1, -0.2), "head_top": (0, -1, 0)}
_RIGHT = {
    "shoulder": (-1, 0, 0), "elbow": (-1, 1, 0), "wrist": (-1, 1, 0), "hand": (-1, 1, 0),
    "hip": (-1, 0.1, 0), "knee": (0, 1, 0), "ankle": (0, 1, 0), "foot": (0, 0.3, -1),
}  # fmt: skip
_SHARES = {  # lengths of the bones over the stature, of an adult [ours]
    "spine": 0.135, "neck": 0.175, "head": 0.09, "head_top": 0.085, "shoulder": 0.105, "elbow": 0.165, "wrist": 0.145, "hand": 0.05,
    "hip": 0.055, "knee": 0.24, "ankle": 0.235, "foot": 0.11,
}  # fmt: skip
# Bone: (axis, lowest, highest) of every value in degrees, of the right side; the left is its mirror image. Wide: they stop nonsense only.
_TURNS = {
    "neck": (((1, 0, 0), -35, 80), ((0, 1, 0), -50, 50), ((0, 0, 1), -40, 40)),
    "head": (((1, 0, 0), -55, 60), ((0, 0, 1), -40, 40)),
    "elbow": (((1, 0, 0), -160, 100), ((0, 1, 0), -140, 80), ((0, 0, 1), -90, 160)),
    "wrist": (((-1, -1, 0), 0, 155),),
    "knee": (((1, 0, 0), -140, 45), ((0, 1, 0), -60, 60), ((0, 0, 1), -40, 75)),
    "ankle": (((1, 0, 0), 0, 155),),
    "foot": (((1, 0, 0), -45, 50),),
}
# What the angles of the bone that ends there are called: by the joint that it turns about.
_TURNED_AT = {
    "neck": "trunk", "head": "head", "elbow": "shoulder", "wrist": "elbow", "knee": "hip", "ankle": "knee", "foot": "ankle",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Angles:
    """The 23 angles: names, bone (joint at its end), axis in the parent bone's axes, lowest and highest value."""

    names: tuple[str, ...]
    joint: Int[np.ndarray, " a"]
    axis: Float[np.ndarray, "a 3"]
    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]

    def __len__(self) -> int:
        return len(self.names)


def _angles() -> Angles:
    rows = []
    for bone, turns in _TURNS.items():
        for side in ("",) if bone in ("neck", "head") else _SIDES:
            end = f"{side}_{bone}" if side else bone
            name = f"{side}_{_TURNED_AT[bone]}" if side else _TURNED_AT[bone]
            for i, (axis, low, high) in enumerate(turns):
                direction = np.array(axis, float) / np.linalg.norm(axis)
                if side == "left":  # a mirror image in x turns the other way about y and z
                    direction = direction * (1, -1, -1) + 0.0  # the sum turns -0 into 0
                    if len(turns) == 3 and i > 0:  # about the same axes on both sides, so that the limits change places
                        direction, low, high = 0.0 - direction, -high, -low
                suffix = f"_{'xyz'[int(np.abs(direction).argmax())]}" if len(turns) > 1 else ""
                rows.append((f"{name}{suffix}", XNECT_21.index(end), direction, low * DEGREE, high * DEGREE))
    names, joint, axis, low, high = zip(*rows, strict=True)
    return Angles(names, np.array(joint), np.array(axis), np.array(low), np.array(high))


ANGLES = _angles()
_BASIS = np.zeros((len(PARENTS), 3, len(ANGLES)))
_BASIS[ANGLES.joint, :, np.arange(len(ANGLES))] = ANGLES.axis
_PIVOT = np.array(PARENTS)[ANGLES.joint]


def _moves() -> Bool[np.ndarray, "a k"]:
    """Which angle moves which joint."""
    out = np.zeros((len(ANGLES), len(PARENTS)), bool)
    for joint in range(len(PARENTS)):
        at = joint
        while at >= 0:
            out[ANGLES.joint == at, joint] = True
            at = PARENTS[at]
    return out


_MOVES = _moves()


def _rest_directions() -> Float[np.ndarray, "k 3"]:
    out = np.zeros((len(PARENTS), 3))
    for joint, name in enumerate(XNECT_21.names):
        side, _, part = name.partition("_")
        if side in _SIDES:
            out[joint] = np.array(_RIGHT[part], float) * ((-1, 1, 1) if side == "left" else 1)
        elif name in _DOWN:
            out[joint] = _DOWN[name]
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(length > 0, length, 1)


REST_DIRECTIONS = _rest_directions()
MEAN_LENGTHS = np.array([_SHARES.get(name.removeprefix("right_").removeprefix("left_"), 0.0) for name in XNECT_21.names])
MEAN_LENGTHS = MEAN_LENGTHS * REFERENCE_HEIGHT
"""Lengths of the bones that end at each joint, of a person of the reference height (0 for the pelvis)."""


@dataclass(frozen=True, eq=False)
class Posture:
    """Where n skeletons are: pelvis' place and turn (matrix), angles."""

    place: Float[np.ndarray, "n 3"]
    turn: Float[np.ndarray, "n 3 3"]
    angles: Float[np.ndarray, "n a"]

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, rows: slice | np.ndarray) -> Posture:
        return Posture(self.place[rows], self.turn[rows], self.angles[rows])

    def moved(self, step: Float[np.ndarray, "n p"]) -> Posture:
        """After a step in all 29 values: place, turn in the camera's axes, angles."""
        return Posture(self.place + step[:, :3], rotation_matrices(step[:, 3:ROOT]) @ self.turn, self.angles + step[:, ROOT:])


def bone_lengths(points: Float[np.ndarray, "n 21 3"], symmetric: bool = True) -> Float[np.ndarray, "n 21"]:
    """Lengths of the bones that end at each joint (0 for the pelvis); `symmetric`: the mean of both sides."""
    lengths = np.linalg.norm(points - points[:, [max(p, 0) for p in PARENTS]], axis=-1)
    lengths[:, PELVIS] = 0
    return (lengths + lengths[:, list(XNECT_21.swap)]) / 2 if symmetric else lengths


def rest_bones(lengths: Float[np.ndarray, "n 21"]) -> Float[np.ndarray, "n 21 3"]:
    """Bones of these lengths in the rest pose."""
    return lengths[..., None] * REST_DIRECTIONS


def joints(posture: Posture, bones: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 21 3"]:
    """The joints of n skeletons in the camera's frame. bones: each from its parent joint, at rest (`rest_bones`, `own_bones`)."""
    return _chain(posture, bones)[0]


def own_bones(posture: Posture, points: Float[np.ndarray, "n 21 3"], bones: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 21 3"]:
    """What people's bones at rest would be for these points, given their postures: where hips, shoulders and the like sit differs.

    Bones that can turn keep their directions, and get the points' lengths; the others are what the points say in the frame of the bone that
    they hang on. Both sides get their mirrored mean.
    """
    _, frames, _ = _chain(posture, bones)
    parents = [max(parent, 0) for parent in PARENTS]
    away = points - points[:, parents]
    out = (frames[:, parents].swapaxes(2, 3) @ away[..., None])[..., 0]
    lengths = np.linalg.norm(away, axis=-1)
    out[:, ANGLES.joint] = lengths[:, ANGLES.joint, None] * REST_DIRECTIONS[ANGLES.joint]
    out[:, PELVIS] = 0
    return (out + out[:, list(XNECT_21.swap)] * (-1, 1, 1)) / 2


def bone_turns(posture: Posture) -> Float[np.ndarray, "n 21 3"]:
    """Rotation vectors of all bones, in their parent bones' axes; the pelvis' row is zero, its turn being the posture's."""
    return np.einsum("kca,na->nkc", _BASIS, posture.angles)


def _chain(posture: Posture, bones: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (n, 21, 3), frames of the bones (n, 21, 3, 3) and their rotation vectors (n, 21, 3)."""
    vectors = bone_turns(posture)
    local = rotation_matrices(vectors)
    frames, places = np.empty_like(local), np.empty_like(vectors)
    frames[:, PELVIS], places[:, PELVIS] = posture.turn, posture.place
    for joint in _OUTWARDS:
        parent = PARENTS[joint]
        frames[:, joint] = frames[:, parent] @ local[:, joint]
        places[:, joint] = places[:, parent] + (frames[:, joint] @ bones[:, joint, :, None])[..., 0]
    return places, frames, vectors


def joints_and_jacobian(
    posture: Posture, bones: Float[np.ndarray, "n 21 3"]
) -> tuple[Float[np.ndarray, "n 21 3"], Float[np.ndarray, "n 21 3 29"]]:
    """The joints and their derivatives by the 29 values, as `Posture.moved` steps them."""
    places, frames, vectors = _chain(posture, bones)
    n = len(posture)
    jacobian = np.zeros((n, len(PARENTS), 3, ROOT + len(ANGLES)))
    jacobian[..., [0, 1, 2], [0, 1, 2]] = 1
    arms = places - places[:, PELVIS, None]
    for i, (a, b) in enumerate(((1, 2), (2, 0), (0, 1))):  # unit vector i x arm
        jacobian[:, :, a, 3 + i], jacobian[:, :, b, 3 + i] = -arms[..., b], arms[..., a]
    turned = left_jacobian_product(vectors[:, ANGLES.joint], ANGLES.axis)
    axes = (frames[:, _PIVOT] @ turned[..., None])[..., 0]  # (n, a, 3) in the camera's axes
    arms = (places[:, None] - places[:, _PIVOT, None]) * _MOVES[..., None]  # (n, a, 21, 3)
    x, y, z = (axes[:, :, None, i] for i in range(3))
    moved = np.stack([y * arms[..., 2] - z * arms[..., 1], z * arms[..., 0] - x * arms[..., 2], x * arms[..., 1] - y * arms[..., 0]], -1)
    jacobian[..., ROOT:] = moved.transpose(0, 2, 3, 1)
    return places, jacobian


_TORSO = [XNECT_21.index(name) for name in ("neck", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "spine")]


def rough_posture(points: Float[np.ndarray, "n 21 3"]) -> Posture:
    """A start for fitting: the pelvis' turn that brings the rest torso nearest to the points' (Kabsch), hinges slightly bent."""
    rest = np.zeros((len(PARENTS), 3))
    for joint in _OUTWARDS:
        rest[joint] = rest[PARENTS[joint]] + MEAN_LENGTHS[joint] * REST_DIRECTIONS[joint]
    away = points[:, _TORSO] - points[:, PELVIS, None]
    u, _, vt = np.linalg.svd(away.swapaxes(1, 2) @ rest[_TORSO])
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    angles = np.clip(np.zeros(len(ANGLES)), ANGLES.low + 20 * DEGREE, ANGLES.high - 20 * DEGREE)
    return Posture(points[:, PELVIS].copy(), (u * flip[:, None]) @ vt, np.tile(angles, (len(points), 1)))
