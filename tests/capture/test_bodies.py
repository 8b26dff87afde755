"""Bodies from one camera: a known body is seen, lifted, fitted, and found again; and what a capture makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from scenes import walk
from vitruvian.body.compact import load_compact
from vitruvian.body.regressors import point_regressor
from vitruvian.capture import capture
from vitruvian.capture.bodies import add_bodies
from vitruvian.capture.cameras import capture_cameras
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import looking_at, pinhole, project_all
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People, Take

FRAMES, SIZE, FOV = 24, (1280, 720), 50.0
TIMES = np.arange(FRAMES) / 30


@pytest.fixture(scope="module")
def lifter():
    return Lifter("lift-s", device="cpu")


def walker(heading=0.4, expression=None):
    """(t, 133, 3) points in the camera's frame of somebody who swings an arm and walks past, 4 m away."""
    model = load_compact()
    pose = np.zeros((FRAMES, model.num_joints, 3), np.float32)
    pose[:, 0] = [0, heading, 0]
    swing = 0.5 * np.sin(2 * np.pi * TIMES)
    for joint, turn in (("left_hip", -swing), ("right_hip", swing), ("left_shoulder", swing), ("right_shoulder", -swing)):
        pose[:, model.joint_names.index(joint), 0] = turn
    posed = model.forward(pose, np.zeros((FRAMES, model.num_shape), np.float32), expression)
    points = point_regressor(model, "coco-wholebody-133")(posed.vertices, posed.joints) * np.float32([1, -1, -1])
    return points + np.stack([np.linspace(-0.8, 0.8, FRAMES), np.full(FRAMES, 0.1), np.full(FRAMES, 4.0)], 1)[:, None].astype(np.float32)


def seen(points, tracks=1, size=SIZE):
    """A take of people who were seen exactly."""
    pixels = points @ pinhole(size, FOV).T
    return take_of(pixels[..., :2] / pixels[..., 2:], tracks, size)


def take_of(keypoints, tracks=1, size=SIZE):
    """A take of people at these pixels."""
    boxes = np.concatenate([keypoints.min(1), keypoints.max(1)], 1)
    count = len(keypoints)
    people = People(np.arange(count), np.full(count, tracks), boxes, np.ones(count), keypoints, np.ones((count, 133)))
    return Take(people, COCO_WHOLEBODY_133, TIMES[:count], np.tile(size, (count, 1)))


def test_a_walker_is_found_in_space_and_back_in_the_picture(lifter):
    truth = walker()
    take = add_bodies(seen(truth), lifter, FOV)
    assert take.space == "camera" and take.body == "compact" and take.fov == FOV and "lift-s" in take.cards
    found = take.people.points
    relative = [array - array[:, 11:13].mean(1, keepdims=True) for array in (found, truth)]
    error = np.linalg.norm(relative[0] - relative[1], axis=-1)[:, :17]
    assert error.mean() < 0.12  # metres: a single camera does not see depth
    assert np.abs(found[:, :17].mean((0, 1)) - truth[:, :17].mean((0, 1)))[:2].max() < 0.15
    pixels = found @ pinhole(SIZE, FOV).T
    again = pixels[..., :2] / pixels[..., 2:]
    assert np.median(np.linalg.norm(again - take.keypoints, axis=-1)[:, :17]) < 8  # of a person 300 pixels tall
    assert np.isfinite(take.people.body_pose).all() and len(np.unique(take.people.body_shape, axis=0)) == 1


def test_frames_in_which_hardly_anything_was_seen_have_no_lifted_points_but_the_rest_does(lifter):
    take = seen(walker())
    confidence = take.confidence.copy()
    confidence[:3] = 0
    people = People(**take.people.columns() | {"confidence": confidence})
    found = add_bodies(Take(people, take.skeleton, take.times, take.sizes), lifter, FOV).people.points
    assert np.isfinite(found[3:]).all()


def test_expressions_are_seen_on_large_faces_only(lifter):
    model = load_compact()
    names = model.expression_names
    smile = [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]
    expression = np.zeros((FRAMES, len(names)), np.float32)
    expression[:, smile] = 1
    walk = walker(0.1, expression)
    small, large = (add_bodies(seen(walk, size=size), lifter, FOV).people.body_expression for size in (SIZE, (5120, 2880)))
    assert not small.any() and large[:, smile].mean() > 0.05
    assert np.abs(np.diff(large, axis=0)).max() < 0.2  # no flicker


def test_people_of_pictures_are_fitted_one_by_one(lifter):
    take = seen(walker()[:2], tracks=-1)
    found = add_bodies(take, lifter, FOV)
    assert np.isfinite(found.people.points).all()
    assert not np.allclose(found.people.body_shape[0], found.people.body_shape[1])


def test_nobody_is_fine(lifter):
    take = add_bodies(Take(People.empty(133), COCO_WHOLEBODY_133, TIMES, np.tile(SIZE, (FRAMES, 1))), lifter)
    assert len(take.people) == 0 and take.people.body_pose.shape[0] == 0 and take.space == "camera"


def test_a_take_in_which_nobody_gets_a_body_is_told(lifter, caplog):
    assert np.isfinite(add_bodies(seen(walker()), lifter, FOV).people.body_translation).all() and not caplog.records
    take = seen(walker())
    unsure = replace(take, people=replace(take.people, confidence=0.01 * take.people.confidence))
    assert np.isnan(add_bodies(unsure, lifter, FOV).people.body_translation).all()
    assert "nobody got a body" in caplog.text and "lift-s" in caplog.text


def test_a_capture_writes_bodies_and_draws_them(networks, tmp_path):
    video = walk(tmp_path / "walk.mp4", np.arange(6) / 30)
    take = capture(video, tmp_path / "out", **networks | {"mesh": True})
    assert take.space == "camera" and take.people.points.shape == (12, 133, 3)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"take.npz", "overlay.mp4", "bodies.glb", "skeleton_person1.bvh", "markers_person2.trc"} <= names
    loaded = Take.load(tmp_path / "out" / "take.npz")
    assert loaded.fov == take.fov == 60 and loaded.fov_source == "assumed" and loaded.body == "compact"
    np.testing.assert_array_equal(loaded.people.body_pose, take.people.body_pose)


def test_a_take_says_who_knew_the_field_of_view(networks, tmp_path):
    video = walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    assert capture(video, tmp_path / "given", fov=50, **networks | {"mesh": True}).fov_source == "given"
    assert capture(video, tmp_path / "none", **networks).fov_source == ""  # keypoints need none


def test_several_cameras_give_bodies_in_their_world(tmp_path):
    """Somebody whom three cameras see: the bodies' points lie on the true ones, and 3D programs get them."""
    truth = walker() * np.float32([1, -1, -1])  # y up
    centre = truth.mean((0, 1))
    places = [centre + np.array([4 * np.cos(a), 0.8, 4 * np.sin(a)]) for a in (0.2, 1.6, 2.9)]
    cameras = [looking_at(place, centre, 900, SIZE, name=f"cam{i}") for i, place in enumerate(places, 1)]
    takes = [take_of(view) for view in project_all(cameras, truth)]
    take = capture_cameras(takes, cameras, tmp_path, mesh=True, smooth="none")
    assert take.space == "world" and take.body == "compact" and (tmp_path / "bodies.glb").is_file()
    model, people = load_compact(), take.people
    posed = model.forward(people.body_pose, people.body_shape, people.body_expression, people.body_translation)
    found = point_regressor(model, "coco-wholebody-133")(posed.vertices, posed.joints)
    up = truth - np.float32([0, np.median(truth[..., 1] - people.points[..., 1]), 0])
    assert np.median(np.linalg.norm(found - people.points, axis=-1)[:, :17]) < 0.02
    assert np.median(np.linalg.norm(people.points - up, axis=-1)) < 0.02
    few = lambda people: People(*(column[:, :17] if column.shape[1:2] == (133,) else column for column in people.columns().values()))  # noqa: E731
    seventeen = [Take(few(t.people), COCO_17, t.times, t.sizes) for t in takes]
    with pytest.raises(VitruvianError, match="133"):
        capture_cameras(seventeen, cameras, mesh=True)


def test_a_senseless_field_of_view_is_refused(networks, tmp_path):
    video = walk(tmp_path / "walk.mp4", np.arange(2) / 30)
    with pytest.raises(VitruvianError, match="field of view"):
        capture(video, tmp_path / "out", fov=200, **networks)
