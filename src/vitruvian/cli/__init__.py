"""The command line, a thin layer: every command calls the same typed functions that the library offers, and prints what they return.

Here: arguments, progress bars, exit codes, and `doctor`. Not here: anything that a program could not get from the library.
"""

from __future__ import annotations

import os
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `vitruvian` with the given arguments (None: those of the process) and return the exit code.

    0: done. 1: a failed self-test. 2: wrong arguments, or an expected error, told in one line. 130: stopped with Ctrl-C.
    """
    # Before numpy is there: captures make many small products while networks, decoder and encoder have every core, and OpenBLAS's threads
    # only get in their way: 14.7 to 17.9 frames per second, not 13.6 to 14.0 (benchmarks/walking_woman.py --height 720 --alone --mesh).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from vitruvian.cli.app import run

    return run(arguments)


__all__ = ["main"]
