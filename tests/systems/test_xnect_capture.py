"""A film in, XNect's skeletons out; networks that know who walks there stand for trained ones."""

import csv

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vitruvian.codecs.part_affinity import bones  # noqa: E402
from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.formats.bvh import read_bvh  # noqa: E402
from vitruvian.media import VideoWriter  # noqa: E402
from vitruvian.nn.selecsls import SelecSLS  # noqa: E402
from vitruvian.systems.checkpoint import write_state  # noqa: E402
from vitruvian.systems.pose3d import xnect_capture as module  # noqa: E402
from vitruvian.systems.pose3d.xnect import CODE_BONES, VARIANTS, Config, Maps, codec  # noqa: E402
from vitruvian.systems.pose3d.xnect_capture import capture_xnect, read_network  # noqa: E402
from vitruvian.systems.pose3d.xnect_fit import Camera  # noqa: E402
from vitruvian.systems.pose3d.xnect_skeleton import (  # noqa: E402
    ANGLES,
    MEAN_LENGTHS,
    PELVIS,
    Posture,
    bone_lengths,
    joints,
    rest_bones,
)
from vitruvian.take import Take  # noqa: E402

SIZE, FRAMES = (300, 240), 14


def people(frame: int, count: int = 2) -> np.ndarray:
    """(count, 21, 3): side by side, swinging alike, the first nearer."""
    swing = np.clip(0.3 * np.sin(2 * np.pi * frame / 30 + np.arange(len(ANGLES))), ANGLES.low, ANGLES.high)
    place = np.array([[-0.7 + 0.01 * frame, 0, 4.0], [0.8, 0, 4.6]])[:count]
    posture = Posture(place, np.tile(np.eye(3), (count, 1, 1)), np.tile(swing, (count, 1)))
    return joints(posture, np.tile(rest_bones(MEAN_LENGTHS[None]), (count, 1, 1)))


class Knowing(torch.nn.Module):
    """Stage I and II of people whom it knows, for the input that the picture becomes; a picture's brightness tells which frame it is."""

    def __init__(self, count: int):
        super().__init__()
        self.config, self.count, self.one = Config(), count, torch.nn.Parameter(torch.zeros(1))
        self.zoom = min(512 / SIZE[0], 320 / SIZE[1])

    def forward(self, image):
        self.frame = round(float((image[0, 0, 100, 100] * 58.395 + 123.675) / 10))
        points = people(self.frame, self.count)
        pixels = (Camera.guess(SIZE).project(points[:, :14]) + 0.5) * self.zoom - 0.5
        maps = codec(self.config).encode(pixels, np.ones((self.count, 14), bool), bones(points, CODE_BONES))
        return Maps(*(torch.from_numpy(x)[None] for x in (maps.heatmaps, maps.affinity, maps.codes)))

    def two(self, features):
        points = people(self.frame, 1)[0]
        return torch.from_numpy(points - points[PELVIS]).float().expand(len(features), -1, -1)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("xnect") / "film.mp4"
    with VideoWriter(path, *SIZE, 30) as writer:
        for frame in range(FRAMES):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 10 * frame, np.uint8), frame / 30)
    return path


def knowing(monkeypatch, count):
    monkeypatch.setattr(module, "read_network", lambda weights: Knowing(count))


def test_a_film_becomes_skeletons_of_fixed_bones_in_metres(film, tmp_path, monkeypatch):
    knowing(monkeypatch, 2)
    told = []
    take = capture_xnect(film, "any", tmp_path / "out", on_progress=told.append)
    assert take.space == "camera" and take.fov_source == "assumed" and len(take.times) == FRAMES and told[-1].done == FRAMES
    assert take.tracks.tolist() == [1, 2] and len(take.people) == 2 * FRAMES
    last = take.people.at(FRAMES - 1)
    truth = people(FRAMES - 1)
    near = np.argsort(last.points[:, PELVIS, 2])
    np.testing.assert_allclose(last.points[near][..., :2], truth[..., :2], atol=0.06)
    np.testing.assert_allclose(last.points[near][..., 2], truth[..., 2], atol=0.25)
    np.testing.assert_allclose(last.keypoints[near], Camera.guess(SIZE).project(truth), atol=2.5)
    for track in (1, 2):
        lengths = bone_lengths(take.people.of(track).points.astype(np.float64), symmetric=False)
        assert (lengths.std(0) < 1e-5).all()  # of float32
    assert Take.load(tmp_path / "out" / "take.npz").skeleton.name == "xnect-21"
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        *("angles.csv", "overlay.mp4", "skeleton_person1.bvh", "skeleton_person2.bvh", "take.npz")
    ]
    assert len(read_bvh(tmp_path / "out" / "skeleton_person1.bvh")) == FRAMES


def test_angles_are_those_of_the_skeleton(film, tmp_path, monkeypatch):
    knowing(monkeypatch, 1)
    capture_xnect(film, "any", tmp_path, overlay=False)
    with (tmp_path / "angles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == pytest.approx(np.arange(FRAMES) / 30, abs=1e-3) and {row["person"] for row in rows} == {
        "1"
    }
    knee = ANGLES.names.index("right_knee")
    swing = 0.3 * np.sin(2 * np.pi * (FRAMES - 1) / 30 + knee)
    assert float(rows[-1]["right_knee"]) == pytest.approx(np.degrees(max(swing, 0)), abs=10)
    assert set(ANGLES.names) < set(rows[0])


def test_nobody_and_no_frames_are_answers(film, tmp_path, monkeypatch):
    knowing(monkeypatch, 0)
    take = capture_xnect(film, "any", tmp_path, fov=70)
    assert len(take.people) == 0 and len(take.times) == FRAMES and take.fov == 70 and not list(tmp_path.glob("*.bvh"))
    assert (tmp_path / "overlay.mp4").exists()


def test_senseless_options_and_other_weights_are_refused(film, tmp_path, monkeypatch):
    for options in ({"fov": 0.0}, {"fov": 180.0}, {"height": 17.0}, {"fov": np.nan}):
        with pytest.raises(VitruvianError, match="give degrees"):
            capture_xnect(film, "any", **options)
    write_state(SelecSLS(VARIANTS["nano"].backbone).state_dict(), tmp_path / "backbone.safetensors", {})
    with pytest.raises(WeightsError, match="with_backbone"):
        read_network(tmp_path / "backbone.safetensors")


def test_the_command_says_what_is_wrong_in_one_line(film, tmp_path, monkeypatch, capsys):
    arguments = ["xnect_capture", str(film), "--weights", str(tmp_path / "none.pth"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="no such file"):
        module.main()
    knowing(monkeypatch, 1)
    monkeypatch.setattr("sys.argv", [*arguments, "--no-overlay"])
    module.main()
    assert f"{FRAMES} frames (30 per second), 1 people" in capsys.readouterr().out
