"""AP on CrowdPose: as COCO's, and by how crowded the pictures are (Li et al., CVPR 2019, arXiv 1812.00324).

Every picture has a crowd index in [0, 1]: how much of other people's keypoints lie in each person's box. Easy pictures have less than 0.1,
hard ones more than 0.8, the others are medium. From memory of the published evaluation [mem]: the limits themselves count as medium; areas
are 0.53 of the box (`vitruvian.data.crowdpose` gives those); there are no ranges of areas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision
from vitruvian.skeletons import CROWDPOSE_14

LIMITS = (0.1, 0.8)
"""Crowd index below which a picture is easy, and above which it is hard."""
_NAMES = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")


def crowdpose_average_precision(
    truth: TruePoses, found: FoundPoses, crowding: Mapping[int, float], sigmas: Float[np.ndarray, " k"] | None = None
) -> dict[str, float]:
    """AP, AP50, AP75, AR, AR50, AR75, and AP of easy, medium and hard pictures ("AP_easy", ...), in [0, 1]; -1 where nobody is to be found.

    crowding: crowd index of each picture by its number in `truth.image` and `found.image`. sigmas None: CrowdPose's.
    Raises VitruvianError where a picture has no crowd index, or as `average_precision`.
    """
    sigmas = CROWDPOSE_14.sigmas if sigmas is None else sigmas
    table = average_precision(truth, found, sigmas)
    result = {name: table[name] for name in _NAMES}
    of_truth, of_found = (_levels(image, crowding) for image in (truth.image, found.image))
    for number, level in enumerate(("easy", "medium", "hard")):
        some = average_precision(_poses(truth, of_truth == number), _poses(found, of_found == number), sigmas)
        result[f"AP_{level}"] = some["AP"]
    return result


def _levels(image: np.ndarray, crowding: Mapping[int, float]) -> np.ndarray:
    """0, 1 or 2 for every row: easy, medium, hard."""
    try:
        index = np.array([crowding[number] for number in image.tolist()], np.float64)
    except KeyError as error:
        raise VitruvianError(f"picture {error} has no crowd index: read CrowdPose's own annotations") from None
    if np.isnan(index).any():
        raise VitruvianError("a picture's crowd index is NaN: read CrowdPose's own annotations")
    return np.where(index < LIMITS[0], 0, np.where(index > LIMITS[1], 2, 1))


def _poses(poses: TruePoses | FoundPoses, rows: Bool[np.ndarray, " n"]) -> TruePoses | FoundPoses:
    return replace(poses, **{name: values[rows] for name, values in vars(poses).items()})
