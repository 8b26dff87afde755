import re
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from vitruvian.errors import WeightsError
from vitruvian.weights import download as room
from vitruvian.weights.download import Transfer, download

BODY = bytes(range(256)) * 40
OTHER = bytes(reversed(range(256))) * 40
TAG = {"ETag": '"one"'}


@pytest.fixture
def part(tmp_path):
    return tmp_path / "part"


def bring(url, part, limit=1 << 20, **options):
    """The bytes that arrive."""
    download(url, part, limit=limit, **options)
    return part.read_bytes()


def ranges(server):
    return [wanted for _, wanted in server.requests]


def test_a_file_arrives_whole(server, part):
    assert bring(server.put("/f", BODY), part) == BODY


def test_an_empty_file_is_a_file(server, part):
    assert bring(server.put("/f"), part) == b""


def test_progress_tells_bytes_and_total(server, part):
    seen = []
    url = server.put("/f", BODY)
    bring(url, part, on_transfer=seen.append)
    assert seen[-1] == Transfer(len(BODY), len(BODY), url)
    assert [now.done for now in seen] == sorted(now.done for now in seen)


def test_a_cut_transfer_goes_on_where_it_ended(server, part):
    assert bring(server.put("/f", BODY, headers=TAG, cuts=[5000]), part) == BODY
    assert ranges(server) == [None, "bytes=5000-"]


def test_a_later_call_goes_on_where_the_last_gave_up(server, part):
    url = server.put("/f", BODY, headers={"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, cuts=[100] * room.PATIENCE)
    with pytest.raises(WeightsError, match="ended after 300 of 10240 bytes"):
        bring(url, part)
    assert bring(url, part) == BODY
    assert ranges(server)[-1] == "bytes=300-"


def test_what_is_whole_is_not_asked_for_again(server, part):
    url = server.put("/f", BODY, headers=TAG)
    assert bring(url, part) == bring(url, part) == BODY
    assert len(server.requests) == 1


def test_a_server_without_ranges_sends_all_again(server, part):
    assert bring(server.put("/f", BODY, headers=TAG, ranges=False, cuts=[5000]), part) == BODY


@pytest.mark.parametrize(
    ("new", "trusting"),  # of the same length, only the server can tell them apart (and the sha256, later)
    [(OTHER, False), (OTHER + b"more", False), (OTHER + b"more", True), (OTHER[:6000], False), (OTHER[:6000], True), (OTHER[:2000], True)],
)
def test_a_changed_file_is_not_glued(server, part, new, trusting):
    url = server.put("/f", BODY, headers=TAG, cuts=[1000] * room.PATIENCE)
    with pytest.raises(WeightsError):
        bring(url, part)
    server.put("/f", new, headers={"ETag": '"two"'}, trusting=trusting)
    assert bring(url, part) == new


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_without_a_strong_validator_it_starts_again(server, part, headers):
    assert bring(server.put("/f", BODY, headers=headers, cuts=[5000]), part) == BODY
    assert ranges(server) == [None, None]


def test_another_address_starts_again(server, part):
    url = server.put("/f", BODY, headers=TAG, cuts=[1000] * room.PATIENCE)
    with pytest.raises(WeightsError):
        bring(url, part)
    assert bring(server.put("/other", OTHER, headers=TAG), part) == OTHER
    assert ranges(server)[-1] is None


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"url": 1, "validator": 2, "total": "x"}', "\x00"])
def test_a_damaged_note_starts_again(server, part, note):
    part.write_bytes(OTHER[:3000])
    part.with_name("part.json").write_text(note)
    assert bring(server.put("/f", BODY, headers=TAG), part) == BODY


def test_a_length_that_is_too_long_is_no_whole_file(server, part):
    with pytest.raises(WeightsError, match="ended after 10240 of 99999 bytes"):
        bring(server.put("/f", BODY, length=99999), part)


def test_a_file_of_unknown_length_ends_with_the_connection(server, part):
    assert bring(server.put("/f", BODY, length=-1), part) == BODY


def test_too_large_a_file_is_refused_before_it_comes(server, part):
    with pytest.raises(WeightsError, match="10240 bytes, more than the 10000"):
        bring(server.put("/f", BODY), part, limit=10000)
    assert not part.exists()


def test_too_large_a_file_of_unknown_length_leaves_nothing(server, part):
    with pytest.raises(WeightsError, match="more than 10000 bytes"):
        bring(server.put("/f", BODY, length=-1), part, limit=10000)
    assert not part.exists()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"headers": {"Content-Type": "text/html; charset=utf-8"}}, "web page"),
        ({"headers": {"Content-Encoding": "gzip"}}, "encoding"),
        ({"status": 404}, "404"),
        ({"status": 503}, "503"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "302"),
        ({"status": 302, "headers": {"Location": "ftp://example.org/f"}}, "refused"),
        ({"status": 302, "headers": {"Location": "/f"}}, "30[12]"),
    ],
)
def test_an_answer_that_is_not_the_file_is_refused(server, part, page, words):
    with pytest.raises(WeightsError, match=words):
        bring(server.put("/f", BODY, **page), part)
    assert not part.exists()


def test_a_redirection_is_followed(server, part):
    server.put("/there", BODY)
    assert bring(server.put("/f", status=302, headers={"Location": "/there"}), part) == BODY


def test_the_way_from_https_to_http_is_refused():
    with pytest.raises(HTTPError, match="refused"):
        room._SafeRedirect().redirect_request(Request("https://example.org/f"), None, 302, "Found", {}, "http://example.org/f")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/f", "data:,x", "/etc/passwd", ""])
def test_other_addresses_than_web_ones_are_refused(part, url):
    with pytest.raises(WeightsError, match="not an http"):
        bring(url, part)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/f", "http:///f", "http://[::1/f", "http://127.0.0.1:99999/f"])
def test_a_server_that_is_not_there_is_one_error(part, url, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match="no answer|not an http"):
        bring(url, part)


def test_a_silent_server_is_given_up(server, part, monkeypatch):
    monkeypatch.setattr(room, "TIMEOUT", 0.1)
    server.hold.clear()
    with pytest.raises(WeightsError, match="no answer .*timed out"):
        bring(server.put("/f", BODY), part)


def test_a_dripping_server_is_given_up(server, part, monkeypatch):
    monkeypatch.setattr(room, "SLOWEST", (0.02, 1 << 20))
    with pytest.raises(WeightsError, match="too slow"):
        bring(server.put("/f", BODY, drip=0.01), part)


def test_a_folder_that_can_t_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=re.escape(str(tmp_path / "file" / "part"))):
        bring(server.put("/f", BODY), tmp_path / "file" / "part")
