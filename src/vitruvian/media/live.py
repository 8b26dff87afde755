"""Cameras and streams, and files played as if they were: always the newest frame, never a queue of old ones."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MediaError
from vitruvian.media.frame import MAX_PIXELS, Frame, check_size
from vitruvian.media.video import Video

if TYPE_CHECKING:
    from av.container import InputContainer

log = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
"""Addresses that are live streams."""

# What a stream may lead to: other addresses, never files of this machine.
_PROTOCOLS = "rtsp,rtsps,rtp,rtmp,http,https,httpproxy,tls,tcp,udp,srt,crypto"
_TIMEOUT = (10.0, 10.0)  # seconds without an answer: at the opening, and between packets
_CAMERA = re.compile(r"camera:(\d+)")

Images = Iterator[tuple[UInt8[np.ndarray, "h w 3"], float]]


def is_live(source: object) -> bool:
    """Whether a source is the address of a stream (`rtsp://...`) or a camera (`camera:0`)."""
    text = source if isinstance(source, str) else ""
    return _CAMERA.fullmatch(text) is not None or text.lower().partition("://")[0] in SCHEMES and "://" in text


class Live:
    """A camera, a stream, or a file played at its own pace, as a source of `Frame`. Can be iterated once.

    `Frame.time` is in seconds from the first frame: when it arrived, or when the file shows it. While the consumer is busy, frames are
    dropped (`dropped` counts them): it always gets the newest one. `width`, `height`: pixels. `fps`: what the stream says, for hints only.
    """

    kind = "video"
    frame_count = None
    paths = ()

    def __init__(self, name: str, size: tuple[int, int], fps: float, images: Callable[[], Images]) -> None:
        """`images` yields RGB images with their times, each when it is there to be seen."""
        self.name, self.fps, self.dropped = name, fps, 0
        self.width, self.height = size
        self._images = images
        self._newest: tuple[np.ndarray, float] | None = None
        self._error: Exception | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._start = 0.0  # of the clock of this machine, where `Frame.time` is 0

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._read, name="vitruvian-live", daemon=True)
        thread.start()
        try:
            index = 0
            while (item := self._wait()) is not None:
                yield Frame(item[0], index, item[1], self.name)
                index += 1
        finally:
            self.close()

    def age(self, frame: Frame) -> float:
        """Seconds since the frame was there to be seen."""
        return max(0.0, time.monotonic() - self._start - frame.time)

    def close(self) -> None:
        """Ends the reading: the iteration stops at its next frame."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _wait(self) -> tuple[np.ndarray, float] | None:
        """The newest frame that nobody had yet; None at the end."""
        with self._changed:
            while self._newest is None and not self._ended:
                self._changed.wait()
            item, self._newest = self._newest, None
        if item is None and self._error:
            raise self._error
        return item

    def _read(self) -> None:
        try:
            for image, shown in self._images():
                if not self._start:
                    self._start = time.monotonic() - shown
                with self._changed:
                    if self._ended:
                        return
                    self.dropped += self._newest is not None
                    self._newest = (image, shown)
                    self._changed.notify()
        except Exception as error:  # raised again in the consumer's thread, where it can be seen
            self._error = error
        finally:
            self.close()


def paced(video: Video) -> Live:
    """A file as if it were a camera: each frame comes at its time, and whoever is late misses some."""

    def images() -> Images:
        start = None  # where the first frame is there: opening the file takes its time
        for frame in video:
            start = time.monotonic() - frame.time if start is None else start
            time.sleep(max(0.0, start + frame.time - time.monotonic()))
            yield frame.image, frame.time

    return Live(video.name, (video.width, video.height), video.fps, images)


def open_live(address: str, *, max_pixels: int = MAX_PIXELS) -> Live:
    """A stream (`rtsp://`, `http://`, `udp://`, ...) or a camera of this machine (`camera:0`).

    Raises MediaError when nothing answers within ten seconds, or what answers is no video.
    """
    container = _open(address)
    try:
        stream = container.streams.video[0] if container.streams.video else None
        if stream is None:
            raise MediaError(f"{address} sends no pictures: check the address")
        context = stream.codec_context
        check_size(address, context.width, context.height, max_pixels)
        stream.thread_type = "SLICE"  # decoding frames in parallel would hold some back
    except BaseException:
        container.close()
        raise
    size, fps = (context.width, context.height), float(stream.average_rate or stream.guessed_rate or 30)
    name = _without_password(address)
    return Live(name, size, fps, lambda: _arriving(container, name, size))


def _arriving(container: InputContainer, address: str, size: tuple[int, int]) -> Images:
    """Every frame that can be decoded, with the time of its arrival. A stream that breaks off has ended."""
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    reformatter, start = VideoReformatter(), None
    with container:
        packets = container.demux(video=0)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                if start is None:
                    raise MediaError(f"{address} broke off before its first frame ({error.strerror}): check what is sending") from None
                log.warning("%s broke off (%s)", address, error.strerror)
                return
            if packet is None:
                return
            try:
                images = [reformatter.reformat(one, width=size[0], height=size[1], format="rgb24").to_ndarray() for one in packet.decode()]
            except FFmpegError as error:
                log.debug("a frame is left out: %s", error)
                continue
            start = time.monotonic() if start is None else start
            yield from ((image, time.monotonic() - start) for image in images)


def _open(address: str) -> InputContainer:
    import av

    camera = _CAMERA.fullmatch(address)
    try:
        if camera:
            device, form = _camera(int(camera[1]))
            return av.open(device, format=form)
        options = {"protocol_whitelist": _PROTOCOLS, "fflags": "nobuffer", "rtsp_transport": "tcp"}
        return av.open(address, options=options, timeout=_TIMEOUT, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{_without_password(address)} can't be opened ({reason}): check the address, and that it is sending") from None


def _camera(number: int) -> tuple[str, str]:
    """Name and FFmpeg format of a camera of this machine."""
    if sys.platform == "darwin":
        return str(number), "avfoundation"
    if sys.platform == "win32":
        raise MediaError("cameras by number are not known on Windows: give a stream's address, as rtsp://...")
    return f"/dev/video{number}", "v4l2"


def _without_password(address: str) -> str:
    """The address as it may be shown and stored."""
    return re.sub(r"//[^/@]*@", "//", address)
