"""Checkpoints of any system: recognised by what is in them, converted to files that can't carry code, exported for the ground floor."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from vitruvian.errors import FormatError, VitruvianError, WeightsError
from vitruvian.runtime import PoseEstimator
from vitruvian.systems import catalogue
from vitruvian.systems.catalogue import SYSTEMS, System, convert_checkpoint, export, load, recognise
from vitruvian.systems.checkpoint import read_state, write_state
from vitruvian.systems.mesh import multi_hmr
from vitruvian.systems.pose2d import diffpose_video, dsta, rmpg
from vitruvian.systems.pose2d.dwpose import FirstStage
from vitruvian.systems.pose2d.rtmw import VARIANTS, Config, RTMPose, network

SMALL = Config(0.125, 0.167, (64, 96), keypoints=17, token=32, shared=16, kernel=3)
OTHERS = {  # each system's own nano network
    "rmpg": lambda: rmpg.PoseNetwork(rmpg.VARIANTS["nano"]),
    "dsta": lambda: dsta.DSTA(dsta.VARIANTS["nano"]),
    "diffpose-video": lambda: diffpose_video.DiffPose(diffpose_video.VARIANTS["nano"]),
    "multi-hmr": lambda: multi_hmr.MultiHMR(multi_hmr.VARIANTS["nano"]),
}
KINDS = {"rtmpose": SMALL, "rtmw": replace(SMALL, levels=2), "rtmw3d": replace(SMALL, levels=2, z_size=32)}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))


def published(path, config=SMALL, wrong=False):
    """A container as the published ones, with what training leaves in it."""
    torch.manual_seed(0)
    state = dict(network(config).state_dict())
    if wrong:
        del state["head.gau.o.weight"]
    state["data_preprocessor.mean"] = torch.zeros(3)
    torch.save({"meta": {"epoch": 3}, "state_dict": state}, path)
    return path


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_refuses_foreign_keys(system):
    assert not system.claims({"conv.weight": torch.zeros(1)})
    with pytest.raises(WeightsError):
        system.read({"conv.weight": torch.zeros(1)})


@pytest.mark.parametrize("name", OTHERS)
def test_every_system_is_told_from_the_others(name):
    found = recognise(OTHERS[name]().state_dict())
    assert found.system.name == name and found.variant and found.parameters


def test_anchor_detectors_share_their_keys_and_nobody_else_wants_them():
    state = dict.fromkeys(("model.0.conv.conv.weight", "model.0.conv.bn.weight", "model.33.m.2.weight"), torch.zeros(1))
    assert [system.name for system in SYSTEMS if system.claims(state)] == ["bpjdet", "jointbdoe"]


@pytest.mark.parametrize("kind", KINDS)
def test_network_is_recognised_and_named(kind):
    found = recognise(network(KINDS[kind]).state_dict())
    assert (found.system.name, found.config) == ("rtmw", KINDS[kind])
    assert found.variant == f"{kind}-nano-17-96x64"
    assert found.parameters == sum(p.numel() for p in network(KINDS[kind]).parameters())


def test_raw_container_of_a_distillation_gives_the_student():
    stage = FirstStage(RTMPose(SMALL), RTMPose(replace(SMALL, width=0.25)))
    found = recognise(stage.state_dict())
    assert found.system.name == "dwpose" and found.config == SMALL
    assert found.exported("x").outputs == ("simcc_x", "simcc_y")  # DWPose's networks are RTMPose's


def test_unknown_keys_are_told_from_a_known_system_with_a_gap(tmp_path):
    with pytest.raises(WeightsError, match=r"no known system.*conv\.weight.*rtmw"):
        recognise({"conv.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"rtmw: .*missing 1: head\.gau\.o\.weight"):
        convert_checkpoint(published(tmp_path / "a.pth", wrong=True))


def test_first_system_that_can_read_it_wins():
    deaf = System("deaf", "vitruvian.systems.pose2d.rtmw", ("^no such key$",))
    assert recognise(RTMPose(SMALL).state_dict(), (deaf, *SYSTEMS)).system.name == "rtmw"


def test_converted_file_holds_the_same_network_and_its_card_says_which(tmp_path):
    source = published(tmp_path / "mine.pth", KINDS["rtmw3d"])
    target, card = convert_checkpoint(source, tmp_path / "out" / "mine.safetensors")
    kept = read_state(target)
    assert "data_preprocessor.mean" not in kept
    assert all(torch.equal(kept[name], value) for name, value in read_state(source).items() if name in kept)
    assert json.loads(target.with_suffix(".json").read_text()) == card | {"config": json.loads(json.dumps(card["config"]))} | {
        "network": json.loads(json.dumps(card["network"]))
    }
    assert (card["system"], card["variant"], card["config"]["z_size"]) == ("rtmw", "rtmw3d-nano-17-96x64", 32)
    assert card["network"]["task"] == "pose3d" and card["network"]["licence_weights"] == ""
    assert load(target)[1].config == KINDS["rtmw3d"]


def test_converting_twice_changes_nothing(tmp_path):
    first, _ = convert_checkpoint(published(tmp_path / "mine.pth"), tmp_path / "a.safetensors")
    second, card = convert_checkpoint(first, tmp_path / "b.safetensors")
    assert card["source_sha256"] == json.loads(first.with_suffix(".json").read_text())["sha256"]
    assert read_state(first).keys() == read_state(second).keys()


def test_published_name_brings_figures_and_licences_only_where_the_network_agrees(tmp_path):
    stem = "rtmw-dw-l-m_simcc-cocktail14_270e-256x192-20231122"
    with torch.device("meta"):
        models = {name: network(VARIANTS[name]) for name in ("rtmw-m", "rtmw-l-384")}
    right, wrong = (catalogue.Recognised(SYSTEMS[1], model.config, model) for model in models.values())
    card = right.exported(stem).card
    assert card.figures["coco-wholebody AP"] == 58.2 and "non-commercial" in card.licence_data and card.family == "RTMW"
    assert not wrong.exported(stem).card.figures
    assert not right.exported("mine").card.licence_data


@pytest.mark.parametrize(
    ("system", "stem", "word"),
    [
        ("multi-hmr", "multiHMR_672_S", "NAVER"),
        ("osx", "osx_l", "MIT"),
        ("aios", "aios_checkpoint", "S-Lab"),
        ("pymaf-x", "PyMAF-X_model_checkpoint_v1.1", "Tsinghua"),
        ("danet", "danet_model_h36m_itw", "all rights reserved"),
    ],
)
def test_published_meshes_say_what_their_licences_forbid(system, stem, word):
    """Whether the network can be exported or not; and of a file of one's own nothing is said."""
    found = catalogue.Recognised(next(known for known in SYSTEMS if known.name == system), None, torch.nn.Identity())
    licences = found.licences(stem, None)
    assert word in licences["code"] and licences["weights"] and licences["data"]
    assert not any(found.licences("mine", None).values())


def test_animals_are_told_by_the_published_name():
    config = replace(VARIANTS["m"], keypoints=17, input_size=(256, 256))
    with torch.device("meta"):
        found = catalogue.Recognised(SYSTEMS[1], config, network(config))
    stem = "rtmpose-m_simcc-ap10k_pt-aic-coco_210e-256x256-7a041aa1_20230206"
    assert found.exported(stem).card.skeleton == "ap10k-17"
    assert found.exported(stem, "coco-17").card.skeleton == "coco-17"


def test_exported_network_runs_on_the_ground_floor(tmp_path):
    source = published(tmp_path / "mine.pth", KINDS["rtmw3d"])
    found, card, worst = export(source, tmp_path / "net.onnx")
    assert worst < 1e-3 and card.id == "net" and card.size_bytes == (tmp_path / "net.onnx").stat().st_size
    estimator = PoseEstimator(tmp_path / "net.onnx", device="cpu", threads=1)
    image = np.random.default_rng(0).integers(0, 255, (120, 100, 3), np.uint8)
    boxes = np.float32([[10, 5, 70, 110], [30, 20, 90, 100], [0, 0, 50, 50]])
    poses = estimator([image], [boxes])[0]
    assert poses.keypoints.shape == (3, 17, 2) and poses.scores.shape == (3, 17) and poses.points.shape == (3, 17, 3)
    assert len(estimator([image], [boxes[:0]])[0].keypoints) == 0
    with torch.inference_mode():
        outputs = found.model(torch.zeros(1, 3, 96, 64))
    assert estimator.codec.bins == tuple(line.shape[-1] for line in outputs)


def test_id_of_a_converted_checkpoint_is_enough(tmp_path):
    target, _ = convert_checkpoint(published(tmp_path / "mine.pth"))
    assert target == catalogue.folder() / "mine.safetensors"
    assert load("mine")[1].config == SMALL


def test_wrong_names_and_files_are_refused(tmp_path):
    source = published(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="no checkpoint"):
        load("not-here")
    with pytest.raises(WeightsError, match="end it with .safetensors"):
        convert_checkpoint(source, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="end it with .onnx"):
        export(source, tmp_path / "a.bin")
    onnx.save(onnx.ModelProto(), tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match="already"):
        load(tmp_path / "a.onnx")
    odd = published(tmp_path / "odd.pth", replace(SMALL, keypoints=5))
    with pytest.raises(WeightsError, match="--skeleton"):
        export(odd, tmp_path / "a.onnx")
    with pytest.raises(VitruvianError, match="no-such"):
        export(source, tmp_path / "a.onnx", "no-such")
    with pytest.raises(WeightsError, match="leave --body away"):
        export(source, tmp_path / "a.onnx", body="anny")
    with pytest.raises(VitruvianError, match="--body anny"):
        export(source, tmp_path / "a.onnx", body="smplx")
    assert not list(tmp_path.glob("a.*.tmp")) and not (tmp_path / "a.json").exists()


def test_notes_of_training_programs_are_read_as_nothing(tmp_path):
    import argparse
    import pathlib

    state = RTMPose(SMALL).state_dict()
    meta = {"sigmas": np.ones(17, np.float32), "best": np.float64(0.5), "options": argparse.Namespace(lr=1.0), "log": pathlib.Path("a")}
    for name, legacy in (("new.pth", False), ("old.pth", True)):
        torch.save({"meta": meta, "state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        assert read_state(tmp_path / name).keys() == state.keys()


@pytest.mark.parametrize("entry", ["model", "model_state_dict", "net"])
def test_other_containers_are_opened(entry, tmp_path):
    torch.save({entry: {"a.weight": torch.ones(2)}, "epoch": 3}, tmp_path / "a.pth")
    assert list(read_state(tmp_path / "a.pth")) == ["a.weight"]


def test_few_bytes_that_pretend_to_be_gigabytes_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 34)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="larger than the file"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}", b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":"not there"}'])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_one_typed_error(content, suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(WeightsError, match="a" + suffix):
        read_state(tmp_path / f"a{suffix}")


def test_tied_weights_can_be_written(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    write_state({"a": tied, "b": tied, "c": tied.T}, tmp_path / "a.safetensors", {})
    found = read_state(tmp_path / "a.safetensors")
    assert torch.equal(found["b"], tied) and torch.equal(found["c"], tied.T)


def test_target_that_cannot_be_written_is_a_format_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="can't write"):
        convert_checkpoint(published(tmp_path / "mine.pth"), tmp_path / "file" / "a.safetensors")
