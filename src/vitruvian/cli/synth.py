"""`vitruvian synth`: draw synthetic people for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitruvian.cli.console import console, progress_bar
from vitruvian.cli.options import names_in
from vitruvian.errors import VitruvianError


def synth(
    out: Path,
    /,
    *,
    number: Annotated[int | None, Parameter(name=["--number", "-n"])] = None,
    pictures: int | None = None,
    task: str = "pose",
    seed: int = 0,
    processes: int | None = None,
    without: str = "",
    motion: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    motion_share: float = 0.5,
    preview: Path | None = None,
) -> None:
    """Draw label images of synthetic people for training, and pictures with labels of these; a stopped run goes on where it was.

    The label images serve every task: keypoints, boxes, segments, depth, correspondence, 3D and body parameters are drawn at once, and
    `vitruvian train` colours them anew at each use. Other tools take `--pictures`.

    Parameters
    ----------
    out
        Folder for the shards.
    number
        How many people, rounded up to whole shards of 250; by default 20000, or as many as pictures where those are fewer.
    pictures
        Also write so many pictures with all labels as WebDataset tars (TASK-000000.tar ...) into the folder, rounded up to whole tars of
        250: JPEG, labels as JSON, and for poses the segments of the body as PNG. TASK.json beside them names what is in the labels.
    task
        What pictures and contact sheet show: pose (crops of one person with 133 keypoints) or detection (scenes of people and parts).
    seed
        The same seed gives the same people.
    processes
        How many at a time; by default one per core.
    without
        Ingredients to leave out, with commas between: clothes, hair, objects, activities, perspective, textures, lights, backgrounds,
        occluders, crowds, camera.
    motion
        Motions (.bvh) whose poses people take, random frames of any of them.
    motion_share
        Which share of the people take their pose from the motions; the others' are made up.
    preview
        Also write a contact sheet of training pictures into this PNG.
    """
    from vitruvian.synth.generate import TASKS, contact_sheet, generate
    from vitruvian.synth.look import Look

    if number is None:
        number = 20000 if pictures is None else min(20000, pictures)
    for count, what in ((pictures, "pictures"), (number, "people")):
        if count is not None and count < 1:
            raise VitruvianError(f"can't draw {count} {what}: ask for at least one")
    if processes is not None and processes < 1:
        raise VitruvianError(f"{processes} processes draw nothing: give 1 or more")
    if out.exists() and not out.is_dir():
        raise VitruvianError(f"{out} is a file, and a folder is needed: name another one")
    if task not in TASKS:
        raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")
    look = Look().without(names_in(without))
    with progress_bar("people", note="people") as update:
        for done, total in generate(out, number, seed, processes, look, motion or (), motion_share):
            update(completed=done, total=total)
    console.print(f"{total} people in {out}")
    if pictures is not None:
        from vitruvian.synth.pictures import generate_pictures

        with progress_bar("pictures", note="pictures") as update:
            for done, drawn in generate_pictures(out, task, pictures, total, seed, processes):
                update(completed=done, total=drawn)
        console.print(f"{drawn} pictures in {out / task}-*.tar")
    if preview is not None:
        from vitruvian.media import write_image

        write_image(preview, contact_sheet(out, task))
        console.print(f"contact sheet in {preview}")
