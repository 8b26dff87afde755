"""Pictures: one file, a folder, a glob or a list, as a stream of upright RGB frames; and single pictures in and out.

What becomes of special pictures: EXIF orientation is applied; 16 bits are scaled to 8; grey gets three channels; transparency (PNG,
WebP) is laid on white, as the figure in a cut-out is often black on a black that nobody sees. Formats: JPEG, PNG, BMP, WebP, TIFF (the
first page). An animated GIF is a video (`open_video`).
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MediaError
from vitruvian.media.frame import MAX_PIXELS, Frame, check_size
from vitruvian.media.headers import Header, read_header
from vitruvian.media.partial import replacing
from vitruvian.media.sniff import check_file, describe

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class Pictures:
    """A sequence of picture files as a stream of `Frame`; made by `open_pictures`. Each iteration starts from the first picture.

    A picture that can't be read is counted in `broken`, warned about and left out; `Frame.index` has no gap there. When there are
    pictures but not one can be read, the iteration ends with MediaError. Without files it yields nothing.
    """

    kind = "pictures"

    def __init__(self, name: str, paths: Sequence[Path], max_pixels: int = MAX_PIXELS) -> None:
        """`name` is the source's name for messages and results, `paths` are the files in order."""
        self.name = name
        self.paths = tuple(paths)
        self.broken = 0
        self._max_pixels = max_pixels
        self._closed = False

    @property
    def frame_count(self) -> int:
        """Number of files, the broken ones among them."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        self.broken = 0
        index = 0
        first_error: MediaError | None = None
        for path in self.paths:
            if self._closed:
                raise MediaError(f"{self.name} is closed: open it again to read it")
            try:
                image = read_image(path, max_pixels=self._max_pixels)
            except MediaError as error:
                self.broken += 1
                first_error = first_error or error
                if len(self.paths) > 1:
                    log.warning("left out: %s", error)
                continue
            yield Frame(image, index, float(index), path.name)
            index += 1
        if first_error is not None and index == 0:
            if len(self.paths) == 1:
                raise first_error
            raise MediaError(f"none of the {len(self.paths)} pictures of {self.name} can be read; the first: {first_error}")

    def close(self) -> None:
        """Ends the reading: a running iteration raises MediaError at its next picture."""
        self._closed = True

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_pictures(source: str | Path | Sequence[str | Path], *, max_pixels: int = MAX_PIXELS) -> Pictures:
    """Opens a picture file, a folder (its pictures by suffix, not those in folders below it), a glob ("shots/*.jpg"), or a list of files.

    Folders and globs are sorted naturally (img2 before img10) and hidden files are passed over; a list keeps its order and may be
    empty. Raises MediaError when a file does not exist, or a folder or a glob has no picture.
    """
    if not isinstance(source, str | Path):
        paths = [Path(path) for path in source]
        for path in paths:
            check_file(path)
        return Pictures(paths[0].name if len(paths) == 1 else f"{len(paths)} pictures", paths, max_pixels)
    path = Path(source)
    if path.is_dir():
        found = _pictures_of(list(path.iterdir()))
        if not found:
            known = ", ".join(sorted(PICTURE_SUFFIXES))
            raise MediaError(f"the folder {path} has no pictures ({known}): give a folder with pictures, or one video file")
        return Pictures(path.resolve().name, found, max_pixels)
    if not path.exists() and glob.has_magic(str(source)):
        found = _pictures_of([Path(match) for match in glob.iglob(str(source), recursive=True)])
        if not found:
            raise MediaError(f"no picture matches {source}: check the pattern")
        return Pictures(path.name, found, max_pixels)
    check_file(path)
    return Pictures(path.name, [path], max_pixels)


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """Reads one picture, by content and not by suffix, upright, as RGB uint8 (H, W, 3).

    Raises MediaError when the file is missing, cut short, damaged, of another kind (the message names it), or has more than
    `max_pixels` pixels; the last is found in the header, before anything is decoded.
    """
    path = Path(path)
    check_file(path)
    try:
        with path.open("rb") as file:
            header = read_header(file)
            if header is not None:
                check_size(str(path), header.width, header.height, max_pixels)
                file.seek(0)
                # A picture without compression, 4 channels of 32 bits, fits; more would be a file made to fill the memory.
                data = file.read(16 * max_pixels + 2**20)
    except OSError as error:
        raise MediaError(f"{path} can't be read ({error.strerror}): check its permissions") from error
    if header is None:
        found = describe(path)
        if found.split()[1] in ("JPEG", "PNG", "BMP", "WebP", "TIFF"):
            raise MediaError(f"{path} is damaged or cut short ({found}): save or copy it again")
        raise MediaError(f"{path} is not a picture that can be read (found {found}): convert it to JPEG or PNG")
    if header.end and data.rfind(header.end) < header.start:
        raise MediaError(f"{path} is cut short: copy or download it again")
    return _decode(path, data, header)


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height as stored, from the header alone; None for files that are no pictures, or can't be read."""
    try:
        with Path(path).open("rb") as file:
            header = read_header(file)
    except OSError:
        return None
    return header and (header.width, header.height)


def write_image(path: str | Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes an RGB uint8 picture (H, W, 3) in the format of the suffix: .png, .jpg (quality 95), .webp, .bmp or .tif.

    The file appears whole or not at all. Raises MediaError when the array or the suffix doesn't fit, or the folder can't be written.
    """
    import cv2

    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES - {".jfif"}:
        raise MediaError(f"{path.name} has no suffix of a picture format: name it .png or .jpg")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MediaError(f"a picture is uint8 of shape (height, width, 3), not {image.dtype} {image.shape}: convert it first")
    try:
        done, encoded = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise MediaError(f"{path} can't be written ({_first_line(error)}): choose another suffix or a smaller picture") from error
    if not done:
        raise MediaError(f"{path} can't be written as {path.suffix}: write a .png")
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _decode(path: Path, data: bytes, header: Header) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    # IMREAD_COLOR does it all (orientation, 16 bits, grey) but drops the alpha channel, so that pictures with one go another way.
    flags = cv2.IMREAD_UNCHANGED if header.alpha else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise MediaError(f"{path} can't be decoded ({_first_line(error)}): save it again") from error
    if image is None:
        raise MediaError(f"{path} is damaged: save or copy it again")
    if image.ndim == 3 and image.shape[2] == 4:
        image = _on_white(image)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)


def _on_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 4) of 8 or 16 bits, colours not multiplied by alpha -> (H, W, 3) of the same depth, over white."""
    top = np.iinfo(image.dtype).max
    alpha = image[..., 3:].astype(np.float32) / top
    return np.rint(image[..., :3] * alpha + top * (1 - alpha)).astype(image.dtype)


def _pictures_of(paths: list[Path]) -> list[Path]:
    """The visible picture files among the paths in natural order. Hidden ones are out: macOS leaves a ._photo.jpg beside each photo."""
    found = [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()]
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorting key under which img2 comes before img10; the text itself breaks ties such as img1 and img01."""
    text = str(path)
    # The parts alternate between text and number, so that the same positions always compare like with like.
    return [int(part) if at % 2 else part.casefold() for at, part in enumerate(re.split(r"(\d+)", text))], text


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
