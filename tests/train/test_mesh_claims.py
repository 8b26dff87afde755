"""The recipes that try OSX's, AiOS's and Multi-HMR's claims in small: what they draw, their arms, what they keep."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vitruvian.systems.mesh.camera import square_cameras


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "recipes")


def test_fingers_of_both_hands_point_as_their_angles_say_in_the_order_of_a_right_hand():
    import osx_small

    _, _, hands, angles = osx_small.puppets(3, torch.Generator().manual_seed(0))
    aims = osx_small.targets(hands, angles)[1]
    fingers = osx_small.sides(hands)[:, :, 1:] - hands[:, :, :1]
    fingers[:, 0, :, 0] *= -1  # seen in a mirror
    said = torch.stack((aims[..., 1], aims[..., 0]), -1)
    torch.testing.assert_close(said, fingers / fingers.norm(dim=-1, keepdim=True), atol=1e-4, rtol=0)


@pytest.mark.parametrize("arm", ["tokens", "separate", "decoder"])
def test_puppets_arms_start_from_the_same_body_and_learn(arm, monkeypatch):
    import osx_small
    from arms import pool_of

    monkeypatch.setattr(osx_small, "BODY_STEPS", 1)
    monkeypatch.setattr(osx_small, "BATCH", 2)
    osx_small._BODY.clear()
    pool = pool_of(osx_small.puppets, 50, 0)
    assert not osx_small.Puppeteer(arm).load_state_dict(osx_small.body_of(pool), strict=False).unexpected_keys
    figures = osx_small.figures_of(arm, 1, pool, tuple(column[:4] for column in pool))
    assert all(math.isfinite(value) for value in figures.values())
    assert ("tips" in figures) == (arm != "tokens")


def test_crowds_arms_share_what_finds_people(monkeypatch):
    import aios_small
    from arms import pool_of

    monkeypatch.setattr(aios_small, "FIRST_STEPS", 1)
    monkeypatch.setattr(aios_small, "SHARED_STEPS", 1)
    monkeypatch.setattr(aios_small, "BATCH", 2)
    aios_small._SHARED.clear()
    pool = pool_of(aios_small.crowds, 50, 0)
    for arm in ("human", "apart"):
        figures = aios_small.figures_of(arm, 1, pool, tuple(column[:4] for column in pool))
        assert set(figures) == {"f1", "joints", "crowded", "free", "share crowded", "mean pose"}
    shared = aios_small._SHARED[0].state_dict()
    assert not aios_small.Crowd("spread").load_state_dict(shared, strict=False).unexpected_keys


def test_an_arm_gets_its_pictures_of_a_kept_batch_and_the_people_in_them():
    import multi_hmr_claims

    picture = torch.tensor([0, 0, 13, 15, 15, 16, 17])
    kept = multi_hmr_claims.Kept([torch.arange(18.0).half()], torch.arange(18), [picture, 10 * picture])
    close, far = kept.of(multi_hmr_claims.CLOSE), kept.of(multi_hmr_claims.FAR)
    assert close.maps[0].tolist() == [*range(14), 16, 17] and close.maps[0].dtype == torch.float32
    assert close.people[0].tolist() == [0, 0, 13, 14, 15] and close.people[1].tolist() == [0, 0, 130, 160, 170]
    assert far.people[0].tolist() == [0, 0, 13, 15, 15]


def test_heads_without_readers_and_without_attention(tmp_path, monkeypatch):
    import multi_hmr_claims
    from multi_hmr_small import Lesson

    from vitruvian.systems.mesh.multi_hmr import VARIANTS, MultiHMR

    nano = VARIANTS["compact-nano"]
    monkeypatch.setattr(multi_hmr_claims, "CONFIGS", {"full": nano, "dense": multi_hmr_claims.CONFIGS["dense"]})
    torch.save({"averaged": MultiHMR(nano).state_dict()}, tmp_path / "eye.pt")
    model = multi_hmr_claims.network("plain", SimpleNamespace(eye=tmp_path / "eye.pt"))
    assert not model.head.readers and not any(p.requires_grad for p in model.backbone.trunk.parameters())
    assert model.head.blocks[0].across and Lesson(nano)


def test_figures_are_seen_where_their_joints_say():
    import multi_hmr_figures as recipe

    pictures, focals, rotations, heads, there, near = recipe.crowds(10, torch.Generator().manual_seed(0))
    rest = recipe.joints_of(torch.eye(3).repeat(1, 10, 1, 1))[0]
    assert float(rest[:, 1].max() - rest[:, 1].min()) == pytest.approx(1.6, abs=0.1)  # ankles to the middle of the head
    assert near.tolist() == [False] * 4 + [True] + [False] * 4 + [True]
    joints = recipe.joints_of(rotations[:, 0])
    points = recipe.project(joints - joints[:, [recipe.HEAD]] + heads[:, :1], square_cameras(focals, recipe.SIDE)[:, None])
    for row in torch.nonzero(near)[:, 0]:
        assert ((points[row, recipe.HANDS] > 0) & (points[row, recipe.HANDS] < recipe.SIDE)).all(-1).any()
    alone = next(row for row in range(10) if there[row].sum() == 1 and not near[row])
    column, line = points[alone, recipe.HEAD].long().tolist()
    face = pictures[alone, :, line - 1 : line + 2, column - 1 : column + 2].mean()
    assert float(face) < 0.3 < float(pictures[alone].mean())  # the face is dark, the ground is not


@pytest.mark.parametrize("arm", ["full", "dense", "blind", "close"])
def test_arms_of_figures_are_trained_and_judged_and_the_blind_one_is_told_no_camera(arm, monkeypatch):
    import multi_hmr_figures as recipe
    from arms import pool_of

    monkeypatch.setattr(recipe, "SHARED_STEPS", 1)
    monkeypatch.setattr(recipe, "BATCH", 2)
    recipe._SHARED.clear()
    pool = pool_of(recipe.crowds, 50, 0)
    model = recipe.Figures(arm).eval()
    cells = torch.tensor([[0, 3, 3]])
    with torch.no_grad():
        features = model.net.encode(2 * pool[0][:1].float() / 255 - 1)
        said = [model.people(features, square_cameras(torch.tensor([focal]), recipe.SIDE), cells) for focal in (80.0, 200.0)]
    assert torch.equal(said[0][0].depth, said[1][0].depth) == (arm == "blind")
    assert hasattr(model.net.head.blocks[0], "across") == (arm != "dense")
    figures = recipe.figures_of(arm, 1, pool, tuple(column[:5] for column in pool))
    assert set(figures) == {f"{kind} {name}" for kind in ("crowd", "near") for name in ("f1", "joints", "ends", "hands", "depth")}
