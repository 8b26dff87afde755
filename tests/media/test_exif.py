"""Field of view from EXIF, of JPEG files made by hand."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.media.exif import field_of_view


def photograph(focal: int, order: str = "<") -> bytes:
    """A JPEG whose EXIF names a focal length in 35 mm film."""
    exif = struct.pack(order + "HHHIHH", 1, 0xA405, 3, 1, focal, 0) + bytes(4)
    directory = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + directory + exif
    segment = b"Exif\0\0" + tiff
    plain = cv2.imencode(".jpg", np.zeros((30, 40, 3), np.uint8))[1].tobytes()
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_telephones_lens(tmp_path, order):
    """26 mm with the diagonal of film, 43.27 mm: on a picture of 4:3 the longer side is 34.6 mm, so 67.3 degrees."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(photograph(26, order))
    assert field_of_view(path, (4000, 3000)) == pytest.approx(67.29, abs=0.05)
    assert field_of_view(path, (3000, 4000)) == field_of_view(path, (4000, 3000))
    assert cv2.imread(str(path)).shape == (30, 40, 3)  # the file is a picture


def test_pictures_that_say_nothing(tmp_path):
    plain = tmp_path / "plain.jpg"
    cv2.imwrite(str(plain), np.zeros((30, 40, 3), np.uint8))
    zero, png = tmp_path / "zero.jpg", tmp_path / "photo.png"
    zero.write_bytes(photograph(0))
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [field_of_view(path, (40, 30)) for path in (plain, zero, png, tmp_path / "missing.jpg")] == [None] * 4


@given(st.integers(0, 90), st.binary(min_size=1, max_size=4), st.integers(0, 120))
def test_damaged_exif_raises_nothing(tmp_path_factory, place, junk, end):
    data = bytearray(photograph(26))
    data[place : place + len(junk)] = junk
    path = tmp_path_factory.mktemp("exif") / "photo.jpg"
    path.write_bytes(bytes(data[: max(end, 2)]))
    found = field_of_view(path, (40, 30))
    assert found is None or 0 < found < 180
