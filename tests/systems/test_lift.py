"""Our lifting network: what every system must do, and that it can learn."""

import numpy as np
import pytest
import torch

from vitruvian.runtime.lift import Lifter
from vitruvian.systems.export import export_onnx
from vitruvian.systems.pose3d.lift import VARIANTS, Lift, Lifted, loss, matrices
from vitruvian.train.lift import errors, see
from vitruvian.weights import Card

CAMERA = np.array([[500.0, 0, 200], [0, 500, 200], [0, 0, 1]])


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return Lift(VARIANTS["nano"]).eval()


def views(count=2, frames=32):
    """A stick of random points that turns: enough to run everything."""
    rng = np.random.default_rng(1)
    points = np.tile(rng.normal(0, 0.4, (count, 1, 133, 3)), (1, frames, 1, 1))
    return see(rng, np.tile(np.eye(3), (count, frames, 69, 1, 1)), points, np.zeros((count, 16)))


def test_forward_of_batches_of_any_length_equals_one_by_one(nano):
    inputs = torch.randn(3, 21, 400)
    together = nano(inputs)
    assert [tuple(part.shape) for part in together] == [(3, 21, 133, 3), (3, 21, 69, 3, 3), (3, 21, 16)]
    for part, alone in zip(together, nano(inputs[1:2]), strict=True):
        torch.testing.assert_close(part[1:2], alone, atol=1e-5, rtol=1e-4)
    assert nano(torch.zeros(0, 5, 400)).points.shape == (0, 5, 133, 3)


def test_six_numbers_become_rotations():
    turns = matrices(torch.randn(50, 6, dtype=torch.float64))
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(50, dtype=torch.float64))


def test_gradient_reaches_every_parameter_and_a_few_steps_learn():
    torch.manual_seed(0)
    model, seen = Lift(VARIANTS["nano"]), views()
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    totals = []
    for _ in range(30):
        parts = loss(model(seen.inputs), seen.points, seen.turns, seen.shape[:, None].expand(-1, 32, -1))
        optimiser.zero_grad()
        parts["total"].backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimiser.step()
        totals.append(float(parts["total"].detach()))
    assert totals[-1] < 0.6 * totals[0]


def test_the_loss_of_the_truth_is_zero():
    seen = views()
    truth = Lifted(seen.points, seen.turns, seen.shape[:, None].expand(-1, 32, -1))
    assert float(loss(truth, seen.points, seen.turns, truth.shape)["total"]) == 0
    assert max(errors(seen.points, seen.points).values()) < 1e-6


def test_exported_network_lifts_films_of_any_length_and_rate(nano, tmp_path):
    path = tmp_path / "lift.onnx"
    assert export_onnx(nano, torch.zeros(1, 40, 400), path, ("keypoints",), ("points", "turns", "shape"), free={1: "frames"}) < 1e-4
    Card("lift", "lift", str(path), (0, 0), (), (), skeleton="coco-wholebody-133").save(path.with_suffix(".json"))
    lifter = Lifter(path, device="cpu", threads=1)
    keypoints = np.random.default_rng(0).uniform(100, 300, (9, 133, 2)).astype(np.float32)
    for rate in (30.0, 60.0, 12.5):
        confidence = np.ones((9, 133), np.float32)
        confidence[4] = 0
        lifted = lifter(keypoints, confidence, np.arange(9) / rate, CAMERA, (401, 401))
        assert lifted.points.shape == (9, 133, 3) and lifted.body.pose.shape == (9, 69, 3)
        assert not lifted.known[4] and np.isnan(lifted.points[4]).all() and np.isnan(lifted.body.pose[4]).all()
        assert np.isfinite(lifted.points[lifted.known]).all()
    nobody = lifter(keypoints[:0], confidence[:0], np.zeros(0), CAMERA, (401, 401))
    assert nobody.points.shape == (0, 133, 3) and len(nobody.body) == 0
