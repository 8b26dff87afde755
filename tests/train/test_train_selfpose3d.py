"""Training SelfPose3d: lessons follow each other and go on after a stop, and what was trained is read back with its space."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vitruvian.errors import FormatError, VitruvianError, WeightsError  # noqa: E402
from vitruvian.systems.checkpoint import read_state, write_state  # noqa: E402
from vitruvian.systems.pose3d import selfpose3d  # noqa: E402
from vitruvian.systems.pose3d.voxels import Space  # noqa: E402
from vitruvian.train import selfpose3d as lessons  # noqa: E402
from vitruvian.train.loop import Schedule  # noqa: E402
from vitruvian.train.recipe import Data, Recipe, Source, Stage  # noqa: E402
from vitruvian.train.views3d import made_up  # noqa: E402

TINY = replace(
    selfpose3d.VARIANTS["nano-heatmaps"],
    widths=(4, 4, 4, 4),
    space=Space((4, 4, 2), (0, 0, 1), (12, 12, 8)),
    pose_bins=(8, 8, 8),
    candidates=3,
)
SIZE = (128, 96)


def give(lesson, folder, steps, config=TINY, start=None, rate=3e-3):
    torch.manual_seed(0)
    source = made_up(SIZE, pictures=config.backbone is not None)
    schedule = Schedule(steps, learning_rate=rate, warmup=2, ema=5.0, report_every=steps // 2)
    return lessons.run_lesson(lesson, config, source, SIZE, schedule, folder, start=start, batch=2)


def report(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_root_network_learns_from_made_up_mid_hips(tmp_path):
    network = give("roots", tmp_path, 50, rate=1e-2)
    first, last = report(tmp_path)
    assert last["synthetic"] < 0.92 * first["synthetic"] and 0 <= last["recall_300"] <= 1
    read = lessons.read_networks(tmp_path / lessons.NETWORK)
    for name in ("space", "pose_bins", "candidates", "widths", "backbone"):
        assert getattr(read.config, name) == getattr(TINY, name)
    assert torch.equal(read.root_net.output_layer.weight, network.root_net.output_layer.weight)
    give("roots", tmp_path, 50)  # nothing is left to do
    assert len(report(tmp_path)) == 2


def test_lessons_with_pictures_follow_each_other_and_leave_other_networks_alone(tmp_path):
    small = replace(selfpose3d.VARIANTS["nano"], widths=TINY.widths, space=TINY.space, pose_bins=TINY.pose_bins, threshold=-1.0)
    start = None
    before = {}
    for lesson, changed in (("heatmaps", {"backbone"}), ("roots", {"root_net"}), ("poses", {"pose_net", "backbone", "attention"})):
        give(lesson, tmp_path / lesson, 4 if lesson == "poses" else 2, small, start)
        start = tmp_path / lesson / lessons.NETWORK
        after = read_state(start)
        if before:
            different = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
            assert different == changed
        before = after
    last = report(tmp_path / "poses")[-1]
    assert {"heatmaps", "attention", "maps", "joints", "mpjpe_mm", "recall_500"} <= last.keys() and np.isfinite(last["total"])
    assert report(tmp_path / "heatmaps")[-1]["maps_e3"] > 0


def test_a_lesson_goes_on_after_nobody_was_found(tmp_path):
    nobody = replace(TINY, threshold=1e9)
    give("poses", tmp_path, 2, nobody)
    last = report(tmp_path)[-1]
    assert np.isfinite(last["total"]) and last["recall_500"] == 0


def test_what_can_t_be_is_one_line(tmp_path):
    with pytest.raises(VitruvianError, match="leave the lesson away"):
        give("heatmaps", tmp_path, 2)
    with pytest.raises(VitruvianError, match="take one of nano,.* panoptic"):
        lessons.configured("voxelpose", False)
    give("roots", tmp_path / "a", 2)
    with pytest.raises(WeightsError, match="root_net to start from is of another variant"):
        give("poses", tmp_path / "b", 2, replace(TINY, widths=(8, 4, 4, 4)), tmp_path / "a" / lessons.NETWORK)
    state = read_state(tmp_path / "a" / lessons.NETWORK)
    write_state(state, tmp_path / "c.safetensors", {"selfpose3d": '{"space": 3}'})
    with pytest.raises(FormatError, match="train it again"):
        lessons.read_networks(tmp_path / "c.safetensors")


def test_stages_of_recipes_are_lessons(tmp_path, monkeypatch):
    monkeypatch.setitem(selfpose3d.VARIANTS, "nano-heatmaps", TINY)
    schedule = Schedule(2, warmup=1)
    roots, poses = (Stage(name, "nano-heatmaps", schedule, name, batch=1) for name in ("roots", "poses"))
    stages = (roots, replace(poses, start="roots"))
    recipe = Recipe("r", "selfpose3d", stages, Data((Source("figures"),)))
    told, finished = [], {}
    for stage in stages:
        lessons.run_stage(recipe, stage, finished, tmp_path / stage.name, on_step=lambda *step: told.append(step[:3]))
        finished[stage.name] = tmp_path / stage.name / lessons.NETWORK
    assert told == [("roots", 1, 2), ("roots", 2, 2), ("poses", 1, 2), ("poses", 2, 2)]
    with pytest.raises(VitruvianError, match="figures or from panoptic"):
        lessons.run_stage(replace(recipe, data=Data((Source("coco"),))), stages[0], {}, tmp_path / "no")
    with pytest.raises(VitruvianError, match="where panoptic is"):
        lessons.run_stage(replace(recipe, data=Data((Source("panoptic"),))), stages[0], {}, tmp_path / "no")
