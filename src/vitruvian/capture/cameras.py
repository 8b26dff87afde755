"""Several calibrated cameras: from their films to one take in world coordinates, with an overlay for each camera.

take = capture_cameras(["cam1.mp4", "cam2.mp4"], "Calib.toml", "out/")
out/take.npz             points in metres, y up     out/people.trc          markers (one file per person)
out/calibration.toml     the cameras in this world  out/CAMERA/overlay.mp4  the points drawn back into each film
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from vitruvian.capture.bodies import add_bodies_to_points
from vitruvian.capture.clocks import common_clock
from vitruvian.capture.orders import warn_of_order
from vitruvian.capture.outputs import delivered
from vitruvian.capture.pipeline import Device, Progress, capture
from vitruvian.capture.sinks import Background, Stopwatch, check_formats, overlay_sink
from vitruvian.capture.sinks import Format as CaptureFormat
from vitruvian.capture.views import Combined, check_options, check_skeletons, combine, seen_by, sized
from vitruvian.draw.overlay import draw_people
from vitruvian.errors import VitruvianError
from vitruvian.formats.calibration import read_calibration, write_calibration
from vitruvian.formats.text import make_folder
from vitruvian.geometry.camera import Axis, Camera
from vitruvian.media import open_source, prefetch
from vitruvian.media.live import is_live
from vitruvian.media.pictures import picture_size
from vitruvian.people.filters import nominal_step
from vitruvian.people.offline import Method
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import Take
from vitruvian.weights import Card, card_for

log = logging.getLogger(__name__)

Source = str | Path | Take
"""A film, a folder of pictures, a take's .npz, or a take."""

Format = Literal["trc", "bvh", "csv", "parquet", "rerun"]
_EARLY = 0.5  # seconds
_OFF_CENTRE = 0.2  # of a picture's side
_SAME_SHAPE = 0.002  # of an aspect ratio
_FILES = {"trc": "people.trc", "bvh": "people.bvh", "csv": "points.csv", "parquet": "points.parquet", "rerun": "take.rrd"}
_BODIES_FILE = {"glb": "bodies.glb"}


def capture_cameras(
    sources: Sequence[Source],
    calibration: str | Path | Sequence[str | Path] | Sequence[Camera],
    out: str | Path | None = None,
    *,
    offsets: Sequence[float] | Literal["auto"] | None = None,
    up: Axis | None = None,
    min_views: int = 2,
    max_error: float | None = None,
    smooth: Method = "kalman",
    detector: Card | str | Path = "person-parts-s",
    pose: Card | str | Path = "wholebody-s",
    hands: Card | str | Path | None = None,
    face: Card | str | Path | None = None,
    threshold: float = 0.3,
    detect_every: int | None = None,
    flip_test: bool = False,
    choose: bool = True,
    mesh: bool = False,
    overlay: bool = True,
    formats: Sequence[Format] = ("trc",),
    device: Device = "auto",
    on_progress: Callable[[str, Progress], None] | None = None,
) -> Take:
    """Capture the people whom two or more calibrated cameras film, in 3D: points (N, K, 3) in metres in the world, y up.

    sources: one per camera; those that are takes already (of `capture` with smooth="none") are used as they are. calibration: a file that
    `formats.calibration.read_calibration` knows, or cameras. Sources and cameras go together by name (cam01.mp4, or a folder cam01, and
    the camera cam01), else by their order.
    out: folder for the files, None writes nothing; each camera's own take goes to a folder there. Files of an earlier capture are replaced,
    or removed, once the new ones are whole.
    offsets: seconds to add to each film's times to have the first one's clock; "auto" finds them by people; None: they began together.
    up, min_views, max_error, smooth: see `views.combine`. detector to choose, device: see `capture`, for each film. mesh: fit bodies to
    the 133 points, and write bodies.glb. overlay: draw the points back into the films. formats: other files to write, see `Format`; TRC and
    BVH are one file per person.
    on_progress: called with the camera's name while its film is captured, and while its overlay is drawn.

    Nobody, or nobody whom two cameras see, is a take without rows. A killed capture of a film goes on where it was. Raises VitruvianError
    where sources, calibration and options don't fit, before any film is captured, and what `capture` and `read_calibration` raise.
    """
    _check_formats(formats)
    cameras = in_order(sources, _cameras(calibration))
    if isinstance(offsets, str) and offsets != "auto":
        raise VitruvianError(f"no offsets {offsets!r}: give one for each camera, in seconds, or 'auto'")
    given = None if isinstance(offsets, str) else offsets
    check_options(len(sources), offsets=given, up=up, min_views=min_views, max_error=max_error, smooth=smooth)
    cameras, there = _fitting(cameras, sources, pose)
    folder = None if out is None else make_folder(out)
    places = [None if folder is None else folder / name for name in folder_names(cameras)]
    report = _Report([camera.name for camera in cameras], on_progress)
    takes = []
    for n, (source, take, place) in enumerate(zip(sources, there, places, strict=True)):
        if take is None:
            take = capture(
                source, place, detector=detector, pose=pose, hands=hands, face=face, threshold=threshold, detect_every=detect_every,
                flip_test=flip_test, smooth="none", choose=choose, mesh=False, overlay=False, formats=(), device=device,
                on_progress=partial(report, n),
            )  # fmt: skip
        if not take.complete and not _is_take(source):
            raise KeyboardInterrupt  # the film goes on from there next time; half a film has no third dimension
        takes.append(take)
    shifts = common_clock(takes, cameras) if isinstance(offsets, str) else offsets
    _warn_of_ends(cameras, takes, shifts)
    warn_of_order(takes, cameras, [_title(source) for source in sources], shifts)
    combined = combine(takes, cameras, offsets=shifts, up=up, min_views=min_views, max_error=max_error, smooth=smooth)
    if mesh and combined.take.skeleton is not COCO_WHOLEBODY_133:
        raise VitruvianError(f"bodies are made of the 133 points, not of {combined.take.skeleton.name}: leave --mesh away")
    if mesh:
        combined = replace(combined, take=add_bodies_to_points(combined.take, report.fitted))
    if folder is not None:
        with delivered(folder) as workshop:
            write_results(combined, workshop, (*formats, "glb") if mesh and len(combined.take.people) else formats)
            for n, source in enumerate(sources if overlay else ()):
                if not _is_take(source):
                    draw_view(combined, n, source, workshop / places[n].name, partial(report.drawn, n))
    return combined.take


def draw_view(
    combined: Combined,
    camera: int,
    source: str | Path,
    folder: Path,
    on_frame: Callable[[int, int | None, Mapping[str, float]], None] = lambda done, total, seconds: None,
) -> None:
    """Write overlay.mp4 (overlay/ for pictures) to `folder`: the points drawn back into the film of one of the cameras.

    on_frame: called with the number of frames done, of how many (None: unknown), and seconds of work by stage.
    Raises MediaError where the film can't be read or the overlay can't be written.
    """
    view = seen_by(combined.take, combined.cameras[camera])
    people = list(view.by_frame())
    times = view.times - combined.offsets[camera]
    longest = nominal_step(times) if len(times) > 1 else np.inf
    make_folder(folder)
    stopwatch = Stopwatch()
    with open_source(source) as opened:
        background = Background([overlay_sink(folder, opened, partial(draw_people, skeleton=view.skeleton), stopwatch)])
        try:
            with closing(prefetch(opened)) as frames:
                for frame in frames:
                    near = int(np.abs(times - frame.time).argmin()) if len(times) else -1
                    there = near >= 0 and abs(times[near] - frame.time) <= 0.75 * longest
                    background.put(frame, people[near] if there else view.people[:0])
                    on_frame(frame.index + 1, opened.frame_count, dict(stopwatch.seconds))
            background.finish(combined.take.complete)
        except BaseException:
            background.abort()
            raise


@dataclass
class _Report:
    """Tells the caller how far the films are, by the names of their cameras."""

    names: Sequence[str]
    tell: Callable[[str, Progress], None] | None
    newest: dict[int, Progress] = field(default_factory=dict)

    def __call__(self, camera: int, now: Progress) -> None:
        """What the capture of a camera's film says."""
        self.newest[camera] = now
        if self.tell:
            self.tell(self.names[camera], now)

    def fitted(self, done: int, total: int) -> None:
        """So many rows have bodies."""
        if 0 in self.newest:  # takes that are there already have told nothing
            self(0, replace(self.newest[0], stage="bodies", done=done, total=total))

    def drawn(self, camera: int, done: int, total: int | None, seconds: Mapping[str, float]) -> None:
        """So many frames of its overlay are drawn."""
        found = self.newest[camera]
        self(camera, replace(found, stage="drawing", done=done, total=total, seconds={**found.seconds, **seconds}))


def _warn_of_ends(cameras: Sequence[Camera], takes: Sequence[Take], offsets: Sequence[float] | None) -> None:
    """Say which films end much earlier than others: until then fewer cameras see people, or the films began at different times."""
    ends = np.array([take.times[-1] if len(take.times) else 0.0 for take in takes]) + (0.0 if offsets is None else np.asarray(offsets))
    for n in np.flatnonzero(ends < ends.max() - _EARLY):
        log.warning(
            "the film of %s ends %.1f s before the longest one, which goes on without it; if films did not begin together, give offsets",
            cameras[n].name, ends.max() - ends[n],
        )  # fmt: skip


def _is_take(source: Source) -> bool:
    return isinstance(source, Take) or Path(source).suffix.lower() == ".npz"


def cameras_of_films(sources: Sequence[Source], calibration: str | Path | Sequence[str | Path] | Sequence[Camera]) -> tuple[Camera, ...]:
    """The camera of each film, sized as its pictures. Raises VitruvianError where films and cameras don't fit."""
    films = zip(in_order(sources, _cameras(calibration)), sources, map(_there, sources), strict=True)
    return tuple(_of_film(camera, _sizes(source, take), _title(source)) for camera, source, take in films)


def camera_of_film(source: str | Path, calibration: str | Path) -> Camera:
    """The camera of a single film or of pictures, sized as they are: the only one of the file, or the one that bears the film's name.

    Raises VitruvianError where names don't tell, and what `read_calibration` raises.
    """
    cameras = read_calibration(calibration)
    matches = [[camera for camera in cameras if goes_with(source, camera.name)] for goes_with in _NAMED_ALIKE]
    found = cameras if len(cameras) == 1 else next((found for found in matches if len(found) == 1), ())
    if not found:
        names = ", ".join(camera.name[:20] for camera in cameras[:8])
        raise VitruvianError(f"{calibration} has {len(cameras)} cameras ({names}): name the film like its own")
    return _of_film(found[0], _sizes(source, None), str(source))


def _of_film(camera: Camera, sizes: Int[np.ndarray, "n 2"], title: str) -> Camera:
    """`views.sized`, and a warning where the calibration is of another size, or says none and can hardly be of pictures of this one."""
    found = sized(camera, sizes, title)
    middle, size, was = camera.intrinsics[:2, 2], np.array(found.size), np.array(camera.size)
    if min(was) < 1 <= min(size):
        if (np.abs(middle / size - 0.5) > _OFF_CENTRE).any():
            log.warning(
                "%s: the calibration does not say for pictures of which size it is, and the middle of its lens, (%.0f, %.0f), is not amid "
                "the film's, which are %d x %d: if they were of another size, write it into the calibration", title, *middle, *size,
            )  # fmt: skip
    elif (size != was).any() and abs(size[0] * was[1] / (size[1] * was[0]) - 1) < _SAME_SHAPE:  # `sized` warns of other shapes
        log.warning("%s: calibrated at %d x %d, filmed at %d x %d: taken for scaled, not cut", title, *was, *size)
    return found


def _fitting(cameras: Sequence[Camera], sources: Sequence[Source], pose: Card | str | Path) -> tuple[tuple[Camera, ...], list[Take | None]]:
    """The cameras of the films as they are, and the takes that are there already. Raises VitruvianError for what can't be combined."""
    there = [_there(source) for source in sources]
    films = zip(cameras, sources, there, strict=True)
    cameras = tuple(_of_film(camera, _sizes(source, take), _title(source)) for camera, source, take in films)
    check_skeletons([take.skeleton.name if take else _skeleton_of(pose) for take in there])
    return cameras, there


def _there(source: Source) -> Take | None:
    """The take that a source is already, None for a film. Raises VitruvianError for what is live: it is read more than once."""
    if is_live(source):
        raise VitruvianError(f"{source} is live: several cameras are captured from files; save it to a file first")
    if isinstance(source, Take):
        return source
    return Take.load(source) if _is_take(source) else None


def _sizes(source: Source, take: Take | None) -> Int[np.ndarray, "n 2"]:
    """(width, height) of the pictures of a take, or of a film as far as it is known before it is read: of its first picture.

    For a folder of pictures also those in headers, where they are of other sizes than the first, whichever way they are turned.
    """
    if take is not None:
        return take.sizes
    with open_source(source) as opened:
        if opened.kind == "video":
            return np.array([[opened.width, opened.height]])
        first = next(iter(opened))
        sizes = [first.image.shape[1::-1]]
        others = {size for size in map(picture_size, opened.paths) if size is not None}
        return np.array(sizes + [size for size in sorted(others) if sorted(size) != sorted(sizes[0])])


def _skeleton_of(pose: Card | str | Path) -> str:
    return (pose if isinstance(pose, Card) else card_for(pose)).skeleton


def _check_formats(formats: Sequence[str]) -> None:
    """Raises VitruvianError where `formats` is no list of known ones, MissingExtraError where one needs a package that is not installed."""
    wrong = [formats] if isinstance(formats, str) else [name for name in formats if name not in _FILES]
    if wrong:
        raise VitruvianError(f"no list of formats with points in space: {wrong[0]!r}; give some of {', '.join(_FILES)}, in a list")
    check_formats([name for name in formats if name in get_args(CaptureFormat)])


def write_results(combined: Combined, folder: Path, formats: Sequence[str]) -> None:
    """The take, its cameras, and other files of it."""
    from vitruvian.formats.convert import write

    combined.take.save(folder / "take.npz")
    write_calibration(combined.cameras, folder / "calibration.toml")
    for name in formats:
        write(combined.take, folder / (_FILES | _BODIES_FILE)[name], name)


def _cameras(calibration: str | Path | Sequence[str | Path] | Sequence[Camera]) -> tuple[Camera, ...]:
    if isinstance(calibration, str | Path):
        return read_calibration(calibration)
    if all(isinstance(each, Camera) for each in calibration):
        return tuple(replace(camera, name=camera.name or f"camera{n}") for n, camera in enumerate(calibration, 1))
    return read_calibration(calibration)


def in_order(sources: Sequence[Source], cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """The camera of each source. Raises VitruvianError where names don't tell and numbers differ."""
    if isinstance(sources, str | Path) or len(sources) < 2:
        raise VitruvianError("one film has no third dimension: give the films of two or more cameras (for one, use capture)")
    paths = [Path(source).resolve() for source in sources if not isinstance(source, Take)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise VitruvianError(f"{twice} is given twice: give each camera's own film")
    for goes_with in _NAMED_ALIKE:
        matches = [[n for n, camera in enumerate(cameras) if goes_with(source, camera.name)] for source in sources]
        if all(len(found) == 1 for found in matches) and len({found[0] for found in matches}) == len(sources):
            return tuple(cameras[found[0]] for found in matches)
    if len(cameras) != len(sources):
        names = ", ".join(camera.name[:20] for camera in cameras[:8])
        raise VitruvianError(f"{len(sources)} films for {len(cameras)} cameras ({names}): name each film like its camera, or give as many")
    log.warning(
        "films are given to cameras in their order: %s", ", ".join(f"{_title(s)} = {c.name}" for s, c in zip(sources, cameras, strict=True))
    )
    return tuple(cameras)


def _title(source: Source) -> str:
    return (source.source or (source.names[0] if source.names else "take")) if isinstance(source, Take) else str(source)


def _same(source: Source, name: str) -> bool:
    """Whether a film, or its folder, is called like the camera; cam_01 and cam1 are one."""
    return any(_bare(part) == _bare(name) != "" for part in _parts(source))


def _belongs(source: Source, name: str) -> bool:
    """Whether a film's name, or its folder's, has the camera's name in it as a word of its own: walk-cam1.mp4."""
    return any(_has_word(part, name) for part in _parts(source))


def _is_within(source: Source, name: str) -> bool:
    """Whether a film's name is a word of the camera's: cam01.mp4 and Pose2Sim's int_cam01_img."""
    return _has_word(name, _parts(source)[0])


def _has_number(source: Source, name: str) -> bool:
    """Whether the last number of a film's name is the last one of the camera's: walk_2.mp4 and camera2."""
    film, camera = (re.findall(r"\d+", _counted(text))[-1:] for text in (_parts(source)[0], name))
    return film == camera != []


def _lies_under(source: Source, name: str) -> bool:
    """Whether a folder further up is called like the camera, as OpenCap's Cam0/InputMedia/walk/walk.mov."""
    return any(_bare(folder.name) == _bare(name) != "" for folder in Path(_title(source)).absolute().parents)


_NAMED_ALIKE = (_same, _belongs, _is_within, _has_number, _lies_under)
"""Ways in which a film can be named like its camera, the surest first."""


def _parts(source: Source) -> tuple[str, str]:
    path = Path(_title(source))
    return path.stem, path.parent.name


def _has_word(text: str, word: str) -> bool:
    return bool(word) and re.search(rf"(?<![a-z0-9]){re.escape(_counted(word))}(?![a-z0-9])", _counted(text)) is not None


def _counted(name: str) -> str:
    """cam01 is cam1."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.lower())


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _counted(name))


def folder_names(cameras: Sequence[Camera]) -> list[str]:
    """The name of each camera's folder: its own, as far as file systems take it, with a number where an earlier camera has that one."""
    out: list[str] = []
    for camera in cameras:
        plain = re.sub(r"[^\w-]+", "_", camera.name).strip("_")[:80] or "camera"
        taken = {name.casefold() for name in out}  # some file systems take CAM1 for cam1
        out.append(next(name for name in (plain, *(f"{plain}_{n}" for n in range(2, len(out) + 3))) if name.casefold() not in taken))
    return out
