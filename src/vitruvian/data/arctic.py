"""ARCTIC: ten people handling things with jaws and lids, SMPL-X from motion capture (Fan et al., CVPR 2023): https://arctic.is.tue.mpg.de.

`folder` is the released data folder. Names and meanings are from memory of the set's documentation, not checked against files [mem]:

    raw_seqs/s01/box_grab_01.smplx.npy         pickled table: transl, global_orient, body_pose, jaw_pose, leye_pose, reye_pose,
                                               left_hand_pose, right_hand_pose, a row per frame; metres, world axes, hands flat at zero
    raw_seqs/s01/box_grab_01.egocam.dist.npy   pickled table: R_k_cam_np (f, 3, 3), T_k_cam_np (f, 3), world to the camera on the head;
                                               intrinsics (3, 3), dist8 (8,) of OpenCV's rational lens
    meta/misc.json                             subject -> gender, ioi_offset, image_size (9: the head's first), and of the eight standing
                                               cameras intris_mat (8, 3, 3) and world2cam (8, 4, 4)
    meta/subject_vtemplates/s01.obj            the subject's own rest mesh, which replaces the model's and its shape: `subject_model`
    splits_json/protocol_p1.json               train, val, test -> ["s01/box_grab_01", ...]; p1: standing cameras, p2: the head
    images/s01/box_grab_01/1/00012.jpg         view 0 the head's, 1 to 8 the standing ones; the number is the frame's plus ioi_offset

The test subjects' bodies were not released with the rest; they are read where they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.body.library import read_entries
from vitruvian.body.model import BodyModel
from vitruvian.body.published import from_arrays
from vitruvian.data.bodies import BodyDataset, BodyPicture, numbers, pinhole, plain_labels
from vitruvian.data.films3d import read_object
from vitruvian.data.layout import below, find
from vitruvian.data.smplx_fits import LensPicture, entry, pelvis, rigid, rows_of, smplx_pose
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.meshes import read_obj

LAYOUT = "raw_seqs/SUBJECT/NAME.smplx.npy, meta/misc.json, splits_json/protocol_p1.json, images/SUBJECT/NAME/VIEW/00001.jpg"
SPLITS = ("train", "val", "test")
VIEWS = {"p1": tuple(range(1, 9)), "p2": (0,)}
"""Views that a protocol is judged on: 0 is the egocentric one."""
_MAX_JSON = 64 << 20
_BEFORE, _BY_HEAD = (0.2, 20.0), (0.1, 2.5)  # metres from a standing camera and from the head's to the pelvis


def arctic(
    folder: str | Path,
    split: Literal["train", "val", "test"] = "val",
    protocol: Literal["p1", "p2"] = "p1",
    views: Sequence[int] = (),
) -> BodyDataset:
    """The recordings of a split, view by view and frame by frame, one person in each picture; `video` is "s01/box_grab_01/1".

    views: 0 to 8, by default the protocol's. The shape is zero: pose with `subject_model`, or get somebody of average build.
    Pictures of view 0 are `LensPicture`. Raises FormatError where files are missing, damaged, or place nobody in front of a camera.
    """
    root = Path(folder)
    if protocol not in VIEWS or split not in SPLITS:
        raise VitruvianError(f"ARCTIC has no {split!r} of {protocol!r}: take one of {', '.join(SPLITS)}, and p1 or p2")
    views = tuple(views) or VIEWS[protocol]
    if not set(views) <= set(range(9)):
        raise VitruvianError(f"ARCTIC has the views 0 to 8, not {sorted(set(views) - set(range(9)))}: leave `views` out for the protocol's")
    listed = read_json(find(folder, "ARCTIC", LAYOUT, f"splits_json/protocol_{protocol}.json"), _MAX_JSON)
    names = entry(listed, split, f"{root}/splits_json/protocol_{protocol}.json")
    if not isinstance(names, list) or not all(isinstance(name, str) and name.count("/") == 1 for name in names):
        raise FormatError(f"{root}/splits_json/protocol_{protocol}.json is no list of recordings as s01/box_grab_01; get the file again")
    subjects = read_json(find(folder, "ARCTIC", LAYOUT, "meta/misc.json"), _MAX_JSON)
    if not any(below(root / "raw_seqs", f"{name}.smplx.npy").is_file() for name in names):
        raise FormatError(f"{root} has no body of the {len(names)} recordings for {split} of ARCTIC; expected there: {LAYOUT}")

    def read() -> Iterator[BodyPicture]:
        count = 0
        for name in names:
            if below(root / "raw_seqs", f"{name}.smplx.npy").is_file():
                for picture in _recording(root, name, entry(subjects, name.split("/")[0], f"{root}/meta/misc.json"), views, count):
                    count += 1
                    yield picture

    return BodyDataset("arctic", "research and non-commercial use only", read)


def subject_model(folder: str | Path, subject: str, model: str | Path, num_shape: int = 10) -> BodyModel:
    """A subject's body ("s01"): the user's SMPL-X file of the right gender, with the subject's own rest mesh in place of its template.

    Raises FormatError where either file is missing, or they are not of one topology.
    """
    vertices, _ = read_obj(below(Path(folder) / "meta" / "subject_vtemplates", f"{subject}.obj"))
    arrays = dict(read_entries(model))
    template = arrays.get("v_template")
    if not isinstance(template, np.ndarray) or template.shape != vertices.shape:
        raise FormatError(f"{model} has not the {len(vertices)} vertices of {subject}'s mesh: give the file of SMPL-X")
    return from_arrays(arrays | {"v_template": np.asarray(vertices, np.float64)}, f"smplx-{subject}", num_shape=num_shape)


def _recording(root: Path, name: str, subject: object, views: Sequence[int], first: int) -> Iterator[BodyPicture]:
    path, meta = below(root / "raw_seqs", f"{name}.smplx.npy"), f"{root}/meta/misc.json, {name.split('/')[0]}"
    body = read_object(path)
    frames = np.size(entry(body, "transl", str(path))) // 3
    pose, trans = smplx_pose(body, frames, str(path)), rows_of(body, "transl", frames, 3, str(path))
    offset, gender = entry(subject, "ioi_offset", meta), entry(subject, "gender", meta)
    if not isinstance(offset, int) or isinstance(offset, bool) or gender not in ("male", "female", "neutral"):
        raise FormatError(f"{meta} has an ioi_offset or a gender that is none; get the file again")
    for view in views:
        camera, lens, turns, shifts = _camera(root, name, subject, view, frames, meta)
        if frames:
            _check_place(pelvis("smplx", trans, turns, shifts), camera, view, f"{path}, view {view}")
        for frame in range(frames):
            place = {"rotation": turns[frame][None], "translation": shifts[frame][None]}
            row = slice(frame, frame + 1)
            labels = plain_labels("smplx", pose[row], np.zeros((1, 10)), np.zeros((1, 0)), trans[row], gender, place=place)
            number = frame + offset
            file = root / "images" / name / str(view) / f"{number:05d}.jpg"
            values = (file, first, _size(subject, view, meta), camera, labels, f"{name}/{view}", number)
            yield BodyPicture(*values) if view else LensPicture(*values, distortion=lens)
            first += 1


def _camera(
    root: Path, name: str, subject: object, view: int, frames: int, meta: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The camera matrix, the lens, and rotations (f, 3, 3) and shifts (f, 3) from the world to the camera."""
    if view:
        matrices = numbers(entry(subject, "intris_mat", meta), (8, 3, 3), f"{meta}: intris_mat")
        world = rigid(numbers(entry(subject, "world2cam", meta), (8, 4, 4), f"{meta}: world2cam")[view - 1], f"{meta}: world2cam")
        turns, shifts = np.tile(world[:3, :3], (frames, 1, 1)), np.tile(world[:3, 3], (frames, 1))
        return _matrix(matrices[view - 1], meta), np.zeros(0), turns, shifts
    path = below(root / "raw_seqs", f"{name}.egocam.dist.npy")
    ego = read_object(path)
    turns = rows_of(ego, "R_k_cam_np", frames, 9, str(path)).reshape(-1, 3, 3)
    if frames and np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() > 1e-2:
        raise FormatError(f"{path}: R_k_cam_np is not made of rotations; get the file again")
    lens = numbers(np.ravel(entry(ego, "dist8", str(path))), (8,), f"{path}: dist8")
    camera = _matrix(numbers(entry(ego, "intrinsics", str(path)), (3, 3), f"{path}: intrinsics"), str(path))
    return camera, lens, turns, rows_of(ego, "T_k_cam_np", frames, 3, str(path))


def _matrix(values: np.ndarray, what: str) -> np.ndarray:
    """A camera matrix, its skew kept."""
    matrix = pinhole(values[[0, 1], [0, 1]], values[:2, 2], what)
    matrix[0, 1] = values[0, 1]
    return matrix


def _check_place(points_cam: np.ndarray, camera: np.ndarray, view: int, what: str) -> None:
    """Refuse a recording most of which is not in front of a camera that stands around it and about in its picture, or by its head."""
    distance = np.linalg.norm(points_cam, axis=1) if view == 0 else points_cam[:, 2]
    nearest, farthest = _BY_HEAD if view == 0 else _BEFORE
    inside = (distance > nearest) & (distance < farthest)
    if view:
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = points_cam[:, :2] / points_cam[:, 2:] * camera[[0, 1], [0, 1]] + camera[:2, 2]
        inside &= (np.abs(pixels - camera[:2, 2]) < 2 * camera[:2, 2]).all(1)
    if inside.mean() < 0.5:
        raise FormatError(f"{what}: the body is not where the camera looks, so its units or axes are not metres and OpenCV's; get it again")


def _size(subject: Any, view: int, meta: str) -> tuple[int, int]:
    """(width, height) of a view, zeros where the file doesn't tell."""
    sizes = subject.get("image_size", subject.get("image_sizes"))
    if sizes is None:
        return (0, 0)
    width, height = numbers(sizes, (9, 2), f"{meta}: image_size")[view]
    return (int(width), int(height)) if 0 < width < 1 << 16 and 0 < height < 1 << 16 else (0, 0)
