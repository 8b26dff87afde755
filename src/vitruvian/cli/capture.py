"""`vitruvian capture`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vitruvian.cli.console import INTERRUPTED, console, counted, progress_bar, say_error
from vitruvian.cli.options import NONE_GIVEN, Options, Results, names_in, need_torch, offsets_in, refuse
from vitruvian.cli.places import default_folder
from vitruvian.errors import VitruvianError

if TYPE_CHECKING:
    from vitruvian.capture import Progress
    from vitruvian.take import Take

Run = Callable[[Path, Callable[[str, "Progress"], None]], "Take"]
"""A capture whose options have been checked: it takes the folder for the results, and whom to tell how far which camera's film is."""


def capture(
    source: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    options: Options = NONE_GIVEN,
) -> int:
    """Find the people in a video or in pictures, with their ids and 133 keypoints.

    Parameters
    ----------
    source
        A video, a picture, a folder of pictures, several pictures, a camera (camera:0), or a stream (rtsp://...; Ctrl-C ends it); with
        --calibration the films of several cameras, or the film of one whose lens the calibration tells.
    """
    results, several = options.results, options.cameras.calibration is not None and len(source) > 1
    folder = results.out or default_folder(source, "vitruvian")
    run = _prepared(source, options.of_capture())
    if results.angles and not several:
        _refuse_angles_of_pictures(source)
    if results.opensim is not None:
        from vitruvian.cli.opensim import ready

        ready(results.opensim)
    told = Told()
    with _told_by_bar(told) as on_progress:
        take = run(folder, on_progress)
    _print_summary(take, told, time.perf_counter() - told.start)
    for path in _files_in(folder):
        console.print(f"  {path}")
    if results.profile:
        _print_profile(told.seconds, told.frames)
    _write_reports(take, folder, results)
    if not take.complete:
        say_error("interrupted: the files hold what was found until then; the same command goes on from there")
    return 0 if take.complete else INTERRUPTED


def _prepared(source: list[str], asked: Mapping[str, object]) -> Run:
    """The capture that these options ask for. Raises VitruvianError where some of them mean nothing there, or can't be."""
    asked = dict(asked)
    if "formats" in asked:
        asked["formats"] = names_in(asked["formats"])
    if "calibration" in asked and len(source) == 1 and "voxels" not in asked:
        _tell_view(source[0], asked)
    if "mesh_network" in asked:
        return _by_mesh_network(source, asked)
    if "calibration" in asked:
        return _by_several_cameras(source, asked)
    return _by_one_camera(source, asked)


def _tell_view(source: str, asked: dict[str, object]) -> None:
    """The calibration of a single camera becomes its field of view. Raises VitruvianError where that is given as well."""
    from vitruvian.capture.cameras import camera_of_film
    from vitruvian.capture.lens import calibrated_view

    if "fov" in asked:
        raise VitruvianError("--calibration of one camera says how wide it sees: leave --fov away")
    refuse(asked, ("offsets", "up", "min_views"), "for one camera")
    asked["fov"] = calibrated_view(camera_of_film(source, asked.pop("calibration")), source)


def _by_one_camera(source: list[str], asked: Mapping[str, object]) -> Run:
    from vitruvian.capture import capture as run
    from vitruvian.media.live import is_live

    options = _options_of(run, asked, "without --calibration")
    if asked.get("mesh") is False:
        refuse(asked, ("lift", "text", "fov", "ground"), "without bodies (--no-mesh)")
    if any(map(is_live, source)):
        refuse(asked, ("mesh", "lift", "text", "fov", "ground"), "for cameras and streams, which get no bodies")
    one = _one_source(source)
    return lambda folder, on_progress: run(one, folder, on_progress=lambda now: on_progress("", now), **options)


def _by_mesh_network(source: list[str], asked: Mapping[str, object]) -> Run:
    from vitruvian.capture.meshes import capture_meshes
    from vitruvian.media.live import is_live

    asked = dict(asked)
    network = asked.pop("mesh_network")
    if asked.pop("mesh", True) is False:
        raise VitruvianError("--mesh-network makes bodies, and --no-mesh wants none: leave one of them away")
    live = [path for path in source if is_live(path)]
    if live:
        raise VitruvianError(f"{live[0]} can't be seen twice, as meshes need it: leave --mesh-network away")
    if "calibration" in asked:
        raise VitruvianError("a network for meshes sees one camera: leave --calibration or --mesh-network away")
    options = _options_of(capture_meshes, asked, "with --mesh-network, which alone finds the people and their bodies")
    one = _one_source(source)
    return lambda folder, on_progress: capture_meshes(one, folder, network=network, on_progress=lambda now: on_progress("", now), **options)


def _by_several_cameras(source: list[str], asked: Mapping[str, object]) -> Run:
    options = dict(asked)
    if "offsets" in options:
        options["offsets"] = offsets_in(options["offsets"])
    calibration = options.pop("calibration")
    if "voxels" in options:
        return _by_voxels(source, calibration, options)
    from vitruvian.capture.cameras import capture_cameras

    options = _options_of(capture_cameras, options, "with --calibration, for several cameras")
    return lambda folder, on_progress: capture_cameras(source, calibration, folder, on_progress=on_progress, **options)


def _by_voxels(source: list[str], calibration: Path, options: dict[str, object]) -> Run:
    need_torch()
    from vitruvian.systems.pose3d.voxel_capture import capture_voxels

    weights = options.pop("voxels")
    if options.get("offsets") == "auto":
        raise VitruvianError("--offsets auto finds them by people's keypoints, which --voxels does without: give seconds")
    options = _options_of(capture_voxels, options, "with --voxels, which alone finds the people")
    return lambda folder, on_progress: capture_voxels(source, calibration, weights, folder, on_progress=on_progress, **options)


def _options_of(run: Callable, asked: Mapping[str, object], where: str) -> dict[str, object]:
    """Those options that this function of the library has. Raises VitruvianError where others were given."""
    has: Collection[str] = signature(run).parameters
    refuse(asked, [name for name in asked if name not in has], where)
    return {name: value for name, value in asked.items() if name in has}


def _one_source(source: list[str]) -> str | list[str]:
    """What the library takes for one camera. Raises VitruvianError for several videos."""
    from vitruvian.media.video import VIDEO_SUFFIXES

    videos = [path for path in source if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    if len(videos) > 1:
        raise VitruvianError(
            f"{len(videos)} videos: capture one at a time; films of one scene by several cameras need --calibration with the cameras' file"
        )
    return source[0] if len(source) == 1 else source


def _refuse_angles_of_pictures(source: list[str]) -> None:
    from vitruvian.media import open_source
    from vitruvian.media.live import is_live

    if any(map(is_live, source)):
        return
    with open_source(_one_source(source)) as opened:
        if opened.kind == "pictures":
            raise VitruvianError(f"{opened.name} can have no joint angles, which follow one person over time: leave --angles away")


@dataclass
class Told:
    """What a capture has told of itself: the newest word on each film, by its camera's name ("" for the only one)."""

    newest: dict[str, Progress] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    @property
    def frames(self) -> int:
        """Frames of all films."""
        return sum(now.frames for now in self.newest.values())

    @property
    def done_now(self) -> int:
        """Frames of all films, without those that an earlier run had done."""
        return sum(now.frames - now.resumed for now in self.newest.values())

    @property
    def rate(self) -> float:
        """Frames of all films per second."""
        return self.done_now / max(time.perf_counter() - self.start, 1e-6)

    @property
    def seconds(self) -> dict[str, float]:
        """Working time of each stage, of all films."""
        stages = dict.fromkeys(stage for now in self.newest.values() for stage in now.seconds)
        return {stage: sum(now.seconds.get(stage, 0.0) for now in self.newest.values()) for stage in stages}


@contextmanager
def _told_by_bar(told: Told) -> Iterator[Callable[[str, Progress], None]]:
    """A callback for captures that moves a bar with frames per second and people, and leaves what it is told in `told`."""
    with progress_bar("capture") as update:

        def on_progress(camera: str, now: Progress) -> None:
            told.newest[camera] = now
            total = None if now.total is None else max(now.total, now.done)  # a video's header is only an estimate
            live = "" if now.latency is None else f", {1000 * now.latency:.0f} ms late, {now.dropped} dropped"
            who = ", ".join(name for name in (camera, "" if now.stage == "frames" else now.stage) if name)
            what = f"{told.rate:.1f} fps, {counted(now.people, 'person', 'people')}{live}" if now.stage == "frames" else ""
            update(completed=now.done, total=total, note=": ".join(word for word in (who, what) if word))

        yield on_progress


def _files_in(folder: Path) -> list[Path]:
    """The files and folders that the capture has left in its folder, those of single cameras too."""
    from vitruvian.capture.outputs import LIST, files_of

    return sorted({*files_of(folder), *(path for path in folder.iterdir() if (path / LIST).is_file())})


def _write_reports(take: Take, folder: Path, results: Results) -> None:
    """What else was asked for of the take, once its own files are there; prints the paths."""
    if not (results.angles or results.opensim):
        return
    if not len(take.people):
        console.print("nobody is in this take: no joint angles")
        return
    paths = _write_angles(take, folder) if results.angles else []
    if results.opensim is not None:
        from vitruvian.cli.opensim import write_opensim

        paths += write_opensim(take, folder, results.opensim)
    for path in paths:
        console.print(f"  {path}")


def _write_angles(take: Take, folder: Path) -> list[Path]:
    """Joint angles of each person as a page, a table and a picture, and a table of gait; returns their paths."""
    from vitruvian.biomechanics.report import persons_of, write_report

    persons, written = persons_of(take), []
    for person in persons:
        end = "" if len(persons) == 1 else f"_person{person}"
        page, table, picture = (folder / f"angles{end}.{suffix}" for suffix in ("html", "csv", "png"))
        steps = folder / f"gait{end}.csv"
        angles, gait = write_report(take, page, person if person >= 0 else None)
        angles.csv(table)
        angles.png(picture)
        gait.csv(steps)
        written += [page, table, picture, steps]
    return written


def _print_summary(take: Take, told: Told, spent: float) -> None:
    frames = len(take.times)
    people = counted(len(take.tracks), "track") if len(take.tracks) else counted(len(take.people), "person", "people")
    cameras = f" of {len(told.newest)} cameras" if len(told.newest) > 1 else ""
    rate = f", {told.rate:.1f} frames per second" if told.done_now > 1 else ""
    console.print(f"{counted(frames, 'frame')}{cameras}, {people}, {spent:.1f} s{rate}")
    if take.fov_source == "estimated":
        wide = f"{take.fov:.0f} degrees, give or take {take.fov_spread:.0f}"
        console.print(f"the people tell that the camera saw {wide}: sizes and distances are as sure as that (--fov)")
    if take.fov_source == "assumed" and len(take.people):
        console.print(f"nothing says how wide the camera saw: {take.fov:g} degrees are assumed, and sizes and distances with it (--fov)")


def _print_profile(seconds: Mapping[str, float], frames: int) -> None:
    for stage, spent in seconds.items():
        console.print(f"  {stage:<8} {spent:7.2f} s {1000 * spent / max(frames, 1):8.2f} ms per frame")
