"""Points that published programs add to a body's joints: chosen vertices, finger tips, facial landmarks, and their orders.

Vertex numbers and orders are those of the published programs (card `mano` section 4). Functions take arrays or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.arrays import like, namespace
from vitruvian.body.model import Array, BodyModel, BodyOutput
from vitruvian.errors import VitruvianError

Tips = Literal["otaheri", "manopth", "ho3d", "interhand"]

VERTEX_POINT_NAMES = (
    *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    *(f"{side}_{finger}" for side in ("left", "right") for finger in ("thumb", "index", "middle", "ring", "pinky")),
)
"""The 21 vertices that the smplx package appends to the joints of a body; the last ten are the finger tips."""

_SMPL_POINTS = (
    *(332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787),
    *(2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133),
)
_SMPLX_POINTS = (
    *(9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635),
    *(5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022),
)
VERTEX_POINTS: Mapping[str, tuple[int, ...]] = MappingProxyType({"smpl": _SMPL_POINTS, "smplh": _SMPL_POINTS, "smplx": _SMPLX_POINTS})
"""The vertices of VERTEX_POINT_NAMES in each published topology."""

HAND_TIPS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "otaheri": (744, 320, 443, 554, 671),
        "manopth": (745, 317, 444, 556, 673),
        "ho3d": (728, 353, 442, 576, 694),
        "interhand": (745, 317, 444, 556, 673),
    }
)
"""MANO's finger tips (thumb, index, middle, ring, little) as different programs choose them; smplx has none for MANO.

manopth's middle finger of a left hand is 445, see `hand_tips`.
"""

_HAND21_ORDER = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)


def hand_tips(tips: Tips, left: bool = False) -> tuple[int, ...]:
    """MANO's vertices for thumb, index, middle, ring and little tip. Raises VitruvianError for a set that is not in HAND_TIPS."""
    if tips not in HAND_TIPS:
        raise VitruvianError(f"no set of finger tips {tips!r}: choose one of {', '.join(HAND_TIPS)}")
    chosen = HAND_TIPS[tips]
    return (*chosen[:2], 445, *chosen[3:]) if tips == "manopth" and left else chosen


def hand21(model: BodyModel, output: BodyOutput, tips: Tips = "manopth") -> Float[Array, "n 21 3"]:
    """The 21 points of a MANO hand: wrist, then each finger from the palm outwards, thumb, index, middle, ring, little.

    This is the order of `skeletons.HAND_21`, OpenPose and manopth. Raises VitruvianError where the model is not a MANO hand.
    """
    if model.kind != "mano":
        raise VitruvianError(f"{model.name} is not a MANO hand: take its joints by name")
    points = _append_vertices(output, hand_tips(tips, left="left" in model.name))
    return points[:, list(_HAND21_ORDER)]


def published_joints(model: BodyModel, output: BodyOutput, *, landmarks: bool = True, contour: bool = False) -> Float[Array, "n k 3"]:
    """Joints as the smplx package returns them: the skeleton, 21 chosen vertices (bodies), 51 landmarks, 17 of the contour.

    SMPL 45, SMPL+H 73, SMPL-X 76 (127 with landmarks, 144 with the contour), MANO 16, FLAME 5 (56, 73).
    Landmarks are left out of models whose file has none. Raises VitruvianError if the mesh is not the published one.
    """
    points = output.joints
    if model.kind in VERTEX_POINTS:
        points = _append_vertices(output, VERTEX_POINTS[model.kind])
    if landmarks and model.landmarks is not None:
        points = namespace(points).concatenate([points, face_landmarks(model, output, contour=contour)], 1)
    return points


def face_landmarks(model: BodyModel, output: BodyOutput, *, contour: bool = False) -> Float[Array, "n 51 3"] | Float[Array, "n 68 3"]:
    """The 51 landmarks of the inner face, then, with `contour`, the 17 of the jaw line that the head's yaw chooses.

    The contour counts from the image's left to its right; put it first for the order of `skeletons.FACE_68`.
    Raises VitruvianError if the model's file had none.
    """
    table = model.landmarks
    if table is None or (contour and table.contour_faces is None):
        kind = "contour landmarks" if table is not None else "facial landmarks"
        raise VitruvianError(f"the file of {model.name} has no {kind}: import it together with its landmark files")
    corners = output.vertices[:, model.faces[table.faces].astype(np.int64)]  # (n 51 3 3)
    points = (corners * like(table.barycentric, output.vertices)[..., None]).sum(2)
    if not contour:
        return points
    row = contour_row(output.rotations[:, table.yaw_joint])
    xp = namespace(output.vertices)
    faces = model.faces[table.contour_faces].astype(np.int64)  # (79 17 3)
    index = faces[row.detach().cpu().numpy()] if xp is not np else faces[row]
    index = index if xp is np else xp.as_tensor(index, device=output.vertices.device)
    batch = np.arange(len(row))[:, None, None] if xp is np else xp.arange(len(row), device=output.vertices.device)[:, None, None]
    moving = (output.vertices[batch, index] * like(table.contour_barycentric, output.vertices)[row][..., None]).sum(2)
    return xp.concatenate([points, moving], 1)


def contour_row(rotation: Float[Array, "n 3 3"]) -> Int[Array, " n"]:
    """The row of the contour tables for a head's rotation: whole degrees of yaw, 0..39 to one side and 40..78 to the other."""
    xp = namespace(rotation)
    level = xp.sqrt(rotation[:, 0, 0] ** 2 + rotation[:, 1, 0] ** 2)
    degrees = xp.clip(xp.rad2deg(xp.arctan2(rotation[:, 2, 0], level)), None, 39)
    row = xp.round(degrees)
    row = row.astype(np.int64) if xp is np else row.to(xp.int64)
    return xp.where(row < 0, xp.where(row < -39, xp.full_like(row, 78), 39 - row), row)


def larynx_offsets(model: BodyModel, slide: Float[np.ndarray, "n 1"], size: Float[np.ndarray, "n 1"]) -> Float[np.ndarray, "n v 3"]:
    """HACK's larynx: offsets for `forward` from its slide (> 0 up) and its size (1 as in the template). Arrays or tensors.

    The map is sampled bilinearly at (u, v + 2 slide) with its border repeated beyond its edge (card `hack` section 4.4).
    Raises VitruvianError for a model without a larynx.
    """
    if model.larynx is None:
        raise VitruvianError(f"{model.name} has no larynx: only HACK has")
    xp, larynx = namespace(slide), model.larynx
    height, width = larynx.displacement.shape
    uv = like(larynx.uv, slide)
    x = xp.clip((uv[None, :, 0] + 1) / 2 * (width - 1), 0, width - 1) + 0 * slide
    y = xp.clip((uv[None, :, 1] + 2 * slide + 1) / 2 * (height - 1), 0, height - 1)
    left, top = xp.clip(xp.floor(x), 0, max(width - 2, 0)), xp.clip(xp.floor(y), 0, max(height - 2, 0))
    fx, fy = x - left, y - top
    whole = (lambda a: a.astype(np.int64)) if xp is np else (lambda a: a.to(xp.int64))
    columns, rows = whole(left), whole(top)
    image = like(larynx.displacement, slide)
    right, below = xp.clip(columns + 1, 0, width - 1), xp.clip(rows + 1, 0, height - 1)
    upper = image[rows, columns] * (1 - fx) + image[rows, right] * fx
    lower = image[below, columns] * (1 - fx) + image[below, right] * fx
    bump = upper * (1 - fy) + lower * fy
    return (bump * size)[..., None] * like(larynx.direction, slide)


def _append_vertices(output: BodyOutput, vertices: tuple[int, ...]) -> Array:
    """The joints, then these vertices."""
    if max(vertices) >= output.vertices.shape[1]:
        raise VitruvianError(f"vertex {max(vertices)} is not in a mesh of {output.vertices.shape[1]}: it is not the published topology")
    return namespace(output.vertices).concatenate([output.joints, output.vertices[:, list(vertices)]], 1)
