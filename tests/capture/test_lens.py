"""The field of view of a film: as its calibration says, or by its people where they walk before a camera that looks down."""

from dataclasses import replace

import numpy as np
import pytest

from street import RATE, SIZE, street, take_of
from vitruvian.capture import pipeline
from vitruvian.capture.cameras import camera_of_film
from vitruvian.capture.lens import View, calibrated_view, seen_lens
from vitruvian.capture.run import Options
from vitruvian.capture.sinks import Stopwatch
from vitruvian.errors import VitruvianError
from vitruvian.formats.calibration import write_calibration
from vitruvian.geometry.camera import Camera, pinhole
from vitruvian.media.pictures import write_image
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take


@pytest.fixture(scope="module")
def walkers():
    return street(1, fov=68, tilt=20, height=3, people=3, seconds=12)


def test_people_who_walk_below_a_camera_tell_how_wide_it_sees(walkers):
    lens = seen_lens(walkers)
    assert lens.is_told and abs(lens.fov - 68) < 2 * lens.spread and abs(lens.tilt - 20) < 4


def test_before_a_level_camera_they_do_not():
    assert not seen_lens(street(1, fov=45, tilt=0, height=1.4, people=3, seconds=12)).is_told


def test_nor_before_one_that_sways():
    assert not seen_lens(street(2, fov=60, tilt=12, height=2, people=3, seconds=12, sway=3)).is_told


def test_who_stays_where_he_is_is_one_place(walkers):
    first = walkers.people.of(1)[:1]
    rows = [(f, 1, first.keypoints[0], first.confidence[0] > 0) for f in range(round(20 * RATE))]
    assert seen_lens(take_of(rows, len(rows))) is None


def test_nobody_or_pictures_of_two_sizes_are_no_lens(walkers):
    assert seen_lens(take_of([], 0)) is None
    assert seen_lens(take_of([], 5)) is None
    sizes = walkers.sizes.copy()
    sizes[3:] *= 2
    assert seen_lens(replace(walkers, sizes=sizes)) is None


def test_rows_in_any_order_tell_the_same():
    take = street(3, fov=60, tilt=25, height=3, people=2, seconds=6)
    mixed = take.subset(np.random.default_rng(0).permutation(len(take.people)))
    assert seen_lens(mixed).fov == pytest.approx(seen_lens(take).fov, abs=0.2)


def test_what_the_user_said_is_not_asked_for(walkers):
    view = View(50.0, "given")
    view.ask(walkers)
    assert view == View(50.0, "given")


def test_bodies_are_made_with_the_lens_that_people_tell_and_the_take_says_so(walkers, monkeypatch, tmp_path):
    seen = []

    def add_bodies(take, lifter, fov, ground, on_rows):
        seen.append(fov)
        return replace(take, fov=fov)

    monkeypatch.setattr(pipeline, "add_bodies", add_bodies)
    options, view = Options(0.3, "none", True, 60.0, "cpu"), View(60.0, "assumed")
    take = pipeline._with_bodies(walkers, lambda done, total: None, options, view, None, Stopwatch())
    assert seen == [view.fov] and take.fov == view.fov != 60 and take.fov_source == "estimated" and 0 < take.fov_spread < 9
    take.save(tmp_path / "take.npz")
    loaded = Take.load(tmp_path / "take.npz")
    assert (loaded.fov, loaded.fov_source, loaded.fov_spread) == (take.fov, "estimated", take.fov_spread)


def test_where_nobody_tells_the_usual_stays(monkeypatch):
    monkeypatch.setattr(pipeline, "add_bodies", lambda take, lifter, fov, ground, on_rows: replace(take, fov=fov))
    empty = Take(People.empty(17), COCO_17, np.arange(3.0), np.tile(SIZE, (3, 1)))
    options, view = Options(0.3, "none", True, 60.0, "cpu"), View(60.0, "assumed")
    take = pipeline._with_bodies(empty, lambda done, total: None, options, view, None, Stopwatch())
    assert (take.fov, take.fov_source, take.fov_spread) == (60.0, "assumed", 0.0)


@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_a_plain_camera_sees_what_its_calibration_says(size, caplog):
    assert abs(calibrated_view(Camera(pinhole(size, 71.5), size=size), "walk.mp4") - 71.5) < 1e-9 and not caplog.records


@pytest.mark.parametrize("change", [{"distortion": [-0.3, 0.1, 0, 0]}, {"shift": 30}])
def test_a_bent_lens_and_one_beside_the_middle_are_told(change, caplog):
    matrix = pinhole((640, 360), 70) + [[0, 0, change.get("shift", 0)], [0, 0, 0], [0, 0, 0]]
    camera = Camera(matrix, size=(640, 360), distortion=change.get("distortion", []))
    assert abs(calibrated_view(camera, "walk.mp4") - 70) < 1e-9
    assert "walk.mp4: its lens is off a plain one of 70.0 degrees by" in caplog.text
    assert "by 30 pixels" in caplog.text or "shift" not in change


def test_a_camera_without_a_size_says_nothing():
    with pytest.raises(VitruvianError, match="how large the pictures are"):
        calibrated_view(Camera(pinhole((640, 360), 70)), "walk.mp4")


def test_the_camera_of_a_film_is_the_only_one_or_the_one_of_its_name(tmp_path):
    one, other = (Camera(pinhole((640, 360), fov), size=(640, 360), name=name) for fov, name in ((60, "left"), (80, "right")))
    write_image(tmp_path / "walk_right.png", np.zeros((180, 320, 3), np.uint8))  # filmed at half the size
    write_image(tmp_path / "walk.png", np.zeros((180, 320, 3), np.uint8))
    write_calibration([one], tmp_path / "one.toml")
    write_calibration([one, other], tmp_path / "two.toml")
    for name, file, fov in (("walk.png", "one.toml", 60), ("walk_right.png", "one.toml", 60), ("walk_right.png", "two.toml", 80)):
        camera = camera_of_film(tmp_path / name, tmp_path / file)
        assert camera.size == (320, 180) and abs(calibrated_view(camera, name) - fov) < 1e-6
    with pytest.raises(VitruvianError, match=r"two.toml has 2 cameras \(left, right\): name the film like its own"):
        camera_of_film(tmp_path / "walk.png", tmp_path / "two.toml")
