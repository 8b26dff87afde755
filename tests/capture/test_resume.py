"""A capture that was killed goes on where it was, and ends as if nothing had happened; memory does not grow with the video."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from scenes import boxes_at, film, picture, walk

pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture import capture, journal  # noqa: E402
from vitruvian.capture.outputs import LIST  # noqa: E402
from vitruvian.formats.coco import read_coco  # noqa: E402
from vitruvian.media import open_video  # noqa: E402
from vitruvian.take import Take  # noqa: E402

TIMES = np.arange(60) / 30


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("walk") / "walk.mp4", TIMES)


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    monkeypatch.setattr(journal, "PART", 12)


def run_and_kill(source: Path, out: Path, networks: dict, after: int) -> None:
    """Capture in another process, which kills itself (SIGKILL) after some frames."""
    script = f"""
        import os, signal
        from pathlib import PosixPath
        from vitruvian.capture import capture, journal
        journal.PART = 12

        def on_progress(now):
            if now.frames == {after}:
                os.kill(os.getpid(), signal.SIGKILL)

        networks = {networks!r}
        capture({str(source)!r}, {str(out)!r}, on_progress=on_progress, **networks)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL


def assert_equal_takes(a: Take, b: Take) -> None:
    np.testing.assert_array_equal(a.times, b.times)
    assert (a.names, a.source, a.cards, a.complete) == (b.names, b.source, b.cards, b.complete)
    for name, column in a.people.columns().items():
        np.testing.assert_array_equal(column, getattr(b.people, name), err_msg=name)


@pytest.mark.parametrize("after", [5, 30])
def test_a_killed_capture_ends_like_an_undisturbed_one(walking, networks, tmp_path, after):
    undisturbed = capture(walking, tmp_path / "whole", **networks)
    run_and_kill(walking, tmp_path / "killed", networks, after)
    assert not (tmp_path / "killed" / "take.npz").exists()
    seen = []
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {".capture"}  # where all is that is not whole
    resumed = capture(walking, tmp_path / "killed", on_progress=seen.append, **networks)
    assert seen[-1].resumed == (0 if after == 5 else 24)
    assert_equal_takes(resumed, undisturbed)
    assert_equal_takes(Take.load(tmp_path / "killed" / "take.npz"), undisturbed)
    assert not (tmp_path / "killed" / ".capture").exists()
    assert (tmp_path / "killed" / "keypoints.json").read_bytes() == (tmp_path / "whole" / "keypoints.json").read_bytes()
    ours, theirs = (list(open_video(tmp_path / name / "overlay.mp4")) for name in ("killed", "whole"))
    for one, other in zip(ours, theirs, strict=True):  # an encoder with threads does not repeat itself to the bit
        assert one.time == other.time and np.abs(one.image.astype(int) - other.image).mean() < 1


def test_other_options_start_afresh_and_say_so(walking, networks, tmp_path, caplog):
    run_and_kill(walking, tmp_path, networks, 30)
    seen = []
    capture(walking, tmp_path, threshold=0.4, on_progress=seen.append, **networks)
    assert seen[-1].resumed == 0 and not (tmp_path / ".capture").exists()
    assert "another one (threshold)" in caplog.text


def test_options_that_only_shape_what_follows_go_on_with_the_same_frames(walking, networks, tmp_path, caplog):
    capture(walking, tmp_path, on_progress=stop_at(30), smooth="kalman", **networks)
    seen = []
    other = {"smooth": "butterworth", "fov": 40, "ground": True, "repair_swaps": True, **networks}
    assert_equal_takes(capture(walking, tmp_path, on_progress=seen.append, **other), capture(walking, **other))
    assert seen[-1].resumed == 24 and "another" not in caplog.text


def test_a_damaged_part_is_captured_again(walking, networks, tmp_path):
    undisturbed = capture(walking, tmp_path / "whole", **networks)
    run_and_kill(walking, tmp_path / "killed", networks, 40)
    part = tmp_path / "killed" / ".capture" / "000001.npz"
    part.write_bytes(part.read_bytes()[:-30])
    seen = []
    resumed = capture(walking, tmp_path / "killed", on_progress=seen.append, **networks)
    assert seen[-1].resumed == 12
    assert_equal_takes(resumed, undisturbed)


def stop_at(frames: int):
    """A progress callback that presses Ctrl-C, once."""
    pressed = []

    def on_progress(now):
        if now.frames == frames and not pressed:
            pressed.append(now)
            raise KeyboardInterrupt

    return on_progress


def test_a_capture_stopped_by_ctrl_c_goes_on_as_well(walking, networks, tmp_path):
    stopped = capture(walking, tmp_path / "out", on_progress=stop_at(30), **networks)
    assert not stopped.complete and len(stopped.times) == 30
    whole = capture(walking, tmp_path / "out", **networks)
    assert_equal_takes(whole, capture(walking, **networks))


def test_detections_between_looks_survive_a_kill(walking, networks, tmp_path):
    run = {"detect_every": 5, **networks}
    undisturbed = capture(walking, **run)
    capture(walking, tmp_path / "out", on_progress=stop_at(45), **run)
    seen = []
    assert_equal_takes(capture(walking, tmp_path / "out", on_progress=seen.append, **run), undisturbed)
    assert seen[-1].resumed == 40


@pytest.mark.parametrize("smooth", ["kalman", "butterworth"])
def test_smoothing_that_looks_ahead_is_in_all_files(networks, tmp_path, smooth):
    jitter = np.random.default_rng(0).integers(-3, 4, (len(TIMES), 1, 2))
    source = film(tmp_path / "shaky.mp4", TIMES, [picture(boxes_at(time) + np.tile(by, 2)) for time, by in zip(TIMES, jitter, strict=True)])
    plain = capture(source, smooth="none", detect_every=1, **networks)
    take = capture(source, tmp_path / "out", smooth=smooth, detect_every=1, formats=["json", "csv", "controlnet"], **networks)
    shaking = [np.abs(np.diff(one.people.of(1).keypoints, n=2, axis=0)).mean() for one in (plain, take)]
    assert shaking[1] < shaking[0] / 2
    np.testing.assert_allclose(read_coco(tmp_path / "out/keypoints.json").keypoints, take.keypoints, atol=1e-3)
    assert all(len(list(open_video(tmp_path / "out" / name))) == len(TIMES) for name in ("overlay.mp4", "controlnet.mp4"))
    files = {"take.npz", "keypoints.json", "keypoints.csv", "controlnet.mp4", "overlay.mp4"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files | {LIST}
