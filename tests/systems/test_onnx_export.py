"""A wrong export must not pass for a right one."""

import pytest
import torch
from torch import nn

from vitruvian.errors import WeightsError
from vitruvian.systems.export import export_onnx


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


def test_training_mode_of_the_model_is_left_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    assert export_onnx(model, torch.zeros(1, 4), tmp_path / "network.onnx") < 1e-5
    assert model.training
