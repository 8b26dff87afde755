"""What every system's `nano` must do: forward, batch equals single, empty batch, gradients, ONNX equal to torch."""

from dataclasses import dataclass

import pytest
import torch

from vitruvian.systems.detection import rtmdet
from vitruvian.systems.export import export_onnx
from vitruvian.systems.pose2d import rtmw


@dataclass(frozen=True)
class Entry:
    build: type
    config: object
    size: tuple[int, int]  # height, width
    outputs: tuple[str, ...]


def deployed(config):
    return rtmdet.Deployed(rtmdet.RTMDet(config))


SYSTEMS = {  # DWPose is a recipe for the network of "rtmpose"; that of "rtmw3d" is RTMW's with one classifier more
    "rtmpose": Entry(rtmw.RTMPose, rtmw.VARIANTS["nano"], (128, 96), ("simcc_x", "simcc_y")),
    "rtmw3d": Entry(rtmw.RTMW, rtmw.VARIANTS["rtmw3d-nano"], (128, 96), ("simcc_x", "simcc_y", "simcc_z")),
    "rtmdet": Entry(deployed, rtmdet.VARIANTS["nano"], (96, 64), ("boxes", "scores")),
}


@pytest.fixture(params=SYSTEMS)
def entry(request):
    return SYSTEMS[request.param]


def build(entry):
    """The nano network, its last layers scaled up so that outputs are far from constant."""
    torch.manual_seed(0)
    model = entry.build(entry.config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and module.weight.std() < 0.02:
                module.weight.normal_(std=0.1)
    return model


def test_nano_is_small(entry):
    assert sum(p.numel() for p in entry.build(entry.config).parameters()) < 1_000_000


def test_batch_equals_single(entry):
    model = build(entry).eval()
    images = torch.randn(3, 3, *entry.size)
    with torch.inference_mode():
        together, alone = model(images), model(images[1:2])
    for a, b in zip(together, alone, strict=True):
        assert torch.isfinite(a).all()
        assert torch.allclose(a[1:2], b, atol=1e-3 * b.abs().max())


def test_empty_batch(entry):
    model = build(entry).eval()
    with torch.inference_mode():
        some, none = model(torch.randn(1, 3, *entry.size)), model(torch.zeros(0, 3, *entry.size))
    assert [tuple(x.shape) for x in none] == [(0, *x.shape[1:]) for x in some]


def test_gradient_reaches_every_parameter(entry):
    model = build(entry).train()
    outputs = model(torch.randn(2, 3, *entry.size))
    sum((x * torch.randn_like(x)).sum() for x in outputs).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_onnx_equals_torch(entry, tmp_path):
    path = tmp_path / "network.onnx"
    worst = export_onnx(build(entry), torch.zeros(1, 3, *entry.size), path, output_names=entry.outputs)
    assert worst < 1e-2
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]

    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert tuple(o.name for o in session.get_outputs()) == entry.outputs
    assert session.get_inputs()[0].shape[1:] == [3, *entry.size]
    assert isinstance(session.get_inputs()[0].shape[0], str)
