"""A finished detector learns whose parts are, and nothing else of it changes; packaged, it runs on the ground floor."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitruvian.codecs.pointed import PointedDetections
from vitruvian.runtime import Detector
from vitruvian.runtime.session import Session
from vitruvian.systems.detection import rtmdet
from vitruvian.train import defaults, package
from vitruvian.train import owners as lesson
from vitruvian.train.loop import Schedule, train
from vitruvian.weights import Card, card_for
from vitruvian.weights.classes import PERSON_PARTS

SMALL = rtmdet.Config(0.125, 0.167, depthwise=True, owners=True)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return lesson.only_owners(rtmdet.RTMDet(SMALL))


def scenes():
    """Two scenes of 64 x 64 with a person each and their head, and one without anybody."""
    boxes = [torch.tensor([[4.0, 4, 40, 60], [14, 6, 28, 20]]), torch.tensor([[20.0, 10, 60, 62], [30, 12, 44, 26]]), torch.zeros(0, 4)]
    labels = [torch.tensor([0, 1]), torch.tensor([0, 1]), torch.zeros(0, dtype=torch.long)]
    owners = [torch.full_like(box, torch.nan) for box in boxes]
    owners[0][1], owners[1][1] = boxes[0][0], boxes[1][0]
    images = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8)
    return images, boxes, labels, owners


def test_only_the_branch_learns(network, tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "REPLAYED", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = scenes()
    schedule = Schedule(steps=30, warmup=2, learning_rate=1e-2, bf16=False, report_every=1, ema=1)
    losses = []

    def note(step, report):
        losses.append(report["total"])

    taught = train(network, [batch] * 30, lesson.OwnerLesson(), schedule, tmp_path, on_step=note)
    assert losses[-1] < 0.3 * losses[0]
    for name, value in taught.state_dict().items():
        same = torch.equal(value, before[name])
        assert same or name.startswith("owners."), name


def test_scenes_are_remembered(network, monkeypatch):
    monkeypatch.setattr(lesson, "KEPT", 3)
    one, batch = lesson.OwnerLesson(), scenes()
    for _ in range(4):
        assert one(network, batch)["total"] > 0
    assert len(one.kept) == 3
    nobody = [part[2:] for part in batch]
    assert one(network, nobody)["total"] > 0  # there still are those of before
    assert lesson.OwnerLesson()(network, nobody)["total"] == 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Makes the folder of a finished run of a small detector, with owners or without."""
    monkeypatch.setattr(defaults, "detector_network", lambda owners=False: rtmdet.RTMDet(replace(SMALL, owners=owners)))

    def make(owners):
        torch.manual_seed(1)
        torch.save({"averaged": defaults.detector_network(owners).state_dict()}, tmp_path / "last.pt")
        return tmp_path

    return make


@pytest.fixture
def packaged(run, tmp_path):
    """The card of a packaged run with owners."""
    pytest.importorskip("onnxscript")
    folder = run(owners=True)
    state = torch.load(folder / "last.pt", weights_only=True)["averaged"]  # an exporter keeps one of several equal tensors
    state = {name: value + 0.01 * torch.rand_like(value) if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"averaged": state}, folder / "last.pt")
    return package.package("detector", folder, tmp_path, {})


def test_a_packaged_run_says_whose_parts_are_and_can_go_on(packaged, tmp_path, monkeypatch):
    """One test, because exporting takes long."""
    small = package.second_card(packaged, {"people": 3.0})
    assert card_for(tmp_path / "person-parts-s.onnx") == packaged
    assert Card.load(tmp_path / "person-parts-n.json") == small and small.file == packaged.file and small.input_size < packaged.input_size

    image = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    (found,) = Detector(packaged, classes=PERSON_PARTS, score_threshold=1e-4, device="cpu", threads=1)([image])
    assert len(found) and isinstance(found, PointedDetections)

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "recipes")
    thaw = pytest.importorskip("thaw")
    images = torch.randn(16, 3, 64, 64)
    known = thaw.weights_of(Path(packaged.file))
    network, said = thaw.thawed_detector(known, images)
    for here, there in zip(said, Session(packaged.file, device="cpu", threads=1).run(images.numpy()), strict=True):
        np.testing.assert_allclose(here.numpy(), there, atol=1e-2)
    shifted = network.state_dict()["cls.0.bias"] + package.SCORE_SHIFT
    np.testing.assert_allclose(shifted.numpy(), known["cls.0.bias"].numpy(), atol=1e-6)
    with torch.no_grad():  # batch statistics are nearly those that were given back
        taught, trained = (network.train(mode)(images)[0][0] for mode in (False, True))
    assert (taught - trained).abs().max() < 0.1


@pytest.mark.parametrize("owners", [True, False])
def test_only_a_run_that_was_taught_owners_has_that_output(run, owners):
    assert package.deployed(run(owners)).outputs == ("boxes", "scores", "owners")[: 2 + owners]
