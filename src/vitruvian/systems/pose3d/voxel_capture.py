"""Several calibrated cameras and SelfPose3d: from films to one take in world coordinates, by a network that sees all pictures at once.

take = capture_voxels(["cam1.mp4", "cam2.mp4", "cam3.mp4"], "Calib.toml", "runs/selfpose3d/network.safetensors", "out/")

`capture_cameras` finds people in each film and triangulates them; this is for those who have weights of SelfPose3d or VoxelPose, published
or their own, and want what these see. It runs in PyTorch (extra [torch]): where bins of space lie in pictures depends on the cameras, so
that there is no network to export for all rooms. On the command line: `vitruvian capture ... --calibration FILE --voxels WEIGHTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from vitruvian.capture import Progress
from vitruvian.capture.cameras import cameras_of_films, draw_view, folder_names, write_results
from vitruvian.capture.outputs import delivered
from vitruvian.capture.views import Combined, check_options
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.formats.text import make_folder
from vitruvian.geometry.camera import Axis, Camera, moved, up_axis, y_up
from vitruvian.media import open_source
from vitruvian.media.frame import Frame
from vitruvian.people.assignment import assign
from vitruvian.people.filters import nominal_step
from vitruvian.people.offline import Method, presets, smooth_take
from vitruvian.runtime.session import Device
from vitruvian.skeletons import PANOPTIC_15
from vitruvian.systems.pose3d.selfpose3d import STRIDE, VARIANTS, SelfPose3d, with_space
from vitruvian.systems.pose3d.voxels import Space, Views, views_of, whole_picture
from vitruvian.take import People, Take
from vitruvian.train.defaults import normalise
from vitruvian.train.selfpose3d import INPUT, SMALL_INPUT, read_networks

_MOST_BINS = 4_000_000
_TWICE = 0.2  # metres between the joints of one person who was found twice, on the mean
_STEP, _SPEED = 0.3, 4.0  # metres that a mid-hip may be off, and go in a second, and be the same person's
_MEMORY = 0.5  # seconds
_ROOT = PANOPTIC_15.index("mid_hip")


def capture_voxels(
    sources: Sequence[str | Path],
    calibration: str | Path | Sequence[str | Path] | Sequence[Camera],
    weights: str | Path,
    out: str | Path | None = None,
    *,
    offsets: Sequence[float] | None = None,
    up: Axis | None = None,
    box: Literal["cameras", "network"] = "cameras",
    smooth: Method = "kalman",
    overlay: bool = True,
    device: Device = "auto",
    on_progress: Callable[[str, Progress], None] | None = None,
) -> Take:
    """The people whom two or more calibrated cameras film, as SelfPose3d sees them: points (N, 15, 3) of Panoptic's joints, metres, y up.

    weights: a published file (.pth.tar), or what `vitruvian train` of SelfPose3d left, with all of backbone, root and pose network.
    box: where people are looked for: around where the cameras look, from the floor up (0 of the calibration), or where the file says
    (Panoptic's dome for published ones, in its coordinates with z up). Frames are the first film's, as long as a second film has some;
    sources, calibration, offsets, up, smooth, overlay and out as for `capture_cameras`. Ids follow mid-hips [ours]; scores are the bins'.
    on_progress: called with the first camera's name after each frame.

    Nobody is a take without rows. Raises VitruvianError where these don't fit, WeightsError for other weights, FormatError and MediaError
    for files that can't be read.
    """
    check_options(len(sources), offsets=offsets, up=up, min_views=2, max_error=None, smooth=smooth)
    cameras = cameras_of_films(sources, calibration)
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    networks = _networks(weights, place)
    shifts = np.zeros(len(sources)) if offsets is None else np.asarray(offsets, np.float64)
    cameras = tuple(moved(camera, y_up(up or up_axis(cameras))) for camera in cameras)
    room = _Room(networks, [moved(camera, np.linalg.inv(y_up("z"))) for camera in cameras], box, place)
    times, frames, points, scores = [], [], [np.zeros((0, len(PANOPTIC_15), 3))], [np.zeros(0)]
    with ExitStack() as stack:
        films = [stack.enter_context(open_source(source)) for source in sources]
        for time, pictures in moments(films, shifts):
            found, sure = room.people(pictures)
            frames += [len(times)] * len(found)
            times.append(time)
            points.append(found)
            scores.append(sure)
            if on_progress:
                total = films[0].frame_count
                on_progress(cameras[0].name, Progress(len(times), total, len(found), {}, done=len(times)))
    take = _take(np.array(times), np.array(frames, int), np.concatenate(points), np.concatenate(scores), ", ".join(map(str, sources)))
    take = smooth_take(take, presets(smooth))
    if out is not None:
        nothing = np.zeros((len(cameras), 0, len(PANOPTIC_15)))
        seen = Combined(take, cameras, shifts, np.zeros(0, int), np.zeros((*nothing.shape, 2)), nothing, nothing > 0)
        with delivered(make_folder(out)) as workshop:
            write_results(seen, workshop, ("trc",))
            for n, (source, name) in enumerate(zip(sources, folder_names(cameras), strict=True) if overlay else ()):
                draw_view(seen, n, source, workshop / name)
    return take


def moments(films: Sequence[object], offsets: Float[np.ndarray, " c"]) -> Iterator[tuple[float, dict[int, np.ndarray]]]:
    """Each time of the first film, in the common clock, at which another one has a frame too: pictures of the films nearest to it.

    A film whose nearest frame is further than one and a half of its steps away is left out there.
    """
    with ExitStack() as stack:
        first, *others = (stack.enter_context(closing(iter(film))) for film in films)
        others = [_Nearest(frames, float(offset)) for frames, offset in zip(others, offsets[1:], strict=True)]
        for frame in first:
            time = frame.time + float(offsets[0])
            near = {n: picture for n, film in enumerate(others, 1) if (picture := film.at(time)) is not None}
            if near:
                yield time, {0: frame.image, **near}


class _Nearest:
    """The frame of a film that is nearest to ascending times."""

    def __init__(self, frames: Iterator[Frame], offset: float) -> None:
        self.frames, self.offset = frames, offset
        self.before: Frame | None = None
        self.after = next(frames, None)
        self.steps: list[float] = []

    def at(self, time: float) -> np.ndarray | None:
        """The picture at a time of the common clock, None where there is none."""
        while self.after is not None and self.after.time + self.offset < time:
            if self.before is not None:
                self.steps = [*self.steps[-20:], self.after.time - self.before.time]
            self.before, self.after = self.after, next(self.frames, None)
        near = min((f for f in (self.before, self.after) if f is not None), key=lambda f: abs(f.time + self.offset - time), default=None)
        if self.before is not None and self.after is not None:
            step = self.after.time - self.before.time
        else:
            step = float(np.median(self.steps)) if self.steps else 1 / 24
        return near.image if near is not None and abs(near.time + self.offset - time) <= 0.75 * step else None


class _Room:
    """The networks among these cameras (z up); what depends on cameras alone is worked out once for each set of them."""

    def __init__(self, networks: SelfPose3d, cameras: Sequence[Camera], box: str, device: str) -> None:
        small = networks.config.backbone == VARIANTS["nano"].backbone
        self.input_size = SMALL_INPUT if small else INPUT
        self.cells = (self.input_size[0] // STRIDE, self.input_size[1] // STRIDE)
        if box == "cameras":
            own = networks.config.space
            space = Space.from_cameras(cameras, bin_size=max(size / (bins - 1) for size, bins in zip(own.size, own.bins, strict=True)))
            if np.prod([float(n) for n in space.bins]) > _MOST_BINS:
                sides = " x ".join(f"{side:.0f}" for side in space.size)
                raise VitruvianError(f"the cameras look at a room of {sides} m: check the calibration's unit, or give box='network'")
            networks = with_space(networks, space)
            networks.config = replace(networks.config, published=False)  # cameras may stand in the box here
        self.networks, self.cameras, self.device = networks, cameras, device
        self._known: dict[tuple[int, ...], tuple] = {}

    def people(self, pictures: dict[int, np.ndarray]) -> tuple[Float[np.ndarray, "p 15 3"], Float[np.ndarray, " p"]]:
        """Joints (y up, metres) and scores of the people in the pictures of some cameras; who was found twice counts once."""
        who = tuple(pictures)
        views, where = self._views(who)
        with torch.inference_mode():
            images = torch.from_numpy(np.stack([self._input(n, picture) for n, picture in pictures.items()])).permute(0, 3, 1, 2)
            found = self.networks.predict(self.networks.heatmaps(normalise(images.to(self.device))[None]), views, where)
        valid = found.valid[0].cpu().numpy()
        points, scores = (x[0].cpu().numpy()[valid].astype(np.float64) for x in (found.points, found.score))
        kept: list[int] = []
        for row in np.argsort(-scores, kind="stable"):
            if all(np.linalg.norm(points[row] - points[other], axis=-1).mean() > _TWICE for other in kept):
                kept.append(int(row))
        return points[kept] @ y_up("z")[:3, :3].T, scores[kept]

    def _views(self, who: tuple[int, ...]) -> tuple:
        if who not in self._known:
            views = Views(*(part.to(self.device) for part in views_of([self.cameras[n] for n in who], self.input_size)))
            self._known[who] = views, self.networks.root_sampling(views, self.cells, self.input_size)
        return self._known[who]

    def _input(self, camera: int, picture: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(picture, whole_picture(self.cameras[camera].size, self.input_size), self.input_size, flags=cv2.INTER_LINEAR)


def _networks(weights: str | Path, device: str) -> SelfPose3d:
    """The networks of a file, all that are needed, on the device."""
    networks = read_networks(weights)
    missing = [name for name in ("backbone", "root_net", "pose_net") if getattr(networks, name) is None]
    if missing or networks.config.joints != len(PANOPTIC_15):
        what = f"no {' and no '.join(missing)}" if missing else f"{networks.config.joints} joints, not Panoptic's 15"
        raise WeightsError(f"{weights} has {what}: films need pictures' heat maps, roots and poses from one file")
    return networks.to(device)


def _take(
    times: Float[np.ndarray, " f"], frames: Int[np.ndarray, " n"], points: Float[np.ndarray, "n 15 3"], scores: np.ndarray, source: str
) -> Take:
    """A world take of unsmoothed people."""
    count = len(frames)
    people = People(
        frame=frames,
        track=linked(times, frames, points[:, _ROOT]),
        boxes=np.zeros((count, 4)),
        scores=scores,
        keypoints=np.full((count, len(PANOPTIC_15), 2), np.nan),
        confidence=np.repeat(np.clip(scores, 0, 1)[:, None], len(PANOPTIC_15), 1),
        points=points,
    )
    return Take(people, PANOPTIC_15, times, np.zeros((len(times), 2)), (), source, (), complete=True, space="world")


def linked(times: Float[np.ndarray, " f"], frames: Int[np.ndarray, " n"], roots: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """An id for each row, 1, 2 ..., from where mid-hips are: the nearest that people can have gone, half a second ago at most."""
    ids, last = np.zeros(len(frames), int), {}
    for frame in np.unique(frames):
        rows = np.flatnonzero(frames == frame)
        last = {who: seen for who, seen in last.items() if times[frame] - seen[0] <= max(_MEMORY, 1.5 * nominal_step(times))}
        known = list(last)
        far = np.array([[np.linalg.norm(roots[row] - last[who][1]) for who in known] for row in rows]).reshape(len(rows), len(known))
        reach = np.array([_STEP + _SPEED * (times[frame] - last[who][0]) for who in known])
        for r, k in zip(*assign(np.minimum(far, reach + 1)), strict=True):
            if far[r, k] <= reach[k]:
                ids[rows[r]] = known[k]
        for row in rows:
            ids[row] = ids[row] or max([0, *ids]) + 1
            last[int(ids[row])] = (times[frame], roots[row])
    return ids
