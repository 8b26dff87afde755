"""Bodies from surfaces: meshes in the model's topology, correspondence between topologies, scans."""

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.body.correspond import closest_points, parameters_from_mesh, through_joints
from vitruvian.body.fitting.scan import fit_scan, skin_vertices
from vitruvian.body.merge import as_smplh
from vitruvian.body.model import BodyParameters, subset
from vitruvian.errors import VitruvianError

BODY = load_compact()


def a_body(seed=0):
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.15, (1, 69, 3)).astype(np.float32)
    shape = np.zeros((1, 64), np.float32)
    shape[:, :6] = rng.normal(0, 0.5, (1, 6))
    return BodyParameters(pose, shape, np.zeros((1, 52), np.float32), np.array([[0.3, 1.0, -0.2]], np.float32))


def mesh_of(p, model=BODY):
    return model.forward(p.pose, p.shape, p.expression, p.translation).vertices


def test_a_mesh_gives_its_parameters_back():
    mesh = mesh_of(a_body())
    result = parameters_from_mesh(BODY, mesh, num_shape=6)
    assert result.ok.all()
    assert np.linalg.norm(mesh_of(result.parameters) - mesh, axis=2).mean() < 5e-4


def test_holes_in_a_mesh_are_ignored():
    mesh = mesh_of(a_body(1))
    holes = mesh.copy()
    holes[:, np.random.default_rng(2).random(13718) < 0.3] = np.nan
    result = parameters_from_mesh(BODY, holes, num_shape=6)
    assert np.linalg.norm(mesh_of(result.parameters) - mesh, axis=2).mean() < 2e-3


def test_a_mesh_on_another_skeleton():
    smplh = as_smplh(BODY)
    pose = np.random.default_rng(3).normal(0, 0.2, (1, 52, 3)).astype(np.float32)
    mesh = smplh.forward(pose).vertices
    result = parameters_from_mesh(BODY, mesh, num_shape=2)
    assert np.linalg.norm(mesh_of(result.parameters) - mesh, axis=2).mean() < 0.01


def test_conversion_through_joints():
    smplh, p = as_smplh(BODY), a_body(8)
    joints = BODY.forward(p.pose, p.shape, None, p.translation).joints
    result = through_joints(BODY, p, smplh, "smpl-24", sigma=0.002, num_shape=6)
    shared = [n for n in smplh.joint_names[:22] if n in BODY.joint_names and not n.startswith(("spine", "neck"))]
    mine = [BODY.joint_names.index(n) for n in shared]
    theirs = [result.names.index(n) for n in shared]
    assert np.linalg.norm(result.points[:, theirs] - joints[:, mine], axis=2).mean() < 0.02


def test_empty_and_missing_meshes():
    assert len(parameters_from_mesh(BODY, np.zeros((0, 13718, 3)), num_shape=2)) == 0
    assert not parameters_from_mesh(BODY, np.full((1, 13718, 3), np.nan), num_shape=2).ok.any()


def test_a_mesh_of_another_topology_is_refused():
    with pytest.raises(VitruvianError, match="13718"):
        parameters_from_mesh(BODY, np.zeros((1, 100, 3)))


def test_points_on_a_surface_are_their_own_closest():
    rng = np.random.default_rng(4)
    face = rng.integers(0, len(BODY.faces), 200)
    points = np.einsum("nc,nci->ni", rng.dirichlet([1, 1, 1], 200), BODY.template[BODY.faces[face]])
    found = closest_points(points, BODY.template, BODY.faces)
    assert found.distance.max() < 5e-4
    assert np.abs(found(BODY.template[None])[0] - points).max() < 5e-4


def test_closest_places_of_one_triangle():
    corners, faces = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])
    points = np.array([[0.2, 0.2, 3.0], [2, 0, 0], [-1, -1, 0], [1, 1, 0]])
    found = closest_points(points, corners, faces)
    assert np.allclose(found(corners[None])[0], [[0.2, 0.2, 0], [1, 0, 0], [0, 0, 0], [0.5, 0.5, 0]])


def test_a_correspondence_carries_poses_across():
    some = closest_points(BODY.template[::50], BODY.template, BODY.faces)
    mesh = mesh_of(a_body(5))
    assert np.abs(some(mesh) - mesh[:, ::50]).max() < 1e-3


def test_correspondence_refuses_a_mesh_without_faces_and_another_topology():
    with pytest.raises(VitruvianError, match="faces"):
        closest_points(np.zeros((1, 3)), BODY.template, np.zeros((0, 3), int))
    with pytest.raises(VitruvianError, match="topology"):
        closest_points(np.zeros((1, 3)), BODY.template, BODY.faces)(np.zeros((1, 2, 3)))


def cloud_of(mesh, count=4000, seed=6):
    rng = np.random.default_rng(seed)
    face = BODY.faces[rng.integers(0, len(BODY.faces), count)]
    return np.einsum("nc,nci->ni", rng.dirichlet([1, 1, 1], count), mesh[face]) + rng.normal(0, 0.002, (count, 3))


def calm():
    """Within the fitted space: hips, shoulders and elbows only."""
    p = a_body(7)
    pose = np.zeros_like(p.pose)
    for name in ("left_hip", "right_shoulder", "left_shoulder"):
        pose[0, BODY.joint_names.index(name)] = [-0.2, 0.1, 0.15]
    pose[0, 0, 1] = 0.8
    return BodyParameters(pose, p.shape, p.expression, p.translation)


def test_a_scan_is_met_from_a_rough_start():
    truth = calm()
    start = BodyParameters(truth.pose + np.float32(0.02), truth.shape * 0, truth.expression, truth.translation + np.float32(0.02))
    mesh = mesh_of(truth)
    cloud = cloud_of(mesh[0])
    cloud[:10] = np.nan
    result = fit_scan(BODY, [cloud], start=start, num_shape=8)
    assert result.ok.all() and result.error[0] < 0.02  # the cloud's points are 2 cm apart
    assert np.linalg.norm(mesh_of(result.parameters) - mesh, axis=2).mean() < 0.012


def test_a_standing_scan_needs_no_start():
    mesh = mesh_of(calm())
    result = fit_scan(BODY, [cloud_of(mesh[0])], num_shape=8)
    assert np.linalg.norm(mesh_of(result.parameters) - mesh, axis=2).mean() < 0.03


def test_scans_in_order_keep_one_shape():
    truth = calm()
    meshes = [
        mesh_of(BodyParameters(truth.pose, truth.shape, truth.expression, truth.translation + np.float32(0.02 * i)))[0] for i in range(2)
    ]
    result = fit_scan(BODY, [cloud_of(m) for m in meshes], start=truth, sequence=True, rounds=6, num_shape=8)
    assert np.ptp(result.parameters.shape, axis=0).max() == 0
    assert result.parameters.translation[1, 0] - result.parameters.translation[0, 0] == pytest.approx(0.02, abs=0.005)


def test_scans_of_nothing():
    assert len(fit_scan(BODY, [], num_shape=8)) == 0
    result = fit_scan(BODY, [np.zeros((0, 3)), np.full((60, 3), np.nan)], num_shape=8)
    assert list(result.ok) == [False, False] and np.isnan(result.parameters.pose).all()


def test_what_does_not_fit_a_scan_is_said():
    with pytest.raises(VitruvianError, match="cloud 0"):
        fit_scan(BODY, [np.zeros((5, 2))], num_shape=8)
    with pytest.raises(VitruvianError, match="normals"):
        fit_scan(BODY, [np.zeros((60, 3))], normals=[np.zeros((2, 3))], num_shape=8)
    with pytest.raises(VitruvianError, match="start"):
        fit_scan(BODY, [np.zeros((60, 3))], start=a_body()[np.zeros(0, int)], num_shape=8)
    with pytest.raises(VitruvianError, match="faces"):
        skin_vertices(subset(BODY, np.arange(10)))
