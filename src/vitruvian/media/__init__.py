"""Pictures and videos in and out: upright RGB frames with true timestamps, read and written as streams.

Here live the readers (`open_source`, `open_video`, `open_pictures`, `read_image`), the writers (`VideoWriter`, `write_image`) and
`prefetch`, which runs a reader in a thread. PyAV and OpenCV are loaded at the first use. Drawing lives in `draw`, crops in `codecs`.
"""

from __future__ import annotations

from vitruvian.media.frame import MAX_PIXELS, Frame
from vitruvian.media.pictures import Pictures, open_pictures, read_image, write_image
from vitruvian.media.prefetch import prefetch
from vitruvian.media.source import open_source
from vitruvian.media.video import Video, open_video
from vitruvian.media.writer import VideoWriter

__all__ = [
    "MAX_PIXELS",
    "Frame",
    "Pictures",
    "Video",
    "VideoWriter",
    "open_pictures",
    "open_source",
    "open_video",
    "prefetch",
    "read_image",
    "write_image",
]
