"""OpenCapBench: joint angles from any 2D keypoints and calibrated cameras (Gozlan et al., WACV 2025, arXiv 2406.09788).

Idea: pixel errors say little about what a movement scientist uses. So keypoints of several cameras become markers in space, a
musculoskeletal model is moved by them, and its joint angles are compared with those that a marker laboratory measured. Sparse keypoints
leave the turn of segments open (pelvis, thigh, foot); dense anatomical ones (SynthPose's) do not.

| step (card opencapbench.md, section 5) | here |
|---|---|
| 3 person choice, 4 filter, 6 undistortion, 7 triangulation, 8 gaps, 9 resampling, 10 axes | `published_steps` |
| the same, corrected | `corrected_markers` |
| 12 scaling, 13 inverse kinematics | `opensim_tools`, `converged` |
| 14 angles, 15 errors | `angle_errors` |
| the whole of one trial, of many | `run_trial`, `run_benchmark` |
| the data set's folder | `opencap_folder` |

Two modes, named in every result:

| | published | corrected |
|---|---|---|
| clocks of the cameras | taken as equal, also in length | true timestamps; shifts found from the motion (`geometry.synchronise`) |
| person | the largest sure one, then the nearest box | the track that is asked for, or the longest |
| low-pass | 30 Hz on pixels: none at 60 frames per second | 12 Hz (the published gait setting) on points in space |
| triangulation | homogeneous, all cameras | robust: cameras that are far off, and points that make a limb too long, do not count |
| missing points | markers at the world's origin | NaN, which do not count; gaps up to 0.2 s are filled |
| resampling | linear, continued beyond the last frame | cubic, inside what was seen |
| inverse kinematics | OpenSim's solver at 1e-5, which stops early | to the minimum (`converged`) |
| checks of names, gaps, units, axes | none | `trial_checks` |
| time shift | int() of the mean, rows by index | rounded, rows by time |

Deviations: the published program detects people with its own networks; here keypoints come from takes or OpenPose files. Scaling here
needs a static trial (markers, or views of it); the benchmark's default is a model scaled by motion capture, which is given as the trial's
model and keeps its own markers where it has them. Not reproduced: how the published models were "adjusted", and the data set's
evaluation (registration at SimTK), which was not at hand.
Licences: code MIT (much of it from opencap-core, Apache-2.0); models LaiUhlrich2022 Apache-2.0; SynthPose weights tagged Apache-2.0,
trained in part on data with non-commercial terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import Mot, read_mot
from vitruvian.formats.trc import Trc, rate_of
from vitruvian.geometry.camera import Camera
from vitruvian.systems.biomechanics import published_steps as steps
from vitruvian.systems.biomechanics.angle_errors import AngleErrors, Mode, angle_errors
from vitruvian.systems.biomechanics.isolated import run_isolated
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES, PUBLISHED_SPARSE_WEIGHTS, SYNTHPOSE, MarkerSet, reduced
from vitruvian.systems.biomechanics.trial_checks import MarkerGapError, read_trial
from vitruvian.take import Take

if TYPE_CHECKING:
    from opensim import Model


@dataclass(frozen=True)
class Config:
    """How markers are made. cutoff: hertz. longest_gap: seconds that are filled. synchronise: look for shifts between the cameras' clocks.

    outlier: pixels by which a camera may be off and still count. rate: frames per second of the markers.
    """

    mode: Mode
    cutoff: float
    longest_gap: float = 0.2
    synchronise: bool = False
    outlier: float = 20.0
    rate: float = steps.RATE


VARIANTS: Mapping[str, Config] = MappingProxyType(
    {
        "published": Config("published", cutoff=steps.CUTOFF),
        "corrected": Config("corrected", cutoff=12.0, synchronise=True),
    }
)


@dataclass(frozen=True, eq=False)
class View:
    """What one camera saw of one person: pixels (f, m, 2), NaN where missing, and confidence (f, m) of m markers, at times (f,) seconds."""

    camera: Camera
    times: Float[np.ndarray, " f"]
    keypoints: Float[np.ndarray, "f m 2"]
    confidence: Float[np.ndarray, "f m"]


@dataclass(frozen=True, eq=False)
class Markers:
    """Markers in OpenSim's frame, and how they came about.

    filled: share of the marker positions that were filled in. missing: share that is missing (or at the origin, where published).
    error: root mean square distance to the keypoints in pixels; NaN where unknown. offsets: seconds added to each camera's clock.
    """

    trial: Trc
    mode: Mode
    filled: float
    missing: float
    error: float
    offsets: tuple[float, ...]


def marker_set_of(names: Sequence[str]) -> MarkerSet:
    """SynthPose's 33 markers where the names have them, else the joint centres."""
    return SYNTHPOSE if len(set(names) & SYNTHPOSE.places.keys()) >= 20 else JOINT_CENTRES


def view_of(take: Take, camera: Camera, markers: Sequence[str], mode: Mode = "corrected", person: int | None = None) -> View:
    """One camera's take as the named markers; neck and mid hip are means of both sides (with the lower confidence) where they lack.

    person: the track id; None follows the published rule, or takes the track that is seen longest (without any ids: the published rule
    where several people are in a frame). Raises VitruvianError for markers that
    the take's keypoints do not have, or a track that is not there.
    """
    frames, names = len(take.times), take.skeleton.names
    rows = _rows(take, mode, person)
    keypoints = np.full((frames, len(names), 2), np.nan)
    confidence = np.zeros((frames, len(names)))
    keypoints[rows >= 0], confidence[rows >= 0] = take.keypoints[rows[rows >= 0]], take.confidence[rows[rows >= 0]]
    confidence[~np.isfinite(keypoints).all(-1)] = 0
    parts = [_marker(names, marker, keypoints, confidence) for marker in markers]
    return View(camera, take.times, *(np.stack(values, 1) for values in zip(*parts, strict=True)))


def _rows(take: Take, mode: Mode, person: int | None) -> Int[np.ndarray, " f"]:
    """The person's row in each frame, -1 for none."""
    rows = np.full(len(take.times), -1)
    alone = len(np.unique(take.people.frame)) == len(take.people)
    if person is None and (mode == "published" or not (alone or len(take.tracks))):
        people = list(take.by_frame())
        size = tuple(int(side) for side in take.sizes.max(0, initial=0)) if take.sizes.any() else (720, 1280)
        chosen = steps.choose_person([p.keypoints for p in people], [p.confidence for p in people], size)
        for frame, one in enumerate(chosen):
            rows[frame] = np.flatnonzero(take.people.frame == frame)[one] if one >= 0 else -1
        return rows
    counts = [(int((take.people.track == track).sum()), -int(track)) for track in take.tracks]
    track = person if person is not None else -max(counts)[1] if counts else -1
    mine = np.flatnonzero(take.people.track == track)
    if person is not None and not len(mine):
        raise VitruvianError(f"no person {person} in this take; its track ids: {', '.join(map(str, take.tracks[:20])) or 'none'}")
    rows[take.people.frame[mine]] = mine
    return rows


_MEANS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
_ALIASES = {"mid_hip": ("hip", "pelvis", "root")}


def _marker(names: Sequence[str], marker: str, keypoints: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One marker's pixels and confidence."""
    for name in (marker, *_ALIASES.get(marker, ())):
        if name in names:
            i = names.index(name)
            return keypoints[:, i], confidence[:, i]
    pair = [names.index(name) for name in _MEANS.get(marker, ()) if name in names]
    if len(pair) < 2:
        raise VitruvianError(f"these keypoints ({', '.join(names[:6])} ...) have no {marker!r}; give markers that they have")
    return keypoints[:, pair].mean(1), confidence[:, pair].min(1)


def markers_from_views(names: Sequence[str], views: Sequence[View], placement: str | steps.Turn, config: Config) -> Markers:
    """The views of one person as markers. Raises VitruvianError for fewer than two views, and what the modes raise."""
    if len(views) < 2:
        raise VitruvianError(f"{len(views)} camera(s) see nothing in 3D; give two or more")
    if not all(len(view.times) for view in views):
        return Markers(Trc(tuple(names), np.zeros(0), np.zeros((0, len(names), 3)), config.rate), config.mode, 0.0, 0.0, np.nan, ())
    make = published_markers if config.mode == "published" else corrected_markers
    return make(names, views, placement, config)


def published_markers(names: Sequence[str], views: Sequence[View], placement: str | steps.Turn, config: Config) -> Markers:
    """Steps 4 to 10 as published: `published_steps` in order. Raises VitruvianError for views of different lengths."""
    lengths = {len(view.times) for view in views}
    if len(lengths) > 1:
        raise VitruvianError(f"the published mode wants films of one length, not {sorted(lengths)} frames; cut them, or use 'corrected'")
    rate = rate_of(views[0].times)
    confidence = np.stack([view.confidence for view in views])
    pixels = []
    for view in views:
        filtered = steps.lowpass(np.nan_to_num(view.keypoints), rate, config.cutoff)
        pixels.append(steps.undistort(filtered, view.camera.intrinsics, view.camera.distortion))
    cameras = [view.camera for view in views]
    projections = np.stack([c.intrinsics @ np.c_[c.R_cam_world, 1000 * c.t_cam_world] for c in cameras])
    points, sure = steps.triangulate(np.stack(pixels), confidence, projections)
    points, filled = steps.fill_short_gaps(points, sure, rate)
    times, even = steps.resample(points, rate, config.rate)
    trial = Trc(tuple(names), times, steps.to_opensim(even, placement), config.rate)
    return Markers(trial, "published", float(filled.mean()), float(((sure == 0) & ~filled).mean()), np.nan, (0.0,) * len(views))


def corrected_markers(names: Sequence[str], views: Sequence[View], placement: str | steps.Turn, config: Config) -> Markers:
    """The same on true times, with cameras' shifts found, outliers left out, and missing points missing. See the module's table."""
    from vitruvian.geometry.limbs import limbs_of, with_steady_limbs
    from vitruvian.geometry.triangulate import triangulate
    from vitruvian.systems.biomechanics.marker_sets import marker_limbs

    offsets = _offsets(views) if config.synchronise else np.zeros(len(views))
    spans = [(view.times[0] + shift, view.times[-1] + shift) for view, shift in zip(views, offsets, strict=True)]
    start, end = max(first for first, _ in spans), min(last for _, last in spans)
    if end < start:
        raise VitruvianError("these films have no moment in common; check their times, or switch synchronise off")
    own_rate = rate_of(views[0].times)
    times = start + np.arange(int(np.floor((end - start) * own_rate + 1e-6)) + 1) / own_rate
    seen = [_at_times(view, times - shift) for view, shift in zip(views, offsets, strict=True)]
    keypoints, confidence = (np.stack(values) for values in zip(*seen, strict=True))
    cameras = [view.camera for view in views]
    found = triangulate(cameras, keypoints, confidence, threshold=config.outlier)
    limbs = (*limbs_of(names), *marker_limbs(names))
    found = with_steady_limbs(cameras, keypoints, confidence, found, limbs, threshold=config.outlier)
    points, filled = smooth_points(times, found.points, config.cutoff, config.longest_gap)
    even = np.arange(int(np.floor((times[-1] - times[0]) * config.rate + 1e-6)) + 1) / config.rate
    turned = steps.to_opensim(1000 * _resampled(times - times[0], points, even), placement)
    missing = 1 - np.isfinite(points).all(-1).mean() if points.size else 0.0
    error = np.sqrt(np.nanmean(found.error**2)) if np.isfinite(found.error).any() else np.nan
    trial = Trc(tuple(names), even + times[0], turned, config.rate)
    return Markers(trial, "corrected", float(filled.mean()), float(missing), float(error), tuple(map(float, offsets)))


def _offsets(views: Sequence[View]) -> Float[np.ndarray, " c"]:
    """Seconds to add to each camera's clock; 0 where the motion does not say."""
    from vitruvian.geometry.synchronise import synchronise, vertical_speeds

    speeds = []
    for view in views:
        heights = np.where(view.confidence > 0.3, view.keypoints[..., 1], np.nan)
        extent = np.fmax.reduce(heights, axis=1) - np.fmin.reduce(heights, axis=1)
        size = float(np.nanmedian(extent)) if np.isfinite(extent).any() else 1.0
        speeds.append([vertical_speeds(view.times, heights, size)])
    return np.nan_to_num(synchronise([view.times for view in views], speeds).offsets)


def _at_times(view: View, times: Float[np.ndarray, " t"]) -> tuple[Float[np.ndarray, "t m 2"], Float[np.ndarray, "t m"]]:
    """A view between its frames, linear; missing where either neighbour is."""
    after = np.clip(np.searchsorted(view.times, times), 1, max(len(view.times) - 1, 1))
    if len(view.times) < 2:
        return np.repeat(view.keypoints, len(times), 0), np.repeat(view.confidence, len(times), 0)
    before = after - 1
    share = np.clip((times - view.times[before]) / np.maximum(view.times[after] - view.times[before], 1e-12), 0, 1)[:, None]
    share = np.where(share < 1e-6, 0.0, np.where(share > 1 - 1e-6, 1.0, share))  # on a frame, its neighbour need not be seen
    ends = [(before, 1 - share), (after, share)]
    keypoints = sum(np.where(part[..., None] > 0, view.keypoints[i] * part[..., None], 0.0) for i, part in ends)
    confidence = np.minimum(*(np.where(part > 0, view.confidence[i], np.inf) for i, part in ends))
    return keypoints, np.where(np.isfinite(confidence), confidence, 0.0)


def smooth_points(
    times: Float[np.ndarray, " f"], points: Float[np.ndarray, "f m 3"], cutoff: float, longest_gap: float
) -> tuple[Float[np.ndarray, "f m 3"], np.ndarray]:
    """Gaps up to `longest_gap` seconds filled, and each stretch between longer ones low-passed; and (f, m) what was filled."""
    from vitruvian.people.filters import butterworth, interpolate, runs

    seen = np.isfinite(points).all(-1)
    out, filled = np.full(points.shape, np.nan), np.zeros(seen.shape, bool)
    for frames, columns, there in runs(times, seen, longest_gap):
        whole = interpolate(times[frames], points[frames][:, columns], there)
        out[frames, columns] = butterworth(times[frames], whole, np.ones(whole.shape[:2]), cutoff)
        filled[frames, columns] = ~there[:, None]
    return out, filled


def _resampled(times: Float[np.ndarray, " f"], points: Float[np.ndarray, "f m 3"], wanted: Float[np.ndarray, " t"]) -> np.ndarray:
    """Cubic between frames, NaN in what stays open."""
    from scipy.interpolate import PchipInterpolator

    out = np.full((len(wanted), *points.shape[1:]), np.nan)
    for marker in range(points.shape[1]):
        seen = np.isfinite(points[:, marker]).all(-1)
        if seen.sum() < 2:
            out[np.isin(wanted, times[seen])] = points[seen, marker][:1] if seen.any() else np.nan
            continue
        inside = np.interp(wanted, times, seen.astype(float)) > 1 - 1e-9
        out[inside, marker] = PchipInterpolator(times[seen], points[seen, marker], axis=0)(wanted[inside])
    return out


@dataclass(frozen=True)
class Trial:
    """One trial, all by path, so that a worker reads it (and a damaged file is that trial's problem only).

    model: .osim, scaled; or a generic one, with a static trial (.trc, or a Trial of views, of which only these count) and mass (kg) to
    scale it by. height: metres, where it is known; OpenSim's scaling does without it. markers: .trc to begin with, or views (takes .npz,
    or folders of OpenPose files with `fps`) with a camera each (`Camera`, or calibration files such as OpenCap's pickles) and the
    checkerboard's placement ("backWall" is turned round where the first camera sees the board upside down, as published).
    weights: OpenSim task file; without it those of the marker set. truth: .mot. person: track id in all views.
    """

    name: str
    model: Path
    markers: Path | None = None
    views: tuple[Path, ...] = ()
    cameras: tuple[Path | Camera, ...] = ()
    placement: str = "none"
    truth: Path | None = None
    static: Path | Trial | None = None
    mass: float = 75.0
    height: float | None = None
    weights: Path | None = None
    fps: float = 60.0
    person: int | None = None


@dataclass(frozen=True, eq=False)
class TrialResult:
    """One trial: angles in degrees as a table, and how good the fit was.

    marker_rms: metres, mean over frames of the root mean square marker error. gaps: how many marker gaps. markers: None where the trial
    began with a marker file. truth: None where none was given. error: why there is no result, "" where there is one.
    """

    name: str
    mode: Mode
    angles: Mot | None = None
    truth: Mot | None = None
    marker_rms: float = float("nan")
    gaps: int = 0
    markers: Markers | None = None
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class BenchmarkResult:
    """All trials in one mode; `errors` over those that have angles and truth, None where there is none."""

    mode: Mode
    trials: tuple[TrialResult, ...]
    errors: AngleErrors | None

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """The trials without a result."""
        return tuple(trial for trial in self.trials if trial.error)


def run_trial(trial: Trial, config: Config = VARIANTS["corrected"]) -> TrialResult:
    """Keypoints (or markers) to angles. Raises what its steps raise: TrialError, OpenSimError, FormatError, MissingExtraError."""
    from vitruvian.systems.biomechanics.opensim_tools import inverse_kinematics, read_weights, scale_model

    made = None if trial.markers else _markers_of(trial, config)
    markers = read_trial(trial.markers) if made is None else made.trial
    if not len(markers.times):
        raise MarkerGapError(f"{trial.name} has no frames: look at its files")
    chosen = marker_set_of(markers.names)
    if made is not None:  # a set of keypoints may have only some of the names, and a film show only some of them: none is misspelt
        chosen = reduced(chosen, _seen(markers))
    published = config.mode == "published"
    weights = read_weights(trial.weights) if trial.weights else _weights(chosen, published)
    model = _model_of(trial, chosen)
    if trial.static is not None:
        static = _markers_of(trial.static, config).trial if isinstance(trial.static, Trial) else read_trial(trial.static)
        if not len(static.times):
            raise MarkerGapError(f"the static trial of {trial.name} has no frames: look at its files")
        shown = reduced(chosen, _seen(static)) if isinstance(trial.static, Trial) else chosen
        model = scale_model(model, static, shown, trial.mass, place=bool(shown.placement))
    missing = "ignore" if published or trial.weights else "error"
    method = "opensim" if published else "converged"
    found = inverse_kinematics(model, markers, weights, method=method, missing=missing, checked=not published)
    rms = found.marker_rms
    return TrialResult(
        trial.name,
        config.mode,
        found.mot(),
        read_mot(trial.truth) if trial.truth else None,
        float(np.nanmean(rms)) if np.isfinite(rms).any() else float("nan"),
        len(found.gaps),
        made,
    )


def _model_of(trial: Trial, chosen: MarkerSet) -> Model:
    """The model with the set's markers; one that is scaled already and has them ("adjusted") keeps its own, which lie on that person."""
    from vitruvian.systems.biomechanics.opensim_tools import load_model, model_markers, place_markers

    model = load_model(trial.model)
    if trial.weights or (trial.static is None and chosen.weights.keys() <= model_markers(model).keys()):
        return model
    place_markers(model, chosen.places, chosen.fixed)
    model.initSystem()
    return model


def _seen(trial: Trc) -> list[str]:
    """The markers that are seen in some frame."""
    return [name for name, there in zip(trial.names, np.isfinite(trial.points).all(-1).any(0), strict=True) if there]


def _weights(markers: MarkerSet, published: bool) -> Mapping[str, float]:
    if published and markers.name == JOINT_CENTRES.name:
        return {name: weight for name, weight in PUBLISHED_SPARSE_WEIGHTS.items() if name in markers.weights}
    return markers.weights


def _markers_of(trial: Trial, config: Config) -> Markers:
    from vitruvian.formats.calibration import read_calibration
    from vitruvian.formats.openpose import read_openpose
    from vitruvian.skeletons import OPENPOSE_BODY_25

    cameras = [camera for each in trial.cameras for camera in ((each,) if isinstance(each, Camera) else read_calibration(each))]
    if len(trial.views) != len(cameras):
        raise VitruvianError(f"{len(trial.views)} views but {len(cameras)} cameras; give one camera per view")
    takes = [read_openpose(path, trial.fps, skeleton=OPENPOSE_BODY_25) if Path(path).is_dir() else Take.load(path) for path in trial.views]
    names = tuple(marker_set_of(takes[0].skeleton.names).places) if takes else ()
    if takes and marker_set_of(takes[0].skeleton.names) is JOINT_CENTRES:
        names = tuple(name for name in names if name in _MEANS or name in takes[0].skeleton.names)
    views = [view_of(take, camera, names, config.mode, trial.person) for take, camera in zip(takes, cameras, strict=True)]
    return markers_from_views(names, views, steps.placement_for(trial.placement, cameras[0]) if cameras else trial.placement, config)


def run_benchmark(
    trials: Sequence[Trial], config: Config = VARIANTS["corrected"], workers: int = 2, timeout: float = 600.0
) -> BenchmarkResult:
    """All trials in processes of their own; one that fails, crashes or hangs has its `error` told and the others finish."""
    return summed_up(dict(iterate_trials(trials, config, workers, timeout)), config)


def summed_up(results: Mapping[int, TrialResult], config: Config) -> BenchmarkResult:
    """What `iterate_trials` gave, in the trials' order, and the errors over all of them."""
    found = tuple(results[place] for place in sorted(results))
    pairs = [(result.truth, result.angles) for result in found if result.truth is not None and result.angles is not None]
    return BenchmarkResult(config.mode, found, angle_errors(pairs, config.mode) if pairs else None)


def iterate_trials(trials: Sequence[Trial], config: Config, workers: int = 2, timeout: float = 600.0) -> Iterator[tuple[int, TrialResult]]:
    """(place in the list, result) of each trial as it finishes, for progress bars."""
    for outcome in run_isolated(partial(run_trial, config=config), trials, workers, timeout):
        result = outcome.result or TrialResult(trials[outcome.index].name, config.mode, error=outcome.error)
        yield outcome.index, replace(result, seconds=outcome.seconds)
