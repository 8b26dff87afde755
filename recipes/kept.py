"""Figures of finished arms, kept in a JSON file, so that a recipe that was stopped goes on with the next arm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from vitruvian._files import written_whole


def kept(file: Path, key: str, compute: Callable[[], list[float]]) -> list[float]:
    """The figures of the arm `key`: from the file, or computed now and written there with the seconds of processor time they took."""
    table = json.loads(file.read_text()) if file.is_file() else {}
    if key not in table:
        start = time.process_time()
        table[key] = {"figures": [float(x) for x in compute()], "seconds": round(time.process_time() - start)}
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as temporary:
            temporary.write_text(json.dumps(table, indent=1))
    return table[key]["figures"]
