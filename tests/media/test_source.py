"""One entrance for videos and pictures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vitruvian.errors import MediaError
from vitruvian.media import open_source, write_image

IMAGE = np.zeros((20, 30, 3), np.uint8)


def test_suffix_decides(make_video, tmp_path):
    write_image(tmp_path / "a.png", IMAGE)
    for source, kind in ((make_video("a.MP4"), "video"), (tmp_path / "a.png", "pictures"), (str(tmp_path), "pictures")):
        with open_source(source) as opened:
            assert opened.kind == kind
            assert opened.name
            assert sum(1 for _ in opened) == opened.frame_count
            assert opened.broken == 0


def test_content_decides_where_the_suffix_says_nothing(make_video, tmp_path):
    write_image(tmp_path / "a.png", IMAGE)
    assert open_source((tmp_path / "a.png").rename(tmp_path / "upload1")).kind == "pictures"
    assert open_source(make_video("a.mp4").rename(tmp_path / "upload2.bin")).kind == "video"


def test_lists_and_globs_of_pictures(tmp_path):
    for name in ("1.png", "2.png"):
        write_image(tmp_path / name, IMAGE)
    assert open_source(str(tmp_path / "*.png")).frame_count == 2
    assert open_source([tmp_path / "2.png", str(tmp_path / "1.png")]).frame_count == 2
    assert list(open_source([])) == []


def test_one_video_in_a_list_or_glob_is_opened_and_several_are_an_error(make_video, tmp_path):
    path = make_video("a.mp4")
    assert open_source([path]).kind == "video"
    assert open_source(str(tmp_path / "*.mp4")).kind == "video"
    make_video("b.mp4")
    with pytest.raises(MediaError, match="2 videos"):
        open_source(str(tmp_path / "*.mp4"))
    with pytest.raises(MediaError, match="one video at a time"):
        open_source([path, path])


@pytest.mark.parametrize("source", ["-", "http://example.com/a.mp4", "https://example.com/a.jpg", "rtsp://camera/1", 0, None])
def test_streams_and_webcams_are_refused(source):
    with pytest.raises(MediaError, match="can't be read"):
        open_source(source)


@pytest.mark.parametrize("name", ["none.mp4", "none.jpg", "none", "none/*.jpg"])
def test_what_is_not_there_is_an_error(tmp_path, name):
    with pytest.raises(MediaError, match="does not exist|matches"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a"])
def test_what_is_neither_is_named(tmp_path, name):
    (tmp_path / name).write_text("hello, I am text")
    with pytest.raises(MediaError, match="a text file"):
        list(open_source(tmp_path / name))


def test_the_import_loads_no_decoder():
    code = "import sys, vitruvian.media; print(sorted({'av', 'cv2', 'torch', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
