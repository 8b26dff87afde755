"""Instruments and their parts: network, losses, balance, and the way to the ground floor."""

import json

import numpy as np
import pytest
import torch

from vitruvian.data.hsdb_instrument import GASTRECTOMY, tie_parts
from vitruvian.errors import WeightsError
from vitruvian.synth.instruments import TOOLS, instrument_picture
from vitruvian.systems.detection import hsdb_instrument as system

CONFIG = system.VARIANTS["nano"]
CLASSES = len(CONFIG.classes)


def tied(names=("Scissors_Head", "Scissors_Body", "Electrichook")):
    return tie_parts(names, np.array([[40, 40, 60, 60], [55, 50, 120, 90], [5, 5, 30, 20]], float))


def model():
    torch.manual_seed(0)
    return system.network(CONFIG)


def test_nano_is_small_and_has_ten_instruments():
    assert len(CONFIG.instruments) == 10 and CLASSES == 13
    assert sum(p.numel() for p in model().parameters()) < 1_000_000


def test_batch_equals_single_and_empty_is_empty():
    deployed = system.Deployed(model(), CLASSES).eval()
    images = torch.rand(3, 3, 64, 128)
    with torch.inference_mode():
        together, alone, none = (deployed(x) for x in (images, images[1:2], images[:0]))
    for a, b, c in zip(together, alone, none, strict=True):
        assert torch.allclose(a[1:2], b, atol=1e-3 * float(b.abs().max())) and c.shape == (0, *b.shape[1:])
    assert together[1].shape[-1] == 13 and together[2].shape[-1] == 6


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_reach_every_parameter(weighted):
    network, weights = model().train(), torch.linspace(1, 3, CLASSES) if weighted else None
    targets = system.targets_of(tied(), CONFIG.instruments)
    losses = system.loss(network, network(torch.rand(1, 3, 128, 128)), targets, CLASSES, weights)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values()) and losses["part"] > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_weight_that_is_the_same_for_all_changes_nothing_in_kind():
    network = model().eval()
    raw, targets = network(torch.rand(1, 3, 128, 128)), system.targets_of(tied(), CONFIG.instruments)
    plain, one = (system.loss(network, raw, targets, CLASSES, w)["class"].item() for w in (None, torch.ones(CLASSES)))
    assert one == pytest.approx(plain, rel=1e-5)


def test_targets_name_instruments_then_parts_and_point_at_each_other():
    targets = system.targets_of(tied(), CONFIG.instruments)
    names = [CONFIG.classes[label] for label in targets.labels]
    assert names == ["Scissors", "head", "body", "Electrichook"]
    np.testing.assert_allclose(targets.points[0], [[50, 50], [np.nan, np.nan], [87.5, 70]])
    np.testing.assert_allclose(targets.points[1, 0], [80, 65])  # the middle of the whole
    assert targets.points[3].isnan().all()
    assert len(system.targets_of(tied(), ()).labels) == 0


def test_ambiguous_instruments_teach_boxes_only():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [10, 10, 20, 20], [10, -10, 20, 0]], float)
    both = tie_parts(["Scissors_Head"] * 2 + ["Scissors_Body"] * 2, boxes)
    assert both.ambiguous.all() and system.targets_of(both, CONFIG.instruments).points.isnan().all()


def test_pictures_of_rare_classes_are_drawn_more_often():
    present = np.zeros((100, 3), bool)
    present[:, 0], present[:50, 1], present[:1, 2] = True, True, True
    factors = system.repeat_factors(present, 0.25)
    assert factors[0] == pytest.approx(5) and (factors[1:] == 1).all()
    assert system.repeat_factors(present[:0]).tolist() == []


def test_a_few_steps_on_drawn_instruments_teach():
    rng, network = np.random.default_rng(0), model().train()
    names = tuple(name for name in TOOLS if name in CONFIG.instruments)
    pictures = [instrument_picture(rng, list(rng.choice(names, 2)), (128, 128)) for _ in range(2)]
    images = torch.from_numpy(np.stack([p.image for p in pictures])).permute(0, 3, 1, 2).float() / 255
    parts = []
    for picture in pictures:
        labels = [f"{picture.names[o]}_{system.PARTS[label].capitalize()}" for label, o in zip(picture.labels, picture.owners, strict=True)]
        parts.append(system.targets_of(tie_parts(labels, picture.parts.astype(float)), CONFIG.instruments))
    merged = [torch.cat([getattr(p, key) for p in parts]) for key in ("boxes", "labels")]
    which = torch.cat([torch.full_like(p.labels, i) for i, p in enumerate(parts)])
    targets = system.Targets(merged[0], merged[1], which, torch.cat([p.points for p in parts]))
    optimiser, seen = torch.optim.Adam(network.parameters(), 2e-3), []
    for _ in range(10):
        total = system.loss(network, network(images), targets, CLASSES)["total"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        seen.append(total.item())
    assert seen[-1] < 0.9 * seen[0]


def test_the_state_says_which_instruments_they_are():
    for config in (CONFIG, system.Config(0.125, 0.33, system.instruments_of(GASTRECTOMY), levels=4)):
        state = system.network(config).state_dict()
        found, filled = system.from_published({f"module.{name}": value for name, value in state.items()})
        assert (found.instruments, found.trunk) == (config.instruments, config.trunk)
        assert all(torch.equal(value, state[name]) for name, value in filled.state_dict().items())


@pytest.mark.parametrize("names", [None, b"", b"\xff\xfe", b"A\nA", b"head\nB", b"A\n \nB", b"A\nB"])
def test_states_that_name_no_such_instruments_are_refused(names):
    state = system.network(CONFIG).state_dict()
    if names is None:
        del state["instrument_names"]
    else:
        state["instrument_names"] = torch.tensor(list(names), dtype=torch.uint8)
    with pytest.raises(WeightsError):
        system.from_published(state)


def test_the_catalogue_tells_instruments_from_six_parts_of_people():
    from vitruvian.codecs.association import BODY_PARTS
    from vitruvian.systems.catalogue import recognise
    from vitruvian.systems.detection import bpjdet, jointbdoe

    people = bpjdet.Config(0.125, 0.33, BODY_PARTS, levels=3)
    assert people.trunk == CONFIG.trunk  # shapes don't tell
    found = recognise(system.network(CONFIG).state_dict())
    assert (found.system.name, found.variant) == ("hsdb-instrument", "hsdb-instrument-10-nano5")
    assert recognise(bpjdet.network(people).state_dict()).config.part_set == BODY_PARTS
    assert recognise(jointbdoe.network(jointbdoe.VARIANTS["nano"]).state_dict()).system.name == "jointbdoe"


@pytest.mark.slow  # exporting takes seconds
def test_from_a_checkpoint_to_outlines_in_a_file(tmp_path):
    """A random network that is sure of parts in small boxes and of instruments in large ones: export, detect, and what is written."""
    pytest.importorskip("onnxscript")
    from vitruvian.capture.detect import detect
    from vitruvian.media import write_image
    from vitruvian.systems.catalogue import export
    from vitruvian.systems.checkpoint import write_state

    torch.manual_seed(1)
    network = model()
    with torch.no_grad():
        for level, head in enumerate(network.head):
            bias = head.bias.view(3, -1)
            bias[:, 4], bias[:, 5:15], bias[:, 15:18] = 0.0, 2.0 if level == 2 else -9.0, 2.0 if level == 0 else -9.0
    write_state(network.state_dict(), tmp_path / "tools.safetensors", {})
    _, card, worst = export(tmp_path / "tools.safetensors", tmp_path / "tools.onnx")
    assert card.classes == CONFIG.classes and worst < 1
    rng = np.random.default_rng(0)
    write_image(tmp_path / "frame.png", instrument_picture(rng, ["Scissors", "Electrichook"], (320, 256)).image)
    objects = detect(tmp_path / "frame.png", tmp_path / "out", detector=tmp_path / "tools.onnx")
    hung = (objects.owner >= 0) & ~objects.wholes
    assert objects.knows_owners and objects.wholes.any() and hung.any() and (objects.labels[objects.wholes] < 10).all()
    rows = json.loads((tmp_path / "out/objects.json").read_text())["annotations"]
    for row, whole in zip(rows, objects.wholes, strict=True):
        assert ("segmentation" in row) == whole
    outlines = [np.reshape(row["segmentation"][0], (-1, 2)) for row in rows if "segmentation" in row]
    assert all(len(outline) >= 4 and np.isfinite(outline).all() for outline in outlines)
