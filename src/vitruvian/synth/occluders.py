"""Things before people: furniture-like boxes, leaves, railings, and pieces of other places in many outlines."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.synth.fabric import smooth_noise


def _outline(rng: np.random.Generator, size: tuple[int, int], centre: np.ndarray, extent: float) -> UInt8[np.ndarray, "h w"]:
    """A mask of one thing of about `extent` pixels: box, disc, bar, polygon, leaves, railing, or something from the lower edge."""
    mask = np.zeros(size[::-1], np.uint8)
    kind = rng.choice(["box", "disc", "bar", "polygon", "leaves", "railing", "desk"], p=[0.2, 0.12, 0.14, 0.12, 0.12, 0.1, 0.2])
    x, y = (float(v) for v in centre)
    if kind == "box":
        shape = ((x, y), (float(extent * rng.uniform(0.3, 1)), float(extent * rng.uniform(0.3, 1))), float(rng.normal(0, 15)))
        cv2.fillPoly(mask, [cv2.boxPoints(shape).astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == "disc":
        axes = (max(1, int(extent * rng.uniform(0.2, 0.5))), max(1, int(extent * rng.uniform(0.2, 0.5))))
        cv2.ellipse(mask, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == "bar":
        reach = rng.normal(0, 1.5 * extent, 2)
        ends = np.array([centre - reach / 2, centre + reach / 2]).astype(int)
        cv2.line(mask, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 255, max(1, int(extent * rng.uniform(0.02, 0.15))), cv2.LINE_AA)
    elif kind == "polygon":
        points = centre + rng.normal(0, extent * 0.4, (int(rng.integers(3, 8)), 2))
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == "leaves":
        cells = int(rng.integers(8, 40))
        blob = np.zeros(size[::-1], np.uint8)
        cv2.circle(blob, (int(x), int(y)), max(2, int(0.7 * extent)), 255, -1)
        mask = np.where(smooth_noise(rng, size, (cells, cells)) + smooth_noise(rng, size, (4, 4)) > 0.1, blob, 0).astype(np.uint8)
    elif kind == "railing":
        step, thick, top = int(rng.integers(6, 40)), int(rng.integers(1, 5)), int(y)
        mask[top : top + thick + 1] = 255
        for column in range(int(rng.integers(0, step)), size[0], step):
            cv2.line(mask, (column, top), (column, size[1]), 255, thick, cv2.LINE_AA)
    else:
        low = int(np.clip(rng.normal(0.78, 0.12), 0.4, 0.98) * size[1])
        slope = rng.normal(0, 0.12) * size[0]
        edge = sorted(rng.uniform(-0.3, 1.3, 2) * size[0]) if rng.random() < 0.5 else [-10, size[0] + 10]
        corners = [[edge[0], low], [edge[1], low + slope], [edge[1], size[1] + 9], [edge[0], size[1] + 9]]
        cv2.fillPoly(mask, [np.array(corners).astype(np.int32)], 255, cv2.LINE_AA)
    return mask


def occlude(
    rng: np.random.Generator,
    canvas: UInt8[np.ndarray, "h w 3"],
    matter: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "133 2"] | None,
) -> UInt8[np.ndarray, "h w"]:
    """Lay one thing over the canvas, in place, made of `matter` (a picture of the same size) or of one colour; returns its mask.

    It lies at a hand, at any keypoint, or anywhere.
    """
    height, width = canvas.shape[:2]
    if points is not None and rng.random() < 0.6:
        centre = points[rng.choice([9, 10, int(rng.integers(0, 17))])] + rng.normal(0, 10, 2)
    else:
        centre = rng.uniform(0, [width, height])
    mask = _outline(rng, (width, height), centre, np.exp(rng.uniform(np.log(0.05), np.log(0.6))) * height)
    if rng.random() < 0.4:
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 3))
    if rng.random() < 0.5:
        shade = 1 + 0.2 * smooth_noise(rng, (width, height), (4, 4))[..., None]
        matter = np.clip(rng.uniform(5, 235) * (1 + rng.normal(0, 0.2, 3)) * shade, 0, 255).astype(np.uint8)
    three = cv2.merge([mask] * 3)
    canvas[:] = cv2.add(cv2.multiply(canvas, 255 - three, scale=1 / 255), cv2.multiply(matter, three, scale=1 / 255))
    return mask
