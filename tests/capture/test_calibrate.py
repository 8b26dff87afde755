"""Cameras calibrated by somebody who walks about before them: places, lens, scale and floor are found, or refused."""

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.capture.calibrate import calibrate
from vitruvian.cli import main
from vitruvian.errors import VitruvianError
from vitruvian.formats.calibration import read_calibration
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

TIMES = np.arange(120) / 30
LEG = 0.92 - 0.08  # hip to ankle of `many_views.STANDING`
HEIGHT = LEG / 0.491
TRUTH_FOV = 2 * np.degrees(np.arctan(1920 / 2 / 1200))


def walks():
    """(f, 17, 3): to and fro across the room."""
    there = walker(TIMES[:60], start=(-0.8, -1.0), speed=(0.3, 1.0))
    back = walker(TIMES[:60], start=(1.0, 0.9), speed=(-0.9, -0.5), phase=1.0)
    return np.concatenate([there, back])


def take_of(pixels, times=TIMES, confidence=0.9):
    frames = np.flatnonzero(np.isfinite(pixels).any((1, 2)))
    shown = pixels[frames]
    boxes = np.concatenate([np.nanmin(shown, 1), np.nanmax(shown, 1)], 1)
    sure = np.where(np.isfinite(shown).all(-1), confidence, 0)
    people = People(frames, np.ones(len(frames)), boxes, np.ones(len(frames)), shown, sure)
    return Take(people, COCO_17, times, np.tile([1920, 1080], (len(times), 1)))


def takes(noise=1.0, cameras=4):
    return [take_of(view) for view in seen(room(cameras), walks(), noise)]


def between(cameras):
    centres = np.array([camera.centre_world for camera in cameras])
    return np.linalg.norm(centres[:, None] - centres, axis=-1)


@pytest.mark.parametrize("fov", [TRUTH_FOV, None])
def test_places_lens_and_scale_are_found(fov):
    found = calibrate(takes(), height=HEIGHT, fov=fov)
    np.testing.assert_allclose(between(found.cameras), between(room()), rtol=0.06, atol=0.05)
    np.testing.assert_allclose(found.fov, TRUTH_FOV, atol=3)
    heights = np.array([camera.centre_world[1] for camera in found.cameras])
    np.testing.assert_allclose(heights, 2.2, atol=0.25)  # above the floor: people lean while they walk
    assert found.error.max() < 2 and found.seen.min() > 500


def test_a_smaller_person_makes_a_smaller_room():
    small, large = (calibrate(takes(), height=size, fov=TRUTH_FOV) for size in (HEIGHT / 2, HEIGHT))
    np.testing.assert_allclose(between(large.cameras), 2 * between(small.cameras), rtol=1e-6)


def test_films_that_did_not_begin_together_need_their_offsets():
    late = takes()
    late[1] = take_of(seen(room(), walks(), 1.0)[1], TIMES + 0.4)
    found = calibrate(late, height=HEIGHT, fov=TRUTH_FOV, offsets=(0, -0.4, 0, 0))
    np.testing.assert_allclose(between(found.cameras), between(room()), rtol=0.06, atol=0.05)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda takes: takes[:1], {}, "two or more"),
        (lambda takes: takes, {"height": 178}, "metres"),
        (lambda takes: takes, {"offsets": (0, 1)}, "offsets"),
        (lambda takes: [take_of(t.people.keypoints[::-1]) for t in takes[:1]] + takes[1:], {"fov": TRUTH_FOV}, "pixels off|contradict"),
        (lambda takes: [takes[0].subset(slice(0, 0)), *takes[1:]], {}, "nobody is followed"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(change, options, words):
    with pytest.raises(VitruvianError, match=words):
        calibrate(change(takes()), **{"height": HEIGHT} | options)


def test_the_command_writes_a_calibration_that_capture_reads(tmp_path, capsys):
    files = []
    for number, take in enumerate(takes(), 1):
        files.append(tmp_path / f"side{number}.npz")
        take.save(files[-1])
    code = main(["calibrate", *map(str, files), "-o", str(tmp_path / "cameras.toml"), "--height", str(HEIGHT), "--fov", str(TRUTH_FOV)])
    assert code == 0 and "side3" in capsys.readouterr().out
    cameras = read_calibration(tmp_path / "cameras.toml")
    assert [camera.name for camera in cameras] == ["side1", "side2", "side3", "side4"]
    np.testing.assert_allclose(between(cameras), between(room()), rtol=0.06, atol=0.05)


def test_cameras_that_agree_about_no_body_are_refused():
    """Depths that are drawn anew in every frame are seen alike by all, and belong to nobody."""
    rng = np.random.default_rng(0)
    body = walks()
    body[..., 2] *= np.exp(rng.normal(0, 0.5, body.shape[:2]))
    with pytest.raises(VitruvianError, match="limbs change their lengths"):
        calibrate([take_of(view) for view in seen(room(4), body, 1.0)], height=HEIGHT, fov=TRUTH_FOV)
