"""`vitruvian synth`: draw synthetic people for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitruvian.cli.console import console, progress_bar
from vitruvian.errors import VitruvianError


def synth(
    out: Path,
    /,
    *,
    number: Annotated[int, Parameter(name=["--number", "-n"])] = 20000,
    seed: int = 0,
    processes: int | None = None,
    without: str = "",
    preview: Path | None = None,
    task: str = "pose",
) -> None:
    """Draw label images of synthetic people for training; a stopped run goes on where it was.

    The images serve every task: keypoints, boxes, segments, depth, correspondence, 3D and body parameters are drawn at once.

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
    without
        Ingredients to leave out, with commas between: clothes, hair, objects, activities, perspective, textures, lights, backgrounds,
        occluders, crowds, camera.
    preview
        Also write a contact sheet of training pictures into this PNG.
    task
        What the contact sheet shows: pose (crops with keypoints) or detector (scenes with boxes).
    """
    from vitruvian.synth.generate import TASKS, contact_sheet, generate
    from vitruvian.synth.look import Look

    if number < 1:
        raise VitruvianError(f"can't draw {number} people: ask for at least one")
    if task not in TASKS:
        raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")
    look = Look().without(name.strip() for name in without.split(",") if name.strip())
    with progress_bar("people", note="people") as update:
        for done, total in generate(out, number, seed, processes, look):
            update(completed=done, total=total)
    console.print(f"{total} people in {out}")
    if preview is not None:
        from vitruvian.media import write_image

        write_image(preview, contact_sheet(out, task))
        console.print(f"contact sheet in {preview}")
