"""Whole recipes in seconds: every system learns something, stages follow each other, and runs go on after a stop."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vitruvian.codecs.simcc import SimCC as Codec  # noqa: E402
from vitruvian.data.human36m import CAMERAS  # noqa: E402
from vitruvian.data.mixture import in_skeleton  # noqa: E402
from vitruvian.data.pictures import Dataset, Picture, labels  # noqa: E402
from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.media.pictures import write_image  # noqa: E402
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, POSETRACK_17  # noqa: E402
from vitruvian.synth.store import Store  # noqa: E402
from vitruvian.systems import catalogue  # noqa: E402
from vitruvian.systems.checkpoint import read_state  # noqa: E402
from vitruvian.systems.pose2d import mappose  # noqa: E402
from vitruvian.systems.pose2d.mappose import MapPose  # noqa: E402
from vitruvian.systems.pose2d.rtmw import SimCC, rtmw_loss, simcc_loss  # noqa: E402
from vitruvian.train.deep import HIPS, keypoints_of, with_depth  # noqa: E402
from vitruvian.train.feed import Annotated, Blend, Figures, collate_samples  # noqa: E402
from vitruvian.train.figures import Scene  # noqa: E402
from vitruvian.train.loop import Progress, Schedule, train  # noqa: E402
from vitruvian.train.recipe import Data, Recipe, Source, Stage  # noqa: E402
from vitruvian.train.run import PRESETS, _people, open_dataset, open_samples, run_recipe, run_stage  # noqa: E402
from vitruvian.train.tasks import _in_bins, build, errors, evaluation, label_loss  # noqa: E402

EMPTY = Store((), *(np.zeros(0) for _ in range(4)))
QUICK = Schedule(3, warmup=1, report_every=1, save_every=3, ema=2.0)


def recipe(system, *stages, **data):
    keypoints = "posetrack-17" if system in ("rtmpose", "rtmw") else ""
    return Recipe("test", system, stages, Data(workers=0, **data), keypoints)


def stage(name="labels", **more):
    return Stage(name, **{"variant": "nano", "schedule": QUICK, "batch": 4} | more)


@pytest.mark.parametrize(
    "system,variant", [("rtmpose", "nano"), ("rtmw", "rtmw-nano"), ("rmpg", "nano"), ("dsta", "nano"), ("diffpose", "nano")]
)
def test_every_system_runs_and_its_network_is_recognised(tmp_path, system, variant):
    file = run_recipe(recipe(system, stage(variant=variant, coach=0.3 if system[:3] == "rtm" else 0.0)), tmp_path)
    reports = [json.loads(line) for line in (tmp_path / "labels/log.jsonl").read_text().splitlines()]
    assert [report["step"] for report in reports] == [1, 2, 3] and {"all_px", "pck"} <= reports[-1].keys()
    assert all(np.isfinite(report["total"]) for report in reports)
    _, found = catalogue.load(file)
    assert type(found.model).__module__.endswith({"diffpose": "diffpose_video", "rtmpose": "rtmw"}.get(system, system))


def test_a_simcc_network_learns_in_seconds(tmp_path):
    schedule = Schedule(24, learning_rate=2e-3, warmup=4, report_every=6, save_every=24, ema=10.0)
    torch.manual_seed(0)
    run_stage(recipe("rtmpose"), stage(schedule=schedule, coach=0.3, batch=8), {}, tmp_path)
    reports = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert reports[-1]["total"] < 0.95 * reports[0]["total"]


def test_two_stages_of_distillation_leave_the_backbone_alone(tmp_path):
    stages = (
        stage("teacher"),
        stage("first", lesson="first", teacher="teacher"),
        stage("second", lesson="second", teacher="first"),
    )
    file = run_recipe(recipe("rtmpose", *stages), tmp_path)
    first, second = read_state(tmp_path / "first/network.safetensors"), read_state(file)
    assert first.keys() == second.keys()
    same = {name: torch.equal(first[name], second[name]) for name in first}
    assert all(same[name] for name in same if name.startswith("backbone.")) and not same["head.cls_x.weight"]
    log = json.loads((tmp_path / "first/log.jsonl").read_text().splitlines()[-1])
    assert {"label", "feature", "logit"} <= log.keys()


def test_a_map_pose_teaches_a_simcc_network_and_gives_it_its_backbone(tmp_path):
    torch.manual_seed(0)
    teacher = MapPose(replace(mappose.VARIANTS["nano"], keypoints=17))
    torch.save({"averaged": teacher.state_dict()}, tmp_path / "last.pt")
    file = str(tmp_path / "last.pt")
    first = stage("first", lesson="first", teacher=file, start=file, schedule=Schedule(0))
    begun, found = read_state(run_recipe(recipe("rtmpose", first), tmp_path / "begun")), teacher.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in begun.items() if name.startswith("backbone."))
    run_recipe(recipe("rtmpose", replace(first, schedule=QUICK)), tmp_path / "run")
    report = json.loads((tmp_path / "run/first/log.jsonl").read_text().splitlines()[0])
    assert np.isfinite(report["total"]) and report["logit"] > 0
    assert report["feature"] > 0
    with pytest.raises(WeightsError, match="no SimCC network of 17 keypoints"):  # it has no head of the kind that a second stage makes anew
        run_recipe(recipe("rtmpose", stage("second", lesson="second", teacher=file)), tmp_path / "second")


def test_a_map_pose_says_in_bins_what_it_says_in_cells():
    """A sure cell is a peak at its middle, two that are as likely a plateau between their middles."""
    chance = torch.zeros(1, 2, 6)
    chance[0, 0, 2], chance[0, 1, 3:5] = 0.9, 0.45
    sure, between = _in_bins(chance)[0]
    middle = lambda cell: int(2 * (mappose.STRIDE * cell + (mappose.STRIDE - 1) / 2))  # noqa: E731
    assert sure.shape == (2 * 6 * mappose.STRIDE,) and sure.argmax() == middle(2)
    assert torch.allclose(between[middle(3) : middle(4) + 1], between.max()) and between[middle(4) + 1] < between.max()
    half = torch.softmax(10 * sure, 0).cumsum(0)
    assert abs(int((half < 0.5).sum()) - middle(2)) <= 1


def test_a_store_of_ones_own_is_taken_as_it_is(tmp_path):
    """Whatever it was begun with, and however few people are in it."""
    (tmp_path / "shard-00000.npz").touch()
    source = Source("synth", str(tmp_path))
    assert _people(recipe("rtmpose", sources=(source,)), source, lambda *_: None) == (tmp_path, [])


def test_finished_stages_are_passed_over(tmp_path):
    chosen = recipe("rtmpose", stage("one"), stage("two", start="one"))
    run_recipe(chosen, tmp_path)
    log = (tmp_path / "one/log.jsonl").read_text()
    (tmp_path / "two/network.safetensors").unlink()
    run_recipe(chosen, tmp_path)
    assert (tmp_path / "one/log.jsonl").read_text() == log


def test_a_first_try_is_gone_on_with_on_other_samples(tmp_path):
    chosen = recipe("rtmpose", stage("one"))
    run_recipe(chosen, tmp_path)
    longer = replace(chosen, stages=(stage("one", schedule=replace(QUICK, steps=5)),))
    run_recipe(longer, tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / "one/log.jsonl").read_text().splitlines()] == [1, 2, 3, 4, 5]
    task = build(chosen, chosen.stages[0], {}, Progress())
    first, later = (next(iter(open_samples(chosen, task, begun=begun)))[1] for begun in (0, 3))
    assert not np.array_equal(first, later)


def test_teacher_terms_fade():
    progress = Progress()
    losses = {}
    task = build(recipe("rtmpose"), stage(), {}, progress)
    from vitruvian.systems.pose2d import dwpose
    from vitruvian.train.tasks import Pupil, simcc_lesson

    network, teacher = task.model.network, build(recipe("rtmpose"), stage(), {}, progress).model.network
    pupil, loss = Pupil(network, False, dwpose.align_layer(network, teacher)), simcc_lesson(0.0, teacher, progress)
    batch = collate_samples([(np.zeros((1, 128, 96, 3), np.uint8), np.ones((17, 3), np.float32))] * 2)
    for fraction in (0.0, 0.5, 1.0):
        progress.fraction = fraction
        losses[fraction] = {name: float(value.detach()) for name, value in loss(pupil.eval(), batch).items()}
    assert losses[0.5]["feature"] == pytest.approx(losses[0.0]["feature"] / 2, rel=1e-4) and losses[1.0]["logit"] == 0
    assert losses[1.0]["total"] == pytest.approx(losses[1.0]["label"])
    progress.fraction = 0.0
    twice = loss(pupil, tuple(torch.cat((x, x)) for x in batch))  # every term has the same weight in a larger batch
    assert {name: float(value.detach()) for name, value in twice.items()} == pytest.approx(losses[0.0], rel=1e-3)


@pytest.mark.parametrize("is_rtmw", [False, True])
@pytest.mark.parametrize("count", [17, 133])
def test_label_losses_have_the_published_gradient(count, is_rtmw):
    """The looked-up cross-entropies differ from the published divergences by the targets' entropy only."""
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, count, bins, generator=generator, requires_grad=True) for bins in (192, 256)]
    keypoints = torch.rand(2, count, 3, generator=generator) * torch.tensor([60.0, 90.0, 0.0]) + torch.tensor([18.0, 18.0, 1.0])
    keypoints[0, 5, 2] = 0
    x, y, _ = Codec((96, 128)).encode(keypoints[..., :2].numpy(), keypoints[..., 2].numpy())
    target, weight = SimCC(torch.from_numpy(x), torch.from_numpy(y)), keypoints[..., 2].clone()
    if is_rtmw and count == 133:
        published = rtmw_loss(SimCC(*logits), target, weight, reduction="mean")
    else:
        published = simcc_loss(SimCC(*logits), target, weight, beta=1.0 if is_rtmw else 10.0, reduction="mean")
    expected = torch.autograd.grad(published, logits)
    found = torch.autograd.grad(label_loss(SimCC(*logits), keypoints, is_rtmw), logits)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one / 100, other, rtol=1e-3, atol=1e-9)


def test_errors_by_part():
    distances = np.full((2, 133), 3.0)
    distances[:, 17:23] = 30
    distances[0, 0] = np.nan
    table = errors(distances, (192, 256), COCO_WHOLEBODY_133)
    assert table["body_px"] == 3 and table["foot_px"] == 30 and 0.9 < table["pck"] < 1


def test_late_augmentation_reaches_the_samples():
    samples = Blend([Figures((96, 128), POSETRACK_17, 1, PRESETS["dwpose"], 0, scene=Scene())], [1.0], 0)
    stream = iter(samples)

    def holes(count=60):
        return np.mean([(np.asarray(next(stream)[0]) == 0).all(axis=-1).mean() > 0.03 for _ in range(count)])

    first = holes()
    samples.set_late(True)
    assert first > 0.9 and 0.3 < holes() < 0.7


def test_points_outside_the_crop_have_no_weight():
    samples = Figures((20, 128), POSETRACK_17, 1, PRESETS["none"], 0, scene=Scene())
    _, keypoints = next(iter(samples))
    outside = ((keypoints[:, :2] < -0.5) | (keypoints[:, :2] > np.array([19.5, 127.5]))).any(axis=1)
    assert outside.any() and (keypoints[outside, 2] == 0).all()


@pytest.fixture
def film(tmp_path):
    """Three frames with a person whose left shoulder is a white square that moves by 10 pixels a frame."""
    for frame in range(3):
        image = np.zeros((120, 160, 3), np.uint8)
        image[48:53, 48 + 10 * frame : 53 + 10 * frame] = 255
        write_image(tmp_path / f"{frame:06d}.png", image)
    points = np.full((1, 17, 2), 60.0)
    points[0, 5] = [60, 50]
    people = labels(points, np.full((1, 17), 2), np.array([[20.0, 10, 120, 110]]))
    return Dataset("film", POSETRACK_17, "", lambda: iter([Picture(tmp_path / "000001.png", 0, (160, 120), people, "film", 1)]))


def test_clips_of_films_are_moved_as_one(film):
    samples = Annotated((96, 128), POSETRACK_17, 3, PRESETS["posetrack"], 1, datasets=[film], weights=[1.0])
    for (frames, keypoints), _ in zip(samples, range(10), strict=False):
        places = [np.argwhere(frame[..., 0] > 128).mean(axis=0)[::-1] for frame in frames if (frame > 128).any()]
        if len(places) == 3:
            steps = np.diff(places, axis=0)
            np.testing.assert_allclose(steps[0], steps[1], atol=0.8)
            near = min(np.linalg.norm(keypoints[joint, :2] - places[1]) for joint in (5, 6))  # 6 when mirrored
            assert near < 1.5


def test_stills_in_another_set(film):
    samples = Annotated((96, 128), COCO_17, 1, PRESETS["none"], 1, datasets=[film], weights=[1.0])
    frames, keypoints = next(iter(samples))
    assert frames.shape == (1, 128, 96, 3) and keypoints.shape == (17, 3) and keypoints[1, 2] == 0 and keypoints[5, 2] == 1
    assert in_skeleton(film, COCO_17).skeleton is COCO_17


def test_what_a_recipe_can_t_ask_for(tmp_path):
    with pytest.raises(VitruvianError, match="no variant"):
        run_recipe(recipe("rtmpose", stage(variant="huge")), tmp_path)
    with pytest.raises(VitruvianError, match="not one of rtmw's"):
        run_recipe(recipe("rtmw", stage()), tmp_path)
    with pytest.raises(VitruvianError, match="no clips yet"):
        run_recipe(recipe("dsta", stage(), sources=(Source("synth"),)), tmp_path)
    with pytest.raises(VitruvianError, match="does not say where"):
        open_dataset(Source("coco"))
    with pytest.raises(WeightsError, match="no checkpoint"):
        run_recipe(recipe("rtmpose", stage(start="nowhere.pth")), tmp_path)


def test_a_run_of_another_network_is_not_gone_on_with(tmp_path):
    model = torch.nn.Linear(3, 1)
    loss = lambda model, batch: {"total": model(batch).square().mean()}  # noqa: E731
    train(model, iter([torch.ones(2, 3)]), loss, Schedule(1), tmp_path)
    with pytest.raises(WeightsError, match="of another network"):
        train(torch.nn.Linear(4, 1), iter([]), loss, Schedule(2), tmp_path)


def test_held_out_figures_are_others():
    task = build(recipe("rtmpose"), stage(), {}, Progress())
    a, b = (next(iter(open_samples(recipe("rtmpose"), task, held_out=held_out)))[1] for held_out in (False, True))
    assert not np.array_equal(a, b)


def test_progress_and_tensorboard(tmp_path, monkeypatch):
    """TensorBoard is not a dependency: with a stand-in for it, every number of the log arrives there too."""
    import sys
    import types

    seen = []

    class SummaryWriter:
        def __init__(self, folder):
            seen.append(folder)

        def add_scalar(self, name, value, step):
            seen.append((name, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    progress, steps = Progress(), []
    loss = lambda model, batch: {"total": model(batch).square().mean()}  # noqa: E731
    schedule = replace(QUICK, steps=4, save_every=4)
    train(torch.nn.Linear(3, 1), iter([torch.ones(2, 3)] * 9), loss, schedule, tmp_path, None, progress, lambda step, _: steps.append(step))
    assert seen[0] == str(tmp_path) and ("total", 4) in seen and steps == [1, 2, 3, 4] and progress.fraction == 0.75


def test_a_network_learns_depth_too(tmp_path):
    """Figures have no depth: their samples teach RTMW3D in two dimensions."""
    file = run_recipe(replace(recipe("rtmw3d", stage(variant="rtmw3d-nano", coach=0.3)), keypoints=""), tmp_path)
    report = json.loads((tmp_path / "labels/log.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(report["total"]) and "all_px" in report and "depth_mm" not in report
    assert catalogue.load(file)[1].config.z_size == 96


def test_depth_is_learnt_from_h3wb_where_it_lies_in_the_crop(tmp_path):
    rng = np.random.default_rng(0)
    flat, deep = rng.uniform(10, 50, (1, 133, 2)), rng.normal(4000, 200, (1, 133, 3))
    action = {"frame_id": np.array([1])} | {c: {"pose_2d": flat, "camera_3d": deep} for c in CAMERAS}
    np.savez(tmp_path / "h3wb_train.npz", train_data=np.array({s: {"Eating": action} for s in ("S1", "S5", "S6", "S7")}, object))
    for camera in CAMERAS:
        (tmp_path / f"S7/Images/Eating.{camera}").mkdir(parents=True)
        write_image(tmp_path / f"S7/Images/Eating.{camera}/frame_0001.jpg", np.zeros((64, 64, 3), np.uint8))
    chosen = replace(recipe("rtmw3d", sources=(Source("h3wb", str(tmp_path)),)), keypoints="")
    samples = open_samples(chosen, build(chosen, stage(variant="rtmw3d-nano"), {}, Progress()), held_out=True)
    image, keypoints = next(iter(samples))
    assert image.shape == (1, 128, 96, 3) and keypoints.shape == (133, 5) and keypoints[:, [2, 4]].all()
    z = deep[0, :, 2] / 1000
    np.testing.assert_allclose(keypoints[:, 3], z - z[HIPS].mean(), atol=1e-5)


def test_depth_is_behind_the_hips_and_judged_in_millimetres(tmp_path):
    figures = np.zeros((3, 133, 3), np.float32)
    figures[..., :2], figures[..., 2] = 40, 2
    places = np.zeros((3, 133, 3))
    places[:, :, 2] = np.linspace(3, 4, 133)
    store = with_depth(replace(EMPTY, keypoints=figures, truth={"points": places}))
    np.testing.assert_allclose(store.keypoints[0, :, 3], places[0, :, 2] - places[0, HIPS, 2].mean(), atol=1e-6)
    figure = SimpleNamespace(keypoints=store.keypoints[0])
    crop = SimpleNamespace(points=np.column_stack([np.linspace(-20, 80, 133), np.full(133, 40.0)]), figure=figure)
    keypoints = keypoints_of(crop, (96, 128))
    inside = keypoints[:, 0] >= -0.5
    assert (keypoints[:, 2] == inside).all() and (keypoints[:, 4] == inside).all() and 0 < inside.mean() < 1
    chosen = replace(recipe("rtmw3d"), keypoints="")
    task = build(chosen, stage(variant="rtmw3d-nano"), {}, Progress())
    found = np.concatenate([keypoints[:, :2], keypoints[:, 3:4] + 0.1], 1)[None]
    blind = replace(task, decode=lambda network, images: (found, None))
    batch = torch.zeros(1, 3, 128, 96, dtype=torch.uint8), torch.from_numpy(keypoints[None])
    table = evaluation(blind, COCO_WHOLEBODY_133, [batch])(task.model)
    assert table["depth_mm"] == pytest.approx(100, abs=0.1) and table["all_px"] == pytest.approx(0, abs=1e-4)
    parts = task.loss(task.model, tuple(torch.cat([x, x]) for x in batch))
    assert all(torch.isfinite(value) for value in parts.values())
    with pytest.raises(VitruvianError, match="not one of rtmw3d's"):
        build(chosen, stage(variant="rtmw-nano"), {}, Progress())
