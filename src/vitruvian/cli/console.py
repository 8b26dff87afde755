"""Where the commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["INTERRUPTED", "console", "counted", "print_rows", "progress_bar", "say_error", "status", "stderr"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_TITLE = TextColumn("{task.description}", markup=False)
_COUNTING = (_TITLE, BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn())

# Without markup: names of files and of people's networks may hold [brackets].
console = Console(highlight=False, soft_wrap=True, markup=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def progress_bar(
    title: str, total: int | None = None, note: str = "", columns: Sequence[ProgressColumn] = _COUNTING
) -> Iterator[Callable[..., None]]:
    """A bar that is gone afterwards, and not there at all where nobody looks. Yields what moves it: f(completed=, total=, note=)."""
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield partial(bar.update, bar.add_task(title, total=total, note=note))


@contextmanager
def status(doing: str) -> Iterator[Callable[[str], None]]:
    """A spinner beside what is being done, gone afterwards. Yields what changes the words."""
    with stderr.status(Text(doing)) as shown:  # Text, as a string would be read as markup
        yield lambda words: shown.update(Text(words))


def counted(number: int, one: str, more: str = "") -> str:
    """A number with its noun: "1 track", "2 tracks"; more: the plural where it is another."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def print_rows(rows: Mapping[str, str]) -> None:
    """A title and a text per line."""
    width = max(10, *map(len, rows)) if rows else 10
    for title, text in rows.items():
        console.print(f"{title:<{width}} {text}")


def say_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    stderr.print(f"error: {' '.join(message.split())}")
