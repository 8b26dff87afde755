"""Points without the mesh: equal to the posed mesh's, and their derivatives equal to finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vitruvian.body.compact import load_compact
from vitruvian.body.fitting.jacobian import ROOT, blocks, point_jacobian
from vitruvian.body.fitting.moments import expression_jacobian, joint_frames, point_moments, pose_points
from vitruvian.body.fitting.poseprior import make_pose_prior
from vitruvian.body.fitting.terms import CameraTerm, PlaneTerm, PointTerm
from vitruvian.body.model import BodyModel, astype
from vitruvian.body.products import gram, product, solve_positive
from vitruvian.body.regressors import PointRegressor, point_regressor
from vitruvian.errors import VitruvianError

STEP = 1e-6


def small_model(correctives=True):
    """Five joints, thirty vertices, everything random, pose correctives: what the published models have and the compact body has not."""
    rng, v, j = np.random.default_rng(3), 30, 5
    return BodyModel(
        name="small", kind="custom", licence="", joint_names=tuple("abcde"), parents=(-1, 0, 1, 1, 3), faces=np.zeros((0, 3), int),
        template=rng.normal(size=(v, 3)), weights=rng.dirichlet(np.ones(j) * 0.3, v), joints=rng.normal(size=(j, 3)),
        shape_directions=rng.normal(size=(4, v, 3)), joint_shape_directions=rng.normal(size=(4, j, 3)),
        expression_directions=rng.normal(size=(2, v, 3)), joint_expression_directions=np.zeros((2, j, 3)),
        shape_names=tuple("1234"), expression_names=("x", "y"), shape_default=np.zeros(4),
        pose_directions=rng.normal(0, 0.1, (36, v, 3)) if correctives else None,
    )  # fmt: skip


def some_points(model):
    rng = np.random.default_rng(4)
    rows = np.repeat(np.arange(6), 3)
    columns = np.concatenate([rng.integers(0, model.num_vertices, 15), model.num_vertices + rng.integers(0, model.num_joints, 3)])
    return PointRegressor("some", tuple("uvwxyz"), rows, columns, rng.random(18), model.num_vertices, model.num_joints)


CASES = {
    "compact": lambda: (astype(load_compact(), np.float64), point_regressor(load_compact(), "coco-17")),
    "correctives": lambda: (small_model(), some_points(small_model())),
    "plain": lambda: (small_model(False), some_points(small_model())),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    model, regressor = CASES[request.param]()
    prior, rng, shapes = make_pose_prior(model), np.random.default_rng(5), 3
    values = {
        "translation": rng.normal(size=(2, 3)), "root": Rotation.random(2, random_state=6).as_matrix(),
        "z": rng.normal(0, 0.4, (2, prior.size)), "shape": rng.normal(size=(2, shapes)),
    }  # fmt: skip
    return model, regressor, prior, blocks(model, regressor, prior, shapes), values


def placed(case, block, values):
    model, _, prior, _, _ = case
    frames = joint_frames(model.parents, values["root"], prior.vectors(values["z"]))
    return (*pose_points(block.moments, frames, values["shape"], values["translation"]), frames)


def test_points_are_the_posed_meshs(case):
    model, regressor, prior, parts, values = case
    frames = joint_frames(model.parents, values["root"], prior.vectors(values["z"]))
    output = model.forward(frames.local, values["shape"], None, values["translation"])
    expected = regressor(output.vertices, output.joints)
    # A regressor's weights need not sum to one: translation and root then count by their sum, as in the regressor.
    for block in parts:
        assert np.allclose(placed(case, block, values)[0], expected[:, block.points], atol=1e-6)


def test_every_point_is_in_one_block(case):
    _, regressor, _, parts, _ = case
    assert sorted(np.concatenate([b.points for b in parts])) == list(range(len(regressor)))


def test_derivatives_are_finite_differences(case):
    _, _, prior, parts, values = case
    size = ROOT + prior.size + 3
    for block in parts:
        _, turned, frames = placed(case, block, values)
        jacobian = np.zeros((2, len(block.points), 3, size))
        jacobian[..., block.columns] = point_jacobian(block.moments, block.plan, frames, turned)
        for column in range(size):
            sides = []
            for sign in (1, -1):
                moved = {k: v.copy() for k, v in values.items()}
                if column < 3:
                    moved["translation"][:, column] += sign * STEP
                elif column < ROOT:
                    moved["root"] = Rotation.from_rotvec(sign * STEP * np.eye(3)[column - 3]).as_matrix() @ moved["root"]
                elif column < ROOT + prior.size:
                    moved["z"][:, column - ROOT] += sign * STEP
                else:
                    moved["shape"][:, column - ROOT - prior.size] += sign * STEP
                sides.append(placed(case, block, moved)[0])
            assert np.allclose(jacobian[..., column], (sides[0] - sides[1]) / (2 * STEP), atol=1e-6), column


def test_expression_derivatives_are_finite_differences():
    model = small_model()
    moments = point_moments(model, some_points(model), 2, expression=True)
    rng = np.random.default_rng(7)
    frames = joint_frames(model.parents, Rotation.random(2, random_state=1).as_matrix(), rng.normal(size=(2, 5, 3)))
    shape, zero = rng.normal(size=(2, 2)), np.zeros((2, 3))
    jacobian = expression_jacobian(moments, frames.world)
    neutral = pose_points(moments, frames, shape, zero, np.zeros((2, 2)))[0]
    for e in range(2):
        moved = pose_points(moments, frames, shape, zero, np.eye(2)[[e, e]])[0]
        assert np.allclose(jacobian[..., e], moved - neutral, atol=1e-9)


@pytest.mark.parametrize("robust", [None, 2.0])
@pytest.mark.parametrize("kind", ["point", "plane", "camera"])
def test_gradients_of_terms_are_finite_differences(kind, robust):
    rng = np.random.default_rng(8)
    points, weight, rows, which = rng.normal(size=(2, 4, 3)) + [0, 0, 5], rng.random((2, 4)), np.arange(2), np.arange(4)
    direction = rng.normal(size=(2, 4, 3))
    term = {
        "point": PointTerm(points + 0.3, weight, robust),
        "plane": PlaneTerm(points + 0.3, direction / np.linalg.norm(direction, axis=2, keepdims=True), weight, robust),
        "camera": CameraTerm(
            rng.normal(size=(2, 2, 4, 2)), np.stack([weight, weight], 1), np.tile(np.diag([3.0, 4, 1]), (2, 1, 1)),
            np.stack([np.eye(3), Rotation.from_euler("y", 0.2).as_matrix()]), rng.normal(0, 0.1, (2, 3)), robust,
        ),
    }[kind]  # fmt: skip
    jacobian = np.broadcast_to(np.eye(12).reshape(4, 3, 12), (2, 4, 3, 12))
    _, gradient, matrix = term.normal(rows, which, points, jacobian)
    for column in range(12):
        step = STEP * np.eye(12)[column].reshape(4, 3)
        above, below = (term.normal(rows, which, points + s * step, None)[0] for s in (1, -1))
        assert np.allclose(gradient[:, column], (above - below) / (4 * STEP), atol=1e-6)
    assert np.allclose(matrix, matrix.swapaxes(1, 2))


def test_a_missing_points_value_does_not_matter():
    weight = np.array([[1.0, 0.0]])
    term = PointTerm(np.array([[[0.0, 0, 0], [9e9, 9e9, 9e9]]]), weight)
    assert term.normal(np.array([0]), np.arange(2), np.ones((1, 2, 3)), None)[0][0] == pytest.approx(3)


def test_models_that_turn_in_frames_of_their_own_are_refused():
    model = replace(small_model(), joint_frames=np.tile(np.eye(3), (5, 1, 1)))
    with pytest.raises(VitruvianError, match="compact"):
        point_moments(model, some_points(model))


def test_another_models_regressor_is_refused():
    with pytest.raises(VitruvianError, match="point_regressor"):
        point_moments(load_compact(), some_points(small_model()))


def test_hinges_of_the_compact_body_are_hinges():
    body = load_compact()
    prior = make_pose_prior(body)
    finger = body.joint_names.index("left_index2")
    assert np.linalg.matrix_rank(prior.basis.reshape(69, 3, -1)[finger]) == 1
    assert not prior.basis[:3].any()


def test_nearest_pose_of_a_pose_in_the_space_is_itself():
    prior = make_pose_prior(astype(load_compact(), np.float64))
    z = np.random.default_rng(9).normal(0, 0.3, (3, prior.size))
    assert np.allclose(prior.nearest(prior.vectors(z)), z)


@pytest.mark.parametrize("size", [1, 16, 37])
def test_positive_systems_are_solved(size):
    rng = np.random.default_rng(10)
    root = rng.normal(size=(3, size, size))
    matrix, right = root @ root.swapaxes(1, 2) + np.eye(size), rng.normal(size=(3, size, 2))
    assert np.allclose(solve_positive(matrix, right), np.linalg.solve(matrix, right))


def test_an_indefinite_system_falls_back():
    matrix = np.array([[[0.0, 1], [1, 0]]])
    assert np.allclose(solve_positive(matrix, np.array([[[2.0], [3]]])), [[[3], [2]]])


@pytest.mark.parametrize("rows", [0, 1, 5, 4000])
def test_products_in_pieces_are_products(rows):
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=(rows, 40)), rng.normal(size=(40, 30))
    assert np.allclose(product(a, b), a @ b)
    assert np.allclose(gram(a[None], a[None] * 2), 2 * a.T @ a)
