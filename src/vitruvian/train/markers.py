"""Synthetic people with the points of a keypoint set of one's own (`systems.biomechanics.marker_points`) for labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import Store
from vitruvian.systems.biomechanics.marker_labels import marker_crops
from vitruvian.systems.biomechanics.marker_points import MarkerPoints
from vitruvian.train.feed import Synthetic


class Markers(Synthetic):
    """As `Synthetic`, with the keypoints of `points`, whose set is the one that is learnt."""

    def __init__(self, *arguments, points: MarkerPoints, **options):
        super().__init__(*arguments, **options)
        self.points = points

    def draw(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        store = Store.open(self.store, truth=True)
        backdrops = 80 if self.held_out else 600
        studio = Studio.open(store, load_photographs(self.photographs), rng, backdrops, self.held_out)
        for image, keypoints in marker_crops(store, self.points, studio, rng, self.size):
            yield image[None], keypoints
