"""Two processes that train together do what one does with both batches, and leave one run behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

WORKER = """
import itertools, sys, torch
from pathlib import Path
from torch import nn
from vitruvian.train.crew import Crew, join, leave
from vitruvian.train.loop import Schedule, train

torch.set_num_threads(1)
crew, device = join("cpu")
torch.manual_seed(crew.rank)  # different starts: the leader's counts
model = nn.Linear(3, 1)
generator = torch.Generator().manual_seed(9)
x, y = torch.randn(64, 3, generator=generator), torch.randn(64, 1, generator=generator)
part = slice(None) if crew.size == 1 else slice(crew.rank, None, crew.size)
loss = lambda model, batch: {"total": (model(batch[0]) - batch[1]).square().mean()}
schedule = Schedule(20, learning_rate=0.05, warmup=1, report_every=10, bf16=False)
train(model, itertools.repeat((x[part], y[part])), loss, schedule, Path(sys.argv[1]), crew=crew)
leave()
"""
RECIPE = """
name = "two"
system = "rtmpose"
keypoints = "posetrack-17"
[data]
workers = 0
[[stages]]
name = "labels"
variant = "nano"
batch = 2
schedule = { steps = 2, warmup = 1, report_every = 1 }
"""


def together(*arguments, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_learn_what_one_learns_of_both_batches(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    subprocess.run([sys.executable, "worker.py", "one"], cwd=tmp_path, check=True, timeout=120)
    together("worker.py", "two", cwd=tmp_path)
    one, two = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("one", "two"))
    assert one["step"] == two["step"] == 20
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-4, atol=1e-5)
    reports = [json.loads(line)["step"] for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    assert reports == [10, 20]  # the leader's only


@pytest.mark.slow
def test_a_recipe_is_trained_by_two_processes(tmp_path):
    (tmp_path / "two.toml").write_text(RECIPE)
    together("-m", "vitruvian", "train", "two.toml", "--out", "run", "--device", "cpu", "--threads", "1", cwd=tmp_path)
    assert (tmp_path / "run" / "network.safetensors").is_file()
    lines = Path(tmp_path / "run" / "labels" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
