"""Moments before several cameras: what is seen is where people are, and Panoptic is read with the poses that a capture found."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import cv2  # noqa: E402

from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.geometry.camera import moved, project  # noqa: E402
from vitruvian.skeletons import PANOPTIC_15  # noqa: E402
from vitruvian.systems.pose3d.selfpose3d_loss import seen_at  # noqa: E402
from vitruvian.take import People, Take  # noqa: E402
from vitruvian.train import views3d  # noqa: E402

INPUT = (256, 160)
NAMES = ("00_03", "00_06", "00_12", "00_13", "00_23")
SEQUENCE = "160906_band1"
DOWN = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""From z up to Panoptic's y down."""


def seen_of_truth(moment):
    """True joints in the inputs, (v, p, 15, 2)."""
    import torch

    return seen_at(torch.from_numpy(moment.points)[None].float(), moment.views, INPUT[0])[0].numpy()


def test_pseudo_poses_of_made_up_people_are_near_their_projections():
    source, rng = views3d.made_up(INPUT, pictures=True), np.random.default_rng(0)
    moments = [source.learn(rng) for _ in range(8)]
    assert {len(moment.points) for moment in moments} == {1, 2, 3}
    for moment in moments:
        off = np.linalg.norm(moment.keypoints - seen_of_truth(moment), axis=-1)
        assert moment.keypoints.shape[0] == 4 and np.nanmax(off) < 6 * views3d.NOISE * INPUT[0] / views3d.SIZE[0]
        assert moment.pictures.shape == (4, INPUT[1], INPUT[0], 3)
    missing = np.mean([np.isnan(moment.keypoints).mean() for moment in moments])
    assert 0.02 < missing < 0.09


def test_pictures_show_the_sides_in_their_colours():
    rng = np.random.default_rng(1)
    people, _ = views3d.draw_people(rng, 1, 1)
    camera = views3d.ring(rng, 1)[0]
    places = project(camera, people[0])
    image = views3d.stick_picture(rng, places, views3d.SIZE).astype(int)
    for side in ("left", "right"):
        knee, hip = (places[0, PANOPTIC_15.index(f"{side}_{joint}")] for joint in ("knee", "hip"))
        x, y = (0.5 * knee + 0.5 * hip).round().astype(int)
        assert np.abs(image[y, x] - views3d._COLOURS[side]).max() < 45
    assert np.isnan(places * np.nan).all() and views3d.stick_picture(rng, places * np.nan, (32, 16)).shape == (16, 32, 3)


def panoptic_folder(folder, frames=60, pictures=False):
    """A training sequence of two people; every third frame is used. Gives the cameras and the people, z up."""
    rng = np.random.default_rng(3)
    rig = views3d.ring(rng, 5)
    people, _ = views3d.draw_people(rng, frames, 2)
    place = folder / SEQUENCE
    (place / "hdPose3d_stage1_coco19").mkdir(parents=True)
    table = []
    for name, camera in zip(NAMES, (moved(camera, DOWN) for camera in rig), strict=True):
        rows = {"K": camera.intrinsics.tolist(), "distCoef": [0.0] * 5, "R": camera.R_cam_world.tolist()}
        table.append({"name": name, "resolution": list(camera.size), "t": (100 * camera.t_cam_world[:, None]).tolist()} | rows)
        if pictures:
            (place / "hdImgs" / name).mkdir(parents=True)
            for f in range(0, frames, 3):
                cv2.imwrite(str(place / "hdImgs" / name / f"{name}_{f:08d}.jpg"), np.full((544, 960, 3), 4 * f % 256, np.uint8))
    (place / f"calibration_{SEQUENCE}.json").write_text(json.dumps({"cameras": table}))
    for f in range(frames):
        joints = np.concatenate([100 * people[f] @ DOWN[:3, :3].T, np.full((2, 15, 1), 0.9)], -1)
        joints = np.concatenate([joints, np.zeros((2, 4, 4))], 1)
        bodies = [{"id": i, "joints19": row.ravel().tolist()} for i, row in enumerate(joints)]
        (place / "hdPose3d_stage1_coco19" / f"body3DScene_{f:08d}.json").write_text(json.dumps({"bodies": bodies}))
    return rig, people


def take_of(camera, people, frames):
    """What a capture of the camera's pictures could have found: true projections of the first person, in Panoptic's own joints."""
    n = len(frames)
    seen = np.stack([project(camera, people[f, 0]) for f in frames])
    sure = np.tile(np.where(np.arange(15) == 4, 0.1, 1.0), (n, 1))
    rows = People(np.arange(n), np.ones(n), np.tile([0, 0, 9, 9], (n, 1)), np.ones(n), seen, sure)
    return Take(rows, PANOPTIC_15, np.arange(n) / 10, np.tile([960, 544], (n, 1)), tuple(f"00_03_{f:08d}.jpg" for f in frames))


def test_panoptic_stands_upright_and_its_pictures_go_with_it(tmp_path, caplog):
    rig, people = panoptic_folder(tmp_path, 30, pictures=True)
    source = views3d.from_panoptic(tmp_path, INPUT, pictures=True)
    assert "no learning without labels" in caplog.text
    moment = source.learn(np.random.default_rng(0))
    np.testing.assert_allclose(moment.views.centre[0], [camera.centre_world for camera in rig], atol=1e-5)
    frame = np.abs(people - moment.points).sum((1, 2, 3)).argmin()
    np.testing.assert_allclose(moment.points, people[frame], atol=1e-6)
    assert frame % 3 == 0 and frame < 27
    off = np.linalg.norm(moment.keypoints - seen_of_truth(moment), axis=-1)
    assert np.nanmax(off) < 6 * views3d.NOISE * INPUT[0] / views3d.SIZE[0]
    assert np.abs(moment.pictures[:, 80, 128].astype(int) - 4 * frame % 256).max() < 6
    judged = source.measure(np.random.default_rng(0))
    assert np.abs(people - judged.points).sum((1, 2, 3)).argmin() == 27


def test_panoptic_is_learnt_from_what_captures_found(tmp_path):
    rig, people = panoptic_folder(tmp_path / "set")
    for name, camera in zip(NAMES, rig, strict=True):
        folder = tmp_path / "takes" / SEQUENCE / name
        folder.mkdir(parents=True)
        take_of(camera, people, range(0, 60, 3)).save(folder / "take.npz")
    moment = views3d.from_panoptic(tmp_path / "set", INPUT, False, tmp_path / "takes").learn(np.random.default_rng(2))
    assert moment.keypoints.shape == (5, 1, 15, 2) and moment.points.shape == (2, 15, 3) and moment.pictures is None
    assert np.isnan(moment.keypoints[:, :, 4]).all()
    others = np.arange(15) != 4
    np.testing.assert_allclose(moment.keypoints[:, 0, others], seen_of_truth(moment)[:, 0, others], atol=0.01)
    for name in NAMES:
        take_of(rig[0], people, [1, 2]).save(tmp_path / "takes" / SEQUENCE / name / "take.npz")
    with pytest.raises(VitruvianError, match="none of its frames"):
        views3d.from_panoptic(tmp_path / "set", INPUT, False, tmp_path / "takes")


def test_moments_of_several_people_become_one_batch():
    source = views3d.made_up(INPUT, pictures=False)
    batch = next(views3d.batches(source.learn, 6, 0))
    assert batch.pictures is None and batch.keypoints.shape == (6, 4, 3, 15, 2) and batch.views[0].shape == (6, 4, 3, 3)
    assert bool(batch.keypoints.isfinite().all())
    for row, people in enumerate(batch.points):
        assert bool(batch.visible[row, :, : len(people)].any()) and not batch.visible[row, :, len(people) :].any()
