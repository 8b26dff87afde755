"""`vitruvian detect`."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from vitruvian.cli.capture import default_folder
from vitruvian.cli.console import COLUMNS, INTERRUPTED, Progress, console, say_error, stderr

if TYPE_CHECKING:
    from vitruvian.capture.detect import DetectProgress
    from vitruvian.capture.objects import Objects


def detect(
    source: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    detector: str = "person-parts-nano",
    threshold: float = 0.3,
    overlay: bool = True,
    formats: str = "json,csv",
    count_heads: bool = False,
    contacts: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Find people and their parts in pictures or a video: boxes, whose each part is, and which way people face.

    Parameters
    ----------
    source
        A video, a picture, a folder or glob of pictures, or several pictures.
    out
        Folder for the results: overlay.mp4 (or .png), objects.json, objects.csv. By default NAME_vitruvian in the current folder.
    detector
        Detection network: an id (vitruvian weights list), or the path of an .onnx file. BPJDet's say whose a part is, JointBDOE's which
        way people face; for others parts are joined to people by their boxes.
    threshold
        Least score, 0 to 1, of what counts.
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

    folder = out if out is not None else default_folder(source)
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    start = time.perf_counter()
    with _progress_bar() as on_progress:
        objects = run_detect(
            source[0] if len(source) == 1 else source,
            folder,
            detector=detector,
            threshold=threshold,
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
        console.print(f"  {path}", markup=False)
    if not objects.complete:
        say_error("interrupted: the files hold what was found until then")
    return 0 if objects.complete else INTERRUPTED


@contextmanager
def _progress_bar() -> Iterator[Callable[[DetectProgress], None]]:
    with Progress(*COLUMNS, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("detect", total=None, note="")
        start = time.perf_counter()

        def on_progress(now: DetectProgress) -> None:
            rate = now.frames / (time.perf_counter() - start)
            total = None if now.total is None else max(now.total, now.frames)  # a video's header is only an estimate
            bar.update(task, completed=now.frames, total=total, note=f"{rate:.1f} fps, {now.objects} boxes")

        yield on_progress


def _print_summary(objects: Objects, spent: float) -> None:
    frames = len(objects.times)
    owned = (objects.owner >= 0) & ~objects.is_a("person")
    counts = ", ".join(f"{np.count_nonzero(objects.labels == label)} {name}" for label, name in enumerate(objects.classes[:8]))
    console.print(f"{frames} {'frame' if frames == 1 else 'frames'}, {spent:.1f} s: {counts}", markup=False)
    parts = np.count_nonzero(~objects.is_a("person"))
    if parts:
        how = "the network's owners" if objects.knows_owners else "joined by boxes"
        console.print(f"{np.count_nonzero(owned)} of {parts} parts belong to somebody ({how})", markup=False)
    facing = np.count_nonzero(np.isfinite(objects.heading))
    if facing:
        console.print(f"{facing} people with the way they face", markup=False)


def _write_heads(objects: Objects, folder: Path) -> Path:
    """heads.csv: a row per frame."""
    from vitruvian.capture.detect import heads_of

    counts = heads_of(objects)
    rows = ([i, f"{t:.6f}", objects.name_of(i), *row] for i, (t, *row) in enumerate(zip(objects.times, *counts, strict=True)))
    console.print(f"{counts.with_body.sum()} of {counts.heads.sum()} heads belong to a body", markup=False)
    return _table(folder / "heads.csv", ["frame", "time_s", "file", "heads", "heads_with_body", "people"], rows)


def _write_contacts(objects: Objects, folder: Path) -> Path:
    """contacts.csv: a row per hand and what it may touch; ids are those of objects.csv."""
    from vitruvian.capture.detect import hands_near

    found = hands_near(objects)
    names = [objects.classes[label] for label in objects.labels]

    def row(hand: int, touched: int, own: bool, nearness: float) -> list:
        frame, person = int(objects.frame[hand]), int(objects.owner[touched])
        about = [frame, f"{objects.times[frame]:.6f}", objects.name_of(frame), hand + 1, int(objects.owner[hand]) + 1, touched + 1]
        return [*about, names[touched], person + 1, "self" if own else "other person", f"{nearness:.3f}"]

    header = ["frame", "time_s", "file", "hand", "person", "touched", "touched_class", "touched_person", "whose", "nearness"]
    console.print(f"{len(found.hand)} hands may touch something", markup=False)
    return _table(folder / "contacts.csv", header, (row(*(x.item() for x in each)) for each in zip(*found, strict=True)))


def _table(path: Path, header: list[str], rows: Iterator[list]) -> Path:
    from vitruvian._files import written_whole

    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path
