"""Empty, broken and interrupted: typed results or errors of one line, and never half a file."""

import os
import sys

import numpy as np
import pytest

from scenes import HEIGHT, WIDTH, boxes_at, film, picture, png_header, walk

pytest.importorskip("nets", reason="needs onnx")

import av  # noqa: E402

from vitruvian.capture import capture, sinks  # noqa: E402
from vitruvian.capture.journal import Journal  # noqa: E402
from vitruvian.capture.outputs import LIST  # noqa: E402
from vitruvian.errors import FormatError, MediaError, MissingExtraError, WeightsError  # noqa: E402
from vitruvian.formats.coco import read_coco  # noqa: E402
from vitruvian.media import read_image, write_image  # noqa: E402
from vitruvian.take import Take  # noqa: E402


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files_in(folder):
    """Every file below, hidden ones too, but for the list of those that a capture wrote."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != LIST)


def assert_one_line(error):
    assert "\n" not in str(error.value) and ": " in str(error.value)


@pytest.mark.parametrize("shade", [0, 90])
def test_a_picture_without_people_is_a_take_with_zero_rows(networks, tmp_path, out, shade):
    write_image(tmp_path / "nobody.png", np.full((HEIGHT, WIDTH, 3), shade, np.uint8))
    take = capture(tmp_path / "nobody.png", out, formats=["json", "openpose"], **networks)
    assert len(take.people) == 0 and len(take.times) == 1 and take.complete and take.keypoints.shape == (0, 133, 2)
    assert files_in(out) == ["keypoints.json", "openpose/nobody_keypoints.json", "overlay.png", "take.npz"]
    assert len(read_coco(out / "keypoints.json").people) == 0 and len(Take.load(out / "take.npz").people) == 0
    assert (read_image(out / "overlay.png") == shade).all()


def test_a_video_of_one_frame(networks, tmp_path, out):
    take = capture(walk(tmp_path / "one.mp4", np.array([0.0])), out, **networks)
    assert take.tracks.tolist() == [1, 2] and len(take.times) == 1
    with av.open(str(out / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 1


def test_a_video_with_nobody_in_it(networks, tmp_path, out):
    take = capture(film(tmp_path / "dark.mp4", np.arange(3) / 30, [picture([])] * 3), out, **networks)
    assert len(take.people) == 0 and len(take.times) == 3
    assert files_in(out) == ["keypoints.json", "overlay.mp4", "take.npz"]


def test_a_video_without_frames_is_a_take_with_zero_frames(networks, tmp_path, out):
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    take = capture(path, out, **networks)
    assert len(take.people) == len(take.times) == 0 and take.sizes.shape == (0, 2)
    assert files_in(out) == ["keypoints.json", "take.npz"]
    assert len(Take.load(out / "take.npz").times) == len(read_coco(out / "keypoints.json").times) == 0


def test_a_cut_video_with_its_index_gives_what_is_left(networks, tmp_path, out):
    whole = walk(tmp_path / "whole.mp4", np.arange(60) / 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(0.7 * len(whole))])
    take = capture(tmp_path / "cut.mp4", out, **networks)
    assert 0 < len(take.times) < 60 and take.tracks.tolist() == [1, 2]


def broken_sources(folder):
    """name -> a source that can't be captured."""
    (folder / "empty").mkdir()
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    whole = walk(folder / "whole.mp4", np.arange(4) / 30).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[:60])
    (folder / "spoilt").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "spoilt" / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return {
        "a file of zero bytes": folder / "zero.mp4",
        "a picture of zero bytes": folder / "zero.jpg",
        "a text": folder / "text.mp4",
        "a video cut before its index": folder / "cut.mp4",
        "a picture of 20,000 x 20,000 pixels": png_header(folder / "huge.png", 20_000, 20_000),
        "a folder without pictures": folder / "empty",
        "a folder of damaged pictures": folder / "spoilt",
        "a missing file": folder / "missing.mp4",
    }


@pytest.mark.parametrize("kind", range(8))
def test_a_source_that_cannot_be_read_is_one_line_and_leaves_no_file(networks, tmp_path, out, kind):
    source = list(broken_sources(tmp_path).values())[kind]
    with pytest.raises(MediaError) as error:
        capture(source, out, **networks)
    assert_one_line(error)
    assert not out.exists() or files_in(out) == []


@pytest.mark.parametrize("role", ["detector", "pose"])
def test_missing_or_wrong_weights_are_one_line_and_leave_no_file(networks, tmp_path, out, role):
    source = walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    other = networks["pose" if role == "detector" else "detector"]
    for network in (tmp_path / "missing.onnx", "no-such-network", other):
        with pytest.raises(WeightsError) as error:
            capture(source, out, **networks | {role: network})
        assert_one_line(error)
        assert not out.exists()


def ctrl_c_at(frame):
    """A callback that is interrupted once, at the given number of frames."""
    pressed = []

    def on_progress(now):
        if now.frames == frame and not pressed:
            pressed.append(True)
            raise KeyboardInterrupt

    return on_progress


def test_ctrl_c_leaves_a_valid_partial_result(networks, tmp_path, out):
    source = walk(tmp_path / "walk.mp4", np.arange(40) / 30)
    take = capture(source, out, formats=["json", "openpose"], on_progress=ctrl_c_at(11), **networks)
    assert not take.complete and len(take.times) == 11 and take.tracks.tolist() == [1, 2]
    for other in (Take.load(out / "take.npz"), read_coco(out / "keypoints.json")):
        assert not other.complete and len(other.times) == 11 and len(other.people) == 22
    with av.open(str(out / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 11
    assert len(files_in(out)) == 3 + 11


def test_ctrl_c_at_the_first_frame_of_a_picture_folder(networks, tmp_path, out):
    (tmp_path / "shots").mkdir()
    for i in range(5):
        write_image(tmp_path / f"shots/{i}.png", picture(boxes_at(0)))

    take = capture(tmp_path / "shots", out, on_progress=ctrl_c_at(1), **networks)
    assert not take.complete and take.names == ("0.png",)
    assert files_in(out) == ["keypoints.json", "overlay/0.png", "take.npz"]


def test_an_error_among_the_files_reaches_the_caller_and_leaves_nothing_half(networks, tmp_path, out):
    source = walk(tmp_path / "walk.mp4", np.arange(40) / 30)
    (out / "overlay.mp4").mkdir(parents=True)  # so that the overlay can't take its name
    with pytest.raises(FormatError) as error:
        capture(source, out, **networks)
    assert_one_line(error)
    assert files_in(out) == ["keypoints.json", "take.npz"]  # what can be there is, after all that work


def test_an_error_while_frames_are_written_stops_the_capture(networks, tmp_path, out, monkeypatch):
    written = []

    def fail_at_the_fourth(people, skeleton, path):
        written.append(path)
        if len(written) == 4:
            raise FormatError("the disk is full: make room")

    monkeypatch.setattr(sinks, "write_openpose_frame", fail_at_the_fourth)
    with pytest.raises(FormatError, match="full"):
        capture(walk(tmp_path / "walk.mp4", np.arange(40) / 30), out, formats=["json", "openpose"], **networks)
    assert not out.exists() and len(written) == 4


def test_a_folder_that_can_not_be_written_to_is_refused_before_any_frame(networks, tmp_path, out):
    out.mkdir()
    (out / ".capture").write_text("in the way of our own folder")  # as root, no rights are in the way
    seen = []
    with pytest.raises(FormatError) as error:
        capture(walk(tmp_path / "walk.mp4", np.arange(4) / 30), out, on_progress=seen.append, **networks)
    assert_one_line(error)
    assert not seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_any_frame(networks, tmp_path, out):
    out.mkdir(mode=0o555)
    seen = []
    with pytest.raises(FormatError, match="rights"):
        capture(walk(tmp_path / "walk.mp4", np.arange(4) / 30), out, on_progress=seen.append, **networks)
    assert not seen


@pytest.mark.parametrize(("format", "module"), [("parquet", "pyarrow"), ("rerun", "rerun")])
def test_a_format_without_its_package_is_refused_before_any_work(networks, tmp_path, out, monkeypatch, format, module):
    monkeypatch.setitem(sys.modules, module, None)
    seen = []
    with pytest.raises(MissingExtraError) as error:
        capture(walk(tmp_path / "walk.mp4", np.arange(4) / 30), out, formats=["json", format], on_progress=seen.append, **networks)
    assert_one_line(error)
    assert not seen and not out.exists()


def test_ctrl_c_between_journal_and_overlay_leaves_both_with_the_same_frames(networks, tmp_path, out, monkeypatch):
    add, added = Journal.add, []

    def add_and_stop(journal, frame, people):
        add(journal, frame, people)
        added.append(frame)
        if len(added) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", add_and_stop)
    take = capture(walk(tmp_path / "walk.mp4", np.arange(12) / 30), out, **networks)
    coco = read_coco(out / "keypoints.json")
    with av.open(str(out / "overlay.mp4")) as container:
        drawn = len(list(container.decode(video=0)))
    assert (len(take.times), len(coco.times), drawn) == (3, 3, 3) and len(take.people) == len(coco.people) == 6


def test_a_failed_capture_leaves_older_results_alone(networks, tmp_path, out):
    source = walk(tmp_path / "walk.mp4", np.arange(4) / 30)
    capture(source, out, **networks)
    before = {name: (out / name).read_bytes() for name in files_in(out)}

    def fail(now):
        raise RuntimeError("the caller's own error")

    with pytest.raises(RuntimeError, match="own error"):
        capture(source, out, on_progress=fail, **networks)
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before


def test_an_output_folder_that_is_a_file_is_refused(networks, tmp_path, out):
    out.write_text("mine")
    with pytest.raises(FormatError) as error:
        capture(walk(tmp_path / "walk.mp4", np.arange(2) / 30), out, **networks)
    assert_one_line(error)
    assert out.read_text() == "mine"
