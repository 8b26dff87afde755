"""Ours against the rtmlib package on the same ONNX files: keypoints within 0.05 pixels, scores within 1e-4, as many people."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from vitruvian.codecs.yolox import cell_count
from vitruvian.compat import rtmlib as ours

peer = pytest.importorskip("rtmlib")
nets = pytest.importorskip("nets", reason="needs onnx")

SHARED = Path(__file__).parents[3] / "shared" / "data"
DETECTOR = SHARED / "models" / "rtmdet-nano-coco-320.onnx"
IMAGE = np.random.default_rng(5).integers(0, 256, (133, 97, 3), dtype=np.uint8)
BOXES = np.float32([[3.3, 4, 60, 90], [50, 60, 82, 71], [-20, -9, 30, 140]])
SIZE, CROP = (64, 64), (48, 64)


def both(name, *arguments, **options):
    """The class called `name` of both packages, made with the same arguments."""
    return getattr(peer, name)(*(str(a) if isinstance(a, Path) else a for a in arguments), **options), getattr(ours, name)(
        *arguments, **options
    )


def assert_equal(theirs, found, places=0.05):
    """Arrays of one shape: everything within `places` of a pixel, the scores (the second array) within 1e-4."""
    theirs, found = ([np.asarray(a) for a in (each if isinstance(each, tuple) else (each,))] for each in (theirs, found))
    assert len(theirs) == len(found)
    for index, (a, b) in enumerate(zip(theirs, found, strict=True)):
        assert a.shape == b.shape or a.size == b.size == 0
        assert np.abs(a - b).max(initial=0) <= (1e-4 if index == 1 else places)


def detections(seed, count=40):
    """Rows of boxes, many of them near each other, with scores."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.uniform(0, 40, (count, 2)), rng.uniform(40, 64, (count, 2)), rng.uniform(0, 1, (count, 1))], axis=1)
    rows[:, :4] = 0.3 * rows[:, :4] + 0.7 * rows[:1, :4]
    return rows.astype(np.float32)


def simcc(seed, count=17, axes=2):
    """Random SimCC answers, with a keypoint of no score, and one that only the mean of both maxima finds."""
    rng = np.random.default_rng(seed)
    outputs = {name: rng.normal(size=(count, 2 * side)).astype(np.float32) for name, side in zip("abc"[:axes], (*CROP, 48), strict=False)}
    outputs["a"][3] -= 9
    outputs["b"][3] -= 9
    outputs["a"][4] -= 4
    return outputs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"score_thr": 0.3, "nms_thr": 0.3}])
@pytest.mark.parametrize("classes", [1, 3])
def test_yolox_cells(tmp_path, seed, options, classes):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.normal(0, 1, (84, 2)), rng.normal(0.5, 0.4, (84, 2)), rng.uniform(0, 1, (84, 1 + classes)) ** 0.3], axis=1)
    assert len(rows) == cell_count(SIZE)
    theirs, mine = both("YOLOX", nets.fixed(tmp_path / "y.onnx", {"output": rows.astype(np.float32)}, SIZE, 1), SIZE, **options)
    assert len(theirs(IMAGE)) > 3
    assert_equal(theirs(IMAGE), mine(IMAGE))


@pytest.mark.parametrize("name", ["YOLOX", "RTMDet"])
@pytest.mark.parametrize("options", [{}, {"score_thr": 0.6}])
def test_detectors_with_suppression_inside(tmp_path, name, options):
    outputs = {"dets": detections(0), "labels": np.arange(40) % 3}
    theirs, mine = both(name, nets.fixed(tmp_path / "d.onnx", outputs, SIZE, 1), SIZE, **options)
    assert len(theirs(IMAGE)) > 3
    assert_equal(theirs(IMAGE), mine(IMAGE))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"score_thr": 0.1, "nms_thr": 0.8}, {"score_thr": 0.2, "to_openpose": True}, {"score_thr": 1.1}])
def test_rtmo(tmp_path, seed, options):
    keypoints = np.random.default_rng(seed).uniform(-3, 70, (40, 17, 3)).astype(np.float32)
    path = nets.fixed(tmp_path / "rtmo.onnx", {"dets": detections(seed), "keypoints": keypoints}, SIZE, 1)
    theirs, mine = both("RTMO", path, SIZE, **options)
    assert_equal(theirs(IMAGE), mine(IMAGE))
    assert_equal(theirs(IMAGE, score_thr=0.4, nms_thr=0.7), mine(IMAGE, score_thr=0.4, nms_thr=0.7))


@pytest.mark.parametrize("count", [17, 26, 133])
@pytest.mark.parametrize("to_openpose", [False, True])
@pytest.mark.parametrize("boxes", [BOXES, BOXES[:0], []], ids=["people", "nobody", "empty list"])
def test_simcc_poses(tmp_path, count, to_openpose, boxes):
    theirs, mine = both("RTMPose", nets.fixed(tmp_path / "p.onnx", simcc(count, count), CROP), CROP, to_openpose=to_openpose)
    assert_equal(theirs(IMAGE, bboxes=boxes), mine(IMAGE, bboxes=boxes))


@pytest.mark.parametrize("boxes", [BOXES, BOXES[:0]], ids=["people", "nobody"])
@pytest.mark.parametrize("options", [{}, {"z_range": 3.0}])
def test_three_dimensional_poses(tmp_path, boxes, options):
    theirs, mine = both("RTMPose3d", nets.fixed(tmp_path / "p.onnx", simcc(0, 17, 3), CROP), CROP, **options)
    assert_equal(theirs(IMAGE, bboxes=boxes), mine(IMAGE, bboxes=boxes))


@pytest.mark.parametrize("boxes", [BOXES, BOXES[:0]], ids=["people", "nobody"])
def test_heat_maps_up_to_the_border(tmp_path, boxes):
    cells = np.random.default_rng(0).uniform((-0.4, -0.4), (11.4, 15.4), (133, 2))
    theirs, mine = both("ViTPose", nets.fixed(tmp_path / "v.onnx", {"maps": nets.bumps(cells, (12, 16), 0.8)}, CROP), CROP)
    assert_equal(theirs(IMAGE, bboxes=boxes), mine(IMAGE, bboxes=boxes))


def solution(tmp_path, rows):
    """Options of a solution whose detector answers `rows`."""
    outputs = {"dets": rows, "labels": np.zeros(len(rows), np.int64)}
    detector, pose = nets.fixed(tmp_path / "d.onnx", outputs, SIZE, 1), nets.fixed(tmp_path / "p.onnx", simcc(1), CROP)
    return {"det": str(detector), "det_input_size": SIZE, "pose": str(pose), "pose_input_size": CROP}


@pytest.mark.parametrize("name", ["Wholebody", "Body", "BodyWithFeet", "Hand"])
@pytest.mark.parametrize("people", [detections(0), detections(0) * 0], ids=["people", "nobody"])
@pytest.mark.parametrize("to_openpose", [False, True])
def test_solutions(tmp_path, name, people, to_openpose):
    theirs, mine = both(name, **solution(tmp_path, people), to_openpose=to_openpose)
    assert_equal(theirs(IMAGE), mine(IMAGE))


@pytest.mark.parametrize("options", [{}, {"det_frequency": 3}, {"det_frequency": 2, "tracking": False}])
def test_the_tracker_while_everybody_is_in_sight(tmp_path, options):
    rows = np.float32([[4, 6, 16, 22, 0.9], [44, 10, 56, 26, 0.95], [24, 20, 36, 36, 0.8]])
    options_of = solution(tmp_path, rows)
    places = np.random.default_rng(0).uniform(0.15, 0.85, (17, 2))
    answer = {name: nets.lines(2 * side * places[:, axis], 2 * side) for axis, (name, side) in enumerate(zip("ab", CROP, strict=True))}
    options_of["pose"] = str(nets.fixed(tmp_path / "compact.onnx", answer, CROP))
    classes = {"det_class": "RTMDet", "pose_class": "RTMPose", **options_of}
    theirs, mine = (package.PoseTracker(_partial(package.Custom, classes), **options) for package in (peer, ours))
    image = np.zeros((480, 640, 3), np.uint8)
    for _ in range(7):
        expected = theirs(image)
        assert len(expected[0]) == 3
        assert_equal(expected, mine(image))


def _partial(solution, options):
    from functools import partial

    return partial(solution, **options)


@pytest.mark.parametrize("name", ours.__all__)
def test_arguments_have_the_names_and_the_order_of_the_package(name):
    for call in ("__init__", "__call__") if inspect.isclass(getattr(peer, name)) else ("__call__",):
        theirs, mine = (
            [p for p in inspect.signature(_callable(package, name, call)).parameters if p != "self"] for package in (peer, ours)
        )
        assert mine == theirs


def _callable(package, name, call):
    found = getattr(package, name)
    return getattr(found, call) if inspect.isclass(found) else found


def pictures(frames):
    """The shared photographs, and frames of the shared video, BGR as OpenCV reads them."""
    import cv2

    found = [cv2.imread(str(path)) for path in sorted((SHARED / "images" / "coco").glob("*.jpg"))]
    video = cv2.VideoCapture(str(SHARED / "video" / "sports2d" / "demo.mp4"))
    for index in range(frames * 12):
        is_there, frame = video.read()
        if is_there and index % 12 == 0:
            found.append(frame)
    return found


def assert_same_people(options, images):
    theirs, mine = both("Custom", det_class="RTMDet", det=str(DETECTOR), det_input_size=(320, 320), pose_class="RTMPose", **options)
    counts = []
    for image in images:
        found = mine(image)
        assert_equal(theirs(image), found)
        counts.append(len(found[0]))
    assert max(counts) >= 3 and len(images) > 8


@pytest.mark.shared
@pytest.mark.skipif(not DETECTOR.is_file(), reason="no ../shared/data here")
def test_real_pictures_with_a_small_network(rtmpose):
    assert_same_people({"pose": str(rtmpose), "pose_input_size": (96, 128)}, pictures(6))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not DETECTOR.is_file(), reason="no ../shared/data here")
def test_real_pictures_with_a_medium_network(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from random_rtmpose import random_rtmpose

    assert_same_people({"pose": str(random_rtmpose(tmp_path / "m.onnx", "m")), "pose_input_size": (192, 256)}, pictures(12))
