"""Stick figures: joints lie on what is drawn, and a seed is a picture."""

import numpy as np
import pytest

from vitruvian.skeletons import POSETRACK_17
from vitruvian.train.figures import EARS, Scene, draw_clip

SIZE = (96, 128)


def test_a_seed_is_a_clip():
    a, b = (draw_clip(np.random.default_rng(3), SIZE, 3, Scene(0.5, 0.5)) for _ in range(2))
    np.testing.assert_array_equal(a.frames, b.frames)
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    assert a.frames.shape == (3, 128, 96, 3) and a.keypoints.shape == (17, 3)


def test_left_and_right_wrists_lie_on_their_colours():
    rng, right = np.random.default_rng(0), 0
    for _ in range(30):
        clip = draw_clip(rng, SIZE, scene=Scene(clutter=0, noise=0))
        for name, channel in (("left_wrist", 0), ("right_wrist", 2)):
            x, y = np.clip(clip.keypoints[POSETRACK_17.index(name), :2].round().astype(int), 0, np.array(SIZE) - 1)
            right += int(clip.frames[0, y, x].argmax() == channel)
    assert right >= 48  # of 60; arms lie on one another and on the body sometimes


def test_ears_have_no_label_and_labels_can_be_missing():
    rng = np.random.default_rng(1)
    tables = [draw_clip(rng, SIZE, scene=Scene(labelled=0.6)).keypoints for _ in range(200)]
    weights = np.stack(tables)[..., 2]
    assert (weights[:, EARS] == 0).all() and abs(np.delete(weights, EARS, axis=1).mean() - 0.6) < 0.03


def test_only_the_key_frame_is_hidden():
    rng = np.random.default_rng(2)
    clip = draw_clip(rng, SIZE, 3, Scene(hidden=1.0, noise=0))
    still = draw_clip(np.random.default_rng(2), SIZE, 3, Scene(hidden=0.0, noise=0))
    assert clip.hidden.sum() == 3 and not still.hidden.any()


@pytest.mark.parametrize("blurred,few", [(0.0, True), (1.0, False)])
def test_what_hides_a_limb_is_a_bar_or_a_blur(blurred, few):
    """A bar has two colours, a blur has many."""
    colours = []
    for seed in range(8):
        scenes = (Scene(hidden=1.0, blurred=blurred, noise=0), Scene(hidden=0.0, blurred=blurred, noise=0))
        hidden, plain = (draw_clip(np.random.default_rng(seed), SIZE, scene=scene).frames[0] for scene in scenes)
        changed = (hidden != plain).any(axis=-1)
        if changed.any():
            colours.append(len(np.unique(hidden[changed], axis=0)))
    assert colours and (max(colours) <= 2 if few else min(colours) > 2)


def test_an_open_shutter_smears_the_key_frame_alone():
    sharp, smeared = (draw_clip(np.random.default_rng(5), SIZE, 3, Scene(noise=0, exposure=exposure)) for exposure in (0.0, 4.0))
    same = (sharp.frames == smeared.frames).all(axis=(1, 2, 3))
    assert same.tolist() == [True, False, True]
    np.testing.assert_array_equal(sharp.keypoints, smeared.keypoints)


def test_an_ambiguous_forearm_bends_as_the_other_one():
    names = ("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist")
    rng = np.random.default_rng(4)
    for _ in range(50):
        clip = draw_clip(rng, SIZE, scene=Scene(ambiguous=1.0))
        p = [clip.keypoints[POSETRACK_17.index(name), :2] for name in names]
        bends = [np.cross(np.append(p[i + 1] - p[i], 0), np.append(p[i + 2] - p[i + 1], 0))[2] for i in (0, 3)]
        assert clip.ambiguous.sum() == 1 and bends[0] * bends[1] < 0  # mirrored sides


@pytest.mark.parametrize("size", [(32, 32), (20, 200)])
def test_any_size(size):
    assert draw_clip(np.random.default_rng(0), size, 1, Scene(hidden=1.0)).frames.shape == (1, size[1], size[0], 3)
