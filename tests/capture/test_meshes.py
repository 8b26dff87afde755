"""A capture by a network for meshes alone: bodies with ids in the take, the files of bodies, and bodies that are smooth over time."""

import numpy as np
import pytest

from mesh_network import people, write_network
from scenes import HEIGHT, WIDTH, film
from vitruvian.capture.meshes import capture_meshes, smooth_bodies
from vitruvian.capture.outputs import LIST
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.media import write_image
from vitruvian.runtime.mesh import MeshEstimator
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import People, Take

pytest.importorskip("onnx")
TIMES = np.arange(6) / 30


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("mesh") / "two.onnx", people(2))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return film(tmp_path_factory.mktemp("film") / "film.mp4", TIMES, [black] * len(TIMES))


def test_a_video_becomes_a_take_with_bodies_and_their_files(network, video, tmp_path):
    take = capture_meshes(video, tmp_path / "out", network=network, fov=50, device="cpu")
    assert take.body == "compact" and take.space == "camera" and take.fov == 50 and take.cards == ("two",)
    assert take.tracks.tolist() == [1, 2] and len(take.people) == 12
    assert np.isfinite(take.people.body_pose).all() and take.people.points.shape == (12, 133, 3)
    depths = take.people.body_translation[take.people.frame == 0][:, 2]
    assert sorted(depths.round(1)) == pytest.approx([4.0, 5.0], abs=0.2)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"take.npz", "overlay.mp4", "keypoints.json", "bodies.glb"} <= written
    assert {"skeleton_person1.bvh", "markers_person2.trc"} <= written
    again = Take.load(tmp_path / "out" / "take.npz")
    assert again.body == "compact" and np.array_equal(again.people.body_pose, take.people.body_pose)


def test_pictures_are_neither_tracked_nor_smoothed(network, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((60, 90, 3), np.uint8))
    take = capture_meshes(tmp_path / "a.png", tmp_path / "out", network=network, device="cpu")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"take.npz", "overlay.png", "keypoints.json", "bodies.glb", LIST}
    assert (take.people.track == -1).all() and len(take.people) == 2
    expected = MeshEstimator(network, device="cpu")([np.zeros((60, 90, 3), np.uint8)])[0]
    assert np.allclose(take.people.points, expected.points, atol=1e-5)


def test_nobody_is_an_answer(network, video, tmp_path):
    take = capture_meshes(video, tmp_path / "out", network=network, threshold=1.0, device="cpu")
    assert len(take.people) == 0 and len(take.times) == len(TIMES) and not (tmp_path / "out" / "bodies.glb").exists()


def test_live_sources_and_other_networks_are_refused(network, video):
    with pytest.raises(VitruvianError):
        capture_meshes("camera:0", network=network)
    with pytest.raises(WeightsError, match="no meshes"):
        capture_meshes(video, network="lift-s")


def shaky(frames=40, gap=()):
    """A take of one person who turns slowly and comes nearer, seen with trembling angles, depth and shape; and the truth."""
    random, times = np.random.default_rng(0), np.arange(frames) / 30
    _, heads, _, _ = people(1)
    pose = np.zeros((frames, 69, 3))
    pose[:, 0, 0] = np.pi  # upright in camera axes
    pose[:, 17, 0] = 0.5 * np.sin(2 * np.pi * 0.7 * times)
    place = heads + [0, 0.6, 0] + np.stack([0.3 * times, 0 * times, -0.4 * times], 1)
    said = pose + random.normal(0, 0.05, pose.shape)
    said_place = place * (1 + random.normal(0, 0.05, (frames, 1)))
    keep = np.setdiff1d(np.arange(frames), gap)
    rows = People(
        frame=keep, track=np.ones(len(keep)), boxes=np.tile([10, 10, 200, 200.0], (len(keep), 1)), scores=np.full(len(keep), 0.8),
        keypoints=np.zeros((len(keep), 133, 2)), confidence=np.ones((len(keep), 133)), points=np.zeros((len(keep), 133, 3)),
        body_pose=said[keep], body_shape=random.normal(0, 0.3, (len(keep), 64)), body_expression=np.zeros((len(keep), 52)),
        body_translation=said_place[keep],
    )  # fmt: skip
    sizes = np.tile([640, 480], (frames, 1))
    return Take(rows, COCO_WHOLEBODY_133, times, sizes, space="camera", body="compact", fov=60.0), pose, place


def test_bodies_become_smooth_and_points_are_theirs(network):
    take, pose, place = shaky()
    estimator = MeshEstimator(network, device="cpu")
    smooth = smooth_bodies(take, estimator)
    before, after = (np.abs(t.people.body_pose[:, 1:] - pose[:, 1:]).mean() for t in (take, smooth))
    assert after < 0.7 * before
    away = [np.abs(np.diff(t.people.body_translation[:, 2])).mean() for t in (take, smooth)]
    assert away[1] < 0.2 * away[0] and np.abs(smooth.people.body_translation - place).mean() < 0.1
    assert len(np.unique(smooth.people.body_shape, axis=0)) == 1
    model, people_ = estimator.body, smooth.people
    posed = model.forward(people_.body_pose, people_.body_shape, None, people_.body_translation)
    assert np.allclose(estimator.points(posed.vertices, posed.joints), people_.points, atol=1e-3)


def test_short_gaps_are_filled(network):
    smooth = smooth_bodies(shaky(gap=(10, 11, 12))[0], MeshEstimator(network, device="cpu"))
    assert len(smooth.people) == 40 and np.isfinite(smooth.people.body_pose).all()
    filled = smooth.people.confidence[10:13].max()
    assert 0 < filled < 0.8
