import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pytest

from onnx_bytes import onnx_bytes
from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import EMBEDDED, Card, card_for, store
from vitruvian.weights.published import PUBLISHED

NET, OTHER = onnx_bytes(b"the network", 20000), onnx_bytes(b"another one", 20000)
SUM = hashlib.sha256(NET).hexdigest()


def archive(content, name="model/end2end.onnx"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(name, content)
    return out.getvalue()


def files(folder):
    """Everything under a folder: name -> content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def asked(server):
    return [path for path, _ in server.requests]


# Fetching


@pytest.mark.parametrize("sha256", ["", SUM, SUM.upper()])
def test_a_network_is_fetched_once(server, describe, home, sha256):
    describe(server.put("/net.onnx", NET), sha256=sha256)
    card = store.fetch("net")
    assert (card.file, card.sha256, card.size_bytes) == (str(home / "net.onnx"), SUM, len(NET))
    assert (home / "net.onnx").read_bytes() == NET
    assert store.fetch("net") == card and store.locate("net") == card and store.path("net") == home / "net.onnx"
    assert len(server.requests) == 1


def test_a_network_in_a_zip_archive_is_unpacked(server, describe, home):
    describe(server.put("/net.zip?download=1".partition("?")[0], archive(NET)), sha256=SUM, member="end2end.onnx")
    assert store.fetch("net").sha256 == SUM
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == ["net.json", "net.onnx"]
    assert not list((home / ".parts").iterdir())


def test_progress_reaches_the_end(server, describe):
    describe(server.put("/net.onnx", NET))
    seen = []
    store.fetch("net", seen.append)
    assert (seen[-1].done, seen[-1].total) == (len(NET), len(NET))


BAD_MIRRORS = {
    "missing": dict(status=404),
    "down": dict(status=503),
    "web page": dict(body=b"<!DOCTYPE html><html>sign in</html>", headers={"Content-Type": "text/html"}),
    "web page as a file": dict(body=b"<!DOCTYPE html><html>sign in</html>"),
    "another file": dict(body=OTHER),
    "cut file": dict(body=NET[:-1]),
    "always cut": dict(body=NET, cuts=[9] * 99),
    "length too short": dict(body=NET, length=5000),
    "length too long": dict(body=NET, length=50000),
    "hostile archive": dict(body=archive(NET, "../../net.onnx")),
    "another archive": dict(body=archive(OTHER)),
    "damaged archive": dict(body=archive(NET)[:-30]),
    "no archive of a network": dict(body=archive(b"hello", "readme.txt")),
}


@pytest.mark.parametrize("trouble", BAD_MIRRORS)
def test_the_second_mirror_is_asked_when_the_first_is_bad(server, describe, home, trouble):
    describe(server.put("/bad.onnx", **BAD_MIRRORS[trouble]), server.put("/good.onnx", NET), sha256=SUM)
    assert store.fetch("net").sha256 == SUM
    assert asked(server)[-1] == "/good.onnx" and (home / "net.onnx").read_bytes() == NET


@pytest.mark.parametrize("trouble", BAD_MIRRORS)
def test_a_bad_mirror_leaves_no_network(server, describe, home, trouble):
    describe(server.put("/bad.onnx", **BAD_MIRRORS[trouble]), sha256=SUM)
    with pytest.raises(WeightsError):
        store.fetch("net")
    assert {name for name in files(home) if "onnx" in name or "tmp" in name} == set()


def test_a_dead_mirror_does_not_hinder_the_next(server, describe):
    describe("http://127.0.0.1:1/net.onnx", "file:///etc/passwd", "http://[::1/net.onnx", server.put("/net.onnx", NET))
    assert store.fetch("net").sha256 == SUM


def test_a_cut_fetch_goes_on_next_time(server, describe):
    describe(server.put("/net.onnx", NET, headers={"ETag": '"one"'}, cuts=[1000] * 3), sha256=SUM)
    with pytest.raises(WeightsError, match="ended after 3000"):
        store.fetch("net")
    assert store.fetch("net").sha256 == SUM
    assert server.requests[-1] == ("/net.onnx", "bytes=3000-")


def test_a_killed_fetch_goes_on_next_time(server, describe, home):
    body = onnx_bytes(b"a longer network", 300_000)
    describe(server.put("/net.onnx", body, headers={"ETag": '"one"'}, drip=0.01))
    process = subprocess.Popen([sys.executable, "-c", "from vitruvian.weights import store; store.fetch('net')"])
    deadline = time.monotonic() + 60
    while not sum(part.stat().st_size for part in home.glob(".parts/*[!n]")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.pages["/net.onnx"].drip = 0.0
    assert store.fetch("net").sha256 == hashlib.sha256(body).hexdigest()
    assert server.requests[-1][1].startswith("bytes=") and len(server.requests) == 2


def test_the_users_own_mirror_is_asked_first(server, describe, monkeypatch):
    describe("http://127.0.0.1:1/far/away.zip", sha256=SUM)
    monkeypatch.setenv("VITRUVIAN_MIRROR", server.address + "/weights/")
    server.put("/weights/net.onnx", NET)
    assert store.fetch("net").sha256 == SUM
    assert asked(server) == ["/weights/away.zip", "/weights/net.onnx"]


def test_two_processes_fetch_once(server, describe, home):
    describe(server.put("/net.onnx", NET), sha256=SUM)
    server.hold.clear()
    code = "from vitruvian.weights import store; print(store.fetch('net').sha256)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    server.hold.set()
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [SUM, SUM]
    assert len(server.requests) == 1


# What nobody published a sum for


def test_the_first_sum_is_recorded_and_held_to(server, describe, home):
    url = server.put("/net.onnx", NET)
    describe(url)
    store.fetch("net")
    assert Card.load(home / "net.json").sha256 == SUM and Card.load(home / "net.json").urls == (url,)
    (home / "net.onnx").unlink()
    server.put("/net.onnx", OTHER)
    with pytest.raises(WeightsError, match="another file.*remove .*net.json"):
        store.fetch("net")


def test_a_published_network_keeps_its_card_and_gets_the_sum(server, home, monkeypatch):
    card = replace(PUBLISHED["rtmo-s"], urls=(server.put("/rtmo.zip", archive(NET)),))
    monkeypatch.setattr(store, "PUBLISHED", {"rtmo-s": card})
    assert store.fetch("rtmo-s").sha256 == SUM
    monkeypatch.setattr(store, "PUBLISHED", {"rtmo-s": replace(card, source="a later version knows more")})
    assert store.locate("rtmo-s").source == "a later version knows more"
    assert store.described("rtmo-s").sha256 == SUM


def test_a_published_sum_outweighs_a_recorded_one(describe, home, monkeypatch):
    describe(sha256="0" * 64)
    (home / "net.onnx").write_bytes(NET)
    monkeypatch.setattr(store, "PUBLISHED", {"net": replace(store.described("net"), sha256=SUM)})
    assert store.locate("net").sha256 == SUM


# Checking


def change(path, keep_time):
    """Damage one byte of a file of the store, with its time as it was or another."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (0 if keep_time else 10**9)))


def test_a_changed_file_is_noticed_on_load_and_fetched_again(server, describe, home):
    describe(server.put("/net.onnx", NET))
    store.fetch("net")
    change(home / "net.onnx", keep_time=False)
    with pytest.raises(WeightsError, match="fetch net"):
        store.locate("net")
    assert store.fetch("net").sha256 == SUM and (home / "net.onnx").read_bytes() == NET


def test_verify_reads_the_file_whatever_its_time_says(server, describe, home):
    describe(server.put("/net.onnx", NET))
    store.fetch("net")
    change(home / "net.onnx", keep_time=True)
    with pytest.raises(WeightsError, match="not the file"):
        store.verify("net")


def test_an_unchanged_file_is_not_read_again(server, describe, monkeypatch):
    describe(server.put("/net.onnx", NET))
    store.fetch("net")
    monkeypatch.setattr(store, "file_sha256", None)
    assert store.locate("net").sha256 == SUM


@pytest.mark.parametrize("stamp", ["", "[]", '{"sha256": 3}', "{}"])
def test_a_damaged_memory_only_costs_a_reading(server, describe, home, stamp):
    describe(server.put("/net.onnx", NET))
    store.fetch("net")
    (home / ".checked/net.json").write_text(stamp)
    assert store.locate("net").sha256 == SUM


def test_verify_of_a_network_that_is_not_here_says_how_to_get_it(describe):
    describe("https://example.org/net.onnx")
    with pytest.raises(WeightsError, match="not on this machine: vitruvian weights fetch net"):
        store.verify("net")


# Folders


def test_a_shared_folder_is_used_and_not_written_to(describe, home, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    describe(folder=shared)
    (shared / "net.onnx").write_bytes(NET)
    before = files(shared)
    shared.chmod(0o555)
    monkeypatch.setenv("VITRUVIAN_SHARED", os.pathsep.join([str(tmp_path / "nowhere"), str(shared)]))
    assert store.fetch("net").file == str(shared / "net.onnx")
    assert files(shared) == before
    assert Card.load(home / "net.json").sha256 == SUM  # the sum of first use is the user's own record
    shared.chmod(0o755)
    change(shared / "net.onnx", keep_time=False)
    with pytest.raises(WeightsError, match="not the file"):
        store.locate("net")


def test_the_home_of_another_user_can_be_shared(describe, tmp_path, monkeypatch):
    describe(folder=tmp_path / "other/weights", sha256=SUM)
    (tmp_path / "other/weights/net.onnx").write_bytes(NET)
    monkeypatch.setenv("VITRUVIAN_SHARED", str(tmp_path / "other"))
    assert store.path("net") == tmp_path / "other/weights/net.onnx"


def test_a_wrong_file_in_a_shared_folder_is_bypassed_by_fetch(server, describe, home, tmp_path, monkeypatch):
    describe(server.put("/net.onnx", NET), folder=tmp_path / "shared", sha256=SUM)
    (tmp_path / "shared/net.onnx").write_bytes(OTHER)
    monkeypatch.setenv("VITRUVIAN_SHARED", str(tmp_path / "shared"))
    assert store.fetch("net").file == str(home / "net.onnx")
    assert store.locate("net").file == str(home / "net.onnx")


@pytest.mark.parametrize(("name", "content"), [("rtmo-s_v1.zip", archive(NET)), ("rtmo-s.onnx", NET)])
@pytest.mark.parametrize("place", ["home", "shared"])
def test_a_download_put_into_a_folder_by_hand_is_found(home, tmp_path, monkeypatch, name, content, place):
    card = replace(PUBLISHED["rtmo-s"], urls=("https://example.org/a/rtmo-s_v1.zip",))
    monkeypatch.setattr(store, "PUBLISHED", {"rtmo-s": card})
    monkeypatch.setenv("VITRUVIAN_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("VITRUVIAN_OFFLINE", "1")
    folder = {"home": home, "shared": tmp_path / "shared"}[place]
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    assert store.locate("rtmo-s").sha256 == SUM


def test_a_bad_archive_in_a_folder_is_bypassed(server, home, monkeypatch):
    card = replace(PUBLISHED["rtmo-s"], urls=(server.put("/rtmo-s_v1.zip", archive(NET)),))
    monkeypatch.setattr(store, "PUBLISHED", {"rtmo-s": card})
    home.mkdir(parents=True)
    (home / "rtmo-s_v1.zip").write_bytes(archive(NET)[:-30])
    assert store.fetch("rtmo-s").sha256 == SUM


def test_a_network_that_is_here_needs_no_home_to_write_to(describe, tmp_path, monkeypatch):
    describe(folder=tmp_path / "shared")
    (tmp_path / "shared/net.onnx").write_bytes(NET)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRUVIAN_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "file/home"))
    assert store.locate("net").sha256 == store.fetch("net").sha256 == SUM


def test_a_home_that_can_t_be_written_is_named_with_the_remedy(tmp_path, home, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "file/home"))
    with pytest.raises(WeightsError, match="Can't write to .*file/home.*set VITRUVIAN_HOME"):
        store.fetch("rtmo-s")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the Linux default")
def test_the_default_home_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("VITRUVIAN_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert store.home() == tmp_path / "cache/vitruvian"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.home() == tmp_path / ".cache/vitruvian"


# Offline, and names


def test_offline_one_message_names_the_file_its_addresses_and_its_place(describe, home, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    describe("http://127.0.0.1:1/a/net-v1.zip", "http://127.0.0.1:2/b/net-v1.zip")
    with pytest.raises(WeightsError) as caught:
        store.fetch("net")
    message = str(caught.value)
    for words in ("'net'", "127.0.0.1:1/a/net-v1.zip", "127.0.0.1:2/b/net-v1.zip", "no answer", str(home), "weights add FILE --id net"):
        assert words in message
    assert "\n" not in message


def test_told_to_stay_offline_it_asks_nobody(server, describe, monkeypatch):
    describe(server.put("/net.onnx", NET))
    monkeypatch.setenv("VITRUVIAN_OFFLINE", "1")
    with pytest.raises(WeightsError, match="VITRUVIAN_OFFLINE is set.*net.onnx"):
        store.fetch("net")
    assert not server.requests


def test_a_network_without_addresses_says_where_it_is_from(home):
    with pytest.raises(WeightsError, match="no address is known.*pose2sim.*opencap-augmenter-lower.onnx"):
        store.fetch("opencap-augmenter-lower")


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "a/b", "a\\b", "/etc/passwd", "net\0", "yolo", "x" * 300, "net\n"])
def test_a_name_that_is_no_id_is_refused(home, name):
    with pytest.raises(WeightsError, match="No network"):
        store.fetch(name)


def test_a_misspelt_name_gets_a_hint(home):
    with pytest.raises(WeightsError, match="did you mean 'dwpose-l-384'"):
        store.fetch("dwpose-l-348")


def test_a_card_under_another_name_is_refused(describe, home):
    describe(id="mine").save(home / "theirs.json")
    with pytest.raises(WeightsError, match="name it"):
        store.described("theirs")


def test_a_network_is_found_by_its_id_where_networks_are_asked_for(describe, home):
    describe()
    (home / "net.onnx").write_bytes(NET)
    assert card_for("net").file == str(home / "net.onnx")


# Listing


def test_all_networks_are_listed_and_filtered(describe):
    describe(licence_code="MIT", licence_weights="MIT", licence_data="CC0-1.0")
    ids = {card.id for card in store.listed()}
    assert {"net", *EMBEDDED, *PUBLISHED} == ids
    assert {card.id for card in store.listed(licence="permissive")} == {"net", *EMBEDDED}
    assert {card.id for card in store.listed(task="one-stage")} == {"rtmo-s", "rtmo-m", "rtmo-l"}
    assert {card.id for card in store.listed(task="detection", subject="hand")} == {"rtmdet-nano-hand"}


def test_a_broken_card_is_left_out_with_a_warning(describe, home, caplog):
    describe()
    (home / "broken.json").write_text("{}")
    assert "broken" not in {card.id for card in store.listed()}
    assert "broken.json" in caplog.text
    with pytest.raises(FormatError, match="broken.json"):
        store.described("broken")
