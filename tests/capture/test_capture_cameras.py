"""Films of several cameras in, one take in the world and its files out."""

from dataclasses import replace

import numpy as np
import pytest

from scenes import HEIGHT, WIDTH, boxes_at, film, picture
from two_cameras import DEPTH, FOCAL, TIMES, pair, write_films

nets = pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture import cameras as module  # noqa: E402
from vitruvian.capture.cameras import cameras_of_films, capture_cameras, folder_names, in_order  # noqa: E402
from vitruvian.capture.outputs import files_of  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.formats.calibration import read_calibration  # noqa: E402
from vitruvian.formats.trc import read_trc  # noqa: E402
from vitruvian.geometry.camera import Camera, project, resized  # noqa: E402
from vitruvian.media import VideoWriter, write_image  # noqa: E402
from vitruvian.take import Take  # noqa: E402


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A red rectangle that walks at a depth of 8 m, and the calibration; files named after the cameras, in the other order."""
    return write_films(tmp_path_factory.mktemp("films"))


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
        sources, films / "calibration.toml", out, smooth="none", on_progress=lambda *now: seen.append(now), **two_networks
    )
    assert take.space == "world" and take.tracks.tolist() == [1] and take.people.frame.tolist() == list(range(12))
    for frame in (0, 11):
        off = np.linalg.norm(take.people.at(frame).points[0] - true_points(frame), axis=-1)
        assert np.nanmedian(off) < 0.3  # a pixel of disparity is 11 cm here, so that some limbs are too long
        assert np.isfinite(off).mean() > 0.8
    assert {(name, now.stage) for name, now in seen} == {(name, stage) for name in ("left", "right") for stage in ("frames", "drawing")}
    last = seen[-1][1]
    assert (last.frames, last.done) == (12, 12) and {"pose", "draw"} <= set(last.seconds)
    assert [path.name for path in files_of(out)] == ["calibration.toml", "left", "people.trc", "right", "take.npz"]
    assert sorted(path.name for path in (out / "left").glob("[!.]*")) == ["overlay.mp4", "take.npz"]
    loaded = Take.load(out / "take.npz")
    np.testing.assert_array_equal(loaded.people.points, take.people.points)
    markers = read_trc(out / "people.trc")
    np.testing.assert_allclose(markers.points[:, 0], take.people.points[:, 0], atol=1e-5)
    by_name = {camera.name: camera for camera in read_calibration(out / "calibration.toml")}
    own = Take.load(out / "left" / "take.npz").people.at(5).keypoints[0]
    points = take.people.at(5).points[0]
    there = np.isfinite(points).all(-1)
    np.testing.assert_allclose(project(by_name["left"], points[there]), own[there], atol=2)


def test_takes_can_be_given_instead_of_films(films, two_networks, tmp_path):
    out = tmp_path / "out"
    take = capture_cameras([films / "left.mp4", films / "right.mp4"], pair(), out, overlay=False, formats=[], **two_networks)
    again = capture_cameras([out / "left" / "take.npz", Take.load(out / "right" / "take.npz")], pair())
    np.testing.assert_array_equal(again.people.points, take.people.points)
    assert not (out / "left" / "overlay.mp4").exists() and not list(out.glob("*.trc"))


def test_a_later_capture_leaves_nothing_of_an_earlier_one(films, two_networks, tmp_path):
    out = tmp_path / "out"
    sources = [films / "left.mp4", films / "right.mp4"]
    capture_cameras(sources, pair(), out, formats=["csv"], **two_networks)
    (out / "mine.txt").write_text("mine")
    capture_cameras(sources, pair(), out, overlay=False, **two_networks)
    assert sorted(path.name for path in out.glob("[!.]*")) == ["calibration.toml", "left", "mine.txt", "people.trc", "right", "take.npz"]
    assert not (out / "left" / "overlay.mp4").exists()


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


@pytest.fixture
def unread(monkeypatch):
    """A film that is captured fails the test."""
    monkeypatch.setattr(module, "capture", lambda *_, **__: pytest.fail("a film is captured"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_views": 5}, "5 of 2 cameras"),
        ({"min_views": 1}, "1 of 2 cameras"),
        ({"max_error": 0.0}, "max_error"),
        ({"max_error": np.nan}, "max_error"),
        ({"up": "w"}, "no axis"),
        ({"smooth": "savgol"}, "savgol"),
        ({"offsets": [0.0]}, "1 offsets for 2"),
        ({"offsets": [0.0, np.inf]}, "finite"),
        ({"offsets": "sound"}, "'auto'"),
    ],
)
def test_senseless_options_are_refused_before_any_film_is_read(films, unread, options, words):
    with pytest.raises(VitruvianError, match=words):
        capture_cameras([films / "left.mp4", films / "right.mp4"], pair(), **options)


def test_a_turned_second_film_is_refused_before_the_first_is_captured(films, unread, tmp_path):
    with VideoWriter(tmp_path / "right.mp4", HEIGHT, WIDTH, 30) as writer:
        writer.write(np.zeros((WIDTH, HEIGHT, 3), np.uint8), 0.0)
    with pytest.raises(VitruvianError, match="turn the film"):
        capture_cameras([films / "left.mp4", tmp_path / "right.mp4"], pair())


def test_pictures_of_other_sizes_are_refused_before_a_film_is_captured(films, unread, tmp_path):
    (tmp_path / "right").mkdir()
    for n, size in enumerate(((HEIGHT, WIDTH), (HEIGHT, WIDTH), (HEIGHT // 2, WIDTH))):
        write_image(tmp_path / "right" / f"{n}.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(VitruvianError, match="different sizes"):
        capture_cameras([films / "left.mp4", tmp_path / "right"], pair())


def test_a_take_of_other_keypoints_is_refused_before_a_film_is_captured(films, unread, two_networks, tmp_path):
    from vitruvian.skeletons import COCO_17
    from vitruvian.take import People

    take = Take(People.empty(17), COCO_17, TIMES, np.tile((WIDTH, HEIGHT), (len(TIMES), 1)), (), "right")
    with pytest.raises(VitruvianError, match="different keypoint sets"):
        capture_cameras([films / "left.mp4", take], pair(), **two_networks)


def test_a_live_camera_is_refused(films, unread):
    with pytest.raises(VitruvianError, match="camera:0 is live"):
        capture_cameras([films / "left.mp4", "camera:0"], pair())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cam 1", "cam+1", "cam-2"], ["cam_1", "cam_1_2", "cam-2"]),
        (["cam", "CAM", "cam_2", "cam"], ["cam", "CAM_2", "cam_2_2", "cam_3"]),
        (["+", "", "camera"], ["camera", "camera_2", "camera_3"]),
    ],
)
def test_each_camera_has_a_folder_of_its_own(names, expected):
    assert folder_names([Camera(pair()[0].intrinsics, name=name) for name in names]) == expected


@pytest.mark.parametrize(
    ("sources", "names", "expected"),
    [
        (["b/cam02.mp4", "a/cam01.mp4"], ["cam_01", "cam_02"], ["cam_02", "cam_01"]),
        (["cam02/walk.mp4", "cam01/walk.mp4"], ["cam01", "cam02", "cam03"], ["cam02", "cam01"]),
        (["walk-right.mp4", "walk-left.mp4"], ["left", "right"], ["right", "left"]),
        (["x.mp4", "y.mp4"], ["left", "right"], ["left", "right"]),
        (["cam1.mp4", "cam10.mp4"], ["cam10", "cam1"], ["cam1", "cam10"]),
        (["cam2.mp4", "cam1.mp4"], ["cam_01", "cam_02", "cam_03"], ["cam_02", "cam_01"]),
        (["cam02.mp4", "cam01.mp4"], ["int_cam01_img", "int_cam02_img"], ["int_cam02_img", "int_cam01_img"]),
        (["cam/cam2.mp4", "cam/cam1.mp4"], ["cam_1", "cam_2"], ["cam_2", "cam_1"]),
        (["walk_2.mp4", "walk_1.mp4"], ["camera1", "camera2"], ["camera2", "camera1"]),
        (["cam1/b.mp4", "cam1/a.mp4"], ["cam1", "cam2"], ["cam1", "cam2"]),
        (["Cam1/InputMedia/walk1/walk1.mov", "Cam0/InputMedia/walk1/walk1.mov"], ["Cam0", "Cam1", "Cam2"], ["Cam1", "Cam0"]),
        (["hdVideos/hd_00_12.mp4", "hdVideos/hd_00_03.mp4"], ["00_03", "00_12", "00_13"], ["00_12", "00_03"]),
    ],
)
def test_films_find_their_cameras_by_name_or_by_order(sources, names, expected):
    cameras = [Camera(pair()[0].intrinsics, name=name) for name in names]
    assert [camera.name for camera in in_order(sources, cameras)] == expected


def test_a_film_that_ends_early_is_told(two_networks, films, tmp_path, caplog):
    with VideoWriter(tmp_path / "right.mp4", WIDTH, HEIGHT, 10) as writer:
        for n in range(12):
            writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8), n / 10)
    capture_cameras([films / "left.mp4", tmp_path / "right.mp4"], pair(), **two_networks)
    assert "left ends 0.7 s before" in caplog.text


@pytest.mark.parametrize(("scale", "told"), [(1, False), (2, True)])
def test_a_calibration_without_a_size_that_fits_other_pictures_is_told(films, scale, told, caplog):
    of_films = [replace(camera, intrinsics=np.diag([scale, scale, 1]) @ camera.intrinsics, size=(0, 0)) for camera in pair()]
    found = cameras_of_films([films / "left.mp4", films / "right.mp4"], of_films)
    assert [camera.size for camera in found] == [(WIDTH, HEIGHT)] * 2
    assert ("does not say for pictures of which size" in caplog.text) is told


def test_films_smaller_than_calibrated_are_told(films, caplog):
    larger = [resized(camera, (2 * WIDTH, 2 * HEIGHT)) for camera in pair()]
    found = cameras_of_films([films / "left.mp4", films / "right.mp4"], larger)
    np.testing.assert_allclose(found[0].intrinsics, pair()[0].intrinsics)
    assert f"calibrated at {2 * WIDTH} x {2 * HEIGHT}, filmed at {WIDTH} x {HEIGHT}" in caplog.text
    caplog.clear()
    cameras_of_films([films / "left.mp4", films / "right.mp4"], pair())
    assert not caplog.text
