"""Films of several cameras in, one take in the world and its files out."""

import numpy as np
import pytest

from scenes import HEIGHT, WIDTH, boxes_at, film, picture

nets = pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture.cameras import capture_cameras, in_order  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.formats.calibration import read_calibration, write_calibration  # noqa: E402
from vitruvian.formats.trc import read_trc  # noqa: E402
from vitruvian.geometry.camera import Camera, project  # noqa: E402
from vitruvian.take import Take  # noqa: E402

TIMES = np.arange(12) / 30
FOCAL, APART, DEPTH = 300.0, 2.0, 8.0
SHIFT = FOCAL * APART / DEPTH  # pixels between the two pictures of somebody at that depth


def pair() -> list[Camera]:
    """Two cameras side by side, the second one to the left: y is down in their world."""
    k = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return [Camera(k, size=(WIDTH, HEIGHT), name="left"), Camera(k, t_cam_world=[APART, 0, 0], size=(WIDTH, HEIGHT), name="right")]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A red rectangle that walks at a depth of 8 m, and the calibration; files named after the cameras, in the other order."""
    folder = tmp_path_factory.mktemp("films")
    boxes = [boxes_at(time)[:1] for time in TIMES]
    film(folder / "left.mp4", TIMES, [picture(box) for box in boxes])
    film(folder / "right.mp4", TIMES, [picture(box + [SHIFT, 0, SHIFT, 0]) for box in boxes])
    write_calibration(pair(), folder / "calibration.toml")
    return folder


@pytest.fixture(scope="module")
def two_networks(networks):
    return {name: networks[name] for name in ("detector", "pose")}


def true_points(frame: int) -> np.ndarray:
    box = boxes_at(TIMES[frame])[0]
    pixels = box[:2] + nets.pose_places(133) * (box[2:] - box[:2])
    flat = (pixels - [WIDTH / 2, HEIGHT / 2]) / FOCAL * DEPTH
    return np.concatenate([flat, np.full((133, 1), DEPTH)], 1) * [1, -1, -1]  # y up


def test_two_films_and_a_calibration_give_a_take_and_its_files(films, two_networks, tmp_path):
    seen = []
    out = tmp_path / "out"
    sources = [films / "right.mp4", films / "left.mp4"]
    take = capture_cameras(
        sources, films / "calibration.toml", out, smooth="none", on_progress=lambda name, progress: seen.append(name), **two_networks
    )
    assert take.space == "world" and take.tracks.tolist() == [1] and take.people.frame.tolist() == list(range(12))
    for frame in (0, 11):
        off = np.linalg.norm(take.people.at(frame).points[0] - true_points(frame), axis=-1)
        assert np.median(off) < 0.3  # a pixel of disparity is 11 cm here
    assert set(seen) == {"left", "right"}
    assert sorted(path.name for path in out.iterdir()) == ["calibration.toml", "left", "people.trc", "right", "take.npz"]
    assert sorted(path.name for path in (out / "left").iterdir()) == ["overlay.mp4", "take.npz"]
    loaded = Take.load(out / "take.npz")
    np.testing.assert_array_equal(loaded.people.points, take.people.points)
    markers = read_trc(out / "people.trc")
    np.testing.assert_allclose(markers.points[:, 0], take.people.points[:, 0], atol=1e-5)
    by_name = {camera.name: camera for camera in read_calibration(out / "calibration.toml")}
    own = Take.load(out / "left" / "take.npz").people.at(5).keypoints[0]
    np.testing.assert_allclose(project(by_name["left"], take.people.at(5).points[0]), own, atol=2)


def test_takes_can_be_given_instead_of_films(films, two_networks, tmp_path):
    out = tmp_path / "out"
    take = capture_cameras([films / "left.mp4", films / "right.mp4"], pair(), out, overlay=False, formats=[], **two_networks)
    again = capture_cameras([out / "left" / "take.npz", Take.load(out / "right" / "take.npz")], pair())
    np.testing.assert_array_equal(again.people.points, take.people.points)
    assert not (out / "left" / "overlay.mp4").exists() and not list(out.glob("*.trc"))


def test_nobody_is_an_answer(two_networks, tmp_path):
    for name in ("left", "right"):
        film(tmp_path / f"{name}.mp4", TIMES, [picture(np.zeros((0, 4)))] * len(TIMES))
    take = capture_cameras([tmp_path / "left.mp4", tmp_path / "right.mp4"], pair(), tmp_path / "out", **two_networks)
    assert len(take.people) == 0 and len(take.times) == len(TIMES)
    assert (tmp_path / "out" / "left" / "overlay.mp4").exists()


def test_what_does_not_fit_is_said_before_anything_is_captured(films, tmp_path):
    left, right = films / "left.mp4", films / "right.mp4"
    for call, words in (
        (lambda: capture_cameras([left], pair()), "two or more"),
        (lambda: capture_cameras([left, right, tmp_path / "x.mp4"], pair()), "3 films for 2 cameras"),
        (lambda: capture_cameras([left, right], films / "nothing.toml"), "can't read"),
        (lambda: capture_cameras([left, right], pair(), formats=["controlnet"]), "points"),
        (lambda: capture_cameras([left, right], pair(), formats="trc"), "list"),
    ):
        with pytest.raises(VitruvianError, match=words):
            call()


@pytest.mark.parametrize(
    ("sources", "names", "expected"),
    [
        (["b/cam02.mp4", "a/cam01.mp4"], ["cam_01", "cam_02"], ["cam_02", "cam_01"]),
        (["cam02/walk.mp4", "cam01/walk.mp4"], ["cam01", "cam02", "cam03"], ["cam02", "cam01"]),
        (["walk-right.mp4", "walk-left.mp4"], ["left", "right"], ["right", "left"]),
        (["x.mp4", "y.mp4"], ["left", "right"], ["left", "right"]),
        (["cam1.mp4", "cam10.mp4"], ["cam10", "cam1"], ["cam1", "cam10"]),
    ],
)
def test_films_find_their_cameras_by_name_or_by_order(sources, names, expected):
    cameras = [Camera(pair()[0].intrinsics, name=name) for name in names]
    assert [camera.name for camera in in_order(sources, cameras)] == expected
