"""The whole chain, from a video or pictures to a Take and its files: decode, detect, estimate poses, track, smooth, draw, write.

Here: `capture` and what it reports (`Progress`). `pipeline` reads top to bottom, `sinks` are what is written frame by frame, `outputs`
how files reach the folder. Not here: any single step; those live in `media`, `runtime`, `people`, `draw` and `formats`.
"""

from vitruvian.capture.pipeline import Progress, capture

__all__ = ["Progress", "capture"]
