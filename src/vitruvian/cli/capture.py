"""`vitruvian capture`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vitruvian.cli.console import COLUMNS, INTERRUPTED, Progress, console, say_error, stderr

if TYPE_CHECKING:
    from vitruvian.capture import Progress as CaptureProgress
    from vitruvian.take import Take


def capture(
    source: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    detector: str = "person-parts-nano",
    pose: str = "wholebody-s",
    hands: str | None = None,
    face: str | None = None,
    mesh: bool | str = True,
    lift: str = "lift-s",
    fov: float | None = None,
    ground: bool = False,
    calibration: Path | None = None,
    angles: bool = False,
    opensim: Path | None = None,
    overlay: bool = True,
    formats: str = "json",
    detect_every: int = 1,
    flip_test: bool = False,
    smooth: Literal["one-euro", "kalman", "butterworth", "none"] = "one-euro",
    repair_swaps: bool = False,
    realtime: bool = False,
    threshold: float = 0.3,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    profile: bool = False,
) -> int:
    """Find the people in a video or in pictures, with their ids and 133 keypoints.

    Parameters
    ----------
    source
        A video, a picture, a folder of pictures, several pictures, a camera (camera:0), or a stream (rtsp://...; Ctrl-C ends it).
    out
        Folder for the results: take.npz, overlay.mp4 (or .png), keypoints.json. By default NAME_vitruvian in the current folder.
    detector
        Detection network: an id (vitruvian weights list), or the path of an .onnx file.
    pose
        Pose network: an id (vitruvian weights list), or the path of an .onnx file.
    hands
        A network of 21 hand points that looks at everybody's hands once more.
    face
        A network of face points that looks at everybody's face once more.
    mesh
        Bodies in metres too: a mesh over the video, bodies.glb, skeleton.bvh and markers.trc. Not for cameras and streams. Followed by the
        id or .onnx file of a network for meshes (Multi-HMR), that one alone finds the people and their bodies; no other network runs.
    lift
        Network that lifts keypoints into space: an id, or the path of an .onnx file.
    fov
        Degrees that the camera sees across the picture's longer side; otherwise a photograph's EXIF tells, or 60 are assumed. Distances
        depend on it.
    ground
        The camera stands still: feet that rest don't slide, and everybody stands on one floor.
    calibration
        Calibrated cameras (Pose2Sim's or Sports2D's TOML, Qualisys, OpenCV, ...): the sources are films of one scene, one per camera, and
        become one take in space with TRC files.
    angles
        Joint angles and gait parameters of each person: a page with plots (angles.html), and a table (angles.csv).
    opensim
        Your OpenSim model (.osim), such as LaiUhlrich2022: scaled to each person and moved by them, with .trc, .mot and a page. For several
        calibrated cameras; more options: vitruvian opensim.
    overlay
        Draw the people over the video or pictures.
    formats
        What to write besides take.npz, separated by commas: json (COCO style), openpose (a file per frame), csv, parquet, controlnet (pose
        pictures), rerun. "" for nothing. More from take.npz: vitruvian convert.
    detect_every
        Look for people in every n-th frame of a video only; between, boxes move on: faster.
    flip_test
        Look at each person mirrored as well: a little better, takes longer.
    smooth
        How to smooth the keypoints of a video: one-euro knows only the past; kalman and butterworth also look ahead and fill short gaps.
    repair_swaps
        Undo exchanges of left and right over time.
    realtime
        Play a video at its own pace and leave out frames that come too early, as with cameras and streams.
    threshold
        Least score, 0 to 1, of a detection that counts as a person.
    device
        Where the networks run; auto takes CUDA where ONNX Runtime has it.
    profile
        Print the time that each stage took.
    """
    if opensim is not None:
        from vitruvian.cli.opensim import ready, write_opensim

        ready(opensim)
    from vitruvian.capture import capture as run_capture

    folder = out if out is not None else default_folder(source)
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    networks = {"detector": detector, "pose": pose, "hands": hands, "face": face, "device": device, "flip_test": flip_test}
    tuning = {
        "threshold": threshold,
        "detect_every": detect_every,
        "smooth": smooth,
        "repair_swaps": repair_swaps,
        "overlay": overlay,
        "formats": wanted,
        "realtime": realtime,
        "mesh": mesh,
        "lift": lift,
        "fov": fov,
        "ground": ground,
    }
    asked = source[0] if len(source) == 1 else source
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    with _progress_bar(seconds) as on_progress:
        if isinstance(mesh, str):
            take = _capture_meshes(asked, folder, mesh, calibration, {**tuning, "device": device, "on_progress": on_progress})
        elif calibration is None:
            take = run_capture(asked, folder, on_progress=on_progress, **networks, **tuning)
        else:
            take = _capture_cameras(source, calibration, folder, networks, tuning, on_progress)
    reports = _write_angles(take, folder) if angles else []
    reports += write_opensim(take, folder, opensim) if opensim is not None else []
    _print_summary(take, time.perf_counter() - start)
    listed = sorted(folder.iterdir()) if calibration else [*_written(folder, overlay, wanted, bool(take.body)), *reports]
    for path in listed:
        console.print(f"  {path}", markup=False)
    if profile:
        _print_profile(seconds, len(take.times))
    if not take.complete:
        say_error("interrupted: the files hold what was found until then; the same command goes on from there")
    return 0 if take.complete else INTERRUPTED


def _capture_meshes(source: str | list[str], folder: Path, network: str, calibration: Path | None, tuning: Mapping[str, object]) -> Take:
    """A take by one network for meshes; options of other networks mean nothing there."""
    from vitruvian.capture.meshes import capture_meshes
    from vitruvian.errors import VitruvianError

    if calibration is not None:
        raise VitruvianError("a network for meshes sees one camera: leave --calibration away, or --mesh without a network")
    chosen = {name: tuning[name] for name in ("threshold", "smooth", "overlay", "formats", "fov", "device", "on_progress")}
    return capture_meshes(source, folder, network=network, **chosen)


def _capture_cameras(
    source: list[str],
    calibration: Path,
    folder: Path,
    networks: Mapping[str, object],
    tuning: Mapping[str, object],
    on_progress: Callable[[CaptureProgress], None],
) -> Take:
    """One take of several films; options that mean nothing there are left out."""
    from vitruvian.capture.cameras import capture_cameras

    chosen = {name: tuning[name] for name in ("threshold", "detect_every", "overlay")}
    smooth = "kalman" if tuning["smooth"] == "one-euro" else tuning["smooth"]
    return capture_cameras(
        source, calibration, folder, smooth=smooth, on_progress=lambda camera, now: on_progress(now), **networks, **chosen
    )


def _write_angles(take: Take, folder: Path) -> list[Path]:
    """A page and a table of joint angles for each person; returns their paths."""
    from vitruvian.biomechanics.report import persons_of, write_report

    persons, written = persons_of(take), []
    for person in persons:
        stem = "angles" if len(persons) == 1 else f"angles_person{person}"
        page, table = folder / f"{stem}.html", folder / f"{stem}.csv"
        write_report(take, page, person)[0].csv(table)
        written += [page, table]
    return written


def default_folder(source: Sequence[str]) -> Path:
    """Where results go when nobody says: NAME_vitruvian in the current folder, after the video, the picture or the folder of pictures."""
    path = Path(source[0])
    if len(source) > 1 or any(letter in path.name for letter in "*?["):
        path = path.parent
    path = path.resolve()
    return Path(f"{(path.name if path.is_dir() else path.stem) or 'pictures'}_vitruvian")


@contextmanager
def _progress_bar(seconds: dict[str, float]) -> Iterator[Callable[[CaptureProgress], None]]:
    """A callback for `capture` that moves a bar with frames per second and people; it leaves the stages' times in `seconds`."""
    with Progress(*COLUMNS, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("capture", total=None, note="")
        start = time.perf_counter()

        def on_progress(now: CaptureProgress) -> None:
            seconds.update(now.seconds)
            rate = now.frames / (time.perf_counter() - start)
            total = None if now.total is None else max(now.total, now.frames)  # a video's header is only an estimate
            live = "" if now.latency is None else f", {1000 * now.latency:.0f} ms late, {now.dropped} dropped"
            bar.update(task, completed=now.frames, total=total, note=f"{rate:.1f} fps, {now.people} people{live}")

        yield on_progress


def _written(folder: Path, overlay: bool, formats: Sequence[str], bodies: bool) -> list[Path]:
    """The files and folders that a capture with these options has left in `folder`."""
    from vitruvian.capture.sinks import BODY_FORMATS, written

    formats = [*formats, *BODY_FORMATS] if bodies else formats
    names = ["take.npz", *(["overlay.mp4", "overlay.png", "overlay"] if overlay else []), *written(formats)]
    return [path for name in names for path in sorted(folder.glob(name))]


def _print_summary(take: Take, spent: float) -> None:
    frames = len(take.times)
    people = f"{len(take.tracks)} tracks" if len(take.tracks) else f"{len(take.people)} people"
    rate = f", {frames / spent:.1f} frames per second" if frames > 1 else ""
    console.print(f"{frames} {'frames' if frames != 1 else 'frame'}, {people}, {spent:.1f} s{rate}")


def _print_profile(seconds: Mapping[str, float], frames: int) -> None:
    for stage, spent in seconds.items():
        console.print(f"  {stage:<8} {spent:7.2f} s {1000 * spent / max(frames, 1):8.2f} ms per frame")
