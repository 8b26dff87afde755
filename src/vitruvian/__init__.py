"""Whole-body human understanding: people in pictures and video, their keypoints, and takes of their motion.

    import vitruvian as vt
    take = vt.capture("walk.mp4")
    take.keypoints            # (N, 133, 2) pixels

Here: the public names, each loaded when it is first used (PEP 562), so that importing the package loads no heavy dependency.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from vitruvian._version import __version__

if TYPE_CHECKING:
    from vitruvian.capture import capture
    from vitruvian.errors import FormatError, MediaError, MissingExtraError, VitruvianError, WeightsError
    from vitruvian.skeletons import Skeleton, convert
    from vitruvian.take import People, Take

_HOMES = {
    "FormatError": "vitruvian.errors",
    "MediaError": "vitruvian.errors",
    "MissingExtraError": "vitruvian.errors",
    "People": "vitruvian.take",
    "Skeleton": "vitruvian.skeletons",
    "Take": "vitruvian.take",
    "VitruvianError": "vitruvian.errors",
    "WeightsError": "vitruvian.errors",
    "capture": "vitruvian.capture",
    "convert": "vitruvian.skeletons",
}

__all__ = [
    "FormatError",
    "MediaError",
    "MissingExtraError",
    "People",
    "Skeleton",
    "Take",
    "VitruvianError",
    "WeightsError",
    "__version__",
    "capture",
    "convert",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home, or a room (`vitruvian.skeletons`) as a module, at first use."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in ("errors", "skeletons", "take"):
        value = importlib.import_module(f"vitruvian.{name}")
    else:
        raise AttributeError(f"module 'vitruvian' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `vitruvian.capture` the function: the import system would bind the room of the same name over it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "capture" and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
