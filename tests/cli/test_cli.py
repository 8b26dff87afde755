"""The command line as a user sees it: exit codes, what is printed, what is written."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from scenes import boxes_at, film, picture, png_header, walk
from vitruvian import __version__
from vitruvian.cli import main
from vitruvian.media import write_image
from vitruvian.take import Take


def run(capsys, *arguments):
    """Exit code, stdout, stderr of `vitruvian ARGUMENTS`, in this process."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def nets(networks):
    return ["--detector", networks["detector"], "--pose", networks["pose"], "--no-mesh"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_arguments_help_is_printed(capsys):
    code, out, _ = run(capsys)
    assert code == 0 and "capture" in out and "doctor" in out and "info" in out


def test_version(capsys):
    assert run(capsys, "--version")[:2] == (0, f"{__version__}\n")


def test_capture_writes_the_files_and_says_which(capsys, nets, here):
    walk(here / "walk.mp4", np.arange(20) / 30)
    code, out, err = run(capsys, "capture", "walk.mp4", "-o", "results", *nets, "--profile")
    assert code == 0
    assert "20 frames, 2 tracks" in out and "frames per second" in out and "encode" in out
    for name in ("take.npz", "overlay.mp4", "keypoints.json"):
        assert f"results/{name}" in out.replace(os.sep, "/") and (here / "results" / name).is_file()


def test_by_default_the_results_lie_beside_in_a_folder_of_the_same_name(capsys, nets, here):
    write_image(here / "two.png", picture(boxes_at(0)))
    code, out, _ = run(capsys, "capture", "two.png", *nets)
    assert code == 0 and "2 people" in out and "two_vitruvian" in out
    assert (here / "two_vitruvian/overlay.png").is_file()


def test_options_reach_the_capture(capsys, nets, here):
    for name in ("a.png", "b.png"):
        write_image(here / name, picture(boxes_at(0)))
    options = ("--no-overlay", "--formats", "openpose", "--threshold", "0.95")
    code, out, _ = run(capsys, "capture", "a.png", "b.png", "-o", "results", *nets, *options)
    assert code == 0 and "2 frames" in out
    assert sorted(path.name for path in (here / "results").glob("[!.]*")) == ["openpose", "take.npz"]
    assert len(Take.load(here / "results/take.npz").people) == 0


def test_nobody_in_the_picture_is_no_error(capsys, nets, here):
    write_image(here / "nobody.png", picture([]))
    code, out, err = run(capsys, "capture", "nobody.png", *nets)
    assert code == 0 and "0 people" in out and "error" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["capture", "missing.mp4"], "missing.mp4"),
        (["capture", "zero.mp4"], "empty"),
        (["capture", "cut.mp4"], "cut"),
        (["capture", "huge.png"], "20000"),
        (["capture", "folder"], "no pictures"),
        (["capture", ""], "an empty path"),
        (["capture", "good.mp4", "--detector", "missing.onnx"], "missing.onnx"),
        (["capture", "good.mp4", "--formats", "bvh"], "bvh"),
        (["capture", "good.mp4", "--threshold", "2"], "threshold"),
        (["info", "missing.npz"], "missing.npz"),
        (["info", "good.mp4"], "good.mp4"),
        (["capture", "good.mp4", "--detector", "person-parts-s", "--pose", "person-parts-s"], "finds no keypoints"),
        (["calibrate", "good.mp4", "good.mp4", "-o", "cameras.txt"], ".toml"),
        (["synth", "zero.mp4", "-n", "1"], "is a file"),
        (["synth", "people", "--processes", "-1"], "processes"),
        (["eval", "wholebody-s", "--data", "folder", "--limit", "-1"], "limit"),
        (["convert", "zero.mp4", "zero.mp4", "--to", "coco"], "source itself"),
        (["info", f"{'n' * 300}.json"], "name too long"),
        (["capture", f"{'n' * 300}.mp4"], "name too long"),
    ],
)
def test_expected_errors_are_one_line_on_stderr_and_code_2(capsys, nets, here, arguments, words):
    (here / "zero.mp4").write_bytes(b"")
    good = walk(here / "good.mp4", np.arange(2) / 30)
    (here / "cut.mp4").write_bytes(good.read_bytes()[:60])
    (here / "folder").mkdir()
    png_header(here / "huge.png", 20_000, 20_000)
    if arguments[0] == "capture" and "--detector" not in arguments:
        arguments = [*arguments, *nets]
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert not list(here.glob("*_vitruvian"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["capture", "walk.mp4", "--no-such-option"], "--no-such-option"),
        (["capture", "walk.mp4", "--smooth", "much"], "one-euro"),
        (["capture"], "SOURCE"),
        (["captur"], "capture"),
        (["weights", "lst"], "vitruvian weights --help"),
    ],
)
def test_wrong_arguments_are_one_line_and_code_2(capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_info_prints_what_a_take_holds(capsys, nets, here):
    run(capsys, "capture", walk(here / "walk.mp4", np.arange(8) / 30), "-o", "results", *nets)
    for name in ("take.npz", "keypoints.json"):
        code, out, _ = run(capsys, "info", here / "results" / name)
        assert code == 0
        for words in ("walk.mp4", "320 x 240", "16 rows, 2 tracked", "coco-wholebody-133", "person 2: 8 frames"):
            assert words in out, (name, words)


def test_ctrl_c_ends_with_130_and_a_valid_take(nets, tmp_path):
    images = [picture(boxes_at(0))] * 8
    source = film(tmp_path / "long.mp4", np.arange(4000) / 30, images * 500)
    run = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from vitruvian.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run]  # shells start what they put in the background deaf to Ctrl-C
    arguments = ["capture", source, "-o", tmp_path / "out", *nets]
    process = subprocess.Popen([*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "out").rglob("*overlay*")) and time.monotonic() < deadline:  # the overlay has begun
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err and "error: interrupted" in err
    take = Take.load(tmp_path / "out/take.npz")
    assert not take.complete and 0 < len(take.times) < 4000
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["keypoints.json", "overlay.mp4", "take.npz"]


def test_angles_of_a_capture_are_a_page_and_a_table(capsys, nets, here):
    walk(here / "walk.mp4", np.arange(20) / 30)
    code, out, _ = run(capsys, "capture", "walk.mp4", "-o", "out", "--angles", "--repair-swaps", *nets)
    assert code == 0 and "angles_person2.html" in out
    assert sorted(path.name for path in (here / "out").glob("angles*")) == [
        f"angles_person{person}.{kind}" for person in (1, 2) for kind in ("csv", "html", "png")
    ]
    assert "[deg]" in (here / "out" / "angles_person1.csv").read_text().split("\n")[0]
