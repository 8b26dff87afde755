"""Pictures and videos of coloured rectangles, which the networks of nets.py take for people: their boxes are the truth."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from vitruvian.media import VideoWriter

WIDTH, HEIGHT = 320, 240
WALKER = (60, 80)  # width and height of a rectangle, of the pose network's aspect


def boxes_at(time: float) -> np.ndarray:
    """(2, 4) true boxes: red walks to the right, blue to the left, below red."""
    red, blue = (20 + 60 * time, 20.0), (240 - 60 * time, 130.0)
    return np.array([(x, y, x + WALKER[0], y + WALKER[1]) for x, y in (red, blue)]).round()


def picture(boxes: np.ndarray, colours: list[tuple[int, int, int]] | None = None) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) black, with a rectangle in each box, red and blue unless `colours` says otherwise."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for (x0, y0, x1, y1), colour in zip(np.asarray(boxes, int), colours or [(255, 0, 0), (0, 0, 255)], strict=False):
        image[y0:y1, x0:x1] = colour
    return image


def walk(path: Path, times: np.ndarray) -> Path:
    """A video of the two walkers at the given times."""
    return film(path, times, [picture(boxes_at(time)) for time in times])


def film(path: Path, times: np.ndarray, images: list[np.ndarray]) -> Path:
    """A video of the images."""
    with VideoWriter(path, WIDTH, HEIGHT, fps=30) as writer:
        for time, image in zip(times, images, strict=True):
            writer.write(image, float(time))
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG file that claims to be of the given size, and holds nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    coded = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + coded)
    return path
