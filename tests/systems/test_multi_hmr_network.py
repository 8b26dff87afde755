"""Multi-HMR: sizes as published, files recognised by their shapes, nobody and everybody, the batch, gradients, ONNX."""

import math
from dataclasses import replace

import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from vitruvian.codecs.mesh import camera_code
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.export import write_onnx
from vitruvian.systems.mesh.camera import default_intrinsics, project, unproject
from vitruvian.systems.mesh.multi_hmr import (
    VARIANTS,
    Config,
    Deployed,
    MultiHMR,
    exported,
    find,
    from_published,
    infer_config,
    suppress,
)
from vitruvian.systems.mesh.multi_hmr_parts import FIRST_SIZE, KeypointReader, Look, chances_of, ray_features, sine_places, turn_towards
from vitruvian.systems.pose2d.mappose import VARIANTS as POSE_VARIANTS
from vitruvian.systems.pose2d.mappose import MapPose

NANO = VARIANTS["nano"]


@pytest.fixture(params=["nano", "anny-nano", "compact-nano"])
def model(request):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return MultiHMR(VARIANTS[request.param]).eval()


def pictures(n, config=NANO):
    return torch.randn(n, 3, config.image_size, config.image_size, generator=torch.Generator().manual_seed(3))


def cameras(n, config=NANO):
    camera = default_intrinsics(config.image_size).repeat(n, 1, 1)
    camera[:, 0, 0] *= 1.1
    camera[:, 1, 2] += 3
    return camera


def camera_codes(n, config=NANO):
    return torch.from_numpy(camera_code(cameras(n, config).numpy(), config.image_size))


def published_names(state, anny):
    """Our names as the published files have them, by hand from the card's table."""
    swaps = [("head.blocks.", "decoder.transformer.layers." if anny else "x_attention_head.transformer.transformer.layers.")]
    swaps += [(".between.norm.", ".0.norm."), (".across.norm.", ".1.norm."), (".between.to_out.", ".0.fn.to_out.0.")]
    swaps += [(".across.to_out.", ".1.fn.to_out.0."), (".between.to_qkv.", ".0.fn.to_qkv."), (".across.to_", ".1.fn.to_")]
    if anny:
        swaps += [("backbone.", "encoder.backbone."), ("detection.", "encoder.mlp_det."), ("view.", "encoder.mlp_fov_unique.")]
        swaps += [("widest_view", "encoder.fov_max"), ("head.embedding.", "dec_to_token."), ("head.places", "dec_pos_emb")]
        swaps += [("head.free", "useful_rotmat"), ("head.init_body_pose", "init_body_pose"), ("head.", "mlp_")]
    else:
        swaps += [
            ("backbone.", "backbone.encoder."),
            ("detection.", "mlp_classif."),
            ("head.place", "x_attention_head.transformer.pos_embedding"),
        ]
        swaps += [("head.embedding.", "x_attention_head.transformer.to_token_embedding.")]
        swaps += [("head.", "x_attention_head.")]
    out = {}
    for name, value in state.items():
        block = name.startswith("head.blocks.")
        for ours, theirs in swaps:
            if name.startswith(ours) or ours.startswith("."):
                name = name.replace(ours, theirs, 1)
        if block:
            for ours, theirs in ((".norm.", ".2.norm."), (".fc1.", ".2.fn.net.0."), (".fc2.", ".2.fn.net.3.")):
                if ".0." + ours[1:] not in name[-20:] and ".1." + ours[1:] not in name[-20:]:
                    name = name.replace(ours, theirs)
        out[name.replace("offset.", "mlp_offset.", 1) if name.startswith("offset.") else name] = value
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_inferred_from_shapes_alone(name):
    with torch.device("meta"):
        state = MultiHMR(VARIANTS[name]).state_dict()
    assert infer_config(state, published=False) == VARIANTS[name]


def test_nano_is_small_and_s_448_has_the_published_size(model):
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    with torch.device("meta"):
        state = MultiHMR(VARIANTS["s-448"]).state_dict()
    # The card counts 31.46 M with the mask token (384) and the children's betas (11), which we don't keep.
    assert sum(v.numel() for v in state.values()) + 395 == pytest.approx(31.46e6, abs=0.005e6)


def test_ray_embedding_is_optional():
    with torch.device("meta"):
        assert infer_config(MultiHMR(replace(NANO, bands=0)).state_dict(), published=False) == replace(NANO, bands=0)


@pytest.mark.parametrize("name", ["s-448", "anny-s-448"])
def test_published_names_are_read(name):
    with torch.device("meta"):
        state = published_names(MultiHMR(VARIANTS[name]).state_dict(), name.startswith("anny"))
    extra = {"smpl_layer.bm.v_template": torch.zeros(1), "body_model.x": torch.zeros(1), "eye": torch.zeros(1, 3, 3)}
    from vitruvian.systems.checkpoint import rename
    from vitruvian.systems.mesh.multi_hmr import DROP, KEYMAP

    with torch.device("meta"):
        assert set(rename({**state, **extra}, KEYMAP, DROP)) == set(MultiHMR(VARIANTS[name]).state_dict())


def test_own_weights_come_back(model):
    found, again = from_published(model.state_dict(), published=False)
    assert found == model.config
    image = pictures(1, model.config)
    with torch.inference_mode():
        (_, a), (_, b) = model(image, threshold=0.0, kernel=1), again(image, threshold=0.0, kernel=1)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_wrong_files_are_refused(model):
    state = dict(model.state_dict())
    with pytest.raises(WeightsError, match="no entry"):
        from_published({"x": torch.zeros(1)})
    state.pop("offset.0.weight")
    with pytest.raises(WeightsError, match=r"missing 1: offset\.0\.weight"):
        from_published(state)


def test_children_s_betas_take_their_own_mean():
    state = dict(MultiHMR(replace(NANO, shapes=11)).state_dict())
    state["head.init_betas"], state["head.init_betas_kid"] = torch.zeros(1, 10), torch.full((1, 11), 0.5)
    config, model = from_published(state)
    assert config.shapes == 11 and (model.head.init_betas == 0.5).all()


def test_pictures_of_another_size_are_refused(model):
    with pytest.raises(VitruvianError, match=f"{model.config.image_size}x"):
        model(torch.zeros(1, 3, 98, 98))
    with pytest.raises(ValueError, match="multiple"):
        Config(image_size=450)


def test_nobody_and_no_picture(model):
    cells, people = model(pictures(2, model.config), threshold=1.1)
    joints = model.config.joints
    assert cells.shape == (0, 3) and people.rotations.shape == (0, joints, 3, 3) and people.location.shape == (0, 2)
    cells, people = model(pictures(0, model.config))
    assert cells.shape == (0, 3) and people.translation.shape == (0, 3)


def test_people_do_not_depend_on_the_rest_of_the_batch(model):
    image, camera = pictures(4, model.config), cameras(4, model.config)
    cells = torch.tensor([[0, 1, 2], [3, 0, 0], [3, 2, 2], [3, 3, 2]])  # two empty pictures one after the other between them
    with torch.inference_mode():
        together = model.people(model.encode(image), camera, cells)
        alone = model.people(model.encode(image[:1]), camera[:1], cells[:1])
    for a, b in zip(together, alone, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a[:1], b, atol=1e-4)


def test_gradient_reaches_every_parameter(model):
    for parameter in model.parameters():  # ours starts with zeros that let nothing through
        torch.nn.init.normal_(parameter, std=0.05) if not parameter.any() else None
    features = model.train().encode(pictures(2, model.config))
    people = model.people(features, model.intrinsics(features), torch.tensor([[0, 1, 2], [0, 2, 2], [1, 3, 3]]))
    total = features.scores.sum() + sum((x * torch.randn_like(x)).sum() for x in people)
    total.backward()
    # Of three numbers of the camera only the first counts, in published files too.
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [name for name in dead if "deccam" not in name]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_rotations_are_rotations(model):
    _, people = model(pictures(2, model.config), threshold=0.0)
    product = people.rotations @ people.rotations.transpose(-1, -2)
    assert torch.allclose(product, torch.eye(3).expand_as(product), atol=1e-4)


def test_person_is_seen_where_it_was_found(model):
    image, camera = pictures(1, model.config), cameras(1, model.config)
    cells, people = model(image, camera, threshold=0.0)
    assert torch.allclose(project(people.translation, camera), people.location, atol=1e-2)
    assert torch.allclose(people.translation[:, 2:], people.depth)
    assert ((people.location / model.config.patch - people.offset - 0.5).round().long() == cells[:, [2, 1]]).all()


def test_depth_scales_with_the_focal_length():
    model = MultiHMR(NANO)
    focal = default_intrinsics(84)[0, :1]
    code = torch.tensor([[0.5]])
    assert model.metres(code, focal).item() == pytest.approx(math.exp(0.5), rel=1e-5)
    assert model.metres(code, 2 * focal).item() == pytest.approx(math.exp(1.0), rel=1e-5)
    assert model.metres(torch.tensor([[9.0]]), focal).item() == 50.0


def test_rays_are_those_of_the_patches_but_for_the_published_slip():
    camera = cameras(1)
    patch = torch.tensor([2 * 14 + 7.0, 4 * 14 + 7.0])  # column 2, row 4
    ours = ray_features(camera, NANO)[0, 4 * 6 + 2, :3]
    slip = ray_features(camera, replace(NANO, published=True))[0, 4 * 6 + 2, :3]
    assert torch.allclose(ours, unproject(patch, camera[0])) and torch.allclose(slip, unproject(patch.flip(0), camera[0]))
    assert torch.allclose(unproject(patch, camera[0]), torch.linalg.inv(camera[0]) @ torch.cat((patch, torch.ones(1))), atol=1e-6)


@pytest.mark.parametrize("kernel", [0, 1, 2, 3, 4, 5])
def test_suppression_keeps_the_shape_and_the_best(kernel):
    scores = torch.rand(2, 7, 7, generator=torch.Generator().manual_seed(1))
    kept = suppress(scores, kernel)
    assert kept.shape == scores.shape and kept.max() == scores.max()
    assert (kept > 0).sum() == scores.numel() if kernel <= 1 else (kept > 0).sum() < scores.numel()


def test_finding_is_in_row_major_order():
    scores = torch.zeros(2, 5, 5)
    scores[1, 0, 3] = scores[0, 4, 1] = scores[0, 1, 4] = 0.9
    assert find(scores).tolist() == [[0, 1, 4], [0, 4, 1], [1, 0, 3]]


def test_columns_of_the_table_of_places_come_first():
    table = sine_places(4, 16)
    assert torch.equal(table[1, 8:], table[0, 8:]) and torch.equal(table[4, :8], table[0, :8]) and not torch.equal(table[1], table[0])


def test_deployed_network_says_what_the_network_says(model):
    image, camera = pictures(2, model.config), cameras(2, model.config)
    deployed = Deployed(model, most=10, threshold=1e-6)
    assert torch.allclose(deployed.intrinsics(camera_codes(2, model.config)), camera, rtol=1e-5)
    with torch.inference_mode():
        cells, people = model(image, camera, threshold=1e-6)
        scores, locations, depths, *_ = deployed(image, camera_codes(2, model.config))
    counts = torch.bincount(cells[:, 0], minlength=2)
    assert (scores > 0).sum() == counts.clamp(max=10).sum() and (scores.diff(dim=1) <= 0).all()
    for picture in (0, 1):
        mine = people.location[cells[:, 0] == picture]
        shown = scores[picture] > 0
        gaps = torch.cdist(locations[picture, shown], mine)
        assert len(mine) and gaps.min(1).values.max() < 1e-2
        if counts[picture] <= 10:  # else people see others than in the network as it is
            assert torch.allclose(depths[picture, shown], people.depth[cells[:, 0] == picture][gaps.argmin(1)], rtol=1e-3)


def test_patches_that_were_suppressed_come_in_their_order(model):
    with torch.no_grad():
        model.offset[2].weight.zero_()
        model.offset[2].bias.zero_()
    every = Deployed(model, most=model.config.grid**2, threshold=0.0)
    scores, locations, *_ = every(pictures(1, model.config), camera_codes(1, model.config))
    column, row = (locations[0, scores[0] == 0] / model.config.patch).floor().long().T
    assert len(row) and ((row * model.config.grid + column).diff() > 0).all()


def test_people_who_are_not_there_cost_nothing(model):
    image, camera = pictures(2, model.config), camera_codes(2, model.config)
    with torch.no_grad():
        scores = model.encode(image).scores.flatten(1).sort(descending=True)[0]
    for wanted in (3, 5):
        between = float(scores[:, wanted - 1].max() + scores[:, wanted].max()) / 2
        rows = Deployed(model, most=10, threshold=3 * between, kernel=1)(image, camera)
        assert {x.shape[1] for x in rows} == {wanted}
    assert Deployed(model, most=10, threshold=3.0)(image, camera)[0].shape[1] == Deployed.FEWEST


@pytest.mark.parametrize(
    "model", ["compact-nano", *(pytest.param(n, marks=pytest.mark.slow) for n in ("nano", "anny-nano"))], indirect=True
)
def test_onnx_equals_torch_and_its_card_names_the_body(model, tmp_path):
    with torch.no_grad():
        model.detection[2].bias.zero_()  # so that some scores reach the threshold
        model.detection[2].weight.mul_(50)
    packed = exported(model.config, model)
    card, worst = write_onnx(packed, tmp_path / "n.onnx")
    assert worst < 1e-2  # of depths in metres too
    assert card.task == "mesh" and card.body and card.input_size == (model.config.image_size,) * 2
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    image, camera, rows = pictures(4, model.config), camera_codes(4, model.config), set()
    for contrast in (1, 1e5):
        said = session.run(None, {"image": contrast * image.numpy(), "camera": camera.numpy()})
        with torch.no_grad():
            assert [x.shape for x in said] == [tuple(x.shape) for x in packed.network(contrast * image, camera)]
        rows.add(said[0].shape[1])
    assert len(rows) > 1  # as many as there are


def test_our_backbone_says_what_mappose_says():
    torch.manual_seed(0)
    pose, tokens = MapPose(POSE_VARIANTS["nano"]).eval(), MultiHMR(VARIANTS["compact-nano"]).backbone.eval()
    assert not tokens.trunk.load_state_dict(pose.state_dict(), strict=False).missing_keys
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(tokens(image)[1], pose.logits(image).fine)


def peaked(cells, size=10):
    """Maps of one keypoint that is sure to be in each of some cells (row, column)."""
    maps = torch.full((1, 1, size, size), -20.0)
    for row, column in cells:
        maps[0, 0, row, column] = 20.0
    return maps


def test_keypoints_are_read_where_their_maps_peak():
    look = KeypointReader(1, 4, 8, 8).look(chances_of(peaked([(7, 2)])), torch.tensor([[[[0.5, 0.5]]]]), torch.ones(1, 1, 1))
    assert look.places[0, 0, 0].tolist() == pytest.approx([0.25, 0.75], abs=1e-4)
    assert look.sure.item() == pytest.approx(0, abs=1e-4)


def test_a_narrow_look_finds_the_keypoint_of_its_own_person():
    expected = torch.tensor([[[[0.15, 0.3]], [[0.9, 0.2]]]])
    look = KeypointReader(1, 4, 8, 8).look(chances_of(peaked([(2, 1), (2, 8)])), expected, torch.full((1, 2, 1), 0.05))
    assert look.places[0, :, 0].flatten().tolist() == pytest.approx([0.15, 0.25, 0.85, 0.25], abs=1e-3)


@pytest.mark.parametrize("wide, contrast", [(1.0, 1), (0.3, 5), (0.02, 3)])
def test_a_look_is_the_mean_under_squared_chances_and_a_gaussian_gate(wide, contrast):
    random = torch.Generator().manual_seed(0)
    maps, expected = contrast * torch.randn(2, 3, 6, 9, generator=random), 1.6 * torch.rand(2, 4, 3, 2, generator=random) - 0.3
    look = KeypointReader(3, 4, 8, 8).look(chances_of(maps), expected, torch.full((2, 4, 1), wide))
    chance = maps.double().flatten(2).log_softmax(-1)[:, None]
    rows, columns = torch.meshgrid((torch.arange(6) + 0.5) / 6, (torch.arange(9) + 0.5) / 9, indexing="ij")
    cells = torch.stack((columns, rows), -1).flatten(0, 1).double()
    far = (expected.double()[..., None, :] - cells).square().sum(-1)
    share = (2 * chance - far / 2 / wide**2).softmax(-1)
    assert torch.allclose(look.places.double(), share @ cells, atol=1e-5)
    assert torch.allclose(look.sure.double(), (share * chance).sum(-1), atol=1e-4)


def test_turning_towards_a_ray():
    ray = torch.tensor([0.3, -0.5, 1.0])
    turn = turn_towards(ray)
    assert torch.allclose(turn @ torch.tensor([0.0, 0, 1]), ray / ray.norm(), atol=1e-6)
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6)


@pytest.fixture
def taught():
    """A small network of ours, every part of which says something of keypoints; and people in the patches (1, 2) of two pictures."""
    torch.manual_seed(0)
    model = MultiHMR(VARIANTS["compact-nano"]).eval()
    for layer in (model.head.decpose, model.head.decshape, model.head.deccam):
        torch.nn.init.normal_(layer.weight, std=0.2)
    index = torch.tensor([[1 * model.config.grid + 2]] * 2)
    return model, index, model.seen(cameras(2, model.config), index)


def test_our_head_starts_with_what_keypoints_alone_say(taught):
    model, index, view = taught
    tokens = torch.randn(2, model.config.grid**2, model.head.cross_queries_x.shape[1])
    maps = torch.randn(2, 133, 8, 8)
    with torch.no_grad():
        raw = model.head(tokens, index, torch.ones(2, 1, dtype=torch.bool), maps, view)
        reader = model.head.readers[0]
        look = reader.look(chances_of(maps), *reader.expect(torch.zeros(2, 1, tokens.shape[2]), view, torch.full((2, 1, 1), FIRST_SIZE)))
        lifted = model.head.lift([look], view)
    for said, alone in zip(raw[:5], lifted[:5], strict=True):
        assert torch.allclose(said, alone, atol=1e-4)


def test_the_same_pose_elsewhere_in_the_picture_is_the_same_pose(taught):
    model, index, view = taught
    corner = torch.zeros_like(index)
    other = model.seen(cameras(2, model.config), corner)
    rays = F.normalize(torch.cat((0.4 * torch.rand(2, 1, 133, 2) - 0.2, torch.ones(2, 1, 133, 1)), -1), dim=-1)
    with torch.no_grad():
        raws = []
        for seen in (view, other):
            turned = (rays @ seen.turn.mT) @ seen.rays.inverse().mT[:, None]
            raws.append(model.head.lift([Look(turned[..., :2] / turned[..., 2:], torch.zeros(2, 1, 133))], seen))
    one, two = raws
    assert torch.allclose(one.rotations[:, :, 1:], two.rotations[:, :, 1:], atol=1e-3)
    roots = [seen.turn.mT @ raw.rotations[:, :, 0] for seen, raw in zip((view, other), raws, strict=True)]
    assert torch.allclose(*roots, atol=1e-3) and not torch.allclose(one.rotations[:, :, 0], two.rotations[:, :, 0], atol=1e-2)


def test_without_a_camera_nothing_is_turned():
    model = MultiHMR(replace(VARIANTS["compact-nano"], bands=0))
    one, two = (model.seen(camera, torch.tensor([[0], [5]])) for camera in (cameras(2), 2 * cameras(2)))
    assert torch.allclose(one.turn, torch.eye(3).expand(2, 1, 3, 3)) and torch.equal(one.rays, two.rays)


def test_an_unknown_backbone_is_refused():
    state = MultiHMR(VARIANTS["compact-nano"]).state_dict()
    state["backbone.trunk.enter.conv.weight"] = torch.zeros(48, 1, 1, 1)
    with pytest.raises(WeightsError, match="48 channels"):
        infer_config(state, False)
