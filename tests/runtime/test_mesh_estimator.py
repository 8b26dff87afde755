"""A network for meshes on the ground floor: pictures in, everybody's body out."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mesh_network import people, write_network
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.geometry.camera import pinhole
from vitruvian.media import Video
from vitruvian.media.pictures import write_image
from vitruvian.runtime import Detector
from vitruvian.runtime.mesh import MeshEstimator
from vitruvian.weights import Card
from vitruvian.weights.card import ASSETS

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
    with pytest.raises(WeightsError, match="its card says"):
        MeshEstimator(replace(card, input_size=(32, 16)), device="cpu")
    with pytest.raises(VitruvianError, match="--body anny"):
        MeshEstimator(replace(card, body="smplx-neutral"), body="compact", device="cpu")
    with pytest.raises(WeightsError, match="export it again"):
        MeshEstimator(write_network(tmp_path / "other.onnx", people(1), inputs=("image", "rays")), device="cpu")


def test_the_ground_floor_needs_no_torch(network):
    code = (
        "import sys, numpy as np; from vitruvian.runtime.mesh import MeshEstimator;"
        f"MeshEstimator({str(network)!r}, device='cpu')([np.zeros((48, 64, 3), np.uint8)]); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.slow  # exporting takes seconds
@pytest.mark.parametrize("body, named, posed", [("", "smplx-neutral", "smplx-random"), ("anny", "compact", "compact")])
def test_an_exported_network_of_crops_runs_with_the_detector_that_ships(body, named, posed, tmp_path, monkeypatch):
    """OSX with random weights: from its checkpoint to bodies of the people that the detector finds, posed by a file of the user's, or by
    the body that ships."""
    torch = pytest.importorskip("torch")
    from random_body import random_body
    from vitruvian.body.bodyfile import save_body
    from vitruvian.capture.meshes import capture_meshes
    from vitruvian.systems.catalogue import export
    from vitruvian.systems.mesh.osx import OSX, VARIANTS

    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path))
    if not body:
        save_body(random_body("smplx"), tmp_path / "bodies/smplx-neutral.npz")
    torch.manual_seed(0)
    torch.save({"network": OSX(VARIANTS["nano-wo-decoder"]).state_dict()}, tmp_path / "osx.pth")
    found, card, worst = export(tmp_path / "osx.pth", tmp_path / "osx.onnx", body=body)
    assert (found.system.name, card.body) == ("osx", named) and worst < 2e-2
    estimator = MeshEstimator(tmp_path / "osx.onnx", device="cpu", threads=1)
    assert [one.id for one in estimator.cards] == ["osx", "person-parts-s"]
    with Video(ASSETS / "sample.mp4") as video:
        frame = next(iter(video)).image
    (seen,) = estimator([frame])
    boxes = Detector("person-parts-s", device="cpu", threads=1)([frame])[0]
    assert len(boxes) >= len(seen) > 0 and np.isfinite(seen.parameters.translation).all()
    write_image(tmp_path / "a.png", frame)
    take = capture_meshes(tmp_path / "a.png", network=tmp_path / "osx.onnx", device="cpu")
    assert take.body == posed and len(take.people) == len(seen)
