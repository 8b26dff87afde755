"""People in space from several calibrated pictures: what cameras see, heat maps brought into a box of bins, and the 3D network over it.

The pieces of VoxelPose (Tu et al., ECCV 2020, arXiv 2004.06239) that SelfPose3d stands on; card selfpose3d.md, sections 4 to 6. Lengths in
metres, x_cam = R (x - centre), OpenCV's axes in the camera's frame and its model of distortion (k1, k2, p1, p2, k3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitruvian.codecs.crop import BoxTransform
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera

_FAR = 1e10  # squared slopes are cut here, so that points beside a camera don't overflow
_OUTSIDE = 1.1  # places of a map beyond its border are cut here, -1 and 1 being the border


class Views(NamedTuple):
    """The cameras of b scenes, v each. `size` is (width, height) of the original pictures in pixels.

    `affine` maps original pixels to those of the network's input, of width `width`; `flipped` says which inputs are mirrored after that.
    """

    rotation: Float[Tensor, "b v 3 3"]
    centre: Float[Tensor, "b v 3"]
    focal: Float[Tensor, "b v 2"]
    principal: Float[Tensor, "b v 2"]
    radial: Float[Tensor, "b v 3"]
    tangential: Float[Tensor, "b v 2"]
    size: Float[Tensor, "b v 2"]
    affine: Float[Tensor, "b v 2 3"]
    flipped: Bool[Tensor, "b v"]

    def rows(self, index: Int[Tensor, " m"] | slice) -> Views:
        """Some of the scenes."""
        return Views(*(x[index] for x in self))

    def with_affine(self, affine: Float[Tensor, "b v 2 3"]) -> Views:
        """The same cameras with other network inputs."""
        return self._replace(affine=affine)


def whole_picture(size: tuple[int, int], input_size: tuple[int, int]) -> Float[np.ndarray, "2 3"]:
    """Original pixels -> pixels of an input that holds the whole picture in its middle; both sizes (width, height)."""
    return BoxTransform.from_boxes(np.array([[0.0, 0.0, *size]]), input_size, padding=1.0).matrices[0]


def views_of(cameras: Sequence[Camera], input_size: tuple[int, int]) -> Views:
    """One scene of calibrated cameras, whose whole pictures are the network's input.

    Raises VitruvianError for a camera whose picture size isn't known, or with a lens beyond k1, k2, p1, p2, k3.
    """
    for camera in cameras:
        if camera.fisheye or np.any(camera.distortion[5:]):
            raise VitruvianError(
                f"camera {camera.name!r}: a lens beyond k1 k2 p1 p2 k3 isn't known to this network; undistort its pictures first"
            )
        if min(camera.size) < 1:
            raise VitruvianError(f"camera {camera.name!r}: the size of its pictures isn't known; add it to the calibration")
    v = len(cameras)
    lens = np.zeros((v, 5))
    for row, camera in zip(lens, cameras, strict=True):
        row[: min(len(camera.distortion), 5)] = camera.distortion[:5]
    rows = lambda values, *shape: np.array(list(values), np.float64).reshape(v, *shape)  # noqa: E731
    parts = (
        rows((c.R_cam_world for c in cameras), 3, 3),
        rows((c.centre_world for c in cameras), 3),
        rows((np.diag(c.intrinsics)[:2] for c in cameras), 2),
        rows((c.intrinsics[:2, 2] for c in cameras), 2),
        lens[:, (0, 1, 4)],
        lens[:, 2:4],
        rows((c.size for c in cameras), 2),
        rows((whole_picture(c.size, input_size) for c in cameras), 2, 3),
    )
    return Views(*(torch.from_numpy(x).float()[None] for x in parts), torch.zeros(1, v, dtype=torch.bool))


def project(points: Float[Tensor, "b n 3"], views: Views) -> Float[Tensor, "b v n 2"]:
    """Where the cameras see world points: original pixels. A point behind a camera is seen where its ray through the centre goes."""
    local = (points[:, None] - views.centre[:, :, None]) @ views.rotation.transpose(-1, -2)
    slope = local[..., :2] / (local[..., 2:] + 1e-8)
    r2 = slope.square().sum(-1, keepdim=True).clamp(max=_FAR)
    k, p = views.radial[:, :, None], views.tangential[:, :, None]
    radial = 1 + (k * torch.cat((r2, r2.square(), r2**3), -1)).sum(-1, keepdim=True)
    tangential = (p.flip(-1) * slope).sum(-1, keepdim=True)  # p1 y + p2 x
    slope = slope * (radial + 2 * tangential) + p.flip(-1) * r2
    return views.focal[:, :, None] * slope + views.principal[:, :, None]


def to_input(pixels: Float[Tensor, "b v n 2"], views: Views, width: int) -> Float[Tensor, "b v n 2"]:
    """Original pixels -> pixels of the network's input. Mirrored inputs are mirrored at width / 2, half a pixel off (as published)."""
    out = pixels @ views.affine[..., :2].transpose(-1, -2) + views.affine[:, :, None, :, 2]
    mirrored = torch.cat((width - out[..., :1], out[..., 1:]), -1)
    return torch.where(views.flipped[..., None, None], mirrored, out)


@dataclass(frozen=True)
class Space:
    """A box of bins: its `size` and `centre` in metres, and the number of `bins` along x, y, z. The outermost bins lie on its faces."""

    size: tuple[float, float, float]
    centre: tuple[float, float, float]
    bins: tuple[int, int, int]

    def __post_init__(self) -> None:
        if min(self.size) <= 0 or min(self.bins) < 4 or any(n % 4 for n in self.bins):
            raise ValueError(f"a space has positive sides, and bins in multiples of 4 along each: change {self}")

    def points(self) -> Float[Tensor, "n 3"]:
        """Where the bins are, x slowest and z fastest."""
        axes = (torch.linspace(-s / 2, s / 2, n) + c for s, c, n in zip(self.size, self.centre, self.bins, strict=True))
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)

    def place(self, index: Int[Tensor, "*n"]) -> Float[Tensor, "*n 3"]:
        """Where the bins of a flat index are."""
        _, y, z = self.bins
        cells = torch.stack((index // (y * z), index // z % y, index % z), -1).to(torch.get_default_dtype())
        size, centre, bins = (cells.new_tensor(x) for x in (self.size, self.centre, self.bins))
        return cells / (bins - 1) * size + centre - size / 2

    @classmethod
    def from_cameras(cls, cameras: Sequence[Camera], up: int = 2, height: float = 2.2, margin: float = 1.0, bin_size: float = 0.1) -> Space:
        """A box around where the cameras look: the points of nearest approach of pairs of optical axes, grown by `margin` [proposed].

        World axis `up` (z: 2) starts at the floor, 0. Raises VitruvianError for fewer than two cameras, or ones that look the same way.
        """
        axes = [(camera.centre_world, camera.R_cam_world[2]) for camera in cameras]
        nearest = []
        for (start_a, ray_a), (start_b, ray_b) in combinations(axes, 2):
            cosine = ray_a @ ray_b
            system = np.array([[1, -cosine], [cosine, -1]])
            if abs(np.linalg.det(system)) > 1e-3:
                s, t = np.linalg.solve(system, np.array([ray_a, ray_b]) @ (start_b - start_a))
                if s > 0 and t > 0:
                    nearest += [start_a + s * ray_a, start_b + t * ray_b]
        if not nearest:
            raise VitruvianError("no two cameras look at one place: check the calibration, or give the space yourself")
        low, high = np.min(nearest, 0) - margin, np.max(nearest, 0) + margin
        low[up], high[up] = 0.0, height
        size = high - low
        bins = (max(4, 4 * round(float(s) / bin_size / 4)) for s in size)
        return cls(tuple(map(float, size)), tuple(map(float, (low + high) / 2)), tuple(bins))


class Sampling(NamedTuple):
    """Where points of space lie in heat maps (-1 to 1), and which cameras have them in their pictures. Fixed while cameras are: keep it."""

    grid: Float[Tensor, "b v n 2"]
    inside: Bool[Tensor, "b v n"]


def sampling(
    points: Float[Tensor, "b n 3"], views: Views, input_size: tuple[int, int], cells: tuple[int, int], published: bool = False
) -> Sampling:
    """Look up `points` in heat maps of `cells` (width, height) of inputs of `input_size`.

    `published`: points behind a camera count as seen where they would be projected to, a slip that only cameras within the space notice.
    """
    pixels = project(points, views)
    size = views.size[:, :, None]
    inside = ((pixels >= 0) & (pixels < size)).all(-1)
    if not published:
        inside = inside & (((points[:, None] - views.centre[:, :, None]) * views.rotation[:, :, None, 2]).sum(-1) > 0)
    pixels = torch.minimum(pixels.clamp(min=-1.0), size.amax(-1, keepdim=True))
    to_cells = pixels.new_tensor([c / s for c, s in zip(cells, input_size, strict=True)])
    last = pixels.new_tensor([c - 1 for c in cells])
    grid = to_input(pixels, views, input_size[0]) * to_cells / last * 2 - 1
    return Sampling(grid.clamp(-_OUTSIDE, _OUTSIDE), inside)


def unproject(heatmaps: Float[Tensor, "b v k h w"], where: Sampling) -> Float[Tensor, "b k n"]:
    """What the heat maps say of each point: the mean over the cameras that have it in their picture, from 0 to 1."""
    b, v, k = heatmaps.shape[:3]
    grid = where.grid.flatten(0, 1)[:, None]
    found = F.grid_sample(heatmaps.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    mask = where.inside[:, :, None].to(found.dtype)
    return ((found.view(b, v, k, grid.shape[2]) * mask).sum(1) / (mask.sum(1) + 1e-6)).clamp(0, 1)


def suppress(volume: Float[Tensor, "b x y z"]) -> Float[Tensor, "b x y z"]:
    """Bins that are no maximum of their 27 neighbours become 0; equal neighbours both stay."""
    return volume * (F.max_pool3d(volume[:, None], 3, 1, 1)[:, 0] == volume)


def soft_argmax(logits: Float[Tensor, "b k n"], points: Float[Tensor, "b n 3"], sharpness: float) -> Float[Tensor, "b k 3"]:
    """The mean of `points`, weighted by the softmax of sharpened logits."""
    return (sharpness * logits).softmax(-1) @ points


def _conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """A convolution with bias and its normalisation, as small at the start as published."""
    layer = nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return [layer, nn.BatchNorm3d(outputs)]


class ConvBlock3d(nn.Module):
    """A 7^3 convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.block = nn.Sequential(*_conv(inputs, outputs, 7), nn.ReLU())

    def forward(self, x: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x y z"]:
        return self.block(x)


class Residual3d(nn.Module):
    """Two 3^3 convolutions and the input added, through a 1^3 convolution where the channels differ."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.res_branch = nn.Sequential(*_conv(inputs, outputs, 3), nn.ReLU(), *_conv(outputs, outputs, 3))
        self.skip_con = nn.Sequential(*([] if inputs == outputs else _conv(inputs, outputs, 1)))

    def forward(self, x: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x y z"]:
        return F.relu(self.res_branch(x) + self.skip_con(x))


class Upsample3d(nn.Module):
    """A 2^3 transposed convolution of stride 2, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        layer = nn.ConvTranspose3d(inputs, outputs, 2, 2)
        nn.init.normal_(layer.weight, std=0.001)
        nn.init.zeros_(layer.bias)
        self.block = nn.Sequential(layer, nn.BatchNorm3d(outputs), nn.ReLU())

    def forward(self, x: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x2 y2 z2"]:
        return self.block(x)


class EncoderDecoder3d(nn.Module):
    """Down twice and up again, with the finer maps added on the way up."""

    def __init__(self, widths: tuple[int, int, int]):
        super().__init__()
        a, b, c = widths
        self.encoder_res1, self.encoder_res2 = Residual3d(a, b), Residual3d(b, c)
        self.mid_res, self.decoder_res2 = Residual3d(c, c), Residual3d(c, c)
        self.decoder_upsample2, self.decoder_res1 = Upsample3d(c, b), Residual3d(b, b)
        self.decoder_upsample1 = Upsample3d(b, a)
        self.skip_res1, self.skip_res2 = Residual3d(a, a), Residual3d(b, b)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        fine = self.skip_res1(x)
        x = self.encoder_res1(F.max_pool3d(x, 2))
        middle = self.skip_res2(x)
        x = self.decoder_res2(self.mid_res(self.encoder_res2(F.max_pool3d(x, 2))))
        x = self.decoder_res1(self.decoder_upsample2(x) + middle)
        return self.decoder_upsample1(x) + fine


class V2V(nn.Module):
    """Voxels to voxels (Moon et al. 2018, arXiv 1711.07399): a cube of `inputs` channels -> one of `outputs`; sides in multiples of 4."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, int, int, int] = (16, 32, 64, 128)):
        super().__init__()
        self.front_layers = nn.Sequential(ConvBlock3d(inputs, widths[0]), Residual3d(widths[0], widths[1]))
        self.encoder_decoder = EncoderDecoder3d(widths[1:])
        self.output_layer = nn.Conv3d(widths[1], outputs, 1)
        nn.init.normal_(self.output_layer.weight, std=0.001)
        nn.init.zeros_(self.output_layer.bias)

    def forward(self, cube: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x y z"]:
        return self.output_layer(self.encoder_decoder(self.front_layers(cube)))
