"""Parity: does our code give the published program's outputs from the published program's weights? See `fill.py` for the cases' format.

A case lies at DIR/SYSTEM/CASE.{json,npz}. The runner of a system is `tests/parity/runners/SYSTEM.py` (hyphens become underscores) with one
function `run(case) -> {output name: array} | None` that works for any case of that system, also unseen ones, and says None to what it
does not know.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.parity.fill import Case

Runner = Callable[[Case], "dict[str, np.ndarray] | None"]


@dataclass(frozen=True)
class Result:
    """One case: the worst error over the tolerance (<= 1 is a pass; None: nothing ran), where, and the seconds it took."""

    system: str
    case: str
    worst: float | None
    note: str
    seconds: float

    @property
    def failed(self) -> bool:
        return self.worst is not None and not self.worst <= 1.0


def find_cases(folder: Path) -> list[Path]:
    """The stems of all cases under a folder, sorted."""
    return sorted(path.with_suffix("") for path in folder.rglob("*.json") if path.with_suffix(".npz").exists())


def runner_of(system: str) -> Runner | None:
    """The system's `run`, or None where there is no runner yet."""
    name = f"tests.parity.runners.{system.replace('-', '_')}"
    return importlib.import_module(name).run if importlib.util.find_spec(name) else None


def over_tolerance(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> float:
    """Largest |found - expected| / (atol + rtol |expected|). Infinite where shapes, or NaNs, don't agree."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    error = np.where(found == expected, 0.0, np.abs(found - expected))
    ratio = error / np.maximum(atol + rtol * np.abs(expected), 1e-300)
    ratio = np.where(np.isnan(found) & np.isnan(expected), 0.0, ratio)
    return float(np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max(initial=0.0))


def check(stem: Path) -> Result:
    """Run one case and compare every output. An exception is a miss, with its message as the note."""
    system, start = stem.parent.name, time.perf_counter()

    def result(worst: float | None, note: str) -> Result:
        return Result(system, stem.name, worst, note, time.perf_counter() - start)

    run = runner_of(system)
    if run is None:
        return result(None, "no runner")
    try:
        case = Case(stem)
        found = run(case)
    except Exception as error:  # a case that breaks must not hide the others
        return result(float("inf"), f"{type(error).__name__}: {error}"[:200])
    if found is None:
        return result(None, "no runner")
    missing = [name for name in case.outputs() if name not in found]
    if missing:
        return result(float("inf"), f"no output {', '.join(missing)}")
    errors = {name: over_tolerance(found[name], value, case.meta["rtol"], case.meta["atol"]) for name, value in case.outputs().items()}
    name = max(errors, key=errors.__getitem__)
    return result(errors[name], name)
