import io
import stat
import struct
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_bytes import onnx_bytes
from vitruvian.errors import WeightsError
from vitruvian.weights.intake import MAX_FIELDS, MAX_MEMBERS, onnx_problem, unwrap

NET = onnx_bytes(b"some weights", 5000)


def zipped(*members, packing=zipfile.ZIP_DEFLATED):
    """A zip archive of (name or ZipInfo, content)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def symlink(name, to):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, to


def unpacked(tmp_path, archive, member=""):
    (tmp_path / "a.zip").write_bytes(archive)
    unwrap(tmp_path / "a.zip", member, tmp_path / "net.onnx")
    return (tmp_path / "net.onnx").read_bytes()


@pytest.mark.parametrize("member", ["", "end2end.onnx", "20230831/model/end2end.onnx"])
def test_the_network_is_found_in_its_archive(tmp_path, member):
    archive = zipped(("20230831/model/deploy.json", "{}"), ("20230831/model/end2end.onnx", NET))
    assert unpacked(tmp_path, archive, member) == NET


def test_an_onnx_file_is_taken_as_it_is(tmp_path):
    assert unpacked(tmp_path, NET) == NET


def test_only_the_member_is_unpacked(tmp_path):
    unpacked(tmp_path, zipped(("other.txt", "x"), ("a/net.onnx", NET)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "net.onnx"]


@pytest.mark.parametrize(
    "name", ["../net.onnx", "/etc/net.onnx", "a/../../net.onnx", "..\\net.onnx", "C:/net.onnx", "C:\\net.onnx", "\\\\host\\net.onnx"]
)
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(WeightsError, match="leads out"):
        unpacked(tmp_path, zipped((name, b"x"), ("end2end.onnx", NET)), "end2end.onnx")


@pytest.mark.parametrize("name", ["end2end.onnx", "other"])
def test_a_link_is_refused(tmp_path, name):
    with pytest.raises(WeightsError, match="link"):
        unpacked(tmp_path, zipped(symlink(name, "/etc/passwd"), ("net.onnx", NET)))


@pytest.mark.parametrize(
    ("names", "member"),
    [
        (("net.onnx", "net.onnx"), ""),
        (("a/net.onnx", "a/net.onnx"), "a/net.onnx"),
        (("a/net.onnx", "b/net.onnx"), "net.onnx"),
        (("a.onnx", "b.onnx"), ""),
        (("net.txt",), ""),
        (("net.onnx",), "end2end.onnx"),
        ((), ""),
    ],
)
def test_there_must_be_one_network_not_none_or_two(tmp_path, names, member):
    with pytest.raises(WeightsError, match="not one"):
        unpacked(tmp_path, zipped(*((name, NET) for name in names)), member)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    with pytest.raises(WeightsError, match="would unpack"):
        unpacked(tmp_path, zipped(("net.onnx", bytes(40 << 20))))
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("size", [10, len(NET) - 1, len(NET) + 1, 1 << 20, (1 << 32) - 2])
def test_a_header_that_lies_about_the_size_is_refused(tmp_path, size):
    archive = bytearray(zipped(("net.onnx", NET)))
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 24 : entry + 28] = struct.pack("<I", size)
    with pytest.raises(WeightsError):
        unpacked(tmp_path, bytes(archive))


def test_a_wrong_checksum_is_refused(tmp_path):
    archive = bytearray(zipped(("net.onnx", NET), packing=zipfile.ZIP_STORED))
    archive[archive.index(b"some weights") + 100] ^= 1
    with pytest.raises(WeightsError, match="damaged.*CRC"):
        unpacked(tmp_path, bytes(archive))


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99), (10, 14)])
def test_encrypted_and_unusual_packing_are_refused(tmp_path, offset, value):
    archive = bytearray(zipped(("net.onnx", NET)))
    archive[archive.index(b"PK\x01\x02") + offset] = value
    with pytest.raises(WeightsError, match="encrypted or packed"):
        unpacked(tmp_path, bytes(archive))


def test_too_many_members_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no archive of a network"):
        unpacked(tmp_path, zipped(*((f"{i}.txt", b"") for i in range(MAX_MEMBERS)), ("net.onnx", NET)))


@given(st.data())
def test_a_damaged_archive_gives_the_network_or_an_error(tmp_path_factory, data):
    folder, archive = tmp_path_factory.mktemp("zip"), bytearray(zipped(("a/net.onnx", NET), ("b.txt", b"text")))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(2, len(archive) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert unpacked(folder, bytes(archive[: data.draw(st.integers(len(archive) // 2, len(archive)))])) == NET
    except WeightsError:
        pass


@given(st.integers(0, len(NET) - 1))
def test_a_cut_file_is_no_network(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "net.onnx"
    path.write_bytes(NET[:length])
    assert onnx_problem(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html>",
        b'{"error": 404}',
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x08\x08",
        b"\x08\x08\x12\x02ab",
        NET + b"\x00",
        NET + b"<html>",
        b"\x3a" + b"\xff" * 30,
        b"\x3a" + b"\xff" * 9 + b"\x01",
        b"\x3b\x00",
        b"\x08\x01" * (MAX_FIELDS + 1),
        b"\x80\x02\x93PICKLE",
    ],
)
def test_other_files_are_no_network(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert onnx_problem(tmp_path / "x")
    with pytest.raises(WeightsError, match="no network|zip"):
        unwrap(tmp_path / "x", "", tmp_path / "net.onnx")


def test_the_installed_networks_are_networks():
    from vitruvian.weights.card import ASSETS

    assert {onnx_problem(path) for path in ASSETS.glob("*.onnx")} == {""}


def test_what_can_t_be_read_is_named(tmp_path):
    with pytest.raises(WeightsError, match="gone.zip"):
        unwrap(tmp_path / "gone.zip", "", tmp_path / "net.onnx")
