"""The sampler of lifters by diffusion: schedule, steps, windows, guesses."""

import numpy as np
import pytest

from vitruvian.codecs.lifting_diffusion import LIMIT, cosine_schedule, ddim_step, ddim_times, guess_sequence, sample
from vitruvian.skeletons import H36M_17, INF_3DHP_17


def test_schedule_and_times_are_the_cards():
    energy = cosine_schedule(1000)
    assert energy[0] == pytest.approx(0.99996, abs=1e-5) and energy[499] == pytest.approx(0.49, abs=0.01)
    assert energy[999] == pytest.approx(2.4e-9, rel=0.05) and (np.diff(energy) < 0).all()
    assert ddim_times(1000, 1) == [999, -1] and ddim_times(1000, 2) == [999, 499, -1] and ddim_times(1000, 10)[:3] == [999, 899, 799]


def test_a_step_to_the_same_signal_keeps_it():
    clean, noise = np.random.default_rng(0).normal(size=(2, 2, 3))
    x = np.sqrt(0.3) * clean + np.sqrt(0.7) * noise
    then = ddim_step(x, clean, 0.3, 0.8, np.zeros((2, 3)), eta=0.0)
    np.testing.assert_allclose(then, np.sqrt(0.8) * clean + np.sqrt(0.2) * noise)


def test_a_network_that_knows_the_pose_is_believed_and_its_answers_are_cut():
    truth = np.random.default_rng(1).normal(0, 0.8, (4, 17, 3)).astype(np.float32)

    def denoise(clips):
        assert clips.shape[1:] == (4, 17, 6) and np.abs(clips[..., 2:5]).max() <= LIMIT and clips[0, 0, 0, 5] in (99, 49)
        mirror = clips[:, 0, 1, 0] < 0  # keypoint 1, the right hip, is on the left in the mirror
        poses = np.tile(truth, (len(clips), 1, 1, 1))
        poses[mirror] = poses[mirror][..., list(H36M_17.swap), :] * (-1, 1, 1)
        return poses

    keypoints = np.zeros((3, 4, 17, 2))
    keypoints[:, :, 1, 0], keypoints[:, :, 4, 0] = 0.1, 0.1
    noise = np.random.default_rng(0).normal(size=(2, 5, 4, 17, 3))
    found = sample(denoise, keypoints, noise, 100, H36M_17.swap)
    assert found.shape == (3, 5, 4, 17, 3)
    np.testing.assert_allclose(found, np.broadcast_to(np.clip(truth, -LIMIT, LIMIT), found.shape), atol=1e-6)


@pytest.mark.parametrize("frames", [0, 1, 9, 22, 40])
@pytest.mark.parametrize("skeleton", [H36M_17, INF_3DHP_17], ids=lambda s: s.name)
def test_sequences_of_any_length_have_their_root_at_zero(frames, skeleton):
    keypoints = np.random.default_rng(0).normal(0, 0.3, (frames, 17, 2))

    def denoise(clips):
        return clips[..., 2:5] / 2 + clips[..., :1] + 0.1

    guesses = guess_sequence(denoise, keypoints, skeleton, 9, 100, hypotheses=3, steps=2)
    assert guesses.shape == (3, frames, 17, 3) and np.isfinite(guesses).all()
    root = skeleton.parents.index(-1)
    assert not guesses[:, :, root].any() and guesses[:, :, root - 1].all()
    np.testing.assert_array_equal(guesses, guess_sequence(denoise, keypoints, skeleton, 9, 100, hypotheses=3, steps=2))
