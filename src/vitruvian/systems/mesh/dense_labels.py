"""Dense correspondence for DaNet and PyMAF-X from synthetic people: the planes of their surface -> DensePose's parts, and places on them.

`synth` tells of a pixel the segment of the body and the place on a reference body (`synth.scene.PoseSample.surface`). DensePose's own
charts of its 24 parts belong to data that may not be shared, so charts are ours: a segment is cut in two along its middle (front and back
of trunk, arms and legs; palm and back of the hand; top and sole of the foot; the head left and right), and each half is seen from its own
side: u and v say where, between the edges of what is seen. Hands and feet, which are one part each, have both halves one above the other
along v. So networks that learn from these give the published numbers of parts, but mean other places by u and v than published files do.
Which of two numbers is the front is from memory of DensePose's pictures [mem]; the neck counts as head [ours].
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyModel
from vitruvian.body.names import PART_NAMES
from vitruvian.errors import VitruvianError
from vitruvian.nn.iuv import UNTOLD, IUVLabels
from vitruvian.synth.classes import SEGMENTS
from vitruvian.synth.person import PLACES

_X, _Y, _Z = range(3)  # of the compact body: to its left, up, to the front
# Of each segment: the axis along which it is cut in two, and the parts of the half farther along it and of the other.
_CUTS = {
    **dict.fromkeys(("hips", "chest"), (_Z, 2, 1)),
    **dict.fromkeys(("neck", "head"), (_X, 24, 23)),
    **{"left_upper_arm": (_Z, 17, 15), "left_forearm": (_Z, 21, 19), "left_hand": (_Z, 4, 4)},
    **{"right_upper_arm": (_Z, 18, 16), "right_forearm": (_Z, 22, 20), "right_hand": (_Z, 3, 3)},
    **{"left_thigh": (_Z, 10, 8), "left_shin": (_Z, 14, 12), "left_foot": (_Y, 5, 5)},
    **{"right_thigh": (_Z, 9, 7), "right_shin": (_Z, 13, 11), "right_foot": (_Y, 6, 6)},
}
_BESIDE = ((_Z, _Y), (_X, _Z), (_X, _Y))  # the axes of u and v, by the axis of the cut
# Of the compact body's joints, those of arms and legs that its names of parts (`vertex_parts`) don't tell.
_LIMBS = {"hip": "thigh", "thigh": "thigh", "knee": "shin", "shin": "shin", "shoulder": "upper_arm", "upper_arm": "upper_arm"}
_LIMBS |= {"elbow": "forearm", "forearm": "forearm"}


class _Charts(NamedTuple):
    """A row per segment: the axis of its cut and those of u and v; where it is cut, as a plane over these; parts of the halves (0: the half
    farther along the axis); lower edges and extents of the halves along u and v, in metres."""

    axis: Int[Tensor, " s"]
    beside: Int[Tensor, "s 2"]
    plane: Float[Tensor, "s 3"]
    part: Int[Tensor, "s 2"]
    low: Float[Tensor, "s 2 2"]
    extent: Float[Tensor, "s 2 2"]


def dense_labels(surface: UInt8[Tensor, "b 4 h w"], size: tuple[int, int]) -> IUVLabels:
    """Surfaces as `synth.scene.PoseSample` has them -> labels of maps of `size` (height, width), by the nearest pixel.

    Pixels where something hides the person (whose segment is none) are `nn.iuv.UNTOLD`. Raises VitruvianError for other planes than the
    four of a surface.
    """
    if surface.ndim != 4 or surface.shape[1] != 4 or surface.dtype != torch.uint8:
        raise VitruvianError(f"a surface is four planes (b, 4, h, w) of bytes, not {surface.dtype} {tuple(surface.shape)}: see PoseSample")
    rows, columns = ((torch.arange(n, device=surface.device) + 0.5) * (m / n) for n, m in zip(size, surface.shape[2:], strict=True))
    surface = surface[:, :, rows.long()[:, None], columns.long()]
    charts = _Charts(*(x.to(surface.device) for x in _charts()))
    segment = surface[:, 0].long()
    told = segment < len(SEGMENTS)
    segment = torch.where(told, segment, 0)
    low, high = torch.as_tensor(PLACES, dtype=torch.float32, device=surface.device).T
    x, y, z = (low + surface[:, 1:].permute(0, 2, 3, 1) / 255 * (high - low)).unbind(-1)
    place = torch.stack((x, z, -y), -1)  # the reference body's z is up, and it looks along -y
    depth = place.gather(-1, charts.axis[segment][..., None])[..., 0]
    beside = place.gather(-1, charts.beside[segment])
    plane = charts.plane[segment]
    half = (depth < plane[..., 0] + (plane[..., 1:] * beside).sum(-1)).long()
    u, v = ((beside - charts.low[segment, half]) / charts.extent[segment, half]).clamp(0, 1).unbind(-1)
    parts = charts.part[segment]
    v = torch.where(parts[..., 0] == parts[..., 1], (v + half) / 2, v)
    part = torch.where(told, parts.gather(-1, half[..., None])[..., 0], UNTOLD)
    shown = part > 0
    return IUVLabels(part, u * shown, v * shown)


@cache
def _charts() -> _Charts:
    """The charts, measured on the compact body at rest: synth's reference body, give or take 7 mm on average (24 at most)."""
    body = load_compact()
    count, regions = len(SEGMENTS), _regions(body)
    axis, plane, part = np.zeros(count, int), np.zeros((count, 3)), np.zeros((count, 2), int)
    low, extent = np.zeros((count, 2, 2)), np.ones((count, 2, 2))
    for name, (along, *parts) in _CUTS.items():
        segment = SEGMENTS.index(name)
        points = body.template[regions == _region(name)].astype(np.float64)
        beside = points[:, _BESIDE[along]]
        over = np.column_stack([np.ones(len(points)), beside])
        axis[segment], part[segment] = along, parts
        plane[segment] = np.linalg.lstsq(over, points[:, along], rcond=None)[0]
        behind = points[:, along] < over @ plane[segment]
        for half, rows in enumerate((~behind, behind)):
            low[segment, half], extent[segment, half] = beside[rows].min(0), np.ptp(beside[rows], axis=0)
    tables = (axis, np.array(_BESIDE)[axis], plane.astype(np.float32), part, low.astype(np.float32), extent.astype(np.float32))
    return _Charts(*map(torch.as_tensor, tables))


def _region(segment: str) -> str:
    """What a segment is charted with: trunk and head are one each."""
    return {"hips": "trunk", "chest": "trunk", "neck": "head"}.get(segment, segment)


def _regions(body: BodyModel) -> np.ndarray:
    """The region of each vertex of the compact body."""
    names = np.array(["trunk" if name == "body" else name for name in PART_NAMES], dtype="<U16")[body.vertex_parts]
    joints = np.array(body.joint_names)[body.weights.argmax(1)]
    for side in ("left", "right"):
        for joint, limb in _LIMBS.items():
            names[joints == f"{side}_{joint}"] = f"{side}_{limb}"
    return names
