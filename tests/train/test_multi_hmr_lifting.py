"""The recipe in which Multi-HMR's head learns from keypoints alone: its people, its errors, its loss."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vitruvian.body.torch import rotation_matrices
from vitruvian.systems.mesh.camera import project
from vitruvian.systems.mesh.multi_hmr import MultiHMR


@pytest.fixture
def recipe(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "recipes")
    import multi_hmr_lifting

    return multi_hmr_lifting


@pytest.fixture
def bank(recipe):
    """Forty people of a store that stand before their cameras."""
    rng, number = np.random.default_rng(0), 40
    pose = rng.normal(0, 0.2, (number, 69, 3)).astype(np.float32)
    pose[:, 0] = [np.pi, 0, 0]
    shape, place = (rng.normal(0, s, (number, n)).astype(np.float32) for s, n in ((0.5, 64), (1.0, 3)))
    points = recipe.Keypoints()(rotation_matrices(torch.from_numpy(pose)), torch.from_numpy(shape), torch.from_numpy(place)).numpy()
    floor = np.tile(np.float32([0, -1, 0, -1]), (number, 1))

    class Store(SimpleNamespace):
        def __len__(self):
            return number

    return recipe.Bank.of(Store(truth={"pose": pose, "shape": shape, "translation": place, "points": points, "floor": floor}), False)


def none(recipe, people=3):
    """No errors, looks that are sure."""
    return recipe.Errors(torch.zeros(people, 2, 133, 2), torch.zeros(people, 2, 133))


def test_people_turned_and_mirrored_have_their_keypoints_where_their_bodies_are(recipe, bank):
    assert len(bank.shape) == 2 * 38  # two were held out
    crowd = bank.draw(200, torch.Generator().manual_seed(0))
    posed = project(recipe.Keypoints()(crowd.rotations, crowd.shape, crowd.translation), crowd.camera[:, None])
    near = (crowd.points.abs() < 1000).all(-1)
    assert (posed - crowd.points).abs()[near].max() < 0.1 and near.float().mean() > 0.9
    heads = project(crowd.head, crowd.camera)
    assert heads.min() > 0 and heads.max() < recipe.SIDE and crowd.head[:, 2].min() > 0.3


def test_keypoints_without_errors_are_told_as_they_are_and_unsure_outside(recipe, bank, monkeypatch):
    chance = torch.Generator().manual_seed(0)
    crowd = bank.draw(50, chance)
    monkeypatch.setattr(recipe, "SWAPPED", 0.0)
    looks, true = recipe.spoiled(crowd, none(recipe), chance), crowd.points / recipe.SIDE
    inside = ((true >= 0) & (true <= 1)).all(-1)
    for look in looks:
        assert torch.allclose(look.places[:, 0][inside], true[inside], atol=1e-6)
        assert (look.sure[:, 0][inside] == 0).all() and look.sure[:, 0][~inside].mean() < -4


def test_sides_are_swapped_sometimes(recipe, bank, monkeypatch):
    chance = torch.Generator().manual_seed(0)
    crowd = bank.draw(5, chance)
    monkeypatch.setattr(recipe, "SWAPPED", 1.0)
    look, swap = recipe.spoiled(crowd, none(recipe), chance)[0], list(recipe.COCO_WHOLEBODY_133.swap)
    true = crowd.points[:, swap] / recipe.SIDE
    inside = ((true >= 0) & (true <= 1)).all(-1) & ((crowd.points >= 0) & (crowd.points <= recipe.SIDE)).all(-1)
    assert inside.any() and torch.allclose(look.places[:, 0][inside], true[inside], atol=1e-6)


def test_a_lesson_reaches_what_lies_behind_the_maps(recipe, bank):
    model = MultiHMR(recipe.ARMS["full"])
    terms = recipe.Lesson()(model, next(recipe.endless(bank, none(recipe), 4, 0)))
    terms["total"].backward()
    assert terms["total"].isfinite()
    learns = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"readers", "blocks", "decpose", "decshape", "deccam"} <= learns
    assert not any(p.grad is not None for p in model.backbone.parameters())
