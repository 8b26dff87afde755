"""Labels of any keypoint set for the synthetic people of a store: their bodies posed anew, points of the surface projected.

    points = read_points("my_markers.toml")
    labels = marker_labels(Store.open("people", truth=True), points)      # (n, K, 3) in pixels of the label images

As published, a point counts where it lies inside the picture, seen or not (card opencapbench.md, section 4); the 17 joints keep what
`synth` says of them. The store's bodies are the compact body's parameters, which are off Anny's own vertices by a millimetre or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vitruvian.body.compact import load_compact
from vitruvian.body.model import subset
from vitruvian.errors import FormatError
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.camera import NEAREST
from vitruvian.synth.scene import Studio, pose_crop
from vitruvian.synth.store import SIZE, Store
from vitruvian.systems.biomechanics.marker_points import MarkerPoints

_BATCH = 256  # bodies that are posed at a time


def marker_labels(store: Store, points: MarkerPoints) -> Float[np.ndarray, "n k 3"]:
    """x, y in pixels of the label images, and 2 (1: known to be hidden) inside the picture, 0 outside.

    Raises FormatError where the store was opened without its labels in three dimensions, or has none.
    """
    if "pose" not in store.truth:
        raise FormatError("this store has no bodies in space: open it with truth=True, or draw it again with `vitruvian synth`")
    used, truth, parts = points.used_vertices, store.truth, []
    model = subset(load_compact(), used)
    numbered = np.searchsorted(used, np.where(points.weights != 0, points.vertices, used.min(initial=0)))
    corners = points.weights.shape[1] if len(used) else 0  # of keypoints alone nothing is posed
    places = replace(points, vertices=numbered[:, :corners], weights=points.weights[:, :corners])
    for start in range(0, len(store), _BATCH):
        rows = slice(start, start + _BATCH)
        body = model.forward(*(truth[name][rows].astype(np.float32) for name in ("pose", "shape", "expression", "translation")))
        spots = places(body.vertices)
        parts.append(np.concatenate([project(spots, truth["camera"][rows]), spots[..., 2:]], -1))
    found = np.concatenate(parts) if parts else np.zeros((0, len(points.keypoint), 3))
    pixels, depth = found[..., :2], found[..., 2]
    inside = (pixels >= -0.5).all(-1) & (pixels < np.array(SIZE) - 0.5).all(-1) & (depth >= NEAREST)
    labels = np.concatenate([pixels, 2.0 * inside[..., None]], -1).astype(np.float32)
    copied = points.keypoint >= 0
    labels[:, copied] = store.keypoints[:, points.keypoint[copied]]
    return labels


def project(points: Float[np.ndarray, "n k 3"], camera: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n k 2"]:
    """Points in the camera's frame to pixels of a label image, with its lens (`person.Truth.camera`, `camera.View.project`)."""
    scale, shift, bend = camera[:, None, :1], camera[:, None, 1:3], camera[:, None, 3:]
    image = points[..., :2] / np.maximum(points[..., 2:], NEAREST)
    limit = np.where(bend != 0, 1 / (3.2 * np.maximum(np.abs(bend), 1e-12)), np.inf)  # as in View: beyond it the lens would fold back
    square = np.minimum((image**2).sum(-1, keepdims=True), limit)
    return image * (1 + bend * square) * scale + shift


def marker_crops(
    store: Store, points: MarkerPoints, studio: Studio, rng: np.random.Generator, size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, Float[np.ndarray, "k 3"]]]:
    """Training crops without end: RGB uint8 of `size` (width, height), and x, y (crop pixels), weight. studio: opened on the store."""
    count = store.keypoints.shape[1]  # those of COCO-WholeBody go along: things are laid over hands
    labelled = replace(store, keypoints=np.concatenate([store.keypoints, marker_labels(store, points)], 1), truth={})
    swap = np.r_[COCO_WHOLEBODY_133.swap, count + np.array(points.skeleton.swap)]
    own = replace(studio, store=labelled, swap=swap)
    while True:
        crop = pose_crop(rng, own, size)
        yield crop.image, crop.keypoints[count:]
