"""Films of several cameras in, a take of SelfPose3d's people in the world out; networks that see a red dot stand for trained ones."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.formats.calibration import write_calibration  # noqa: E402
from vitruvian.geometry.camera import looking_at, project, y_up  # noqa: E402
from vitruvian.media import VideoWriter  # noqa: E402
from vitruvian.media.frame import Frame  # noqa: E402
from vitruvian.systems.checkpoint import write_state  # noqa: E402
from vitruvian.systems.pose3d import voxel_capture as module  # noqa: E402
from vitruvian.systems.pose3d.selfpose3d import VARIANTS, SelfPose3d  # noqa: E402
from vitruvian.systems.pose3d.voxel_capture import capture_voxels, linked, moments  # noqa: E402
from vitruvian.take import Take  # noqa: E402

SIZE, TIMES = (320, 200), np.arange(4) / 10
WAY = np.stack([0.4 + TIMES, 0.2 - TIMES, np.full(4, 1.0)], -1)  # of the dot: metres, z up


def rig(count=3):
    angles = 2 * np.pi * np.arange(count) / count + 0.3
    places = [(4 * np.cos(a), 4 * np.sin(a), 1.9) for a in angles]
    return [looking_at(place, (0, 0, 1), 230, SIZE, (0, 0, 1), f"cam{n}") for n, place in enumerate(places, 1)]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voxels")
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    for camera in rig():
        with VideoWriter(folder / f"{camera.name}.mp4", *SIZE, 10) as writer:
            for time, place in zip(TIMES, WAY, strict=True):
                x, y = project(camera, place)
                picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
                picture[(across - x) ** 2 + (down - y) ** 2 < 200] = 255, 0, 0
                writer.write(picture, time)
    write_calibration(rig(), folder / "room.toml")
    return folder


class Red(torch.nn.Module):
    """Fifteen heat maps of what is red."""

    def forward(self, images):
        red = (images[:, :1] * 58.395 + 123.675) / 255 - (images[:, 1:2] * 57.12 + 116.28) / 255
        return torch.nn.functional.avg_pool2d(red.clamp(0, 1), 4).expand(-1, 15, -1, -1)


@pytest.fixture
def seeing_red(monkeypatch):
    networks = SelfPose3d(replace(VARIANTS["nano"], threshold=0.75)).eval()  # two cameras of three are not enough
    networks.backbone, networks.root_net, networks.pose_net = Red(), torch.nn.Identity(), torch.nn.Identity()
    monkeypatch.setattr(module, "_networks", lambda weights, device: networks)


@pytest.mark.usefixtures("seeing_red")
def test_who_is_in_the_films_comes_out_in_the_world(films, tmp_path):
    told = []
    sources = [films / f"cam{n}.mp4" for n in (2, 1, 3)]
    take = capture_voxels(
        sources, films / "room.toml", "any", tmp_path, box="network", smooth="none", on_progress=lambda *now: told.append(now)
    )
    assert take.skeleton.name == "panoptic-15" and take.space == "world" and (told[-1][0], told[-1][1].frames) == ("cam2", 4)
    assert take.tracks.tolist() == [1] and take.people.frame.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(take.people.points[:, 2], WAY @ y_up("z")[:3, :3].T, atol=0.15)
    assert Take.load(tmp_path / "take.npz").people.points.shape == (4, 15, 3)
    assert (tmp_path / "people.trc").exists() and (tmp_path / "cam1" / "overlay.mp4").exists()


@pytest.mark.usefixtures("seeing_red")
def test_the_box_stands_where_cameras_look(films):
    take = capture_voxels([films / f"cam{n}.mp4" for n in (1, 2, 3)], films / "room.toml", "any", smooth="none")
    first = take.people.at(0)  # nothing trained tells its coarse bins apart: the likeliest is meant
    np.testing.assert_allclose(first.points[first.scores.argmax(), 2], WAY[0] @ y_up("z")[:3, :3].T, atol=0.3)
    far = [type(c)(c.intrinsics, c.R_cam_world, 100 * c.t_cam_world, size=c.size, name=c.name) for c in rig()]
    turned = looking_at((400, 0, 190), (0, 300, 1), 230, SIZE, (0, 0, 1), "cam3")
    with pytest.raises(VitruvianError, match="check the calibration's unit"):
        capture_voxels([films / f"cam{n}.mp4" for n in (1, 2, 3)], [*far[:2], turned], "any")


def test_weights_without_all_networks_are_refused(films, tmp_path):
    write_state(SelfPose3d(VARIANTS["nano-heatmaps"]).state_dict(), tmp_path / "part.safetensors", {})
    with pytest.raises(WeightsError, match="no backbone"):
        capture_voxels([films / "cam1.mp4", films / "cam2.mp4"], films / "room.toml", tmp_path / "part.safetensors")


def test_films_of_other_rates_and_lengths_go_together():
    def film(times, value):
        return (Frame(np.full((1, 1, 3), value + n, np.uint8), n, time, "") for n, time in enumerate(times))

    found = list(moments([film([0, 0.1, 0.2, 0.3, 0.9], 0), film([0, 0.2, 0.4], 100), film([1.12, 1.22], 200)], np.array([0, 0, -1.0])))
    seen = {time: {n: int(picture[0, 0, 0]) for n, picture in pictures.items()} for time, pictures in found}
    assert seen[0] == {0: 0, 1: 100} and seen[0.1][2] == 200 and seen[0.2] == {0: 2, 1: 101, 2: 201}
    assert 0.9 not in seen


def test_ids_follow_who_moves_on():
    times = np.arange(4) / 10
    frames = np.array([0, 0, 1, 1, 3, 3])
    roots = np.array([[0, 0, 0], [3, 0, 0], [3.1, 0, 0], [0.1, 0, 0], [0.3, 0, 0], [9, 0, 0]], float)
    assert linked(times, frames, roots).tolist() == [1, 2, 2, 1, 1, 3]
    assert linked(times, frames[:0], roots[:0]).tolist() == []
