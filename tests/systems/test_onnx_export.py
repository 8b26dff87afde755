"""A wrong export must not pass for a right one."""

import pytest
import torch
from torch import nn

from vitruvian.errors import WeightsError
from vitruvian.systems.export import export_onnx, rounding


class Fickle(nn.Module):
    """Gives another answer at every call in Python, which a graph can't know."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        self.calls += 1
        return self.linear(x) + self.calls


def test_file_that_differs_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_text("the old one")
    with pytest.raises(WeightsError, match="off by"):
        export_onnx(Fickle(), torch.zeros(1, 4), path)
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    assert path.read_text() == "the old one"


class Trembling(nn.Module):
    """Subtracts numbers that are nearly equal, so that float32 keeps little of what is left."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 256)

    def forward(self, x):
        far = self.linear(x) + 3e4
        return (far.softmax(1) * 256 * far).mean(1, keepdim=True) - far.mean(1, keepdim=True)


def test_rounding_of_ill_conditioned_weights_is_no_reason_to_refuse(tmp_path):
    torch.manual_seed(0)
    model = Trembling().eval()
    lost = rounding(model, [(256,)])
    assert lost > 1e-6
    export_onnx(model, torch.zeros(1, 256), tmp_path / "network.onnx", tolerance=lost / 100)


def test_rounding_sees_nothing_where_float32_is_exact():
    assert rounding(nn.Identity(), [(4,)]) == 0.0


def test_training_mode_of_the_model_is_left_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    assert export_onnx(model, torch.zeros(1, 4), tmp_path / "network.onnx") < 1e-5
    assert model.training
