"""`vitruvian eval`: networks, checkpoints and runs give a table; what can't be judged is one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

pytest.importorskip("onnxruntime")

import part_sets  # noqa: E402
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
    rows = [line.split()[0] for line in out.splitlines()[3:10]]
    assert rows == ["body", "foot", "face", "hand", "left_hand", "right_hand", "whole"]
    assert [line.split()[0] for line in out.splitlines()[12:]] == ["PCK@0.2", "left_hand", "right_hand", "face"]


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


def test_the_distilled_network_is_there_out_of_the_box(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
    assert code == 0 and out.splitlines()[-1].startswith("face")


@pytest.fixture
def owner_nets():
    return pytest.importorskip("owner_nets", reason="needs onnx")


def test_detectors_on_people_and_their_parts(run, owner_nets, tmp_path):
    code, out = run(owner_nets.heads(tmp_path), "--data", part_sets.crowdhuman(tmp_path / "set"), "--dataset", "crowdhuman")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0 and "2 pictures, 2 people" in out and "association: published" in out
    assert lines[2][:4] == ["AP", "AP50", "AP-toolkit", "MR-2"] and [line[0] for line in lines[3:]] == ["person", "head", "mMR-2"]
    # It sees both people in the empty picture too: precision 1 up to recall 0.5, then 2/3. Its heads are elsewhere.
    assert lines[3][1:3] == ["83.5", "83.5"] and lines[4][1] == "0.0"


def test_the_way_people_face(run, owner_nets, tmp_path):
    code, out = run(owner_nets.facing(tmp_path), "--data", part_sets.mebow(tmp_path / "set"), "--dataset", "mebow")
    assert code == 0 and out.splitlines()[3].split() == ["MEBOW", "2", "2", "0", *["100.0"] * 5, "-", "-"]


def test_instruments_by_the_classes_of_the_data_set(run, owner_nets, tmp_path):
    names = ["Scissors_Head", "Scissors_Body", "Electrichook"]
    boxes = [[40, 40, 20, 20], [60, 40, 120, 18], [30, 10, 160, 45]]
    rows = [{"category_id": i, "bbox": box} for i, box in enumerate(boxes)]
    part_sets.document(
        tmp_path / "set/annotations/cholecystectomy_test.json", *rows, categories=[{"id": i, "name": n} for i, n in enumerate(names)]
    )
    part_sets.pictures(tmp_path / "set/images", "0.png", "1.png")
    code, out = run(owner_nets.instruments(tmp_path), "--data", tmp_path / "set", "--dataset", "hsdb-cholecystectomy", "--limit", 1)
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines()[3:]}
    assert code == 0 and "1 frame" in out and "over the 3 classes" in out and len(table) == 17 + 1
    assert table["Scissors_Body"] == table["Electrichook"] == ["1", "100.0", "100.0"] and table["Ligasure_Head"] == ["0", "-", "-"]
    with pytest.raises(VitruvianError, match="no instruments"):
        run(owner_nets.heads(tmp_path), "--data", tmp_path / "set", "--dataset", "hsdb-cholecystectomy")


def test_detectors_and_poses_are_not_mixed_up(run, owner_nets, networks, folder, tmp_path):
    data = part_sets.crowdhuman(tmp_path / "set")
    with pytest.raises(WeightsError, match="no detector"):
        run(networks["pose"], "--data", data, "--dataset", "crowdhuman")
    with pytest.raises(WeightsError, match="not for poses"):
        run(owner_nets.heads(tmp_path), "--data", folder)
    with pytest.raises(VitruvianError, match="not for poses"):
        run(owner_nets.heads(tmp_path), "--data", data, "--dataset", "crowdhuman", "--multi-crop")
    with pytest.raises(VitruvianError, match="which way people face"):
        run(owner_nets.heads(tmp_path), "--data", part_sets.mebow(tmp_path / "mebow"), "--dataset", "mebow")


def test_a_network_for_clips_sees_the_frames_before_and_after(run, tmp_path):
    network = pytest.importorskip("clip_nets", reason="needs onnx").fractions(tmp_path)
    data = posetrack(tmp_path / "set")
    code, out = run(network, "--data", data, "--dataset", "posetrack18")
    row = out.splitlines()[-1].split()
    assert code == 0 and "clips of 3 frames" in out and row[0] == "mAP" and set(row[1:]) == {"100.0"}
    with pytest.raises(VitruvianError, match="clips: leave"):
        run(network, "--data", data, "--dataset", "posetrack18", "--multi-crop")


def posetrack(folder):
    """A film of three grey frames with one person in the middle one, whose joints lie where as bright a crop puts them."""
    names = [f"images/val/film/{number:06d}.jpg" for number in range(3)]
    (folder / "images/val/film").mkdir(parents=True)
    for name in names:
        write_image(folder / name, np.full((120, 160, 3), 90, np.uint8))
    images = [{"id": i, "file_name": name, "width": 160, "height": 120, "vid_id": "film", "frame_id": i} for i, name in enumerate(names)]
    person = {
        "id": 1,
        "image_id": 1,
        "track_id": 0,
        "bbox": [20, 10, 80, 100],
        "bbox_head": [50, 10, 20, 20],
        "keypoints": [43, 37, 2] * 17,
    }
    document = {"images": images, "annotations": [person | {"category_id": 1}], "categories": []}
    (folder / "annotations/val").mkdir(parents=True)
    (folder / "annotations/val/film.json").write_text(json.dumps(document))
    return folder


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


def test_rows_of_other_columns_and_plain_numbers(capsys):
    print_table({"a": {"AP": 0.5}, "a very long name": {"MAE": 13.128}}, ("MAE",))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["AP", "MAE"], ["a", "50.0", "-"], ["a", "very", "long", "name", "-", "13.13"]]
