"""Instruments and their parts: network, losses, decoding, balance and table."""

import numpy as np
import pytest
import torch

from vitruvian.codecs.anchors import Candidates
from vitruvian.data.hsdb_instrument import GASTRECTOMY, tie_parts
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes
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


def candidates():
    """Two crossing scissors: each head lies nearer to the other's middle, and hooks say which is whose."""
    boxes = np.array([[0, 0, 100, 60], [30, 10, 190, 70], [60, 40, 70, 50], [60, 20, 70, 30], [300, 300, 310, 310]], np.float32)
    scores = np.zeros((5, CLASSES), np.float32)
    scissors, head = CONFIG.instruments.index("Scissors"), len(CONFIG.instruments)
    scores[[0, 1], scissors], scores[[2, 3, 4], head] = [0.9, 0.8], [0.7, 0.6, 0.5]
    points = np.full((5, 6), 200, np.float32)
    points[0, :2], points[1, :2] = (65, 45), (65, 25)
    return Candidates(boxes, scores, points)


def test_parts_hang_on_the_instrument_whose_hook_they_are_at():
    found = system.find_instruments(candidates(), len(CONFIG.instruments), (320, 320), (320, 320))
    assert len(found.wholes) == 2 and found.owners.tolist() == [0, 1, -1]
    labels = found.product_labels(CONFIG.instruments, system.CHOLECYSTECTOMY)
    assert [system.CHOLECYSTECTOMY[label] for label in labels] == ["Scissors_Head"] * 3  # the loose one by the nearest
    np.testing.assert_allclose(sorted(found.outline(0).tolist()), [[60, 40], [60, 50], [70, 40], [70, 50]])


def test_nothing_found():
    none = candidates()
    found = system.find_instruments(
        Candidates(none.boxes[:0], none.scores[:0], none.extras[:0]), len(CONFIG.instruments), (320, 320), (320, 320)
    )
    assert len(found.wholes) == 0 and found.owners.tolist() == [] and len(found.product_labels(CONFIG.instruments, GASTRECTOMY)) == 0


def test_pictures_of_rare_classes_are_drawn_more_often():
    present = np.zeros((100, 3), bool)
    present[:, 0], present[:50, 1], present[:1, 2] = True, True, True
    factors = system.repeat_factors(present, 0.25)
    assert factors[0] == pytest.approx(5) and (factors[1:] == 1).all()
    assert system.repeat_factors(present[:0]).tolist() == []


def test_the_table_leaves_out_classes_that_are_not_there():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], float)
    truth = TrueBoxes(np.zeros(2, int), boxes, np.array([0, 2]), np.zeros(2, bool))
    found = FoundBoxes(np.zeros(1, int), boxes[:1], np.array([0]), np.ones(1))
    rows, means = system.ap_table(truth, found, ("a", "b", "c"))
    assert [row[1] for row in rows] == [1, 0, 1] and rows[0][2] == pytest.approx(1) and np.isnan(rows[1][2]) and rows[2][2] == 0
    assert means["classes"] == 2 and means["AP50"] == pytest.approx(0.5)
    text = system.table_text(rows, means)
    assert "| b | 0 | - | - |" in text and "mean over 2 classes" in text


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
