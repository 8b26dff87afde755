"""Left and right are exchanged in some cameras for a while, and found out."""

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.sides import exchanged_sides

TIMES = np.arange(40) / 30
LEFT, RIGHT = [11, 13, 15], [12, 14, 16]


def legs(cameras, swapped, noise: float = 4.0):
    pixels = seen(cameras, walker(TIMES, (-0.5, 0), (0.6, 0.3)), noise)
    left, right = pixels[:, :, LEFT], pixels[:, :, RIGHT]
    where = swapped[..., None, None]
    return np.where(where, right, left), np.where(where, left, right)


def sure(left, value=0.8):
    return np.isfinite(left).all(-1) * np.broadcast_to(value, left.shape[:-1])


@pytest.mark.parametrize("count", [3, 4, 6])
def test_what_some_cameras_exchange_is_found(count):
    swapped = np.zeros((count, 40), bool)
    swapped[1, 5:20] = swapped[count - 1, 15:33] = True
    left, right = legs(room(count), swapped)
    found = exchanged_sides(room(count), left, right, sure(left), sure(right))
    if count > 3:
        assert (found != swapped).mean() < 0.02
    else:  # frames in which two of three are wrong say that the third is
        assert ((found != swapped).any(0) & ~(swapped.sum(0) == 2)).mean() < 0.1


def test_nothing_is_exchanged_that_is_right():
    left, right = legs(room(4), np.zeros((4, 40), bool), noise=8)
    assert not exchanged_sides(room(4), left, right, sure(left), sure(right)).any()


def test_of_two_cameras_the_doubtful_one_is_wrong():
    swapped = np.zeros((2, 40), bool)
    swapped[0, 10:30] = True
    left, right = legs(room(2), swapped)
    confidence = np.where(swapped, 0.4, 0.8)[..., None]
    found = exchanged_sides(room(2), left, right, sure(left, confidence), sure(right, confidence))
    assert (found != swapped).mean() < 0.05


def test_missing_points_and_nobody():
    left, right = legs(room(3), np.zeros((3, 40), bool))
    left[0, :20] = np.nan
    right[1] = np.nan
    assert not exchanged_sides(room(3), left, right, sure(left), sure(right)).any()
    empty = np.zeros((3, 0, 3, 2))
    assert exchanged_sides(room(3), empty, empty, empty[..., 0], empty[..., 0]).shape == (3, 0)
    with pytest.raises(VitruvianError):
        exchanged_sides(room(2), left, right, sure(left), sure(right))
