"""The labels in three dimensions agree with those in the picture and with the compact body."""

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.synth.activities import collides, posed_heads, sample_scripts
from vitruvian.synth.camera import View
from vitruvian.synth.person import OUTSIDE, SEEN, render_person, sample_bodies


@pytest.fixture(scope="module")
def people(wardrobe):
    rng = np.random.default_rng(3)
    bodies = sample_bodies(rng, wardrobe, 5)
    return bodies, [render_person(rng, wardrobe, bodies, i) for i in range(5)]


def test_points_project_onto_the_keypoints(people):
    for person in people[1]:
        scale, x, y, bend = person.truth.camera
        view = View(np.eye(3), np.zeros(3), 0.0, bend)
        found = view.project(person.truth.points)[0] * scale + [x, y]
        np.testing.assert_allclose(found, person.keypoints[:, :2], atol=0.05)


def test_body_parameters_give_back_the_mesh(wardrobe, people):
    bodies, drawn = people
    body = load_compact()
    for i, person in enumerate(drawn):
        t = person.truth
        out = body.forward(t.pose[None], t.shape[None].astype(np.float32), t.expression[None], t.translation[None])
        points = wardrobe.landmarks.wholebody133(out.vertices, np.zeros((1, 104, 3)))[0]
        error = np.linalg.norm(points[:17] - t.points[:17], axis=1)
        assert np.median(error) < 0.02, i


def test_hidden_agrees_with_the_weights(people):
    for person in people[1]:
        np.testing.assert_array_equal(person.keypoints[:, 2] == 0, person.hidden == OUTSIDE)
        np.testing.assert_array_equal(person.keypoints[:, 2] == 2, person.hidden == SEEN)


def test_the_lowest_point_touches_the_floor(people):
    bodies, drawn = people
    for person in drawn:
        t = person.truth
        assert (t.points @ t.floor[:3] - t.floor[3]).min() > -0.03
        if t.contact.any():
            assert (t.points[t.contact] @ t.floor[:3] - t.floor[3]).max() < 0.04


def test_kinematics_without_skin_agree_with_the_model(wardrobe, people):
    from vitruvian.synth.person import make_bodies

    scripts = people[0].scripts
    actions = np.zeros((5, len(wardrobe.model.facial_action_labels)))
    heads = make_bodies(wardrobe, scripts.poses, np.full((5, 6), 0.5), actions).heads
    found = posed_heads(wardrobe.rig, wardrobe.parents, scripts.poses)
    np.testing.assert_allclose(found - found[:, :1], heads - heads[:, :1], atol=1e-5)


def test_hardly_any_drawn_pose_pierces_the_body(wardrobe):
    scripts = sample_scripts(np.random.default_rng(0), wardrobe.rig, wardrobe.parents, 60)
    assert collides(wardrobe.rig, posed_heads(wardrobe.rig, wardrobe.parents, scripts.poses)).mean() < 0.1
    assert len(set(scripts.acts)) > 5
