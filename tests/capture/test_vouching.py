"""Weak detections of whole films, for whom a network whose scores are chances can vouch."""

import numpy as np
import pytest

from scenes import walk
from vitruvian.capture import capture
from vitruvian.weights import Card

nets = pytest.importorskip("nets", reason="needs onnx")


def pose_with_chance(folder, chance):
    """A network of probability maps: every keypoint lies in a cell of its own with this chance."""
    cells = (12, 16)
    at = np.floor((0.5 + (nets.pose_places(133) - 0.5) / 1.25) * cells).astype(int)
    maps = np.zeros((133, cells[1], cells[0]), np.float32)
    maps[np.arange(133), at[:, 1], at[:, 0]] = chance
    path = nets.fixed(folder / "maps.onnx", {"maps": maps}, (96, 128))
    card = Card("maps", "pose2d", str(path), (96, 128), nets.MEAN, nets.STD, skeleton="coco-wholebody-133", codec="probability-map")
    card.save(path.with_suffix(".json"))
    return path


@pytest.mark.parametrize(("score", "chance", "people"), [(0.25, 0.9, 2), (0.25, 0.5, 0), (0.18, 0.9, 0), (0.9, 0.5, 2)])
def test_a_sure_body_makes_somebody_of_a_weak_detection(score, chance, people, tmp_path):
    film = walk(tmp_path / "walk.mp4", np.arange(8) / 10)
    take = capture(film, detector=nets.detector(tmp_path, score), pose=pose_with_chance(tmp_path, chance), smooth="none", mesh=False)
    assert len(take.tracks) == people and len(take.people) == 8 * people
    if people and score < 0.3:
        np.testing.assert_allclose(take.people.scores, 0.3, rtol=1e-6)


def test_networks_whose_scores_are_no_chances_don_t_vouch(networks, tmp_path):
    film = walk(tmp_path / "walk.mp4", np.arange(8) / 10)
    assert not len(capture(film, detector=nets.detector(tmp_path, 0.25), pose=networks["pose"], smooth="none", mesh=False).people)
