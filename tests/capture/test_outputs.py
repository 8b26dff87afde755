"""What is in the output folder after several captures: the newest one's files, and everything that is not ours."""

import json

import numpy as np
import pytest

from scenes import boxes_at, film, picture, walk

pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture import capture  # noqa: E402
from vitruvian.capture.outputs import LIST, delivered, files_of  # noqa: E402
from vitruvian.capture.sinks import CocoSink, Stopwatch  # noqa: E402
from vitruvian.errors import FormatError  # noqa: E402
from vitruvian.formats.coco import read_coco  # noqa: E402
from vitruvian.media import Frame  # noqa: E402
from vitruvian.skeletons import COCO_17  # noqa: E402
from vitruvian.take import People  # noqa: E402

TIMES = np.arange(6) / 30


def everything_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != LIST}


def write(out, files):
    """A delivery of these files (name -> text)."""
    with delivered(out) as workshop:
        for name, text in files.items():
            (workshop / name).parent.mkdir(exist_ok=True)
            (workshop / name).write_text(text)


def test_a_second_capture_removes_what_only_the_first_one_wrote(networks, tmp_path):
    two = walk(tmp_path / "two.mp4", TIMES)
    one = film(tmp_path / "one.mp4", TIMES[:3], [picture(boxes_at(time)[:1]) for time in TIMES[:3]])
    capture(two, tmp_path / "out", formats=["json", "openpose", "csv"], **networks | {"mesh": True})
    (tmp_path / "out/notes.txt").write_text("mine")
    capture(one, tmp_path / "out", formats=["openpose"], overlay=False, **networks)
    frames = {f"openpose/one_{index:012d}_keypoints.json" for index in range(3)}
    assert everything_in(tmp_path / "out") == {"take.npz", "notes.txt", *frames}
    assert [path.name for path in files_of(tmp_path / "out")] == ["openpose", "take.npz"]


def test_only_files_that_are_still_as_written_are_removed(tmp_path):
    write(tmp_path / "out", {"a.txt": "a", "b.txt": "b", "sub/c.txt": "c"})
    (tmp_path / "out/b.txt").write_text("b, and a remark")
    write(tmp_path / "out", {"d.txt": "d"})
    assert everything_in(tmp_path / "out") == {"b.txt", "d.txt"} and not (tmp_path / "out/sub").exists()
    assert files_of(tmp_path / "out") == [tmp_path / "out/d.txt"]


def test_an_error_leaves_the_folder_as_it_was(tmp_path):
    write(tmp_path / "out", {"a.txt": "a"})
    for out in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt), delivered(out) as workshop:
            (workshop / "a.txt").write_text("half")
            raise KeyboardInterrupt
    assert (tmp_path / "out/a.txt").read_text() == "a" and not (tmp_path / "out/.capture").exists() and not (tmp_path / "new").exists()


def test_what_a_killed_run_was_making_is_gone_after_the_next_one(tmp_path):
    left = tmp_path / "out/.capture/files/.keypoints.json.123.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    write(tmp_path / "out", {"a.txt": "a"})
    assert everything_in(tmp_path / "out") == {"a.txt"}


def test_a_file_that_can_not_be_moved_is_named_and_the_others_are_there(tmp_path):
    (tmp_path / "out/b.txt").mkdir(parents=True)
    with pytest.raises(FormatError, match=r"b\.txt"):
        write(tmp_path / "out", {"a.txt": "a", "b.txt": "b", "c.txt": "c"})
    assert everything_in(tmp_path / "out") == {"a.txt", "c.txt"}


@pytest.mark.parametrize("name", ["../victim.txt", "link/victim.txt", "/{}/victim.txt", "a\0b", ""])
def test_a_foreign_list_removes_nothing_outside(tmp_path, name):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path)
    state = victim.stat()
    (tmp_path / "out" / LIST).write_text(json.dumps({name.format(tmp_path): [state.st_size, state.st_mtime_ns], "x": None, "y": {}}))
    assert set(files_of(tmp_path / "out")) <= {tmp_path / "out/link"}
    write(tmp_path / "out", {"a.txt": "a"})
    assert victim.read_text() == "mine" and files_of(tmp_path / "out") == [tmp_path / "out/a.txt"]


@pytest.mark.parametrize("text", ["", "[]", '{"a": NaN}', "no json"])
def test_a_damaged_list_counts_as_none(tmp_path, text):
    (tmp_path / LIST).write_text(text)
    assert files_of(tmp_path) == []
    write(tmp_path, {"a.txt": "a"})
    assert files_of(tmp_path) == [tmp_path / "a.txt"]


def test_openpose_files_of_a_live_source_are_there_at_once_and_in_the_end(networks, tmp_path):
    counts = []
    folder = tmp_path / "out/openpose"
    source = walk(tmp_path / "walk.mp4", np.arange(20) / 20)

    def count(now):
        counts.append(len(list(folder.glob("*.json"))))

    take = capture(
        source, tmp_path / "out", realtime=True, smooth="none", formats=["openpose"], overlay=False, on_progress=count, **networks
    )
    assert counts[len(counts) // 2] > 0 and len(list(folder.iterdir())) == len(take.times)
    assert [path.name for path in files_of(tmp_path / "out")] == ["openpose", "take.npz"]


def test_rows_with_points_are_written_frame_by_frame_with_their_space(tmp_path):
    columns = [np.zeros(1), np.full(1, -1), np.zeros((1, 4)), np.ones(1), np.ones((1, 17, 2)), np.ones((1, 17))]
    sink = CocoSink(tmp_path / "a.json", COCO_17, {"source": "a", "cards": ()}, Stopwatch())
    sink.write(Frame(np.zeros((4, 6, 3), np.uint8), 0, 0.0, "a.png"), People(*columns, points=np.ones((1, 17, 3))))
    sink.finish(True)
    assert read_coco(tmp_path / "a.json").space == "camera"
