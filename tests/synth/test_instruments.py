"""Drawn instruments: their labels are where they are drawn."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.synth.instruments import PARTS, TOOLS, instrument_picture


@pytest.mark.parametrize("randomised", [False, True])
def test_labels_lie_in_the_picture_and_parts_in_their_instrument(randomised):
    rng = np.random.default_rng(0)
    for _ in range(12):
        picture = instrument_picture(rng, rng.choice(list(TOOLS), 3).tolist(), (160, 120), randomised)
        assert picture.image.shape == (120, 160, 3) and picture.image.dtype == np.uint8
        assert len(picture.names) == len(picture.wholes) == len(picture.whole_polygons) and len(picture.parts) == len(picture.polygons)
        assert (picture.wholes >= 0).all() and (picture.wholes <= [160, 120, 160, 120]).all()
        whole = picture.wholes[picture.owners]
        assert (picture.parts[:, :2] >= whole[:, :2]).all() and (picture.parts[:, 2:] <= whole[:, 2:]).all()
        for box, outline in zip(picture.parts, picture.polygons, strict=True):
            assert (outline >= box[:2]).all() and (outline <= box[2:] - 1).all()


def test_wrists_and_parts_are_those_of_the_tool():
    rng = np.random.default_rng(1)
    for name, tool in TOOLS.items():
        pictures = [instrument_picture(rng, [name]) for _ in range(6)]
        parts = {PARTS[label] for picture in pictures for label in picture.labels}
        assert parts == (set() if tool.single else {"head", "body"} | ({"wrist"} if tool.wrist else set())), name
        assert all(picture.names == (name,) for picture in pictures)


def test_what_is_hidden_has_no_box():
    rng = np.random.default_rng(2)
    many = [instrument_picture(rng, ["Scissors"] * 9, (64, 64)) for _ in range(8)]
    assert min(len(picture.parts) for picture in many) < 18


def test_the_drawing_stands_out_where_its_outline_is():
    with_tool = instrument_picture(np.random.default_rng(3), ["Scissors"], (128, 128), randomised=True)
    x, y = with_tool.polygons[-1].astype(int).T
    mask = np.zeros((128, 128), bool)
    mask[y, x] = True
    edges = np.abs(np.diff(with_tool.image.astype(int), axis=1)).sum(-1)
    assert edges[mask[:, 1:]].mean() > 0


def test_no_instruments_is_a_picture_of_tissue_and_an_unknown_one_is_refused():
    rng = np.random.default_rng(4)
    empty = instrument_picture(rng, [])
    assert len(empty.wholes) == 0 and empty.parts.shape == (0, 4) and empty.image.std() > 5
    with pytest.raises(VitruvianError, match="Spoon"):
        instrument_picture(rng, ["Spoon"])


def test_same_seed_same_picture():
    a, b = (instrument_picture(np.random.default_rng(5), ["Electrichook", "CadiereForceps"]) for _ in range(2))
    assert (a.image == b.image).all() and (a.parts == b.parts).all()
