"""Live sources: the newest frame, never an old one; and streams that really come over a socket."""

import http.server
import threading
import time

import cv2
import numpy as np
import pytest

from vitruvian.errors import MediaError
from vitruvian.media import VideoWriter, open_video
from vitruvian.media.live import Live, is_live, open_live, paced


def shade(index: int) -> np.ndarray:
    return np.full((48, 64, 3), 8 * index, np.uint8)


def feed(count: int, gap: float):
    def images():
        start = time.monotonic()
        for index in range(count):
            time.sleep(max(0.0, start + index * gap - time.monotonic()))
            yield shade(index), index * gap

    return images


def test_a_fast_consumer_sees_every_frame():
    live = Live("test", (64, 48), 50, feed(8, 0.02))
    assert [frame.image[0, 0, 0] // 8 for frame in live] == list(range(8))
    assert live.dropped == 0


def test_a_slow_consumer_gets_the_newest_frame_and_frames_are_counted_without_gaps():
    live, seen = Live("test", (64, 48), 100, feed(20, 0.01)), []
    for frame in live:
        seen.append(frame)
        assert live.age(frame) < 0.1
        time.sleep(0.05)
    assert [frame.index for frame in seen] == list(range(len(seen)))
    assert live.dropped + len(seen) == 20 and live.dropped > 5
    assert seen[-1].image[0, 0, 0] == 8 * 19  # the last one is never dropped
    assert np.diff([frame.time for frame in seen]).min() > 0.02


def test_leaving_early_ends_the_reader():
    live = Live("test", (64, 48), 100, feed(10**6, 0.001))
    with live:
        next(iter(live))
    before = threading.active_count()
    time.sleep(0.05)
    assert threading.active_count() <= before


def test_an_error_of_the_reader_reaches_the_consumer():
    def images():
        yield shade(0), 0.0
        raise MediaError("the cable is out: plug it in")

    with pytest.raises(MediaError, match="cable"):
        list(Live("test", (64, 48), 30, images))


def test_a_file_is_played_at_its_own_pace(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        for index in range(6):
            writer.write(shade(index), index * 0.05)
    start = time.monotonic()
    times = [frame.time for frame in paced(open_video(tmp_path / "a.mp4"))]
    assert time.monotonic() - start > 0.2
    np.testing.assert_allclose(times, np.arange(6) * 0.05, atol=1e-3)


class _Camera(http.server.BaseHTTPRequestHandler):
    """A network camera of the usual kind: JPEG pictures, one after the other, over HTTP."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for index in range(30):
            jpeg = cv2.imencode(".jpg", shade(index))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def camera():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/video"
    server.shutdown()


def test_a_network_camera_is_read_and_its_password_not_shown(camera):
    with open_live(camera) as live:
        assert (live.width, live.height) == (64, 48) and "secret" not in live.name
        levels = [int(frame.image.mean()) for frame in live]
    assert len(levels) > 5 and levels == sorted(levels)


def test_what_does_not_answer_is_told_in_one_line():
    with pytest.raises(MediaError, match="check the address") as error:
        open_live("http://user:secret@127.0.0.1:9/none")
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "live"), [("rtsp://a/b", True), ("camera:0", True), ("camera:x", False), ("a.mp4", False), ("file:///etc/passwd", False)]
)
def test_what_is_live(source, live):
    assert is_live(source) == live
