"""The marker augmenter: what is fed and read, with a network that we know; and OpenCap's own where it is at hand."""

from pathlib import Path

import numpy as np
import pytest

from vitruvian.biomechanics.augmenter import LOWER_KEYPOINTS, LOWER_MARKERS, UPPER_KEYPOINTS, UPPER_MARKERS, augment
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.weights.card import Card

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
NAMES = tuple(dict.fromkeys((*LOWER_KEYPOINTS[1:], *UPPER_KEYPOINTS[1:])))
# Joint centres of LaiUhlrich2022 in its default pose (metres; right side, mirrored for the left), and where some markers sit on it.
STANDING = {
    "hip": (-0.056, 0.852, 0.077),
    "knee": (-0.053, 0.445, 0.077),
    "ankle": (-0.063, 0.045, 0.077),
    "heel": (-0.144, 0.036, 0.074),
    "big_toe": (0.124, 0.003, 0.055),
    "small_toe": (0.054, 0.003, 0.145),
    "shoulder": (-0.098, 1.383, 0.170),
    "elbow": (-0.084, 1.097, 0.160),
    "wrist": (-0.100, 0.848, 0.200),
}
MARKERS = {
    "r.ASIS_study": (0.028, 0.94, 0.128),
    "L.PSIS_study": (-0.154, 0.955, -0.05),
    "r_knee_study": (-0.048, 0.474, 0.132),
    "L_mknee_study": (-0.045, 0.474, -0.022),
    "L_ankle_study": (-0.059, 0.066, -0.127),
    "r_mankle_study": (-0.058, 0.065, 0.038),
    "L_toe_study": (0.075, 0.012, -0.09),
    "r_5meta_study": (0.029, 0.008, 0.15),
    "L_calc_study": (-0.144, 0.036, -0.074),
    "C7_study": (-0.181, 1.431, 0.0),
    "L_shoulder_study": (-0.101, 1.429, -0.142),
    "r_lelbow_study": (-0.083, 1.103, 0.21),
    "L_melbow_study": (-0.095, 1.097, -0.12),
    "r_mwrist_study": (-0.113, 0.859, 0.164),
}


def standing(frames=40, rate=60.0):
    points = np.array([np.array(STANDING[n.split("_", 1)[1]]) * [1, 1, 1 if n.startswith("right") else -1] for n in NAMES])
    return np.repeat(points[None], frames, 0), np.arange(frames) / rate


@pytest.fixture
def network(tmp_path):
    """A network that returns its first 24 inputs: the first 8 keypoints, normalised."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    width = 3 * len(UPPER_KEYPOINTS) + 2
    nodes = [helper.make_node("Concat", ["x", "x"], ["twice"], axis=2), helper.make_node("Slice", ["twice", "start", "end", "axis"], ["y"])]
    arrays = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("start", 0), ("end", 24), ("axis", 2))]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", "t", w]) for n, w in (("x", width), ("y", 24))]
    graph = helper.make_graph(nodes, "identity", ports[:1], ports[1:], arrays)
    path = tmp_path / "identity.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return Card("identity", "augmenter", str(path), mean=(0.5,) * width, std=(2.0,) * width)


def run_upper(network, points, times, height=1.8):
    """`augment` wants the legs' network first; here only the arms' is tried, through its inner step."""
    from vitruvian.biomechanics.augmenter import _at, _run
    from vitruvian.biomechanics.segments import named_points

    p = named_points(points, NAMES)
    inputs = _at(times, np.stack([p[name] for name in UPPER_KEYPOINTS], 1), times) - p["mid_hip"][:, None]
    return _run(network, inputs / height, (height, 70.0), len(UPPER_MARKERS), 1), inputs / height


def test_positions_are_fed_over_height_less_mean_over_deviation(network):
    found, inputs = run_upper(network, *standing())
    assert np.allclose(found[:, :7], (inputs - 0.5) / 2, atol=1e-6)
    assert np.allclose(found[:, 7, 0], (1.8 - 0.5) / 2) and np.allclose(found[:, 7, 1], (70 - 0.5) / 2)


def test_a_long_gap_leaves_markers_missing_and_a_short_one_is_filled(network):
    points, times = standing(60)
    points[10:14, NAMES.index("left_wrist")] = np.nan
    points[30:50, NAMES.index("left_wrist")] = np.nan
    found, _ = run_upper(network, points, times)
    missing = np.isnan(found).any((1, 2))
    assert not missing[:30].any() and missing[30:50].all() and not missing[50:].any()


def test_a_network_of_another_shape_is_refused(network):
    points, times = standing()
    with pytest.raises(WeightsError, match="v0.3"):
        augment(points, NAMES, times, 1.8, 70, network)


def test_points_and_persons_that_will_not_do_are_refused(network):
    points, times = standing()
    with pytest.raises(VitruvianError, match="heel"):
        augment(points[:, :4], NAMES[:4], times, 1.8, 70, network)
    with pytest.raises(VitruvianError, match="metres and kilograms"):
        augment(points, NAMES, times, 180, 70, network)


def test_every_marker_has_a_name_of_its_own():
    assert len(set(LOWER_MARKERS + UPPER_MARKERS)) == 43


@pytest.mark.shared
@pytest.mark.skipif(not MODELS.exists(), reason="needs ../shared/data")
def test_opencaps_networks_put_markers_where_anatomy_has_them():
    points, times = standing(40)
    files = [MODELS / f"opencap-augmenter-{part}-v0.3.onnx" for part in ("lower", "upper")]
    found = augment(points, NAMES, times, 1.70, 75, *files, threads=1)
    assert found.names == LOWER_MARKERS + UPPER_MARKERS and found.points.shape == (40, 43, 3)
    for name, place in MARKERS.items():
        away = np.linalg.norm(found.points[20, found.names.index(name)] - place)
        assert away < 0.08, f"{name} is {away:.3f} m off"
    some = augment(points[:0], NAMES, times[:0], 1.70, 75, files[0])
    assert some.points.shape == (0, 35, 3)
