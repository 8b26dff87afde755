"""Each kind of network, through real ONNX files with fixed answers: who finds what, and where in the picture."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.codecs.simcc3d import SimCC3D
from vitruvian.codecs.yolox import cell_count, encode_yolox
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime import Detector, OneStage, PoseEstimator, Session
from vitruvian.weights import Card, card_for

nets = pytest.importorskip("nets", reason="needs onnx")

SIZE = (64, 64)
IMAGES = [np.full((128, 96, 3), 90, np.uint8), np.full((40, 64, 3), 90, np.uint8)]  # zooms 0.5 and 1
WHERE = {"device": "cpu", "threads": 1}
ROWS = np.float32([[4, 6, 20, 30, 0.9], [4, 6, 20, 31, 0.8], [30, 6, 44, 30, 0.7], [10, 30, 20, 39, 0.2]])


def yolox_cells(classes=80):
    """The answer of a YOLOX that sees `ROWS` as people, and a dog."""
    rows = np.zeros((cell_count(SIZE), 5 + classes), np.float32)
    targets = encode_yolox(ROWS[:, :4], SIZE)
    for index, (cell, label) in enumerate(((3, 0), (7, 0), (50, 0), (70, 0))):
        rows[cell, :4] = targets[index, cell]
        rows[cell, 4], rows[cell, 5 + label] = 1.0, ROWS[index, 4]
    if classes > 16:
        rows[9, :4], rows[9, 4], rows[9, 5 + 16] = targets[0, 9], 1.0, 0.95
    return rows


DETECTORS = {
    "yolox": ({"output": yolox_cells()}, {"codec": "yolox"}),
    "yolox-one-class": ({"output": yolox_cells(1)}, {"codec": "yolox"}),
    "yolox-suppressed": ({"dets": ROWS[[0, 2, 3]], "labels": np.int64([0, 0, 0])}, {"codec": "yolox"}),
    "unlabelled": ({"output": ROWS[[0, 2, 3]]}, {"codec": "rtmdet", "classes": ("person",)}),
    "rtmdet": ({"dets": ROWS[[0, 0, 2, 3]], "labels": np.int64([0, 7, 0, 0])}, {"codec": "rtmdet"}),
    "boxes": ({"boxes": ROWS[:, :4], "scores": ROWS[:, 4:].repeat(80, 1) * (np.arange(80) == 0)}, {"codec": "rtmdet"}),
}


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("batch", ["n", 1])
def test_every_kind_of_detector_finds_the_two_people(tmp_path, kind, batch):
    outputs, fields = DETECTORS[kind]
    card = card_for(nets.fixed(tmp_path / f"{kind}.onnx", {k: np.asarray(v) for k, v in outputs.items()}, SIZE, batch))
    detector = Detector(replace(card, **fields), **WHERE)
    first, second = detector(IMAGES)
    np.testing.assert_allclose(first.boxes, ROWS[[0, 2], :4] * 2, atol=0.01)
    np.testing.assert_allclose(second.boxes, ROWS[[0, 2], :4], atol=0.01)
    np.testing.assert_allclose(first.scores, [0.9, 0.7], atol=1e-6)
    assert first.labels.tolist() == [0, 0] and detector([]) == []


def test_other_classes_are_found_on_request(tmp_path):
    card = card_for(nets.fixed(tmp_path / "y.onnx", {"output": yolox_cells()}, SIZE))
    (found,) = Detector(card, classes=("dog", "person"), **WHERE)(IMAGES[1:])
    assert [card.classes[label] for label in found.labels] == ["dog", "person", "person"]


def test_boxes_without_a_batch_axis_are_taken_one_picture_at_a_time(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Identity", ["rows"], ["dets"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])
    dets = helper.make_tensor_value_info("dets", TensorProto.FLOAT, ["found", 5])
    graph = helper.make_graph(nodes, "flat", [image], [dets], [numpy_helper.from_array(ROWS[[0, 2, 3]], "rows")])
    import onnx

    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "yolox-flat.onnx")
    first, second = Detector(tmp_path / "yolox-flat.onnx", **WHERE)(IMAGES)
    np.testing.assert_allclose(first.boxes, ROWS[[0, 2], :4] * 2, atol=0.01)
    np.testing.assert_allclose(second.boxes, ROWS[[0, 2], :4], atol=0.01)


@pytest.mark.parametrize("codec", ["yolox", "rtmdet"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_channels_and_grey_levels_arrive_as_the_card_says(tmp_path, codec, order):
    """The answer holds the mean of what the network was fed: here the score tells red from blue."""
    path = nets.fixed(tmp_path / "d.onnx", {"dets": np.zeros((1, 5), np.float32), "labels": np.zeros(1, np.int64)}, SIZE, echo=True)
    mean, std = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) if codec == "yolox" else ((10.0, 20.0, 30.0), (2.0, 4.0, 8.0))
    card = Card("d", "detection", str(path), SIZE, mean, std, order, classes=("person",), codec=codec)
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 50
    detector = Detector(card, compat="rtmlib", score_threshold=-99, **WHERE)  # leaves channels alone
    plain = Detector(card, score_threshold=-99, **WHERE)
    seen = image[..., ::-1] if order == "bgr" else image
    expected = np.mean((seen.reshape(-1, 3) - mean) / std)
    fed = np.mean((image.reshape(-1, 3) - mean) / std)
    assert detector([image])[0].scores == pytest.approx([fed], abs=1e-3)
    plain.card = replace(card)  # boxes of one number have no area: look at what runs instead
    inputs = {}
    run = plain.session.run
    plain.session.run = lambda batch: inputs.setdefault("batch", batch) is None or run(batch)
    plain([image])
    assert inputs["batch"].mean() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("batch", ["n", 1])
def test_one_stage_finds_people_and_their_keypoints(tmp_path, batch):
    keypoints = np.random.default_rng(0).uniform(0, 64, (4, 17, 3)).astype(np.float32)
    path = nets.fixed(tmp_path / "rtmo.onnx", {"dets": ROWS, "keypoints": keypoints}, SIZE, batch)
    network = OneStage(path, **WHERE)
    (found, poses), (_, second) = network(IMAGES)
    np.testing.assert_allclose(found.boxes, ROWS[[0, 2], :4] * 2, atol=0.01)
    np.testing.assert_allclose(poses.keypoints, keypoints[[0, 2], :, :2] * 2, atol=0.01)
    np.testing.assert_allclose(second.keypoints, keypoints[[0, 2], :, :2], atol=0.01)
    np.testing.assert_allclose(poses.scores, keypoints[[0, 2], :, 2], atol=1e-6)
    assert network([]) == []


def test_one_stage_finds_nobody_as_typed_empty_rows(tmp_path):
    outputs = {"dets": ROWS * 0, "keypoints": np.zeros((4, 17, 3), np.float32)}
    ((found, poses),) = OneStage(nets.fixed(tmp_path / "rtmo.onnx", outputs, SIZE), **WHERE)(IMAGES[:1])
    assert found.boxes.shape == (0, 4) and poses.keypoints.shape == (0, 17, 2) and poses.scores.shape == (0, 17)


def test_one_stage_refuses_other_networks_and_pictures(tmp_path):
    with pytest.raises(WeightsError, match="one stage"):
        OneStage(nets.detector(tmp_path))
    outputs = {"dets": ROWS, "keypoints": np.zeros((4, 17, 3), np.float32)}
    with pytest.raises(VitruvianError, match="RGB uint8"):
        OneStage(nets.fixed(tmp_path / "rtmo.onnx", outputs, SIZE), **WHERE)([np.zeros((4, 4))])


CROP, BOX = (48, 64), np.float32([[20, 30, 68, 94]])  # the crop is 1.25 times the box: 60 x 80 around (44, 62)
PLACES = np.float32([[24, 32], [14.5, 20], [33, 44.5]])


def to_picture(crop, unbiased=False):
    """Crop pixels to pixels of the picture, spelled out."""
    size = np.float32(CROP) - (1 if unbiased else 0)
    return crop / size * (60, 80) + (44 - 30, 62 - 40)


def pose_card(path, codec, task="pose2d", **fields):
    return Card(path.stem, task, str(path), CROP, nets.MEAN, nets.STD, skeleton="coco-17", codec=codec, **fields)


@pytest.mark.parametrize("codec, error", [("heatmap", 1.3), ("heatmap-dark", 0.1), ("heatmap-udp", 0.1)])
@pytest.mark.parametrize("flip", [False, True])
def test_heat_maps_give_places_in_the_picture(tmp_path, codec, error, flip):
    unbiased = codec == "heatmap-udp"
    stride = (np.float32(CROP) - unbiased) / (np.float32((24, 32)) - unbiased)
    places = np.tile(PLACES, (6, 1))[:17]
    if flip:  # a fixed answer must be its own mirror image; the shift of the plain rule takes cell 11 to 12
        places = np.tile(np.float32([[23.5 if unbiased else 24, 32]]), (17, 1))
    path = nets.fixed(tmp_path / "vit.onnx", {"maps": nets.bumps(places / stride, (24, 32), 0.8)}, CROP)
    estimator = PoseEstimator(pose_card(path, codec), flip_test=flip, **WHERE)
    (keypoints, scores), nobody = estimator([IMAGES[0]] * 2, [BOX, BOX[:0]])
    np.testing.assert_allclose(keypoints[0], to_picture(places, unbiased), atol=error)
    assert (scores > 0.7).all() and nobody.keypoints.shape == (0, 17, 2)


def test_three_dimensional_networks_give_points_as_well(tmp_path):
    rng = np.random.default_rng(0)
    crop = np.concatenate([rng.integers(20, 70, (17, 2)), rng.integers(30, 60, (17, 1))], axis=1) / 2.0
    x, y, z = (nets.lines(2 * crop[:, axis], 2 * side) for axis, side in enumerate((48, 64, 48)))
    path = nets.fixed(tmp_path / "deep.onnx", {"output": x, "1": y, "2": z}, CROP)
    card = pose_card(path, "simcc3d", "pose3d")
    estimator = PoseEstimator(card, **WHERE)
    poses, nobody = estimator([IMAGES[0]] * 2, [np.repeat(BOX, 2, 0), BOX[:0]])
    np.testing.assert_allclose(poses.keypoints[1], to_picture(crop[:, :2]), atol=1e-3)
    np.testing.assert_allclose(poses.points[1, :, 2], (crop[:, 2] / 24 - 1) * 2.1744869, atol=1e-5)
    assert abs(poses.points[:, 11:13].mean(axis=1)[:, :2]).max() < 1e-4  # around the hips
    assert nobody.points.shape == (0, 17, 3) and estimator.codec == SimCC3D((48, 64, 48))
    ((place, found, _),) = estimator.in_crops(IMAGES[:1], [BOX])
    np.testing.assert_allclose(found[0], crop, atol=1e-5)
    assert len(place) == 1
    flat = PoseEstimator(replace(card, task="pose2d", codec="simcc"), **WHERE)(IMAGES[:1], [BOX])[0]
    assert flat.points is None and np.array_equal(flat.keypoints[0], poses.keypoints[1])


def test_the_flip_test_of_three_dimensions_keeps_depth(tmp_path):
    crop = np.float64([[23.75, 32, 30]] * 17)  # its own mirror image
    x, y, z = (nets.lines(2 * crop[:, axis], 2 * side) for axis, side in enumerate((48, 64, 48)))
    card = pose_card(nets.fixed(tmp_path / "deep.onnx", {"x": x, "y": y, "z": z}, CROP), "simcc3d", "pose3d")
    plain, flipped = (PoseEstimator(card, flip_test=on, **WHERE)(IMAGES[:1], [BOX])[0] for on in (False, True))
    np.testing.assert_allclose(plain.points[..., 2], flipped.points[..., 2])
    assert np.abs(plain.keypoints - flipped.keypoints).max() < 1


def test_like_rtmlib_a_picture_without_boxes_is_one_box(tmp_path):
    path = nets.fixed(
        tmp_path / "p.onnx", {"simcc_x": nets.lines(PLACES[:, 0] * 2, 96), "simcc_y": nets.lines(PLACES[:, 1] * 2, 128, 0.5)}, CROP
    )
    card = pose_card(path, "simcc")
    whole = np.float32([[0, 0, 96, 128]])
    ours, theirs = (PoseEstimator(card, compat=compat, **WHERE)(IMAGES[:1], [whole[:0]])[0] for compat in ("", "rtmlib"))
    assert len(ours) == 0 and np.array_equal(theirs.keypoints, PoseEstimator(card, **WHERE)(IMAGES[:1], [whole])[0].keypoints)
    np.testing.assert_allclose(theirs.scores, 0.75, atol=1e-6)  # the mean of both maxima


@pytest.mark.parametrize("codec, task", [("heatmap", "pose2d"), ("simcc3d", "pose3d")])
def test_a_codec_that_does_not_fit_the_file_is_explained(tmp_path, codec, task):
    path = nets.fixed(tmp_path / "p.onnx", {"simcc_x": np.zeros((17, 96), np.float32), "simcc_y": np.zeros((17, 128), np.float32)}, CROP)
    with pytest.raises(WeightsError, match=f"{codec}.*correct the card"):
        PoseEstimator(pose_card(path, codec, task), **WHERE)


def test_heat_maps_without_a_codec_are_not_guessed(tmp_path):
    path = nets.fixed(tmp_path / "p.onnx", {"maps": np.zeros((17, 16, 12), np.float32)}, CROP)
    with pytest.raises(WeightsError, match="set its codec"):
        PoseEstimator(pose_card(path, ""), **WHERE)


def test_outputs_of_unnamed_sizes_are_read_all_the_same(tmp_path):
    outputs = {"simcc_x": nets.lines(PLACES[:, 0] * 2, 96), "simcc_y": nets.lines(PLACES[:, 1] * 2, 128)}
    outputs = {name: np.tile(value, (6, 1))[:17] for name, value in outputs.items()}
    path = nets.fixed(tmp_path / "p.onnx", outputs, CROP, free=True)
    poses = PoseEstimator(pose_card(path, "simcc"), **WHERE)(IMAGES[:1], [BOX])[0]
    np.testing.assert_allclose(poses.keypoints[0, :3], to_picture(np.round(PLACES * 2) / 2), atol=1e-3)


def test_a_yolox_card_with_more_classes_than_the_file_is_explained(tmp_path):
    card = card_for(nets.fixed(tmp_path / "y.onnx", {"output": yolox_cells(1)}, SIZE))
    with pytest.raises(WeightsError, match="1 classes apart, its card 2"):
        Detector(replace(card, classes=("cat", "person")), **WHERE)(IMAGES)


def test_nothing_runs_without_pictures(tmp_path, monkeypatch):
    network = OneStage(nets.fixed(tmp_path / "r.onnx", {"dets": ROWS, "keypoints": np.zeros((4, 17, 3), np.float32)}, SIZE), **WHERE)
    monkeypatch.setattr(Session, "run", lambda *_: pytest.fail("the network ran"))
    assert network([]) == []
