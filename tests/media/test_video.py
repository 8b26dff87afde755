"""Reading videos: upright, on time, and through damage."""

from __future__ import annotations

import logging
import struct
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vitruvian.errors import MediaError
from vitruvian.media import VideoWriter, open_video

ONE = 65536


def read(path: Path, **options) -> tuple[list, object]:
    video = open_video(path, **options)
    return list(video), video


def is_red(pixel: np.ndarray) -> bool:
    return pixel[0] > 180 and pixel[1] < 80 and pixel[2] < 80


def red_corner(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    at = {"top left": (4, 4), "top right": (4, width - 5), "bottom left": (height - 5, 4), "bottom right": (height - 5, width - 5)}
    return " and ".join(name for name, place in at.items() if is_red(image[place]))


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Writes the track header's matrix of an MP4 (ISO 14496-12, 8.3.2), as a phone does."""
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "matrix, size, corner",
    [
        ((1, 0, 0, 1), (96, 64), "top left"),
        ((0, 1, -1, 0), (64, 96), "top right"),  # a phone held upright: turn the picture clockwise
        ((-1, 0, 0, -1), (96, 64), "bottom right"),
        ((0, -1, 1, 0), (64, 96), "bottom left"),
        ((-1, 0, 0, 1), (96, 64), "top right"),  # the mirrored picture of a front camera
        ((1, 0, 0, -1), (96, 64), "bottom left"),
        ((0, 1, 1, 0), (64, 96), "top left"),
    ],
)
def test_video_is_turned_as_the_display_matrix_says(make_video, matrix, size, corner):
    path = make_video("phone.mp4")
    set_display_matrix(path, *matrix)
    frames, video = read(path)
    assert (video.width, video.height) == size
    assert {frame.image.shape for frame in frames} == {(size[1], size[0], 3)}
    assert {red_corner(frame.image) for frame in frames} == {corner}


@pytest.mark.skipif(not hasattr(av.VideoFrame, "rotation"), reason="this PyAV does not tell the rotation")
def test_rotation_agrees_with_ffmpegs_own_reading_of_it(make_video):
    path = make_video("phone.mp4")
    set_display_matrix(path, 0, 1, -1, 0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        stored = frame.to_ndarray(format="rgb24")
    turned = np.rot90(stored, k=round(frame.rotation / 90))  # both count counter-clockwise
    assert np.array_equal(next(iter(open_video(path))).image, turned)


def test_a_transposed_video_gives_frames_that_can_be_drawn_on(make_video):
    path = make_video("phone.mp4", count=2)
    set_display_matrix(path, 0, 1, 1, 0)
    image = read(path)[0][0].image
    assert image.flags.c_contiguous and image.flags.writeable and image.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_constant_rate_video_gives_every_frame_its_time(make_video, name):
    frames, video = read(make_video(name, count=12, bf="0", codec="mpeg4") if name == "a.avi" else make_video(name, count=12))
    tolerance = 6e-4 if name == "a.mkv" else 1e-4  # Matroska counts milliseconds
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(12) / 30, abs=tolerance)
    assert video.fps == pytest.approx(30)
    assert video.duration == pytest.approx(0.4, abs=2e-3)
    assert video.frame_count == 12
    assert video.broken == 0
    assert {frame.name for frame in frames} == {name}


def test_variable_rate_times_are_those_of_the_stream(make_video):
    ticks = np.cumsum([1, 2, 8, 1] * 12)
    frames, video = read(make_video("vfr.mp4", ticks=[int(tick) for tick in ticks]))
    assert [frame.time for frame in frames] == pytest.approx((ticks - 1) / 30, abs=1e-4)
    assert video.fps == pytest.approx(10, rel=0.1)


def test_a_stream_that_starts_late_counts_from_its_start(make_video):
    frames, _ = read(make_video("late.ts", ticks=range(300, 306)))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(6) / 30, abs=1e-4)


def test_missing_timestamps_are_filled_at_the_average_rate(make_video):
    frames, video = read(make_video("raw.h264", count=6))  # an elementary stream has no timestamps
    assert [frame.time for frame in frames] == pytest.approx(np.arange(6) / video.fps)


def test_times_increase_where_timestamps_jump_back(make_video, tmp_path):
    one = make_video("one.ts", ticks=range(30, 40)).read_bytes()
    (tmp_path / "twice.ts").write_bytes(one + one)
    times = [frame.time for frame in read(tmp_path / "twice.ts")[0]]
    assert len(times) >= 18
    assert (np.diff(times) > 0).all()
    assert times[-1] < 1


def test_a_video_trimmed_by_its_edit_list_is_whole(make_video):
    path = make_video("trimmed.mp4", count=30, bf="0")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        per_frame = int(1 / 30 / container.streams.video[0].time_base)
    struct.pack_into(">ii", data, data.find(b"elst") + 12, 20 * 1000 // 30, 10 * per_frame)  # show 20 frames, from the tenth on
    path.write_bytes(data)
    frames, video = read(path)
    assert len(frames) in (20, 21)
    assert frames[0].time == pytest.approx(0, abs=1e-4)
    assert video.broken == 0


def test_a_video_can_be_read_twice_and_left_early(make_video):
    with open_video(make_video("a.mp4", count=8)) as video:
        assert next(iter(video)).index == 0
        assert len(list(video)) == 8
        assert len(list(video)) == 8


def test_a_closed_video_says_so(make_video):
    video = open_video(make_video("a.mp4", count=8))
    video.close()
    with pytest.raises(MediaError, match="closed"):
        next(iter(video))


def test_an_animated_gif_is_a_video(make_video):
    frames, video = read(make_video("a.gif", count=5, codec="gif"))
    assert len(frames) == 5 and video.kind == "video"
    assert is_red(frames[0].image[4, 4])


def test_a_damaged_frame_is_counted_and_left_out(make_video, packets, caplog):
    path = make_video("hit.mp4", count=30, bf="0", g="5")
    position, size = packets(path)[12]
    data = bytearray(path.read_bytes())
    data[position + 4 : position + size] = bytes(size - 4)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "vitruvian"):
        frames, video = read(path)
    assert video.broken == 1
    assert [frame.index for frame in frames] == list(range(29))
    assert [frame.time for frame in frames] == pytest.approx(np.delete(np.arange(30), 12) / 30, abs=1e-4)
    assert "hit.mp4" in caplog.text and "left out" in caplog.text


@pytest.mark.parametrize("where", ["in a packet", "between packets"])
def test_a_video_cut_in_the_middle_gives_what_is_there_and_counts_the_rest(make_video, packets, caplog, where):
    path = make_video("cut.mp4", count=60, movflags="+faststart")
    position, size = packets(path)[40]
    path.write_bytes(path.read_bytes()[: position + (size // 2 if where == "in a packet" else 0)])
    with caplog.at_level(logging.WARNING, "vitruvian"):
        frames, video = read(path)
    assert 34 <= len(frames) <= 40  # up to a few at the cut wait for references that never come
    assert len(frames) + video.broken == 60
    assert f"{video.broken} are broken or missing" in caplog.text


def test_a_video_cut_before_its_index_says_how_to_repair_it(make_video):
    path = make_video("cut.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"moov") - 4])
    with pytest.raises(MediaError, match="moov.*repair"):
        open_video(path)


def test_a_video_of_which_nothing_can_be_decoded_is_an_error(make_video, packets):
    path = make_video("noise.mp4", count=5)
    data = bytearray(path.read_bytes())
    for position, size in packets(path):
        data[position + 4 : position + size] = bytes(size - 4)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="no frame of"):
        open_video(path)


def test_a_stream_that_changes_its_size_keeps_that_of_the_first_frame(make_video, tmp_path):
    joined = tmp_path / "joined.h264"
    joined.write_bytes(make_video("a.h264", count=4).read_bytes() + make_video("b.h264", count=4, size=(192, 160)).read_bytes())
    frames, video = read(joined)
    assert len(frames) == 8
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)} and (video.width, video.height) == (96, 64)
    assert all(is_red(frame.image[10, 10]) for frame in frames)


@pytest.mark.parametrize("size", [(192, 160), (1600, 1200)])
def test_a_stream_that_grows_over_the_limit_loses_those_frames(make_video, tmp_path, size):
    joined = tmp_path / "joined.h264"
    joined.write_bytes(make_video("a.h264", count=4).read_bytes() + make_video("b.h264", count=4, size=size).read_bytes())
    frames, video = read(joined, max_pixels=100 * 100)
    assert 1 <= len(frames) <= 4
    assert 1 <= video.broken <= 4


def test_the_size_limit_names_its_remedy(make_video):
    with pytest.raises(MediaError, match="96 x 64.*max_pixels=6144"):
        open_video(make_video("big.mp4"), max_pixels=6143)
    assert open_video(make_video("fits.mp4"), max_pixels=6144).width == 96


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(MediaError, match="empty"):
        open_video(tmp_path / "zero.mp4")


@pytest.mark.parametrize(
    "content, found",
    [
        (b"hello\n" * 100, "a text file"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST\n", "a text file"),
        (b"%PDF-1.7\n" + bytes(200), "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "a PNG picture"),
        (b"\x80\x01\x02\x03" * 100, "unknown kind"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, found):
    path = tmp_path / "walk.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=f"not a video.*{found}"):
        open_video(path)


def test_a_playlist_does_not_lead_to_other_files(make_video, tmp_path):
    make_video("secret.ts")
    (tmp_path / "list.ts").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        open_video(tmp_path / "list.ts")


def test_sound_alone_is_an_error(tmp_path):
    with wave.open(str(tmp_path / "voice.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    with pytest.raises(MediaError, match="only sound"):
        open_video(tmp_path / "voice.wav")


@pytest.mark.skipif(not hasattr(av.stream, "Disposition"), reason="this PyAV does not tell cover art from video")
def test_a_song_with_a_cover_is_sound_alone(tmp_path):
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        stream = container.add_stream("mp3", rate=44100)
        for start in range(0, 44100, 1152):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    cover = b"\0image/png\0\x03\0" + cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    tag = b"APIC" + len(cover).to_bytes(4, "big") + b"\0\0" + cover
    length = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    (tmp_path / "song.mp3").write_bytes(b"ID3\x03\0\0" + length + tag + (tmp_path / "song.mp3").read_bytes())
    with av.open(str(tmp_path / "song.mp3")) as container:
        assert len(container.streams.video) == 1  # or this test shows nothing
    with pytest.raises(MediaError, match="only sound"):
        open_video(tmp_path / "song.mp3")


def test_missing_file_and_folder_are_errors(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="not a file"):
        open_video(tmp_path)


def test_full_range_and_limited_range_colours_both_come_out_right(tmp_path):
    for name, pix_fmt in (("limited.mp4", "yuv420p"), ("full.mp4", "yuvj420p")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 64, pix_fmt
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (200, 150, 100), np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
            container.mux(stream.encode(None))
        assert read(tmp_path / name)[0][0].image[32, 32] == pytest.approx((200, 150, 100), abs=4)


def test_paths_with_spaces_colons_and_letters_of_all_kinds(make_video, tmp_path):
    folder = tmp_path / "Übung 1: 歩く"
    folder.mkdir()
    path = make_video("a.mp4", count=3).rename(folder / "file:läuft é.mp4")
    assert len(read(path)[0]) == 3
    with VideoWriter(folder / "out: ü.mp4", 32, 32) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8), 0.0)
    assert len(read(folder / "out: ü.mp4")[0]) == 1


@pytest.mark.shared
def test_real_videos_are_read_whole(shared):
    frames = 0
    video = open_video(shared / "video/sports2d/demo.mp4")
    for frame in video:
        assert frame.time == pytest.approx(frames / 30, abs=1e-3)
        frames += 1
    assert (video.width, video.height, video.broken, frames, video.frame_count) == (1768, 994, 0, 230, 230)
    for path in sorted((shared / "video/pose2sim-single").glob("*.mp4")):
        video = open_video(path)
        assert sum(1 for _ in video) == video.frame_count and video.broken == 0
