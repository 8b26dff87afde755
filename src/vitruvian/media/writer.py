"""H.264 in MP4 with the timestamps of the source, so that an overlay stays in step with the video it was made from."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MediaError
from vitruvian.media.partial import partial_name

_TICKS = 90_000  # per second: the clock of MPEG, a multiple of 24, 25, 30, 50 and 60
# Measured at 1280x720 on 2 cores (120 frames of a walk with bodies, conversion included), CPU ms per frame | kB per frame | PSNR, dB:
# veryfast 27 | 7.1 | 38.3;  the same with what is below 18 | 9.5 | 37.8;  superfast 15 | 13.4 | 38.7;  ultrafast 9 | 22.9 | 37.6 (one run).
# Blocks that are not split, one B-frame at a time and plain half pixels save a third of veryfast's time for a third more bytes.
_X264 = {"preset": "veryfast", "crf": "23", "x264-params": "partitions=none:bframes=1:subme=1"}


class VideoWriter:
    """Writes RGB frames to an .mp4 (H.264, yuv420p, limited-range BT.601) and keeps their times to 1/90000 s.

    A context manager. The file is written under a hidden temporary name in the same folder, and takes its own name at `close()`, also
    when the block ends by an exception or Ctrl-C: what was written until then is a valid video. Without any frame no file is left.
    H.264 needs even sizes: an odd width or height is padded by one column to the right or one row below that repeats the edge, so
    every pixel keeps its coordinates.
    """

    def __init__(self, path: str | Path, width: int, height: int, fps: float = 30.0) -> None:
        """`width`, `height`: pixels of the frames to come. `fps`: average rate in Hz, a hint to the encoder; times come with the frames.

        MediaError when the suffix is not .mp4, the size is not positive, the folder is missing, or PyAV lacks the H.264 encoder.
        """
        import av

        self.path = Path(path)
        self.width = int(width)
        self.height = int(height)
        self.frames = 0
        if self.path.suffix.lower() != ".mp4":
            raise MediaError(f"{self.path.name}: videos are written as MP4: name it {self.path.stem}.mp4")
        if self.width < 1 or self.height < 1:
            raise MediaError(f"{self.path.name}: a video of {width} x {height} pixels can't be written: give a size of at least 1 x 1")
        if "libx264" not in av.codecs_available:
            raise MediaError("this build of PyAV has no H.264 encoder (libx264): install the wheel from PyPI, `pip install av`")
        self._fps = Fraction(fps if fps and math.isfinite(fps) and 0 < fps <= 1000 else 30).limit_denominator(1001)
        self._temporary = partial_name(self.path)
        self._container: av.container.OutputContainer | None = None
        self._last = None
        self._closed = False

    def write(self, image: UInt8[np.ndarray, "h w 3"], time: float) -> None:
        """Appends a frame, RGB uint8 (height, width, 3), shown from `time` (seconds, at least 0) until the next frame.

        Times must increase; one that doesn't is moved to 1/90000 s after the one before. MediaError when the shape doesn't fit, the time
        is negative or not finite, the writer is closed, or the disk is full.
        """
        import av
        import cv2

        if self._closed:
            raise MediaError(f"{self.path.name} is closed: no more frames can be written")
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            wanted = f"uint8 {(self.height, self.width, 3)}"
            raise MediaError(f"{self.path.name} takes frames of {wanted}, not {image.dtype} {image.shape}: resize them first")
        if not math.isfinite(time) or time < 0:
            raise MediaError(f"{self.path.name}: {time} is no time of a frame: give seconds from 0 on")
        if self.height % 2 or self.width % 2:
            image = cv2.copyMakeBorder(image, 0, self.height % 2, 0, self.width % 2, cv2.BORDER_REPLICATE)
        # OpenCV converts at 3000 frames/s of 720p, swscale at 800.
        frame = av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
        ticks = round(time * _TICKS)
        frame.pts = ticks if self._last is None else max(ticks, self._last + 1)
        frame.time_base = Fraction(1, _TICKS)
        try:
            if self._container is None:
                self._start()
            self._container.mux(self._stream.encode(frame))
        except av.error.FFmpegError as error:
            raise MediaError(f"{self.path} can't be written ({error.strerror}): check the free space") from error
        self._last = frame.pts
        self.frames += 1

    def close(self) -> None:
        """Finishes the file and gives it its name. Can be called twice. MediaError when the disk is full; then no file is left."""
        import av

        if self._closed:
            return
        self._closed = True
        try:
            if self.frames:
                self._container.mux(self._stream.encode(None))
            if self._container is not None:
                self._container.close()
            if self.frames:
                os.replace(self._temporary, self.path)
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(f"{self.path} can't be written ({error.strerror}): check the free space and the permissions") from error
        finally:
            self._temporary.unlink(missing_ok=True)

    def discard(self) -> None:
        """Gives up: no new file is left, and an older one of that name stays. Does nothing after `close()`."""
        import av

        if self._closed:
            return
        self._closed = True
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError):  # a full disk fails again here
                self._container.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> None:
        import av

        # The index goes to the front, so that a browser plays the file while it loads.
        self._container = av.open(str(self._temporary.absolute()), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._fps, options=dict(_X264))
        self._stream.width = self.width + self.width % 2
        self._stream.height = self.height + self.height % 2
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        # What cv2.COLOR_RGB2YUV_I420 makes; without the tags players take pictures of 720 lines and more for BT.709.
        context.colorspace = av.video.reformatter.Colorspace.SMPTE170M
        context.color_range = av.video.reformatter.ColorRange.MPEG
