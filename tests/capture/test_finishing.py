"""After the last frame: Ctrl-C and kills while bodies are fitted or drawn, what is told of it, and what the data files say."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from scenes import boxes_at, picture, walk

pytest.importorskip("nets", reason="needs onnx")

from vitruvian.body.compact import load_compact  # noqa: E402
from vitruvian.capture import capture, pipeline  # noqa: E402
from vitruvian.capture.finder import Finder  # noqa: E402
from vitruvian.capture.outputs import LIST, files_of  # noqa: E402
from vitruvian.formats.coco import read_coco  # noqa: E402
from vitruvian.media import open_video, write_image  # noqa: E402
from vitruvian.take import Take  # noqa: E402

FRAMES = 6


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("walk") / "walk.mp4", np.arange(FRAMES) / 30)


@pytest.fixture
def bodily(networks, monkeypatch):
    """Options with bodies, which stand upright 4 m away instead of being fitted: quick."""
    monkeypatch.setattr(pipeline, "add_bodies", standing)
    return networks | {"mesh": True}


def standing(take, lifter, fov, ground, on_rows):
    model, count = load_compact(), len(take.people)
    body = {
        "points": np.ones((count, 133, 3)),
        "body_pose": np.tile([[[np.pi, 0, 0]] + [[0, 0, 0]] * (model.num_joints - 1)], (count, 1, 1)),
        "body_shape": np.zeros((count, model.num_shape)),
        "body_translation": np.tile([0, 0, 4.0], (count, 1)),
    }
    for done in range(count):
        on_rows(done + 1, count)
    return replace(take, people=replace(take.people, **body), space="camera", body=model.name, fov=fov)


def ctrl_c_in(*stages):
    """A progress callback that presses Ctrl-C at the second step of each of these stages."""
    pressed = []

    def on_progress(now):
        if now.stage in stages and now.stage not in pressed and now.done == 2:
            pressed.append(now.stage)
            raise KeyboardInterrupt

    return on_progress


def names_in(folder):
    return {path.name for path in folder.iterdir()} - {LIST}


def find_nobody(*_):
    raise AssertionError("the frames were looked at again")


def test_ctrl_c_in_the_fit_keeps_the_people_and_goes_on_at_the_fit(walking, bodily, tmp_path, monkeypatch):
    take = capture(walking, tmp_path / "out", on_progress=ctrl_c_in("bodies"), **bodily)
    assert not take.complete and len(take.times) == FRAMES and len(take.people) == 2 * FRAMES and take.people.body_pose is None
    assert names_in(tmp_path / "out") == {"take.npz", "keypoints.json", ".capture"}
    for other in (Take.load(tmp_path / "out/take.npz"), read_coco(tmp_path / "out/keypoints.json")):
        assert not other.complete and len(other.people) == 2 * FRAMES

    monkeypatch.setattr(Finder, "people", find_nobody)
    seen = []
    whole = capture(walking, tmp_path / "out", on_progress=seen.append, **bodily)
    assert whole.complete and seen[0].resumed == seen[0].frames == FRAMES
    np.testing.assert_array_equal(whole.keypoints, take.keypoints)
    assert np.isfinite(whole.people.body_pose).all() and not (tmp_path / "out/.capture").exists()
    assert len(list(open_video(tmp_path / "out/overlay.mp4"))) == FRAMES


def test_ctrl_c_while_drawing_keeps_the_bodies_and_no_half_overlay(walking, bodily, tmp_path):
    take = capture(walking, tmp_path / "out", on_progress=ctrl_c_in("drawing"), **bodily)
    assert not take.complete and np.isfinite(take.people.body_pose).all()
    found = Take.load(tmp_path / "out/take.npz")
    assert not found.complete and len(found.people) == 2 * FRAMES and found.body == "compact"
    names = {path.name for path in files_of(tmp_path / "out")}
    assert {"take.npz", "keypoints.json", "bodies.glb", "markers_person1.trc"} <= names
    assert not [name for name in names_in(tmp_path / "out") if "overlay" in name]


def test_ctrl_c_while_pictures_are_drawn_leaves_no_half_folder_of_them(bodily, tmp_path):
    (tmp_path / "shots").mkdir()
    for name in "abc":
        write_image(tmp_path / "shots" / f"{name}.png", picture(boxes_at(0)[:1]))
    take = capture(tmp_path / "shots", tmp_path / "out", on_progress=ctrl_c_in("drawing"), **bodily)
    assert not take.complete and len(take.times) == 3
    assert names_in(tmp_path / "out") == {"take.npz", "keypoints.json", "bodies.glb", ".capture"}


def test_ctrl_c_in_every_stage_still_writes_what_was_found(walking, bodily, tmp_path):
    take = capture(walking, tmp_path / "out", on_progress=ctrl_c_in("frames", "bodies"), **bodily)
    assert not take.complete and len(take.times) == 2
    assert len(Take.load(tmp_path / "out/take.npz").times) == len(take.times)
    assert names_in(tmp_path / "out") == {"take.npz", "keypoints.json"}


def test_a_capture_killed_in_the_fit_goes_on_at_the_fit(walking, bodily, tmp_path, monkeypatch):
    script = f"""
        import os, signal
        from pathlib import PosixPath
        from vitruvian.capture import capture

        def on_progress(now):
            if now.stage == "bodies":
                os.kill(os.getpid(), signal.SIGKILL)

        capture({str(walking)!r}, {str(tmp_path / "out")!r}, on_progress=on_progress, **{bodily!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL and names_in(tmp_path / "out") == {".capture"}
    monkeypatch.setattr(Finder, "people", find_nobody)
    take = capture(walking, tmp_path / "out", **bodily)
    assert take.complete and len(take.people) == 2 * FRAMES and ".capture" not in names_in(tmp_path / "out")


def test_a_killed_capture_with_bodies_goes_on_without_them_too(walking, bodily, networks, tmp_path, monkeypatch):
    capture(walking, tmp_path / "out", on_progress=ctrl_c_in("bodies"), **bodily)
    monkeypatch.setattr(Finder, "people", lambda self, frames: (_ for _ in map(find_nobody, frames)))
    take = capture(walking, tmp_path / "out", smooth="none", **networks)
    assert take.complete and names_in(tmp_path / "out") == {"take.npz", "keypoints.json", "overlay.mp4"}
    assert len(list(open_video(tmp_path / "out/overlay.mp4"))) == FRAMES


def test_every_stage_tells_how_far_it_is(walking, networks, tmp_path):
    seen = []
    capture(walking, tmp_path / "out", on_progress=seen.append, **networks | {"mesh": True})
    steps = [(now.stage, now.done, now.total) for now in seen]
    frames = [("frames", done, FRAMES) for done in range(1, FRAMES + 1)]
    bodies = [("bodies", done * FRAMES, 2 * FRAMES) for done in range(3)]  # two people, one after the other
    drawing = [("drawing", done, FRAMES) for done in range(1, FRAMES + 1)]
    assert steps == [*frames, *bodies, *drawing, drawing[-1]]
    assert {now.frames for now in seen[FRAMES:]} == {FRAMES} and seen[-1].people == 2
    assert {"bodies", "write", "draw", "encode"} <= seen[-1].seconds.keys()


def test_keypoints_with_points_say_in_which_space_they_are(walking, bodily, tmp_path):
    take = capture(walking, tmp_path / "out", overlay=False, **bodily)
    found = read_coco(tmp_path / "out/keypoints.json")
    assert found.space == "camera" and found.body == "compact"
    np.testing.assert_allclose(found.people.points, take.people.points, atol=1e-5)
