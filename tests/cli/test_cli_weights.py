"""`vitruvian weights`, without a network: what is printed, and what the exit codes say."""

import pytest

from onnx_bytes import onnx_bytes
from vitruvian.cli.weights import app
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.weights import card_for

EMBEDDED_IDS = ["dwpose-t-synth", "lift-s", "person-parts-n", "person-parts-s", "wholebody-n", "wholebody-s"]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    for name in ("VITRUVIAN_SHARED", "VITRUVIAN_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VITRUVIAN_OFFLINE", "1")


@pytest.fixture
def run(capsys):
    def run(*arguments):
        """Exit code, stdout, stderr."""
        code = app([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code or 0, printed.out, printed.err

    return run


@pytest.fixture
def net(tmp_path):
    (tmp_path / "rtmo-s.onnx").write_bytes(onnx_bytes())
    return tmp_path / "rtmo-s.onnx"


def ids(out):
    return [line.split()[0] for line in out.splitlines()]


def test_list_prints_a_line_for_each_network(run):
    code, out, _ = run("list")
    assert code == 0 and {"wholebody-s", "rtmw-l-384", "yolox-m-humanart", "opencap-augmenter-upper"} <= set(ids(out))


def test_list_filters(run):
    assert ids(run("list", "--task", "one-stage")[1]) == ["rtmo-s", "rtmo-m", "rtmo-l"]
    assert ids(run("list", "--subject", "face")[1]) == ["rtmpose-t-face", "rtmpose-s-face", "rtmpose-m-face"]
    assert ids(run("list", "--licence", "permissive")[1]) == EMBEDDED_IDS
    assert ids(run("list", "--here", "--task", "pose2d")[1]) == ["dwpose-t-synth", "wholebody-n", "wholebody-s"]


def test_an_empty_list_is_no_error(run):
    assert run("list", "--task", "pose3d", "--licence", "permissive") == (0, "", "")


def test_info_prints_licences_and_addresses(run):
    code, out, _ = run("info", "dwpose-l-384")
    assert code == 0
    for words in ("coco-wholebody-133", "288x384", "Apache-2.0", "non-commercial", "66.5", "https://huggingface.co/Tau-J", "not published"):
        assert words in out


def test_long_names_of_figures_do_not_push_the_table_aside(run):
    lines = run("info", "wholebody-s")[1].splitlines()
    figures = card_for("wholebody-s").figures
    assert max(map(len, figures)) > 20 and lines[0] == "id         wholebody-s"
    assert set(lines) >= {f"  {value:<8g} {name}" for name, value in figures.items()}


def test_a_file_is_added_found_verified_and_fetched(run, net, tmp_path):
    assert run("add", net)[0] == 0
    assert run("path", "rtmo-s")[1].strip() == str(tmp_path / "home/weights/rtmo-s.onnx")
    assert "rtmo-s" in ids(run("list", "--here")[1])
    assert run("fetch", "rtmo-s")[0] == 0
    assert ids(run("verify")[1]) == [*EMBEDDED_IDS, "rtmo-s"]


def test_verify_says_which_file_is_wrong(run, net, tmp_path):
    run("add", net, "--id", "rtmo-m")
    (tmp_path / "home/weights/rtmo-m.onnx").write_bytes(onnx_bytes(b"other"))
    code, out, err = run("verify")
    assert code == 1 and "wholebody-s" in out and err.startswith("error: ") and "rtmo-m" in err and err.count("\n") == 1


def test_fetch_goes_on_with_the_other_networks(run):
    code, out, err = run("fetch", "rtmo-s", "nonsense", "wholebody-s")
    assert code == 2 and ids(out) == ["wholebody-s"]
    assert err.count("error: ") == err.count("\n") == 2 and "download.openmmlab.com" in err and "'nonsense'" in err


def test_path_of_a_network_that_is_not_here_is_an_error(run):
    with pytest.raises(WeightsError, match="vitruvian weights fetch rtmo-l"):
        run("path", "rtmo-l")


def test_reduce_writes_a_network_and_says_how_far_it_moved(run, tmp_path):
    pytest.importorskip("onnx")
    out = tmp_path / "small.onnx"
    code, printed, _ = run("reduce", "person-parts-s", "--precision", "fp16", "-o", out)
    assert code == 0 and out.is_file() and out.with_suffix(".json").is_file()
    assert printed.startswith(f"small  {out}  7.") and "without a counterpart" in printed


def test_reduce_takes_several_pictures(run, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(VitruvianError, match="gone"):
        run("reduce", "person-parts-s", "-o", tmp_path / "small.onnx", "--calibrate", tmp_path / "gone.png", tmp_path / "lost.png")
    assert list(tmp_path.glob("small*")) == []


def test_info_names_the_parent_of_a_reduced_network(run, tmp_path):
    pytest.importorskip("onnx")
    run("reduce", "person-parts-s", "--precision", "fp16", "-o", tmp_path / "home/weights/small.onnx")
    printed = run("info", "small")[1]
    assert f"person-parts-s {card_for('person-parts-s').sha256[:12]}" in printed and "fp16" in printed
