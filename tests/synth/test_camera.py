"""Cameras see what they should, and things lie where the body holds them."""

import numpy as np
import pytest

from vitruvian.render.raster import interpolate_faces, nearest_faces
from vitruvian.synth.camera import WORLD_TO_CAMERA, View, sample_view
from vitruvian.synth.person import render_person, sample_bodies
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
    from vitruvian.synth.look import Look

    look = Look().without(["objects", "hair"])
    rng = np.random.default_rng(0)
    bodies = sample_bodies(rng, wardrobe, 6, look)
    for i in range(6):
        worn = set(np.unique(render_person(rng, wardrobe, bodies, i, look=look).classes).tolist())
        assert not worn & {HAIR, HAT, BEARD, TOOL, SEAT}
