"""Cut-outs and textures in the backgrounds of training pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vitruvian.synth.backgrounds import CUT_OUT, Backdrops, load_photographs, paste


@pytest.fixture
def cut_out(tmp_path):
    """A green disc, 300 pixels wide, with violet hidden where it is clear."""
    image = np.full((400, 400, 4), (255, 0, 255, 0), np.uint8)
    cv2.circle(image, (200, 200), 150, (0, 255, 0, 255), -1)
    cv2.imwrite(str(tmp_path / "disc.png"), image)
    (picture,) = load_photographs([tmp_path / "disc.png"])
    return picture


@pytest.fixture
def solid():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (500, 450, 3), dtype=np.uint8), rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)]


def test_cut_outs_are_trimmed_and_small(cut_out):
    assert cut_out.shape == (CUT_OUT, CUT_OUT, 4)
    assert cut_out[..., [0, 2]].max() == 0  # what is hidden has no weight


def test_opaque_pictures_with_alpha_are_photographs(tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((32, 48, 4), 255, np.uint8))
    assert load_photographs([tmp_path / "wall.png"])[0].shape == (32, 48, 3)


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_out_changes_the_picture_only_where_it_covers(cut_out, seed):
    image = np.full((120, 160, 3), (200, 30, 90), np.uint8)
    before = image.copy()
    alpha = paste(np.random.default_rng(seed), image, cut_out, 60.0)
    assert (image[alpha == 0] == before[alpha == 0]).all()
    assert (image[alpha == 255] != before[alpha == 255]).any(axis=1).all()


def test_some_backdrops_have_cut_outs(solid, cut_out):
    with_disc, without = (list(Backdrops(p, 3, 12, (96, 80))) for p in ([*solid, cut_out], solid))
    changed = sum((a != b).any() for a, b in zip(with_disc, without, strict=True))
    assert 2 <= changed <= 10


def test_same_seed_same_backdrops(solid, cut_out):
    first, second = (list(Backdrops([*solid, cut_out], 5, 8, (96, 80))) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert all(b.shape == (80, 96, 3) and b.dtype == np.uint8 for b in first)
