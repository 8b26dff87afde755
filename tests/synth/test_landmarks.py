"""The landmarks on a real Anny body: places, symmetry, and that points follow the face and the fingers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

anny = pytest.importorskip("anny", reason="needs the synth extra")
torch = pytest.importorskip("torch", reason="needs the synth extra")

from vitruvian.errors import FormatError  # noqa: E402
from vitruvian.synth.landmarks import landmarks_for, mirror_vertices  # noqa: E402

# iBUG flip order of the 68 face points, as published.
FACE_SWAP = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
FACE_SWAP += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
LEFT_FEET_FIRST = ["left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"]


@pytest.fixture(scope="module")
def model():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield anny.Anny(rig="anny", topology="anny", facial_actions="all", phenotypes="default").to(dtype=torch.float32)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def landmarks(model):
    return landmarks_for(model)


@pytest.fixture(scope="module")
def pose(model):
    """Function: facial actions, turned bones -> vertices and bone heads of one body."""

    def posed(actions=None, turns=None, **phenotype):
        weights = torch.zeros(1, len(model.facial_action_labels))
        for name, weight in (actions or {}).items():
            weights[0, model.facial_action_labels.index(name)] = weight
        turned = torch.eye(4).repeat(1, len(model.bone_labels), 1, 1)
        for name, rotation in (turns or {}).items():
            turned[0, model.bone_labels.index(name), :3, :3] = torch.as_tensor(rotation, dtype=torch.float32)
        with torch.no_grad():
            output = model(pose_parameters=turned, facial_actions=weights, phenotype_kwargs=phenotype)
        return output["vertices"].numpy(), output["bone_poses"][..., :3, 3].numpy()

    return posed


@pytest.fixture(scope="module")
def at_rest(landmarks, pose):
    return landmarks.wholebody133(*pose())[0]


def test_swap_pairs_are_mirror_vertices(model, landmarks):
    template = model.template_vertices.numpy().astype(np.float64)
    face = template[landmarks.face_vertices]
    np.testing.assert_allclose(face[FACE_SWAP] * [-1, 1, 1], face, atol=1e-6)
    left, right = template[landmarks.tip_vertices]
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-6)
    mirror = mirror_vertices(template)
    for one, other in (("left_hand", "right_hand"), ("left_foot", "right_foot")):
        assert set(mirror[getattr(landmarks, one)]) == set(getattr(landmarks, other))
    assert len(set(landmarks.face_vertices)) == 68


def test_left_points_are_on_the_persons_left(at_rest):
    face_left = np.r_[9:17, 22:27, 42:48]
    face_right = np.r_[0:8, 17:22, 36:42]
    left = np.r_[1:16:2, 17:20, 23 + face_left, 91:112]
    right = np.r_[2:17:2, 20:23, 23 + face_right, 112:133]
    assert (at_rest[left, 0] > 0.01).all()
    assert (at_rest[right, 0] < -0.01).all()


def test_body_points_agree_with_the_full_regressor_on_other_bodies(model, landmarks, pose):
    regressor = anny.KeypointsRegressor.coco(model)
    order = [*range(17), *(regressor.labels.index(name) for name in LEFT_FEET_FIRST)]
    bend = [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]]
    vertices, heads = pose(turns={"lowerleg01.L": bend, "lowerarm01.R": bend, "neck02": bend}, age=0.2, weight=0.9, gender=0.1)
    expected = regressor({"vertices": torch.as_tensor(vertices)}).numpy()[:, order]
    expected[:, [15, 16]] += 0.3 * (expected[:, [19, 22]] - expected[:, [15, 16]])  # ankles between the malleoli
    found = landmarks.wholebody133(vertices, heads)
    np.testing.assert_allclose(found[:, 1:23], expected[:, 1:], atol=1e-3)
    np.testing.assert_array_equal(found[:, 0], found[:, 53])  # COCO's nose is the tip; the regressor's lies inside


def test_face_points_lie_as_an_annotator_puts_them(at_rest):
    x, forward, z = at_rest[23:91].T * [[1], [-1], [1]]
    assert (np.diff(x[:17]) > -0.002).all() and z[8] == z[:17].min()  # jaw from right to left, lowest at the chin
    assert (np.diff(x[17:27]) > 0).all()  # brows, too
    assert z[17:27].min() > z[[37, 38, 43, 44]].max()  # above the eyes
    assert (np.diff(z[27:31]) < 0).all() and forward[30] == forward.max()  # the nose ends in its tip
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[37] < x[38] < x[39] < 0  # from the outer corner to the nose, lids at thirds
    thirds = (x[[37, 38]] - x[36]) / (x[39] - x[36])
    np.testing.assert_allclose(thirds, [1 / 3, 2 / 3], atol=0.06)
    assert (z[[37, 38]] - z[[41, 40]]).min() > 0.007
    assert (np.diff(x[48:55]) > 0).all() and (np.diff(x[54:60]) < 0).all()  # round the mouth
    assert x[48] < x[60] and x[64] < x[54]  # inner corners inside
    assert (z[[50, 51, 52]] > z[[61, 62, 63]]).all() and (z[[58, 57, 56]] < z[[67, 66, 65]]).all()


def test_inner_lips_part_when_the_jaw_opens(landmarks, pose, at_rest):
    face = landmarks.wholebody133(*pose({"jawOpen": 1.0}))[0, 23:91]
    gap, closed = (points[[61, 62, 63], 2] - points[[67, 66, 65], 2] for points in (face, at_rest[23:91]))
    assert (gap > 0.025).all()
    assert (np.abs(closed) < 0.002).all()
    assert face[8, 2] < at_rest[31, 2] - 0.015


def test_lids_meet_in_a_blink(landmarks, pose, at_rest):
    face = landmarks.wholebody133(*pose({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}))[0, 23:91]
    upper, lower = [37, 38, 43, 44], [41, 40, 47, 46]
    np.testing.assert_allclose(face[upper, 2], face[lower, 2], atol=0.0025)
    assert (at_rest[23:91][upper, 2] - at_rest[23:91][lower, 2] > 0.009).all()


def test_finger_points_follow_their_finger(landmarks, pose, at_rest):
    bend = [[0.5, 0, 0.75**0.5], [0, 1, 0], [-(0.75**0.5), 0, 0.5]]
    moved = np.linalg.norm(landmarks.wholebody133(*pose(turns={"finger2-2.L": bend}))[0] - at_rest, axis=1)
    # Turning the forefinger's second bone moves what lies beyond its head, and nothing else.
    assert set(np.flatnonzero(moved > 1e-3)) == {98, 99}
    lengths = np.linalg.norm(np.diff(at_rest[[91, 96, 97, 98, 99]], axis=0), axis=1)
    np.testing.assert_allclose(lengths[1:], lengths[1:].mean(), rtol=0.3)
    assert 2.5 < lengths[0] / lengths[1:].mean() < 6


def test_tips_are_the_ends_of_the_fingers(landmarks, pose):
    vertices, heads = pose()
    points = landmarks.wholebody133(vertices, heads)[0]
    for first, part in ((91, landmarks.left_hand), (112, landmarks.right_hand)):
        hand = vertices[0, part]
        for tip in (first + 8, first + 12, first + 16):
            along = points[tip] - points[tip - 1]
            beyond = (hand - points[tip]) @ along / np.linalg.norm(along)
            near = np.linalg.norm(hand - points[tip], axis=1) < 0.012
            assert beyond[near].max() < 0.002


def test_parts_cover_what_they_name(landmarks, pose, at_rest):
    vertices = pose()[0][0]
    low, high = vertices[landmarks.face].min(0), vertices[landmarks.face].max(0)
    face = at_rest[23:91]
    assert (face >= low - 0.001).all() and (face <= high + 0.001).all()
    assert high[2] > face[17:27, 2].max() + 0.03
    assert set(landmarks.face) <= set(landmarks.head)
    assert vertices[landmarks.head, 2].max() == vertices[:, 2].max()
    assert set(landmarks.tip_vertices[0]) <= set(landmarks.left_hand)
    assert vertices[landmarks.left_foot, 2].min() == vertices[:, 2].min()


def test_batches_and_no_bodies(landmarks, pose):
    vertices, heads = pose()
    both = landmarks.wholebody133(np.repeat(vertices, 2, 0), np.repeat(heads, 2, 0))
    assert both.shape == (2, 133, 3) and both.dtype == np.float32
    np.testing.assert_array_equal(both[0], both[1])
    assert landmarks.wholebody133(vertices[:0], heads[:0]).shape == (0, 133, 3)
    copy = pickle.loads(pickle.dumps(landmarks))
    np.testing.assert_array_equal(copy.wholebody133(vertices, heads), both[:1])


def test_another_body_is_refused(landmarks, pose):
    vertices, heads = pose()
    with pytest.raises(FormatError, match="topology='anny'"):
        landmarks.wholebody133(vertices[:, :-1], heads)
    with pytest.raises(FormatError, match="rig='anny'"):
        landmarks.wholebody133(vertices, heads[:, :20])
    with pytest.raises(FormatError, match="not symmetric"):
        mirror_vertices(np.array([[0.1, 0, 0], [-0.1, 0, 0.2]]))
