"""One entrance for everything that frames come from."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from vitruvian.errors import MediaError
from vitruvian.media.frame import MAX_PIXELS
from vitruvian.media.pictures import PICTURE_SUFFIXES, Pictures, open_pictures
from vitruvian.media.sniff import check_file, is_picture
from vitruvian.media.video import VIDEO_SUFFIXES, Video, open_video


def open_source(source: str | Path | Sequence[str | Path], *, max_pixels: int = MAX_PIXELS) -> Video | Pictures:
    """Opens a video, a picture, a folder or glob of pictures, or a list of picture files; the suffix decides, else the content.

    The result has `kind` ("video" or "pictures"), `name`, `frame_count`, `broken` and `close()`, is a context manager, and yields `Frame`.
    A glob or list with a single video opens that video. Raises MediaError for what does not exist, holds neither pictures nor a
    video, for several videos at once, and for standard input, addresses and webcams.
    """
    if isinstance(source, str | Path):
        text = str(source)
        if not text.strip():
            raise MediaError('an empty path: give a film, pictures, or "." for those of the current folder')
        if text == "-" or "://" in text or text.lower().startswith(("rtsp:", "http:/", "https:/")):
            raise MediaError(f"{text} can't be read: frames come from files only; save it to a file first")
        path = Path(source)
        if not path.exists() and glob.has_magic(text):
            return _open_matches(text, max_pixels)
        if not path.is_dir():
            return _open_file(path, max_pixels)
        return open_pictures(path, max_pixels=max_pixels)
    if not isinstance(source, Sequence):
        raise MediaError(f"{source!r} is no source: give a path or a list of paths (webcams can't be read)")
    videos = [path for path in source if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    if videos and len(source) > 1:
        raise MediaError(f"the list has {len(videos)} videos among {len(source)} files: open one video at a time")
    return open_video(videos[0], max_pixels=max_pixels) if videos else open_pictures(source, max_pixels=max_pixels)


def _open_file(path: Path, max_pixels: int) -> Video | Pictures:
    check_file(path)
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and is_picture(path)):
        return open_pictures(path, max_pixels=max_pixels)
    return open_video(path, max_pixels=max_pixels)


def _open_matches(pattern: str, max_pixels: int) -> Video | Pictures:
    videos = [match for match in glob.iglob(pattern, recursive=True) if Path(match).suffix.lower() in VIDEO_SUFFIXES]
    try:
        return open_pictures(pattern, max_pixels=max_pixels)
    except MediaError:
        if len(videos) == 1:
            return open_video(videos[0], max_pixels=max_pixels)
        if videos:
            raise MediaError(f"{pattern} matches {len(videos)} videos: open one video at a time") from None
        raise
