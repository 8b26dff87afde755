"""A parametric body's motion as figures, glTF and BVH: the bones must be where the model puts its joints."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from glb import Glb
from random_body import random_body
from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyParameters, RestAlignment
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.body_figure import body_bvh, body_figure, take_figures
from vitruvian.formats.bvh import forward_kinematics, read_bvh, write_bvh
from vitruvian.formats.gltf import write_gltf
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

TIMES = np.array([0.0, 0.05, 0.08, 0.15])


def parameters(count: int = 4, seed: int = 0) -> BodyParameters:
    random = np.random.default_rng(seed)
    model = load_compact()
    shape = np.tile(random.normal(0, 1, model.num_shape), (count, 1))
    expression = np.zeros((count, model.num_expression))
    expression[:, model.expression_names.index("jawOpen")] = random.uniform(0.2, 1, count)
    pose, translation = random.normal(0, 0.4, (count, model.num_joints, 3)), random.normal(0, 1, (count, 3))
    return BodyParameters(*(values.astype(np.float32) for values in (pose, shape, expression, translation)))


def posed(bodies: BodyParameters):
    return load_compact().forward(bodies.pose, bodies.shape, bodies.expression, bodies.translation)


def take(bodies: BodyParameters, frames, tracks, count: int, space: str = "world") -> Take:
    n = len(frames)
    people = People(
        frame=frames,
        track=tracks,
        boxes=np.zeros((n, 4)),
        scores=np.ones(n),
        keypoints=np.zeros((n, 17, 2)),
        confidence=np.ones((n, 17)),
        body_pose=bodies.pose,
        body_shape=bodies.shape,
        body_expression=bodies.expression,
        body_translation=bodies.translation,
    )
    return Take(people, COCO_17, np.arange(count) * 0.1, np.zeros((count, 2)), space=space, body="compact")


def test_a_body_in_the_file_is_the_posed_model(tmp_path):
    model, bodies = load_compact(), parameters()
    write_gltf([body_figure(model, bodies, TIMES, "one")], tmp_path / "take.glb")
    glb = Glb(tmp_path / "take.glb")
    glb.check()
    truth = posed(bodies)
    time = float(np.float32(TIMES[2]))
    bones = [glb.node(name) for name in model.joint_names]
    np.testing.assert_allclose(glb.world(time)[bones, :3, 3], truth.joints[2], atol=1e-5)
    found, expected = (
        vertices[np.lexsort(vertices.T.round(3))] for vertices in (np.unique(glb.vertices("one", time).round(4), axis=0), truth.vertices[2])
    )
    distance = np.sqrt(((found[::97, None] - expected[None]) ** 2).sum(-1).min(1))
    assert distance.max() < 2e-4  # 0.1 mm of rounding above
    assert glb.document["meshes"][0]["extras"]["targetNames"] == ["jawOpen"]
    assert {material["name"] for material in glb.document["materials"]} >= {"skin", "lips", "eyes"}


def rotations(count: int, seed: int) -> np.ndarray:
    return Rotation.random(count, random_state=seed).as_matrix()


FRAMES = {
    "smpl": {},
    "own joint frames": {"joint_frames": rotations(24, 1)},
    "shape-dependent rest": {"rest_alignment": RestAlignment(rotations(24, 2), rotations(24, 3), np.zeros((10, 24, 3, 3)))},
}


@pytest.mark.parametrize("frames", FRAMES)
def test_bodies_of_every_kind_of_rest_pose_are_in_the_file_as_posed(tmp_path, frames):
    model = replace(random_body("smpl"), **FRAMES[frames])
    random = np.random.default_rng(0)
    pose, translation = random.normal(0, 0.5, (3, 24, 3)), random.normal(0, 1, (3, 3))
    shape = np.tile(random.normal(0, 1, 10), (3, 1))
    figure = body_figure(model, BodyParameters(pose, shape, np.zeros((3, 0)), translation), np.arange(3.0), "one")
    figure = replace(figure, mesh=replace(figure.mesh, weights=np.eye(24)[model.weights.argmax(1)]))  # a file holds eight weights at most
    write_gltf([figure], tmp_path / "take.glb")
    truth = replace(model, weights=figure.mesh.weights).forward(pose, shape, None, translation)
    glb = Glb(tmp_path / "take.glb")
    used = np.unique(model.faces)
    np.testing.assert_allclose(glb.vertices("one", 1.0), truth.vertices[1][used], atol=1e-4)
    np.testing.assert_allclose(glb.world(1.0)[:24, :3, 3], truth.joints[1], atol=1e-5)
    positions, _ = forward_kinematics(body_bvh(figure, metres_per_unit=1.0))
    order = [body_bvh(figure).names.index(name) for name in model.joint_names]
    np.testing.assert_allclose(positions[:, order], truth.joints, atol=1e-5)


def test_one_person_has_the_median_shape():
    bodies = parameters()
    shape = bodies.shape.copy()
    shape[0], shape[1] = np.nan, shape[1] + 3
    figure = body_figure(load_compact(), replace(bodies, shape=shape), TIMES)
    np.testing.assert_allclose(figure.mesh.joints, posed(bodies).rest_joints[2], atol=1e-6)


def test_all_expressions_can_be_kept():
    figure = body_figure(load_compact(), parameters(), TIMES, all_expressions=True)
    assert tuple(figure.mesh.morphs) == load_compact().expression_names


def test_a_take_in_the_cameras_frame_stands_upright_with_gaps_hidden():
    bodies = parameters(3)
    (figure,) = take_figures(take(bodies, [0, 1, 3], [7, 7, 7], 5, "camera"), load_compact())
    assert figure.name == "person_007" and len(figure.motion.times) == 5
    seen = np.isfinite(figure.motion.translation).all(1)
    np.testing.assert_array_equal(seen, [True, True, False, True, False])
    np.testing.assert_allclose(figure.motion.translation[seen], posed(bodies).joints[:, 0] * [1, -1, -1], atol=1e-6)


def test_every_track_is_a_person_and_untracked_rows_are_one_each():
    figures = take_figures(take(parameters(4), [0, 0, 1, 1], [2, -1, 2, 1], 2), load_compact())
    assert [figure.name for figure in figures] == ["person_001", "person_002", "untracked_000001"]
    assert take_figures(take(parameters(0), [], [], 3), load_compact()) == []


def test_takes_without_bodies_or_of_another_model_are_refused():
    nobody = Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2)))
    with pytest.raises(FormatError, match="no bodies"):
        take_figures(nobody, load_compact())
    fewer = parameters(1)
    fewer = take(replace(fewer, pose=fewer.pose[:, :24]), [0], [0], 1)
    with pytest.raises(FormatError, match="model"):
        take_figures(fewer, load_compact())
    with pytest.raises(VitruvianError, match="times"):
        body_figure(load_compact(), parameters(), TIMES[:2])


def test_bvh_of_a_body_has_the_models_joints_where_they_are(tmp_path):
    model, bodies = load_compact(), parameters()
    times = np.arange(4) / 30
    write_bvh(body_bvh(body_figure(model, bodies, times), metres_per_unit=0.01), tmp_path / "take.bvh")
    motion = read_bvh(tmp_path / "take.bvh")
    positions, _ = forward_kinematics(motion)
    order = [motion.names.index(name) for name in model.joint_names]
    np.testing.assert_allclose(positions[:, order] / 100, posed(bodies).joints, atol=1e-4)
    assert motion.frame_time == pytest.approx(1 / 30)
    assert {motion.names[end] for end in motion.ends} >= {"left_thumb3", "right_toes", "jaw"}


def test_bvh_fills_gaps_and_cuts_the_ends():
    bodies = parameters(6)
    pose = bodies.pose.copy()
    pose[[0, 3]] = np.nan
    motion = body_bvh(body_figure(load_compact(), replace(bodies, pose=pose), np.arange(6) * 0.1))
    assert len(motion) == 5 and np.isfinite(motion.rotations).all()
    with pytest.raises(FormatError, match="no frame"):
        body_bvh(body_figure(load_compact(), replace(bodies, pose=pose * np.nan), np.arange(6) * 0.1))


def test_a_take_with_bodies_is_exported_by_its_suffix(tmp_path):
    bodies = parameters(3)
    take(bodies, [0, 1, 2], [5, 5, 5], 3).export(tmp_path / "take.glb")
    Glb(tmp_path / "take.glb").check()
    with pytest.raises(FormatError, match="only keypoints"):
        replace(take(bodies, [0, 1, 2], [5, 5, 5], 3), body="").export(tmp_path / "none.glb")
    assert not (tmp_path / "none.glb").exists()
