"""Detectors by recipes: what each data set teaches each network, how that is judged, and from a recipe to boxes on a picture."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cyclopts import App

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import part_sets  # noqa: E402
from vitruvian.cli.train import train  # noqa: E402
from vitruvian.codecs.association import BODY_PARTS, HANDS, HEAD  # noqa: E402
from vitruvian.codecs.owned import OwnedDetections  # noqa: E402
from vitruvian.data.parts import part_picture  # noqa: E402
from vitruvian.errors import FormatError, VitruvianError  # noqa: E402
from vitruvian.media.pictures import write_image  # noqa: E402
from vitruvian.systems import catalogue  # noqa: E402
from vitruvian.systems.detection import bpjdet, jointbdoe  # noqa: E402
from vitruvian.train.detectors import build_detector, detector_figures, drawing_of, labels_in, part_targets  # noqa: E402
from vitruvian.train.loop import Schedule  # noqa: E402
from vitruvian.train.recipe import Data, Recipe, Source, Stage, on_data, on_keypoints  # noqa: E402
from vitruvian.train.run import open_samples, run_recipe  # noqa: E402
from vitruvian.train.scenes import CLASSES, collate_taught  # noqa: E402

QUICK = Schedule(2, warmup=1, report_every=1, save_every=2, ema=2.0, bf16=False)


def recipe(system, variant="nano", start="", **data):
    stage = Stage("labels", variant, QUICK, start=start, batch=2)
    return Recipe("test", system, (stage,), Data(workers=0, **data))


def task_of(chosen):
    return build_detector(chosen, chosen.stages[0], {})


def with_training(folder):
    """The same pictures to train on as to judge on."""
    for path in sorted(folder.rglob("*")):
        name = path.name.replace("val", "train").replace("test", "train")
        if name != path.name and not path.with_name(name).exists():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, path.with_name(name))
    for path in folder.rglob("anno_train.mat"):
        path.unlink()  # its variable would bear another name
    return folder


def frames_of(folder):
    """Two frames of hSDB-instrument, one of them with a rare tool."""
    names = ("Scissors_Head", "Scissors_Body", "Electrichook")
    boxes = ([40, 40, 20, 20], [55, 50, 65, 40], [5, 5, 25, 15])
    images = [{"id": i, "file_name": f"{i}.png", "width": 130, "height": 100} for i in range(2)]
    rows = [(0, 2), (1, 0), (1, 1)]
    annotations = [{"id": n, "image_id": i, "category_id": k, "bbox": boxes[k], "iscrowd": 0} for n, (i, k) in enumerate(rows)]
    document = {"images": images, "annotations": annotations, "categories": [{"id": i, "name": name} for i, name in enumerate(names)]}
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"annotations/cholecystectomy_{split}.json").write_text(json.dumps(document))
    part_sets.pictures(folder / "images", "0.png", "1.png")
    return folder


SETS = {
    "crowdhuman": ("bpjdet", "nano", part_sets.crowdhuman, 4),
    "crowdhuman-face": ("bpjdet", "face-nano", part_sets.bodyface, 4),
    "citypersons-head": ("bpjdet", "nano", part_sets.bodyface, 4),
    "bodyhands": ("bpjdet", "hands-nano", part_sets.bodyhands, 4),
    "contacthands": ("bpjdet", "contact-nano", part_sets.contacthands, 4),
    "cocohumanparts": ("bpjdet", "parts-nano", part_sets.cocohumanparts, 4),
    "mebow": ("jointbdoe", "nano", part_sets.mebow, 2),
    "hsdb-cholecystectomy": ("hsdb-instrument", "nano", frames_of, None),
}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("held_out", [False, True])
def test_what_a_data_set_teaches(tmp_path, kind, held_out):
    system, variant, write, count = SETS[kind]
    chosen = on_data(recipe(system, variant), with_training(write(tmp_path / "set")), kind)
    task = task_of(chosen)
    image, targets = next(iter(open_samples(chosen, task, held_out=held_out)))
    assert image.shape == (256, 256, 3) and len(targets.boxes) == count if count else 0 < len(targets.boxes) <= 3
    assert targets.labels.max() < len(task.classes) and (targets.boxes >= 0).all() and (targets.boxes <= 256).all()
    if kind == "contacthands":
        np.testing.assert_array_equal(targets.states[0, :4], [0, 1, 0, 0])
        np.testing.assert_array_equal(targets.states[2], [0, 1, 0, 0, *[np.nan] * 4])
        assert targets.states[1].isnan().all()
    if system == "jointbdoe":
        np.testing.assert_allclose(targets.turns, [0.5, 0.25], atol=1e-6)


def test_the_truth_gets_full_marks_and_mixed_up_parts_don_t(tmp_path):
    chosen = on_data(recipe("bpjdet"), with_training(part_sets.crowdhuman(tmp_path / "set")))
    task = task_of(chosen)
    batch = collate_taught([next(iter(open_samples(chosen, task, held_out=True)))])
    boxes, labels = batch[1].boxes.numpy(), batch[1].labels.numpy().astype(np.int32)
    unknown = np.full(4, np.nan, np.float32), np.zeros((4, 0), np.float32)

    def marks(*persons):
        found = OwnedDetections(boxes, np.linspace(0.9, 0.5, 4, dtype=np.float32), labels, np.array(persons, np.int32), *unknown)
        return detector_figures(replace(task, find=lambda candidates: found), [batch], task.model)

    assert marks(0, 1, 0, 1) == {"ap50": pytest.approx(1), "part_ap50": pytest.approx(1), "owned": 1}
    assert marks(0, 1, 1, 0)["owned"] == 0 and marks(0, 1, 0, -1)["owned"] == 0.5


def test_headings_are_judged(tmp_path):
    chosen = on_data(recipe("jointbdoe"), with_training(part_sets.mebow(tmp_path / "set")))
    task = task_of(chosen)
    batch = collate_taught([next(iter(open_samples(chosen, task, held_out=True)))])
    angles = 2 * np.pi * batch[1].turns.numpy() + np.radians([10, 60], dtype=np.float32)
    zeros = np.zeros(2, np.int32)
    found = OwnedDetections(batch[1].boxes.numpy(), np.ones(2, np.float32), zeros, zeros, angles, np.zeros((2, 0), np.float32))
    figures = detector_figures(replace(task, find=lambda candidates: found), [batch], task.model)
    assert figures == {"ap50": pytest.approx(1), "mae": pytest.approx(35, abs=0.1), "acc30": 0.5}


def test_left_and_right_hands_are_hands_to_a_network_without_sides():
    assert labels_in(HANDS, CLASSES).tolist() == [0, -1, -1, 1, 1, -1, -1] and labels_in(BODY_PARTS, CLASSES).tolist() == list(range(7))
    with pytest.raises(VitruvianError, match="no head"):
        labels_in(HEAD, ("person", "hand"))


def test_who_is_to_be_ignored_teaches_nothing_and_neither_do_their_parts():
    boxes = np.array([[0, 0, 40, 80], [50, 0, 90, 80]], float)
    head = np.array([10, 0, 20, 10.0])
    picture = part_picture(
        "a", "a", (0, 0), boxes, ignore=np.array([True, False]), parts=[(head, 1, 0), (head + 50, 1, 1), (head + 9, 1, -1)]
    )
    targets = part_targets(picture, np.array([0, 1]), HEAD)
    assert targets.labels.tolist() == [0, 1, 1] and targets.boxes[1].tolist() == [60, 50, 70, 60]
    assert targets.points[1, 0].tolist() == [70, 40] and targets.points[2].isnan().all()


def test_instruments_are_drawn_for_the_surgery():
    chosen = recipe("hsdb-instrument", "gastrectomy-nano", sources=(Source("instruments"),), augmentation="scenes", randomised=0.5)
    task = task_of(chosen)
    _, targets = next(iter(open_samples(chosen, task)))
    assert len(targets.boxes) and targets.labels.max() < len(task.classes)
    with pytest.raises(VitruvianError, match="take a variant of cholecystectomy"):
        drawing_of(Source("hsdb-cholecystectomy", "nowhere"), chosen.data, task, False, lambda: None)


def test_a_start_gives_weights_and_keeps_the_new_network_s_size_and_names(tmp_path):
    sources = (Source("instruments"),)
    first = run_recipe(recipe("hsdb-instrument", sources=sources), tmp_path / "first")
    again = task_of(recipe("hsdb-instrument", start=str(first), sources=sources)).model.state_dict()
    _, found = catalogue.load(first)
    assert torch.equal(again["backbone.stem.conv.conv.weight"], found.model.state_dict()["backbone.stem.conv.conv.weight"])
    start = tmp_path / "start.safetensors"
    from vitruvian.systems.checkpoint import write_state
    from vitruvian.systems.detection.anchor_family import describe

    write_state(describe(bpjdet.network(bpjdet.VARIANTS["nano"]), (128, 128), ("hat",)).state_dict(), start, {})
    state = task_of(recipe("bpjdet", start=str(start))).model.state_dict()
    assert bpjdet.from_published(state)[0] == bpjdet.VARIANTS["nano"]


def test_what_a_recipe_for_detectors_can_t_ask_for(tmp_path):
    with pytest.raises(VitruvianError, match="can't learn from coco"):
        on_data(recipe("bpjdet"), tmp_path, "coco")
    with pytest.raises(VitruvianError, match="can't learn from crowds"):
        on_data(recipe("rtmpose"), tmp_path, "crowds")
    with pytest.raises(VitruvianError, match="no keypoints"):
        on_keypoints(recipe("jointbdoe"), "coco-17")
    with pytest.raises(VitruvianError, match="'dwpose' is not for bpjdet"):
        on_data(recipe("bpjdet", augmentation="dwpose"), tmp_path)
    with pytest.raises(VitruvianError, match="what hands touch"):
        drawing_of(Source("crowds"), Data(), task_of(recipe("bpjdet", "contact-nano")), False, lambda: None)
    with pytest.raises(VitruvianError, match="no variant"):
        task_of(recipe("jointbdoe", "huge"))
    with pytest.raises(VitruvianError, match="does not say where"):
        drawing_of(Source("mebow"), Data(), task_of(recipe("jointbdoe")), False, lambda: None)
    with pytest.raises(FormatError, match="expected there"):
        drawing_of(Source("mebow", str(tmp_path)), Data(), task_of(recipe("jointbdoe")), False, lambda: None)
    assert jointbdoe.VARIANTS["nano"].angle == "fraction"


RECIPE = """
name = "small"
system = "bpjdet"
[data]
workers = 0
augmentation = "bpjdet"
[[data.sources]]
kind = "crowds"
[[stages]]
name = "labels"
variant = "face-nano"
batch = 2
schedule = { steps = 3, warmup = 1, report_every = 1, save_every = 2, bf16 = false }
"""


def test_from_a_recipe_to_boxes_on_a_picture(tmp_path, capsys):
    for extra in ("onnx", "onnxscript"):
        pytest.importorskip(extra)
    from vitruvian.capture.detect import detect

    (tmp_path / "small.toml").write_text(RECIPE)
    folder = with_training(part_sets.bodyface(tmp_path / "set"))
    app = App(result_action="return_value")
    app.command(train)
    out = tmp_path / "run"
    for steps in (2, 3):  # the second goes on with the first
        said = ["--data", folder, "--dataset", "crowdhuman-face", "-o", out, "--steps", steps]
        assert app(["train", *map(str, [tmp_path / "small.toml", *said])], exit_on_error=False, print_error=False) == 0
    reports = [json.loads(line) for line in (out / "labels/log.jsonl").read_text().splitlines()]
    assert [report["step"] for report in reports] == [1, 2, 3] and {"box", "part", "ap50"} <= reports[-1].keys()
    found, card, _ = catalogue.export(out / "network.safetensors", tmp_path / "faces.onnx")
    assert card.classes == ("person", "face") and card.input_size == (256, 256) and found.variant == "bpjdet-face-nano6"
    write_image(tmp_path / "a.png", np.full((90, 120, 3), 90, np.uint8))
    objects = detect(tmp_path / "a.png", detector=tmp_path / "faces.onnx")
    assert objects.classes == ("person", "face") and objects.knows_owners
