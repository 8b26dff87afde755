"""The commands of `vitruvian`: the small ones, and where the others live. A command's file is imported when it is called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from glob import glob
from itertools import pairwise
from pathlib import Path

import numpy as np
from cyclopts import App, CycloptsError
from rich.logging import RichHandler

from vitruvian._version import __version__
from vitruvian.cli.console import INTERRUPTED, console, counted, print_rows, say_error, stderr
from vitruvian.errors import VitruvianError

app = App(
    name="vitruvian",
    help="Understand the human body in pictures and video.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
_ELSEWHERE = {
    "capture": ("capture:capture", "Find the people in a video or in pictures, with their ids and 133 keypoints."),
    "detect": ("detect:detect", "Find people and their parts, whose these are, and which way people face."),
    "convert": ("convert:convert", "Convert a file of keypoints or motion into another format."),
    "calibrate": ("calibrate:calibrate", "Calibrate several cameras from a person who walks about in view of them."),
    "opensim": ("opensim:opensim", "Joint angles through an OpenSim model: markers, scaled model, angles, a page."),
    "weights": ("weights:app", "List, fetch, check and add networks."),
    "convert-checkpoint": ("checkpoint:convert_checkpoint", "Turn a published checkpoint into a safe file with a card."),
    "export": ("checkpoint:export", "Write a checkpoint's network as ONNX."),
    "train": ("train:train", "Train the networks of a recipe."),
    "eval": ("evaluate:evaluate", "Measure a network on a data set, part by part."),
    "synth": ("synth:synth", "Draw synthetic people for training."),
    "body": ("body:app", "List and import body models."),
}
for _name, (_place, _help) in _ELSEWHERE.items():
    app.command(f"vitruvian.cli.{_place}", name=_name, help=_help)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the app; expected errors become one line on stderr. Returns the exit code, see `vitruvian.cli.main`."""
    handler = RichHandler(console=stderr, show_time=False, show_path=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[handler])
    try:
        code = app(_with_mesh_network(sys.argv[1:] if arguments is None else arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say_error(f"{error} Options: {' '.join(('vitruvian', *(error.command_chain or ()), '--help'))}")
        return 2
    except VitruvianError as error:
        say_error(str(error))
        return 2
    except OSError as error:  # what the system refuses before any reader or writer can say it better: a name that is too long
        say_error(f"{str(error.filename or 'the system')[:100]}: {error.strerror or error}; check the name, its rights and the free space")
        return 2
    except KeyboardInterrupt:
        say_error("interrupted")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _with_mesh_network(arguments: Sequence[str]) -> list[str]:
    """`--mesh NETWORK` is short for `--mesh-network NETWORK`; what follows `--mesh` is no network where it may be a film."""
    words = list(arguments)
    for place, (word, following) in enumerate(pairwise(words)):
        bare = Path(following).suffix == "" and not following.startswith("-") and ":" not in following
        if word == "--mesh" and (following.endswith(".onnx") or bare and not glob(following)):
            words[place] = "--mesh-network"
    return words


@app.command
def info(take: Path, /) -> None:
    """Print what a take holds.

    Parameters
    ----------
    take
        A take.npz, or another file of keypoints, as keypoints.json.
    """
    from vitruvian.formats.convert import read
    from vitruvian.media.pictures import PICTURE_SUFFIXES
    from vitruvian.media.video import VIDEO_SUFFIXES
    from vitruvian.take import OPTIONAL_COLUMNS, Take

    if take.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
        raise VitruvianError(f"{take} is a picture or a video, and no take: vitruvian capture {take} makes one of it")
    loaded = read(take)
    if not isinstance(loaded, Take):
        raise VitruvianError(f"{take} holds a motion without keypoints that could be summed up: vitruvian convert reads it")
    frames = len(loaded.times)
    span = f", {loaded.times[0]:.2f} to {loaded.times[-1]:.2f} s" if frames and len(loaded.names) == 1 else ""
    sizes = sorted({f"{width} x {height}" for width, height in loaded.sizes.tolist() if width and height})
    rows = {
        "source": loaded.source,
        "frames": f"{frames}{span}" + ("" if loaded.complete else ", stopped early"),
        "size": ", ".join(sizes[:4]) + (" ..." if len(sizes) > 4 else ""),
        "people": f"{counted(len(loaded.people), 'row')}, {len(loaded.tracks)} tracked",
        "keypoints": f"{loaded.skeleton.name} ({len(loaded.skeleton)})",
        "more": ", ".join(name for name in OPTIONAL_COLUMNS if name in loaded.people.columns()),
        "field of view": f"{loaded.fov:g} degrees, {loaded.fov_source}".rstrip(", ") if loaded.fov else "",
        "networks": ", ".join(loaded.cards),
        "version": loaded.version,
    }
    print_rows({title: text for title, text in rows.items() if text})
    for track in loaded.tracks:
        people = loaded.people.of(int(track))
        first, last = people.frame.min(), people.frame.max()
        score = np.mean(people.scores)
        console.print(f"  person {track}: {counted(len(people), 'frame')} between {first} and {last}, mean score {score:.2f}")


@app.command
def doctor() -> int:
    """Check the installation: versions, devices, weights, and a capture of the sample clip against its known truth."""
    from vitruvian.cli.doctor import examine

    healthy = True
    for finding in examine():
        console.print(f"{finding.title:<14} {finding.text}", style=None if finding.healthy else "red")
        healthy &= finding.healthy
    return 0 if healthy else 1
