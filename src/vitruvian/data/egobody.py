"""EgoBody: two people talking, seen by one's HoloLens and by Kinects, with SMPL-X (Zhang et al., ECCV 2022): https://sanweiliti.github.io/egobody.

`folder` is the root of the release. Names and meanings are from memory of its documentation, not checked against files [mem]:

    data_splits.csv                  columns train, val, test with names of recordings
    data_info_release.csv            recording_name, scene_name, body_idx_fpv ("1 female": who is seen), body_idx_0, body_idx_1 ("... male")
    smplx_interactee_SPLIT/REC/body_idx_1/results/frame_01888/000.pkl      smplify-x's entries in the main Kinect's axes, metres; hands are
    smplx_camera_wearer_SPLIT/...                                          12 principal components and count from the mean hand
    calibrations/REC/cal_trans/holo_to_kinect12.json    {"trans": (4, 4)}, rigid; world axes are not read
    egocentric_color/REC/DATE/PV/132754997786014666_frame_01888.jpg        from the HoloLens, named by its clock
    egocentric_color/REC/DATE/..._pv.txt      cx,cy,w,h; then lines of clock, fx, fy, 16 numbers that map camera (y up, z back) to its world
    egocentric_color/REC/DATE/valid_frame.npz valid, imgname: the frames in which the other person is seen
    egocentric_color/REC/DATE/keypoints.npz   keypoints (n, 25, 3), imgname: OpenPose's, pixels and confidence
    kinect_color/REC/master/frame_01888.jpg and kinect_cam_params/kinect_master/Color.json      camera_mtx, k (lens)

Where OpenPose saw hips, what all this places is compared with them, recording by recording: files that mean something else are refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian._npy import NpzFile
from vitruvian.body.model import BodyParameters
from vitruvian.body.pickles import unpickle_body
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture, numbers, pinhole
from vitruvian.data.layout import below, find
from vitruvian.data.pickled_tables import read_dictionary
from vitruvian.data.smplx_fits import Hands, LensPicture, entry, far_off, pelvis, rigid, rows_of, smplx_pose
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.text import read_text

LAYOUT = "data_splits.csv, data_info_release.csv, smplx_interactee_SPLIT/REC/body_idx_N/results/frame_NNNNN/000.pkl, egocentric_color/REC"
SPLITS = ("train", "val", "test")
VIEWS = {"egocentric": "egocentric_color", "kinect": "kinect_color"}
_MAX_TEXT, _MAX_JSON = 256 << 20, 16 << 20
_TO_OPENCV = np.diag([1.0, -1, -1, 1])  # the HoloLens's camera looks along -z, with y up
_HIPS, _SURE = (9, 12), 0.5  # OpenPose's 25 points: right and left hip
_KINECT, _FAR = (1920, 1080), 20.0  # pixels [mem], metres


@dataclass(frozen=True)
class _Recording:
    """Where a recording's files are, and who is who: index of the body and gender of (interactee, camera wearer)."""

    root: Path
    name: str
    split: str
    people: tuple[tuple[int, str], tuple[int, str]]
    hands: Hands | None


def egobody(
    folder: str | Path,
    split: Literal["train", "val", "test"] = "val",
    view: Literal["egocentric", "kinect"] = "egocentric",
    hands: Hands | None = None,
) -> BodyDataset:
    """The recordings of a split. The HoloLens's valid frames with the one who is seen, or all frames of the main Kinect with both.

    hands: `model.hands` of an SMPL-X model, whose components the fits' hands count in; {} leaves the fingers as in the mean hand.
    Kinect pictures are `LensPicture`. Raises FormatError where files are missing, damaged or place people elsewhere than they are seen;
    VitruvianError where `hands` is needed.
    """
    root = Path(folder)
    if split not in SPLITS or view not in VIEWS:
        raise VitruvianError(f"EgoBody has no {split!r} seen from {view!r}: take one of {', '.join(SPLITS)}, and {' or '.join(VIEWS)}")
    source = VIEWS[view]
    names = [row[split] for row in _rows(find(folder, "EgoBody", LAYOUT, "data_splits.csv"), (split,)) if row[split].strip()]
    table = _rows(find(folder, "EgoBody", LAYOUT, "data_info_release.csv"), ("recording_name", "body_idx_fpv", "body_idx_0", "body_idx_1"))
    infos = {row["recording_name"]: row for row in table}
    here = [name for name in names if below(root / f"smplx_interactee_{split}", name).is_dir() and below(root / source, name).is_dir()]
    if not here:
        raise FormatError(f"{root} has no recording for {split} of EgoBody with bodies and {source}; expected there: {LAYOUT}")
    unknown = [name for name in here if name not in infos]
    if unknown:
        raise FormatError(f"{root}/data_info_release.csv has no line for {unknown[0]!r}; get the file again")

    def read() -> Iterator[BodyPicture]:
        count = 0
        for name in here:
            recording = _Recording(root, name, split, _who(infos[name], f"{root}/data_info_release.csv, {name}"), hands)
            for picture in (_egocentric if view == "egocentric" else _kinect)(recording, count):
                count += 1
                yield picture

    return BodyDataset("egobody", "research and non-commercial use only", read)


def _rows(path: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    """The lines of a table of text, by the names in its first."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, _MAX_TEXT).lstrip("\ufeff")), skipinitialspace=True)
        rows = [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except csv.Error as error:
        raise FormatError(f"{path} is not a readable table ({error}); get the file again") from error
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise FormatError(f"{path} has no column {missing[0]!r}; it is another file than expected")
    return rows


def _who(info: Mapping[str, str], what: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """(index, gender) of the interactee and of the camera wearer."""
    words = info["body_idx_fpv"].split()
    if len(words) != 2 or words[0] not in ("0", "1"):
        raise FormatError(f"{what}: body_idx_fpv is {info['body_idx_fpv'][:40]!r}, not like '1 female'; get the file again")
    seen = int(words[0])
    wearer = (info[f"body_idx_{1 - seen}"].split() or [""])[-1]
    genders = [gender if gender in ("male", "female") else "neutral" for gender in (words[1], wearer)]
    return (seen, genders[0]), (1 - seen, genders[1])


def _fits(recording: _Recording, role: str, body: int) -> Path:
    return recording.root / f"smplx_{role}_{recording.split}" / recording.name / f"body_idx_{body}" / "results"


def _labels(found: list[tuple[Path, str]], hands: Hands | None, place: np.ndarray) -> BodyLabels:
    """People from files of fits with their genders, before a camera."""
    rows = []
    for path, _ in found:
        fit, what = read_dictionary(path), str(path)
        sizes = (("betas", 10), ("expression", 10), ("transl", 3))
        rows.append((smplx_pose(fit, 1, what, hands)[0], *(rows_of(fit, name, 1, size, what)[0] for name, size in sizes)))
    pose, shape, expression, translation = zip(*rows, strict=True) if rows else ((),) * 4
    n = len(rows)
    blocks = (np.reshape(part, (n, *size)) for part, size in ((pose, (55, 3)), (shape, (10,)), (expression, (10,)), (translation, (3,))))
    turns, shifts = np.tile(place[:3, :3], (n, 1, 1)), np.tile(place[:3, 3], (n, 1))
    return BodyLabels("smplx", BodyParameters(*blocks), tuple(gender for _, gender in found), turns, shifts, hand_mean=True)


def _egocentric(recording: _Recording, first: int) -> Iterator[BodyPicture]:
    """Frames of the HoloLens in which the set says the other is seen, and which have a fit."""
    here = _one(
        sorted((recording.root / "egocentric_color" / recording.name).glob("*/valid_frame.npz")), recording, "valid_frame.npz"
    ).parent
    size, middle, clocks = _pv(_one(sorted(here.glob("*_pv.txt")), recording, "_pv.txt"))
    calibration = recording.root / "calibrations" / recording.name / "cal_trans" / "holo_to_kinect12.json"
    to_holo = np.linalg.inv(rigid(entry(read_json(calibration, _MAX_JSON), "trans", str(calibration)), f"{calibration}: trans"))
    body, gender = recording.people[0]
    points = _keypoints(here / "keypoints.npz")
    pictures = []
    for name in _valid(here / "valid_frame.npz"):
        clock, frame = _named(name, here)
        fit = _fits(recording, "interactee", body) / f"frame_{frame:05d}" / "000.pkl"
        if clock not in clocks or not fit.is_file():
            continue
        focal, to_world = clocks[clock]
        labels = _labels([(fit, gender)], recording.hands, _TO_OPENCV @ np.linalg.inv(to_world) @ to_holo)
        if name in points:
            labels = replace(labels, keypoints=points[name][None])
        file = below(recording.root, name) if name.startswith("egocentric_color/") else here / "PV" / Path(name).name
        camera = pinhole(focal, middle, f"{here}, {clock}")
        pictures.append(BodyPicture(file, first + len(pictures), size, camera, labels, recording.name, frame))
    if not pictures:
        raise FormatError(f"{here} has no valid frame with a fit and a camera; expected: {LAYOUT}")
    _check(pictures, here)
    yield from pictures


def _one(paths: list[Path], recording: _Recording, name: str) -> Path:
    if len(paths) != 1:
        raise FormatError(
            f"{recording.root}/egocentric_color/{recording.name} has {len(paths)} files {name}, not one; get the recording again"
        )
    return paths[0]


def _pv(path: Path) -> tuple[tuple[int, int], tuple[float, float], dict[int, tuple[tuple[float, float], np.ndarray]]]:
    """Size, principal point, and by clock the focal lengths and the camera's place in the HoloLens's world."""
    head, *lines = [line for line in read_text(path, _MAX_TEXT).splitlines() if line.strip()] or [""]
    cx, cy, width, height = _floats(head, 4, path)
    clocks = {}
    for line in lines:
        cells = line.split(",")
        if not re.fullmatch(r"[0-9]{1,20}", cells[0].strip()):
            raise FormatError(f"{path} has a line without a clock; get the file again")
        values = _floats(",".join(cells[1:]), 18, path)
        clocks[int(cells[0])] = (values[0], values[1]), rigid(np.reshape(values[2:], (4, 4)), f"{path}, {cells[0][:40]}")
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise FormatError(f"{path} has a picture of {width} x {height}; get the file again")
    return (int(width), int(height)), (cx, cy), clocks


def _floats(line: str, count: int, path: Path) -> list[float]:
    try:
        values = [float(cell) for cell in line.split(",")]
    except ValueError as error:
        raise FormatError(f"{path} has something else than numbers in a line; get the file again") from error
    return numbers(values, (count,), f"{path}: a line").tolist()


def _names(file: NpzFile, path: Path) -> list[str]:
    names = np.asarray(file["imgname"]).ravel().tolist() if "imgname" in file else [None]
    if not all(isinstance(name, str) for name in names):
        raise FormatError(f"{path} has no names of files in imgname; get the file again")
    return names


def _valid(path: Path) -> list[str]:
    """Names of the pictures in which the other is seen."""
    file = NpzFile(path, objects=unpickle_body)
    names = _names(file, path)
    if "valid" not in file:
        raise FormatError(f"{path} has no 'valid'; it is another file than expected")
    valid = numbers(file["valid"], (len(names),), f"{path}: valid") > 0
    return [name for name, seen in zip(names, valid, strict=True) if seen]


def _keypoints(path: Path) -> dict[str, np.ndarray]:
    """OpenPose's 25 points by the picture's name; none where there is no file."""
    if not path.is_file():
        return {}
    file = NpzFile(path, objects=unpickle_body)
    names = _names(file, path)
    if "keypoints" not in file:
        raise FormatError(f"{path} has no 'keypoints'; it is another file than expected")
    return dict(zip(names, numbers(file["keypoints"], (len(names), 25, 3), f"{path}: keypoints"), strict=True))


def _named(name: str, where: Path) -> tuple[int, int]:
    """The clock and the number of a frame from the picture's name."""
    match = re.fullmatch(r"(?:.*/)?(\d{1,20})_frame_(\d{1,9})\.\w+", name)
    if match is None:
        raise FormatError(f"{where} names a picture {name[:80]!r}, not like 1327_frame_00001.jpg; get the file again")
    return int(match[1]), int(match[2])


def _check(pictures: list[BodyPicture], where: Path) -> None:
    """Refuse a recording whose bodies mostly don't stand where OpenPose saw hips."""
    off = []
    for picture in pictures:
        labels = picture.people
        if labels.keypoints is not None and labels.keypoints[0, _HIPS, 2].min() > _SURE:
            middle = pelvis("smplx", labels.parameters.translation, labels.rotation, labels.translation)
            off.append(far_off(middle, picture.camera, labels.keypoints[:, _HIPS, :2].mean(1))[0])
    if off and np.mean(off) > 0.5:
        raise FormatError(f"{where}: hips are seen elsewhere than the fits stand, so axes or units are others than known; get it again")


def _kinect(recording: _Recording, first: int) -> Iterator[BodyPicture]:
    """Frames of the main Kinect that have a fit of anybody; the fits are in its axes."""
    path = recording.root / "kinect_cam_params" / "kinect_master" / "Color.json"
    said = read_json(path, _MAX_JSON)
    matrix = numbers(entry(said, "camera_mtx", str(path)), (3, 3), f"{path}: camera_mtx")
    camera, lens = (
        pinhole(matrix[[0, 1], [0, 1]], matrix[:2, 2], str(path)),
        numbers(np.ravel(entry(said, "k", str(path))), (-1,), str(path)),
    )
    if len(lens) not in (0, 4, 5, 8):
        raise FormatError(f"{path} has a lens of {len(lens)} numbers, not 4, 5 or 8; get the file again")
    (seen, seen_gender), (wearer, wearer_gender) = recording.people
    sources = ((_fits(recording, "interactee", seen), seen_gender), (_fits(recording, "camera_wearer", wearer), wearer_gender))
    frames: dict[int, list[tuple[Path, str]]] = {}
    for folder, gender in sources:
        for fit in sorted(folder.glob("frame_*/000.pkl")):
            number = fit.parent.name.removeprefix("frame_")
            if re.fullmatch(r"\d{1,9}", number):
                frames.setdefault(int(number), []).append((fit, gender))
    if not frames:
        raise FormatError(f"{sources[0][0]} has no fits frame_NNNNN/000.pkl; expected: {LAYOUT}")
    for count, (frame, found) in enumerate(sorted(frames.items())):
        file = recording.root / "kinect_color" / recording.name / "master" / f"frame_{frame:05d}.jpg"
        labels = _labels(found, recording.hands, np.eye(4))
        depth = labels.parameters.translation[:, 2]
        if not ((depth > 0) & (depth < _FAR)).all():
            raise FormatError(
                f"{found[0][0]}: somebody is {depth.max():.0f} m from the Kinect, so axes or units are others than known; get it again"
            )
        yield LensPicture(file, first + count, _KINECT, camera, labels, recording.name, frame, distortion=lens)
