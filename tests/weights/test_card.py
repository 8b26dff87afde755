import hashlib
import json
from dataclasses import asdict, replace

import pytest

from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import Card, verify


@pytest.fixture
def card(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"weights")
    return Card(
        id="net",
        task="pose2d",
        file=str(tmp_path / "net.onnx"),
        input_size=(192, 256),
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        skeleton="coco-wholebody-133",
        sha256="0" * 64,
        figures={"coco-wholebody AP": 48.5},
        urls=("https://example.org/net.onnx",),
    )


def test_what_is_saved_is_loaded(card, tmp_path):
    card.save(tmp_path / "net.json")
    assert Card.load(tmp_path / "net.json") == card
    assert json.loads((tmp_path / "net.json").read_text())["file"] == "net.onnx"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.onnx"]  # nothing temporary stays


def test_a_moved_folder_keeps_its_weights(card, tmp_path):
    card.save(tmp_path / "net.json")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert Card.load(moved / "net.json").file == str(moved / "net.onnx")


@pytest.mark.parametrize(
    "change",
    [
        {"task": "cooking"},
        {"input_size": [192]},
        {"input_size": [0, 256]},
        {"input_size": [1e9, 256]},
        {"std": [1, 0, 1]},
        {"mean": [1, 2, "3"]},
        {"mean": [1, 2, float("nan")]},
        {"channel_order": "brg"},
        {"classes": "person"},
        {"skeleton": ""},
        {"figures": {"AP": "high"}},
        {"sha256": "abc"},
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"file": "..\\net.onnx"},
        {"padding": -1},
        {"padding": 10**400},
        {"surprise": 1},
    ],
)
def test_a_wrong_value_is_refused(card, tmp_path, change):
    (tmp_path / "net.json").write_text(json.dumps(asdict(card) | {"file": "net.onnx"} | change))
    with pytest.raises(FormatError):
        Card.load(tmp_path / "net.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", "[" * 100000, "\xff", '{"id": "net"}'])
def test_what_is_no_card_is_refused(tmp_path, text):
    (tmp_path / "net.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match="no card|not a readable JSON"):
        Card.load(tmp_path / "net.json")


def test_a_huge_card_is_refused(tmp_path):
    (tmp_path / "net.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(FormatError, match="larger"):
        Card.load(tmp_path / "net.json")


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(FormatError, match="nowhere.json"):
        Card.load(tmp_path / "nowhere.json")


def test_a_detector_needs_classes(card):
    with pytest.raises(FormatError, match="classes"):
        replace(card, task="detection")


def test_verify_tells_the_right_file_from_another(card):
    verify(replace(card, sha256=hashlib.sha256(b"weights").hexdigest()))
    verify(replace(card, sha256=""))
    with pytest.raises(WeightsError, match="not the file"):
        verify(card)
    with pytest.raises(WeightsError, match="gone.onnx"):
        verify(replace(card, file="gone.onnx"))
