"""Training samples: from an annotated picture to person crops with their keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.codecs.crop import warp_crops
from vitruvian.data.augment import Geometry, placements
from vitruvian.data.pictures import Labels
from vitruvian.skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class Crops:
    """N crops of one size. images: (N, height, width, 3) RGB. keypoints: (N, K, 3): x, y in crop pixels and weight, 1 where annotated.

    depths: (N, K) metres behind the middle of the hips, NaN where not known.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    keypoints: Float[np.ndarray, "n k 3"]
    depths: Float[np.ndarray, "n k"]

    def __len__(self) -> int:
        """The number of crops N."""
        return len(self.images)


def cut(
    image: UInt8[np.ndarray, "h w 3"],
    people: Labels,
    skeleton: Skeleton,
    size: tuple[int, int],
    geometry: Geometry | None = None,
    rng: np.random.Generator | None = None,
) -> Crops:
    """Everybody in `people` cut out to `size` (width, height), each moved about by `geometry` (None: not at all).

    Crowds and people without an annotated point are left out. Points outside a crop keep their weight: the codec drops them.
    """
    people = people[~people.crowd & (people.visible > 0).any(axis=1)]
    rng = rng or np.random.default_rng(0)
    matrices, mirrored = placements(people.boxes, people.keypoints, people.visible > 0, size, skeleton, geometry or Geometry.still(), rng)
    points = np.nan_to_num(people.keypoints.astype(np.float64))
    points = np.einsum("nij,nkj->nki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
    seen = (people.visible > 0).astype(np.float64)
    keypoints = np.concatenate([points * seen[..., None], seen[..., None]], axis=-1).astype(np.float32)
    # Turning a picture changes no depth; a mirror exchanges left and right points with theirs.
    swap, depths = np.asarray(skeleton.swap), people.depths.copy()
    keypoints[mirrored], depths[mirrored] = keypoints[mirrored][:, swap], depths[mirrored][:, swap]
    return Crops(warp_crops(image, matrices, size), keypoints, depths)
