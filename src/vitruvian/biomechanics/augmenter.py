"""OpenCap's marker augmenter: 43 anatomical markers from 20 video keypoints, by two LSTMs (Uhlrich, Falisse et al., PLoS Comput Biol 2023).

    markers = augment(points, names, times, height=1.75, mass=70, lower=card_or_path, upper=card_or_path)

Video keypoints of joints leave the turn of segments open; networks trained on 108 hours of motion capture guess markers that do not. Two
files: legs and trunk (15 keypoints, 35 markers) and arms (7 keypoints, 8 markers). Fed are, at 60 frames per second, positions in
OpenSim's frame (y up, metres) less mid hip, over height; then height (m) and mass (kg); less a mean, over a deviation. Out come
marker positions less mid hip, over height.

What the project's card does not say is from memory of opencap-core [mem] and checked only by geometry: the order of both lists of
names (tested: every marker lies where anatomy has it), and 60 Hz. Sizes of inputs and outputs, means and deviations are the files' own.
Code and weights: Apache-2.0; training data: several motion capture collections, see OpenCap's paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.biomechanics.segments import both_sides, named_points
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.formats.trc import Trc
from vitruvian.weights.card import Card

RATE = 60.0
LONGEST_GAP = 0.2
"""Seconds; longer gaps of a keypoint leave the markers of that time missing."""


LOWER_KEYPOINTS = ("neck", *both_sides("shoulder", "hip", "knee", "ankle", "heel", "small_toe", "big_toe"))
UPPER_KEYPOINTS = ("neck", *both_sides("shoulder", "elbow", "wrist"))
LOWER_MARKERS = (
    *("r.ASIS_study", "L.ASIS_study", "r.PSIS_study", "L.PSIS_study"),
    *("r_knee_study", "r_mknee_study", "r_ankle_study", "r_mankle_study", "r_toe_study", "r_5meta_study", "r_calc_study"),
    *("L_knee_study", "L_mknee_study", "L_ankle_study", "L_mankle_study", "L_toe_study", "L_calc_study", "L_5meta_study"),
    *("r_shoulder_study", "L_shoulder_study", "C7_study"),
    *(f"{side}_{segment}{n}_study" for segment in ("thigh", "sh") for side in ("r", "L") for n in (1, 2, 3)),
    *("RHJC_study", "LHJC_study"),
)
UPPER_MARKERS = tuple(f"{side}_{point}_study" for side in ("r", "L") for point in ("lelbow", "melbow", "lwrist", "mwrist"))


def augment(
    points: Float[np.ndarray, "f k 3"],
    names: Sequence[str],
    times: Float[np.ndarray, " f"],
    height: float,
    mass: float,
    lower: Card | str | Path,
    upper: Card | str | Path | None = None,
    threads: int | None = None,
) -> Trc:
    """The 43 markers (35 without `upper`) over time at 60 frames per second, metres.

    points: y up, metres, NaN where missing, of a set with COCO's body and feet. height (m) and mass (kg): of the person. lower, upper:
    a card with mean and std, or the path of an ONNX file with `.mean.npy` and `.std.npy` beside it. Where a keypoint is missing for
    longer than `LONGEST_GAP` seconds the markers are NaN; each stretch between is one sequence. No frames are valid.
    Raises VitruvianError where keypoints lack or height and mass are none of a person, WeightsError for unsuitable files.
    """
    if not (0.4 < height < 2.6 and 2 < mass < 500):
        raise VitruvianError(f"{height} m and {mass} kg are no height and mass of a person; give metres and kilograms")
    times = np.asarray(times, np.float64)
    p = named_points(points, names)
    parts = [(lower, LOWER_KEYPOINTS, LOWER_MARKERS), (upper, UPPER_KEYPOINTS, UPPER_MARKERS)][: 1 if upper is None else 2]
    lacking = sorted({name for _, keypoints, _ in parts for name in keypoints} - _known(p))
    if lacking:
        raise VitruvianError(f"the augmenter needs {', '.join(lacking)}; use keypoints with feet, such as halpe-26 or coco-wholebody-133")
    grid = times[0] + np.arange(int(np.floor((times[-1] - times[0]) * RATE + 1e-6)) + 1) / RATE if len(times) else np.zeros(0)
    root = _at(times, p["mid_hip"][:, None], grid)
    markers = []
    for network, keypoints, wanted in parts:
        inputs = _at(times, np.stack([p[name] for name in keypoints], 1), grid) - root
        markers.append(root + height * _run(network, inputs / height, (height, mass), len(wanted), threads))
    labels = tuple(marker for _, _, wanted in parts for marker in wanted)
    return Trc(labels, grid, np.concatenate(markers, 1), RATE)


def _known(p: dict[str, np.ndarray]) -> set[str]:
    return set(p) if "mid_hip" in p else set()


def _at(times: np.ndarray, points: Float[np.ndarray, "f m 3"], grid: np.ndarray) -> Float[np.ndarray, "g m 3"]:
    """Points at other times, cubic, gaps filled up to `LONGEST_GAP`, NaN elsewhere."""
    from scipy.interpolate import PchipInterpolator

    from vitruvian.people.filters import runs

    out = np.full((len(grid), *points.shape[1:]), np.nan)
    for frames, columns, there in runs(times, np.isfinite(points).all(-1), LONGEST_GAP):
        at = times[frames][there]
        rows = np.flatnonzero((grid >= at[0] - 1e-9) & (grid <= at[-1] + 1e-9))
        values = points[frames][there][:, columns]
        whole = PchipInterpolator(at, values, axis=0)(grid[rows]) if len(at) > 1 else np.repeat(values, len(rows), 0)
        out[np.ix_(rows, columns)] = whole
    return out


def _run(
    network: Card | str | Path, inputs: Float[np.ndarray, "g m 3"], person: tuple[float, float], markers: int, threads: int | None
) -> Float[np.ndarray, "g n 3"]:
    """One network on every stretch in which all its keypoints are there; NaN elsewhere."""
    from vitruvian.runtime.session import Session

    path, mean, std = _statistics(network)
    width = inputs.shape[1] * 3 + 2
    if mean.shape != (width,) or std.shape != (width,):
        raise WeightsError(f"{path} has means of {mean.shape}, where {width} inputs are fed; give the augmenter v0.3 with its own means")
    session = Session(path, device="cpu", threads=threads)
    features = np.concatenate([inputs.reshape(len(inputs), width - 2), np.broadcast_to(person, (len(inputs), 2))], 1)
    out = np.full((len(inputs), markers, 3), np.nan)
    edges = np.flatnonzero(np.diff(np.r_[False, np.isfinite(features).all(1), False].astype(np.int8)))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        (found,) = session.run(((features[first:stop] - mean) / std).astype(np.float32)[None])
        if found.shape != (1, stop - first, 3 * markers):
            raise WeightsError(f"{path} returns {found.shape}, not {3 * markers} numbers per frame; give the augmenter v0.3")
        out[first:stop] = found[0].reshape(-1, markers, 3)
    return out


def _statistics(network: Card | str | Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """The file, and mean and deviation of its inputs, from the card or from the .npy files beside it."""
    if isinstance(network, Card):
        if network.task != "augmenter":
            raise WeightsError(f"{network.id!r} is a network for {network.task}, no marker augmenter; choose another")
        return Path(network.file), np.array(network.mean), np.array(network.std)
    from vitruvian._npy import read_npy

    path = Path(network)
    mean, std = (read_npy(path.with_suffix(f".{name}.npy")) for name in ("mean", "std"))
    return path, np.asarray(mean, np.float64), np.asarray(std, np.float64)
