"""What a file is by its first bytes: for error messages that name what was found, and for files without a telling suffix."""

from __future__ import annotations

from pathlib import Path

from vitruvian.errors import MediaError

# (offset, bytes there, the words for it)
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"BM", "a BMP picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"II+\0", "a TIFF picture"),
    (0, b"MM\0+", "a TIFF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypavi", "an AVIF picture"),
    (4, b"ftypM4A", "an M4A sound file"),
    (4, b"ftyp", "an MP4 or MOV video"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WAVE", "a WAV sound file"),
    (0, b"GIF8", "a GIF"),
    (0, b"ID3", "an MP3 sound file"),
    (0, b"fLaC", "a FLAC sound file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
)


def describe(path: Path) -> str:
    """What the file is, in words for a message: "a PNG picture", "a text file", "an empty file", "a file of an unknown kind"."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    for offset, signature, words in _SIGNATURES:
        if head.startswith(signature, offset):
            return words
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "a text file"
    return "a file of an unknown kind"


def is_picture(path: Path) -> bool:
    """True when the first bytes are those of a picture that `read_image` reads, or of one that it names in its error."""
    return describe(path).endswith("picture")


def check_file(path: Path) -> None:
    """Raises MediaError unless the path is a file with something in it."""
    try:
        if not path.exists():
            raise MediaError(f"{path} does not exist: check the path")
        if not path.is_file():
            raise MediaError(f"{path} is not a file: give a picture or a video")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes): copy or record it again")
    except OSError as error:
        raise MediaError(f"{path} can't be read ({error.strerror}): check the path and its permissions") from error
