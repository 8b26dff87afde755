"""Keypoint sets declared in a file: SynthPose's own, a user's, and what is wrong with others."""

import numpy as np
import pytest

from vitruvian.body.compact import compact_arrays, load_compact
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133, SYNTHPOSE_52
from vitruvian.systems.biomechanics.marker_pictures import picture, resting
from vitruvian.systems.biomechanics.marker_points import read_points

HEAD = 'name = "my-markers"\n'


def read(tmp_path, text):
    (tmp_path / "m.toml").write_text(text, encoding="utf-8")
    return read_points(tmp_path / "m.toml")


@pytest.fixture(scope="module")
def placed():
    """SynthPose's points on the resting body, by name: y up, the person's left +x, facing +z, metres."""
    points = read_points()
    return dict(zip(points.skeleton.names, resting(points)[1].astype(float), strict=True))


def test_the_shipped_file_is_synthposes_set():
    points = read_points()
    assert points.skeleton is SYNTHPOSE_52 and points.body == "anny"
    assert np.array_equal(points.keypoint[:17], np.arange(17)) and (points.keypoint[17:] == -1).all()
    assert np.allclose(points.weights[17:].sum(1), 1) and (points.weights[:17] == 0).all()


def test_left_mirrors_right(placed):
    mirror = compact_arrays()["mirror"].astype(int)
    assert (mirror[mirror] == np.arange(len(mirror))).all()
    for i, j in enumerate(SYNTHPOSE_52.swap):
        if i >= 17:
            assert np.allclose(placed[SYNTHPOSE_52.names[i]], placed[SYNTHPOSE_52.names[j]] * [-1, 1, 1], atol=2e-3)


def test_markers_lie_where_anatomy_has_them(placed):
    p = placed
    for one, other, axis in (
        *(("sternum", name, 2) for name in ("C7", "T6")),  # in front of
        *(("r_ASIS", "r_PSIS", 2), ("r_big_toe", "r_toe", 2), ("r_toe", "r_calc", 2), ("r_toe", "r_5meta", 2)),
        *(("r_mknee", "r_knee", 0), ("r_mankle", "r_ankle", 0), ("r_toe", "r_5meta", 0), ("r_melbow", "r_lelbow", 0)),  # to the left of
        *(("C7", "T6", 1), ("T6", "T11", 1), ("T11", "L2", 1), ("L2", "r_PSIS", 1), ("rshoulder", "right_shoulder", 1)),  # above
    ):
        assert p[one][axis] > p[other][axis] + 0.005, (one, other)
    for pair, joint in (
        *((("r_knee", "r_mknee"), "right_knee"), (("r_ankle", "r_mankle"), "right_ankle"), (("r_lelbow", "r_melbow"), "right_elbow")),
    ):
        assert np.linalg.norm((p[pair[0]] + p[pair[1]]) / 2 - p[joint]) < 0.04, joint
    assert 0.2 < p["l_ASIS"][0] - p["r_ASIS"][0] < 0.3 and 0.07 < p["l_PSIS"][0] - p["r_PSIS"][0] < 0.12


def test_points_move_with_the_body():
    points, model = read_points(), load_compact()
    pose = np.zeros((2, len(model.joint_names), 3), np.float32)
    pose[1, model.joint_names.index("right_knee"), 0] = 1.0
    out = model.forward(pose, np.zeros((2, model.num_shape), np.float32))
    moved = np.linalg.norm(np.diff(points(out.vertices), axis=0)[0], axis=-1)
    names = points.skeleton.names
    assert moved[names.index("r_ankle")] > 0.2 and moved[names.index("l_ankle")] < 1e-5 and np.isnan(moved[:17]).all()


def test_a_users_file(tmp_path):
    text = HEAD + (
        '[points]\nnose = { keypoint = "nose" }\nl_spot = { vertices = [10, 20], weights = [1, 3] }\nr_spot = { vertices = [30] }\n'
        'a = { vertices = [1, 2, 3, 4] }\nb = { vertices = [5] }\n[swap]\na = "b"\n'
    )
    points = read(tmp_path, text)
    assert points.skeleton.name == "my-markers" and points.skeleton.swap == (0, 2, 1, 4, 3)
    mesh = np.random.default_rng(0).normal(size=(2, 13718, 3))
    keypoints = np.random.default_rng(1).normal(size=(2, 133, 3))
    found = points(mesh, keypoints)
    assert np.allclose(found[:, 0], keypoints[:, COCO_WHOLEBODY_133.index("nose")])
    assert np.allclose(found[:, 1], 0.25 * mesh[:, 10] + 0.75 * mesh[:, 20]) and np.allclose(found[:, 3], mesh[:, 1:5].mean(1))
    assert points(mesh[:0], keypoints[:0]).shape == (0, 5, 3)
    assert list(points.used_vertices) == [1, 2, 3, 4, 5, 10, 20, 30]
    with pytest.raises(VitruvianError, match="not of anny"):
        points(mesh[:, :20])


@pytest.mark.parametrize(
    "text,words",
    [
        ("name =", "no TOML"),
        ("[points]\na = { vertices = [1] }\n", "name must be"),
        (HEAD, "points must be a table"),
        (HEAD + "[points]\n", "1 to 1000"),
        (HEAD + 'body = "smpl"\n[points]\na = { vertices = [1] }\n', "body is 'smpl'"),
        (HEAD + "[points]\na = { vertices = [13718] }\n", "0 to 13717"),
        (HEAD + "[points]\na = { vertices = [true] }\n", "whole numbers"),
        (HEAD + "[points]\na = { vertices = [] }\n", "whole numbers"),
        (HEAD + "[points]\na = { vertices = [1, 2], weights = [1] }\n", "as many as"),
        (HEAD + "[points]\na = { vertices = [1], weights = [nan] }\n", "not all 0"),
        (HEAD + "[points]\na = { vertices = [1], weights = [0] }\n", "not all 0"),
        (HEAD + '[points]\na = { keypoint = "tail" }\n', "no keypoint 'tail'"),
        (HEAD + '[points]\na = { keypoint = "nose", vertices = [1] }\n', "either keypoint"),
        (HEAD + "[points]\na = 3\n", "either keypoint"),
        (HEAD + "a = 1\n[points]\na = { vertices = [1] }\n", "not known"),
        (HEAD + '[points]\na = { vertices = [1] }\n[swap]\na = "z"\n', "swap must be"),
        (
            HEAD + '[points]\na = { vertices = [1] }\nb = { vertices = [1] }\nc = { vertices = [1] }\n[swap]\na = "b"\nc = "b"\n',
            "two others",
        ),
        ('name = "coco-17"\n[points]\na = { vertices = [1] }\n', "another keypoint set"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, text, words):
    with pytest.raises(FormatError, match=words) as error:
        read(tmp_path, text)
    assert "m.toml" in str(error.value)


def test_the_proof_picture_shows_points():
    pytest.importorskip("anny")
    image = picture(read_points(), 100)
    assert image.shape == (300, 200, 3) and (image == (230, 20, 20)).all(-1).sum() > 20
