"""From 3D keypoints to a skeleton that rotates: bone lengths, joint rotations, and back.

The rig has up to 47 joints: hips, spine, chest, neck, head, arms, legs, feet and fingers, as far as the keypoints go; names in the
spirit of VRM. At rest it stands in a T: y up, facing +z, the person's left at +x, palms down. Joints that carry a rigid piece of the
body (hips, spine, chest, head, hands, feet) take the orientation of that piece from three or more keypoints; limbs and fingers, of
which keypoints show only the direction, take the least rotation from their parent: their twist is unknown and stays zero [ours].
Each bone is as long as its median over the frames, so that forward kinematics meets the keypoints exactly where the bones keep their
length, and at the end of the chains comes near them where they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import FormatError
from vitruvian.formats.bvh import MAX_ROTATIONS, Bvh, end_positions, forward_kinematics
from vitruvian.formats.rig_names import FINGERS, own_name
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton, convert
from vitruvian.take import People, Take

CENTIMETRES = 0.01  # metres per unit: what animation programs expect of a BVH
_FPS = 30.0  # of a single frame
_UNEVEN = 0.02  # of a frame: a time further from its place in an even row makes the row uneven
_Vector = tuple[str, str, tuple[float, float, float]]  # from a place to a place, and the direction of that at rest


@dataclass(frozen=True)
class _Joint:
    """A joint at `place`; its rotation from two vectors (the first exactly, the second for the twist) or from one, its end site."""

    name: str
    parent: str
    place: str
    vectors: tuple[_Vector, ...]
    end: str = ""


_PLACES = {
    "mid_hip": ("left_hip", "right_hip"),
    "mid_shoulder": ("left_shoulder", "right_shoulder"),
    "mid_ear": ("left_ear", "right_ear"),
    "left_toes": ("left_big_toe", "left_small_toe"),
    "right_toes": ("right_big_toe", "right_small_toe"),
} | {name: (name,) for name in COCO_WHOLEBODY_133.names}


def _arm(side: str, out: float) -> tuple[_Joint, ...]:
    """Arm, hand and fingers of one side; `out` is +1 on the left and -1 on the right."""
    along = (out, 0.0, 0.0)
    palm = (
        (f"{side}_wrist", f"{side}_middle_finger1", along),
        (f"{side}_pinky_finger1", f"{side}_forefinger1", (0.0, 0.0, 1.0)),
    )
    joints = [
        _Joint(f"{side}_upper_arm", "chest", f"{side}_shoulder", ((f"{side}_shoulder", f"{side}_elbow", along),), f"{side}_elbow"),
        _Joint(f"{side}_lower_arm", f"{side}_upper_arm", f"{side}_elbow", ((f"{side}_elbow", f"{side}_wrist", along),), f"{side}_wrist"),
        _Joint(f"{side}_hand", f"{side}_lower_arm", f"{side}_wrist", palm, f"{side}_middle_finger1"),
    ]
    for finger in FINGERS:
        toward = (out, 0.0, 1.0) if finger == "thumb" else along
        for n in (1, 2, 3):
            here, there = f"{side}_{finger}{n}", f"{side}_{finger}{n + 1}"
            joints.append(_Joint(here, f"{side}_{finger}{n - 1}" if n > 1 else f"{side}_hand", here, ((here, there, toward),), there))
    return tuple(joints)


def _leg(side: str, out: float) -> tuple[_Joint, ...]:
    down = (0.0, -1.0, 0.0)
    sole = (
        (f"{side}_heel", f"{side}_toes", (0.0, 0.0, 1.0)),
        (f"{side}_big_toe", f"{side}_small_toe", (out, 0.0, 0.0)),
    )
    return (
        _Joint(f"{side}_upper_leg", "hips", f"{side}_hip", ((f"{side}_hip", f"{side}_knee", down),), f"{side}_knee"),
        _Joint(f"{side}_lower_leg", f"{side}_upper_leg", f"{side}_knee", ((f"{side}_knee", f"{side}_ankle", down),), f"{side}_ankle"),
        _Joint(f"{side}_foot", f"{side}_lower_leg", f"{side}_ankle", sole, f"{side}_big_toe"),
    )


_ACROSS, _UP = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
_HIPS_ACROSS: _Vector = ("right_hip", "left_hip", _ACROSS)
_SHOULDERS_ACROSS: _Vector = ("right_shoulder", "left_shoulder", _ACROSS)
_TRUNK: _Vector = ("mid_hip", "mid_shoulder", _UP)
# Hips and spine share a place, as do chest and neck: the line of the hips, the trunk, and the line of the shoulders each turn exactly.
_JOINTS: tuple[_Joint, ...] = (
    _Joint("hips", "", "mid_hip", (_HIPS_ACROSS, _TRUNK)),
    *_leg("left", 1.0),
    *_leg("right", -1.0),
    _Joint("spine", "hips", "mid_hip", (_TRUNK, _SHOULDERS_ACROSS)),
    _Joint("chest", "spine", "mid_shoulder", (_SHOULDERS_ACROSS, _TRUNK)),
    _Joint("neck", "chest", "mid_shoulder", (("mid_shoulder", "mid_ear", _UP),), "mid_ear"),
    _Joint("head", "neck", "mid_ear", (("right_ear", "left_ear", _ACROSS), ("mid_ear", "nose", (0.0, 0.0, 1.0))), "nose"),
    *_arm("left", 1.0),
    *_arm("right", -1.0),
)


def motion_from_points(
    points: Float[np.ndarray, "f k 3"],
    skeleton: Skeleton,
    times: Float[np.ndarray, " f"],
    metres_per_unit: float = CENTIMETRES,
) -> Bvh:
    """One person's keypoints (F, K, 3), metres, y up, NaN where missing, at `times` (seconds, increasing) as a moving rig.

    Gaps are filled: linearly in time between two sightings, with the nearest one before the first and after the last. Uneven times are
    resampled to their median step, rotations by slerp and the root by a cubic. Lengths are divided by `metres_per_unit`.
    Raises FormatError if there is no frame, the keypoints show no hips and shoulders, or the times span too many steps.
    """
    points, times = np.asarray(points, np.float64), np.asarray(times, np.float64)
    if not (np.diff(times) > 0).all():
        raise FormatError("the times of these frames do not increase; a motion needs frames in their order")
    common = convert(points, np.ones(points.shape[:2]), skeleton, COCO_WHOLEBODY_133).keypoints
    seen = np.isfinite(common).all(axis=-1)
    trunk = [COCO_WHOLEBODY_133.index(f"{side}_{place}") for side in ("left", "right") for place in ("hip", "shoulder")]
    if not seen[:, trunk].any(axis=0).all():
        raise FormatError("a skeleton needs both hips and both shoulders in some frame, and these points lack them; export to .trc or .csv")
    filled = _fill(common, seen, times)
    places = {name: filled[:, [COCO_WHOLEBODY_133.index(part) for part in parts]].mean(axis=1) for name, parts in _PLACES.items()}
    observed = {name: seen[:, [COCO_WHOLEBODY_133.index(part) for part in parts]].all(axis=1) for name, parts in _PLACES.items()}
    joints = _present(observed)
    index = {joint.name: i for i, joint in enumerate(joints)}
    parents = tuple(index.get(joint.parent, -1) for joint in joints)
    world = np.empty((len(points), len(joints), 3, 3))
    for i, joint in enumerate(joints):
        world[:, i] = _orientation(joint, places, world[:, parents[i]])
    offsets = np.zeros((len(joints), 3))
    for i, joint in enumerate(joints[1:], start=1):
        offsets[i] = _offset(joints[parents[i]], world[:, parents[i]], joint.place, places, observed)
    used = {joint.parent for joint in joints}
    ends = [i for i, joint in enumerate(joints) if joint.end and joint.name not in used and observed[joint.end].any()]
    end_offsets = [_offset(joints[i], world[:, i], joints[i].end, places, observed) for i in ends]
    local = np.stack([world[:, i] if p < 0 else world[:, p].swapaxes(-1, -2) @ world[:, i] for i, p in enumerate(parents)], axis=1)
    rotations, translation, step = even_times(local, places["mid_hip"] / metres_per_unit, times)
    return Bvh(
        names=tuple(joint.name for joint in joints),
        parents=parents,
        offsets=offsets / metres_per_unit,
        rotations=rotations,
        translation=translation,
        frame_time=step,
        orders=("ZXY",) * len(joints),
        ends=tuple(ends),
        end_offsets=np.array(end_offsets).reshape(-1, 3) / metres_per_unit,
        metres_per_unit=metres_per_unit,
    )


def take_from_motion(motion: Bvh, metres_per_unit: float = CENTIMETRES, name: str = "") -> Take:
    """The keypoints that a motion's joints and end sites (of our own rig) stand for, as a take of one person (track 1) with 3D points only.

    Joints are known by name: ours, Mixamo's, and those of the CMU motions (BVH and AMC). Pixels and boxes are missing (NaN, 0).
    `metres_per_unit`: of a motion that does not know its unit.
    Raises FormatError where neither hips nor knees are among the names.
    """
    positions, ends = forward_kinematics(motion)[0], end_positions(motion)
    points = np.full((len(motion), len(COCO_WHOLEBODY_133), 3), np.nan)
    ours = [own_name(joint, motion.names) for joint in motion.names]
    at = {joint.name: COCO_WHOLEBODY_133.index(joint.place) for joint in _JOINTS if joint.place in COCO_WHOLEBODY_133.names}
    at_end = {joint.name: COCO_WHOLEBODY_133.index(joint.end) for joint in _JOINTS if joint.end in COCO_WHOLEBODY_133.names}
    own_rig = set(motion.names) <= {joint.name for joint in _JOINTS}  # other rigs end elsewhere: on top of the head, at the toes' base
    for n, joint in enumerate(motion.ends):
        if own_rig and ours[joint] in at_end:
            points[:, at_end[ours[joint]]] = ends[:, n]
    for joint, known in enumerate(ours):
        if known in at:
            points[:, at[known]] = positions[:, joint]
    if not {"left_upper_leg", "right_upper_leg", "left_lower_leg", "right_lower_leg"} & set(ours):
        raise FormatError("the joint names of this motion are not known here, so they stand for no keypoints; export to .trc or .bvh")
    frames, k = len(motion), len(COCO_WHOLEBODY_133)
    nowhere = np.full((frames, k, 2), np.nan)
    people = People(
        frame=np.arange(frames),
        track=np.ones(frames),
        boxes=enclosing(nowhere, np.zeros((frames, k), bool)),
        scores=np.ones(frames),
        keypoints=nowhere,
        confidence=np.isfinite(points).all(axis=-1),
        points=points * (motion.metres_per_unit or metres_per_unit),
    )
    names = (name,) if name else ()
    return Take(people, COCO_WHOLEBODY_133, motion.times, np.zeros((frames, 2)), names, space="world")


def _present(observed: Mapping[str, Bool[np.ndarray, " f"]]) -> list[_Joint]:
    """The joints whose keypoints are seen at all, and whose parents are."""
    present: list[_Joint] = []
    for joint in _JOINTS:
        needed = {joint.place, *(place for start, end, _ in joint.vectors for place in (start, end))}
        if all(observed[place].any() for place in needed) and (not joint.parent or joint.parent in {known.name for known in present}):
            present.append(joint)
    return present


def _orientation(joint: _Joint, places: Mapping[str, np.ndarray], parent: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 3 3"]:
    """The joint's rotation in the world in every frame; `parent` is read only for joints of one vector."""
    found = [places[end] - places[start] for start, end, _ in joint.vectors]
    rest = [np.array(direction)[None] for _, _, direction in joint.vectors]
    if len(found) == 2:
        return _held(_frame(*found) @ _frame(*rest).swapaxes(-1, -2))
    return parent @ _held(_swing(rest[0][0], np.einsum("fji,fj->fi", parent, found[0])))


def _frame(first: Float[np.ndarray, "f 3"], second: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3 3"]:
    """Right-handed axes as columns: `first`, the part of `second` at right angles to it, their cross product. NaN where they fail."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x = first / np.linalg.norm(first, axis=-1, keepdims=True)
        y = second - (second * x).sum(-1, keepdims=True) * x
        length = np.linalg.norm(y, axis=-1, keepdims=True)
        y = np.where(length > 1e-9, y / length, np.nan)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _swing(rest: Float[np.ndarray, " 3"], found: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3 3"]:
    """The least rotations from the direction `rest` to each of `found` (Rodrigues); half a turn about a fixed axis where opposite."""
    rest = rest / np.linalg.norm(rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = found / np.linalg.norm(found, axis=-1, keepdims=True)
    axis, cosine = np.cross(rest, found), found @ rest
    cross = np.zeros((len(found), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = axis
    cross -= cross.swapaxes(-1, -2)
    opposite = cosine < -1 + 1e-12
    rotations = np.eye(3) + cross + cross @ cross / np.where(opposite, 1, 1 + cosine)[:, None, None]
    least = np.eye(3)[np.abs(rest).argmin()]
    normal = np.cross(rest, least) / np.linalg.norm(np.cross(rest, least))
    rotations[opposite] = 2 * np.outer(normal, normal) - np.eye(3)
    return rotations


def _held(rotations: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 3 3"]:
    """Frames in which points coincide have no rotation: they keep the one before, the first ones take the one after, else none."""
    good = np.isfinite(rotations).all(axis=(-1, -2))
    if not good.any():
        return np.tile(np.eye(3), (len(rotations), 1, 1))
    last = np.maximum.accumulate(np.where(good, np.arange(len(good)), -1))
    return rotations[np.where(last < 0, good.argmax(), last)]


def _offset(
    joint: _Joint,
    world: Float[np.ndarray, "f 3 3"],
    place: str,
    places: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray],
) -> Float[np.ndarray, " 3"]:
    """Where `place` is in the joint's frame: the median over the frames that saw both, over all frames if none did."""
    local = np.einsum("fji,fj->fi", world, places[place] - places[joint.place])
    needed = (joint.place, place, *(end for vector in joint.vectors for end in vector[:2]))
    both = np.logical_and.reduce([observed[name] for name in needed])
    return np.median(local[both] if both.any() else local, axis=0)


def _fill(points: Float[np.ndarray, "f k 3"], seen: Bool[np.ndarray, "f k"], times: Float[np.ndarray, " f"]) -> Float[np.ndarray, "f k 3"]:
    filled = points.copy()
    for k in np.flatnonzero(seen.any(axis=0) & ~seen.all(axis=0)):
        good = seen[:, k]
        for axis in range(3):
            filled[:, k, axis] = np.interp(times, times[good], points[good, k, axis])
    return filled


def even_times(
    rotations: Float[np.ndarray, "f j 3 3"], translation: Float[np.ndarray, "f 3"], times: Float[np.ndarray, " f"]
) -> tuple[Float[np.ndarray, "g j 3 3"], Float[np.ndarray, "g 3"], float]:
    """The motion at even times, and their step in seconds; unchanged where they are even already."""
    if len(times) < 2:
        return rotations, translation, 1 / _FPS
    mean = (times[-1] - times[0]) / (len(times) - 1)
    if np.abs(times - times[0] - mean * np.arange(len(times))).max() <= _UNEVEN * mean:
        return rotations, translation, float(mean)
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import Rotation, Slerp

    step = float(np.median(np.diff(times)))
    count = int((times[-1] - times[0]) / step + 1e-6) + 1
    if count * rotations.shape[1] > MAX_ROTATIONS:
        raise FormatError(f"these times span {count} steps of {step} s, too many for a motion; cut the take")
    even = np.minimum(times[0] + step * np.arange(count), times[-1])
    joints = [Slerp(times, Rotation.from_matrix(rotations[:, j]))(even).as_matrix() for j in range(rotations.shape[1])]
    return np.stack(joints, axis=1), CubicSpline(times, translation)(even), step
