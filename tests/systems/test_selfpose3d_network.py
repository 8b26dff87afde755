"""SelfPose3d: people out of heat maps, losses without labels, files, export."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.camera_ring import ring

from vitruvian.errors import WeightsError
from vitruvian.systems.export import export_onnx
from vitruvian.systems.pose3d import selfpose3d as sp
from vitruvian.systems.pose3d import selfpose3d_loss as learning
from vitruvian.systems.pose3d.selfpose3d import VARIANTS, SelfPose3d, from_published
from vitruvian.systems.pose3d.selfpose3d_loss import Augmented
from vitruvian.systems.pose3d.voxels import Space, Views, views_of

NANO = VARIANTS["nano"]
INPUT, CELLS = (240, 136), (60, 34)


def model_of(config=NANO):
    torch.manual_seed(0)
    model = SelfPose3d(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose2d | torch.nn.ConvTranspose3d | torch.nn.Conv2d):
                if module.weight.std() < 0.002:
                    module.weight.normal_(std=0.1)
    return model


def scenes(batch):
    views = views_of(ring(), INPUT)
    return Views(*(x.expand(batch, *x.shape[1:]) for x in views))


def identity_roots(model):
    """A root network that believes what it sees."""
    model.root_net = torch.nn.Identity()
    return model


def people(*rows):
    """Joints (1, n, 15, 3) scattered around mid-hips."""
    rng = np.random.default_rng(0)
    points = np.array(rows)[:, None] + rng.uniform(-0.4, 0.4, (len(rows), 15, 3))
    points[:, 2] = rows
    return torch.from_numpy(points).float()[None]


def test_nano_is_small():
    assert sum(p.numel() for p in model_of().parameters()) < 1_000_000


def test_mid_hips_of_drawn_people_are_found():
    model, views = identity_roots(model_of()), scenes(1)
    truth = people((0.8, -0.6, 0.9), (-0.9, 0.4, 1.0))
    maps = learning.render(learning.seen_at(truth, views, INPUT[0]), CELLS)
    roots = model.roots(maps, model.root_sampling(views, CELLS))
    distance = torch.cdist(truth[0, :, 2], roots.centre[0, roots.valid[0]])
    assert (distance.amin(1) < 0.2).all()
    assert (roots.score.diff() <= 0).all()


def test_scenes_of_different_numbers_of_people_are_found_as_one_by_one():
    model, views = identity_roots(model_of()).eval(), scenes(3)
    maps = torch.cat([
        learning.render(learning.seen_at(truth, scenes(1), INPUT[0]), CELLS)
        for truth in (people((0.8, -0.6, 0.9)), people((0.5, 0.5, 1.0), (-0.9, 0.4, 1.0)), people((0.0, 0.0, 30.0)))
    ])  # fmt: skip
    with torch.inference_mode():
        together, alone = model.predict(maps, views), model.predict(maps[1:2], views.rows(slice(1, 2)))
        none = model.predict(maps[:0], views.rows(slice(0, 0)))
    assert together.valid.sum(1).tolist()[2] == 0 and not together.points[2].any()
    assert torch.equal(together.valid[1:2], alone.valid) and bool(alone.valid.any())
    assert torch.allclose(together.points[1:2], alone.points, atol=1e-4)
    assert none.points.shape == (0, NANO.candidates, 15, 3)


def test_pictures_to_people_in_one_call():
    model = model_of().eval()
    with torch.inference_mode():
        found = model(torch.randn(2, 4, 3, INPUT[1] // 8 * 8 - 8, INPUT[0]), scenes(2))
    assert found.points.shape == (2, NANO.candidates, 15, 3) and torch.isfinite(found.points).all()


def test_rendering_is_a_gaussian_of_three_cells_summed_and_cut():
    keypoints = torch.tensor([[[40.0, 20.0]], [[40.0, 20.0]], [[44.0, 20.0]]])  # people, joints, xy
    one, three = learning.render(keypoints[:1], CELLS), learning.render(keypoints, CELLS)
    assert one.shape == (1, CELLS[1], CELLS[0])
    assert one[0, 5, 10] == 1 and one[0, 5, 13].item() == pytest.approx(np.exp(-0.5))
    assert three.max() == 1 and three[0, 5, 13] > one[0, 5, 13]
    assert not learning.render(keypoints[:0], CELLS).any()


def test_rendering_passes_gradients_to_places():
    keypoints = torch.tensor([[[41.0, 22.0]]], requires_grad=True)
    target = learning.render(torch.tensor([[[48.0, 22.0]]]), CELLS)
    learning.heatmap_loss(learning.render(keypoints, CELLS), target).backward()
    assert keypoints.grad[0, 0, 0] < 0 and keypoints.grad[0, 0, 1].abs() < 1e-6


def test_augmented_views_see_what_moved_keypoints_say():
    generator = torch.Generator().manual_seed(1)
    views, change = scenes(2), learning.draw_affines(2, INPUT, generator)
    points = torch.randn(2, 3, 15, 3)
    plain = learning.seen_at(points, views, INPUT[0])
    seen = learning.seen_at(points, learning.augmented(views, change), INPUT[0])
    assert torch.allclose(seen, learning.moved(plain, change), rtol=1e-4, atol=1e-2)


def test_warped_pictures_agree_with_moved_keypoints():
    change = learning.draw_affines(1, INPUT, torch.Generator().manual_seed(4))
    place = torch.tensor([[[[[100.0, 70.0]]]]])
    picture = torch.zeros(1, 1, 3, INPUT[1], INPUT[0])
    picture[..., 66:75, 96:105] = 1
    warped = learning.warp(picture, change)[0, 0, 0]
    y, x = (warped > 0.5).nonzero().float().mean(0).tolist()
    assert np.allclose((x, y), learning.moved(place, change).flatten().tolist(), atol=0.5)


def test_synthetic_roots_stay_inside_and_are_marked():
    space = Space((8.0, 8.0, 2.0), (0.0, -0.5, 0.8), (40, 40, 12))
    roots, taken = learning.draw_roots(space, 200, generator=torch.Generator().manual_seed(0))
    assert taken.sum(1).min() >= 1 and taken.sum(1).max() == 9 and taken[:, 0].all()
    assert (roots[..., 0] >= -1.5).all() and (roots[..., 0] <= 2).all() and (roots[..., 1].abs() <= 3).all()
    assert roots[..., 2].std(1).mean() < 0.1
    volume = learning.root_targets(space, roots[:1], taken[:1])
    assert volume.max() <= 1 and volume.amax() > 0.4 and (volume == 0).any()
    assert not learning.root_targets(space, roots[:1], torch.zeros_like(taken[:1])).any()


def test_matched_distance_matches_people_in_any_order_and_can_drop_the_worst_view():
    found = torch.rand(1, 3, 2, 15, 2) * 100
    labels = torch.cat((found.flip(2), torch.zeros(1, 3, 2, 15, 2)), 2)
    visible = torch.ones(1, 3, 4, 15)
    visible[:, :, 2:] = 0
    valid = torch.ones(1, 2, dtype=torch.bool)
    assert learning.matched_distance(found, valid, labels, visible, INPUT, False) == 0
    wrong = labels.clone()
    wrong[0, 1] += 24
    expected = 2 * 24 * (1 / INPUT[0] + 1 / INPUT[1]) / 2 / 3
    assert learning.matched_distance(found, valid, wrong, visible, INPUT, False).item() == pytest.approx(expected, rel=1e-4)
    assert learning.matched_distance(found, valid, wrong, visible, INPUT, True) == 0
    assert torch.equal(wrong[0, 0], labels[0, 0])
    assert learning.matched_distance(found, torch.zeros_like(valid), labels, visible, INPUT, False) == 0


def augmentations(model, truth, weights=False):
    generator = torch.Generator().manual_seed(0)
    out = []
    for _ in range(2):
        views = learning.augmented(scenes(1), learning.draw_affines(1, INPUT, generator))
        seen = learning.seen_at(truth, views, INPUT[0])
        weight = model.weights(torch.randn(1, 4, 3, 128, 256))[..., : CELLS[1], : CELLS[0]] if weights else None
        weight = None if weight is None else torch.nn.functional.interpolate(weight[0], CELLS[::-1])[None]
        out.append(Augmented(learning.render(seen, CELLS), seen, torch.ones(seen.shape[:-1]), views, weight))
    return tuple(out)


def test_true_poses_have_no_loss():
    model, truth = model_of(), people((0.8, -0.6, 0.9), (-0.9, 0.4, 1.0))
    model.poses = lambda *_: truth
    valid = torch.ones(1, 2, dtype=torch.bool)
    terms = learning.pose_terms(model, augmentations(model, truth), truth[:, :, 2], valid)
    assert terms.keys() == {"heatmaps", "joints"} and all(value < 1e-6 for value in terms.values())
    model.poses = lambda *_: truth + 0.2
    assert all(value > 1e-5 for value in learning.pose_terms(model, augmentations(model, truth), truth[:, :, 2], valid).values())


def test_gradient_reaches_every_parameter_of_all_four_networks():
    model, truth = model_of().train(), people((0.8, -0.6, 0.9), (-0.9, 0.4, 1.0))
    model.config = replace(model.config, sharpness=1.0)
    views, generator = scenes(1), torch.Generator().manual_seed(0)
    maps = model.heatmaps(torch.randn(1, 4, 3, 128, 256))
    small = (maps.shape[-1], maps.shape[-2])
    terms = learning.root_terms(model, (views,) * 3, (maps, 0.9 * maps, maps), small, generator)
    assert terms.keys() == {"synthetic", "consistency"}
    terms |= learning.pose_terms(model, augmentations(model, truth, True), truth[:, :, 2], torch.ones(1, 2, dtype=torch.bool))
    assert terms.keys() == {"synthetic", "consistency", "heatmaps", "attention", "joints"}
    (sum(terms.values()) + learning.heatmap_loss(maps, torch.rand_like(maps))).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias before a normalisation cancels out, and so does one before the soft arg-max.
    idle = re.compile(r"(block\.0|res_branch\.[03]|skip_con\.0|pose_net\.output_layer)\.bias$")
    assert not [name for name in dead if not idle.search(name)]


def published_names(model):
    out = {}
    for name, value in model.state_dict().items():
        name = name.replace(".trunk.", ".").replace(".head.", ".").replace("attention.", "attn.backbone.")
        out[name.replace("root_net.", "root_net.v2v_net.").replace("pose_net.", "pose_net.v2v_net.")] = value
    return out


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"attention": None, "root_inputs": 15},
        {"backbone": None, "attention": None},
        {"attention": None, "root_inputs": 0, "pose": False},
    ],
)
def test_published_files_are_read_whole_or_in_part(parts):
    config = replace(NANO, **parts)
    model = model_of(config)
    found, other = from_published(published_names(model))
    assert (found.backbone, found.attention, found.root_inputs, found.pose) == (
        config.backbone,
        config.attention,
        config.root_inputs,
        config.pose,
    )
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert found.published and not other.training


def test_other_checkpoints_are_refused():
    state = published_names(model_of())
    with pytest.raises(WeightsError, match="another system"):
        from_published({"weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="left over"):
        from_published(state | {"pose_net.v2v_net.surplus": torch.zeros(1)})
    with pytest.raises(WeightsError, match="root_inputs"):
        from_published(state | {"root_net.v2v_net.front_layers.0.block.0.weight": torch.zeros(8, 3, 7, 7, 7)})


def test_a_missing_network_is_named():
    model = SelfPose3d(replace(NANO, backbone=None))
    with pytest.raises(WeightsError, match="backbone"):
        model.heatmaps(torch.zeros(1, 1, 3, 64, 64))


def test_coco_backbone_becomes_a_start():
    coco = {name.removeprefix("backbone."): value for name, value in published_names(SelfPose3d(replace(NANO, joints=17))).items()}
    coco = {name: value for name, value in coco.items() if not name.startswith(("attn", "root_net", "pose_net"))}
    config, model = from_published(sp.from_coco(coco))
    assert config.joints == 15
    assert torch.equal(model.backbone.head.final_layer.weight[1], coco["final_layer.weight"][0])
    with pytest.raises(WeightsError, match="17 heat maps"):
        sp.from_coco({"conv1.weight": torch.zeros(1)})


def test_networks_are_shared_in_another_space():
    model = model_of()
    other = sp.with_space(model, Space((2, 2, 2), (0, 0, 1), (8, 8, 8)))
    assert other.root_net is model.root_net and other.config.space.bins == (8, 8, 8) and model.config.space.bins == NANO.space.bins


def test_onnx_of_the_pose_network_equals_torch(tmp_path):
    config = replace(NANO, pose_bins=(8, 8, 8), sharpness=1.0)
    worst = export_onnx(
        sp.PoseOfCube(model_of(config)),
        (torch.zeros(1, 15, 8, 8, 8), torch.zeros(1, 3)),
        tmp_path / "pose.onnx",
        ("cubes", "centre"),
        ("joints",),
    )
    assert worst < 1e-3
