"""Writing videos: times, odd sizes, and what is left after an accident."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vitruvian.errors import MediaError
from vitruvian.media import VideoWriter, open_video


def blank(width: int, height: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_variable_times_come_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.004, 0.5, 60))])
    with VideoWriter(tmp_path / "a.mp4", 64, 48, fps=30.0) as writer:
        for time in times:
            writer.write(blank(64, 48), float(time))
    assert [frame.time for frame in open_video(tmp_path / "a.mp4")] == pytest.approx(times, abs=1e-4)


def test_the_file_plays_at_the_rate_of_its_times_whatever_the_hint(tmp_path):
    for hint in (30.0, 59.94, 0.0, float("nan"), 1e9):
        with VideoWriter(tmp_path / "a.mp4", 32, 32, fps=hint) as writer:
            for index in range(24):
                writer.write(blank(32, 32), index / 12)
        video = open_video(tmp_path / "a.mp4")
        assert video.fps == pytest.approx(12, rel=0.05)
        assert [frame.time for frame in video] == pytest.approx(np.arange(24) / 12, abs=1e-4)


def test_times_that_do_not_increase_are_moved_behind_the_one_before(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 32, 32) as writer:
        for time in (0.0, 0.5, 0.5, 0.4, 1.0):
            writer.write(blank(32, 32), time)
    times = [frame.time for frame in open_video(tmp_path / "a.mp4")]
    assert (np.diff(times) > 0).all()
    assert times == pytest.approx([0, 0.5, 0.5, 0.5, 1], abs=1e-4)


def test_colours_come_back(tmp_path):
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 150, 120)]
    with VideoWriter(tmp_path / "a.mp4", 64, 64) as writer:
        for index, color in enumerate(colors):
            writer.write(np.full((64, 64, 3), color, np.uint8), index / 30)
    got = [frame.image[32, 32] for frame in open_video(tmp_path / "a.mp4")]
    assert np.abs(np.array(got, int) - colors).max() <= 6


@pytest.mark.parametrize("width, height", [(33, 48), (48, 33), (33, 35), (1, 1)])
def test_odd_sizes_are_padded_right_and_below(tmp_path, width, height):
    image = blank(width, height, 60)
    image[-1, -1] = 200  # what is padded repeats the edge
    with VideoWriter(tmp_path / "a.mp4", width, height) as writer:
        writer.write(image, 0.0)
    frame = next(iter(open_video(tmp_path / "a.mp4")))
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    assert frame.image[0, 0].mean() == pytest.approx(200 if width == 1 else 60, abs=25)
    assert frame.image[-1, -1].mean() == pytest.approx(200, abs=40)


@pytest.mark.parametrize("accident", [ValueError, KeyboardInterrupt])
def test_an_accident_leaves_a_valid_video_of_what_was_written(tmp_path, accident):
    with pytest.raises(accident):
        with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
            for index in range(7):
                writer.write(blank(64, 48), index / 30)
            raise accident
    assert len(list(open_video(tmp_path / "a.mp4"))) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_without_frames_no_file_is_left(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 64, 48):
        pass
    with pytest.raises(ValueError):
        with VideoWriter(tmp_path / "b.mp4", 64, 48):
            raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, 64, 48)
    writer.write(blank(64, 48), 0.0)
    assert path.read_bytes() == b"old"
    writer.close()
    writer.close()
    assert len(list(open_video(path))) == 1
    with pytest.raises(MediaError, match="closed"):
        writer.write(blank(64, 48), 1.0)


@pytest.mark.parametrize("frames", [0, 3])
def test_a_discarded_video_leaves_the_old_file(tmp_path, frames):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, 64, 48)
    for index in range(frames):
        writer.write(blank(64, 48), index / 30)
    writer.discard()
    writer.close()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_any_player_can_show_it_while_it_loads(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        writer.write(blank(64, 48), 0.0)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize(
    "image, time",
    [
        (np.zeros((48, 63, 3), np.uint8), 0.0),
        (np.zeros((48, 64), np.uint8), 0.0),
        (np.zeros((48, 64, 3), np.float32), 0.0),
        (np.zeros((48, 64, 3), np.uint8), float("nan")),
        (np.zeros((48, 64, 3), np.uint8), -1.0),
    ],
)
def test_what_is_no_frame_of_this_video_is_refused(tmp_path, image, time):
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        with pytest.raises(MediaError):
            writer.write(image, time)


def test_bad_targets_are_refused_at_once(tmp_path):
    with pytest.raises(MediaError, match=r"name it a\.mp4"):
        VideoWriter(tmp_path / "a.avi", 64, 48)
    with pytest.raises(MediaError, match="create it"):
        VideoWriter(tmp_path / "none" / "a.mp4", 64, 48)
    with pytest.raises(MediaError, match="at least 1 x 1"):
        VideoWriter(tmp_path / "a.mp4", 0, 48)


def test_frames_that_are_views_can_be_written(tmp_path):
    wide = np.zeros((48, 128, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        writer.write(wide[:, ::2], 0.0)
        writer.write(wide[:, :64][::-1, :, ::-1], 0.1)
    assert len(list(open_video(tmp_path / "a.mp4"))) == 2
