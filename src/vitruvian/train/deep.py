"""Samples with depth, for RTMW3D (card rtmw.md section 6.3): keypoints (K, 5), to x, y and weight of `feed` the depth and its weight.

Depth is in metres behind the hips. Turning a picture does not change it; a mirror exchanges left and right points with their depths, which
the published training forgot. People who are labelled in two dimensions teach as well: their depth has no weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch.utils.data import IterableDataset, get_worker_info

from vitruvian.data.augment import change_looks
from vitruvian.data.crops import cut
from vitruvian.data.pictures import Picture
from vitruvian.media.pictures import read_image
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.scene import Crop, Studio, compose_crop
from vitruvian.synth.store import Store
from vitruvian.train.feed import Annotated, Samples, Synthetic

HIPS = [COCO_WHOLEBODY_133.index("left_hip"), COCO_WHOLEBODY_133.index("right_hip")]

Sample = tuple[UInt8[np.ndarray, "1 h w 3"], Float[np.ndarray, "k 5"]]


class Flat(IterableDataset):
    """Samples in two dimensions, among others with depth."""

    def __init__(self, samples: Samples):
        self.samples, self.late = samples, samples.late

    def __iter__(self) -> Iterator[Sample]:
        for frames, keypoints in self.samples:
            yield frames, np.pad(keypoints, ((0, 0), (0, 2))).astype(np.float32)


class AnnotatedDeep(Annotated):
    """People of data sets, still pictures, with the depths that these know (H3WB)."""

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, worker))
        for image, keypoints in self.draw(rng, worker, workers):
            inside = ((keypoints[:, :2] > -0.5) & (keypoints[:, :2] < np.array(self.size) - 0.5)).all(axis=1)
            keypoints[:, [2, 4]] *= inside[:, None]
            yield change_looks(image, self.augmentation.at(bool(self.late)).looks, rng), keypoints

    def cut(self, picture: Picture, rng: np.random.Generator) -> Iterator[Sample]:
        """Everybody in a picture."""
        geometry = self.augmentation.at(bool(self.late)).geometry
        crops = cut(read_image(picture.file), picture.people, self.skeleton, self.size, geometry, rng)
        known = np.isfinite(crops.depths)
        table = np.concatenate([crops.keypoints, np.nan_to_num(crops.depths)[..., None], known[..., None]], axis=-1).astype(np.float32)
        yield from zip(crops.images[:, None], table, strict=True)


class Deep(Synthetic):
    """People of `vitruvian.synth` with the depth of their 133 keypoints."""

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, info.id if info else 0))
        store = with_depth(Store.open(self.store, truth=True))
        studio = Studio.open(store, load_photographs(self.photographs), rng, 80 if self.held_out else 600, self.held_out)
        while True:
            crop = compose_crop(rng, studio, self.size)
            looks = self.augmentation.at(bool(self.late)).looks
            yield change_looks(crop.image[None], looks, rng), keypoints_of(crop, self.size)


def with_depth(store: Store) -> Store:
    """A store, opened with its truth, whose keypoints have a fourth column: metres behind the middle of the hips."""
    depth = store.truth["points"][:, :, 2]
    behind = depth - depth[:, HIPS].mean(axis=1, keepdims=True)
    return replace(store, keypoints=np.concatenate([store.keypoints, behind[..., None]], axis=2).astype(np.float32), truth={})


def keypoints_of(crop: Crop, size: tuple[int, int]) -> Float[np.ndarray, "k 5"]:
    """The keypoints of a crop of `size` (width, height) from a store `with_depth`; those outside have no weight."""
    points, known = crop.points, crop.figure.keypoints[:, 2:]
    inside = ((points > -0.5) & (points < np.array(size) - 0.5)).all(axis=1) & (known[:, 0] > 0)
    return np.column_stack([points, inside, known[:, 1], inside]).astype(np.float32)
