"""Moved: `vitruvian.codecs.lifting`. This name stays only until recipes/finepose_small.py imports `aggregate` from there."""

from vitruvian.codecs.lifting import aggregate as aggregate
