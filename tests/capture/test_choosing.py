"""Joints that the packaged network sees in two places, in a capture of the packaged film."""

import dataclasses

import numpy as np
import pytest

from vitruvian.capture import capture
from vitruvian.people import choose_places
from vitruvian.runtime import PoseEstimator
from vitruvian.take import Take
from vitruvian.weights.card import ASSETS

FILM = ASSETS / "sample.mp4"


@pytest.fixture(scope="module")
def plain() -> Take:
    """Keypoints as they are found in each frame."""
    return capture(FILM, smooth="none", mesh=False, overlay=False)


def test_chosen_places_are_places_that_the_network_saw(plain):
    chosen = capture(FILM, smooth="none", mesh=False, overlay=False, choose=True)
    assert plain.people.second is None and chosen.people.second is None
    moved = np.linalg.norm(chosen.keypoints - plain.keypoints, axis=-1) > 1
    assert not moved[:, :5].any()  # nobody chooses for the head
    frames = {frame.index: frame.image for frame in _frames()}
    network = PoseEstimator("wholebody-s", second=True)
    for row, k in np.argwhere(moved[:, 7:23])[:10]:
        poses = network([frames[int(plain.people.frame[row])]], [plain.boxes[row : row + 1]])[0]
        pair = [k + 7, plain.skeleton.swap[k + 7]]
        seen = np.concatenate([poses.keypoints[0, pair], poses.second[0, pair, :2]])
        assert np.linalg.norm(seen - chosen.keypoints[row, k + 7], axis=-1).min() < 2


@pytest.mark.parametrize("options", [{"smooth": "one-euro"}, {"smooth": "none"}, {"smooth": "kalman", "choose": False}])
def test_second_places_are_in_no_file_and_no_take(options, tmp_path):
    take = capture(FILM, tmp_path, overlay=False, mesh=False, **options)
    assert take.people.second is None and Take.load(tmp_path / "take.npz").people.second is None
    assert "second" not in (tmp_path / "keypoints.json").read_text()


def test_a_take_in_whose_film_nobody_chose_can_be_chosen_for_later(plain, tmp_path):
    second = np.concatenate([plain.keypoints + 30, np.full((*plain.confidence.shape, 1), 0.02)], axis=-1)
    take = dataclasses.replace(plain, people=dataclasses.replace(plain.people, second=second))
    take.save(tmp_path / "take.npz")
    again = Take.load(tmp_path / "take.npz")
    np.testing.assert_array_equal(again.people.second, second.astype(np.float32))
    assert choose_places(again).people.second is None


def _frames():
    from vitruvian.media import Video

    with Video(FILM) as video:
        return list(video)


def test_films_that_are_known_as_a_whole_are_smoothed_without_lag():
    """By themselves, with bodies: as with kalman; without: as with one-euro."""
    options = {"overlay": False, "choose": False}
    for mesh, usual in ((True, "kalman"), (False, "one-euro")):
        np.testing.assert_array_equal(
            capture(FILM, mesh=mesh, **options).keypoints, capture(FILM, mesh=mesh, smooth=usual, **options).keypoints
        )
