import hashlib
import zipfile

import numpy as np
import pytest

from onnx_bytes import onnx_bytes
from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import Card, store
from vitruvian.weights.add import add

NET = onnx_bytes(b"the network", 20000)
SUM = hashlib.sha256(NET).hexdigest()


@pytest.fixture
def net(tmp_path, home):
    """A file that came from elsewhere."""
    path = tmp_path / "came.onnx"
    path.write_bytes(NET)
    return path


def test_a_file_joins_under_the_id_it_is_given(net, describe, home):
    describe(sha256=SUM)
    card = add(net, "net")
    assert card == store.locate("net") and card.file == str(home / "net.onnx") and net.exists()


def test_a_file_is_known_by_its_content(net, describe):
    describe(sha256=SUM)
    assert add(net).id == "net"


@pytest.mark.parametrize("name", ["rtmo-s.onnx", "rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211.zip"])
def test_a_published_download_is_known_by_its_name(tmp_path, net, name):
    path = tmp_path / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(net, "20231211/rtmo/end2end.onnx")
    else:
        net.rename(path)
    assert (add(path).id, store.locate("rtmo-s").sha256) == ("rtmo-s", SUM)


def test_another_file_than_the_known_one_is_refused(net, describe, home):
    describe(sha256="0" * 64)
    with pytest.raises(WeightsError, match="another file"):
        add(net, "net")
    assert not (home / "net.onnx").exists()


def test_an_unknown_file_brings_its_card(tmp_path, net, describe):
    describe(folder=tmp_path, id="came", source="my own training")
    card = add(net)
    assert (card.id, card.source, store.locate("came").source) == ("came", "my own training", "my own training")
    assert (add(net, "mine").id, store.locate("mine").source) == ("mine", "my own training")


def test_a_file_without_a_card_is_described_by_its_graph(tmp_path, home):
    nets = pytest.importorskip("nets", reason="needs onnx")
    (tmp_path / "made").mkdir()
    made = nets.pose(tmp_path / "made")
    made.with_suffix(".json").unlink()
    card = add(made, "mine")
    assert (card.task, Card.load(home / "mine.json")) == ("pose2d", card)


def test_an_augmenter_gets_its_mean_and_std(tmp_path, describe):
    describe(id="smooth", task="augmenter", input_size=(0, 0), mean=(), std=(), sha256=SUM)
    path = tmp_path / "v1.onnx"
    path.write_bytes(NET)
    np.save(tmp_path / "v1.mean.npy", np.arange(3.0))
    np.save(tmp_path / "v1.std.npy", np.ones(3))
    assert add(path).mean == (0.0, 1.0, 2.0)
    assert store.locate("smooth").std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("array", [np.array([{}], object), np.array(["a"]), np.array([np.nan]), np.ones(4)])
def test_an_augmenter_with_bad_numbers_is_refused(tmp_path, describe, array):
    describe(id="smooth", task="augmenter", input_size=(0, 0), mean=(), std=(), sha256=SUM)
    (tmp_path / "v1.onnx").write_bytes(NET)
    np.save(tmp_path / "v1.mean.npy", array, allow_pickle=True)
    np.save(tmp_path / "v1.std.npy", np.ones(3))
    with pytest.raises(FormatError):
        add(tmp_path / "v1.onnx")


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04", NET[:-1]])
def test_what_is_no_network_is_refused_and_leaves_nothing(tmp_path, home, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(WeightsError):
        add(tmp_path / "x.onnx")
    assert not home.exists() or not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_missing_file_and_a_bad_id_are_named(tmp_path, net):
    with pytest.raises(WeightsError, match="gone.onnx"):
        add(tmp_path / "gone.onnx")
    with pytest.raises(WeightsError, match="../net"):
        add(net, "../net")


@pytest.mark.shared
def test_the_real_augmenter_is_known(home):
    from pathlib import Path

    folder = Path(__file__).parents[3] / "shared/data/models"
    if not folder.is_dir():
        pytest.skip("no ../shared/data")
    card = add(folder / "opencap-augmenter-lower-v0.3.onnx")
    assert (card.id, card.task, len(card.mean), len(card.std)) == ("opencap-augmenter-lower", "augmenter", 47, 47)
