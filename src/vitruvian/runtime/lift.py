"""From keypoints over time to points in metres, and from our own lifter a first guess of the body."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.model import BodyParameters
from vitruvian.codecs import lift as codec
from vitruvian.codecs.lifting import (
    LIFTED,
    fill_unseen,
    joints_of_coco,
    mirrored,
    normalise_keypoints,
    normalised_camera,
    solve_roots,
)
from vitruvian.codecs.lifting_diffusion import guess_sequence
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.session import Device, Session
from vitruvian.skeletons import COCO_WHOLEBODY_133, by_name
from vitruvian.skeletons.convert import convert
from vitruvian.weights import Card, card_for

RATE = 30.0
"""Frames per second that our own network was trained at; other films are seen at this rate."""
CLIP_RATE = 50.0
"""The same of networks that take clips: Human3.6M's."""
_LONGEST = 3000  # frames that go in at once: bounds memory
_MARGIN = 32  # frames before and after, that the answer of a piece depends on
_LEAST = 4  # joints that are sure in a frame, or nothing is known of it
_BATCH = {"": 1, "lift-frame": 256, "lift-diffusion": 8}


@dataclass(frozen=True, eq=False)
class LiftedTrack:
    """T frames of one person in the camera's frame (x right, y down, z forward), metres.

    points: (T, K, 3) of the 133 keypoints; NaN where nothing is known, and for keypoints that the network doesn't lift. Networks give a
    pose around its root: where that is follows from the keypoints and the camera, by least squares.
    body: pose, shape and translation of the compact body, one shape for all frames, no expression; NaN where nothing is known. None from
    networks that lift points only. known: (T,) whether enough keypoints were seen.
    """

    points: Float[np.ndarray, "t k 3"]
    body: BodyParameters | None
    known: Bool[np.ndarray, " t"]


class Lifter:
    """A lifting network: the 133 keypoints of one person over time -> points in metres.

    | card's codec | network | gives |
    |---|---|---|
    | "" | ours (`vitruvian.systems.pose3d.lift`) | all 133 points and the compact body |
    | lift-frame | HopFIR: one frame's joints, averaged with those of its mirror image | the joints of limbs |
    | lift-diffusion | FinePOSE: clips, the mean of 5 guesses after 2 steps | the same |

    `network` is a card, the id of a network, or the path of an ONNX file. How far away a person is follows from the body's size, which
    the network guesses from the proportions: a child near by and an adult farther away look much alike. `text`: what people do, for
    networks that were exported with texts (the card's `classes`, such as "Walking"); "" tells them nothing.
    Raises WeightsError where the network is missing or no lifter, VitruvianError for a text that it doesn't know.
    """

    def __init__(self, network: Card | str | Path, *, text: str = "", device: Device = "auto", threads: int | None = None) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "lift" or self.card.codec not in _BATCH:
            raise WeightsError(f"{self.card.id!r} does not lift keypoints into space: it is for {self.card.task}. Use another network.")
        self.skeleton, kind = by_name(self.card.skeleton), self.card.codec
        if kind and self.skeleton.name not in LIFTED:
            raise WeightsError(f"{self.card.id!r} lifts {self.skeleton.name}, not {' or '.join(LIFTED)}: use another network.")
        self._text = _number_of(text, self.card)
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=_BATCH[kind])
        count, shape = len(self.skeleton), self.session.input_shape[1:]
        fits = {
            "": shape[-1:] == (3 * count + 1,),
            "lift-frame": shape in ((count, 2), (count, 3)),
            "lift-diffusion": len(shape) == 3 and shape[0] is not None and shape[1:] == (count, 6),
        }
        if not fits[kind]:
            raise WeightsError(f"{self.card.id!r} takes {self.session.input_shape}, not what its card says: export it again.")

    def __call__(
        self,
        keypoints: Float[np.ndarray, "t k 2"],
        confidence: Float[np.ndarray, "t k"],
        times: Float[np.ndarray, " t"],
        intrinsics: Float[np.ndarray, "3 3"],
        size: tuple[int, int],
    ) -> LiftedTrack:
        """Lift one person. keypoints: pixels; times: seconds, increasing; intrinsics: the camera's matrix; size: of the picture, pixels.

        Raises VitruvianError where sizes don't fit, or times don't increase.
        """
        frames, count = confidence.shape
        if count != len(COCO_WHOLEBODY_133) or keypoints.shape != (frames, count, 2) or times.shape != (frames,):
            raise VitruvianError(f"{keypoints.shape} keypoints, {confidence.shape} confidences and {times.shape} times don't fit together")
        if (np.diff(times) <= 0).any():
            raise VitruvianError("times must increase from frame to frame: sort the frames, and leave doubles out")
        keypoints, confidence = keypoints.astype(np.float64), confidence.astype(np.float64)
        if self.card.codec:
            return self._joints(keypoints, confidence, times, np.asarray(intrinsics, np.float64), size)
        return self._bodies(keypoints, confidence, times, np.asarray(intrinsics, np.float64))

    def _joints(self, keypoints: np.ndarray, confidence: np.ndarray, times: np.ndarray, intrinsics: np.ndarray, size: tuple) -> LiftedTrack:
        """By a network that lifts joints of a published set: its pose, put where the camera sees it."""
        joints, sure = joints_of_coco(keypoints, np.nan_to_num(confidence), self.skeleton)
        seen = (sure > codec.SEEN) & np.isfinite(joints).all(-1)
        places = normalise_keypoints(joints, size)
        inputs = fill_unseen(places, seen).astype(np.float32)
        poses = self._poses_of_frames(inputs, sure) if self.card.codec == "lift-frame" else self._poses_of_clips(inputs, times)
        camera = normalised_camera(intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], size)
        points = poses + solve_roots(poses, places, camera, np.where(seen, sure, 0.0))[:, None]
        known = (seen.sum(1) >= _LEAST) & np.isfinite(points).all((1, 2))
        points[~known] = np.nan
        return LiftedTrack(convert(points.astype(np.float32), sure, self.skeleton, COCO_WHOLEBODY_133).keypoints, None, known)

    def _poses_of_frames(self, inputs: Float[np.ndarray, "t j 2"], sure: Float[np.ndarray, "t j"]) -> Float[np.ndarray, "t j 3"]:
        """The poses of single frames, averaged with those of their mirror images; some networks look at the confidence, too."""
        if self.session.input_shape[-1] == 3:
            inputs = np.concatenate((inputs, sure[..., None].astype(np.float32)), -1)
        swap = self.skeleton.swap
        return (self.session.run(inputs)[0] + mirrored(self.session.run(mirrored(inputs, swap))[0], swap)) / 2

    def _poses_of_clips(self, inputs: Float[np.ndarray, "t j 2"], times: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t j 3"]:
        """The mean of a diffusion network's guesses, which sees the film at `CLIP_RATE`."""
        grid = _clock(times, CLIP_RATE)
        clip = _resampled(inputs, times, grid)
        length = self.session.input_shape[1]
        run, times_of_noise = lambda clips: self.session.run(clips)[0], self.card.diffusion_times
        guesses = guess_sequence(run, clip, self.skeleton, length, times_of_noise, text=self._text)
        return _resampled(guesses.mean(0), grid, times)

    def _bodies(self, keypoints: np.ndarray, confidence: np.ndarray, times: np.ndarray, intrinsics: np.ndarray) -> LiftedTrack:
        """By our own network."""
        seen = codec.encode(keypoints, confidence, intrinsics[0, 0], intrinsics[:2, 2])
        grid = _clock(times, RATE)
        # Turns between two frames are in a straight line too: near each other they are, and `_masked` makes them turns again.
        points, turns, shape = (_resampled(array, grid, times) for array in self._run(_resampled(seen.inputs, times, grid)))
        weight = np.where(seen.known[:, None], confidence, 0.0)
        # The face is many points in one place: they would outvote the body.
        weight[:, 23:91] *= 0.1
        pelvis = solve_roots(points.astype(np.float64), seen.rays, codec.PLANE, weight)
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


def _number_of(text: str, card: Card) -> int:
    """A text's number among those of a lifter's card, in any case of letters; 0 for none."""
    wanted, known = text.strip().casefold(), [name.casefold() for name in card.classes]
    if wanted and not known:
        raise VitruvianError(f"{card.id!r} can't be told what people do: leave the text ({text!r}) away")
    if wanted and wanted not in known:
        raise VitruvianError(f"{card.id!r} doesn't know the text {text!r}: take one of {', '.join(card.classes)}, or none")
    return known.index(wanted) + 1 if wanted else 0


def _clock(times: Float[np.ndarray, " t"], rate: float) -> Float[np.ndarray, " g"]:
    """Times of the network's frames. A film of nearly this rate keeps its own frames."""
    if len(times) < 2 or abs(np.median(np.diff(times)) * rate - 1) < 0.1 > np.ptp(np.diff(times)) * rate:
        return times
    return np.arange(times[0], times[-1] + 0.5 / rate, 1 / rate)


def _resampled(
    values: Float[np.ndarray, "t ..."], times: Float[np.ndarray, " t"], grid: Float[np.ndarray, " g"]
) -> Float[np.ndarray, "g ..."]:
    """Values at other times, in straight lines between; float32."""
    if grid is times:
        return values
    if len(times) == 1:
        return np.repeat(values, len(grid), 0)
    after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
    share = np.clip((grid - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return ((1 - share) * values[after - 1] + share * values[after]).astype(np.float32)


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
