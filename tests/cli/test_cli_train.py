"""`vitruvian train`: a recipe becomes networks in a folder."""

import json

import numpy as np
import pytest
from cyclopts import App

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vitruvian.cli.train import train  # noqa: E402
from vitruvian.errors import FormatError  # noqa: E402
from vitruvian.media.pictures import write_image  # noqa: E402

RECIPE = """
name = "small"
system = "rtmpose"
[data]
workers = 0
augmentation = "dwpose"
late = 0.5
[[stages]]
name = "labels"
variant = "nano"
coach = 0.3
batch = 4
schedule = { steps = 5, warmup = 1, report_every = 1, save_every = 2 }
"""


@pytest.fixture
def run(capsys, tmp_path):
    app = App(result_action="return_value")
    app.command(train)
    (tmp_path / "small.toml").write_text(RECIPE)

    def run(*arguments):
        code = app(["train", *map(str, arguments)], exit_on_error=False, print_error=False)
        return code, capsys.readouterr().out

    return run


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / "labels/log.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on(run, tmp_path):
    code, out = run(tmp_path / "small.toml", "-o", tmp_path / "run", "--steps", 2)
    assert code == 0 and out.splitlines()[-1].split() == ["small", str(tmp_path / "run/network.safetensors")]
    assert steps(tmp_path / "run") == [1, 2]
    (tmp_path / "run/labels/network.safetensors").unlink()  # as if it had been stopped
    run(tmp_path / "small.toml", "-o", tmp_path / "run", "--steps", 3)
    assert steps(tmp_path / "run") == [1, 2, 3]


def test_coco_wholebody_in_the_place_of_figures(run, tmp_path):
    (tmp_path / "set").mkdir()
    write_image(tmp_path / "set/1.jpg", np.full((120, 160, 3), 90, np.uint8))
    lists = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    person = {"id": 1, "image_id": 1, "bbox": [20, 10, 80, 100], "area": 4000, "iscrowd": 0}
    person |= {key: [v for i in range(k) for v in (30 + i, 40 + i, 2)] for key, k in lists.items()}
    person |= {f"{part}_valid": True for part in ("foot", "face", "lefthand", "righthand")}
    images = [{"id": 1, "file_name": "1.jpg", "width": 160, "height": 120}]
    (tmp_path / "set/wholebody.json").write_text(json.dumps({"images": images, "annotations": [person]}))
    code, _ = run(tmp_path / "small.toml", "-o", tmp_path / "run", "--steps", 2, "--data", tmp_path / "set")
    assert code == 0
    report = json.loads((tmp_path / "run/labels/log.jsonl").read_text().splitlines()[-1])
    assert {"body_px", "face_px", "left_hand_px"} <= report.keys()


def test_missing_data_is_an_expected_error(run, tmp_path):
    with pytest.raises(FormatError, match="expected there"):
        run(tmp_path / "small.toml", "-o", tmp_path / "run", "--data", tmp_path / "nowhere")
