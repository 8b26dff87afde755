"""What cards of different tasks need, and cards from before there were so many fields."""

import json
from dataclasses import asdict

import pytest

from vitruvian.errors import FormatError
from vitruvian.weights import Card

OLD = {
    "id": "old", "task": "pose2d", "file": "old.onnx", "input_size": [192, 256], "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375], "channel_order": "rgb", "skeleton": "coco-17", "classes": [], "padding": 1.25, "split_ratio": 2.0,
    "sha256": "", "licence_code": "", "licence_weights": "", "licence_data": "", "figures": {}, "urls": [], "source": "",
}  # fmt: skip


def load(tmp_path, values):
    (tmp_path / "card.json").write_text(json.dumps(values))
    return Card.load(tmp_path / "card.json")


def test_a_card_without_the_later_fields_is_loaded(tmp_path):
    card = load(tmp_path, OLD)
    assert (card.codec, card.subject, card.family, card.member, card.size_bytes) == ("", "", "", "", 0)


@pytest.mark.parametrize("task", ["pose2d", "pose3d", "one-stage"])
def test_a_pose_network_needs_a_skeleton(tmp_path, task):
    load(tmp_path, OLD | {"task": task})
    with pytest.raises(FormatError, match="skeleton"):
        load(tmp_path, OLD | {"task": task, "skeleton": ""})


@pytest.mark.parametrize("name", ["input_size", "mean", "std"])
def test_a_network_for_pictures_needs_to_know_what_it_is_fed(tmp_path, name):
    with pytest.raises(FormatError, match=f"is no card: needs .*{name}"):
        load(tmp_path, {key: value for key, value in OLD.items() if key != name})
    with pytest.raises(FormatError, match=name):
        load(tmp_path, OLD | {name: []})


@pytest.mark.parametrize("size", [[0, 0], [192, 0], [-1, 256], [192, 9000]])
def test_a_picture_has_two_sides(tmp_path, size):
    with pytest.raises(FormatError, match="input_size"):
        load(tmp_path, OLD | {"input_size": size})


@pytest.mark.parametrize("values", [{}, {"mean": [0.5] * 47, "std": [2.0] * 47}])
def test_an_augmenter_sees_no_picture(tmp_path, values):
    card = load(tmp_path, {"id": "a", "task": "augmenter", "file": "a.onnx"} | values)
    assert card.input_size == (0, 0) and len(card.mean) == len(card.std) == len(values.get("mean", []))
    card.save(tmp_path / "card.json")
    assert asdict(Card.load(tmp_path / "card.json")) == asdict(card)


@pytest.mark.parametrize("values", [{"input_size": [64, 64]}, {"mean": [1.0]}, {"mean": [0.0], "std": [0.0]}, {"mean": [0] * 5000}])
def test_a_wrong_augmenter_is_refused(tmp_path, values):
    with pytest.raises(FormatError):
        load(tmp_path, {"id": "a", "task": "augmenter", "file": "a.onnx"} | values)


@pytest.mark.parametrize(
    "change",
    [{"codec": "magic"}, {"codec": None}, {"subject": "plants"}, {"family": 3}, {"member": 1}, {"size_bytes": -1}, {"size_bytes": True}],
)
def test_a_wrong_value_in_a_later_field_is_refused(tmp_path, change):
    with pytest.raises(FormatError, match=next(iter(change))):
        load(tmp_path, OLD | change)


LIFTER = {"id": "l", "task": "lift", "file": "l.onnx", "codec": "lift-diffusion", "skeleton": "h36m-17", "diffusion_times": 1000}


def test_a_lifter_says_how_it_is_run(tmp_path):
    card = load(tmp_path, LIFTER)
    card.save(tmp_path / "card.json")
    assert Card.load(tmp_path / "card.json") == card


@pytest.mark.parametrize(
    ("change", "said"),
    [({"skeleton": ""}, "skeleton"), ({"diffusion_times": 0}, "diffusion_times"), ({"codec": "lift-frame"}, "diffusion_times"),
     ({"diffusion_times": 10**9}, "diffusion_times"), ({"task": "augmenter"}, "lifters")],
)  # fmt: skip
def test_a_wrong_lifter_is_refused(tmp_path, change, said):
    with pytest.raises(FormatError, match=said):
        load(tmp_path, LIFTER | change)
