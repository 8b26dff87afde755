"""HACK from its published folder layout, with random numbers: bones, uv, larynx, expression as differences, units, damage."""

import numpy as np
import pytest

from published_bodies import HACK_VERTICES, write_hack
from vitruvian.body.hack import BONES_FILE, is_hack, read_hack, read_obj
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.points import larynx_offsets
from vitruvian.errors import FormatError, VitruvianError


@pytest.fixture
def folder(tmp_path):
    write_hack(tmp_path / "model")
    return tmp_path / "model"


def test_model_from_the_published_folder(tmp_path):
    made = write_hack(tmp_path / "model")
    model = read_hack(tmp_path / "model")
    assert is_hack(tmp_path / "model") and model.kind == "hack" and model.num_joints == 8 and "rights" in model.licence
    np.testing.assert_allclose(model.template, made["mean"] * 0.01, atol=1e-6)
    np.testing.assert_allclose(model.shape_directions, made["shape"] * 0.01, atol=1e-6)
    np.testing.assert_allclose(model.expression_directions, (made["blendshape"][1:] - made["blendshape"][:1]) * 0.01, atol=1e-6)
    np.testing.assert_allclose(model.weights.sum(1), 1, atol=1e-6)
    assert model.faces.shape == (2 * 7 - 1, 3) or len(model.faces) == 2 * ((HACK_VERTICES - 4 + 3) // 4) + 1
    plain = read_hack(tmp_path / "model", "obj", unit=1.0)
    np.testing.assert_allclose(plain.template, made["template"], atol=1e-6)
    assert plain.num_shape == 0


def test_larynx_uses_the_new_uv_upside_down(tmp_path):
    made = write_hack(tmp_path / "model")
    uv = read_hack(tmp_path / "model").larynx.uv
    np.testing.assert_allclose(uv[:-2], np.stack([2 * made["uv"][:, 0] - 1, 1 - 2 * made["uv"][:, 1]], 1), atol=1e-6)
    assert (uv[-2:] == 2).all()


def test_larynx_slides_and_scales(folder):
    model = read_hack(folder, unit=1.0)
    still, large = larynx_offsets(model, np.zeros((2, 1)), np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(large, 2 * still, atol=1e-12)
    direction = model.larynx.direction.astype(float)
    np.testing.assert_allclose(np.cross(still, direction), 0, atol=1e-6)
    beyond = larynx_offsets(model, np.full((1, 1), 50.0), np.ones((1, 1)))[0]
    bottom = model.larynx.displacement[-1]
    column = np.clip((model.larynx.uv[0, 0] + 1) / 2 * 15, 0, 15)
    expected = np.interp(column, np.arange(16), bottom) * direction
    np.testing.assert_allclose(beyond[0], expected, atol=1e-6)
    assert larynx_offsets(model, np.zeros((0, 1)), np.zeros((0, 1))).shape == (0, HACK_VERTICES, 3)


def test_larynx_in_torch_is_the_same_and_differentiable(folder):
    torch = pytest.importorskip("torch")
    model = read_hack(folder)
    slide, size = np.array([[0.02], [-0.3]]), np.array([[1.0], [0.5]])
    tensor = torch.tensor(slide, requires_grad=True)
    found = larynx_offsets(model, tensor, torch.tensor(size))
    found.square().sum().backward()
    np.testing.assert_allclose(found.detach().numpy(), larynx_offsets(model, slide, size), atol=1e-12)
    assert tensor.grad.isfinite().all()


def test_posed_bones_are_the_published_chain(tmp_path):
    """World = product of [matrix | head + parent's length along y][rotation | 0], as the card writes it."""
    made = write_hack(tmp_path / "model")
    model = read_hack(tmp_path / "model", unit=1.0)
    pose = np.random.default_rng(1).normal(0, 0.3, (1, 8, 3))
    posed = model.forward(pose)
    world, length = np.eye(4), 0.0
    for bone, rotation in enumerate(rotation_matrices(pose[0])):
        local, turn = np.eye(4), np.eye(4)
        local[:3, :3], local[:3, 3], turn[:3, :3] = made["matrices"][bone], made["heads"][bone] + [0, length, 0], rotation
        world, length = world @ local @ turn, made["lengths"][bone]
        np.testing.assert_allclose(posed.joints[0, bone], world[:3, 3], atol=1e-5)


@pytest.mark.parametrize("name", ["template.obj", BONES_FILE, "S.npy", "P.npy", "blendshape.npy", "weight_map_smooth.npy", "Lc_mid.png"])
@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00damaged", b"{}"])
def test_missing_and_damaged_files_are_refused(folder, name, content):
    if name == "template.obj":
        (folder / "template_newuv.obj").unlink()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(VitruvianError):
        read_hack(folder)


def test_a_pickle_inside_an_array_is_not_trusted(folder):
    class Payload:
        def __reduce__(self):
            return print, ("ran",)

    np.save(folder / "S.npy", np.array(Payload(), object))
    with pytest.raises(FormatError, match="print"):
        read_hack(folder)


@pytest.mark.parametrize("line", ["v 1 2", "v a b c", "f 1 2 99999999999999999999", "f 0 1 2", "f 1/0 2 3", "f x y z"])
def test_damaged_meshes_are_refused(tmp_path, line):
    (tmp_path / "bad.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n{line}\n")
    with pytest.raises(FormatError):
        read_obj(tmp_path / "bad.obj")
