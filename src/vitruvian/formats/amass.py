"""Motions in SMPL's family as AMASS keeps them: one .npz per person, axis angles, metres, z up, one shape, one frame rate.

| layout | `poses` | other keys | frame rate |
|---|---|---|---|
| SMPL+H (AMASS) | (n, 156): root 3, body 63, left hand 45, right hand 45 | trans, betas (16), dmpls (n, 8), gender | mocap_framerate |
| SMPL-X (`*_stageii.npz`) | (n, 165): root 3, body 63, jaw 3, eyes 6, hands 90 | trans, betas, the parts too | mocap_frame_rate |
| SMPL (older sets) | (n, 72) | trans, betas | either |

Poses are complete: no mean hand is added by those who use them (flat_hand_mean). `trans` is added after posing, and the root turns about
the rest pelvis, which is not the origin; `with_up` therefore needs the body model. Two faults of the data are mended as published
loaders do: BMLhandball runs at 240 frames a second and two sequences at 59, whatever the files say.
Source: motion-io card, section 8 (the AMASS project's files; key names from general knowledge, not checked against a file here).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian._npy import MAX_BYTES, read_arrays
from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.names import JOINT_NAMES, POSE_BLOCKS
from vitruvian.body.pose import move, rotation_matrices, rotation_vectors
from vitruvian.errors import FormatError
from vitruvian.formats.rig import even_times

Up = Literal["y", "z", "camera"]
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps")
_KNOWN_RATES = {"BMLhandball": 240.0, "20160930_50032": 59.0, "20161014_50033": 59.0}
_PARTS = ("root_orient", "pose_body", "pose_hand", "pose_jaw", "pose_eye")
_TO_Y_UP = {  # rows: where x, y and z of y-up axes come from
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "camera": np.diag([1.0, -1.0, -1.0]),
}


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """One person's motion in the parameters of a model of SMPL's family, in frames that need not be evenly spaced.

    kind: smpl, smplh or smplx. times: (n,) seconds. gender: male, female or neutral. up: which axis points up in `parameters`, or
    "camera" (OpenCV axes). hand_mean: True where the hands' rotations count from the model's mean hand and not from the flat one.
    intrinsics: (n, 3, 3) of the camera for which "camera" holds, where it is not the picture's own; scores: (n,) in [0, 1].
    """

    kind: str
    parameters: BodyParameters
    times: Float[np.ndarray, " n"]
    gender: str = "neutral"
    up: Up = "y"
    hand_mean: bool = False
    intrinsics: Float[np.ndarray, "n 3 3"] | None = None
    scores: Float[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        n = len(self.parameters)
        joints = len(JOINT_NAMES[self.kind]) if self.kind in ("smpl", "smplh", "smplx") else -1
        others = [values for values in (self.times, self.intrinsics, self.scores) if values is not None]
        if np.shape(self.parameters.pose) != (n, joints, 3) or any(len(values) != n for values in others) or self.up not in _TO_Y_UP:
            raise FormatError(f"a motion of {self.kind!r} with poses {np.shape(self.parameters.pose)} and {len(self.times)} times is none")


def with_up(motion: BodyMotion, up: Up, model: BodyModel) -> BodyMotion:
    """The same motion with another axis up; every vertex moves exactly with the axes, which takes the model's rest pelvis.

    Files often have 16 shape coefficients where the model knows 10: the others count for nothing then, and are kept.
    """
    if up == motion.up:
        return motion
    known = replace(motion.parameters, shape=motion.parameters.shape[:, : model.num_shape])
    moved = move(model, known, _TO_Y_UP[up].T @ _TO_Y_UP[motion.up])
    return replace(motion, parameters=replace(moved, shape=motion.parameters.shape), up=up)


def with_hand_mean_added(motion: BodyMotion, model: BodyModel) -> BodyMotion:
    """The same motion with complete hands, where they count from the model's mean hand. Raises FormatError if the model has none."""
    if not motion.hand_mean:
        return motion
    pose = np.array(motion.parameters.pose)
    for block in ("left_hand", "right_hand"):
        if block not in model.hands or block not in POSE_BLOCKS[motion.kind]:
            raise FormatError(f"{model.name} has no mean {block.replace('_', ' ')} to add; import its file with hands (SMPL+H, SMPL-X)")
        pose[:, POSE_BLOCKS[motion.kind][block]] += model.hands[block].mean.reshape(15, 3)
    return replace(motion, parameters=replace(motion.parameters, pose=pose), hand_mean=False)


def read_amass(path: str | Path, fps: float | None = None, max_bytes: int = MAX_BYTES) -> BodyMotion:
    """Read an AMASS file of any of the layouts above; z is up. `fps` overrides the file's frame rate.

    Raises FormatError if the file is missing, larger than `max_bytes`, a shape and not a motion, or has no frame rate.
    """
    path = Path(path)
    data = read_arrays(path, ("poses", "trans", "betas", "gender", "expression", *_RATES, *_PARTS), max_bytes)
    poses = data["poses"] if "poses" in data else _joined_parts(data)
    kind = {72: "smpl", 156: "smplh", 165: "smplx"}.get(poses.shape[1]) if poses is not None and poses.ndim == 2 else None
    if poses is None or kind is None or not _is_rows(data.get("trans"), len(poses), 3):
        raise FormatError(
            f"{path} has no poses (n, 72), (n, 156) or (n, 165) with trans (n, 3); it is no motion, or a shape (stage I) only"
        )
    n = len(poses)
    betas = np.atleast_2d(data.get("betas", np.zeros((1, 0))))
    expression = np.atleast_2d(data.get("expression", np.zeros((1, 0))))
    if betas.ndim != 2 or len(betas) not in (1, n) or len(expression) not in (1, n) or betas.dtype.kind not in "fiu":
        raise FormatError(f"{path} has betas {betas.shape} for {n} frames; the file is damaged")
    parameters = BodyParameters(
        np.asarray(poses, np.float32).reshape(n, poses.shape[1] // 3, 3),
        np.broadcast_to(betas, (n, betas.shape[1])).astype(np.float32),
        np.broadcast_to(expression, (n, expression.shape[1])).astype(np.float32),
        np.asarray(data["trans"], np.float32),
    )
    if not np.isfinite(parameters.pose).all() or not np.isfinite(parameters.translation).all():
        raise FormatError(f"{path} has poses that are not finite; AMASS motions have no gaps, the file is damaged")
    return BodyMotion(kind, parameters, np.arange(n) / _rate(path, data, fps), _gender(data.get("gender")), "z")


def write_amass(motion: BodyMotion, path: str | Path) -> None:
    """Write a motion in AMASS's layout of its kind. Uneven times are resampled, the shape is the median over the frames.

    Raises FormatError if z is not up (see `with_up`), hands count from a mean (see `with_hand_mean_added`), a value is not finite, or
    the file can't be written.
    """
    if motion.up != "z" or motion.hand_mean:
        raise FormatError(
            f"AMASS files have z up and complete hands; use with_up(motion, 'z', model) and with_hand_mean_added before {path}"
        )
    p = motion.parameters
    if not all(np.isfinite(values).all() for values in (p.pose, p.translation, p.shape, p.expression)):
        raise FormatError(f"AMASS files have no gaps, and this motion has some (NaN); fill them before writing {path}")
    rotations, trans, step = even_times(rotation_matrices(np.asarray(p.pose, np.float64)), np.asarray(p.translation), motion.times)
    # Even frames are written as they are, so that vectors beyond half a turn stay.
    vectors = np.asarray(p.pose, np.float64) if len(rotations) == len(p) else rotation_vectors(rotations)
    poses = vectors.reshape(len(rotations), 3 * vectors.shape[1])
    betas = np.median(p.shape, axis=0) if len(p) else np.zeros(p.shape.shape[1])
    if motion.kind != "smplx":
        betas = np.pad(betas[:16], (0, max(0, 16 - len(betas))))
    arrays = {"poses": poses, "trans": trans, "betas": betas.astype(np.float64), "gender": np.array(motion.gender)}
    rate = np.array(1 / step)
    if p.expression.any():
        even = motion.times[0] + step * np.arange(len(poses))
        arrays["expression"] = np.stack([np.interp(even, motion.times, column) for column in p.expression.T], axis=1)
    if motion.kind == "smplx":
        blocks = {name: slice(3 * joints.start, 3 * joints.stop) for name, joints in POSE_BLOCKS["smplx"].items()}
        arrays |= {"root_orient": poses[:, blocks["root"]], "pose_body": poses[:, blocks["body"]], "pose_hand": poses[:, 75:165]}
        arrays |= {"pose_jaw": poses[:, blocks["jaw"]], "pose_eye": poses[:, 69:75], "surface_model_type": np.array("smplx")}
        arrays |= {"num_betas": np.array(len(betas)), "mocap_frame_rate": rate}
    else:
        arrays |= {"mocap_framerate": rate} | ({"dmpls": np.zeros((len(poses), 8))} if motion.kind == "smplh" else {})
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _joined_parts(data: dict[str, np.ndarray]) -> np.ndarray | None:
    """Poses from their parts, where a SMPL-X file has only these: root, body, jaw, eyes, hands."""
    parts = [data.get(name) for name in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")]
    if any(part is None or part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
        return None
    return np.concatenate(parts, axis=1)


def _is_rows(values: np.ndarray | None, n: int, width: int) -> bool:
    return values is not None and values.shape == (n, width) and values.dtype.kind in "fiu"


def _rate(path: Path, data: dict[str, np.ndarray], fps: float | None) -> float:
    if fps is None:
        known = [rate for name, rate in _KNOWN_RATES.items() if name in path.parts or path.stem.startswith(name)]
        given = [data[name] for name in _RATES if name in data and data[name].size == 1 and data[name].dtype.kind in "fiu"]
        fps = known[0] if known else float(given[0].item()) if given else None
    if fps is None or not 0 < fps < 1e5:
        raise FormatError(f"{path} has no frame rate ({' or '.join(_RATES[:2])}); pass fps")
    return float(fps)


def _gender(value: np.ndarray | None) -> str:
    """The gender, which files hold as text, as bytes or as an array of one of these; neutral where it can't be read."""
    if value is None or value.size != 1 or value.dtype.kind not in "SU":
        return "neutral"
    item = value.reshape(-1)[0]
    text = (item.decode("ascii", errors="replace") if isinstance(item, bytes) else str(item)).strip("b'\" ").lower()
    return text if text in ("male", "female") else "neutral"
