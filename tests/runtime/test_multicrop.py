"""Several crops per person: what agrees is averaged, what doesn't is left out."""

from types import SimpleNamespace

import numpy as np
import pytest

from vitruvian.codecs.poses import Poses
from vitruvian.errors import VitruvianError
from vitruvian.runtime.multicrop import MultiCrop, together, zoomed


def pose(x, score, **more):
    """One person with one keypoint at (x, 0)."""
    return Poses(np.float32([[[x, 0]]]), np.float32([[score]]), **more)


REACH = np.array([5.0])


def test_agreeing_crops_are_averaged_by_score():
    found = together([pose(10, 1.0), pose(12, 3.0)], REACH)
    assert found.keypoints[0, 0, 0] == pytest.approx(11.5) and found.scores[0, 0] == pytest.approx(2.0)


def test_an_outlier_is_left_out_and_lowers_the_score():
    found = together([pose(10, 0.9), pose(80, 0.4), pose(10, 0.9)], REACH)
    assert found.keypoints[0, 0, 0] == pytest.approx(10) and found.scores[0, 0] == pytest.approx(0.6)


def test_what_no_crop_found_stays_not_found():
    found = together([pose(-1, 0.0), pose(-1, -0.2)], REACH)
    assert found.scores[0, 0] == 0 and np.isfinite(found.keypoints).all()
    assert together([pose(-1, -1.0), pose(7, 0.5)], REACH).keypoints[0, 0, 0] == 7


def test_points_in_space_go_along():
    crops = [pose(10, 1.0, points=np.float32([[[z, 0, 0]]])) for z in (1.0, 2.0)]
    assert together(crops, REACH).points[0, 0, 0] == pytest.approx(1.5)


def test_boxes_grow_around_their_centres():
    np.testing.assert_allclose(zoomed(np.array([[10.0, 20, 30, 60]]), 1.5), [[5, 10, 35, 70]])


class Estimator:
    """Finds each person's only keypoint at the box's left edge, so that crops disagree by what they were zoomed."""

    compat, card = "", SimpleNamespace(skeleton="x")

    def __call__(self, images, boxes):
        return [Poses(np.stack([b[:, :1], b[:, 1:2]], -1).astype(np.float32), np.ones((len(b), 1), np.float32)) for b in boxes]


def test_people_of_several_pictures_and_of_none():
    boxes = [np.array([[0.0, 0, 100, 100], [50, 0, 150, 100]]), np.zeros((0, 4))]
    first, second = MultiCrop(Estimator(), (0.95, 1.05))([np.zeros((9, 9, 3), np.uint8)] * 2, boxes)
    np.testing.assert_allclose(first.keypoints[:, 0, 0], [0, 50], atol=1e-4)
    assert len(second) == 0 and MultiCrop(Estimator())([], []) == []


def test_one_crop_is_the_estimator_itself():
    boxes = [np.array([[3.0, 4, 100, 100]])]
    (found,) = MultiCrop(Estimator(), (1.0,))([np.zeros((9, 9, 3), np.uint8)], boxes)
    assert found.keypoints.tolist() == [[[3, 4]]] and found.scores.tolist() == [[1]]


@pytest.mark.parametrize("zooms", [(), (0.0,), (-1.0,), (float("nan"),)])
def test_sizes_must_be_positive(zooms):
    with pytest.raises(VitruvianError, match="positive"):
        MultiCrop(Estimator(), zooms)


def test_another_program_s_numbers_are_not_changed():
    other = Estimator()
    other.compat = "rtmlib"
    with pytest.raises(VitruvianError, match="compat"):
        MultiCrop(other)
