"""A network for meshes on the ground floor: pictures in, everybody's body out."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mesh_network import people, write_network
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.geometry.camera import pinhole
from vitruvian.runtime.mesh import MeshEstimator
from vitruvian.weights import Card

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("mesh") / "two.onnx", people(2))


def picture(width=640, height=480):
    return np.zeros((height, width, 3), np.uint8)


def test_people_are_seen_by_the_camera_that_was_given(network):
    estimate = MeshEstimator(network, device="cpu", max_batch=2)
    camera = np.array([[900.0, 0, 300], [0, 900, 200], [0, 0, 1]])
    plain, known, other = estimate([picture(), picture(), picture(300, 400)], [None, camera, None])
    assert len(plain) == len(known) == len(other) == 2
    assert np.allclose(plain.points, known.points) and not np.allclose(plain.keypoints, known.keypoints)
    nose = known.points[0, 0] @ camera.T
    assert np.allclose(known.keypoints[0, 0], nose[:2] / nose[2], atol=1e-2)
    assert (other.boxes >= 0).all() and (other.boxes[:, 2] <= 300).all()


def test_the_assumed_camera_sees_60_degrees_across_the_longer_side():
    camera = pinhole((300, 400), 60)
    assert 2 * np.degrees(np.arctan(200 / camera[0, 0])) == pytest.approx(60) and camera[:2, 2].tolist() == [149.5, 199.5]


def test_threshold_and_no_pictures(network):
    assert [len(found) for found in MeshEstimator(network, score_threshold=0.85, device="cpu")([picture()])] == [1]
    assert MeshEstimator(network, device="cpu")([]) == []


def test_senseless_input_is_refused(network):
    estimate = MeshEstimator(network, device="cpu")
    with pytest.raises(VitruvianError, match="cameras"):
        estimate([picture()], [])
    with pytest.raises(VitruvianError):
        estimate([np.zeros((4, 4), np.uint8)])


def test_other_networks_are_refused(network, tmp_path):
    card = Card.load(network.with_suffix(".json"))
    with pytest.raises(WeightsError, match="no meshes"):
        MeshEstimator("lift-s")
    with pytest.raises(WeightsError, match="squares"):
        MeshEstimator(replace(card, input_size=(32, 16)))
    with pytest.raises(WeightsError, match="export it again"):
        MeshEstimator(write_network(tmp_path / "other.onnx", people(1), inputs=("image", "rays")), device="cpu")


def test_the_ground_floor_needs_no_torch(network):
    code = (
        "import sys, numpy as np; from vitruvian.runtime.mesh import MeshEstimator;"
        f"MeshEstimator({str(network)!r}, device='cpu')([np.zeros((48, 64, 3), np.uint8)]); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
