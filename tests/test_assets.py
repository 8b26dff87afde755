"""What ships in the package: networks that are what their cards say, small enough, and good enough on the sample whose truth is known."""

import numpy as np
import pytest

from vitruvian.cli import main
from vitruvian.runtime import Detector, PoseEstimator
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import Take
from vitruvian.weights import EMBEDDED, card_for, verify
from vitruvian.weights.card import ASSETS


@pytest.mark.parametrize("name", EMBEDDED)
def test_networks_match_their_cards(name):
    card = card_for(name)
    verify(card)
    assert card.sha256 and card.figures and card.licence_weights == "Apache-2.0" and "synthetic" in card.licence_data


def test_what_is_installed_is_under_30_megabytes_together():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 30e6


def test_sample_truth_is_one_person_walking_through_the_film():
    truth = Take.load(ASSETS / "sample.npz")
    assert truth.tracks.tolist() == [1] and len(truth.people) == len(truth.times) == 75
    assert np.ptp(truth.keypoints[:, 0, 0]) > 200


def test_networks_take_any_batch():
    images = [np.full((120, 90, 3), 128, np.uint8)] * 3
    assert len(Detector("person-parts-s", score_threshold=0.9)(images)) == 3
    boxes = np.array([[10, 10, 80, 110]], np.float32)
    for keypoints, scores in PoseEstimator("wholebody-s", flip_test=True)(images, [boxes, boxes[:0], np.repeat(boxes, 2, 0)]):
        assert keypoints.shape[1:] == (len(COCO_WHOLEBODY_133), 2) and len(scores) == len(keypoints)


def test_doctor_finds_this_installation_healthy(capsys):
    assert main(["doctor"]) == 0
    assert "self-test      passed" in capsys.readouterr().out
