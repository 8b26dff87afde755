"""`vitruvian detect`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from vitruvian.cli.console import INTERRUPTED, console, counted, progress_bar, say_error
from vitruvian.cli.options import Device, names_in
from vitruvian.cli.places import default_folder
from vitruvian.errors import VitruvianError

if TYPE_CHECKING:
    from vitruvian.capture.detect import DetectProgress
    from vitruvian.capture.objects import Objects


def detect(
    source: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    detector: str = "person-parts-s",
    threshold: float = 0.3,
    association: Literal["best", "published"] = "best",
    overlay: bool = True,
    formats: str = "json,csv",
    count_heads: Annotated[bool, Parameter(negative="")] = False,
    contacts: Annotated[bool, Parameter(negative="")] = False,
    device: Device = "auto",
) -> int:
    """Find people and their parts in pictures or a video: boxes, whose each part is, and which way people face. Instruments too.

    Parameters
    ----------
    source
        A video, a picture, a folder or glob of pictures, or several pictures.
    out
        Folder for the results: overlay.mp4 (or .png), objects.json, objects.csv. By default NAME_objects in the current folder.
    detector
        Detection network: an id (vitruvian weights list), or the path of an .onnx file. BPJDet's say whose a part is, JointBDOE's which
        way people face; hSDB-instrument's find surgical instruments; for others parts are joined to people by their boxes.
    threshold
        Least score, 0 to 1, of what counts.
    association
        How BPJDet's networks give parts to people: all together so that they fit best, or one by one as published (more errors in crowds).
    overlay
        Draw boxes, lines from parts to their people, and arrows over the video or pictures.
    formats
        What to write, separated by commas: json (COCO style), csv. "" for nothing.
    count_heads
        Also write heads.csv: heads per frame, and how many of them belong to a body (a head without one is often something else).
    contacts
        Also write contacts.csv: hands and what they may touch (nearness in the picture, not contact).
    device
        Where the network runs; auto takes CUDA where ONNX Runtime has it.
    """
    from vitruvian.capture.detect import FILES
    from vitruvian.capture.detect import detect as run_detect
    from vitruvian.media.live import is_live

    live = [path for path in source if is_live(path)]
    if live:
        raise VitruvianError(f"{live[0]} is live: cameras and streams are for vitruvian capture only; give detect a file")
    folder = out or default_folder(source, "objects")
    wanted = names_in(formats)
    start = time.perf_counter()
    with _progress_bar() as on_progress:
        objects = run_detect(
            source[0] if len(source) == 1 else source,
            folder,
            detector=detector,
            threshold=threshold,
            association=association,
            overlay=overlay,
            formats=wanted,
            device=device,
            on_progress=on_progress,
        )
    tables = [_write_heads(objects, folder)] if count_heads else []
    tables += [_write_contacts(objects, folder)] if contacts else []
    _print_summary(objects, time.perf_counter() - start)
    names = [*(["overlay.mp4", "overlay.png", "overlay"] if overlay else []), *(FILES[name] for name in wanted)]
    for path in [*(folder / name for name in names if (folder / name).exists()), *tables]:
        console.print(f"  {path}")
    if not objects.complete:
        say_error("interrupted: the files hold what was found until then")
    return 0 if objects.complete else INTERRUPTED


@contextmanager
def _progress_bar() -> Iterator[Callable[[DetectProgress], None]]:
    with progress_bar("detect") as update:
        start = time.perf_counter()

        def on_progress(now: DetectProgress) -> None:
            rate = now.frames / (time.perf_counter() - start)
            total = None if now.total is None else max(now.total, now.frames)  # a video's header is only an estimate
            update(completed=now.frames, total=total, note=f"{rate:.1f} fps, {counted(now.objects, 'box', 'boxes')}")

        yield on_progress


def _print_summary(objects: Objects, spent: float) -> None:
    frames = len(objects.times)
    owned = (objects.owner >= 0) & ~objects.wholes
    counts = dict(zip(objects.classes, np.bincount(objects.labels, minlength=len(objects.classes)).tolist(), strict=True))
    told = [f"{count} {name}" for name, count in counts.items() if count or len(counts) <= 8]
    console.print(f"{counted(frames, 'frame')}, {spent:.1f} s: {', '.join(told) or 'nothing'}")
    parts = np.count_nonzero(~objects.wholes)
    if parts:
        whom = "somebody" if "person" in objects.classes else "something"
        how = "the network's owners" if objects.knows_owners else "joined by boxes"
        console.print(f"{np.count_nonzero(owned)} of {counted(parts, 'part')} belong to {whom} ({how})")
    facing = np.count_nonzero(np.isfinite(objects.heading))
    if facing:
        console.print(f"{counted(facing, 'person', 'people')} with the way they face")


def _write_heads(objects: Objects, folder: Path) -> Path:
    """heads.csv, and its sum printed."""
    from vitruvian.capture.detect import heads_of
    from vitruvian.formats.objects import write_heads_csv

    counts = heads_of(objects)
    write_heads_csv(objects, counts, folder / "heads.csv")
    console.print(f"{counts.with_body.sum()} of {counted(counts.heads.sum(), 'head')} belong to a body")
    return folder / "heads.csv"


def _write_contacts(objects: Objects, folder: Path) -> Path:
    """contacts.csv, and how many there are printed."""
    from vitruvian.capture.detect import hands_near
    from vitruvian.formats.objects import write_contacts_csv

    found = hands_near(objects)
    write_contacts_csv(objects, found, folder / "contacts.csv")
    console.print(f"{counted(len(found.hand), 'hand')} may touch something")
    return folder / "contacts.csv"
