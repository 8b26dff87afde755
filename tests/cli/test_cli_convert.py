"""`vitruvian convert` as a user sees it: what is written, what is said of it, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

from vitruvian.cli.convert import convert, parse_size
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with take.npz: two people over three frames, in pixels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 200, (6, 17, 2))
    people = People(np.repeat(np.arange(3), 2), np.tile([1, 2], 3), np.tile([0, 0, 9, 9], (6, 1)), np.ones(6), keypoints, np.ones((6, 17)))
    Take(people, COCO_17, np.arange(3) / 30, np.full((3, 2), (64, 48)), ("walk.mp4",)).save("take.npz")
    return tmp_path


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    app = App(result_action="return_value")
    app.command(convert)
    code = app(["convert", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_suffix_says_the_format(capsys, here):
    code, out, err = run(capsys, "take.npz", "walk.json")
    assert (code, out.split(), err) == (0, ["walk.json"], "")
    assert json.loads(Path("walk.json").read_text())["annotations"][0]["track_id"] == 1


def test_what_is_lost_is_named(capsys, here):
    code, out, err = run(capsys, "take.npz", "poses", "--format", "openpose")
    assert code == 0 and "poses/walk_000000000002_keypoints.json" in out.replace("\\", "/")
    assert "left out" in err and "boxes" in err and "times" in err and "pixels" not in err


def test_strict_stops_instead(capsys, here):
    with pytest.raises(FormatError, match="boxes"):
        run(capsys, "take.npz", "poses", "--format", "openpose", "--strict")
    assert not Path("poses").exists()


def test_people_in_files_of_one_person_and_a_scale_for_pixels(capsys, here):
    with pytest.raises(FormatError, match="--metres-per-pixel"):
        run(capsys, "take.npz", "walk.trc")
    assert run(capsys, "take.npz", "walk.trc", "--metres-per-pixel", "0.01")[1].split() == ["walk_person1.trc", "walk_person2.trc"]
    assert run(capsys, "take.npz", "one.bvh", "--metres-per-pixel", "0.01", "--person", "2")[1].split() == ["one.bvh"]


def test_skeleton_size_and_many_files(capsys, here):
    run(capsys, "take.npz", "walk.csv", "--skeleton", "openpose-body-25")
    assert "mid_hip_x_px" in Path("walk.csv").read_text()
    run(capsys, "take.npz", "r.json", "--to", "coco-results")
    assert run(capsys, "r.json", "pose.mp4", "--size", "64x48")[1].split() == ["pose.mp4"]
    frames = People(np.arange(30), np.full(30, -1), np.zeros((30, 4)), np.ones(30), np.ones((30, 17, 2)), np.ones((30, 17)))
    Take(frames, COCO_17, np.arange(30), np.full((30, 2), 16)).save("long.npz")
    assert "10 more" in run(capsys, "long.npz", "folder", "--to", "controlnet")[1]


def test_nobody(capsys, here):
    Take(People.empty(17), COCO_17, np.zeros(1), np.zeros((1, 2))).save("nobody.npz")
    code, out, err = run(capsys, "nobody.npz", "nobody.bvh", "--metres-per-pixel", "1")
    assert code == 0 and out == "" and "nobody" in err and not Path("nobody.bvh").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.npz", "a.json"), "missing.npz"),
        (("take.npz", "a.fbx"), "fbx"),
        (("take.npz", "folder"), "folder"),
        (("take.npz", "a.json", "--format", "word"), "choose one of"),
        (("take.npz", "a.json", "--skeleton", "cat"), "cat"),
        (("take.npz", "a.trc", "--person", "9"), "person 9"),
        (("take.npz", "a.mp4", "--size", "big"), "640x480"),
        (("take.npz", "a.mot"), "joint angles"),
    ],
)
def test_refusals_say_what_to_do(capsys, here, arguments, words):
    with pytest.raises(VitruvianError, match=words):
        run(capsys, *arguments)
    assert sorted(path.name for path in here.iterdir()) == ["take.npz"]


def test_sizes():
    assert parse_size("640x480") == (640, 480) and parse_size("1X2") == (1, 2)
    for text in ("", "640", "x480", "0x5", "-1x5", "1x2x3", "9" * 30 + "x1"):
        with pytest.raises(FormatError):
            parse_size(text)
