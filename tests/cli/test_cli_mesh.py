"""`vitruvian capture --mesh NETWORK`: one network for everything, from the command line."""

import numpy as np
import pytest

from mesh_network import people, write_network
from scenes import walk
from vitruvian.cli import main
from vitruvian.take import Take

pytest.importorskip("onnx")


@pytest.fixture
def network(tmp_path):
    return str(write_network(tmp_path / "two.onnx", people(2)))


def test_mesh_followed_by_a_network_runs_that_one_alone(tmp_path, network, capsys):
    walk(tmp_path / "walk.mp4", np.arange(5) / 30)
    code = main(["capture", str(tmp_path / "walk.mp4"), "-o", str(tmp_path / "out"), "--mesh", network, "--device", "cpu"])
    assert code == 0 and "bodies.glb" in capsys.readouterr().out
    take = Take.load(tmp_path / "out" / "take.npz")
    assert take.cards == ("two",) and take.body == "compact" and len(take.tracks) == 2


def test_a_network_for_meshes_and_a_calibration_do_not_go_together(tmp_path, network, capsys):
    walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    code = main(["capture", str(tmp_path / "walk.mp4"), "--mesh", network, "--calibration", "cameras.toml"])
    assert code != 0 and "one camera" in capsys.readouterr().err
