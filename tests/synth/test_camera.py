"""Cameras see what they should, and things lie where the body holds them."""

import numpy as np
import pytest

from vitruvian.render.raster import interpolate_faces, nearest_faces
from vitruvian.synth import person
from vitruvian.synth.camera import NEAREST, WORLD_TO_CAMERA, View, sample_close_view, sample_view
from vitruvian.synth.classes import OUTSIDE
from vitruvian.synth.look import Look
from vitruvian.synth.outfit import dress
from vitruvian.synth.person import label_image, make_bodies, render_person, sample_bodies
from vitruvian.synth.poses import walking_poses
from vitruvian.synth.props import Posed, ball, box, held, ring, tube


def test_the_centre_of_a_view_lies_on_its_axis():
    view = View(WORLD_TO_CAMERA, np.array([1.0, 2.0, 3.0]), 4.0)
    image, depth = view.project(np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 3.0]]))
    np.testing.assert_allclose(image, [[0, 0], [0.25, 0]], atol=1e-9)
    np.testing.assert_allclose(depth, 4)


def test_a_barrel_lens_draws_the_edge_inwards():
    points = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    straight = View(WORLD_TO_CAMERA, np.zeros(3), 4.0).project(points)[0]
    bent = View(WORLD_TO_CAMERA, np.zeros(3), 4.0, -0.2).project(points)[0]
    assert bent[1, 0] < straight[1, 0] and bent[0, 0] == straight[0, 0]


def test_cameras_come_close_and_stay_far():
    rng = np.random.default_rng(0)
    distances = [sample_view(rng, np.zeros(3), 1.7).distance for _ in range(300)]
    assert min(distances) < 2 and max(distances) > 20
    level = [sample_view(rng, np.zeros(3), 1.7, varied=False) for _ in range(5)]
    assert {v.distance for v in level} == {8 * 1.7}


@pytest.fixture(scope="module")
def one(wardrobe):
    """A walker as bodies, skin and keypoints."""
    poses, still = walking_poses(wardrobe.rig, np.zeros(1), np.zeros(1)), np.zeros((1, len(wardrobe.model.facial_action_labels)))
    bodies = make_bodies(wardrobe, poses, np.full((1, 6), 0.6), still)
    skin = bodies.vertices[0][wardrobe.base_index]
    return bodies, skin, wardrobe.landmarks.wholebody133(skin[None], bodies.heads)[0]


def test_close_cameras_stand_at_arms_length_outside_the_body_and_look_at_head_hand_or_chest(one):
    _, skin, joints = one
    rng = np.random.default_rng(0)
    views = [v for v in (sample_close_view(rng, skin, joints) for _ in range(200)) if v is not None]
    distances = np.array([v.distance for v in views])
    assert len(views) > 100 and 0.3 <= distances.min() < 0.4 and (distances < 0.5).mean() > 0.15 and distances.max() <= 1
    aims = [joints[3:5].mean(0), joints[91:112].mean(0), joints[112:133].mean(0), 0.7 * joints[5:7].mean(0) + 0.3 * joints[11:13].mean(0)]
    found = set()
    for view in views:
        eye = view.centre - view.distance * view.turn[2]
        assert np.linalg.norm(skin - eye, axis=1).min() > NEAREST
        image, depth = view.project(np.array(aims))
        away = np.where(depth > NEAREST, np.linalg.norm(image, axis=1), np.inf)
        assert away.min() < 0.5  # the angle's tangent
        found.add(int(away.argmin()))
    assert found == {0, 1, 2, 3}


def test_a_share_of_cameras_is_close_unless_perspective_is_left_out(one):
    _, skin, joints = one
    rng = np.random.default_rng(0)
    near = lambda look: np.mean([person._camera(rng, skin, joints, (240, 320), look)[0].distance < 1 for _ in range(400)])  # noqa: E731
    assert 0.04 < near(Look()) < 0.12
    assert near(Look().without(["perspective"])) == 0


def test_what_is_behind_the_camera_is_outside_and_has_no_box(wardrobe, one):
    """From the neck upwards: the head is before the eye, the feet behind it, where a plain division would put them into the picture."""
    bodies, skin, joints = one
    up = View(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([*joints[5:7].mean(0)[:2], joints[5:7, 2].mean()]), 0.0)
    seen = label_image(wardrobe, bodies.vertices[0], bodies.heads[0], dress(np.random.default_rng(0), wardrobe), up, 30.0,
                       np.array([120.0, 160.0]), (240, 320))  # fmt: skip
    depth = up.project(joints)[1]
    behind = depth < NEAREST
    mirrored = up.to_camera(joints)[behind, :2] / depth[behind, None] * 30 + [120, 160]
    assert ((mirrored > 0) & (mirrored < [240, 320])).all(1).any()
    assert (seen.hidden[behind] == OUTSIDE).all() and (seen.keypoints[behind, 2] == 0).all() and np.isfinite(seen.keypoints).all()
    assert (seen.hidden[23:91] != OUTSIDE).any()
    assert np.isnan(seen.boxes[5:]).all()


def test_large_triangles_are_interpolated_in_perspective():
    """A floor from 1 m to 9 m: half way up the picture between its ends is not 5 m away but 1.8 m."""
    corners = np.array([[-1, 1, 1], [1, 1, 1], [1, 1, 9], [-1, 1, 9]], np.float32)
    points = corners[:, :2] / corners[:, 2:] * 90 + [100, 10]
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    drawn = np.ones(2, np.uint8)
    owner, depth = nearest_faces(points, corners[:, 2], faces, drawn, (200, 110), np.ones(2, bool))
    found = interpolate_faces(owner, points, corners[:, 2], faces, corners)
    assert depth[60, 100] == pytest.approx(1.8, abs=0.03)
    assert found[60, 100, 2] == pytest.approx(1.8, abs=0.03)


@pytest.mark.parametrize("piece", [
    tube(1, np.zeros(3), np.array([0, 0, 2.0]), [0.1, 0.2]), ball(1, np.zeros(3), np.array([1, 2, 3.0])),
    box(1, np.zeros(3), np.array([1, 2, 3.0])), ring(1, np.zeros(3), np.eye(3), (1, 2), 0.1),
])  # fmt: skip
def test_solids_are_finite_and_their_faces_have_corners(piece):
    assert np.isfinite(piece.vertices).all() and len(piece.places) == len(piece.vertices)
    assert piece.faces.min() >= 0 and piece.faces.max() < len(piece.vertices)


def test_a_held_thing_touches_the_hand(wardrobe):
    bodies = sample_bodies(np.random.default_rng(0), wardrobe, 3)
    rng = np.random.default_rng(0)
    for i in range(3):
        body = Posed(wardrobe.rig.names, bodies.heads[i], bodies.turns[i], 0.0, 1.0)
        for thing in ("bat", "racket", "phone", "cup", "ball", "bag", "umbrella"):
            points = np.concatenate([p.vertices for p in held(rng, body, thing, "R")])
            assert np.linalg.norm(points - body.at("finger3-1.R"), axis=1).min() < 0.15, thing


def test_without_objects_and_hair_nobody_has_any(wardrobe):
    from vitruvian.synth.classes import BEARD, HAIR, HAT, SEAT, TOOL

    look = Look().without(["objects", "hair"])
    rng = np.random.default_rng(0)
    bodies = sample_bodies(rng, wardrobe, 6, look)
    for i in range(6):
        worn = set(np.unique(render_person(rng, wardrobe, bodies, i, look=look).classes).tolist())
        assert not worn & {HAIR, HAT, BEARD, TOOL, SEAT}
