"""`vitruvian capture --mesh-network NETWORK`: one network for everything, from the command line."""

import numpy as np
import pytest

from mesh_network import people, write_network
from scenes import HEIGHT, WIDTH, walk
from vitruvian.cli import main
from vitruvian.formats.calibration import write_calibration
from vitruvian.geometry.camera import Camera, pinhole
from vitruvian.take import Take

pytest.importorskip("onnx")


@pytest.fixture
def network(tmp_path):
    return str(write_network(tmp_path / "two.onnx", people(2)))


def test_a_network_for_meshes_runs_alone(tmp_path, network, capsys):
    walk(tmp_path / "walk.mp4", np.arange(5) / 30)
    code = main(["capture", str(tmp_path / "walk.mp4"), "-o", str(tmp_path / "out"), "--mesh-network", network, "--device", "cpu"])
    assert code == 0 and "bodies.glb" in capsys.readouterr().out
    take = Take.load(tmp_path / "out" / "take.npz")
    assert take.cards == ("two",) and take.body == "compact" and len(take.tracks) == 2


def test_mesh_followed_by_a_network_is_short_for_mesh_network(tmp_path, network, capsys):
    walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    assert main(["capture", str(tmp_path / "walk.mp4"), "-o", str(tmp_path / "out"), "--mesh", network, "--device", "cpu"]) == 0
    assert Take.load(tmp_path / "out" / "take.npz").cards == ("two",)
    assert main(["capture", str(tmp_path / "walk.mp4"), "-o", str(tmp_path / "other"), "--mesh", "multi-hmr-x"]) == 2
    assert "multi-hmr-x" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_a_network_for_meshes_sees_one_camera_whose_calibration_tells_its_view(tmp_path, network, capsys):
    films = [str(walk(tmp_path / f"{name}.mp4", np.arange(2) / 30)) for name in ("left", "right")]
    asked = ["--mesh-network", network, "--device", "cpu", "--calibration", str(tmp_path / "c.toml"), "-o", str(tmp_path / "out")]
    write_calibration([Camera(pinhole((WIDTH, HEIGHT), 48), size=(WIDTH, HEIGHT))], tmp_path / "c.toml")
    assert main(["capture", *films, *asked]) == 2 and "one camera" in capsys.readouterr().err
    assert main(["capture", films[0], *asked]) == 0
    take = Take.load(tmp_path / "out" / "take.npz")
    assert abs(take.fov - 48) < 1e-6 and take.fov_source == "given"


@pytest.mark.parametrize(
    "options",
    ["--detector person-parts-s", "--pose wholebody-s", "--hands hands.onnx", "--face face.onnx", "--flip-test", "--detect-every 3"]
    + ["--repair-swaps", "--ground", "--realtime", "--lift lift-s", "--offsets auto"],
)
def test_options_of_other_networks_mean_nothing_with_it(tmp_path, network, capsys, options):
    walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    code = main(["capture", str(tmp_path / "walk.mp4"), "-o", str(tmp_path / "out"), "--mesh-network", network, *options.split()])
    name = options.split()[0]
    assert (
        code == 2 and f"mean nothing with --mesh-network, which alone finds the people and their bodies: {name};" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_a_network_for_meshes_and_no_meshes_contradict_each_other(tmp_path, network, capsys):
    assert main(["capture", "walk.mp4", "--mesh-network", network, "--no-mesh"]) == 2
    assert "wants none" in capsys.readouterr().err


def test_a_film_that_follows_mesh_is_a_film(tmp_path, networks, capsys):
    film = walk(tmp_path / "short.mp4", np.arange(2) / 30)
    options = ["--detector", str(networks["detector"]), "--pose", str(networks["pose"]), "--device", "cpu"]
    assert main(["capture", "--mesh", str(film), "-o", str(tmp_path / "out"), *options]) == 0
    assert (tmp_path / "out" / "take.npz").is_file()
