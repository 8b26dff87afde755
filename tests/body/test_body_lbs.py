"""The two cores: equal to each other and to the equations read literally, differentiable, broadcasting, and safe with empty batches."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from published_bodies import entries
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyModel, PhenotypeSpace, RestAlignment, astype, limit_shape, subset
from vitruvian.body.published import from_arrays
from vitruvian.errors import VitruvianError

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from vitruvian.body.torch import TorchBody  # noqa: E402
from vitruvian.body.torch import rotation_matrices as torch_rotation_matrices  # noqa: E402

FIELDS = ("vertices", "joints", "rest_joints", "rotations", "transforms")


def with_frames(model: BodyModel) -> BodyModel:
    """Rotations given in joint frames, as HACK has them."""
    frames = rotation_matrices(np.random.default_rng(3).normal(0, 1, (model.num_joints, 3)))
    return replace(model, joint_frames=frames)


def with_phenotypes(model: BodyModel) -> BodyModel:
    """Semantic shapes and bones with orientations of their own, as Anny has them: two factors with 3 and 2 anchors, one local change."""
    rng, j = np.random.default_rng(4), model.num_joints
    space = PhenotypeSpace(
        anchors=(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0])),
        fixed=(np.array([0.25, 0.75]),),
        targets=np.array([[0, 2, 5], [1, 3, 6], [2, 7, 7], [4, 5, 7], [3, 6, 0]]),
        basis=rng.normal(0, 1, (5, 8)),
        num_local=1,
    )
    turns = rotation_matrices(rng.normal(0, 1, (j, 3)))
    moved, directions = turns + rng.normal(0, 0.1, (j, 3, 3)), rng.normal(0, 0.05, (10, j, 3, 3))
    moved[0], directions[:, 0] = np.eye(3), 0  # as Anny's root: equal singular values
    alignment = RestAlignment(turns, moved, directions)
    names, default = ("first", "second", "local"), np.array([0.5, 0.5, 0.0])
    return replace(model, phenotypes=space, rest_alignment=alignment, shape_names=names, shape_default=default)


@pytest.fixture(scope="module")
def models() -> dict[str, BodyModel]:
    smplx = astype(from_arrays(entries("smplx")), np.float64)
    return {
        "smplx": smplx,
        "no correctives": replace(smplx, pose_directions=None),
        "joint frames": with_frames(smplx),
        "phenotypes": with_phenotypes(smplx),
        "mano": astype(from_arrays(entries("mano")), np.float64),
    }


def draw(model: BodyModel, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "pose": rng.normal(0, 0.7, (n, model.num_joints, 3)),
        "shape": rng.uniform(0, 1, (n, model.num_shape)),
        "expression": rng.normal(0, 1, (n, model.num_expression)),
        "translation": rng.normal(0, 1, (n, 3)),
        "offsets": rng.normal(0, 0.1, (n, model.num_vertices, 3)),
    }


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in inputs.items()}


NAMES = ("smplx", "no correctives", "joint frames", "phenotypes", "mano")


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_torch_and_numpy_agree_in_float64(models, name, portable):
    model = models[name]
    inputs = draw(model, 3)
    one, other = model.forward(**inputs), TorchBody(model, portable)(**tensors(inputs))
    for field in FIELDS:
        np.testing.assert_allclose(getattr(other, field).numpy(), getattr(one, field), atol=1e-12, err_msg=field)


def test_torch_and_numpy_agree_in_float32(models):
    model = astype(models["smplx"], np.float32)
    inputs = {name: value.astype(np.float32) for name, value in draw(model, 5).items()}
    one, other = model.forward(**inputs), TorchBody(model)(**tensors(inputs))
    assert one.vertices.dtype == np.float32 and other.vertices.dtype == torch.float32
    np.testing.assert_allclose(other.vertices.numpy(), one.vertices, atol=1e-5)


def test_cores_follow_the_equations_read_literally():
    literal = pytest.importorskip("tests.parity.literal")
    found = entries("mano")
    model = astype(from_arrays(found), np.float64)
    inputs = draw(model, 4)
    rotations = torch.tensor(rotation_matrices(inputs["pose"]))
    vertices, joints = literal.pose_literally(model, found["J_regressor"], rotations, torch.tensor(inputs["shape"]))
    posed = model.forward(inputs["pose"], inputs["shape"])
    np.testing.assert_allclose(posed.vertices, vertices.numpy(), atol=1e-7)  # the model kept the file's numbers in float32
    np.testing.assert_allclose(posed.joints, joints.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_transforms_take_the_corrected_rest_mesh_to_the_posed_one(models, name):
    model = replace(models[name], pose_directions=None)
    inputs = draw(model, 2)
    posed = model.forward(**inputs)
    rest, joints = model.rest(inputs["shape"], inputs["expression"], inputs["offsets"])
    maps = np.einsum("vj,njab->nvab", model.weights, posed.transforms)
    expected = (maps[..., :3] @ rest[..., None])[..., 0] + maps[..., 3] + inputs["translation"][:, None]
    np.testing.assert_allclose(posed.vertices, expected, atol=1e-12)
    moved = (posed.transforms[..., :3] @ joints[..., None])[..., 0] + posed.transforms[..., 3] + inputs["translation"][:, None]
    np.testing.assert_allclose(posed.joints, moved, atol=1e-12)


def test_matrices_and_rotation_vectors_give_the_same(models):
    model = models["smplx"]
    inputs = draw(model, 2)
    matrices = rotation_matrices(inputs["pose"])
    np.testing.assert_array_equal(model.forward(matrices).vertices, model.forward(inputs["pose"]).vertices)
    same = TorchBody(model)(torch.tensor(matrices)).vertices - TorchBody(model)(torch.tensor(inputs["pose"])).vertices
    assert same.abs().max() < 1e-12


@pytest.mark.parametrize("alone", ["pose", "shape", "expression", "translation", "offsets"])
def test_one_row_of_any_input_broadcasts(models, alone):
    model = models["smplx"]
    inputs = draw(model, 4)
    inputs = {name: value if name == alone else value[:1] for name, value in inputs.items()}
    whole = {name: np.repeat(value, 4 // len(value), 0) for name, value in inputs.items()}
    expected = model.forward(**whole)
    for output in (model.forward(**inputs), TorchBody(model)(**tensors(inputs))):
        for field in FIELDS:
            assert getattr(output, field).shape == getattr(expected, field).shape
            np.testing.assert_allclose(np.asarray(getattr(output, field)), getattr(expected, field), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_bodies_are_an_answer(models, name):
    model = models[name]
    inputs = draw(model, 0)
    for output in (model.forward(**inputs), TorchBody(model)(**tensors(inputs))):
        assert output.vertices.shape == (0, model.num_vertices, 3) and output.transforms.shape == (0, model.num_joints, 3, 4)
    assert model.forward(inputs["pose"], None, None, draw(model, 1)["translation"]).joints.shape == (0, model.num_joints, 3)


def test_without_inputs_the_body_stands_in_its_rest(models):
    model = models["smplx"]
    for output in (model.forward(), TorchBody(model)()):
        np.testing.assert_allclose(np.asarray(output.vertices)[0], model.template, atol=1e-12)
        np.testing.assert_allclose(np.asarray(output.joints)[0], model.joints, atol=1e-12)


def test_fewer_shapes_mean_zeros_for_the_rest(models):
    model = models["smplx"]
    inputs = draw(model, 2)
    few, padded = inputs["shape"][:, :4], np.pad(inputs["shape"][:, :4], ((0, 0), (0, 6)))
    np.testing.assert_allclose(model.forward(shape=few).vertices, model.forward(shape=padded).vertices, atol=1e-12)
    torch_few = TorchBody(model)(shape=torch.tensor(few)).vertices.numpy()
    np.testing.assert_allclose(torch_few, model.forward(shape=padded).vertices, atol=1e-12)


def test_phenotypes_interpolate_and_default_to_the_middle(models):
    model = models["phenotypes"]
    middle = model.rest(np.array([[0.5, 0.5, 0.0]]))[0]
    np.testing.assert_allclose(model.rest()[0], middle, atol=1e-12)
    np.testing.assert_allclose(model.rest(np.array([[0.5]]))[0], middle, atol=1e-12)
    ends = model.rest(np.array([[0.5, 0.0, 0.3], [0.5, 1.0, 0.3], [0.5, 0.25, 0.3]]))[0]
    np.testing.assert_allclose(ends[2], 0.75 * ends[0] + 0.25 * ends[1], atol=1e-12)
    beyond = model.rest(np.array([[0.5, 7.0, 0.3]]))[0]
    np.testing.assert_allclose(beyond[0], ends[1], atol=1e-12)


def test_joints_only_and_rest_are_those_of_the_whole(models):
    for model in models.values():
        inputs, body = tensors(draw(model, 3)), TorchBody(model)
        whole = body(**inputs)
        offsets = inputs.pop("offsets")
        assert (body.joints_only(**inputs) - whole.joints).abs().max() < 1e-12
        vertices, joints = body.rest(inputs["shape"], inputs["expression"], offsets)
        expected = model.rest(*(a.numpy() for a in (inputs["shape"], inputs["expression"], offsets)))
        np.testing.assert_allclose(vertices.numpy(), expected[0], atol=1e-12)
        np.testing.assert_allclose(joints.numpy(), expected[1], atol=1e-12)


def test_large_batches_are_the_same_as_single_bodies(models, monkeypatch):
    import vitruvian.body.torch as core

    monkeypatch.setattr(core, "_BLOCK", 300)  # several blocks of vertices
    model = from_arrays(entries("mano", vertices=700))
    inputs = {name: value.astype(np.float32) for name, value in draw(model, 40).items()}
    several, body = TorchBody(model)(**tensors(inputs)).vertices, TorchBody(model)
    numpy_several = model.forward(**inputs).vertices
    for row in (0, 17, 39):
        one = body(**{name: torch.tensor(value[row : row + 1]) for name, value in inputs.items()}).vertices[0]
        assert (several[row] - one).abs().max() < 1e-5
        np.testing.assert_allclose(numpy_several[row], one.numpy(), atol=1e-5)


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("name", ["smplx", "joint frames", "phenotypes"])
def test_gradients_are_right(models, name, portable):
    model = subset(models[name], np.arange(6))
    inputs = tensors(draw(model, 2))
    inputs["pose"][0, :4] = 0  # rotations by nothing
    body = TorchBody(model, portable)
    run = lambda *values: body(**dict(zip(inputs, values, strict=True))).vertices  # noqa: E731
    assert torch.autograd.gradcheck(run, [value.requires_grad_() for value in inputs.values()], atol=1e-5, fast_mode=True)


def test_forward_derivatives_and_vmap_agree_with_backward_ones(models):
    model = subset(models["smplx"], np.arange(3))
    body, inputs = TorchBody(model), tensors(draw(model, 1))
    run = lambda pose: body(pose, inputs["shape"]).vertices  # noqa: E731
    forward, backward = torch.func.jacfwd(run)(inputs["pose"]), torch.func.jacrev(run)(inputs["pose"])
    assert (forward - backward).abs().max() < 1e-10
    several = torch.tensor(draw(model, 4)["pose"])
    mapped = torch.vmap(lambda pose: body(pose[None]).vertices[0])(several)
    assert (mapped - body(several).vertices).abs().max() < 1e-12


def test_rotations_are_exact_and_smooth_at_zero():
    from scipy.spatial.transform import Rotation

    vectors = np.random.default_rng(0).normal(0, 2, (200, 3))
    vectors[:4] = [[0, 0, 0], [1e-9, 0, 0], [0, 1e-4, 0], [0, 0, np.pi]]
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotation_matrices(vectors), expected, atol=1e-14)
    np.testing.assert_allclose(torch_rotation_matrices(torch.tensor(vectors)).numpy(), expected, atol=1e-14)
    zero = torch.zeros(1, 3, requires_grad=True)
    gradient = torch.autograd.functional.jacobian(torch_rotation_matrices, zero)[0, :, :, 0]
    generators = [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]]
    assert torch.equal(gradient, torch.tensor(generators).permute(1, 2, 0).float())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_turning_the_root_turns_the_body_about_its_root_joint(seed):
    model = astype(from_arrays(entries("mano", seed=1)), np.float64)
    inputs = draw(model, 1, seed)
    inputs.pop("offsets")
    turn = rotation_matrices(np.random.default_rng(seed).normal(0, 2, (1, 3)))
    before = model.forward(**inputs)
    matrices = rotation_matrices(inputs["pose"])
    matrices[:, 0] = turn @ matrices[:, 0]
    after = model.forward(**(inputs | {"pose": matrices}))
    pivot = before.joints[:, :1]
    np.testing.assert_allclose(after.vertices, (before.vertices - pivot) @ turn[0].T + pivot, atol=1e-6)  # the weights were float32
    np.testing.assert_allclose(after.joints, (before.joints - pivot) @ turn[0].T + pivot, atol=1e-6)


def test_subset_keeps_vertices_and_all_joints(models):
    chosen = np.array([7, 3, 30])
    for model in models.values():
        inputs = draw(model, 2)
        inputs.pop("offsets")
        whole, part = model.forward(**inputs), subset(model, chosen).forward(**inputs)
        np.testing.assert_allclose(part.vertices, whole.vertices[:, chosen], atol=1e-12)
        np.testing.assert_allclose(part.joints, whole.joints, atol=1e-12)
    nothing = subset(models["smplx"], np.zeros(0, int))
    assert nothing.forward().vertices.shape == (1, 0, 3) and TorchBody(nothing)().vertices.shape == (1, 0, 3)


def test_limit_shape_is_the_same_with_fewer_numbers(models):
    model = models["smplx"]
    small, inputs = limit_shape(model, 3, 2), draw(model, 2)
    assert (small.num_shape, small.num_expression) == (3, 2)
    few = small.forward(shape=inputs["shape"][:, :3], expression=inputs["expression"][:, :2])
    whole = model.forward(shape=inputs["shape"][:, :3], expression=inputs["expression"][:, :2])
    np.testing.assert_array_equal(few.vertices, whole.vertices)
    with pytest.raises(VitruvianError, match="semantic"):
        limit_shape(models["phenotypes"], 1)


def test_a_checkpoint_carries_no_body(models):
    assert not TorchBody(models["smplx"]).state_dict()


def test_double_moves_everything(models):
    body = TorchBody(astype(models["phenotypes"], np.float32)).double()
    assert body(torch.zeros(1, 55, 3, dtype=torch.float64)).vertices.dtype == torch.float64


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"pose": np.zeros((2, 54, 3))}, r"pose .*\(n, 55, 3\) or \(n, 55, 3, 3\)"),
        ({"pose": np.zeros((2, 165))}, "pose"),
        ({"shape": np.zeros((1, 11))}, r"shape .*\(n, 10\)"),
        ({"expression": np.zeros(10)}, "expression"),
        ({"translation": np.zeros((1, 4))}, "translation"),
        ({"offsets": np.zeros((1, 3, 3))}, "offsets"),
        ({"pose": np.zeros((2, 55, 3)), "shape": np.zeros((3, 10))}, "batch sizes"),
    ],
)
def test_wrong_shapes_are_refused_with_the_right_ones(models, inputs, text):
    model = models["smplx"]
    for run, given_inputs in ((model.forward, inputs), (TorchBody(model), tensors(inputs))):
        with pytest.raises(VitruvianError, match=text):
            run(**given_inputs)


@pytest.mark.slow
def test_portable_body_exports_to_onnx_with_any_batch(models, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = astype(models["smplx"], np.float32)
    body, names = TorchBody(model, portable=True), ("pose", "shape", "expression", "translation")

    class Posed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, pose, shape, expression, translation):
            return self.body(pose, shape, expression, translation).vertices

    draws = [{name: torch.tensor(value).float() for name, value in draw(model, n).items() if name in names} for n in (2, 5)]
    batch = torch.export.Dim("n", min=2, max=1000)
    arguments = tuple(draws[0][name] for name in names)
    program = torch.onnx.export(Posed(), arguments, dynamo=True, input_names=names, dynamic_shapes=[{0: batch}] * 4, verbose=False)
    program.save(tmp_path / "body.onnx")
    session = runtime.InferenceSession(tmp_path / "body.onnx")
    (found,) = session.run(None, {name: draws[1][name].numpy() for name in names})
    np.testing.assert_allclose(found, body(**draws[1]).vertices.numpy(), atol=1e-5)
