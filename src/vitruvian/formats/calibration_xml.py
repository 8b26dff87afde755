"""Calibrations in XML: Qualisys (.qca.txt), OpenCV's FileStorage, and Human3.6M's metadata.xml; and OpenCV's YAML, which says the same.

Qualisys: places in millimetres; `transform` has the camera's place and a matrix whose rows are its axes, right, up and backwards, in the
world; lengths in the picture are in 1/64 pixel of the sensor, and the film shows the window `fov_video` of it (inclusive edges). Checked
on the four cameras of Pose2Sim's demo: their axes meet. `viewrotation` other than 0 is refused: none was at hand.
OpenCV: matrices under the names that its samples, and programs that follow them, use [known]; two cameras as in its stereo sample;
several as in EasyMocap's intri.yml and extri.yml, K_NAME, dist_NAME, R_NAME (vector) or Rot_NAME, T_NAME [mem].
Human3.6M [mem]: `w0` holds, for each of 4 cameras, 11 subjects' three Euler angles and place (mm); then each camera's f, c, k1 k2 k3 and
p1 p2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from vitruvian.errors import FormatError
from vitruvian.formats.calibration_raw import MAX_CAMERAS, RawCamera, Rig, numbers_of
from vitruvian.formats.text import numbers

_SUBPIXELS = 64.0
H36M_SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
"""Of the pictures of Human3.6M's cameras, pixels: its files do not say."""
_MATRIX = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "camera-matrix", "CameraMatrix", "intrinsic_matrix", "intrinsics", "K", "M")
_LENS = (
    *("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist_coeffs", "distortion", "distCoefs"),
    *("dist", "D", "d"),
)
_TURN = ("rotation_matrix", "rotation", "Rot", "R", "rvec", "Rvec")
_SHIFT = ("translation_vector", "translation", "T", "t", "tvec", "Tvec")
_YAML_MATRIX = re.compile(
    r"([A-Za-z_][\w.-]{0,99})\"?[ \t]*:[ \t]*!!opencv-"
    r"(?:matrix\s+rows:\s*(\d{1,4})\s+cols:\s*(\d{1,4})|nd-matrix\s+sizes:\s*\[([\d,\s]{1,40})\])"
    r"\s+dt:\s*\"?\w{1,8}\"?\s+data:\s*\[([^\]]*)\]"
)
_YAML_NUMBER = re.compile(r"^([A-Za-z_][\w.-]{0,99}):[ \t]*([-+.\deE]{1,40})[ \t]*$", re.MULTILINE)


def read_xml(text: str, where: str, subject: int | None = None) -> Rig:
    """The cameras of an XML document. subject: Human3.6M's, 1 to 11, whose recording it is. Raises FormatError for other documents."""
    if "<!DOCTYPE" in text[:100_000].upper() or "<!ENTITY" in text.upper():
        raise FormatError(f"{where} defines entities, which no calibration needs; write it without")
    try:
        root = ElementTree.fromstring(text.encode("utf-8"))
    except (ElementTree.ParseError, ValueError, RecursionError, LookupError) as error:
        raise FormatError(f"{where} is no readable XML ({error}); get the file again") from error
    if root.find("cameras") is not None and root.find("cameras/camera") is not None or root.tag == "calibration":
        return _qualisys(root, where)
    if root.tag == "opencv_storage":
        return opencv_rig(_xml_values(root, where), where)
    if root.find("w0") is not None:
        return _human36m(root.findtext("w0") or "", where, subject)
    raise FormatError(f"{where} is XML, but no calibration of Qualisys, OpenCV or Human3.6M; its root is <{root.tag[:40]}>")


def read_opencv_yaml(text: str, where: str) -> Rig:
    """The cameras of an OpenCV FileStorage in YAML. Raises FormatError where it has none."""
    return opencv_rig(yaml_values(text, where), where)


def yaml_values(text: str, where: str) -> dict[str, np.ndarray]:
    """The matrices and numbers of an OpenCV FileStorage in YAML, by name; its other entries are left alone."""
    values: dict[str, np.ndarray] = {
        name: numbers_of(float(number), where) for name, number in _YAML_NUMBER.findall(text) if _is_number(number)
    }
    for name, rows, columns, sizes, cells in _YAML_MATRIX.findall(text):
        shape = tuple(map(int, sizes.replace(",", " ").split())) if sizes else (int(rows), int(columns))
        values[name] = _matrix(cells.replace(",", " ").split(), shape, f"{where}, {name}")
    return values


def opencv_rig(values: Mapping[str, np.ndarray], where: str) -> Rig:
    """Cameras from the matrices of a FileStorage, by their names."""
    size = next((s for s in (_pair(values, *names) for names in _SIZES) if s), (0, 0))
    single = _first(values, _MATRIX)
    if single is not None:
        lens, turn, shift = (_first(values, names) for names in (_LENS, _TURN, _SHIFT))
        return Rig((RawCamera("", single, () if lens is None else lens, _turn(turn), _shift(shift), size),))
    stereo = [_first(values, [f"{name}{n}" for name in _MATRIX]) for n in (1, 2)]
    if all(matrix is not None for matrix in stereo):
        lenses = [_first(values, [f"{name}{n}" for name in _LENS]) for n in (1, 2)]
        turns, shifts = (None, _first(values, _TURN)), (None, _first(values, _SHIFT))
        each = zip(stereo, lenses, turns, shifts, strict=True)
        return Rig(tuple(RawCamera(str(n), k, () if d is None else d, _turn(r), _shift(t), size) for n, (k, d, r, t) in enumerate(each, 1)))
    cameras = []
    for key, matrix in values.items():
        prefix, _, name = key.partition("_")
        if prefix != "K" or not name:
            continue
        lens, turn, shift = (_first(values, [f"{start}_{name}" for start in names]) for names in (_LENS, _TURN, _SHIFT))
        cameras.append(
            RawCamera(
                name, matrix, () if lens is None else lens, _turn(turn), _shift(shift), _pair(values, f"W_{name}", f"H_{name}") or size
            )
        )
    if not cameras:
        raise FormatError(f"{where} has no camera matrix under a known name ({', '.join(_MATRIX[:3])}, K, K_NAME ...); rename it")
    return Rig(tuple(cameras[:MAX_CAMERAS]))


_SIZES = (("image_width", "image_height"), ("image_Width", "image_Height"), ("width", "height"), ("imageWidth", "imageHeight"))


def _qualisys(root: ElementTree.Element, where: str) -> Rig:
    cameras = []
    for n, camera in enumerate(root.findall("cameras/camera")[:MAX_CAMERAS]):
        name = camera.get("serial") or str(n + 1)
        here = f"{where}, camera {name[:40]!r}"
        if camera.get("active", "1") == "0":
            continue
        if float(_attributes(camera, ("viewrotation",), here, "0")[0]) % 360:
            raise FormatError(f"{here}: its view is rotated, which is not supported; export it without viewrotation")
        window, place, lens = (_child(camera, names, here) for names in (("fov_video", "fov_marker"), ("transform",), ("intrinsic",)))
        left, top, right, bottom = _attributes(window, ("left", "top", "right", "bottom"), here)
        turn = _attributes(place, [f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)], here).reshape(3, 3)
        turn = np.diag([1.0, -1, -1]) @ turn  # right, up, backwards to right, down, forwards
        fx, fy, cx, cy = _attributes(lens, ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV"), here) / _SUBPIXELS
        (skew,) = _attributes(lens, ("skew",), here, "0") / _SUBPIXELS
        k1, k2, k3 = _attributes(lens, ("radialDistortion1", "radialDistortion2", "radialDistortion3"), here, "0")
        p1, p2 = _attributes(lens, ("tangentalDistortion1", "tangentalDistortion2"), here, "0")  # their spelling
        cameras.append(
            RawCamera(
                name,
                [[fx, skew, cx - left], [0, fy, cy - top], [0, 0, 1]],
                (k1, k2, p1, p2, k3),
                turn,
                -turn @ _attributes(place, ("x", "y", "z"), here),
                (right - left + 1, bottom - top + 1),
            )
        )
    if not cameras:
        raise FormatError(f"{where} has no active camera; export the calibration again")
    return Rig(tuple(cameras), 1e-3)


def _child(element: ElementTree.Element, names: tuple[str, ...], where: str) -> ElementTree.Element:
    for name in names:
        found = element.find(name)
        if found is not None:
            return found
    raise FormatError(f"{where} has no <{names[0]}>; the file is damaged")


def _attributes(element: ElementTree.Element, names: tuple[str, ...] | list[str], where: str, missing: str | None = None) -> np.ndarray:
    """Attributes as finite numbers; `missing` stands for those that are not there."""
    cells = [element.get(name, missing) for name in names]
    if None in cells:
        raise FormatError(f"{where}: <{element.tag[:40]}> has no {names[cells.index(None)]!r}; the file is damaged")
    return numbers_of(numbers(cells, where), where)


def _human36m(text: str, where: str, subject: int | None) -> Rig:
    cells = text.strip().strip("[]").replace(",", " ").split()
    values = numbers(cells[:301], where)
    if len(cells) != 300 or not np.isfinite(values).all():
        raise FormatError(f"{where}: w0 has {len(cells)} numbers where Human3.6M has 300; get the file again")
    subject = 1 if subject is None else subject
    if not 1 <= subject <= 11:
        raise FormatError(f"{where} has no subject {subject}; give one of 1 to 11")
    cameras = []
    for n in range(4):
        angles, place = values[6 * (11 * n + subject - 1) :][:6].reshape(2, 3)
        fx, fy, cx, cy, k1, k2, k3, p1, p2 = values[264 + 9 * n :][:9]
        turn = _euler_xyz(angles)
        matrix = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        name = list(H36M_SIZES)[n]
        cameras.append(RawCamera(name, matrix, (k1, k2, p1, p2, k3), turn, -turn @ place, H36M_SIZES[name]))
    return Rig(tuple(cameras), 1e-3)


def _euler_xyz(angles: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Rx Ry Rz."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("XYZ", angles).as_matrix()


def _xml_values(root: ElementTree.Element, where: str) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for element in root:
        text = (element.text or "").strip()
        if element.get("type_id") in ("opencv-matrix", "opencv-nd-matrix"):
            names = ("sizes",) if element.find("sizes") is not None else ("rows", "cols")
            shape = numbers(" ".join(element.findtext(name) or "nan" for name in names).split()[:8], where)
            if not all(side in range(1, 10_000) for side in shape):
                raise FormatError(f"{where}, {element.tag[:40]}: no matrix has the size {shape.tolist()}; the file is damaged")
            cells = (element.findtext("data") or "").split()
            values[element.tag] = _matrix(cells, tuple(map(int, shape)), f"{where}, {element.tag[:40]}")
        elif _is_number(text):
            values[element.tag] = numbers_of(float(text), where)
    return values


def _matrix(cells: list[str], shape: tuple[int, ...], where: str) -> np.ndarray:
    """A matrix of a FileStorage; larger ones (lists of points) are no part of a camera and stay unread."""
    count = math.prod(shape)
    if count > 64:
        return np.zeros(0)
    if len(cells) != count:
        raise FormatError(f"{where} has {len(cells)} numbers for {' x '.join(map(str, shape))} cells; the file is damaged")
    return numbers_of(numbers(cells, where), where).reshape(shape)


def _is_number(text: str) -> bool:
    try:
        return bool(text) and bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _first(values: Mapping[str, np.ndarray], names: tuple[str, ...] | list[str]) -> np.ndarray | None:
    return next((values[name] for name in names if name in values), None)


def _pair(values: Mapping[str, np.ndarray], width: str, height: str) -> tuple[float, float] | None:
    if width not in values or height not in values or values[width].size != 1 or values[height].size != 1:
        return None
    return float(values[width].reshape(())), float(values[height].reshape(()))


def _turn(found: np.ndarray | None) -> object:
    return (0.0, 0.0, 0.0) if found is None else found


_shift = _turn  # no place is the origin, as no turn is none
