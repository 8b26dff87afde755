"""From keypoints over time to points in metres and a first guess of the body."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.model import BodyParameters
from vitruvian.codecs import lift as codec
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.session import Device, Session
from vitruvian.skeletons import by_name
from vitruvian.weights import Card, card_for

RATE = 30.0
"""Frames per second that the network was trained at; other films are seen at this rate."""
_LONGEST = 3000  # frames that go in at once: bounds memory
_MARGIN = 32  # frames before and after, that the answer of a piece depends on


@dataclass(frozen=True, eq=False)
class LiftedTrack:
    """T frames of one person in the camera's frame (x right, y down, z forward), metres.

    points: (T, K, 3) keypoints. body: pose, shape and translation of the compact body, one shape for all frames, no expression.
    known: (T,) whether enough keypoints were seen; points and body are NaN elsewhere.
    """

    points: Float[np.ndarray, "t k 3"]
    body: BodyParameters
    known: Bool[np.ndarray, " t"]


class Lifter:
    """A lifting network (`vitruvian.systems.pose3d.lift`): keypoints of one person over time -> points and the compact body in metres.

    `network` is a card, the id of a network, or the path of an ONNX file. How far away a person is follows from the body's size, which
    the network guesses from the proportions: a child near by and an adult farther away look much alike.
    Raises WeightsError where it is missing or no lifter.
    """

    def __init__(self, network: Card | str | Path, *, device: Device = "auto", threads: int | None = None) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "lift":
            raise WeightsError(f"{self.card.id!r} does not lift keypoints into space: it is for {self.card.task}. Use another network.")
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=1)
        if self.session.input_shape[-1] != 3 * len(by_name(self.card.skeleton)) + 1:
            raise WeightsError(f"{self.card.id!r} takes {self.session.input_shape}, not our lifter's input: run it through its own system.")

    def __call__(
        self,
        keypoints: Float[np.ndarray, "t k 2"],
        confidence: Float[np.ndarray, "t k"],
        times: Float[np.ndarray, " t"],
        focal: float,
        centre: Float[np.ndarray, " 2"],
    ) -> LiftedTrack:
        """Lift one person. keypoints: pixels; times: seconds, increasing; focal, centre: of the camera, pixels.

        Raises VitruvianError where sizes don't fit, or times don't increase.
        """
        frames, count = confidence.shape
        if keypoints.shape != (frames, count, 2) or times.shape != (frames,) or (np.diff(times) <= 0).any():
            raise VitruvianError(f"{keypoints.shape} keypoints, {confidence.shape} confidences and {times.shape} times don't fit together")
        seen = codec.encode(keypoints.astype(np.float64), confidence.astype(np.float64), focal, np.asarray(centre, np.float64))
        grid, there = _clock(times)
        points, turns, shape = self._run(_resampled(seen.inputs, times, grid))
        points, turns, shape = points[there], turns[there].astype(np.float64), shape[there]
        weight = np.where(seen.known[:, None], confidence.astype(np.float64), 0.0)
        # The face is many points in one place: they would outvote the body.
        weight[:, 23:91] *= 0.1
        pelvis = codec.place(points.astype(np.float64), seen.rays, weight)
        known = seen.known & np.isfinite(pelvis).all(1) & (np.nan_to_num(pelvis[:, 2]) > 0)
        points = (points + pelvis[:, None]) @ seen.turn.swapaxes(1, 2)
        turns[:, 0] = seen.turn @ turns[:, 0]
        return LiftedTrack(*_masked(points, turns, shape, (seen.turn @ pelvis[..., None])[..., 0], known), known)

    def _run(self, inputs: Float[np.ndarray, "t i"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, turns and shape of every frame; long films in pieces that overlap."""
        parts = []
        for start in range(0, len(inputs), _LONGEST):
            before = min(start, _MARGIN)
            piece = inputs[start - before : start + _LONGEST + _MARGIN]
            answer = self.session.run(piece[None])
            parts.append([array[0, before : before + _LONGEST] for array in answer])
        if not parts:
            parts = [[array[0] for array in self.session.run(np.zeros((1, 1, inputs.shape[1]), np.float32))]]
            return tuple(array[:0] for array in parts[0])
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _clock(times: Float[np.ndarray, " t"]) -> tuple[Float[np.ndarray, " g"], np.ndarray]:
    """Times of the network's frames, and for each time the nearest of them. A film of nearly RATE keeps its own frames."""
    if len(times) < 2 or abs(np.median(np.diff(times)) * RATE - 1) < 0.1 > np.ptp(np.diff(times)) * RATE:
        return times, np.arange(len(times))
    grid = np.arange(times[0], times[-1] + 0.5 / RATE, 1 / RATE)
    return grid, np.clip(np.round((times - times[0]) * RATE).astype(int), 0, len(grid) - 1)


def _resampled(inputs: Float[np.ndarray, "t i"], times: Float[np.ndarray, " t"], grid: Float[np.ndarray, " g"]) -> Float[np.ndarray, "g i"]:
    """Inputs at other times, in straight lines between."""
    if grid is times:
        return inputs
    after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
    share = np.clip((grid - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)[:, None]
    return ((1 - share) * inputs[after - 1] + share * inputs[after]).astype(np.float32)


def _masked(
    points: np.ndarray, turns: np.ndarray, shape: np.ndarray, pelvis: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, BodyParameters]:
    """Points and parameters with NaN where nothing is known; one shape for all frames."""
    from scipy.spatial.transform import Rotation

    pose = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(*turns.shape[:2], 3)
    one = np.median(shape[known], axis=0) if known.any() else np.zeros(shape.shape[1:])
    parts = [points, pose, np.tile(one, (len(known), 1)), np.zeros((len(known), 0)), pelvis]
    parts = [np.array(part, np.float32) for part in parts]
    for part in parts:
        part[~known] = np.nan
    return parts[0], BodyParameters(*parts[1:])
