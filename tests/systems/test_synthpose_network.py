"""SynthPose's networks: published layouts pour into them, they export, and the labels of synthetic people fit their pictures."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vitruvian.errors import FormatError, WeightsError  # noqa: E402
from vitruvian.skeletons import SYNTHPOSE_52  # noqa: E402
from vitruvian.systems.backbones import HRNetConfig  # noqa: E402
from vitruvian.systems.biomechanics import synthpose  # noqa: E402
from vitruvian.systems.biomechanics.synthpose import VARIANTS, from_published  # noqa: E402
from vitruvian.systems.export import write_onnx  # noqa: E402
from vitruvian.systems.pose2d.rmpg import PoseNetwork  # noqa: E402

SMALL_HRNET = replace(VARIANTS["hrnet-w48"], host=HRNetConfig(8, True, (1, 1, 1), 1, 8), input_size=(64, 64))


def filled(config):
    torch.manual_seed(0)
    model = PoseNetwork(config).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and module.weight.std() < 0.02:
                module.weight.normal_(std=0.1)
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
    return model


def as_transformers(state):
    """Our names as the layout of transformers has them, with queries, keys and values apart and one place more."""
    out = {}
    for name, value in state.items():
        name = name.replace("backbone.patch_embed.proj.", "backbone.embeddings.patch_embeddings.projection.")
        name = name.replace("backbone.norm.", "backbone.layernorm.").replace("backbone.blocks.", "backbone.encoder.layer.")
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace(".attn.proj.", ".attention.output.dense.").replace("head.final_layer.", "head.conv.")
        for place, other in ((0, "deconv1"), (1, "batchnorm1"), (3, "deconv2"), (4, "batchnorm2")):
            name = name.replace(f"head.deconv_layers.{place}.", f"head.{other}.")
        if ".attn.qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = piece
        elif name == "backbone.pos_embed":
            shared = torch.full_like(value[:, :1], 0.25)
            out["backbone.embeddings.position_embeddings"] = torch.cat((shared, value - shared), 1)
        else:
            out[name] = value
    return out


def test_variants_are_the_published_sizes():
    assert sum(p.numel() for p in PoseNetwork(VARIANTS["nano"]).parameters()) < 1_000_000
    with torch.device("meta"):
        huge = PoseNetwork(VARIANTS["vitpose-h"])
        hrnet = PoseNetwork(VARIANTS["hrnet-w48"])
    assert abs(sum(p.numel() for p in huge.parameters()) - 637e6) < 1e6  # 2.55 GB of float32
    assert 63e6 < sum(p.numel() for p in hrnet.parameters()) < 64.5e6


def test_a_transformers_file_gives_the_same_maps():
    model = filled(VARIANTS["vitpose-nano"])
    config, found = from_published(as_transformers(model.state_dict()))
    assert config.keypoints == 52 and config.input_size == (48, 64) and not found.training
    image = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        assert torch.allclose(found(image), model(image), atol=1e-5)
    assert synthpose.codec(config).rule == "udp"


def test_an_mmpose_hrnet_gives_the_same_maps_and_dark():
    model = filled(SMALL_HRNET)
    config, found = from_published(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(found(image), model(image), atol=1e-5)
    assert config.input_size == (288, 384) and (synthpose.codec(config).rule, synthpose.codec(config).sigma) == ("dark", 3.0)


def test_other_files_are_refused():
    state = as_transformers(filled(VARIANTS["vitpose-nano"]).state_dict())
    with pytest.raises(WeightsError, match="experts"):
        from_published({**state, "backbone.encoder.layer.0.mlp.experts.experts.0.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="lacks queries"):
        from_published({name: value for name, value in state.items() if ".key." not in name})
    with pytest.raises(WeightsError):
        from_published({**state, "backbone.stranger": torch.zeros(1)})
    with pytest.raises(WeightsError, match="17 keypoints"):
        from_published(PoseNetwork(replace(SMALL_HRNET, keypoints=17)).state_dict())


def test_export_equals_torch_and_its_card_names_the_set(tmp_path):
    config = VARIANTS["nano"]
    card, worst = write_onnx(synthpose.exported(config, filled(config)), tmp_path / "net.onnx")
    assert worst < 1e-3 and card.skeleton == "synthpose-52" and card.codec == "heatmap" and card.subject == "body"
    assert synthpose.exported(SMALL_HRNET, filled(SMALL_HRNET)).card.codec == "heatmap-dark"
    assert {card.skeleton for card in synthpose.CARDS} == {SYNTHPOSE_52.name}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A store of three plain people with bodies in space: what `synth` writes, without its clothes."""
    pytest.importorskip("anny")
    from vitruvian.body.compact import load_compact
    from vitruvian.body.regressors import point_regressor
    from vitruvian.synth.look import Look
    from vitruvian.synth.person import Sample, Truth
    from vitruvian.synth.store import PLANES, write_look, write_shard
    from vitruvian.systems.biomechanics.marker_labels import project

    folder, model = tmp_path_factory.mktemp("people"), load_compact()
    pose = np.random.default_rng(0).normal(0, 0.1, (3, len(model.joint_names), 3)).astype(np.float32)
    pose[:, 0] += [np.pi, 0, 0]  # upright before the camera, whose y points down
    place = np.tile(np.array([0.0, 0.0, 4.0], np.float32), (3, 1))
    place[2, 0] = 9.0  # far out of the picture
    shape, face = np.zeros((3, model.num_shape), np.float32), np.zeros((3, len(model.expression_names)), np.float32)
    body = model.forward(pose, shape, face, place)
    points = point_regressor(model, "coco-wholebody-133")(body.vertices, body.joints)
    camera = np.array([[500.0, 119.5, 159.5, bend] for bend in (0.0, -0.2, 0.0)])
    pixels, samples = project(points, camera), []
    for i in range(3):
        inside = ((pixels[i] > -0.5) & (pixels[i] < np.array([240, 320]) - 0.5)).all(-1)
        planes = np.full((8, 320, 240), 128, np.uint8)
        planes[[PLANES.index(name) for name in ("class", "segment")]] = 0
        planes[0, 60:260, 80:160] = 1
        truth = Truth(points[i], camera[i], pose[i], shape[i], face[i], place[i], np.full(6, 0.5), 0.0, np.zeros(133, bool), np.zeros(4), 0)
        box = np.full((7, 4), np.nan, np.float32)
        box[0] = 80, 60, 160, 260
        keypoints = np.concatenate([pixels[i], 2.0 * inside[:, None]], -1).astype(np.float32)
        samples.append(Sample(planes, np.array([3.5, 0.01]), keypoints, np.zeros(133, np.uint8), box, 1.0, truth))
    write_look(folder, Look(), 0)
    write_shard(folder, 0, samples)
    return folder


def test_labels_lie_on_the_projected_body(people, tmp_path):
    from vitruvian.synth.store import Store
    from vitruvian.systems.biomechanics.marker_labels import marker_labels
    from vitruvian.systems.biomechanics.marker_points import read_points

    store = Store.open(people, truth=True)
    labels = marker_labels(store, read_points())
    assert labels.shape == (3, 52, 3) and (labels[:2, 17:, 2] == 2).all() and (labels[2, :, 2] == 0).all()
    by_name = dict(zip(SYNTHPOSE_52.names, labels[0], strict=True))
    for joint, pair in (("right_knee", ("r_knee", "r_mknee")), ("left_ankle", ("l_ankle", "l_mankle"))):
        middle = (by_name[pair[0]] + by_name[pair[1]]) / 2
        assert np.linalg.norm(middle[:2] - by_name[joint][:2]) < 0.045 * 500 / 4
    assert np.array_equal(labels[:, :17], store.keypoints[:, :17])
    with pytest.raises(FormatError, match="truth=True"):
        marker_labels(Store.open(people), read_points())
    (tmp_path / "m.toml").write_text('name = "only"\n[points]\nnose = { keypoint = "nose" }\n')
    assert np.array_equal(marker_labels(store, read_points(tmp_path / "m.toml"))[:, 0], store.keypoints[:, 0])


def test_a_recipe_learns_a_users_markers(people, networks, tmp_path):
    """From the recipe to a capture and its table, and the names are the user's throughout."""
    pytest.importorskip("safetensors")
    from scenes import boxes_at, picture
    from vitruvian.capture import capture
    from vitruvian.media import write_image
    from vitruvian.systems import catalogue
    from vitruvian.take import Take
    from vitruvian.train.recipe import on_keypoints, read_recipe
    from vitruvian.train.run import run_recipe

    text = '[points]\nnose = { keypoint = "nose" }\nl_spot = { vertices = [10915] }\nr_spot = { vertices = [4302] }\n'
    (tmp_path / "m.toml").write_text('name = "mine"\n' + text)
    (tmp_path / "r.toml").write_text(
        f'name = "r"\nsystem = "synthpose"\n[data]\nworkers = 0\npeople = 1\n[[data.sources]]\nkind = "synth"\nfolder = "{people}"\n'
        '[[stages]]\nname = "labels"\nvariant = "nano"\nbatch = 2\nschedule = { steps = 2, warmup = 1 }\n'
    )
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.skeleton is SYNTHPOSE_52
    recipe = on_keypoints(recipe, str(tmp_path / "m.toml"))
    assert recipe.skeleton.names == ("nose", "l_spot", "r_spot") and recipe.skeleton.swap == (0, 2, 1)
    network = run_recipe(recipe, tmp_path / "run")
    assert catalogue.load(network)[1].model(torch.zeros(1, 3, 128, 96)).shape == (1, 3, 32, 24)
    assert '"all_px"' in (tmp_path / "run/labels/log.jsonl").read_text()
    _, card, _ = catalogue.export(network, tmp_path / "net.onnx")
    assert card.skeleton == "mine" and card.keypoint_set.names == recipe.skeleton.names
    copied, _ = catalogue.convert_checkpoint(network, tmp_path / "copy.safetensors")
    assert catalogue.load(copied)[1].skeleton.swap == (0, 2, 1)
    write_image(tmp_path / "a.png", picture(boxes_at(0)))
    options = networks | {"pose": tmp_path / "net.onnx", "threshold": 0.01, "flip_test": True}
    assert len(capture(tmp_path / "a.png", tmp_path / "out", **options).people)
    take = Take.load(tmp_path / "out/take.npz")
    assert take.skeleton.names == recipe.skeleton.names and take.keypoints.shape[1:] == (3, 2)
    take.export(tmp_path / "take.csv")
    assert "r_spot_x_px" in (tmp_path / "take.csv").read_text().splitlines()[0]


def test_a_set_named_while_converting_is_still_known_when_exporting(tmp_path):
    pytest.importorskip("safetensors")
    from vitruvian.systems import catalogue

    torch.save(filled(replace(VARIANTS["nano"], keypoints=17)).state_dict(), tmp_path / "mine.pth")
    for skeleton, kept in (("", None), ("ap10k-17", "ap10k-17")):
        converted, _ = catalogue.convert_checkpoint(tmp_path / "mine.pth", tmp_path / "mine.safetensors", skeleton)
        found = catalogue.load(converted)[1]
        assert (found.skeleton and found.skeleton.name) == kept
        assert found.exported("mine").card.skeleton == (kept or "coco-17")


def test_networks_of_52_points_are_told_from_others_of_their_kind():
    from vitruvian.systems import catalogue

    found = catalogue.recognise(filled(SMALL_HRNET).state_dict())
    assert found.system.name == "synthpose" and found.config.input_size == (288, 384)
    assert found.exported("x").card.codec == "heatmap-dark" and found.exported("x").card.skeleton == "synthpose-52"
    assert catalogue.recognise(filled(replace(SMALL_HRNET, keypoints=17)).state_dict()).system.name == "rmpg"
