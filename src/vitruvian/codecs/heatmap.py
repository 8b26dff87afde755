"""Heat maps: a keypoint as a bump in a small picture of its crop.

| rule | target, centred | place | map cell to crop pixel |
|---|---|---|---|
| argmax | at the nearest cell, cut at 3 sigma | the highest cell | * crop / map |
| quarter | same | a quarter of a cell towards the higher neighbour on each axis | same |
| dark | at the place itself, over the whole map | a Newton step on the logarithm of the blurred map | same |
| udp | at the place itself, cut at 3 sigma | as dark, with derivatives over one cell | * (crop - 1) / (map - 1) |

Sources: SimpleBaselines (arXiv 1804.06208) for the quarter cell, DARK (arXiv 1910.06278), UDP (arXiv 1911.07524), cards rmpg.md section 4.6
and opencapbench.md section 4. From memory of the published toolkits [mem]: the blur's size, the logarithm's limits, what happens within two
cells of the border. UDP maps belong to UDP crops (`codecs.crop`, unbiased).

A score is the map's maximum before any blur, and raw. A keypoint without score (<= 0) lies at cell -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from vitruvian.codecs.simcc import dark_kernel

Rule = Literal["argmax", "quarter", "dark", "udp"]

MAX_STEP = 3.0
"""A longer refinement, in cells, is no refinement but a saddle in a noisy map, and is left out (ours: published code goes anywhere)."""


@dataclass(frozen=True)
class Heatmap:
    """The codec of one network: crop `size` and map size `cells`, both (width, height); `sigma` of the targets in cells.

    `kernel` is the side of the blur before DARK's and UDP's step; None takes 11 for sigma 2 and 17 for sigma 3. The blur sees zeros around
    the map, which pulls keypoints within half a kernel of the border. `peer` "rtmlib" is what that program does with UDP maps: it blurs the
    map as if mirrored at its border, and takes the crop for a plain one, so that a cell is size / (cells - 1) pixels.
    """

    size: tuple[int, int]
    cells: tuple[int, int]
    rule: Rule = "quarter"
    sigma: float = 2.0
    kernel: int | None = None
    peer: Literal["", "rtmlib"] = ""

    @property
    def stride(self) -> Float32[np.ndarray, " 2"]:
        """Crop pixels per cell, along x and y."""
        less = 1 if self.rule == "udp" else 0
        size, cells = np.asarray(self.size) - (0 if self.peer else less), np.asarray(self.cells) - less
        return (size / np.maximum(cells, 1)).astype(np.float32)

    def encode(
        self, keypoints: Float[np.ndarray, "n k 2"], visible: Float[np.ndarray, "n k"]
    ) -> tuple[Float32[np.ndarray, "n k h w"], Float32[np.ndarray, "n k"]]:
        """Training targets of `keypoints` (crop pixels): Gaussians of height 1, and the weight of each keypoint.

        `visible` under 0.5 gives an empty map (the weight stays `visible`); a keypoint whose 3-sigma window misses the map gets an empty
        map and weight 0.
        """
        places = np.asarray(keypoints, np.float64) / self.stride
        nearest = np.floor(places + 0.5)
        window, cells = 3 * self.sigma, np.asarray(self.cells)
        outside = ((nearest - window >= cells) | (nearest + window + 1 < 0)).any(axis=-1)
        labelled = np.asarray(visible) >= 0.5
        weights = np.where(labelled & outside, 0.0, visible).astype(np.float32)
        centers = places if self.rule in ("dark", "udp") else nearest
        along_x, along_y = (
            self._line(centers[..., axis], nearest[..., axis], cells[axis], np.inf if self.rule == "dark" else window) for axis in (0, 1)
        )
        along_y *= (labelled & ~outside)[..., None]
        return along_y[..., :, None] * along_x[..., None, :], weights

    def decode(self, maps: Float[np.ndarray, "n k h w"]) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
        """Network outputs -> keypoints in crop pixels and raw scores."""
        n, k, h, w = maps.shape
        maps = np.ascontiguousarray(maps, np.float32)
        flat = maps.reshape(n, k, h * w)
        best = flat.argmax(axis=-1)
        scores = np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]
        y, x = np.divmod(best, w)
        places = np.stack([x, y], axis=-1).astype(np.float32)
        if n * k:
            places += self._refinement(maps.reshape(n * k, h, w), x.reshape(-1), y.reshape(-1)).reshape(n, k, 2)
        places[~(scores > 0)] = -1.0  # written so that a NaN counts as no keypoint too
        return places * self.stride, scores

    def _line(self, centers: np.ndarray, nearest: np.ndarray, cells: int, window: float) -> Float32[np.ndarray, "n k cells"]:
        """Un-normalised Gaussians along one axis, zero farther than `window` from the nearest cell."""
        cell = np.arange(cells)
        values = np.exp(-((cell - centers[..., None]) ** 2) / (2 * self.sigma**2))
        return np.where(np.abs(cell - nearest[..., None]) <= window, values, 0.0).astype(np.float32)

    def _refinement(
        self, maps: Float32[np.ndarray, "m h w"], x: Int[np.ndarray, " m"], y: Int[np.ndarray, " m"]
    ) -> Float32[np.ndarray, "m 2"]:
        """What each keypoint's highest cell is moved by, in cells."""
        if self.rule == "argmax":
            return np.zeros((len(maps), 2), np.float32)
        if self.rule == "quarter":
            return quarter(maps, x, y)
        blurred, gain = blur(maps, self.kernel or dark_kernel(self.sigma), mirror=bool(self.peer))
        low, high, reach = (1e-10, np.inf, 2) if self.rule == "dark" else (1e-3, 50.0, 1)

        def log_at(dx: int, dy: int) -> np.ndarray:
            rows, h, w = np.arange(len(maps)), *maps.shape[1:]
            values = blurred[rows, np.clip(y + dy, 0, h - 1), np.clip(x + dx, 0, w - 1)]
            return np.log(np.clip(values * gain, low, high))  # only here: logarithms of whole maps would take half of the time

        inside = (np.minimum(x, maps.shape[2] - 1 - x) >= reach) & (np.minimum(y, maps.shape[1] - 1 - y) >= reach)
        step = newton(log_at, reach) * (inside | (self.rule == "udp"))[:, None]
        return step if self.peer else step * (np.abs(step) <= MAX_STEP).all(axis=1, keepdims=True)


def flip_average_maps(
    maps: Float[np.ndarray, "n k h w"], mirrored: Float[np.ndarray, "n k h w"], swap: Sequence[int], shift: bool
) -> Float[np.ndarray, "n k h w"]:
    """Flip test: mean of the maps of a crop and of its mirror image.

    `swap` names, for each keypoint, its partner on the other side. `shift` moves the mirrored maps by one cell to the right, which undoes
    the misalignment of the plain crop rule (rmpg.md section 4.6); UDP has none and needs no shift.
    """
    other = mirrored[:, np.asarray(swap), :, ::-1]
    if shift:
        other = np.concatenate([other[..., :1], other[..., :-1]], axis=-1)
    return (maps + other) * 0.5


def quarter(maps: Float32[np.ndarray, "m h w"], x: Int[np.ndarray, " m"], y: Int[np.ndarray, " m"]) -> Float32[np.ndarray, "m 2"]:
    """A quarter of a cell towards the higher neighbour on each axis; nothing where they are equal or the cell is at the border."""
    m, h, w = maps.shape
    row = np.arange(m)
    right, left = maps[row, y, np.minimum(x + 1, w - 1)], maps[row, y, np.maximum(x - 1, 0)]
    down, up = maps[row, np.minimum(y + 1, h - 1), x], maps[row, np.maximum(y - 1, 0), x]
    inside = np.stack([(x > 0) & (x < w - 1), (y > 0) & (y < h - 1)], axis=-1)
    return (0.25 * np.sign(np.stack([right - left, down - up], axis=-1)) * inside).astype(np.float32)


def blur(
    maps: Float32[np.ndarray, "m h w"], kernel: int, mirror: bool = False
) -> tuple[Float32[np.ndarray, "m h w"], Float32[np.ndarray, " m"]]:
    """Each map blurred by a Gaussian of `kernel` cells, and what would scale it back to its old maximum; `mirror`: see `Heatmap`."""
    import cv2

    m, h, w = maps.shape
    rim = kernel // 2
    # The rims keep the maps apart, so that one call does for all of them, one above the other.
    sides = ((0, 0), (rim, rim), (rim, rim))
    stack = np.pad(maps, sides, mode="reflect" if mirror else "constant")
    out = cv2.GaussianBlur(stack.reshape(m * (h + 2 * rim), w + 2 * rim), (kernel, kernel), 0, borderType=cv2.BORDER_CONSTANT)
    out = out.reshape(stack.shape)[:, rim : rim + h, rim : rim + w]
    highest = out.max(axis=(1, 2))
    return out, maps.max(axis=(1, 2)) / np.where(highest > 0, highest, 1)


def newton(log_at: Callable[[int, int], Float32[np.ndarray, " m"]], reach: Literal[1, 2]) -> Float32[np.ndarray, "m 2"]:
    """The step from a cell to the peak of the parabola through the logarithms around it: `log_at(dx, dy)` gives those of all maps.

    Second derivatives are taken over `reach` cells: 2 in DARK, 1 in UDP.
    """
    here, left, right, up, down = log_at(0, 0), log_at(-1, 0), log_at(1, 0), log_at(0, -1), log_at(0, 1)
    slope_x, slope_y = (right - left) * 0.5, (down - up) * 0.5
    if reach == 2:
        xx, yy = (log_at(2, 0) - 2 * here + log_at(-2, 0)) * 0.25, (log_at(0, 2) - 2 * here + log_at(0, -2)) * 0.25
        xy = (log_at(1, 1) - log_at(-1, 1) - log_at(1, -1) + log_at(-1, -1)) * 0.25
    else:
        xx, yy = right - 2 * here + left, down - 2 * here + up
        xy = (log_at(1, 1) - right - down + 2 * here - left - up + log_at(-1, -1)) * 0.5
    determinant = xx * yy - xy * xy
    solvable = np.abs(determinant) > 1e-12
    determinant = np.where(solvable, -determinant, 1)
    step = np.stack([yy * slope_x - xy * slope_y, xx * slope_y - xy * slope_x], axis=-1)
    return (step / determinant[:, None] * solvable[:, None]).astype(np.float32)
