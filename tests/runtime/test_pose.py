import numpy as np
import pytest

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime import PoseEstimator
from vitruvian.runtime.session import Session

COLOURS = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255]])


def picture(dots, size=(200, 160)):
    """A black picture with one 5 x 5 dot of each colour."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for (x, y), colour in zip(dots, COLOURS, strict=False):
        image[y - 2 : y + 3, x - 2 : x + 3] = colour
    return image


DOTS = [[(60, 50), (90, 70), (70, 110)], [(120, 40), (130, 90), (100, 60)], [(40, 100), (30, 80), (60, 130)]]
BOXES = [np.float32([[40, 30, 110, 130], [30, 20, 120, 140]]), np.float32([[90, 20, 140, 100]]), np.float32([[20, 60, 70, 140]])]


def assert_on_the_dots(found, dots=DOTS):
    for (keypoints, scores), places in zip(found, dots, strict=True):
        assert np.abs(keypoints - np.float32(places)).max() < 4  # the dot's half width, and a crop pixel
        assert (scores > 0.9).all()


@pytest.mark.parametrize("batch, max_batch", [("b", 2), ("b", 3), ("b", 99), (1, 8)])
def test_keypoints_lie_on_the_dots_in_every_picture(make_pose, batch, max_batch):
    estimator = PoseEstimator(make_pose(batch=batch), device="cpu", threads=1, max_batch=max_batch)
    found = estimator([picture(dots) for dots in DOTS], BOXES)
    assert [k.shape for k, _ in found] == [(2, 3, 2), (1, 3, 2), (1, 3, 2)]
    assert_on_the_dots(found)


def test_pictures_without_people_give_empty_rows_between_others(make_pose):
    estimator = PoseEstimator(make_pose(), device="cpu", threads=1)
    none = np.zeros((0, 4), np.float32)
    images = [picture(DOTS[0])] * 4
    found = estimator(images, [none, BOXES[0], none, []])
    assert [len(k) for k, _ in found] == [0, 2, 0, 0]
    assert found[0].keypoints.shape == (0, 3, 2) and found[0].scores.shape == (0, 3)
    assert_on_the_dots([found[1]], [DOTS[0]])


def test_nothing_runs_for_nobody(make_pose, monkeypatch):
    estimator = PoseEstimator(make_pose(), device="cpu", threads=1)
    monkeypatch.setattr(Session, "run", lambda *_: pytest.fail("the network ran"))
    assert estimator([], []) == []
    assert len(estimator([picture(DOTS[0])], [np.zeros((0, 4), np.float32)])[0]) == 0


def test_a_network_trained_on_bgr_gets_bgr(make_pose):
    from dataclasses import replace

    estimator = PoseEstimator(replace(make_pose(), channel_order="bgr"), device="cpu", threads=1)
    (keypoints, _), *_ = estimator([picture(DOTS[0])], [BOXES[0]])
    assert np.abs(keypoints - np.float32(DOTS[0])[::-1]).max() < 4


def test_the_flip_test_swaps_left_and_right(make_pose):
    from vitruvian.skeletons import by_name

    names = by_name("coco-17").names
    # "Left" is the right one of two white dots in the picture, "right" the other: true of a person, and of the mirrored person.
    lean = [0.01 if "left" in name else -0.01 if "right" in name else 0 for name in names]
    card = make_pose(mix=[(1 / 3, 1 / 3, 1 / 3)] * 17, ramp=lean)
    image = np.zeros((160, 200, 3), np.uint8)
    for x in (50, 90):
        image[68:73, x - 2 : x + 3] = 255
    plain, flipped = (PoseEstimator(card, flip_test=on, device="cpu", threads=1)([image], [BOXES[0][:1]])[0] for on in (False, True))
    for keypoints, _ in (plain, flipped):
        for name, (x, y) in zip(names[1:], keypoints[0, 1:], strict=True):
            assert abs(x - (90 if "left" in name else 50)) < 5 and abs(y - 70) < 5, name
    # A partner mixed up would average a peak with a place without one.
    assert (flipped.scores[0, 1:] > 0.7).all()


def test_pictures_and_boxes_must_pair_up(make_pose):
    with pytest.raises(VitruvianError, match="1 pictures but boxes for 2"):
        PoseEstimator(make_pose(), device="cpu", threads=1)([picture(DOTS[0])], BOXES[:2])


def test_a_detector_is_no_pose_network(make_detector):
    with pytest.raises(WeightsError, match="not for poses"):
        PoseEstimator(make_detector())


def test_a_card_on_the_wrong_file_is_explained(make_detector):
    from vitruvian.weights import Card

    card = Card("mixed-up", "pose2d", make_detector().file, (64, 64), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), skeleton="coco-17")
    with pytest.raises(WeightsError, match="correct the card"):
        PoseEstimator(card, device="cpu", threads=1)
