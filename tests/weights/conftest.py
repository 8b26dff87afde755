"""A web server on loopback that misbehaves as told, and an empty store."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vitruvian.weights import Card, download


@dataclass
class Page:
    """What the server answers at one path."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    ranges: bool = True
    """Whether it honours Range (and If-Range against its ETag)."""
    trusting: bool = False
    """Whether it goes on without looking at If-Range."""
    length: int | None = None
    """Content-Length, where it is not the true one; -1 for none."""
    cuts: list = field(default_factory=list)
    """For the next requests: after how many bytes to hang up."""
    drip: float = 0.0
    """Seconds between pieces of 1 kB."""


class Server:
    """`pages` by path; `requests` are the paths and Range headers that came."""

    def __init__(self):
        self.pages, self.requests, self.hold = {}, [], threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("Range")))
                outer.hold.wait(30)
                outer.answer(self, outer.pages.get(self.path, Page(status=404)))

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def put(self, path, body=b"", **options):
        """Serve `body` at `path`; the URL."""
        self.pages[path] = Page(body, **options)
        return self.address + path

    def answer(self, handler, page):
        body, status, headers = page.body, page.status, dict(page.headers)
        wanted = handler.headers.get("Range")
        same = page.trusting or handler.headers.get("If-Range") in (page.headers.get("ETag"), page.headers.get("Last-Modified"))
        if wanted and page.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body = body[start:]
        handler.send_response(status)
        length = len(body) if page.length is None else page.length
        if length >= 0:
            headers["Content-Length"] = str(length)
        for name, value in ({"Content-Type": "application/octet-stream"} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        cut = page.cuts.pop(0) if page.cuts else None
        try:
            for start in range(0, len(body[:cut]), 1024):
                handler.wfile.write(body[:cut][start : start + 1024])
                time.sleep(page.drip)
        except OSError:
            pass
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    server = Server()
    yield server
    server.hold.set()
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of an empty store's networks (not there yet)."""
    for name in ("VITRUVIAN_SHARED", "VITRUVIAN_MIRROR", "VITRUVIAN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def describe(home):
    """Put the card of a network `net`, which has no file yet, into the store, or into another folder."""

    def describe(*urls, folder=home, **values):
        values = {"id": "net", "task": "detection", "input_size": (64, 64), "mean": (0.0,) * 3, "std": (1.0,) * 3} | values
        card = Card(file=f"{values['id']}.onnx", classes=("person",), urls=urls, **values)
        card.save(folder / f"{card.id}.json")
        return card

    return describe
