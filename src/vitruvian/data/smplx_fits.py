"""What AGORA, ARCTIC and EgoBody have in common: SMPL-X poses under smplify-x's names, rigid transforms, lenses, and a check of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.model import HandSpace
from vitruvian.data.bodies import BodyPicture, numbers
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera

BLOCKS = (
    *(("global_orient", 1), ("body_pose", 21), ("jaw_pose", 1), ("leye_pose", 1), ("reye_pose", 1)),
    *(("left_hand_pose", 15), ("right_hand_pose", 15)),
)
"""Names in the files and how many joints each turns, in the order of a complete pose."""
PELVIS: Mapping[str, tuple[float, float, float]] = {"smpl": (0.0, -0.23, 0.0), "smplx": (0.0, -0.36, 0.0)}
"""Where the pelvis of an unposed adult is, to a few centimetres [mem]: enough to notice other axes or units, not to pose anybody."""
HANDS_REMEDY = "give hands=model.hands of an SMPL-X model, or hands={} to leave the fingers as in the mean hand"

Hands = Mapping[str, HandSpace]


@dataclass(frozen=True, eq=False)
class LensPicture(BodyPicture):
    """A picture through a lens that bends lines: `camera` is its matrix, `distortion` OpenCV's 0, 4, 5 or 8 numbers."""

    distortion: Float[np.ndarray, " d"] = field(default_factory=lambda: np.zeros(0))

    @property
    def lens(self) -> Camera:
        """The camera in its own axes, with the distortion: `geometry.camera.project(picture.lens, points)` gives pixels."""
        return Camera(self.camera, distortion=self.distortion, size=self.size)


def entry(table: object, names: str | Sequence[str], what: str) -> object:
    """The first of these entries that a table has. Raises FormatError where it has none, or is no table."""
    names = (names,) if isinstance(names, str) else names
    if not isinstance(table, dict):
        raise FormatError(f"{what} is not the table that was expected; get the file again")
    for name in names:
        if name in table:
            return table[name]
    raise FormatError(f"{what} has no {names[0]!r}; it is another file than expected, or get it again")


def rows_of(table: object, names: str | Sequence[str], rows: int, size: int, what: str) -> Float[np.ndarray, "n s"]:
    """An entry as (rows, size) finite numbers, however its axes are cut (size -1: any). Raises FormatError."""
    value = entry(table, names, what)
    label = f"{what}: {names if isinstance(names, str) else names[0]}"
    try:
        flat = np.asarray(value, np.float64)
        flat = flat.reshape(rows, flat.size // rows if rows else max(size, 0))
    except (TypeError, ValueError) as error:
        raise FormatError(f"{label} is not {rows} rows of numbers; get the file again") from error
    return numbers(flat, (rows, size), label)


def smplx_pose(table: object, rows: int, what: str, hands: Hands | None = None) -> Float[np.ndarray, "n 55 3"]:
    """Complete SMPL-X poses (rotation vectors, radians) from a table with the entries of `BLOCKS`, a row per frame.

    Hands of fewer than 45 numbers are coefficients of `hands` ("left_hand", "right_hand"); an empty `hands` makes them zero. Whether they
    count from the mean hand is for the caller to know. Raises FormatError for other sizes, VitruvianError where `hands` is needed.
    """
    parts = []
    for name, joints in BLOCKS:
        is_hand = name.endswith("hand_pose")
        value = rows_of(table, name, rows, -1 if is_hand else 3 * joints, what)
        if is_hand and rows and value.shape[1] < 3 * joints:
            value = _opened(value, name.removesuffix("_pose"), what, hands)
        parts.append(numbers(value if rows else np.zeros((0, 3 * joints)), (rows, 3 * joints), f"{what}: {name}"))
    return np.concatenate(parts, 1).reshape(rows, 55, 3)


def _opened(values: np.ndarray, block: str, what: str, hands: Hands | None) -> np.ndarray:
    """Rotation vectors of a hand from the first principal components."""
    if hands is None:
        raise VitruvianError(f"{what} has {values.shape[1]} principal components for a hand, not joints: {HANDS_REMEDY}")
    if block not in hands:
        return np.zeros((len(values), 45))
    return values @ np.asarray(hands[block].components, np.float64)[: values.shape[1]]


def rigid(value: object, what: str) -> Float[np.ndarray, "4 4"]:
    """A rotation and a translation as a homogeneous matrix. Raises FormatError where it scales, shears, mirrors, or is no matrix."""
    matrix = numbers(value, (4, 4), what)
    turn = matrix[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-2 or np.linalg.det(turn) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-4):
        raise FormatError(f"{what} is no rigid motion (columns must be mapped as R x + t); get the file again")
    return matrix


def pelvis(kind: str, translation: Float[np.ndarray, "n 3"], rotation: np.ndarray, shift: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """About where pelvises are in the camera, metres: they stay where they are when the body turns. rotation (3, 3), or one per person."""
    points = np.asarray(translation) + PELVIS[kind]
    return np.einsum("...ij,...j->...i", rotation, points) + shift


def far_off(
    points_cam: Float[np.ndarray, "n 3"], camera: Float[np.ndarray, "3 3"], pixels: Float[np.ndarray, "n 2"], limit: float = 0.3
) -> Bool[np.ndarray, " n"]:
    """Which points are behind the camera, or more than `limit` metres (at their depth) from where they should be seen."""
    depth = points_cam[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = points_cam[:, :2] / depth[:, None] * camera[[0, 1], [0, 1]] + camera[:2, 2]
        metres = np.linalg.norm((seen - pixels) / camera[[0, 1], [0, 1]], axis=1) * depth
    return ~((depth > 0) & (metres <= limit))
