"""Pose rules do to the body what their names say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.synth.activities import posed_heads
from vitruvian.synth.poses import pose_from_attitudes, rotation, sample_poses, shortest_arc, walking_poses

vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(vectors, st.floats(-6, 6))
def test_rotation_is_orthogonal_and_keeps_its_axis(axis, angle):
    r = rotation(axis, np.array([angle]))[0]
    np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(r) == pytest.approx(1)
    np.testing.assert_allclose(r @ axis, axis, atol=1e-6)


@given(vectors, vectors)
def test_shortest_arc_takes_one_direction_to_the_other(a, b):
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    if a @ b > -0.999:  # opposite directions have no single shortest arc
        np.testing.assert_allclose(shortest_arc(a, b[None])[0] @ a, b, atol=1e-5)


def test_sampled_poses_are_rotations_without_translation(wardrobe):
    poses = sample_poses(np.random.default_rng(0), wardrobe.rig, 8)
    r = poses[:, :, :3, :3]
    np.testing.assert_allclose(r @ r.swapaxes(2, 3), np.broadcast_to(np.eye(3), r.shape), atol=1e-6)
    assert (poses[:, :, :3, 3] == 0).all() and (np.linalg.det(r) > 0).all()


def test_same_seed_same_poses(wardrobe):
    a, b = (sample_poses(np.random.default_rng(3), wardrobe.rig, 4) for _ in range(2))
    assert (a == b).all()


def test_walkers_stay_upright_and_swing_opposite_legs(wardrobe):
    from vitruvian.synth.person import pose_bodies

    n = 8
    poses = walking_poses(wardrobe.rig, np.arange(n) / n, np.zeros(n))
    _, bones = pose_bodies(wardrobe, poses, np.full((n, 6), 0.6), np.zeros((n, len(wardrobe.model.facial_action_labels))))
    at = {name: bones[:, wardrobe.rig.names.index(name)] for name in ("head", "foot.L", "foot.R")}
    assert (at["head"][:, 2] > at["foot.L"][:, 2] + 1.0).all()
    forward = -(at["foot.L"][:, 1] - at["foot.R"][:, 1])  # the body faces -y
    assert forward.max() > 0.3 and forward.min() < -0.3


@pytest.mark.parametrize(("attitude", "share"), [("stand", 1.0), ("stride", 0.6)])
def test_both_feet_of_the_standing_touch_the_ground(wardrobe, attitude, share):
    """The lowest point of each foot's skin, on bodies of all sizes; somebody who strides may swing the rear foot."""
    from vitruvian.synth.person import pose_bodies

    n, rng = 24, np.random.default_rng(0)
    poses = pose_from_attitudes(rng, wardrobe.rig, np.full(n, attitude), np.full((n, 2), "hang"), np.zeros((n, 2), bool))
    vertices, _ = pose_bodies(wardrobe, poses, rng.uniform(0.3, 0.8, (n, 6)), np.zeros((n, len(wardrobe.model.facial_action_labels))))
    soles = np.stack([vertices[:, group, 2].min(1) for group in wardrobe.part_vertices[4:]], 1)
    apart = np.abs(soles[:, 0] - soles[:, 1])
    assert (apart < 0.015).mean() >= share


def test_a_standing_foot_lies_flat_and_points_where_it_did(wardrobe):
    n, rng = 24, np.random.default_rng(1)
    poses = pose_from_attitudes(rng, wardrobe.rig, np.full(n, "stand"), np.full((n, 2), "hang"), np.zeros((n, 2), bool))
    heads = posed_heads(wardrobe.rig, wardrobe.parents, poses)
    rest = wardrobe.rig.heads
    for side in "LR":
        foot, toe = (wardrobe.rig.names.index(f"{bone}.{side}") for bone in ("foot", "toe1-1"))
        step = heads[:, toe] - heads[:, foot]
        np.testing.assert_allclose(step[:, 2], (rest[toe] - rest[foot])[2], atol=1e-6)
        assert (step[:, 1] < -0.08).all()  # ahead
