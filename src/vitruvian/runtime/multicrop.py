"""Multi-crop test: look at every person in crops of several sizes, and put together what was found.

Works with every top-down network and codec, because it puts keypoints together and not maps: crops of different sizes have no bins in
common. How to put them together is ours. `PoseEstimator`'s flip test goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.codecs.poses import Poses
from vitruvian.errors import VitruvianError
from vitruvian.runtime.pose import PoseEstimator
from vitruvian.weights import Card

ZOOMS = (0.9, 1.0, 1.15)
"""Sizes of the crops over those that the network was trained with."""
AGREE = 0.1
"""How far apart two crops' findings of one keypoint may be, over the longer side of the box, to be of the same thing."""


@dataclass(frozen=True)
class MultiCrop:
    """A pose estimator that is asked about crops of several sizes: called as the `PoseEstimator` is, as many times as slow.

    Raises VitruvianError without positive sizes, and for an estimator that mimics another program.
    """

    estimator: PoseEstimator
    zooms: tuple[float, ...] = ZOOMS
    agree: float = AGREE

    def __post_init__(self) -> None:
        if not self.zooms or not all(0 < zoom < np.inf for zoom in self.zooms):
            raise VitruvianError(f"crops of the sizes {self.zooms} can't be cut: give positive numbers, such as {ZOOMS}")
        if self.estimator.compat:
            raise VitruvianError("several crops are not what rtmlib does: leave compat away")

    @property
    def card(self) -> Card:
        """The network's."""
        return self.estimator.card

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Float[np.ndarray, "_ 4"]]) -> list[Poses]:
        """Per picture its people, see `PoseEstimator`; scores as `together` has them."""
        places = [np.asarray(some, np.float32).reshape(-1, 4) for some in boxes]
        found = [self.estimator(images, [zoomed(some, zoom) for some in places]) for zoom in self.zooms]
        sides = [np.maximum(some[:, 2:] - some[:, :2], 1).max(axis=1) for some in places]
        return [together(crops, self.agree * side) for crops, side in zip(zip(*found, strict=True), sides, strict=True)]


def zoomed(boxes: Float[np.ndarray, "n 4"], zoom: float) -> Float[np.ndarray, "n 4"]:
    """Boxes (xyxy) made larger around their centres."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (zoom / 2)
    return np.concatenate([centre - half, centre + half], axis=1)


def together(crops: Sequence[Poses], reach: Float[np.ndarray, " n"]) -> Poses:
    """One pose per person out of those from several crops.

    A keypoint is the mean of what was found within `reach` pixels of the surest finding, weighted by score. Its score is the mean over all
    crops, those that disagree or found nothing counting 0; where none found it, it is the first crop's.
    """
    places, scores = np.stack([crop.keypoints for crop in crops]), np.stack([crop.scores for crop in crops])
    best = np.take_along_axis(places, scores.argmax(axis=0)[None, ..., None], axis=0)
    near = np.linalg.norm(places - best, axis=-1) <= reach[None, :, None]
    weights = np.where(near & (scores > 0), scores, 0)
    total = weights.sum(axis=0)
    some = total > 0
    shares = weights / np.where(some, total, 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.where(some[..., None], (shares[..., None] * values).sum(axis=0), values[0]).astype(np.float32)

    known = [crop.points for crop in crops if crop.points is not None]
    return Poses(
        mean(places),
        np.where(some, total / len(crops), scores[0]).astype(np.float32),
        mean(np.stack(known)) if len(known) == len(crops) else None,
    )
