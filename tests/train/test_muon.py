"""Muon: what it does to a gradient, which weights it is for, and that a stopped run goes on as if it had not been stopped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitruvian.train.loop import Schedule, train
from vitruvian.train.muon import Muon, matrices, orthogonalised


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_all_directions_become_about_as_large(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = u * torch.logspace(1, -0.5, min(shape)) @ v  # the weakest direction is thirty times weaker
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.max() < 1.3 and values.min() > 0.5


def test_the_direction_of_a_single_feature_stays():
    vector = torch.tensor([[3.0, -4.0]])
    torch.testing.assert_close(orthogonalised(vector) / orthogonalised(vector).norm(), vector / 5, atol=0.01, rtol=0)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8),
        nn.Flatten(), nn.Linear(8 * 4, 6), nn.ReLU(), nn.Linear(6, 1),
    )  # fmt: skip


def test_pixels_depthwise_kernels_and_norms_are_left_to_adam():
    model = network()
    assert [id(p) for p in matrices(model)] == [id(model[i].weight) for i in (2, 5, 7)]
    assert sum(len(group["params"]) for group in Muon(model, 0.1, 0.0).param_groups) == len(list(model.parameters()))


def loss(model, batch):
    images, sums = batch
    return {"total": ((model(images)[:, 0] - sums) ** 2).mean()}


def batches():
    generator = torch.Generator().manual_seed(1)
    while True:
        images = torch.randn(16, 3, 6, 6, generator=generator)
        yield images, images.sum((1, 2, 3)) / 10


def test_a_network_learns_and_a_stopped_run_goes_on(tmp_path):
    schedule = Schedule(steps=60, learning_rate=0.02, warmup=5, ema=10, report_every=10, bf16=False, muon=True)
    held = next(batches())
    before = loss(network().eval(), held)["total"].item()
    whole = train(network(), batches(), loss, schedule, tmp_path / "whole")
    assert loss(whole, held)["total"].item() < before / 3

    class Stop(Exception):
        """What stops a run."""

    def stop(step, _):
        if step == 30:
            raise Stop

    with pytest.raises(Stop):
        train(network(), batches(), loss, schedule, tmp_path / "parts", on_step=stop)
    rest = batches()
    for _ in range(30):
        next(rest)
    parts = train(network(), rest, loss, schedule, tmp_path / "parts")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
