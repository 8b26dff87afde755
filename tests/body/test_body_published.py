"""Every layout of the published files gives the same model; what contradicts itself is refused with a reason."""

import numpy as np
import pytest

from published_bodies import PARENTS, entries, flame_landmarks, write_npz
from vitruvian.body.library import read_body
from vitruvian.body.names import JOINT_NAMES, PART_NAMES
from vitruvian.body.pickles import SparseMatrix
from vitruvian.body.published import Extras, from_arrays
from vitruvian.errors import FormatError


@pytest.mark.parametrize("kind", ["smpl", "smplh", "smplx", "mano", "flame"])
def test_kind_is_told_by_the_joints(kind):
    model = from_arrays(entries(kind))
    assert model.kind == model.name == kind and model.parents == PARENTS[kind] and model.joint_names == JOINT_NAMES[kind]
    assert model.licence and model.template.dtype == np.float32 and model.faces.dtype == np.int32
    assert set(model.pose_slices) >= {"root"} and model.pose_slices["root"] == slice(0, 1)


@pytest.mark.parametrize("kind", ["smpl", "mano"])
def test_layouts_of_the_pose_directions_are_the_same(kind):
    found = entries(kind)
    directions = found["posedirs"]
    v, _, p = directions.shape
    flat = directions.reshape(3 * v, p)
    expected = from_arrays(found).pose_directions
    for layout in (flat, flat.T, np.asfortranarray(directions), directions.astype(np.float32)):
        np.testing.assert_allclose(from_arrays(found | {"posedirs": layout}).pose_directions, expected, atol=1e-7)


def test_root_may_be_written_in_any_way():
    found = entries("mano")
    for root in (2**32 - 1, -1, 0):
        table = found["kintree_table"].astype(np.int64)
        table[0, 0] = root
        assert from_arrays(found | {"kintree_table": table}).parents == PARENTS["mano"]


def test_regressor_may_be_sparse_or_transposed():
    found = entries("smpl")
    dense = found["J_regressor"]
    rows, columns = dense.nonzero()
    sparse = SparseMatrix(dense[rows, columns], rows, columns, dense.shape)
    expected = from_arrays(found).joint_shape_directions
    for regressor in (sparse, dense.T):
        np.testing.assert_allclose(from_arrays(found | {"J_regressor": regressor}).joint_shape_directions, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "columns", "shapes", "expressions"),
    [("smpl", 10, 10, 0), ("smpl", 300, 300, 0), ("smplh", 16, 16, 0), ("smplx", 20, 10, 10), ("smplx", 400, 300, 100)]
    + [("flame", 400, 300, 100), ("flame", 20, 10, 10), ("mano", 10, 10, 0)],
)
def test_shape_and_expression_share_the_columns(kind, columns, shapes, expressions):
    found = entries(kind, shapes=columns)
    model = from_arrays(found)
    assert (model.num_shape, model.num_expression) == (shapes, expressions)
    directions = np.moveaxis(found["shapedirs"], 2, 0)
    np.testing.assert_allclose(model.shape_directions, directions[:shapes], atol=1e-7)
    np.testing.assert_allclose(model.expression_directions, directions[shapes : shapes + expressions], atol=1e-7)
    few = from_arrays(found, num_shape=5, num_expression=3)
    assert (few.num_shape, few.num_expression) == (5, min(3, expressions))


def left_and_right(bug: bool) -> tuple[dict, dict]:
    """A right hand and its mirror; with the released files' bug the left one has the right one's shape directions in x."""
    right = entries("mano")
    left = {name: np.array(value) for name, value in right.items() if isinstance(value, np.ndarray)}
    left["v_template"][:, 0] *= -1
    left["posedirs"][:, 0] *= -1
    left["shapedirs"][:, 0] *= 1 if bug else -1
    return left, right


@pytest.mark.parametrize(("bug", "note"), [(True, "applied"), (False, "not applied")])
def test_left_hand_is_fixed_where_it_needs_it(bug, note):
    left, right = left_and_right(bug)
    model, mirror = from_arrays(left, "mano-left", extras=Extras(other_hand=right)), from_arrays(right, "mano-right")
    assert model.notes == {"fix_left_shape": note} and mirror.notes == {}
    shape = np.random.default_rng(0).normal(size=(2, 10))
    np.testing.assert_allclose(model.rest(shape)[0], mirror.rest(shape)[0] * [-1, 1, 1], atol=1e-6)


def test_left_fix_can_be_forced_or_forbidden():
    left, right = left_and_right(True)
    raw = np.moveaxis(left["shapedirs"], 2, 0)
    as_it_is = from_arrays(left, "mano-left", fix_left_shape=False, extras=Extras(other_hand=right))
    np.testing.assert_allclose(as_it_is.shape_directions, raw, atol=1e-7)
    turned = from_arrays(left, "mano-left", fix_left_shape=True)
    np.testing.assert_allclose(turned.shape_directions, raw * [-1, 1, 1], atol=1e-7)
    alone = from_arrays(left, "mano-left")
    assert alone.notes["fix_left_shape"].startswith("unknown")
    np.testing.assert_allclose(alone.shape_directions, raw, atol=1e-7)


def test_unmerged_smplh_takes_its_hands_from_mano():
    found = {name: value for name, value in entries("smplh").items() if not name.startswith("hands")}
    left, right = entries("mano", seed=5), entries("mano", seed=6)
    model = from_arrays(found, extras=Extras(left_hand=left, right_hand=right))
    np.testing.assert_allclose(model.hands["left_hand"].components, left["hands_components"], atol=1e-6)
    np.testing.assert_allclose(model.hands["right_hand"].mean, right["hands_mean"], atol=1e-6)
    assert from_arrays(found).hands == {}


def test_kid_is_the_last_shape_direction():
    found = entries("smplx")
    kid = found["v_template"] * 0.5 + 3.0
    model = from_arrays(found, extras=Extras(kid=kid))
    assert model.num_shape == 11 and model.shape_names[-1] == "kid"
    shape = np.zeros((1, 11))
    shape[0, 10] = 1
    np.testing.assert_allclose(model.rest(shape)[0][0], kid - kid.mean(0), atol=1e-5)
    with pytest.raises(FormatError, match="kid template"):
        from_arrays(found, extras=Extras(kid=kid[:5]))


def test_parts_follow_the_strongest_joint():
    model = from_arrays(entries("smplx", vertices=400))
    names = np.array(model.joint_names)[model.weights.argmax(1)]
    parts = np.array(PART_NAMES)[model.vertex_parts]
    assert set(parts[names == "left_pinky2"]) <= {"left_hand"} and set(parts[names == "right_wrist"]) <= {"right_hand"}
    assert set(parts[names == "jaw"]) <= {"head"} and set(parts[names == "left_eye"]) <= {"head"}
    assert set(parts[names == "right_foot"]) <= {"right_foot"} and set(parts[names == "left_knee"]) <= {"body"}
    assert set(PART_NAMES) == set(parts)


def test_texture_is_kept_where_it_fits():
    found = entries("smplx")
    model = from_arrays(found)
    assert model.uv.shape == (50, 2) and model.uv_faces.shape == model.faces.shape
    assert from_arrays(found | {"ft": found["ft"] + 100}).uv is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"v_template": None}, "no 'v_template'"),
        ({"kintree_table": np.zeros((2, 23), int)}, "23 joints"),
        ({"kintree_table": np.zeros((2, 24))}, r"\(2, joints\)"),
        ({"posedirs": np.zeros((40, 3, 5))}, "posedirs"),
        ({"weights": np.zeros((39, 24))}, "contradict"),
        ({"weights": np.zeros((40, 24), object)}, "not an array of numbers"),
        ({"f": np.array([[0, 1, 40]])}, "vertex that is not there"),
        ({"f": np.array([[0, 1, -1]])}, "vertex that is not there"),
        ({"J_regressor": np.zeros((24, 41))}, "J_regressor"),
        ({"v_template": np.full((40, 3), np.nan)}, "not finite"),
        ({"shapedirs": np.zeros((41, 3, 10))}, "contradict"),
    ],
)
def test_contradictions_are_refused(change, text):
    found = {name: value for name, value in (entries("smpl") | change).items() if value is not None}
    with pytest.raises(FormatError, match=text):
        from_arrays(found)


STRANGE = (
    *(None, 5, "x", b"x", [], [1, 2], {}, (1,), np.zeros(()), np.zeros(0), np.zeros((0, 3)), np.zeros((2, 0)), np.zeros((40, 3, 0))),
    *(np.zeros((0, 3, 10)), np.zeros((40, 3), complex), np.array([{}], object), np.array(["a"]), np.full((40, 3), np.inf)),
    *(np.zeros((1,) * 12), np.full((2, 16), 2**63, np.uint64), np.full((2, 16), np.nan), np.full((30, 3), 2**63, np.uint64)),
    *(np.full(51, np.nan), SparseMatrix(np.ones(1), np.zeros(1, int), np.zeros(1, int), (1 << 30, 1 << 30))),
)


@pytest.mark.parametrize("name", sorted(entries("mano")))
def test_strange_entries_are_read_or_refused(name):
    for value in STRANGE:
        try:
            from_arrays(entries("mano") | {name: value})
        except FormatError:
            pass


def test_an_npz_may_hold_a_sparse_regressor(tmp_path):
    import scipy.sparse

    found = entries("smpl")
    path = write_npz(tmp_path / "SMPL_MALE.npz", found | {"J_regressor": np.array(scipy.sparse.csc_matrix(found["J_regressor"]), object)})
    np.testing.assert_allclose(read_body(path).joints, from_arrays(found).joints, atol=1e-6)


def test_a_tree_with_children_first_is_refused():
    found = entries("smpl")
    table = found["kintree_table"].copy()
    table[0, 1] = 5
    with pytest.raises(FormatError, match="tree"):
        from_arrays(found | {"kintree_table": table})


@pytest.mark.parametrize("name", ["lmk_face_idx", "lmk_b_coords"])
def test_landmarks_that_lead_nowhere_are_refused(name):
    static, contour = flame_landmarks()
    static[name] = static[name] + 1000 if name == "lmk_face_idx" else static[name][:7]
    with pytest.raises(FormatError):
        from_arrays(entries("flame"), extras=Extras(static=static, contour=contour))
