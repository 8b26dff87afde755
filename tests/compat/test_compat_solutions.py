"""What our side of the compatibility does where rtmlib has no answer, or none that one could want. Needs no rtmlib."""

import numpy as np
import pytest

from vitruvian.compat import rtmlib as ours
from vitruvian.compat.files import local_file
from vitruvian.compat.solutions import Body, Hand, PoseTracker, Wholebody, Wholebody3d
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.weights import Card
from vitruvian.weights.published import PUBLISHED

nets = pytest.importorskip("nets", reason="needs onnx")

IMAGE = np.zeros((200, 600, 3), np.uint8)
CARD = Card("any", "detection", "any.onnx", (64, 64), (0.0,) * 3, (1.0,) * 3, classes=("person",))


class Script:
    """A solution that finds people standing at the given places of each frame; 40 x 80 pixels, or of the given size."""

    one_stage = False

    def __init__(self, *scenes, side=(40, 80)):
        self.scenes, self.side, self.calls = list(scenes), np.float32(side) / 2, 0
        self.det_model, self.pose_model = self.detect, self.pose

    def detect(self, image):
        self.calls += 1
        centers = np.float32([[x, 90] for x in self.scenes[self.calls - 1]]).reshape(-1, 2)
        return np.concatenate([centers - self.side, centers + self.side], axis=1)

    def pose(self, image, bboxes):
        centers, halves = (bboxes[:, :2] + bboxes[:, 2:]) / 2, (bboxes[:, 2:] - bboxes[:, :2]) / 2
        corners = np.float32([[-0.8, -0.8], [0.8, 0.8], [0, 0]])
        return centers[:, None] + halves[:, None] * corners, np.ones((len(bboxes), 3), np.float32)


def track(script, **options):
    """Ids and places of the people of each frame."""
    tracker = PoseTracker(lambda **_: script, **options)
    out = []
    for _ in range(len(script.scenes)):
        keypoints, _ = tracker(IMAGE)
        out.append(dict(zip(tracker.track_ids, keypoints[:, 2, 0].tolist(), strict=True)))
    return out


def test_ids_survive_changes_of_order_and_number():
    found = track(Script((100, 200, 300), (300, 100, 200), (300, 100), (500, 310, 110), (500, 200)))
    assert found == [
        {0: 100, 1: 200, 2: 300},
        {0: 100, 1: 200, 2: 300},
        {0: 100, 2: 300},
        {0: 110, 2: 310, 3: 500},
        {3: 500, 4: 200},
    ]


def test_a_frame_without_anybody_is_empty_and_ids_start_again():
    assert track(Script((100, 200), (), (), (300,))) == [{0: 100, 1: 200}, {}, {}, {0: 300}]


def test_small_newcomers_are_left_out_without_harming_others():
    script = Script((100,), (100,))
    tracker = PoseTracker(lambda **_: script)
    tracker(IMAGE)
    script.detect = None
    tracker.det_model = lambda image: np.float32([[300, 50, 310, 60], [82, 50, 122, 130]])
    keypoints, scores = tracker(IMAGE)
    assert tracker.track_ids == [0] and keypoints[:, 2, 0].tolist() == [102] and scores.shape == (1, 3)


def test_between_detections_the_boxes_come_from_the_keypoints():
    script = Script((100, 200), (100, 200), (100, 200), (100, 200))
    assert track(script, det_frequency=3) == [{0: 100, 1: 200}] * 4
    assert script.calls == 2


def test_a_reset_tracker_knows_nobody():
    tracker = PoseTracker(lambda **_: Script((100,), (100,)), det_frequency=9)
    tracker(IMAGE)
    tracker.reset()
    assert tracker.frame_cnt == 0 and tracker.track_ids == [] and len(tracker.bboxes_last_frame) == 0


def test_a_detection_interval_of_zero_is_refused():
    with pytest.raises(VitruvianError, match="det_frequency"):
        PoseTracker(lambda **_: Script(()), det_frequency=0)


def test_every_network_of_every_mode_is_published():
    for solution in (Wholebody, Wholebody3d, Body, ours.BodyWithFeet, Hand):
        for mode in solution.MODE.values():
            assert PUBLISHED[mode.det].input_size == mode.det_input_size and PUBLISHED[mode.pose].input_size == mode.pose_input_size
            assert PUBLISHED[mode.det].task == "detection" and PUBLISHED[mode.pose].task in ("pose2d", "pose3d")
    assert all(PUBLISHED[name].codec == "rtmo" for name in Body.RTMO_MODE.values())


@pytest.mark.parametrize("solution, mode", [(Wholebody, "best"), (Hand, "balanced")])
def test_an_unknown_mode_is_refused(solution, mode):
    with pytest.raises(VitruvianError, match="lightweight"):
        solution(mode=mode)


def test_the_file_of_an_rtmo_is_used_as_given(tmp_path):
    outputs = {"dets": np.float32([[4, 6, 20, 30, 0.9]]), "keypoints": np.ones((1, 17, 3), np.float32)}
    body = Body(pose=nets.fixed(tmp_path / "rtmo-mine.onnx", outputs, (64, 64), 1), pose_input_size=(64, 64))
    keypoints, scores = body(IMAGE)
    assert body.one_stage and keypoints.shape == (1, 17, 2) and scores.shape == (1, 17)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"det_class": "RFDETR"}, "RFDETR"),
        ({"det_class": "YOLOX", "det_mode": "multiclass"}, "multiclass"),
        ({"det_categories": ["dog"]}, "det_categories"),
        ({"pose_class": "RTMPose"}, "RTMPose"),
    ],
)
def test_what_is_not_offered_is_named(tmp_path, options, named):
    outputs = {"dets": np.zeros((1, 5), np.float32), "labels": np.zeros(1, np.int64)}
    path = nets.fixed(tmp_path / "d.onnx", outputs, (64, 64), 1)
    with pytest.raises(VitruvianError, match=named):
        ours.Custom(det=path, pose=path, **options)


def test_other_backends_are_replaced_with_a_word(tmp_path, caplog):
    outputs = {"dets": np.zeros((1, 5), np.float32), "labels": np.zeros(1, np.int64)}
    boxes = ours.RTMDet(nets.fixed(tmp_path / "d.onnx", outputs, (64, 64), 1), (64, 64), backend="openvino", device="mps")(IMAGE)
    assert boxes.shape == (0, 4) and "openvino" in caplog.text and "mps" in caplog.text


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store without a connection."""
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VITRUVIAN_OFFLINE", "1")
    monkeypatch.delenv("VITRUVIAN_SHARED", raising=False)
    return tmp_path / "home" / "weights"


def test_files_are_named_by_path_id_or_published_address(tmp_path, store):
    path = nets.detector(tmp_path)
    assert local_file(path, CARD) == path
    store.mkdir(parents=True)
    card = PUBLISHED["yolox-tiny-humanart"]
    lies_at = store / f"{card.id}.onnx"
    lies_at.write_bytes(path.read_bytes())
    assert local_file(card.id, CARD) == lies_at
    assert local_file(card.urls[0], CARD) == lies_at


@pytest.mark.parametrize(
    "name", ["nothing.onnx", "no-such-network", "https://example.org/models/mine.onnx", "http://example.org/..%2f..%2fx"]
)
def test_what_is_not_there_is_explained(store, name):
    with pytest.raises(WeightsError):
        local_file(name, CARD)


def test_an_unknown_address_is_fetched_once_and_kept(tmp_path, store, monkeypatch):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    monkeypatch.delenv("VITRUVIAN_OFFLINE")
    body, asked = nets.detector(tmp_path).read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/models/my%20net.onnx"
        first, second = local_file(url, CARD), local_file(url, CARD)
    finally:
        server.shutdown()
        server.server_close()
    assert first == second and first.parent == store and first.name.startswith("my-net-") and first.read_bytes() == body
    assert asked == ["/models/my%20net.onnx"]


@pytest.mark.parametrize("count", [17, 18, 21, 26, 133, 134])
def test_drawing_changes_the_picture_where_people_are(count):
    image = np.zeros((100, 100, 3), np.uint8)
    keypoints = np.random.default_rng(0).uniform(20, 80, (2, count, 2))
    assert ours.draw_skeleton(image, keypoints, np.ones((2, count))) is image
    assert image[15:85, 15:85].any() and not image[:10].any()


def test_drawing_leaves_out_what_is_not_sure_or_no_place():
    image = np.zeros((100, 100, 3), np.uint8)
    ours.draw_skeleton(image, np.full((1, 17, 2), 50.0), np.full((1, 17), 0.5))
    ours.draw_skeleton(image, np.full((1, 17, 2), np.nan), np.ones((1, 17)))
    ours.draw_skeleton(image, np.zeros((0, 17, 2)), np.zeros((0, 17)))
    ours.draw_bbox(image, np.zeros((0, 4)))
    assert not image.any()
    assert ours.draw_bbox(image, np.float32([[10, 10, 50, 50]])).any()
    with pytest.raises(VitruvianError, match="40 keypoints"):
        ours.draw_skeleton(image, np.zeros((1, 40, 2)), np.ones((1, 40)))
