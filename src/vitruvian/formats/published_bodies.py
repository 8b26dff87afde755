"""Bodies as published mesh-recovery programs give them, as `BodyMotion` and back.

| program | container | rotations | where the body is | mean hand |
|---|---|---|---|---|
| 4D-Humans (HMR2) | a mapping of arrays, SMPL | matrices | camera, y down; the picture's own by `hmr2_translation` | no hands |
| OSX, SMPLer-X | FRAME_PERSON.npz and .json, SMPL-X | axis angles | a camera of its own per person: focal, princpt of the .json | added |
| Multi-HMR | a mapping per person, SMPL-X | axis angles, 53: jaw last, no eyes | the picture's camera; pelvis, not transl | not added |

Source: motion-io card, section 8; multi-hmr card, section 2. Which of them add the model's mean hand is from memory, not checked: hence
`hand_mean` is an argument everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import read_json, written_whole
from vitruvian._npy import read_arrays
from vitruvian.body.model import BodyModel, BodyParameters, subset
from vitruvian.body.pose import rotation_matrices, rotation_vectors
from vitruvian.errors import FormatError
from vitruvian.formats.amass import BodyMotion

_NAMED = re.compile(r"^(\d{1,9})_(\d{1,6})\.npz$")
_META_BYTES = 1 << 20
_FILE_BYTES = 1 << 20
# SMPL-X's joints as SMPLer-X's keys, in the order of a pose.
_SMPLERX = {"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "leye_pose": 1, "reye_pose": 1, "left_hand_pose": 15, "right_hand_pose": 15}
_MULTI_HMR = [*range(22), *range(25, 55), 22]  # its 53 rotations as SMPL-X's joints: root, body, left hand, right hand, jaw


def motion_from_hmr2(
    prediction: Mapping[str, np.ndarray], translation: Float[np.ndarray, "n 3"], times: Float[np.ndarray, " n"]
) -> BodyMotion:
    """HMR2's `pred_smpl_params` (global_orient (n, 1, 3, 3), body_pose (n, 23, 3, 3), betas (n, 10)) as a motion in the camera's frame.

    `translation`: `pred_cam_t` in the camera that counts (see `hmr2_translation`). Raises FormatError where shapes don't fit.
    """
    matrices = [np.asarray(prediction[name], np.float64) for name in ("global_orient", "body_pose") if name in prediction]
    n = len(times)
    if [m.shape for m in matrices] != [(n, 1, 3, 3), (n, 23, 3, 3)] or np.shape(translation) != (n, 3):
        raise FormatError(f"these are not HMR2's matrices for {n} frames, but {[m.shape for m in matrices]}; pass pred_smpl_params")
    betas = np.asarray(prediction.get("betas", np.zeros((n, 10))), np.float32)
    pose = rotation_vectors(np.concatenate(matrices, axis=1)).astype(np.float32)
    return BodyMotion(
        "smpl", BodyParameters(pose, betas, np.zeros((n, 0), np.float32), np.asarray(translation, np.float32)), times, up="camera"
    )


def hmr2_from_motion(motion: BodyMotion) -> dict[str, np.ndarray]:
    """A SMPL motion in the camera's frame as HMR2's arrays, with `pred_cam_t`. Raises FormatError for another kind or frame."""
    if motion.kind != "smpl" or motion.up != "camera":
        raise FormatError(f"HMR2's arrays are SMPL in the camera's frame, this is {motion.kind} with {motion.up} up; convert it first")
    p = motion.parameters
    matrices = rotation_matrices(np.asarray(p.pose))
    return {"global_orient": matrices[:, :1], "body_pose": matrices[:, 1:], "betas": p.shape, "pred_cam_t": p.translation}


def hmr2_translation(
    crop_camera: Float[np.ndarray, "n 3"],
    centres: Float[np.ndarray, "n 2"],
    sizes: Float[np.ndarray, " n"],
    picture: tuple[int, int],
    focal: float = 5000.0,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "3 3"]]:
    """Translation in the whole picture's camera, and that camera, from HMR2's `pred_cam` (scale, x, y) of square crops.

    `centres`, `sizes`: the boxes in pixels; `picture`: (width, height); `focal`: of the 256-pixel crop, scaled by max(picture) / 256.
    A crop shows the body as a weak-perspective camera would: its depth is 2 f / (size * scale).
    """
    f = focal * max(picture) / 256
    middle = np.array([picture[0] / 2, picture[1] / 2])
    extent = np.asarray(sizes) * crop_camera[:, 0]
    sideways = crop_camera[:, 1:] + 2 * (np.asarray(centres) - middle) / extent[:, None]
    return np.concatenate([sideways, 2 * f / extent[:, None]], axis=1), np.array([[f, 0, middle[0]], [0, f, middle[1]], [0, 0, 1]])


def read_smplerx(folder: str | Path, fps: float = 30.0, hand_mean: bool = True) -> dict[int, BodyMotion]:
    """The people in a folder of OSX's or SMPLer-X's files, by their number in the file names; frame / fps is the time.

    The camera of each row comes from the .json of the same name, beside the .npz or in a folder "meta" beside its folder.
    Raises FormatError if a file is damaged, or none is there.
    """
    folder = Path(folder)
    named = [(path, match) for path in folder.iterdir() if (match := _NAMED.match(path.name))] if folder.is_dir() else []
    if not named:
        raise FormatError(f"{folder} holds no files FRAME_PERSON.npz; pass the folder that has them")
    people: dict[int, list[tuple[int, Path]]] = {}
    for path, match in named:
        people.setdefault(int(match[2]), []).append((int(match[1]), path))
    return {person: _smplerx_motion(sorted(files), fps, hand_mean) for person, files in sorted(people.items())}


def write_smplerx(motion: BodyMotion, folder: str | Path, person: int = 0, fps: float = 30.0) -> list[Path]:
    """Write a SMPL-X motion in the camera's frame as SMPLer-X does, one .npz per frame, and a .json where the motion has its camera.

    Frames are numbered by time * fps. Raises FormatError for another kind or frame of motion, or two rows of one number.
    """
    numbers = np.round(np.asarray(motion.times) * fps).astype(int)
    if motion.kind != "smplx" or motion.up != "camera" or len(np.unique(numbers)) != len(numbers):
        raise FormatError(
            f"SMPLer-X's files are SMPL-X in the camera's frame, one per frame at {fps:g} per second; convert the motion first"
        )
    paths, ends = [], np.cumsum(list(_SMPLERX.values()))
    for row, number in enumerate(numbers.tolist()):
        one = motion.parameters[row : row + 1]
        arrays = dict(zip(_SMPLERX, np.split(one.pose[0], ends[:-1]), strict=True))
        arrays |= {"betas": one.shape, "expression": one.expression, "transl": one.translation}
        paths.append(Path(folder) / f"{number:05d}_{person}.npz")
        with written_whole(paths[-1]) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        if motion.intrinsics is not None:
            k = np.asarray(motion.intrinsics[row], float)
            with written_whole(paths[-1].with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps({"focal": [k[0, 0], k[1, 1]], "princpt": [k[0, 2], k[1, 2]]}), encoding="utf-8")
    return paths


def motion_from_multi_hmr(
    people: Sequence[Mapping[str, np.ndarray]], times: Float[np.ndarray, " n"], model: BodyModel, hand_mean: bool = False
) -> BodyMotion:
    """One person over n frames from Multi-HMR's results (rotvec (53, 3), shape, expression, transl_pelvis) in the camera's frame.

    `model`: the SMPL-X that they belong to, for the rest pelvis. Raises FormatError where a result lacks one of these.
    """
    n = len(people)
    try:
        rotations = np.array([np.asarray(person["rotvec"], np.float32).reshape(53, 3) for person in people]).reshape(n, 53, 3)
        shape, expression = (
            np.array([np.ravel(person[key]) for person in people], np.float32).reshape(n, -1) if n else np.zeros((0, 10), np.float32)
            for key in ("shape", "expression")
        )
        pelvis = np.array([np.ravel(person["transl_pelvis"]) for person in people], np.float32).reshape(n, 3)
        scores = np.array([float(np.ravel(person.get("scores", 1.0))[0]) for person in people])
    except (KeyError, ValueError) as error:
        raise FormatError(f"these are not Multi-HMR's results ({error}); pass its mappings of one person over the frames") from error
    pose = np.zeros((n, 55, 3), np.float32)
    pose[:, _MULTI_HMR] = rotations
    rest = _rest_pelvis(model, shape, expression)
    return BodyMotion(
        "smplx", BodyParameters(pose, shape, expression, pelvis - rest), times, up="camera", hand_mean=hand_mean, scores=scores
    )


def multi_hmr_from_motion(motion: BodyMotion, model: BodyModel) -> list[dict[str, np.ndarray]]:
    """A SMPL-X motion in the camera's frame as Multi-HMR's mappings, one per row; the eyes' rotations, which it lacks, are lost.

    Raises FormatError for another kind or frame.
    """
    if motion.kind != "smplx" or motion.up != "camera":
        raise FormatError(
            f"Multi-HMR's results are SMPL-X in the camera's frame, this is {motion.kind} with {motion.up} up; convert it first"
        )
    p = motion.parameters
    pelvis = p.translation + _rest_pelvis(model, p.shape, p.expression)
    scores = np.ones(len(p)) if motion.scores is None else motion.scores
    rows = zip(p.pose[:, _MULTI_HMR], p.shape, p.expression, pelvis, scores, strict=True)
    return [
        {"rotvec": rotvec, "shape": shape, "expression": expression, "transl_pelvis": place, "scores": score}
        for rotvec, shape, expression, place, score in rows
    ]


def _rest_pelvis(model: BodyModel, shape: Float[np.ndarray, "n s"], expression: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n 3"]:
    bones = subset(model, np.zeros(1, int))  # all joints and a single vertex
    return bones.rest(shape[:, : model.num_shape], expression[:, : model.num_expression])[1][:, 0]


def _smplerx_motion(files: Sequence[tuple[int, Path]], fps: float, hand_mean: bool) -> BodyMotion:
    rows = [_smplerx_row(path) for _, path in files]
    parameters = BodyParameters(*(np.concatenate(parts) for parts in zip(*(row[:4] for row in rows), strict=True)))
    cameras = [row[4] for row in rows]
    intrinsics = np.stack(cameras) if all(camera is not None for camera in cameras) else None
    times = np.array([frame for frame, _ in files]) / fps
    return BodyMotion("smplx", parameters, times, up="camera", hand_mean=hand_mean, intrinsics=intrinsics)


def _smplerx_row(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Pose, shape, expression and translation of one file, one row each, and its camera."""
    data = read_arrays(path, (*_SMPLERX, "betas", "expression", "transl"), _FILE_BYTES)
    sizes = _SMPLERX | {"transl": 1}
    wrong = [
        name for name, joints in sizes.items() if name in data and (data[name].size != 3 * joints or data[name].dtype.kind not in "fiu")
    ]
    if wrong or not {"global_orient", "body_pose", "transl"} <= data.keys():
        raise FormatError(f"{path} is not one of SMPLer-X's bodies ({', '.join(wrong) or 'a key is missing'}); check the folder")
    pose = [data.get(name, np.zeros((joints, 3))).reshape(joints, 3) for name, joints in _SMPLERX.items()]
    others = [data.get(name, np.zeros((1, 10))).reshape(1, -1) for name in ("betas", "expression")]
    values = [np.concatenate(pose)[None], *others, data["transl"].reshape(1, 3)]
    if others[0].shape[1] != 10 or others[1].shape[1] != 10:
        raise FormatError(
            f"{path} has {others[0].size} betas and {others[1].size} expressions where SMPLer-X has 10 each; check the folder"
        )
    return *(value.astype(np.float32) for value in values), _smplerx_camera(path)


def _smplerx_camera(path: Path) -> np.ndarray | None:
    beside = path.with_suffix(".json")
    meta = next((name for name in (beside, path.parent.parent / "meta" / beside.name) if name.is_file()), None)
    if meta is None:
        return None
    document = read_json(meta, _META_BYTES)
    pairs = [document.get(key) if isinstance(document, dict) else None for key in ("focal", "princpt")]
    if any(not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(v, (int, float)) for v in pair) for pair in pairs):
        raise FormatError(f"{meta} lacks focal and princpt as two numbers each; it is not SMPLer-X's")
    (fx, fy), (cx, cy) = pairs
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)
