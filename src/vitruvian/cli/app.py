"""The commands of `vitruvian`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import App, Parameter
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vitruvian._version import __version__
from vitruvian.errors import VitruvianError

if TYPE_CHECKING:
    from vitruvian.capture import Progress as CaptureProgress
    from vitruvian.take import Take

INTERRUPTED = 130
COLUMNS = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())

console = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
app = App(
    name="vitruvian",
    help="Understand the human body in pictures and video.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the app; expected errors become one line on stderr. Returns the exit code, see `vitruvian.cli.main`."""
    handler = RichHandler(console=stderr, show_time=False, show_path=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[handler])
    try:
        code = app(sys.argv[1:] if arguments is None else list(arguments))
    except VitruvianError as error:
        _say_error(str(error))
        return 2
    except KeyboardInterrupt:
        _say_error("interrupted")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


@app.command
def capture(
    source: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    detector: str = "person-parts-nano",
    pose: str = "wholebody-t",
    overlay: bool = True,
    formats: str = "json",
    flip_test: bool = False,
    smooth: bool = True,
    threshold: float = 0.3,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    profile: bool = False,
) -> int:
    """Find the people in a video or in pictures, with their ids and 133 keypoints.

    Parameters
    ----------
    source
        A video, a picture, a folder of pictures, or several pictures.
    out
        Folder for the results: take.npz, overlay.mp4 (or .png), keypoints.json. By default NAME_vitruvian in the current folder.
    detector
        Detection network: the id of an embedded one, or the path of an .onnx file.
    pose
        Pose network: the id of an embedded one, or the path of an .onnx file.
    overlay
        Draw the people over the video or pictures.
    formats
        What to write besides take.npz, separated by commas: json (COCO style), openpose (a file per frame). "" for nothing.
    flip_test
        Look at each person mirrored as well: a little better, takes longer.
    smooth
        Smooth the keypoints of a video over time.
    threshold
        Least score, 0 to 1, of a detection that counts as a person.
    device
        Where the networks run; auto takes CUDA where ONNX Runtime has it.
    profile
        Print the time that each stage took.
    """
    from vitruvian.capture import capture as run_capture

    folder = out if out is not None else default_folder(source)
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    networks = {"detector": detector, "pose": pose, "device": device, "flip_test": flip_test, "threshold": threshold}
    asked = source[0] if len(source) == 1 else source
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    with _progress_bar(seconds) as on_progress:
        take = run_capture(asked, folder, smooth=smooth, overlay=overlay, formats=wanted, on_progress=on_progress, **networks)
    _print_summary(take, time.perf_counter() - start)
    for path in _written(folder, overlay, wanted):
        console.print(f"  {path}", markup=False)
    if profile:
        _print_profile(seconds, len(take.times))
    if not take.complete:
        _say_error("interrupted: the files hold what was found until then")
    return 0 if take.complete else INTERRUPTED


@app.command
def info(take: Path) -> None:
    """Print what a take holds.

    Parameters
    ----------
    take
        A take.npz, or a keypoints.json.
    """
    from vitruvian.formats.coco import read_coco
    from vitruvian.take import Take

    loaded = read_coco(take) if take.suffix.lower() == ".json" else Take.load(take)
    frames = len(loaded.times)
    span = f", {loaded.times[0]:.2f} to {loaded.times[-1]:.2f} s" if frames and len(loaded.names) == 1 else ""
    sizes = sorted({f"{width} x {height}" for width, height in loaded.sizes.tolist()})
    rows = {
        "source": loaded.source,
        "frames": f"{frames}{span}" + ("" if loaded.complete else ", stopped early"),
        "size": ", ".join(sizes[:4]) + (" ..." if len(sizes) > 4 else ""),
        "people": f"{len(loaded.people)} rows, {len(loaded.tracks)} tracked",
        "keypoints": f"{loaded.skeleton.name} ({len(loaded.skeleton)})",
        "networks": ", ".join(loaded.cards),
        "version": loaded.version,
    }
    _print_rows(rows)
    for track in loaded.tracks:
        people = loaded.people.of(int(track))
        first, last = people.frame.min(), people.frame.max()
        score = np.mean(people.scores)
        console.print(f"  person {track}: {len(people)} frames between {first} and {last}, mean score {score:.2f}")


@app.command
def synth(
    out: Path, /, *, number: Annotated[int, Parameter(name=["--number", "-n"])] = 20000, seed: int = 0, processes: int | None = None
) -> None:
    """Draw label images of synthetic people for training; a stopped run goes on where it was.

    Parameters
    ----------
    out
        Folder for the shards.
    number
        How many people, rounded up to whole shards of 250.
    seed
        The same seed gives the same people.
    processes
        How many at a time; by default one per core.
    """
    from vitruvian.synth.generate import generate

    if number < 1:
        raise VitruvianError(f"can't draw {number} people: ask for at least one")
    with Progress(*COLUMNS, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("people", total=None, note="people")
        for done, total in generate(out, number, seed, processes):
            bar.update(task, completed=done, total=total)
    console.print(f"{total} people in {out}")


@app.command
def doctor() -> int:
    """Check the installation: versions, devices, weights, and a capture of the sample clip against its known truth."""
    from vitruvian.cli.doctor import examine

    healthy = True
    for finding in examine():
        console.print(f"{finding.title:<14} {finding.text}", markup=False, style=None if finding.healthy else "red")
        healthy &= finding.healthy
    return 0 if healthy else 1


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
            bar.update(task, completed=now.frames, total=total, note=f"{rate:.1f} fps, {now.people} people")

        yield on_progress


def _written(folder: Path, overlay: bool, formats: Sequence[str]) -> list[Path]:
    """The files and folders that a capture with these options has left in `folder`."""
    names = ["take.npz"]
    names += ["overlay.mp4", "overlay.png", "overlay"] if overlay else []
    names += ["keypoints.json"] if "json" in formats else []
    names += ["openpose"] if "openpose" in formats else []
    return [folder / name for name in names if (folder / name).exists()]


def _print_summary(take: Take, spent: float) -> None:
    frames = len(take.times)
    people = f"{len(take.tracks)} tracks" if len(take.tracks) else f"{len(take.people)} people"
    rate = f", {frames / spent:.1f} frames per second" if frames > 1 else ""
    console.print(f"{frames} {'frames' if frames != 1 else 'frame'}, {people}, {spent:.1f} s{rate}")


def _print_profile(seconds: Mapping[str, float], frames: int) -> None:
    for stage, spent in seconds.items():
        console.print(f"  {stage:<8} {spent:7.2f} s {1000 * spent / max(frames, 1):8.2f} ms per frame")


def _print_rows(rows: Mapping[str, str]) -> None:
    for title, text in rows.items():
        console.print(f"{title:<10} {text}", markup=False)


def _say_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    stderr.print(f"error: {' '.join(message.split())}", markup=False)
