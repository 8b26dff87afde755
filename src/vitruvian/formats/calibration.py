"""Calibration files of cameras: `read_calibration(path)` tells the dialect and gives cameras in metres; TOML is also written.

| dialect | told by | unit, world |
|---|---|---|
| TOML of Pose2Sim, Sports2D, aniposelib | .toml, tables with a `matrix` | metres (Pose2Sim); aniposelib has that of its board, mostly mm |
| Qualisys .qca.txt; OpenCV XML and YAML; Human3.6M metadata.xml | content | mm; the board's; mm, z up |
| CMU Panoptic .json | "cameras" with K, distCoef, R, t | cm, y down |
| Human3.6M .json | "intrinsics" and "extrinsics" by subject [mem] | mm, z up |
| OpenCap cameraIntrinsicsExtrinsics.pickle | .pickle, .pkl | mm, the checkerboard's |
| a folder, or several files | each file is a camera (or several) | as each |

The world stays the file's: `geometry.camera.up_axis` tells which way is up. Where the file's custom does not fix the unit, cameras more
than 100 units away mean millimetres, which is logged; `metres_per_unit` overrules it.
"""

from __future__ import annotations

import json
import logging
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vitruvian._files import written_whole
from vitruvian._unpickle import NUMPY, PLAIN, Limits, read_pickle
from vitruvian.errors import FormatError
from vitruvian.formats.calibration_raw import MAX_BYTES, MAX_CAMERAS, RawCamera, Rig, camera_of, field, guessed_unit
from vitruvian.formats.calibration_xml import H36M_SIZES, opencv_rig, read_opencv_yaml, read_xml, yaml_values
from vitruvian.formats.text import read_text
from vitruvian.geometry.camera import Camera

log = logging.getLogger(__name__)

SUFFIXES = (".toml", ".txt", ".xml", ".yml", ".yaml", ".json", ".pickle", ".pkl")
_PLAIN_STEMS = ("cameraintrinsicsextrinsics", "calibration", "camera", "intrinsics", "calib")
"""File names that say nothing about which camera it is; their folder does."""


def read_calibration(
    path: str | Path | Sequence[str | Path], *, metres_per_unit: float | None = None, subject: int | None = None
) -> tuple[Camera, ...]:
    """The cameras of a calibration file, of a folder of such files, or of several, in the file's order (a folder's: by name).

    metres_per_unit: the unit of lengths, if not the dialect's custom. subject: whose recording of Human3.6M, 1 to 11 (default: the first).
    Names are those in the file; a file without a name gives that of the file, or of its folder.
    Raises FormatError where a file is missing, too large, damaged, of an unknown layout, or has two cameras of one name.
    """
    if metres_per_unit is not None and not (np.isfinite(metres_per_unit) and metres_per_unit > 0):
        raise FormatError(f"{metres_per_unit} metres per unit is no unit; give 0.001 for millimetres")
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(each) for each in path]
    cameras: list[Camera] = []
    for each in paths:
        if each.is_dir():
            cameras += _folder(each, metres_per_unit, subject)
        else:
            cameras += _cameras(_read(each, subject), each, metres_per_unit)
    names = [camera.name for camera in cameras]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormatError(f"two cameras are called {twice[:40]!r} in {', '.join(map(str, paths))[:200]}; rename one")
    if not cameras:
        raise FormatError(f"no cameras in {', '.join(map(str, paths))[:200]}; give a calibration file")
    return tuple(cameras)


def write_calibration(cameras: Sequence[Camera], path: str | Path) -> None:
    """Write cameras as TOML in Pose2Sim's layout (metres, rotation vectors), which `read_calibration` reads back to the last digit.

    Raises FormatError if the path can't be written, or two cameras share a name.
    """
    from scipy.spatial.transform import Rotation

    names = [camera.name or f"cam_{n}" for n, camera in enumerate(cameras, 1)]
    if len(set(names)) < len(names) or "metadata" in names:
        raise FormatError(f"{path}: each camera needs a name of its own (and not 'metadata'); rename them")
    blocks = []
    for name, camera in zip(names, cameras, strict=True):
        vector = Rotation.from_matrix(camera.R_cam_world).as_rotvec()
        lens = camera.distortion if len(camera.distortion) else np.zeros(4)
        blocks.append(
            f"[{_text(name)}]\nname = {_text(name)}\nsize = {list(camera.size)}\n"
            f"matrix = [{', '.join(_list(row) for row in camera.intrinsics)}]\ndistortions = {_list(lens)}\n"
            f"rotation = {_list(vector)}\ntranslation = {_list(camera.t_cam_world)}\nfisheye = {str(camera.fisheye).lower()}\n"
        )
    blocks.append("[metadata]\nadjusted = false\nerror = 0.0\n")
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(blocks), encoding="utf-8")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a TOML one, but for this character


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"


def _cameras(rig: Rig, path: Path, metres_per_unit: float | None) -> list[Camera]:
    """The checked cameras of one file."""
    unit = metres_per_unit or rig.metres_per_unit
    if unit is None:
        unit = guessed_unit(rig, str(path))
        if unit != 1:
            log.warning("%s: cameras are more than 100 units from the origin: taken for millimetres (metres_per_unit overrules)", path)
    named = path.parent.name if path.stem.lower() in _PLAIN_STEMS and path.parent.name else path.stem
    return [camera_of(raw if raw.name else RawCamera(**{**vars(raw), "name": named}), str(path), unit) for raw in rig.cameras[:MAX_CAMERAS]]


def _folder(folder: Path, metres_per_unit: float | None, subject: int | None) -> list[Camera]:
    intrinsic, extrinsic = folder / "intri.yml", folder / "extri.yml"
    if intrinsic.is_file() and extrinsic.is_file():
        values = [yaml_values(read_text(path, MAX_BYTES), str(path)) for path in (intrinsic, extrinsic)]
        return _cameras(opencv_rig(values[0] | values[1], str(folder)), intrinsic, metres_per_unit)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())[:MAX_CAMERAS]
    if not files:
        raise FormatError(f"{folder} has no calibration files ({', '.join(SUFFIXES)}); give the file itself")
    cameras, first_error = [], None
    for path in files:
        try:
            cameras += _cameras(_read(path, subject), path, metres_per_unit)
        except FormatError as error:
            log.warning("left out: %s", error)  # a read-me, a session's notes ...
            first_error = first_error or error
    if not cameras and first_error is not None:
        raise first_error
    return cameras


def _read(path: Path, subject: int | None) -> Rig:
    """What a file says, by its suffix and content."""
    suffix, where = path.suffix.lower(), str(path)
    if suffix in (".pickle", ".pkl"):
        return _opencap(path)
    text = read_text(path, MAX_BYTES)
    start = text.lstrip()
    if start.startswith("<"):
        return read_xml(start, where, subject)
    if start.startswith("%YAML") or "!!opencv-matrix" in text:
        return read_opencv_yaml(text, where)
    if suffix == ".json" or start.startswith("{"):
        return _json(text, where, subject)
    if suffix == ".toml":
        return _toml(text, where)
    raise FormatError(f"{where} is no calibration that is known here: give TOML, Qualisys, OpenCV, Panoptic, Human3.6M or OpenCap")


def _toml(text: str, where: str) -> Rig:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise FormatError(f"{where} is no readable TOML ({str(error)[:80]}); get the file again") from error
    cameras = []
    for key, table in document.items():
        if key == "metadata" or not (isinstance(table, dict) and "matrix" in table):
            continue
        here = f"{where}, [{key[:40]}]"
        cameras.append(
            RawCamera(
                str(table.get("name", key)),
                table["matrix"],
                field(table, "distortions", here),
                field(table, "rotation", here),
                field(table, "translation", here),
                table.get("size", (0, 0)),
                table.get("fisheye") is True,
            )
        )
    if not cameras:
        raise FormatError(f"{where} has no table with a camera's matrix; it is no calibration of Pose2Sim, Sports2D or aniposelib")
    return Rig(tuple(cameras))


def _json(text: str, where: str, subject: int | None) -> Rig:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is no readable JSON ({str(error)[:80]}); get the file again") from error
    if isinstance(document, dict) and isinstance(document.get("cameras"), list):
        return Rig(tuple(_panoptic(camera, where) for camera in document["cameras"][:MAX_CAMERAS]), 1e-2)
    if isinstance(document, dict) and isinstance(document.get("intrinsics"), dict) and isinstance(document.get("extrinsics"), dict):
        return _human36m(document, where, subject)
    raise FormatError(f"{where} is JSON, but no calibration of CMU Panoptic or Human3.6M; give one of these, or TOML")


def _panoptic(camera: object, where: str) -> RawCamera:
    name = str(field(camera, "name", f"{where}, a camera"))
    here = f"{where}, camera {name[:40]!r}"
    lens, turn, place = (field(camera, key, here) for key in ("distCoef", "R", "t"))
    return RawCamera(name, field(camera, "K", here), lens, turn, place, camera.get("resolution", (0, 0)))


def _human36m(document: Mapping[str, object], where: str, subject: int | None) -> Rig:
    wanted = next(iter(document["extrinsics"]), "") if subject is None else f"S{subject}"
    if wanted not in document["extrinsics"]:
        raise FormatError(f"{where} has no subject {wanted}; it has {', '.join(map(str, document['extrinsics']))[:80]}")
    places = document["extrinsics"][wanted]
    cameras = []
    for name, lens in document["intrinsics"].items():
        here = f"{where}, camera {name[:40]!r}"
        turn, place = (field(field(places, name, here), key, here) for key in ("R", "t"))
        matrix, distortion = field(lens, "calibration_matrix", here), field(lens, "distortion", here)
        cameras.append(RawCamera(name, matrix, distortion, turn, place, H36M_SIZES.get(name, (0, 0))))
    return Rig(tuple(cameras), 1e-3)


def _opencap(path: Path) -> Rig:
    """A pickled dictionary of arrays; imageSize is (height, width) [mem], which `camera_of` tells by the principal point."""
    values = read_pickle(path, {**PLAIN, **NUMPY}, limits=Limits(size=MAX_BYTES, memory=MAX_BYTES))
    matrix, lens, turn, place = (field(values, key, str(path)) for key in ("intrinsicMat", "distortion", "rotation", "translation"))
    return Rig((RawCamera("", matrix, lens, turn, place, values.get("imageSize", (0, 0))),), 1e-3)
