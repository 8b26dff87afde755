"""AGORA: rendered crowds of scanned people with SMPL-X and SMPL in 17,000 pictures (Patel et al., CVPR 2021): https://agora.is.tue.mpg.de.

The official release is read: pickled pandas tables, without pandas and without running anything in them (`data.pickled_tables`). Names
and meanings are from memory of the set's documentation, not checked against files [mem]:

    SMPLX/train_0_withjv.pkl       a row per picture; validation_0_withjv.pkl ... in the same way, SMPL/... with SMPL's joints
        imgPath                    ag_trainset_..._00000.png
        camX, camY, camZ, camYaw   the camera in Unreal's axes (x forward, y right, z up), centimetres and degrees
        X, Y, Z, Yaw               lists with a number per person, in the same way; a body of yaw 0 faces y
        gender, kid, isValid, occlusion (percent), gt_path_smplx, gt_path_smpl      lists with an entry per person
        gt_joints_2d               (n, k, 2) pixels of the picture of 3840 x 2160; the first are pelvis, left hip, right hip
    smplx_gt/.../NAME.pkl          the fits, named in the table with .obj: smplify-x's entries, (1, size), metres, hands from the mean one;
                                   smpl_gt/...: root_pose, body_pose, betas, translation, as torch tensors
    train_images_1280x720/train_0/NAME_1280x720.png, train_images_3840x2160/train_0/NAME.png, validation in the same way

The sensor is 36 mm wide; focal length, tilt and some cameras' places are told by the picture's name (`_CAMERAS`). What all this places
is compared with gt_joints_2d in every picture of three people or more: a table that means something else is refused, not misread.

Kids have an eleventh shape number, 0 for adults: how far the template is blended towards a child's. Read the models with
`from_arrays(..., num_shape=10, extras=Extras(kid=...))`, whose last shape direction that is. With other models keep kids=False.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyParameters
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture, numbers, pinhole
from vitruvian.data.layout import below
from vitruvian.data.pickled_tables import read_dictionary, read_frame
from vitruvian.data.smplx_fits import Hands, far_off, pelvis, rows_of, smplx_pose
from vitruvian.errors import FormatError, VitruvianError

LAYOUT = "SMPLX/{train,validation}_0_withjv.pkl, smplx_gt/*/*.pkl, train_images_1280x720/train_0/*.png (SMPL/ and smpl_gt/ for SMPL)"
NAMES = {"train": "train", "val": "validation"}
SIZES = ((1280, 720), (3840, 2160))
_SENSOR = 36.0  # mm across the picture
_CAMERAS: tuple[tuple[str, float, float, tuple[float, ...] | None], ...] = (
    # part of the picture's name, focal length in mm, degrees the camera looks down, its place in cm and yaw (None: the table tells) [mem]
    ("hdri", 50, 0, (0, 0, 170, 0)),
    ("cam00", 18, 30, (400, -275, 265, 135)),
    ("cam01", 18, 30, (400, 225, 265, -135)),
    ("cam02", 18, 30, (-490, 170, 265, -45)),
    ("cam03", 18, 30, (-490, -275, 265, 45)),
    ("ag2", 28, 15, (0, 0, 170, 0)),
    ("", 28, 0, None),
)
_FROM_UNREAL = np.array([[0.0, 1, 0], [0, 0, -1], [1, 0, 0]])
_FROM_BODY = np.diag([1.0, -1, -1])  # SMPL's axes have y up and the body facing z
_HIP = 0.06  # metres from the pelvis's middle to a hip, about
_JUDGES = 3


@dataclass(frozen=True)
class _Choice:
    """What was asked for."""

    model: Literal["smplx", "smpl"]
    size: tuple[int, int]
    kids: bool
    max_occlusion: float
    hands: Hands | None


def agora(
    folder: str | Path,
    split: Literal["train", "val"] = "val",
    model: Literal["smplx", "smpl"] = "smplx",
    size: tuple[int, int] = (1280, 720),
    *,
    kids: bool = False,
    max_occlusion: float = 100.0,
    hands: Hands | None = None,
) -> BodyDataset:
    """The pictures of a split, table by table, with everybody whom the set calls valid; `keypoints` are the set's own joints.

    size: of the pictures, 1280 x 720 or 3840 x 2160. kids: with those whose body needs a blended template; else they are left out.
    max_occlusion: percent of a person that may be hidden. hands: only for fits with hands as principal components (`smplx_fits`).
    Raises FormatError where there is no table, or what it holds is not what is described above.
    """
    if size not in SIZES:
        raise VitruvianError(f"AGORA has pictures of 1280 x 720 and 3840 x 2160, not {size}: give one of these")
    tables = _tables(Path(folder), NAMES[split], model)
    choice = _Choice(model, size, kids, max_occlusion, hands)

    def read() -> Iterator[BodyPicture]:
        count = 0
        for path in tables:
            for picture in _table(Path(folder), path, choice, count):
                count += 1
                yield picture

    return BodyDataset("agora", "research and non-commercial use only", read)


def _tables(root: Path, split: str, model: str) -> list[Path]:
    """The split's tables by number, wherever the archives were unpacked, of the right model where there are two of a name."""
    found: dict[int, list[Path]] = {}
    for pattern in ("*.pkl", "*/*.pkl", "*/*/*.pkl"):
        for path in root.glob(pattern):
            match = re.fullmatch(rf"{split}_(\d{{1,4}})(_withjv)?\.pkl", path.name)
            folders = {word for part in path.relative_to(root).parts[:-1] for word in re.split(r"[\W_]+", part.lower())}
            if match and not folders & ({"smplx", "smpl"} - {model}):
                found.setdefault(int(match[1]), []).append(path)
    if not found:
        raise FormatError(f"{root} has no {split}_0_withjv.pkl of AGORA for {model}; expected there: {LAYOUT}")
    for number, paths in found.items():
        found[number] = paths = [path for path in paths if path.stem.endswith("_withjv")] or paths
        if len(paths) > 1:
            raise FormatError(f"{paths[0]} and {paths[1]} are the same table: keep one of them below {root}")
    return [found[number][0] for number in sorted(found)]


def _table(root: Path, path: Path, choice: _Choice, first: int) -> Iterator[BodyPicture]:
    table = read_frame(path)
    fits = f"gt_path_{choice.model}"
    missing = [name for name in ("imgPath", "X", "Y", "Z", "Yaw", "gender", fits) if name not in table]
    if missing:
        raise FormatError(f"{path} has no column {missing[0]!r}: it is no table of AGORA; get the file again")
    images = _image_folders(root, path, choice.size)
    for row in range(len(table["imgPath"])):
        cells = {name: column[row] for name, column in table.items()}
        what = f"{path}, row {row}"
        name = cells["imgPath"]
        if not isinstance(name, str):
            raise FormatError(f"{what}: imgPath is no name of a file; get the file again")
        matrix, turn, place = camera_of(name, cells, choice.size, what)
        people = _people(root, cells, choice, (matrix, turn, place), what)
        yield BodyPicture(_image(images, name, choice.size), first + row, choice.size, matrix, people)


def camera_of(
    name: str, cells: Mapping[str, object], size: tuple[int, int], what: str
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """The camera matrix, the rotation from the world (OpenCV's axes, where Unreal's yaw is 0), and the camera's place there in metres.

    name: of the picture. cells: its row of the table. Raises FormatError where the row lacks the camera.
    """
    _, focal, tilt, known = next(one for one in _CAMERAS if one[0] in name)
    if known is None:
        known = tuple(rows_of(dict(cells), key, 1, 1, what)[0, 0] for key in ("camX", "camY", "camZ", "camYaw"))
    width, height = size
    matrix = pinhole([focal * width / _SENSOR] * 2, [width / 2, height / 2], what)
    turn = _about([1, 0, 0], tilt) @ _about([0, 1, 0], -known[3])
    return matrix, turn, _FROM_UNREAL @ np.array(known[:3]) / 100


def _about(axis: Sequence[float], degrees: float) -> Float[np.ndarray, "3 3"]:
    return rotation_matrices(np.array(axis, np.float64) * np.radians(degrees))


def _people(root: Path, cells: dict[str, object], choice: _Choice, camera: tuple[np.ndarray, ...], what: str) -> BodyLabels:
    """Everybody who was asked for: the fit's parameters in its own axes, and how these stand before the camera."""
    matrix, turn, place = camera
    n = len(_list(cells["X"], what))
    where = np.stack([numbers(cells[key], (n,), f"{what}: {key}") for key in ("X", "Y", "Z")], 1)
    yaw = numbers(cells["Yaw"], (n,), f"{what}: Yaw")
    fits, genders = (_list(cells[key], what, n) for key in (f"gt_path_{choice.model}", "gender"))
    keep = _wanted(cells, n, choice, what)
    read, joints, expressions = (_smplx, 55, 10) if choice.model == "smplx" else (_smpl, 24, 0)
    bodies = [read(below(root, re.sub(r"\.obj$", ".pkl", str(fits[i]))), choice) for i in keep]
    sizes = (joints, 3), (11 if choice.kids else 10,), (expressions,), (3,)
    columns = zip(*bodies, strict=True) if bodies else ((),) * len(sizes)
    parameters = BodyParameters(*(np.reshape(column, (len(keep), *size)) for column, size in zip(columns, sizes, strict=True)))
    rotation = np.reshape([turn @ _about([0, 1, 0], yaw[i] - 90) @ _FROM_BODY for i in keep], (-1, 3, 3))
    shift = (where[keep] @ _FROM_UNREAL.T / 100 - place) @ turn.T
    names = tuple(str(genders[i]) if genders[i] in ("male", "female") else "neutral" for i in keep)
    labels = BodyLabels(choice.model, parameters, names, rotation, shift, hand_mean=choice.model == "smplx")
    if cells.get("gt_joints_2d") is None or not keep:
        return labels
    listed = _list(cells["gt_joints_2d"], what, n)
    points = numbers([listed[i] for i in keep], (len(keep), -1, 2), f"{what}: gt_joints_2d")
    if points.shape[1] < 3:
        raise FormatError(f"{what}: gt_joints_2d has {points.shape[1]} joints, no pelvis and hips; get the file again")
    return _with_points(labels, points, matrix, choice, what)


def _wanted(cells: Mapping[str, object], n: int, choice: _Choice, what: str) -> list[int]:
    """Numbers of the valid people who are not hidden too much, and are no kids where these are not wanted."""
    valid = numbers(cells.get("isValid", [True] * n), (n,), f"{what}: isValid") > 0
    all_of_them = choice.max_occlusion >= 100 or "occlusion" not in cells
    hidden = np.zeros(n) if all_of_them else numbers(cells["occlusion"], (n,), f"{what}: occlusion")
    kids = numbers(cells.get("kid", [False] * n), (n,), f"{what}: kid") > 0
    return np.flatnonzero(valid & (hidden <= choice.max_occlusion) & (choice.kids | ~kids)).tolist()


def _list(value: object, what: str, n: int | None = None) -> list[object]:
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, list | tuple) or n not in (None, len(values)):
        raise FormatError(f"{what} has not one entry per person in each column; get the file again")
    return list(values)


def _smplx(path: Path, choice: _Choice) -> tuple[np.ndarray, ...]:
    """Pose (55, 3), shape, expression and translation of a fit, each without the axis of rows."""
    fit, what = read_dictionary(path), str(path)
    pose, expression = smplx_pose(fit, 1, what, choice.hands)[0], rows_of(fit, "expression", 1, -1, what)[0, :10]
    return pose, _shape(fit, choice, what), np.pad(expression, (0, 10 - len(expression))), rows_of(fit, "transl", 1, 3, what)[0]


def _smpl(path: Path, choice: _Choice) -> tuple[np.ndarray, ...]:
    fit, what = read_dictionary(path), str(path)
    root = rows_of(fit, ("root_pose", "global_orient"), 1, 3, what)
    pose = np.concatenate([root, rows_of(fit, "body_pose", 1, 69, what)], 1).reshape(24, 3)
    return pose, _shape(fit, choice, what), np.zeros(0), rows_of(fit, ("translation", "transl"), 1, 3, what)[0]


def _shape(fit: dict[str, object], choice: _Choice, what: str) -> np.ndarray:
    """Ten numbers, or eleven with a kid's blend."""
    values = rows_of(fit, "betas", 1, -1, what)[0]
    if len(values) not in (10, 11):
        raise FormatError(f"{what} has {len(values)} numbers of a shape, not 10 or a kid's 11; it is another file than expected")
    return np.pad(values, (0, 11 - len(values)))[: 11 if choice.kids else 10]


def _with_points(labels: BodyLabels, points: np.ndarray, camera: np.ndarray, choice: _Choice, what: str) -> BodyLabels:
    """The labels with the set's own joints in pixels, which must lie about where the labels place the pelvis and the hips.

    The joints' picture is told by where they lie. Hips are compared as lines, which a wrong yaw would turn. One odd label is nothing
    against the set: rows of fewer than `_JUDGES` people are not judged.
    """
    middles = pelvis(choice.model, labels.parameters.translation, labels.rotation, labels.translation)
    tries = [points * choice.size[0] / width for width, _ in reversed(SIZES)]
    off = [far_off(middles, camera, one[:, 0]) for one in tries]
    best = int(np.argmin([one.sum() for one in off]))
    seen = (tries[best][:, 2] - tries[best][:, 1]) / camera[0, 0] * middles[:, 2:]
    meant = -2 * _HIP * (labels.rotation @ rotation_matrices(labels.parameters.pose[:, 0]))[:, :2, 0]
    strength = np.linalg.norm(meant) * np.linalg.norm(seen)
    turned = (np.linalg.norm(meant) > _HIP) and np.vdot(meant, seen) < 0.8 * strength
    if len(points) >= _JUDGES and (off[best].mean() > 0.5 or turned):
        raise FormatError(
            f"{what}: the joints are seen elsewhere than the fits stand, so axes or units are others than known; get it again"
        )
    return replace(labels, keypoints=np.concatenate([tries[best], np.ones((*points.shape[:2], 1))], 2))


def _image_folders(root: Path, table: Path, size: tuple[int, int]) -> list[Path]:
    """Where a table's pictures may lie, the official place first."""
    split, number = re.fullmatch(r"([a-z]+)_(\d+).*", table.name).groups()
    wide = f"{size[0]}x{size[1]}"
    parts = (f"{split}_images_{wide}", f"{split}_images_{wide}_{number}", f"{wide}/{split}", "images", ".")
    folders = [root / part / inner for part in parts for inner in (f"{split}_{number}", split, ".")]
    return [folder for folder in folders if folder.is_dir() and folder != root] or folders[:1]


def _image(folders: Sequence[Path], name: str, size: tuple[int, int]) -> Path:
    """The first that is there of a picture's names in those folders, or where it would be in the first."""
    small = re.sub(r"\.png$", f"_{size[0]}x{size[1]}.png", name)
    names = (small, name) if size != SIZES[1] else (name, small)
    places = [below(folder, one) for folder in folders for one in names]
    return next((place for place in places if place.is_file()), places[0])
