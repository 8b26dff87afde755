"""`vitruvian eval`: networks, checkpoints and runs give a table; what can't be judged is one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

pytest.importorskip("onnxruntime")

from vitruvian.cli.evaluate import evaluate, known, print_table  # noqa: E402
from vitruvian.errors import FormatError, VitruvianError, WeightsError  # noqa: E402
from vitruvian.media.pictures import write_image  # noqa: E402


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    app = App(result_action="return_value")
    app.command(evaluate, name="eval")

    def run(*arguments):
        code = app(["eval", *map(str, arguments)], exit_on_error=False, print_error=False)
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def folder(tmp_path):
    """One picture with one person, as COCO-WholeBody and as COCO."""
    folder = tmp_path / "set"
    folder.mkdir()
    write_image(folder / "1.jpg", np.full((120, 160, 3), 90, np.uint8))
    lists = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    person = {"id": 1, "image_id": 1, "bbox": [20, 10, 80, 100], "area": 4000, "iscrowd": 0}
    person |= {key: [v for i in range(k) for v in (30 + i, 40 + i, 2)] for key, k in lists.items()}
    person |= {f"{part}_valid": True for part in ("foot", "face", "lefthand", "righthand")}
    images = [{"id": 1, "file_name": "1.jpg", "width": 160, "height": 120}]
    document = json.dumps({"images": images, "annotations": [person], "categories": []})
    (folder / "wholebody.json").write_text(document)
    (folder / "person_keypoints_val2017.json").write_text(document)
    (folder / "val2017").mkdir()
    write_image(folder / "val2017/1.jpg", np.full((120, 160, 3), 90, np.uint8))
    return folder


def test_packaged_network(run, folder):
    code, out = run("wholebody-s", "--data", folder, "--no-flip-test")
    assert code == 0 and "1 picture, 1 person" in out and "true boxes" in out and "no flip test" in out
    assert [line.split()[0] for line in out.splitlines()[3:]] == ["body", "foot", "face", "hand", "left_hand", "right_hand", "whole"]


def test_onnx_file_on_another_set_with_detections(run, folder, networks, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": 1, "bbox": [20, 10, 80, 100], "score": 0.9}]))
    code, out = run(networks["pose"], "--data", folder, "--dataset", "coco", "--boxes", tmp_path / "boxes.json")
    assert code == 0 and "boxes.json" in out and out.splitlines()[3].startswith("body")


def test_checkpoints_and_runs_are_exported_first(run, folder, networks, tmp_path, monkeypatch):
    """The export itself is stood in for: see the slow test below, and tests/systems."""
    pytest.importorskip("torch")
    import shutil

    from vitruvian.systems import catalogue

    asked = []

    def export(source, target, on_step):
        asked.append(str(source))
        shutil.copyfile(networks["pose"], target)

    monkeypatch.setattr(catalogue, "export", export)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/network.safetensors").touch()
    (tmp_path / "home/checkpoints").mkdir(parents=True)
    (tmp_path / "home/checkpoints/mine.safetensors").touch()
    for model in (tmp_path / "run", tmp_path / "a.pth", "mine"):
        assert run(model, "--data", folder)[0] == 0
    assert asked == [str(tmp_path / "run/network.safetensors"), str(tmp_path / "a.pth"), "mine"]


def test_runs_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert known("wholebody-s") == "wholebody-s" and known("dwpose-t-synth") == "dwpose-t-synth"
    (tmp_path / "runs/dwpose-t-synth").mkdir(parents=True)
    (tmp_path / "runs/dwpose-t-synth/network.safetensors").touch()
    assert known("dwpose-t-synth") == str(Path("runs/dwpose-t-synth"))


def test_a_network_that_nobody_trained_is_not_replaced_by_another(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="recipes/dwpose-t.toml makes it.* packaged network is wholebody-s"):
        run("dwpose-t-synth", "--data", folder)


def test_weights_of_that_id_in_the_store_are_judged(run, folder, networks, tmp_path, monkeypatch):
    from vitruvian.weights.add import add

    monkeypatch.chdir(tmp_path)
    add(networks["pose"], "dwpose-t-synth")
    code, out = run("dwpose-t-synth", "--data", folder)
    assert code == 0 and out.startswith("dwpose-t-synth on")


@pytest.mark.slow
def test_a_real_checkpoint(run, folder, tmp_path):
    torch = pytest.importorskip("torch")
    from vitruvian.systems.checkpoint import write_state
    from vitruvian.systems.pose2d.rtmw import VARIANTS, RTMPose

    torch.manual_seed(0)
    write_state(RTMPose(VARIANTS["nano"]).state_dict(), tmp_path / "run/network.safetensors", {})
    code, out = run(tmp_path / "run", "--data", folder, "--limit", 1)
    assert code == 0 and out.splitlines()[-1].startswith("whole")


def test_what_can_t_be_judged(run, folder, tmp_path):
    with pytest.raises(FormatError, match="expected there"):
        run("wholebody-s", "--data", tmp_path / "nowhere")
    with pytest.raises(WeightsError):
        run("nobody-knows-it", "--data", folder)
    with pytest.raises(WeightsError):
        run(tmp_path / "none.pth", "--data", folder)
    (folder / "halpe_x_v1.json").write_text("{}")
    with pytest.raises(VitruvianError, match="no split 'x'"):
        run("wholebody-s", "--data", folder, "--dataset", "halpe", "--split", "x")


def test_nobody_to_find_is_a_dash(capsys):
    print_table({"body": {"AP": -1.0, "AR": 0.5}, "foot": {"AP": float("nan"), "AR": 1.0}})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["AP", "AR"], ["body", "-", "50.0"], ["foot", "-", "100.0"]]
