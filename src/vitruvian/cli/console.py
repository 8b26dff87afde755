"""Where the commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["COLUMNS", "INTERRUPTED", "Progress", "console", "print_rows", "say_error", "stderr"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

COLUMNS = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
"""Of a progress bar that counts."""

console = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def print_rows(rows: Mapping[str, str]) -> None:
    """A title and a text per line."""
    width = max(10, *map(len, rows)) if rows else 10
    for title, text in rows.items():
        console.print(f"{title:<{width}} {text}", markup=False)


def say_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    stderr.print(f"error: {' '.join(message.split())}", markup=False)
