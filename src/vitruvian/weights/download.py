"""One file over HTTP, with the standard library: resumed where it was cut, never glued from two versions, never larger than allowed.

What arrives lies in PART, and what PART is of in PART.json: its URL, the server's validator (a strong ETag, else Last-Modified) and the
whole length. A later call goes on at its end only when all three are known and the server agrees (Range with If-Range, RFC 9110 sections
13.1.5 and 14); otherwise it starts again. Whether the content is the right one is for the caller to check.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from vitruvian._files import read_json, written_whole
from vitruvian._version import __version__
from vitruvian.errors import FormatError, WeightsError

logger = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds that a server may stay silent."""
SLOWEST = (60.0, 64 << 10)
"""Seconds, and the bytes that must have come in them: a slower server counts as down, so that the next mirror gets its turn."""
PATIENCE = 3
"""How many transfers in a row may break off without bringing `WORTH` more bytes."""
WORTH = 1 << 20
PAUSE = 0.5
"""Seconds before going on after a break."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Transfer:
    """How far a download is: bytes done, bytes in all (None where the server doesn't say), and from where."""

    done: int
    total: int | None
    url: str


OnTransfer = Callable[[Transfer], None]


class _BrokenOff(WeightsError):
    """The connection ended too early; what came is kept, and another request may go on."""


class _Changed(_BrokenOff):
    """What the server has now does not continue what came before."""


@dataclass(frozen=True)
class _Origin:
    """What a PART is a part of."""

    url: str
    validator: str
    total: int


@dataclass(frozen=True)
class _Job:
    """What to bring where, no larger than `limit`."""

    url: str
    part: Path
    limit: int
    on_transfer: OnTransfer | None


def download(url: str, part: Path, *, limit: int, on_transfer: OnTransfer | None = None) -> None:
    """Bring the file at `url` into `part`, whole, going on where an earlier call stopped.

    Raises WeightsError with the reason - what the server said, cut off, too slow, a web page, more than `limit` bytes, no disk space - and
    keeps what came where a later call can go on from it. `on_transfer` is called after every chunk; what it raises passes through.
    """
    job, waited = _Job(url, part, limit, on_transfer), 0
    while True:
        before = _size(part)
        try:
            return _transfer(job)
        except _BrokenOff as error:
            if isinstance(error, _Changed):
                discard(part)
            waited = 0 if _size(part) - before > WORTH else waited + 1
            if waited >= PATIENCE:
                raise
            logger.info("%s: %s; going on", url, error)
            time.sleep(PAUSE)


def discard(part: Path) -> None:
    """Forget what came so far."""
    for path in (part, _origin_file(part)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _transfer(job: _Job) -> None:
    """One request, to the end of the file."""
    origin = _origin_of(job.part, job.url)
    start = _size(job.part) if origin else 0
    if origin and start == origin.total:
        return
    with _open(job.url, start, origin) as response:
        if response.status == 206:
            total = _continuation(response, start, origin)
        else:
            start, total = 0, _whole_length(response)
        if total is not None and total > job.limit:
            raise WeightsError(f"the server's file has {total} bytes, more than the {job.limit} that a network may have")
        _store(response, job, start, total)


def _store(response: HTTPResponse, job: _Job, start: int, total: int | None) -> None:
    """Append the response at `start` of the part; WeightsError where it ends too early, is too large, or can't be written."""
    try:
        if start == 0:
            discard(job.part)
            _remember(job, response, total)
        with job.part.open("ab") as file:
            done = _copy(response, file, job, start, total)
    except OSError as error:
        raise WeightsError(f"can't write {job.part} ({error.strerror or error}): check the rights and the free space") from error
    if total is not None and done != total:
        raise _BrokenOff(f"the transfer ended after {done} of {total} bytes")


def _copy(response: HTTPResponse, file: BinaryIO, job: _Job, done: int, total: int | None) -> int:
    """Copy what comes, `done` bytes being there; the position at the end."""
    seconds, least = SLOWEST
    since, then = time.monotonic(), done
    while chunk := _read(response):
        done += len(chunk)
        if done > job.limit:
            discard(job.part)
            raise WeightsError(f"the server sends more than {job.limit} bytes, too many for a network")
        file.write(chunk)
        if job.on_transfer:
            job.on_transfer(Transfer(done, total, job.url))
        if time.monotonic() - since > seconds:
            if done - then < least:
                raise WeightsError(f"the server is too slow: {done - then} bytes in {seconds:.0f} s")
            since, then = time.monotonic(), done
    return done


def _read(response: HTTPResponse) -> bytes:
    """What has come by now, b"" at the end."""
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _BrokenOff(f"the connection broke off ({_reason(error)})") from error


def _open(url: str, start: int, origin: _Origin | None) -> HTTPResponse:
    """The server's answer to a request for the file from `start` on; WeightsError when it is not the file."""
    if not url.lower().startswith(("http://", "https://")):
        raise WeightsError("not an http or https address")
    headers = {"User-Agent": f"vitruvian/{__version__}", "Accept-Encoding": "identity"}
    if start and origin:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    try:
        response = _opener().open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            raise _Changed("the server's file is shorter than what came before") from error
        raise WeightsError(f"the server answers {error.code} {str(error.reason).strip()}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise WeightsError(f"no answer ({_reason(error)})") from error
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        response.close()
        raise WeightsError("the server answers a web page instead of the file")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        response.close()
        raise WeightsError("the server answers in an encoding that was not asked for")
    return response


def _opener() -> OpenerDirector:
    """HTTP and HTTPS, with the proxies of the environment, and nothing else: the standard opener also takes file, ftp and data."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), _SafeRedirect(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    opener.add_handler(HTTPDefaultErrorHandler())
    opener.add_handler(UnknownHandler())
    return opener


class _SafeRedirect(HTTPRedirectHandler):
    """Redirections stay on HTTP, and on HTTPS where they started there."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """As the base class; refuses other schemes and the way from https to http."""
        to = urlsplit(newurl).scheme
        if to not in ("http", "https") or (req.type == "https" and to == "http"):
            raise HTTPError(req.full_url, code, f"and redirects to {newurl[:200]}, which is refused", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _continuation(response: HTTPResponse, start: int, origin: _Origin | None) -> int:
    """The whole length, when a partial answer goes from `start` to the end of the file that we have a part of."""
    if origin is None or response.headers.get("Content-Range", "").strip() != f"bytes {start}-{origin.total - 1}/{origin.total}":
        raise _Changed("the server went on with another file")
    return origin.total


def _whole_length(response: HTTPResponse) -> int | None:
    """Content-Length, None where the server doesn't say or says no number."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if re.fullmatch(r"\d{1,15}", length) else None


def _remember(job: _Job, response: HTTPResponse, total: int | None) -> None:
    """Write PART.json where the server gives what a continuation needs."""
    tag = response.headers.get("ETag", "").strip()
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "").strip()
    if validator and total:
        with written_whole(_origin_file(job.part)) as temporary:
            temporary.write_text(json.dumps(asdict(_Origin(job.url, validator, total))), encoding="utf-8")


def _origin_of(part: Path, url: str) -> _Origin | None:
    """What PART is of, None when it can't be continued from `url`."""
    try:
        origin = _Origin(**read_json(_origin_file(part), 1 << 16))  # type: ignore[arg-type]
    except (FormatError, TypeError):
        return None
    sound = isinstance(origin.total, int) and isinstance(origin.validator, str) and origin.url == url
    return origin if sound and 0 < _size(part) <= origin.total else None


def _origin_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: BaseException) -> str:
    """An error of the network in a few words."""
    inner = error.reason if isinstance(error, URLError) else error
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)
