"""Films of random cameras made of motion capture: 2D and 3D poses for lifting, where no data set of films is at hand.

    for motion in read_motions(folder, H36M_17):
        film = film_of_motion(rng, motion.points, motion.rate, cameras=4, name=motion.name)

A BVH gives joints by the usual names of its joints, an AMASS file those of the body model that it is posed with. Cameras stand around the
middle of the motion and look at it; their numbers are ours. `vitruvian.train.lift3d` trains lifters on such films.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.body.model import BodyModel
from vitruvian.data.films3d import Film3D
from vitruvian.data.joint_sets import brought
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.amass import BodyMotion, read_amass, with_up
from vitruvian.formats.bvh import Bvh, end_positions, forward_kinematics, read_bvh
from vitruvian.formats.rig_names import own_name
from vitruvian.geometry.camera import Camera, looking_at
from vitruvian.skeletons import H36M_17, SMPL_24, Skeleton

_LIMBS = {"hip": "upper_leg", "knee": "lower_leg", "ankle": "foot", "shoulder": "upper_arm", "elbow": "lower_arm", "wrist": "hand"}
_HIPS, _SHOULDERS = ("left_upper_leg", "right_upper_leg"), ("left_upper_arm", "right_upper_arm")
_RIG_OF = {  # joint -> joints of our rig (`formats.rig_names`) whose mean it is
    **{"root": _HIPS, "pelvis": _HIPS, "thorax": _SHOULDERS, "neck": _SHOULDERS},
    # As `body.regressors` has it: Human3.6M's point between thorax and top of the head is nearest to where the skull begins.
    **{"spine": ("spine",), "neck_base": ("head",), "head": ("head",)},
    **{f"{side}_{ours}": (f"{side}_{rig}",) for side in ("left", "right") for ours, rig in _LIMBS.items()},
}  # fmt: skip
_MARGIN = 0.85  # share of the picture's shorter half that the motion may fill
_UNITS = (1.0, 0.01, 0.001, 0.0254, 0.056444)
"""Metres: what one unit of a BVH may be, besides metric ones the inch, and the unit of the CMU motions' conversions [mem]."""
_LEG, _LEG_FACTOR = 0.8, 1.9  # metres from hip to ankle of an adult, and how far a person's may be from it


@dataclass(frozen=True, eq=False)
class Motion:
    """One person's joints over time: metres, y up, NaN where a joint is not known; frames per second."""

    name: str
    points: Float[np.ndarray, "f k 3"]
    rate: float


def read_motions(
    folder: str | Path, skeleton: Skeleton = H36M_17, model: BodyModel | None = None, metres_per_unit: float | None = None
) -> list[Motion]:
    """All BVH (.bvh) and AMASS files (.npz) below a folder, by name, as joints of a set.

    model: the user's body model, which AMASS files need; their heads and spines follow by rule (`joint_sets.brought`). metres_per_unit: of
    the BVHs; None takes the usual unit in which the legs are a person's. Shapes and other .npz of AMASS without poses are left out.
    Raises FormatError where there is none, one is damaged, or a BVH is of nobody's size.
    """
    root = Path(folder)
    found = []
    for path in sorted((*root.rglob("*.bvh"), *root.rglob("*.npz"))):
        name = path.relative_to(root).with_suffix("").as_posix()
        if path.suffix == ".bvh":
            bvh = read_bvh(path)
            try:
                unit = metres_per_unit or unit_of(bvh)
                found.append(Motion(name, points_of_bvh(bvh, skeleton, unit), 1 / bvh.frame_time))
            except FormatError as error:
                raise FormatError(f"{path}: {error}") from error
        elif path.stem not in ("shape", "neutral_stagei", "male_stagei", "female_stagei"):
            if model is None:
                raise FormatError(f"{path} is an AMASS motion, which needs its body model: give one (--body smplh-neutral)")
            motion = read_amass(path)
            found.append(
                Motion(name, brought(points_of_amass(motion, model), SMPL_24, skeleton), 1 / float(np.median(np.diff(motion.times))))
            )
    if not found:
        raise FormatError(f"{root} holds no motions: give a folder with .bvh files, or AMASS's .npz")
    return found


def unit_of(motion: Bvh) -> float:
    """Metres per unit of a BVH that doesn't say: the usual one in which its legs are nearest to an adult's. Raises FormatError."""
    joints = points_of_bvh(motion, H36M_17, 1.0)[:1]
    at = dict(zip(H36M_17.names, np.moveaxis(joints, 1, 0), strict=True))
    bones = [at[f"{side}_{a}"] - at[f"{side}_{b}"] for side in ("left", "right") for a, b in (("hip", "knee"), ("knee", "foot"))]
    leg = float(np.linalg.norm(bones, axis=-1).sum() / 2) if len(joints) else 0.0
    unit = motion.metres_per_unit or min(_UNITS, key=lambda unit: abs(np.log(max(leg, 1e-9) * unit / _LEG)))
    if not _LEG / _LEG_FACTOR < leg * unit < _LEG * _LEG_FACTOR:
        raise FormatError(f"legs of {leg:.3g} are nobody's in metres, centimetres or inches: say what the file's unit is")
    return unit


def points_of_bvh(motion: Bvh, skeleton: Skeleton = H36M_17, metres_per_unit: float | None = None) -> Float[np.ndarray, "f k 3"]:
    """Where the joints of a set are in a BVH with the usual joint names (CMU's, Mixamo's ...), metres, the file's axes (y is up).

    The root (or pelvis) is the middle of the hips, the thorax (neck) that of the shoulders; the top of the head is the end site of the
    head where there is one. Joints that the rig lacks are NaN. Raises FormatError where hips, knees or shoulders are not found.
    """
    places = forward_kinematics(motion)[0] * (metres_per_unit or motion.metres_per_unit or 1.0)
    rig: dict[str, int] = {}
    for joint, name in enumerate(motion.names):
        rig.setdefault(own_name(name, motion.names), joint)
    needed = [f"{side}_{part}" for side in ("left", "right") for part in ("upper_leg", "lower_leg", "upper_arm", "lower_arm")]
    missing = [name for name in needed if name not in rig]
    if missing:
        raise FormatError(f"the motion has no joint that we know as {missing[0]!r}: rename its joints as the CMU motions' (LeftUpLeg ...)")
    top = _head_top(motion, rig, metres_per_unit or motion.metres_per_unit or 1.0)
    out = np.full((len(motion), len(skeleton), 3), np.nan)
    for k, name in enumerate(skeleton.names):
        # Human3.6M calls the ankle "foot", and the top of the head "head".
        name = name.replace("_foot", "_ankle") if skeleton is H36M_17 else name
        if name == "head_top" or (name == "head" and skeleton is H36M_17):
            if top is not None:
                out[:, k] = top
        elif all(part in rig for part in _RIG_OF.get(name, ("?",))):
            out[:, k] = np.mean([places[:, rig[part]] for part in _RIG_OF[name]], axis=0)
    return out


def _head_top(motion: Bvh, rig: dict[str, int], unit: float) -> np.ndarray | None:
    if "head" not in rig or rig["head"] not in motion.ends:
        return None
    return end_positions(motion)[:, motion.ends.index(rig["head"])] * unit


def points_of_amass(motion: BodyMotion, model: BodyModel) -> Float[np.ndarray, "f 24 3"]:
    """SMPL's 24 joints of a motion posed with its body model, metres, y up. Raises FormatError where the model has other joints."""
    body = motion.parameters
    body = replace(body, shape=body.shape[:, : model.num_shape])  # AMASS has 16 numbers, many models take 10
    body = with_up(replace(motion, parameters=body), "y", model).parameters
    joints = model.forward(body.pose, body.shape, None, body.translation).joints
    names = {name: j for j, name in enumerate(model.joint_names)}
    if not set(SMPL_24.names[:22]) <= set(names):
        raise FormatError(f"{model.name} has no joints of SMPL's: give the model that the motion was made with")
    out = np.full((len(joints), 24, 3), np.nan)
    for k, name in enumerate(SMPL_24.names):
        if name in names:
            out[:, k] = joints[:, names[name]]
    return out


def random_cameras(
    rng: np.random.Generator, points: Float[np.ndarray, "*n 3"], count: int, size: tuple[int, int] = (1000, 1000)
) -> tuple[Camera, ...]:
    """Cameras around points (y up) that have all of them in their pictures: 3 to 7 m off or more, 0.3 to 2.5 m over the lowest point.

    Raises VitruvianError where no point is known.
    """
    known = points.reshape(-1, 3)[np.isfinite(points).all(-1).reshape(-1)]
    if not len(known):
        raise VitruvianError("no point is known that a camera could look at: give a motion")
    middle, floor = (known.min(0) + known.max(0)) / 2, known[:, 1].min()
    out = []
    for n in range(count):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(3, 7) + np.linalg.norm(np.ptp(known[:, [0, 2]], axis=0)) / 2
        place = middle + far * np.array([np.cos(angle), 0, np.sin(angle)])
        place[1] = floor + rng.uniform(0.3, 2.5)
        camera = looking_at(place, middle, 1.0, size, name=f"cam{n + 1}")
        local = known @ camera.R_cam_world.T + camera.t_cam_world
        reach = np.abs(local[:, :2] / local[:, 2:]).max()
        out.append(looking_at(place, middle, _MARGIN * (min(size) - 1) / 2 / reach, size, name=f"cam{n + 1}"))
    return tuple(out)


def film_of_motion(
    rng: np.random.Generator,
    points: Float[np.ndarray, "f k 3"] | Sequence[Float[np.ndarray, "f k 3"]],
    rate: float,
    cameras: int | Sequence[Camera] = 4,
    noise: float = 0.0,
    name: str = "motion",
    action: str = "",
) -> Film3D:
    """A film of one motion (f, k, 3), or of several people at once (the shortest says how long), before random cameras or given ones.

    Keypoints are projections with `noise` pixels of normal noise; NaN where a joint is not known, or not in the picture.
    """
    people = [points] if isinstance(points, np.ndarray) else list(points)
    length = min((len(each) for each in people), default=0)
    joints = np.stack([np.asarray(each, np.float64)[:length] for each in people], 1)
    rig = random_cameras(rng, joints, cameras) if isinstance(cameras, int) else tuple(cameras)
    film = Film3D(name, rig, joints, np.arange(length), action, rate)
    flat = []
    for c, camera in enumerate(rig):
        pixels = film.seen(c)
        pixels = pixels + noise * rng.normal(size=pixels.shape)
        inside = ((pixels >= -0.5) & (pixels <= np.array(camera.size) - 0.5)).all(-1)
        flat.append(np.where(inside[..., None], pixels, np.nan))
    return Film3D(name, rig, joints, film.frames, action, rate, keypoints=tuple(flat))
