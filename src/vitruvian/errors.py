"""Every error that vitruvian raises on purpose. Each message says what is wrong and what to do about it."""

from __future__ import annotations


class VitruvianError(Exception):
    """Base of all expected errors: catch this one to catch them all. The CLI prints its message as one line."""


class MediaError(VitruvianError):
    """A picture or video can't be found, read or written."""


class FormatError(VitruvianError):
    """A data file (take, JSON, ...) does not have the layout that its format asks for."""


class WeightsError(VitruvianError):
    """A network file is missing, damaged, or not of the kind that was asked for."""


class MissingExtraError(VitruvianError, ImportError):
    """An optional dependency is not installed. The message names the extra to install."""
