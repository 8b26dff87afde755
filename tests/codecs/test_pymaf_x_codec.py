"""PyMAF-X's crops: squares around what is sure, mirrored left hands, the camera of the whole picture."""

import numpy as np
import pytest
import torch

from vitruvian.codecs.pymaf_x import SIZE, crop, intrinsics, part_squares
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.systems.mesh.camera import camera_translation
from vitruvian.systems.mesh.pymaf_x import project

PARTS = COCO_WHOLEBODY_133.parts


def person(n=1):
    """Keypoints with the body in a box of 100x200, hands of 20x10 and a face of 30x40 pixels."""
    rng = np.random.default_rng(0)
    points = rng.uniform([150, 150], [250, 350], (n, 133, 2))
    corners = {"left_hand": ((160, 200), (180, 210)), "right_hand": ((220, 200), (240, 210)), "face": ((185, 150), (215, 190))}
    for name, (low, high) in corners.items():
        points[:, PARTS[name]] = rng.uniform(low, high, points[:, PARTS[name]].shape)
        points[:, PARTS[name].start], points[:, PARTS[name].start + 1] = low, high
    points[:, 0], points[:, 1] = (150, 150), (250, 350)
    return points, np.ones((n, 133))


def test_squares_have_the_published_margins():
    squares = part_squares(*person())
    side = {
        name: (getattr(squares, name)[0, 2:] - getattr(squares, name)[0, :2]).tolist()
        for name in ("body", "left_hand", "right_hand", "face")
    }
    assert side["body"] == pytest.approx([240, 240]) and side["left_hand"] == pytest.approx([48, 48]) == side["right_hand"]
    assert side["face"] == pytest.approx([40 * 1.68] * 2)
    assert np.allclose(squares.left_hand[0, :2] + squares.left_hand[0, 2:], [340, 410]) and squares.seen.tolist() == [[True, True]]


def test_an_unsure_hand_is_not_seen_and_said_so(caplog):
    points, confidence = person(2)
    confidence[1, PARTS["left_hand"]] = 0.1
    with caplog.at_level("INFO"):
        squares = part_squares(points, confidence)
    assert squares.seen.tolist() == [[True, True], [False, True]] and "1 of 4 hands" in caplog.text
    image = np.full((400, 400, 3), 255, np.uint8)
    crops = crop(image, squares)
    assert crops.left_hand[0].min() > 1 and crops.left_hand[1].max() < 0 and np.isfinite(crops.left_hand).all()


def test_unsure_keypoints_don_t_stretch_the_body():
    points, confidence = person()
    points[0, 5], confidence[0, 5] = (2000, 2000), 0.2
    points[0, 6] = np.nan
    assert np.allclose(part_squares(points, confidence).body, part_squares(*person()).body)


def test_people_without_a_body_are_left_out():
    points, confidence = person(3)
    confidence[1] = 0
    squares = part_squares(points, confidence)
    assert squares.people.tolist() == [True, False, True] and squares.body.shape == (2, 4)


def test_nobody_is_fine():
    squares = part_squares(np.zeros((0, 133, 2)), np.zeros((0, 133)))
    crops = crop(np.zeros((9, 9, 3), np.uint8), squares)
    assert crops.body.shape == crops.left_hand.shape == (0, 3, SIZE, SIZE) and intrinsics(squares.body).shape == (0, 3, 3)


def test_other_keypoints_are_refused():
    with pytest.raises(VitruvianError, match="133"):
        part_squares(np.zeros((1, 17, 2)), np.zeros((1, 17)))


def test_left_hands_are_mirrored():
    squares = part_squares(*person())
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, :170] = image[:, 231:] = 255  # left of the left hand, and right of the right hand, from the middle pixel on
    crops = crop(image, squares)
    off = np.abs(crops.left_hand - crops.right_hand)[0, :, :, 60:]
    assert (off.max((0, 1)) > 0.1).sum() < 8  # only around the edge, which is off by the one pixel of an even size
    assert crops.left_hand[0, 0, 100, 200] > 1 > 0 > crops.left_hand[0, 0, 100, 20]


def test_the_picture_s_camera_sees_what_the_crop_s_sees():
    square, camera = np.array([[100.0, 50, 300, 250]]), torch.tensor([[0.9, 0.1, -0.2]])
    points = torch.randn(1, 6, 3) * 0.4
    in_crop = project(points, camera, SIZE)[0].numpy()
    moved = (points + camera_translation(camera, SIZE)[:, None])[0].numpy()
    seen = moved @ intrinsics(square)[0].T
    assert np.allclose(seen[:, :2] / seen[:, 2:], [200, 150] + 100 * in_crop, atol=0.01)
