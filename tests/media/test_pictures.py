"""Reading and writing pictures of every make."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vitruvian.errors import MediaError
from vitruvian.media import open_pictures, read_image, write_image

# EXIF with nothing but an orientation
EXIF = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0%c\0\0\0\0\0\0\0"


def picture(width: int = 60, height: int = 40) -> np.ndarray:
    """Smooth colours, red to the right, green downwards; no mirroring or rotation maps it to itself."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 200, height).astype(np.uint8)[:, None]
    return image


def save(path: Path, image: np.ndarray) -> Path:
    """Writes an array as OpenCV has it: BGR(A) or grey, 8 or 16 bits."""
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def png(width: int, height: int) -> bytes:
    """A PNG with a right header and next to no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix, error", [(".png", 0), (".bmp", 0), (".tif", 0), (".webp", 3), (".jpg", 12)])
def test_a_picture_comes_back_in_every_format(tmp_path, suffix, error):
    path = tmp_path / f"Größe 写真{suffix}"
    write_image(path, picture())
    got = read_image(path)
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    assert np.abs(got.astype(int) - picture()).max() <= error * 4
    assert np.abs(got.astype(int) - picture()).mean() <= error
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "orientation, upright",
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda image: np.rot90(image, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, upright):
    path = save(tmp_path / "phone.jpg", picture()[..., ::-1])
    data = path.read_bytes()
    path.write_bytes(data[:2] + EXIF % orientation + data[2:])
    got, wanted = read_image(path), upright(picture())
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted).mean() < 12


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    deep = picture()[..., ::-1].astype(np.uint16) * 257
    assert np.abs(read_image(save(tmp_path / "a.png", deep)).astype(int) - picture()).max() <= 1
    assert np.abs(read_image(save(tmp_path / "a.tif", deep)).astype(int) - picture()).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_gets_three_channels(tmp_path, dtype):
    grey = picture()[..., 0].astype(dtype) * (257 if dtype == np.uint16 else 1)
    got = read_image(save(tmp_path / "a.png", grey))
    assert got.shape == (40, 60, 3)
    assert np.abs(got.astype(int) - picture()[..., :1]).max() <= 1


@pytest.mark.parametrize("suffix, dtype", [(".png", np.uint8), (".png", np.uint16), (".webp", np.uint8)])
def test_transparency_is_laid_on_white(tmp_path, suffix, dtype):
    top = np.iinfo(dtype).max
    image = np.zeros((30, 30, 4), dtype)  # all black; left transparent, middle half, right opaque
    image[:, 10:20, 3] = top // 2
    image[:, 20:, 3] = top
    got = read_image(save(tmp_path / f"cutout{suffix}", image)).astype(int)
    assert got[15, [4, 15, 25]].mean(axis=1) == pytest.approx([255, 128, 0], abs=4)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(20_000, 20_000))
    with pytest.raises(MediaError, match=r"20000 x 20000 pixels.*limit of 64 million.*max_pixels=400000000") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_the_limit_holds_in_every_format(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", picture())
    assert read_image(path, max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(MediaError, match="60 x 40"):
        read_image(path, max_pixels=2399)


def test_a_lossless_webp_is_limited_too(tmp_path):
    path = tmp_path / "a.webp"
    path.write_bytes(cv2.imencode(".webp", picture(), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())
    with pytest.raises(MediaError, match="60 x 40"):
        read_image(path, max_pixels=100)
    assert read_image(path).shape == (40, 60, 3)


def test_a_size_that_lies_about_its_data_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(png(6000, 6000))
    with pytest.raises(MediaError, match="damaged"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(0, 10))
    with pytest.raises(MediaError, match="no pixels"):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("part", [0.001, 0.02, 0.3, 0.7, 0.98])
def test_a_picture_cut_anywhere_is_an_error_with_a_remedy(tmp_path, suffix, part):
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"a{suffix}", rng.integers(0, 255, (64, 80, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: max(3, int(len(data) * part))])
    with pytest.raises(MediaError, match="again|convert|not a picture"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_random_damage_gives_a_picture_or_a_media_error(tmp_path, suffix):
    whole = cv2.imencode(suffix, picture())[1].tobytes()
    rng = np.random.default_rng(1)
    for trial in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 200 if trial % 2 else len(data)), 3):
            data[at] = rng.integers(256)
        (tmp_path / f"a{suffix}").write_bytes(data)
        try:
            assert read_image(tmp_path / f"a{suffix}", max_pixels=100_000).ndim == 3
        except MediaError:
            pass


def test_the_content_counts_and_not_the_suffix(tmp_path):
    path = save(tmp_path / "a.png", picture()[..., ::-1]).rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(path), picture())


@pytest.mark.parametrize(
    "content, found",
    [
        (b"", "empty"),
        (b"<html>", "a text file"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "a HEIC picture"),
        (b"\0\0\0\x18ftypisom" + bytes(50), "an MP4"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, found):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(MediaError, match=found):
        read_image(tmp_path / "a.jpg")


def test_a_folder_is_read_in_natural_order(tmp_path):
    for name in ("img10.png", "img2.PNG", "IMG1.png", "b.png", "._img3.png", ".hidden.png", "notes.txt", "walk.mp4"):
        write_image(tmp_path / "x.png", picture()[: 5 + len(name)])
        (tmp_path / "x.png").rename(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    pictures = open_pictures(tmp_path)
    frames = list(pictures)
    assert [frame.name for frame in frames] == ["b.png", "IMG1.png", "img2.PNG", "img10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time for frame in frames] == [0.0, 1.0, 2.0, 3.0]
    assert pictures.frame_count == 4 and pictures.kind == "pictures" and pictures.name == tmp_path.name


def test_globs_and_lists(tmp_path):
    for name in ("a2.png", "a10.png", "b.png"):
        write_image(tmp_path / name, picture())
    assert [frame.name for frame in open_pictures(str(tmp_path / "a*.png"))] == ["a2.png", "a10.png"]
    assert [frame.name for frame in open_pictures([tmp_path / "b.png", str(tmp_path / "a2.png")])] == ["b.png", "a2.png"]
    assert list(open_pictures([])) == []
    with pytest.raises(MediaError, match="matches"):
        open_pictures(str(tmp_path / "z*.png"))
    with pytest.raises(MediaError, match="does not exist"):
        open_pictures([tmp_path / "z.png"])


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    write_image(tmp_path / "shot[1].png", picture())
    assert [frame.name for frame in open_pictures(str(tmp_path / "shot[1].png"))] == ["shot[1].png"]


def test_a_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MediaError, match="no pictures"):
        open_pictures(tmp_path)


def test_a_broken_picture_in_a_folder_is_counted_and_left_out(tmp_path, caplog):
    for name in ("1.png", "2.png", "3.png"):
        write_image(tmp_path / name, picture())
    (tmp_path / "2.png").write_bytes(b"oops")
    pictures = open_pictures(tmp_path)
    for _ in range(2):
        with caplog.at_level(logging.WARNING, "vitruvian"):
            frames = list(pictures)
        assert [(frame.index, frame.name) for frame in frames] == [(0, "1.png"), (1, "3.png")]
        assert pictures.broken == 1
    assert "2.png" in caplog.text


def test_nothing_but_broken_pictures_is_an_error(tmp_path):
    (tmp_path / "1.png").write_bytes(b"oops")
    with pytest.raises(MediaError, match=r"1\.png is not a picture"):
        list(open_pictures(tmp_path / "1.png"))
    (tmp_path / "2.png").write_bytes(b"oops")
    with pytest.raises(MediaError, match="none of the 2 pictures"):
        list(open_pictures(tmp_path))


@pytest.mark.parametrize(
    "name, image",
    [
        ("a.xyz", picture()),
        ("a", picture()),
        ("a.png", picture().astype(np.float32)),
        ("a.png", picture()[..., 0]),
        ("a.png", picture()[:0]),
        ("none/a.png", picture()),
        ("a.webp", np.zeros((2, 20_000, 3), np.uint8)),
    ],
)
def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, name, image):
    with pytest.raises(MediaError):
        write_image(tmp_path / name, image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shared
def test_real_photos_are_read(shared):
    frames = list(open_pictures(shared / "images/coco"))
    assert len(frames) == 4
    assert all(min(frame.image.shape[:2]) > 300 and frame.image.std() > 20 for frame in frames)
