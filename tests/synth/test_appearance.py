"""Light, cloth, places and cameras: what each ingredient does, and that it can be left out."""

import cv2
import numpy as np
import pytest

from vitruvian.synth.classes import HAT, SEGMENTS, SKIN, UPPER, segment_of
from vitruvian.synth.fabric import cloth, octaves
from vitruvian.synth.look import Look
from vitruvian.synth.occluders import occlude
from vitruvian.synth.optics import degrade
from vitruvian.synth.paint import Light, paint, sample_light
from vitruvian.synth.scenery import make_place

NORTH = np.array([0.0, 0, -1])  # towards the camera


def plate(name=SKIN, depth=100):
    """A flat label image that looks at the camera."""
    labels = np.zeros((8, 64, 48), np.uint8)
    labels[0], labels[1:3], labels[3:6], labels[6] = name, 128, 128, depth
    labels[3] = np.linspace(60, 200, 48).astype(np.uint8)
    labels[5] = np.linspace(200, 60, 64).astype(np.uint8)[:, None]
    return labels


def lamp(direction, shadow=0.0, hollows=0.0):
    one = np.ones(3)
    return Light(direction / np.linalg.norm(direction), one, NORTH, 0 * one, 0.05 * one, 0.05 * one, shadow, hollows)


def bare(labels, light):
    return paint(np.random.default_rng(0), labels, 1.0, light, Look().without(["textures"]))[..., :3].astype(int)


def test_what_faces_the_light_is_brighter():
    assert bare(plate(), lamp(NORTH)).mean() > bare(plate(), lamp(np.array([1.0, 0, -0.2]))).mean() + 20


def test_a_step_casts_a_shadow_on_the_side_away_from_the_light():
    labels = plate()
    labels[6] = 120
    labels[6, :, 20:26] = 100  # a post that stands out towards the camera
    picture = bare(labels, lamp(np.array([-1.0, 0, -1.0]), shadow=1.0))  # light from the left
    assert picture[32, 30:36].mean() < 0.6 * picture[32, 8:14].mean()


def test_hollows_are_darker():
    labels = plate()
    labels[6, 24:40, 16:32] = 130
    shaded = bare(labels, lamp(NORTH, hollows=1.0))
    assert shaded[32, 24].mean() < shaded[4, 4].mean()


def test_textures_come_and_go():
    plain = paint(np.random.default_rng(4), plate(UPPER), 1.0, lamp(NORTH), Look().without(["textures"]))
    rich = [paint(np.random.default_rng(i), plate(UPPER), 1.0, lamp(NORTH)) for i in range(6)]
    assert plain[..., :3].std((0, 1)).max() < 1
    assert np.mean([image[..., :3].std((0, 1)).mean() for image in rich]) > 5


def test_without_lights_every_draw_is_the_same():
    a, b = (sample_light(np.random.default_rng(i), Look().without(["lights"])) for i in (0, 1))
    np.testing.assert_array_equal(a.sun, b.sun)
    assert a.shadow == 0


def test_pools_are_the_same_in_every_process():
    assert cloth().fabrics.shape[1:] == (128, 128, 3)
    assert int(cloth().clouds[0].astype(int).sum()) == int(cloth.__wrapped__().clouds[0].astype(int).sum())


def test_octaves_have_unit_deviation():
    assert octaves(np.random.default_rng(0), (64, 48)).std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_places_fill_their_picture_and_depend_on_the_seed(seed):
    a, b = (make_place(np.random.default_rng(seed), (80, 60)) for _ in range(2))
    assert a.shape == (60, 80, 3) and a.dtype == np.uint8
    np.testing.assert_array_equal(a, b)


def test_degrading_depends_on_the_generator_alone():
    image = make_place(np.random.default_rng(1), (96, 128))
    for seed in range(8):
        first = degrade(np.random.default_rng(seed), image.copy())
        cv2.setRNGSeed(seed + 99)
        np.testing.assert_array_equal(first, degrade(np.random.default_rng(seed), image.copy()))
        assert first.shape == image.shape and first.dtype == np.uint8


def test_an_occluder_changes_what_its_mask_covers_and_nothing_else():
    rng = np.random.default_rng(0)
    for _ in range(12):
        canvas = np.full((64, 48, 3), 90, np.uint8)
        mask = occlude(rng, canvas, np.full((64, 48, 3), 200, np.uint8), None)
        assert (canvas[mask == 0] == 90).all()


def test_segments_know_their_bones():
    assert SEGMENTS[segment_of("finger2-1.L")] == "left_hand" and SEGMENTS[segment_of("upperleg02.R")] == "right_thigh"
    assert SEGMENTS[segment_of("eye.L")] == "head" and SEGMENTS[segment_of("spine05")] == "hips"


def test_a_garment_looks_the_same_whatever_else_is_in_view():
    """The same seed, another camera: the shirt is not dyed by the hat that is hidden there."""
    labels, light = plate(UPPER), lamp(NORTH)
    for seed in range(5):
        with_hat = labels.copy()
        with_hat[0, :8] = HAT
        alone, dressed = (paint(np.random.default_rng(seed), planes, light=light) for planes in (labels, with_hat))
        np.testing.assert_array_equal(alone[8:], dressed[8:])
        assert (alone[:8] != dressed[:8]).any()
