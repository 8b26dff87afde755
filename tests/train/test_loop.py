"""The training loop learns, stops, resumes, and its recipe's losses agree with the published ones."""

import itertools
import json

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from vitruvian.train.loop import Schedule, train  # noqa: E402


def line_fit():
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    return nn.Linear(3, 1), itertools.repeat((x, y)), lambda model, batch: {"total": (model(batch[0]).float() - batch[1]).square().mean()}


def test_it_learns_and_the_averaged_copy_is_as_good(tmp_path):
    model, batches, loss = line_fit()
    schedule = Schedule(300, learning_rate=0.05, warmup=5, ema=20, weight_decay=0.0, report_every=100)
    averaged = train(model, batches, loss, schedule, tmp_path)
    assert float(loss(averaged, next(batches))["total"]) < 0.01
    reports = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in reports] == [100, 200, 300] and reports[-1]["total"] < reports[0]["total"]


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    model, batches, loss = line_fit()
    train(model, batches, loss, Schedule(50), tmp_path)
    weight = model.weight.detach().clone()
    fresh, batches, loss = line_fit()
    train(fresh, batches, loss, Schedule(50), tmp_path)  # nothing left to do: loads and stops
    assert torch.equal(fresh.weight, weight)
    train(fresh, batches, loss, Schedule(60), tmp_path)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 60


def test_an_interrupted_run_keeps_what_it_learnt(tmp_path):
    model, batches, loss = line_fit()

    def interrupt(step, report):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, batches, loss, Schedule(50), tmp_path, on_step=interrupt)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 7


def test_learning_rate_rises_then_falls_by_steps_or_by_time():
    schedule = Schedule(1000, seconds=100, learning_rate=1.0, warmup=10, final=0.1)
    assert schedule.rate(0, 0) == pytest.approx(0.1)
    assert schedule.rate(10, 0) > schedule.rate(500, 0) > schedule.rate(999, 0) >= 0.1
    assert schedule.rate(10, 100) == pytest.approx(0.1)


def test_cell_loss_is_least_where_the_keypoint_is():
    from vitruvian.train import defaults

    keypoints = torch.tensor([[15.5, 47.5, 1.0]]).expand(133, 3)[None]  # the middle of column 0, row 1
    losses = {}
    for cell in ((1, 0), (0, 0), (1, 1)):
        maps = torch.zeros(1, 133, 8, 6)
        maps[:, :, cell[0], cell[1]] = 10
        losses[cell] = float(defaults.cell_loss(maps, keypoints, 32))
    assert losses[1, 0] < 0.01 and losses[0, 0] > 5 and losses[1, 1] > 5


def test_pose_error_of_maps_whose_peaks_are_the_truth_for_the_body_alone():
    """The body's points are found, the others five cells to the right of the truth."""
    from vitruvian.train import defaults

    generator = torch.Generator().manual_seed(0)
    cells = torch.stack((torch.randint(2, 15, (4, 133), generator=generator), torch.randint(2, 30, (4, 133), generator=generator)), 2)
    keypoints = torch.cat((cells * 8 + 3.5, torch.ones(4, 133, 1)), 2)
    cells[:, 17:, 0] += 5
    maps = torch.zeros(4, 133, 32 * 24).scatter_(2, (cells[..., 1] * 24 + cells[..., 0])[..., None], 1.0).view(4, 133, 32, 24)
    error = defaults.pose_error(lambda _: maps, [(torch.zeros(4, 3, 256, 192, dtype=torch.uint8), keypoints)])
    assert error["body_px"] < 0.01 and 34 < error["all_px"] < 36 and error["body_oks"] > 0.999


def test_flat_part_keeps_the_rate_until_the_cosine_starts():
    schedule = Schedule(100, learning_rate=1.0, warmup=1, final=0.05, flat=0.5)
    assert schedule.rate(49, 0) == 1.0 and schedule.rate(75, 0) == pytest.approx(0.525, abs=0.01)
    assert schedule.rate(100, 0) == pytest.approx(0.05)
