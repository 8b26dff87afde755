"""CrowdPose's levels: each is the AP of its own pictures."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision
from vitruvian.metrics.crowdpose import crowdpose_average_precision
from vitruvian.skeletons import CROWDPOSE_14


def scene(pictures=12, seed=0):
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(pictures), 3)
    n = len(image)
    keypoints = rng.uniform(0, 200, (n, 14, 2))
    no = np.zeros(n, bool)
    truth = TruePoses(image, keypoints, np.ones((n, 14), bool), np.tile([0.0, 0, 200, 200], (n, 1)), np.full(n, 2e4), no, no)
    return truth, FoundPoses(image, keypoints + rng.normal(size=(n, 14, 2)) * image[:, None, None], rng.random(n))


def test_levels_are_the_ap_of_their_pictures():
    truth, found = scene()
    index = [0.0, 0.05, 0.0999, 0.1, 0.3, 0.5, 0.79, 0.8, 0.801, 0.9, 0.95, 1.0]
    table = crowdpose_average_precision(truth, found, dict(enumerate(index)))
    assert table["AP"] == average_precision(truth, found, CROWDPOSE_14.sigmas)["AP"]
    for level, pictures in {"easy": range(3), "medium": range(3, 8), "hard": range(8, 12)}.items():
        rows = np.isin(truth.image, pictures)
        some = TruePoses(*(getattr(truth, name)[rows] for name in vars(truth)))
        found_there = FoundPoses(found.image[rows], found.keypoints[rows], found.scores[rows])
        assert table[f"AP_{level}"] == average_precision(some, found_there, CROWDPOSE_14.sigmas)["AP"]
    assert table["AP_easy"] > table["AP_medium"] > table["AP_hard"]


def test_a_level_without_pictures_has_no_ap():
    truth, found = scene(2)
    assert crowdpose_average_precision(truth, found, {0: 0.0, 1: 0.5})["AP_hard"] == -1


@pytest.mark.parametrize("crowding", [{0: 0.1}, {0: 0.1, 1: float("nan")}])
def test_every_picture_needs_its_index(crowding):
    truth, found = scene(2)
    with pytest.raises(VitruvianError, match="crowd index"):
        crowdpose_average_precision(truth, found, crowding)
