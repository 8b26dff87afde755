"""`vitruvian convert-checkpoint` and `vitruvian export`: what is printed, and what becomes of errors."""

import pytest

torch = pytest.importorskip("torch")

from cyclopts import App  # noqa: E402

from vitruvian.cli.checkpoint import convert_checkpoint, export  # noqa: E402
from vitruvian.errors import WeightsError  # noqa: E402
from vitruvian.systems.pose2d.rtmw import Config, RTMPose  # noqa: E402
from vitruvian.weights import Card  # noqa: E402


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    app = App(result_action="return_value")
    app.command(convert_checkpoint)
    app.command(export)

    def run(*arguments):
        code = app([str(argument) for argument in arguments], exit_on_error=False, print_error=False)
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def source(tmp_path):
    model = RTMPose(Config(0.125, 0.167, (64, 96), keypoints=17, token=32, shared=16, kernel=3))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def test_checkpoint_becomes_an_id_that_can_be_exported(run, source, tmp_path):
    code, out = run("convert-checkpoint", source)
    assert code == 0 and "rtmpose-nano-17-96x64" in out and out.splitlines()[-1].split() == ["id", "mine"]
    code, out = run("export", "mine", "-o", tmp_path / "net.onnx")
    assert code == 0 and "largest difference from torch: " in out
    assert float(out.splitlines()[-1].split()[-1]) < 1e-3
    assert Card.load(tmp_path / "net.json").skeleton == "coco-17"


def test_output_is_written_where_it_was_asked_for(run, source, tmp_path):
    code, out = run("convert-checkpoint", source, "-o", tmp_path / "a.safetensors", "--skeleton", "ap10k-17")
    assert code == 0 and str(tmp_path / "a.safetensors") in out and "ap10k-17" in out
    assert (tmp_path / "a.json").is_file()


def test_unknown_checkpoint_is_an_expected_error(run, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no known system"):
        run("convert-checkpoint", tmp_path / "a.pth")


def test_a_keypoint_set_of_ones_own_is_given_by_its_file(run, source, tmp_path):
    points = "\n".join(f"spot{i} = {{ vertices = [{i}] }}" for i in range(17))
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n[points]\n{points}\n')
    code, _ = run("export", source, "-o", tmp_path / "net.onnx", "--skeleton", tmp_path / "mine.toml")
    card = Card.load(tmp_path / "net.json")
    assert code == 0 and card.skeleton == "mine" and card.keypoint_set.names == tuple(f"spot{i}" for i in range(17))
