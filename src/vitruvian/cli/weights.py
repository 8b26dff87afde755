"""`vitruvian weights`: which networks there are, what may be done with them, and how they get here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from vitruvian.cli.console import console, print_rows, progress_bar, say_error, status
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.weights import store
from vitruvian.weights.card import BLIND, Card, Subject, Task
from vitruvian.weights.licences import Licence, is_permissive
from vitruvian.weights.reduce import Reduced
from vitruvian.weights.reduce import reduce as reduce_network

if TYPE_CHECKING:
    from vitruvian.weights.download import Transfer

_BYTES = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

app = App(name="weights", help="List, fetch, check and add networks.", result_action="return_value", suppress_keyboard_interrupt=False)


@app.command(name="list")
def list_(
    *,
    task: Task | None = None,
    subject: Subject | None = None,
    licence: Licence = "any",
    here: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Print the networks: id, task, keypoints or classes, input, a figure, licence, and whether the file is here.

    The licence is that of the weights ("?": in doubt), and whether the data they were trained on is free for every use: see info.

    Parameters
    ----------
    task
        Only networks that do this.
    subject
        Only networks that look at this.
    licence
        code-and-weights: only networks whose code and weights may be used for everything; permissive: whose training data too.
    here
        Only networks whose file is on this machine.
    """
    rows = []
    for card in store.listed(task=task, subject=subject, licence=licence):
        present = store.path(card.id) is not None
        if present or not here:
            rows.append((card.id, card.task, _answer(card), _size(card), _figure(card), _licence(card), "here" if present else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        console.print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command
def info(network: str, /) -> None:
    """Print all that is known of a network.

    Parameters
    ----------
    network
        Its id.
    """
    card = store.described(network)
    rows = {
        "id": card.id,
        "task": f"{card.task} {card.subject}".rstrip(),
        "family": card.family,
        "file": str(store.path(network) or "") or "not here: vitruvian weights fetch " + card.id,
        "answers": _answer(card),
        "input": f"{_size(card)}, {card.channel_order}, mean {_numbers(card.mean)}, std {_numbers(card.std)}" if _size(card) else "",
        "features": str(len(card.mean)) if card.task == "augmenter" and card.mean else "",
        "box": f"enlarged by {card.padding:g}" if card.task in ("pose2d", "pose3d") else "",
        "codec": card.codec,
        "size": f"{card.size_bytes / 1e6:.1f} MB" if card.size_bytes else "",
        "precision": card.precision,
        "made of": f"{card.parent} {card.parent_sha256[:12]}".rstrip(),
        "ranges": card.calibration,
        "sha256": card.sha256 or "not published: recorded when the file first comes",
        "code": card.licence_code,
        "weights": card.licence_weights,
        "data": card.licence_data,
        "source": card.source,
    }
    print_rows({title: text for title, text in rows.items() if text})
    for url in card.urls:
        print_rows({"url": url})
    for name, value in card.figures.items():  # beneath, as their names are long
        console.print(f"  {value:<8g} {name}")


@app.command
def fetch(network: Annotated[list[str], Parameter(negative="")], /) -> int:
    """Bring networks onto this machine; what was cut off goes on where it was.

    Parameters
    ----------
    network
        One id or more.
    """
    failed = False
    for name in network:
        try:
            with _progress_bar(name) as on_progress:
                card = store.fetch(name, on_progress)
            console.print(f"{name}  {card.file}")
        except VitruvianError as error:
            failed = True
            say_error(str(error))
    return 2 if failed else 0


@app.command
def add(file: Path, /, *, id: str | None = None) -> None:
    """Take in a network that was downloaded elsewhere, or one of your own.

    Parameters
    ----------
    file
        An ONNX file, or a zip archive with one inside.
    id
        Which network it is; by default the known one of this content or name, else it is named after the file.
    """
    from vitruvian.weights.add import add as add_network

    card = add_network(file, id)
    console.print(f"{card.id}  {card.file}")


@app.command
def reduce(
    network: str,
    /,
    *,
    precision: Reduced = "int8",
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    calibrate: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
) -> None:
    """Write a faster (int8, for CPUs) or smaller (fp16) file of a network, and print how far its answers moved.

    Parameters
    ----------
    network
        An id, or the path of an .onnx file.
    precision
        int8: most of it in 8-bit integers; fp16: weights of half the size. Detectors that take any size may also leave out padding then.
    out
        The .onnx file to write, and its card beside it. By default ID-PRECISION.onnx in the current folder.
    calibrate
        Pictures, a folder or a video like those that the network will see, with people in them. By default a packaged clip.
    """
    with status("starting") as on_progress:
        pictures = calibrate[0] if calibrate and len(calibrate) == 1 else calibrate
        card = reduce_network(network, out, precision=precision, pictures=pictures, on_progress=on_progress)
    console.print(f"{card.id}  {card.file}  {card.size_bytes / 1e6:.1f} MB")
    for name, value in card.figures.items():
        console.print(f"  {name}: {value:g}")
    if not card.figures:
        console.print("  it finds nothing in the pictures, so the change is not known: give others with --calibrate")


@app.command
def verify(network: Annotated[list[str] | None, Parameter(negative="")] = None, /) -> int:
    """Read files whole and compare them with their sha256.

    Parameters
    ----------
    network
        Ids; by default all that are on this machine.
    """
    failed = False
    for name in network or [card.id for card in store.listed() if store.path(card.id)]:
        try:
            with status(f"reading {name}"):
                card = store.verify(name)
            console.print(f"{name}  {card.sha256}")
        except VitruvianError as error:
            failed = True
            say_error(str(error))
    return 1 if failed else 0


@app.command
def path(network: str, /) -> None:
    """Print where the file of a network is.

    Parameters
    ----------
    network
        Its id.
    """
    found = store.path(network)
    if found is None:
        raise WeightsError(f"{network!r} is not on this machine: vitruvian weights fetch {network}")
    console.print(str(found))


@contextmanager
def _progress_bar(name: str) -> Iterator[Callable[[Transfer], None]]:
    """A callback for `fetch` that moves a bar of bytes; it begins anew where another mirror does."""
    with progress_bar(name, columns=_BYTES) as update:
        yield lambda now: update(completed=now.done, total=now.total)


def _answer(card: Card) -> str:
    """What comes out, in a word."""
    return card.skeleton or {0: "", 1: card.classes[0] if card.classes else ""}.get(len(card.classes), f"{len(card.classes)} classes")


def _size(card: Card) -> str:
    return "x".join(map(str, card.input_size)) if card.task not in BLIND else ""


def _figure(card: Card) -> str:
    """The figure of the whole set where there is one, else the first."""
    name = next((name for name in card.figures if name.startswith("coco")), next(iter(card.figures), ""))
    return f"{name[:30]}{'...' * (len(name) > 30)} {card.figures[name]:g}" if name else ""


def _licence(card: Card) -> str:
    """Licence of the weights, and whether the data restricts their use."""
    weights = card.licence_weights.split("(")[0].strip() + "?" * (not is_permissive(card.licence_weights))
    return f"{weights}, data {'free' if is_permissive(card.licence_data) else 'restricted'}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
