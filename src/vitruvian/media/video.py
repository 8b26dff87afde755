"""Videos as streams of upright RGB frames with their true timestamps (PyAV, so FFmpeg's demuxers and decoders).

Phones store a portrait video sideways and with a varying frame rate; cameras stop in the middle of a write. So: the display matrix is
applied, times come from the stream and never from a frame rate, damage is counted and stepped over.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MediaError
from vitruvian.media.frame import MAX_PIXELS, Frame, check_size
from vitruvian.media.sniff import check_file, describe

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .3gp .3g2 .mkv .webm .avi .mpg .mpeg .vob .ts .mts .m2ts .wmv .asf .flv .ogv .h264 .h265 .hevc .mjpeg .gif".split()
)

# Only these may be opened: FFmpeg would follow the paths and addresses in a playlist (HLS, DASH, concat) that calls itself a video.
_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,gif,h264,hevc,m4v,mjpeg,wav,mp3,flac,aac"
_OPEN_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_MAX_DEMUX_ERRORS = 50
_DEFAULT_FPS = 30.0


class Video:
    """A video file as a stream of `Frame`; made by `open_video`. Each iteration starts from the beginning.

    `width`, `height`: pixels after the rotation; all frames have this size, and those of a stream that changes its size are scaled.
    `fps`: the average rate in Hz, for hints only: `Frame.time` is the truth. `frame_count`: an estimate from the file's header, or None.
    `duration`: seconds, or None. `name`: the file's name. `broken`: how many frames the running iteration had to leave out so far.

    Pixels are those that are stored: a sample aspect ratio other than 1 is not applied. `Frame.time` counts from the start of the
    stream and strictly increases; a frame without a usable timestamp follows the one before it at the average rate.
    """

    kind = "video"

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        """Reads the header and decodes one frame; raises what `open_video` says."""
        self.path = path
        self.paths = (path,)
        self.name = path.name
        self.broken = 0
        self._max_pixels = max_pixels
        self._closed = False
        with _open(path) as container:
            stream = _picture_stream(container, path)
            context = stream.codec_context
            check_size(str(path), context.width, context.height, max_pixels)
            self._stored_size = (context.width, context.height)
            self._turn = (False, False, False)
            self.fps = _rate(stream)
            self.duration = _duration(container, stream)
            self.frame_count = stream.frames or (round(self.duration * self.fps) if self.duration else None)
            lost: list[str] = []
            first = next(_decode(container, stream, max_pixels, lambda count, reason: lost.append(reason)), None)
            if first is not None:
                self._stored_size = (first.width, first.height)
                self._turn = _turn(first)
            elif lost:
                raise MediaError(f"no frame of {path} can be decoded ({lost[0]}): copy or record it again")
        self.width, self.height = self._stored_size[::-1] if self._turn[0] else self._stored_size

    def __iter__(self) -> Iterator[Frame]:
        from av.error import FFmpegError
        from av.video.reformatter import VideoReformatter

        self.broken = 0
        # One reformatter for all frames keeps its tables: 340 frames/s at 1768x994 against 265 with `frame.to_ndarray(format="rgb24")`.
        reformatter = VideoReformatter()
        index = 0
        clock = _Clock(self.fps)
        with _open(self.path) as container:
            stream = _picture_stream(container, self.path)
            for decoded in _decode(container, stream, self._max_pixels, self._lose):
                if self._closed:
                    raise MediaError(f"{self.name} is closed: open it again to read it")
                time = clock.time(decoded.pts, decoded.time_base or stream.time_base, stream.start_time)
                try:
                    image = self._upright(decoded, reformatter)
                except FFmpegError as error:
                    self._lose(1, str(error))
                    continue
                yield Frame(image, index, time, self.name)
                index += 1
        if self.broken:
            log.warning("%s: %d frames were read, %d are broken or missing and were left out", self.name, index, self.broken)

    def close(self) -> None:
        """Ends the reading: a running iteration raises MediaError at its next frame. The file is closed when the iteration ends."""
        self._closed = True

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _lose(self, count: int, reason: str) -> None:
        if not self.broken:
            log.warning("%s: a frame can't be decoded and is left out (%s); reading goes on", self.name, reason)
        self.broken += count

    def _upright(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> UInt8[np.ndarray, "h w 3"]:
        import cv2

        width, height = self._stored_size
        image = reformatter.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        transpose, flip_x, flip_y = self._turn
        if transpose:
            image = cv2.transpose(image)
        if flip_x or flip_y:
            image = cv2.flip(image, -1 if flip_x and flip_y else int(flip_x))
        return image


def open_video(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Video:
    """Opens a video file (MP4, MOV, MKV, WebM, AVI, TS, animated GIF, ...) and decodes its first frame to know the upright size.

    Raises MediaError when the file is missing, empty, no video (the message names what it is), sound only, cut before its index was
    written, larger than `max_pixels` per frame, or when not one frame of it can be decoded. A video without frames is valid.
    """
    path = Path(path)
    check_file(path)
    return Video(path, max_pixels)


def _open(path: Path) -> InputContainer:
    import av

    try:
        # Absolute, so that no part of a name is taken for a protocol. Titles in other encodings than UTF-8 don't matter here.
        return av.open(str(path.resolve()), options=_OPEN_OPTIONS, metadata_errors="ignore")
    except av.error.FFmpegError as error:
        raise MediaError(_why_not(path, error)) from error


def _why_not(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} can't be read: check its permissions"
    found = describe(path)
    if found == "an MP4 or MOV video" and b"moov" not in _top_boxes(path):
        return (
            f"{path} was cut before its index (moov) was written, so that no player can read it: "
            "copy it again, or rebuild it with a repair tool such as untrunc and an intact video of the same camera"
        )
    if found.endswith("video"):
        return f"{path} is damaged or of a kind that can't be read ({found}): copy it again, or convert it to MP4"
    return f"{path} is not a video (found {found}): give a video such as .mp4, .mov, .mkv, .webm or .avi"


def _top_boxes(path: Path) -> set[bytes]:
    """Names of the top-level boxes of an ISO media file (ISO 14496-12, 4.2) as far as they lie within the file."""
    names = set()
    with path.open("rb") as file:
        size = path.stat().st_size
        at = 0
        while at + 8 <= size and len(names) < 100:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            names.add(head[4:8])
            if length < 8:  # 0 means: to the end of the file
                break
            at += length
    return names


def _picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not cover art, set up for threaded decoding."""
    for stream in container.streams.video:
        disposition = getattr(stream, "disposition", None)  # PyAV before 14.1 doesn't tell
        if disposition is not None and disposition & type(disposition).attached_pic:
            continue
        if stream.codec_context is None:
            raise MediaError(f"{path} has a video codec that this PyAV can't decode: convert it to H.264 (.mp4)")
        stream.thread_type = "AUTO"
        return stream
    found = "only sound" if container.streams.audio else "no video stream"
    raise MediaError(f"{path} has {found}: give a file with a video in it")


def _rate(stream: VideoStream) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < float(rate) < 1e5:
            return float(rate)
    return _DEFAULT_FPS


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _decode(
    container: InputContainer, stream: VideoStream, max_pixels: int, lose: Callable[[int, str], None]
) -> Iterator[av.VideoFrame]:
    """Decoded frames in the order of display. `lose(count, reason)` is called for frames that are damaged or missing."""
    from av.error import FFmpegError

    # Streams may grow on their way: libavcodec then refuses before it allocates. It counts its padding, hence the room here.
    stream.codec_context.options = {"max_pixels": str(max_pixels * 5 // 4 + 2**20)}
    frames = lost = discarded = 0
    for packet in _packets(container, stream, lose):
        if packet.is_corrupt:
            lost += 1
            lose(1, "cut short")
            continue
        discarded += packet.is_discard
        try:
            decoded = packet.decode()
        except FFmpegError as error:
            lost += 1
            lose(1, str(error))
            continue
        for frame in decoded:
            if frame.is_corrupt or frame.width * frame.height > max_pixels:
                lost += 1
                lose(1, "damaged" if frame.is_corrupt else f"{frame.width} x {frame.height} pixels are over the limit")
            else:
                frames += 1
                yield frame
    # MP4 and MOV have an index with one entry per frame; so what a cut file lacks, and what a threaded decoder drops at its end, shows.
    if container.format.name.startswith("mov") and stream.frames:
        missing = (len(getattr(stream, "index_entries", ())) or stream.frames) - discarded - frames - lost
        if missing > 0:
            lose(missing, "missing in the file")


def _packets(container: InputContainer, stream: VideoStream, lose: Callable[[int, str], None]) -> Iterator[av.Packet]:
    """The stream's packets, the empty one that flushes the decoder last; goes on after a damaged place in the container."""
    from av.error import FFmpegError

    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from container.demux(stream)
            return
        except FFmpegError as error:
            lose(1, str(error))
    log.warning("%s: too many damaged places, the rest is left out", Path(container.name).name)


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then mirror in x, then mirror in y) that make a stored frame upright.

    The display matrix is 3 x 3 int32 row by row, and takes the row vector (x, y, 1); see libavutil/display.h. Rotations that are no
    multiple of 90 degrees, which no camera writes, go to the nearest one.
    """
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None or len(bytes(data)) < 36:
        return False, False, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


class _Clock:
    """Timestamps to seconds from the start of the stream, strictly increasing."""

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._origin: float | None = None
        self._last = -math.inf

    def time(self, pts: int | None, base: object, start: int | None) -> float:
        """Seconds of a frame with timestamp `pts` in units of `base`; `start` is the stream's first timestamp where the file says it."""
        if pts is not None and base:
            stamp = float(pts * base)
            if self._origin is None:
                # A frame before the stated start makes its own time the start, so that no time is negative.
                self._origin = min(stamp, float(start * base)) if start is not None else stamp
            stamp -= self._origin
            if stamp > self._last:
                self._last = stamp
                return stamp
        self._last = 0.0 if self._last == -math.inf else self._last + self._step
        return self._last
