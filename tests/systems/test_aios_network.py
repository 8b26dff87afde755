"""AiOS: variants from shapes, published names, tokens and who sees whom, nobody and everybody, padding, ONNX."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian.codecs import aios as pictures_of
from vitruvian.codecs.mesh import into_camera
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.checkpoint import rename
from vitruvian.systems.export import write_onnx
from vitruvian.systems.mesh import aios
from vitruvian.systems.mesh.aios import VARIANTS, AiOS, Deployed, body_parameters, corners, exported, from_published, infer_config, people
from vitruvian.systems.mesh.aios_decoder import blocked_pairs, layouts
from vitruvian.systems.mesh.aios_encoder import logit

NANO = VARIANTS["nano"]


def lively(model):
    """Last layers, which start at nothing, say something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module.weight.abs().max() < 1e-6:
                module.weight.normal_(std=0.2, generator=generator)
    return model


@pytest.fixture
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return lively(AiOS(NANO)).eval()


def pictures(n, height=96, width=128):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(3))


def flat(found):
    return [*found[:7], *found.body]


def published(state):
    """Our names as the released file has them, by hand from the card's table; the lists that it stores twice, twice."""
    lists = ("bbox", "class", "pose")
    out = {}
    for name, value in state.items():
        if name.startswith("backbone."):
            out["backbone.0.body." + name.removeprefix("backbone.")] = value
            continue
        name = name.removeprefix("finder.")
        head = name.removeprefix("decoder.")
        if head.startswith((*lists, "smpl_")):
            out[head] = value
            if head.startswith(lists):
                out["transformer.decoder." + head] = value
            if head.startswith(("pose_hw_embed.0.", "pose_hand_hw_embed.0.", "pose_face_hw_embed.0.")):
                out[head.replace(".0.", ".1.", 1)] = value
        elif name.startswith(("input_proj", "label_enc")):
            out[name] = value
        elif name == "encoder.level_embed":
            out["transformer.level_embed"] = value
        else:
            out["transformer." + name.removeprefix("selection.")] = value
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_inferred_from_shapes_alone(name):
    config = VARIANTS[name]
    with torch.device("meta"):
        state = AiOS(config).state_dict()
    assert infer_config(state, config.queries, config.people) == config and aios.variant_of(infer_config(state)) == name


def test_stages_and_keypoints_are_inferred():
    config = replace(NANO, stages=(2, 1, 3), keypoints=(14, 5, 4), levels=5, shapes=11, expressions=50)
    with torch.device("meta"):
        assert infer_config(AiOS(config).state_dict(), config.queries, config.people) == config


def test_nano_is_small(model):
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_published_names_are_read():
    with torch.device("meta"):
        state = AiOS(VARIANTS["r50"]).state_dict()
    extra = {"body_model.v_template": torch.zeros(1), "module.body_model.x": torch.zeros(1)}
    renamed = rename({**{f"module.{k}": v for k, v in published(state).items()}, **extra}, aios.KEYMAP, aios.DROP)
    assert {name for name in renamed if "num_batches" not in name} == {name for name in state if "num_batches" not in name}


def test_own_weights_come_back(model):
    config, again = from_published(published(model.state_dict()), NANO.queries, NANO.people)
    assert config == NANO
    with torch.inference_mode():
        a, b = model(pictures(1)).last, again(pictures(1)).last
    assert all(torch.equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


def test_the_table_of_training_may_be_missing(model):
    state = {name: value for name, value in model.state_dict().items() if "label_enc" not in name}
    config, again = from_published(state, NANO.queries, NANO.people)
    assert config == replace(NANO, labels=101) and torch.equal(again.finder.encoder.level_embed, model.finder.encoder.level_embed)


def test_wrong_files_are_refused(model):
    state = dict(model.state_dict())
    with pytest.raises(WeightsError, match="no backbone"):
        from_published({"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="no entry"):
        from_published({"backbone.x": torch.zeros(1)})
    state.pop("finder.decoder.norm.weight")
    with pytest.raises(WeightsError, match=r"missing 1: finder\.decoder\.norm\.weight"):
        from_published(state)


def test_finder_alone_is_read(model):
    state = {name: value for name, value in published(model.state_dict()).items() if not name.startswith("backbone")}
    with pytest.raises(WeightsError, match="input_proj"):  # a ResNet-50 is taken for granted, and this one is narrower
        aios.finder_from_published(state)


def test_layouts_are_those_of_the_card():
    one, two, three = layouts(17, 6, 6)
    assert (one.size, two.size, three.size) == (1, 21, 39)
    assert [two.of(kind) for kind in ("body", "left", "right", "face")] == [[0], [18], [19], [20]]
    assert three.of("body", "points", "left", "right", "face") == [*range(19), 25, 32]
    assert three.of("body", "left", "right", "left_points") == [0, *range(18, 26)]
    assert three.of("body", "left", "right", "right_points") == [0, 18, *range(25, 32)]
    assert three.of("body", "face", "face_points") == [0, *range(32, 39)]


def test_a_token_sees_its_own_person_and_boxes_see_all_boxes():
    layout = layouts(3, 1, 1)[1]  # body, 3 points, left, right, face
    blocked = blocked_pairs(layout, 2, None, torch.device("cpu"))
    assert not blocked[:7, :7].any() and not blocked[7:, 7:].any()
    assert blocked[1, 7:].all() and blocked[7:, 1].all()  # a keypoint and the other person
    assert (~blocked[0, 7:]).nonzero()[:, 0].tolist() == [0, 4, 5, 6]  # a box and the other's boxes


def test_nobody_sees_denoising_queries():
    table = torch.tensor([[False, True], [True, False]])
    blocked = blocked_pairs(layouts(1, 1, 1)[1], 1, table, torch.device("cpu"))
    assert blocked[2:, :2].all() and torch.equal(blocked[:2, :2], table)
    assert blocked[0, 2:].tolist() == [False, True, False, False, False]  # they see boxes only


def test_one_layer_and_stage_after_the_other(model):
    with torch.inference_mode():
        output = model(pictures(2))
    first, second, third = output.layers
    assert output.proposals.boxes.shape == (2, 20, 4) and first.boxes.shape == (2, 20, 4) and first.body is None
    assert second.keypoints.shape == (2, 4, 17, 2) and second.hand_keypoints is None
    assert third.hand_keypoints.shape == (2, 4, 2, 6, 2) and third.face_keypoints.shape == (2, 4, 6, 2)
    assert third.hands.shape == (2, 4, 2, 4) and third.faces.shape == (2, 4, 4)
    shapes = [tuple(x.shape[2:]) for x in third.body]
    assert shapes == [(22, 3, 3), (2, 15, 3, 3), (3, 3), (10,), (10,), (3,)]


def test_batch_equals_single_and_padding_does_not_matter(model):
    image = pictures(2)
    wide, padding = torch.zeros(2, 3, 128, 192), torch.ones(2, 128, 192, dtype=torch.bool)
    wide[0, :, :96, :128], wide[1] = image[0], 7.0
    padding[0, :96, :128], padding[1] = False, False
    with torch.inference_mode():
        together = model(wide, padding).last
        alone = model(wide[:1], padding[:1]).last
        both = model(image).last
        single = model(image[1:]).last
    for a, b in zip(flat(together), flat(alone), strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a[:1], b, atol=1e-4)
    for a, b in zip(flat(both), flat(single), strict=True):
        assert torch.allclose(a[1:], b, atol=1e-4)


def test_what_lies_in_the_padding_is_not_seen(model):
    """Behind the backbone, whose convolutions look over the edge."""
    maps = [torch.randn(1, c, 128 // s, 192 // s) for c, s in zip((16, 32, 64), (8, 16, 32), strict=True)]
    padding = torch.ones(1, 128, 192, dtype=torch.bool)
    padding[:, :64, :128] = False
    with torch.inference_mode():
        scene = model.finder.scene(maps, padding)
        values = scene.tokens.clone()
        values[scene.padding] = 1e3
        clean, soiled = (
            next(iter(model.finder.decoder(s, model.finder.selection(s, 5), 3))).found.boxes for s in (scene, scene._replace(tokens=values))
        )
    assert torch.equal(clean, soiled)


def test_no_picture_and_nobody(model):
    with torch.inference_mode():
        none = model(torch.zeros(0, 3, 96, 128)).last
        some = model(pictures(2)).last
    assert none.boxes.shape == (0, 4, 4) and none.body.rotations.shape == (0, 4, 22, 3, 3)
    found = people(none)
    assert found.boxes.shape == (0, 4) and found.body.rotations.shape == (0, 22, 3, 3)
    found = people(some, threshold=1.0)
    assert found.score.shape == (0,) and len(body_parameters(found)) == 0


def test_tiny_pictures_are_refused(model):
    with pytest.raises(VitruvianError, match="too small"):
        model(torch.zeros(1, 3, 16, 64))


def test_more_queries_than_tokens_are_no_error():
    torch.manual_seed(0)
    model = AiOS(replace(NANO, queries=900, people=100)).eval()
    with torch.inference_mode():
        output = model(pictures(1, 32, 32))
    assert output.proposals.boxes.shape[1] == output.last.boxes.shape[1] == 16 + 4 + 1 + 1


def test_people_are_chosen_by_score(model):
    with torch.inference_mode():
        found = model(pictures(2)).last
    scores = found.logits.sigmoid().amax(-1)
    chosen = people(found, threshold=float(scores.flatten().sort().values[-4]) - 1e-6)
    assert len(chosen.score) == 4
    for picture in (0, 1):
        mine = chosen.score[chosen.picture == picture]
        assert torch.equal(mine, scores[picture].sort(descending=True).values[: len(mine)])
    assert len(people(found, threshold=1.0, at_least=1).score) == 2
    assert len(people(found, threshold=0.0, most=3).score) == 6


def test_duplicates_go_only_when_asked(model):
    with torch.inference_mode():
        found = model(pictures(1)).last
    same = found._replace(boxes=found.boxes[:, :1].expand_as(found.boxes))
    assert len(people(same, 0.0).score) == 4 and len(people(same, 0.0, overlap=0.9).score) == 1
    assert people(same, 0.0, overlap=0.9).score == people(same, 0.0).score[:1]


def test_rotations_are_rotations_and_the_eyes_stay(model):
    with torch.inference_mode():
        found = people(model(pictures(1)).last, 0.0)
    turns = aios.smplx_rotations(found.body)
    assert turns.shape == (4, 55, 3, 3)
    assert torch.allclose(turns @ turns.transpose(-1, -2), torch.eye(3).expand_as(turns), atol=1e-4)
    assert torch.equal(turns[:, 23:25], torch.eye(3).expand(4, 2, 3, 3)) and torch.equal(turns[:, 40], found.body.hands[:, 1, 0])
    assert body_parameters(found).pose.shape == (4, 55, 3)


def test_start_of_training_is_a_person_upright_and_finite():
    torch.manual_seed(0)
    with torch.inference_mode():
        found = AiOS(NANO).eval()(pictures(1)).last
    assert torch.allclose(found.body.rotations[0, 0, 1], torch.eye(3)) and torch.allclose(found.body.hands[0, 0, 0, 3], torch.eye(3))
    assert torch.allclose(found.body.rotations[0, 0, 0], torch.diag(torch.tensor([1.0, -1, -1])), atol=1e-6)
    assert found.logits.sigmoid().max() < 0.02 and (aios.camera_translation(found.body.camera)[..., 2] > 1).all()


def test_logits_are_inverted_within_their_margin():
    x = torch.linspace(0.01, 0.99, 9)
    assert torch.allclose(logit(x).sigmoid(), x, atol=1e-6) and logit(torch.tensor([0.0, 1.0])).isfinite().all()


@pytest.mark.parametrize(("size", "expected"), [((640, 480), (1066, 800)), ((480, 640), (800, 1066)), ((2000, 500), (1332, 333))])
def test_pictures_are_scaled_by_the_short_side(size, expected):
    assert pictures_of.scaled_size(*size) == expected


def test_pictures_of_different_sizes_share_a_batch():
    batch = pictures_of.batch([np.full((40, 60, 3), 200, np.uint8), np.zeros((60, 40, 3), np.uint8)], short=80, long=130)
    assert batch.sizes.tolist() == [[120, 80], [80, 120]] and batch.pixels.shape == (2, 3, 120, 120)
    assert not batch.padding[0, :80, :120].any() and batch.padding[0, 80:].all() and (batch.pixels[0, :, 80:] == 0).all()
    assert pictures_of.batch([]).pixels.shape[0] == 0


def test_a_person_is_seen_at_the_same_place_in_the_true_camera():
    own = pictures_of.intrinsics(np.array([[800, 600]]))
    camera = np.array([[[900.0, 0, 380], [0, 900, 310], [0, 0, 1]]])
    there = np.array([[0.3, -0.2, 20.0]])
    moved = into_camera(there, own, camera)
    see = lambda k, x: (k @ x[..., None])[..., :2, 0] / x[..., 2:]  # noqa: E731
    np.testing.assert_allclose(see(own, there), see(camera, moved))
    assert moved[0, 2] == pytest.approx(20 * 900 / 5000)


def test_people_are_seen_in_the_pixels_and_camera_of_each_picture(model):
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, (96, 128, 3), np.uint8), random.integers(0, 255, (150, 90, 3), np.uint8)]
    plain = aios.see(model, images, threshold=0.0, short=64, long=128)
    camera = np.array([[[200.0, 0, 60], [0, 200, 50], [0, 0, 1]], [[150.0, 0, 45], [0, 150, 75], [0, 0, 1]]])
    moved = aios.see(model, images, camera, threshold=0.0, short=64, long=128)
    own = pictures_of.own_cameras(pictures_of.batch(images, 64, 128), np.array([[128, 96], [90, 150]]))
    assert plain.picture.tolist() == [0] * 4 + [1] * 4 and own[0, 0, 2] == 64 and own[1, 1, 2] == 75
    row = plain.picture.numpy()
    see = lambda k, x: (k @ x.numpy()[..., None])[..., :2, 0] / x.numpy()[:, 2:]  # noqa: E731
    np.testing.assert_allclose(see(own[row], plain.translation), see(camera[row], moved.translation), rtol=1e-3, atol=1e-2)
    assert torch.equal(plain.boxes, moved.boxes) and plain.keypoints[:4, :, 0].max() <= 128 and plain.keypoints[:4, :, 1].max() <= 96
    alone = aios.see(model, images[1:], threshold=0.0, short=64, long=128)
    assert alone.keypoints.shape == (4, 17, 2) and aios.see(model, []).boxes.shape == (0, 4)


@pytest.mark.slow
def test_onnx_equals_torch(model, tmp_path):
    card, worst = write_onnx(exported(NANO, model, (96, 64)), tmp_path / "n.onnx")
    assert worst < 1e-2 and card.input_size == (96, 64)


def test_deployed_says_what_the_network_says(model):
    image = torch.zeros(2, 3, 96, 128)
    image[0, :, :64] = pictures(1, 64, 128)[0]
    image[1] = pictures(1)[0]
    padding = torch.zeros(2, 96, 128, dtype=torch.bool)
    padding[0, 64:] = True
    with torch.inference_mode():
        found = model(image, padding).last
        scores, boxes, *_ = Deployed(model)(image, torch.tensor([[1.0, 64 / 96], [1.0, 1.0]]))
    assert torch.allclose(boxes, corners(found.boxes), atol=1e-5)
    assert torch.allclose(scores, found.logits.sigmoid().amax(-1), atol=1e-5)
