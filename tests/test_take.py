"""A take is what a user keeps: it must come back from its file as it was, and a damaged file must say so."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.npz import read_npz
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, SKELETONS, Skeleton
from vitruvian.take import People, Take

COLUMNS = ("frame", "track", "boxes", "scores", "keypoints", "confidence")
finite = st.floats(-1e5, 1e5, width=32)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def takes(draw: st.DrawFn) -> Take:
    skeleton = draw(st.sampled_from([COCO_17, COCO_WHOLEBODY_133]))
    frames = draw(st.integers(0, 4))
    n, k = (draw(st.integers(0, 5)) if frames else 0), len(skeleton)
    people = People(
        frame=draw(hnp.arrays(np.int32, n, elements=st.integers(0, max(frames - 1, 0)))),
        track=draw(hnp.arrays(np.int32, n, elements=st.integers(-1, 2**31 - 1))),
        boxes=draw(hnp.arrays(np.float32, (n, 4), elements=finite)),
        scores=draw(hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32))),
        keypoints=draw(hnp.arrays(np.float32, (n, k, 2), elements=finite | st.just(np.nan), fill=st.just(np.nan))),
        confidence=draw(hnp.arrays(np.float32, (n, k), elements=st.floats(0, 1, width=32), fill=st.just(0))),
    )
    return Take(
        people=people,
        skeleton=skeleton,
        times=draw(hnp.arrays(np.float64, frames, elements=st.floats(-1e6, 1e6))),
        sizes=draw(hnp.arrays(np.int32, (frames, 2), elements=st.integers(0, 2**31 - 1))),
        names=tuple(draw(st.lists(text, min_size=frames, max_size=frames) | st.lists(text, max_size=1))),
        source=draw(text),
        cards=tuple(draw(st.lists(text, max_size=2))),
        version=draw(text),
        complete=draw(st.booleans()),
    )


def small_take(frames: int = 3) -> Take:
    """Two persons in each frame, the second one without a track."""
    n = 2 * frames
    rng = np.random.default_rng(0)
    people = People(
        frame=np.repeat(np.arange(frames), 2),
        track=np.tile([7, -1], frames),
        boxes=rng.uniform(0, 99, (n, 4)),
        scores=rng.uniform(size=n),
        keypoints=rng.uniform(0, 99, (n, 17, 2)),
        confidence=rng.uniform(size=(n, 17)),
    )
    return Take(people, COCO_17, np.arange(frames) / 30, np.full((frames, 2), (640, 480)), ("walk.mp4",))


def assert_same(a: Take, b: Take) -> None:
    for name in COLUMNS:
        x, y = getattr(a.people, name), getattr(b.people, name)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y, err_msg=name)
    np.testing.assert_array_equal(a.times, b.times)
    np.testing.assert_array_equal(a.sizes, b.sizes)
    assert a.skeleton is b.skeleton
    fields = ("names", "source", "cards", "version", "complete")
    assert [getattr(a, name) for name in fields] == [getattr(b, name) for name in fields]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes())
def test_comes_back_from_its_file(take: Take, tmp_path: Path):
    take.save(tmp_path / "take.npz")
    assert_same(Take.load(tmp_path / "take.npz"), take)
    assert os.listdir(tmp_path) == ["take.npz"]


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_empty_take_of_every_set(skeleton: Skeleton, tmp_path: Path):
    take = Take(People.empty(len(skeleton)), skeleton, np.zeros(0), np.zeros((0, 2)))
    take.export(tmp_path / "new" / "take.npz")
    back = Take.load(tmp_path / "new" / "take.npz")
    assert_same(back, take)
    assert back.keypoints.shape == (0, len(skeleton), 2) and back.tracks.shape == (0,) and list(back.by_frame()) == []


def test_shortcuts_and_choices():
    take = small_take()
    assert take.keypoints.shape == (6, 17, 2) and take.confidence.shape == (6, 17) and take.boxes.shape == (6, 4)
    assert take.tracks.tolist() == [7]
    assert len(take.people.at(1)) == 2 and len(take.people.of(7)) == 3 and len(take.people.at(99)) == 0
    assert [people.frame.tolist() for people in take.by_frame()] == [[0, 0], [1, 1], [2, 2]]
    tracked = take.subset(take.people.track >= 0)
    assert len(tracked.people) == 3 and len(tracked.times) == 3
    assert take.people[1:3].frame.tolist() == [0, 1] and take.people[[5, 0]].frame.tolist() == [2, 0]
    assert len(take.people[[]]) == 0 and take.people[np.zeros(6, bool)].keypoints.shape == (0, 17, 2)
    assert take.name_of(2) == "walk.mp4"


def test_frames_come_in_order_whatever_the_rows():
    take = small_take()
    shuffled = take.subset(np.array([5, 0, 3, 1, 4, 2]))
    assert [people.frame.tolist() for people in shuffled.by_frame()] == [[0, 0], [1, 1], [2, 2]]


def test_concatenate():
    take = small_take()
    both = People.concatenate([take.people[:2], People.empty(17), take.people[2:]])
    np.testing.assert_array_equal(both.keypoints, take.keypoints)
    with pytest.raises(VitruvianError, match="empty"):
        People.concatenate([])
    with pytest.raises(VitruvianError, match="convert"):
        People.concatenate([People.empty(17), People.empty(133)])


def test_arrays_are_read_only_and_the_callers_stay_his():
    keypoints = np.zeros((1, 17, 2), np.float32)
    people = People([0], [-1], [[0, 0, 1, 1]], [1], keypoints, np.ones((1, 17)))
    for name in COLUMNS:
        with pytest.raises(ValueError):
            getattr(people, name)[...] = 0
    keypoints[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.zeros(2)}, "sizes"),
        ({"skeleton": COCO_WHOLEBODY_133}, "133"),
        ({"names": ("a", "b")}, "names"),
        ({"times": np.array([0, np.nan, 1])}, "finite"),
        ({"sizes": np.full((3, 2), -1)}, "negative"),
        ({"sizes": np.zeros((3, 3))}, "shape"),
    ],
)
def test_takes_that_do_not_hold_together_are_refused(change: dict, message: str):
    take = small_take()
    fields = {name: getattr(take, name) for name in ("people", "skeleton", "times", "sizes", "names")}
    with pytest.raises(VitruvianError, match=message):
        Take(**{**fields, **change})


def test_people_that_do_not_hold_together_are_refused():
    with pytest.raises(VitruvianError, match="length"):
        People([0, 1], [0], np.zeros((1, 4)), [1], np.zeros((1, 17, 2)), np.zeros((1, 17)))
    with pytest.raises(VitruvianError, match="points"):
        People([0], [0], np.zeros((1, 4)), [1], np.zeros((1, 17, 2)), np.zeros((1, 16)))
    with pytest.raises(VitruvianError, match="outside"):
        Take(small_take().people, COCO_17, np.zeros(1), np.zeros((1, 2)))
    with pytest.raises(VitruvianError, match="people"):
        small_take().people[0]


def test_unknown_suffix_and_unknown_set_are_refused(tmp_path: Path):
    with pytest.raises(FormatError, match=".json"):
        small_take().export(tmp_path / "take.xyz")
    with pytest.raises(FormatError, match="can't write"):
        small_take().save("/dev/null/take.npz")
    mine = Skeleton(name="coco-17", names=("a",), swap=(0,), links=(), colors=(), parts={})
    with pytest.raises(FormatError, match="another name"):
        Take(People.empty(1), mine, np.zeros(0), np.zeros((0, 2))).save(tmp_path / "take.npz")
    assert os.listdir(tmp_path) == []


def own_take() -> Take:
    """One frame and one person, with a keypoint set that is not built in."""
    names = ("nose", "l_spot", "r_spot")
    mine = Skeleton("mine", names, (0, 2, 1), ((0, 1), (0, 2)), ((0, 0, 0), (0, 0, 0)), {"body": slice(0, 3)})
    keypoints = np.arange(6).reshape(1, 3, 2)
    return Take(People([0], [1], np.ones((1, 4)), [1], keypoints, np.ones((1, 3))), mine, np.zeros(1), np.full((1, 2), 9))


def test_a_take_of_ones_own_keypoints_comes_back(tmp_path: Path):
    take = own_take()
    take.save(tmp_path / "take.npz")
    back = Take.load(tmp_path / "take.npz")
    for name in ("name", "names", "swap", "links"):
        assert getattr(back.skeleton, name) == getattr(take.skeleton, name)
    np.testing.assert_array_equal(back.keypoints, take.keypoints)
    back.export(tmp_path / "take.csv")
    assert "r_spot_y_px" in (tmp_path / "take.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"keypoint_swap": [0, 1]},
        {"keypoint_swap": [1, 2, 0]},
        {"keypoint_swap": None},
        {"keypoint_links": [[0, 3]]},
        {"keypoint_links": "ab"},
        {"keypoint_names": ["a", "a", "b"]},
        {"keypoint_names": ["a", "b"]},
        {"keypoint_names": ["a", "b", 3]},
        {"keypoint_names": [[["a"]], "b", "c"]},
        {"keypoint_names": ["a", "b", "c", "d"], "keypoint_swap": [0, 1, 2, 3]},
        {"skeleton": "coco-17"},
        {"skeleton": ""},
    ],
)
def test_headers_that_declare_no_keypoint_set_are_refused(changes: dict, tmp_path: Path):
    own_take().save(tmp_path / "take.npz")
    rewrite(tmp_path / "take.npz", tmp_path / "bad.npz", {"header.npy": header_with(tmp_path / "take.npz", **changes)})
    with pytest.raises(FormatError, match="bad.npz|damaged"):
        Take.load(tmp_path / "bad.npz")


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "take.npz"
    small_take().save(path)

    def full_disk(file: io.IOBase, **columns: np.ndarray) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(FormatError, match="space"):
        small_take(1).save(path)
    assert os.listdir(tmp_path) == ["take.npz"] and len(Take.load(path).times) == 3


def test_missing_file_and_other_files_are_refused(tmp_path: Path):
    with pytest.raises(FormatError, match="check the path"):
        Take.load(tmp_path / "none.npz")
    with pytest.raises(FormatError):
        Take.load(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(FormatError, match="take"):
        Take.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FormatError, match="columns"):
        Take.load(tmp_path / "other.npz")


def test_every_truncation_and_flipped_byte_is_noticed_or_harmless(tmp_path: Path):
    take = small_take(1)
    take.save(tmp_path / "take.npz")
    whole = (tmp_path / "take.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            Take.load(path)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            back = Take.load(path)
        except FormatError:
            continue
        assert_same(back, take)  # a byte that carries nothing, such as a date in the archive


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def rewrite(path: Path, out: Path, members: dict[str, bytes]) -> None:
    """Copy an archive with some members replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name, old.read(name)))


def header_with(path: Path, **changes: object) -> bytes:
    with np.load(path) as archive:
        header = json.loads(archive["header"].tobytes()) | changes
    return npy(np.frombuffer(json.dumps(header).encode(), np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "update vitruvian"),
        ({"format": "other"}, "not a take"),
        ({"skeleton": "coco-18"}, "update vitruvian"),
        ({"skeleton": 3}, "skeleton"),
        ({"keypoint_names": ["nose"]}, "update vitruvian"),
        ({"names": ["a", 3]}, "names"),
        ({"names": ["a", "b"]}, "names"),
        ({"complete": "yes"}, "complete"),
        ({"cards": None}, "cards"),
    ],
)
def test_strange_headers_are_refused(changes: dict, message: str, tmp_path: Path):
    small_take().save(tmp_path / "take.npz")
    rewrite(tmp_path / "take.npz", tmp_path / "bad.npz", {"header.npy": header_with(tmp_path / "take.npz", **changes)})
    with pytest.raises(FormatError, match=message):
        Take.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_headers_that_are_no_json_objects_are_refused(text: bytes, tmp_path: Path):
    small_take().save(tmp_path / "take.npz")
    rewrite(tmp_path / "take.npz", tmp_path / "bad.npz", {"header.npy": npy(np.frombuffer(text, np.uint8))})
    with pytest.raises(FormatError):
        Take.load(tmp_path / "bad.npz")


def claiming(shape: tuple[int, ...]) -> bytes:
    """An .npy that claims a shape but holds no data."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "column",
    [
        npy(np.zeros((6, 16, 2), np.float32)),
        npy(np.zeros((5, 17, 2), np.float32)),
        npy(np.zeros((6, 17, 2), np.float64)),
        npy(np.zeros((6, 17, 2), np.float32)) + b"more",
        npy(np.zeros((6, 17, 2), np.float32))[:-1],
        npy(np.array([{}], object)),
        claiming((10**9, 17, 2)),
        claiming((10**30, 17, 2)),
        claiming((-6, 17, 2)),
        b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((( \n",
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_columns_of_another_layout_are_refused(column: bytes, tmp_path: Path):
    small_take().save(tmp_path / "take.npz")
    rewrite(tmp_path / "take.npz", tmp_path / "bad.npz", {"keypoints.npy": column})
    with pytest.raises(FormatError):
        Take.load(tmp_path / "bad.npz")


def test_archive_bombs_are_refused_before_unpacking(tmp_path: Path):
    small_take().save(tmp_path / "take.npz")
    bomb = claiming((1 << 20, 17, 2)) + bytes((1 << 20) * 17 * 2 * 4)
    rewrite(tmp_path / "take.npz", tmp_path / "bomb.npz", {"keypoints.npy": bomb})
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 20
    with pytest.raises(FormatError, match="max_bytes"):
        read_npz(tmp_path / "bomb.npz", max_bytes=1 << 20)


def test_optional_columns_survive_files_rows_and_concatenation(tmp_path: Path):
    plain = small_take()
    count, k = plain.keypoints.shape[:2]
    columns = {"points": np.ones((count, k, 3)), "orientation": np.arange(count), "body_pose": np.zeros((count, 5, 3))}
    full = replace(plain, people=replace(plain.people, **columns), space="camera", body="anny")
    full.save(tmp_path / "full.npz")
    loaded = Take.load(tmp_path / "full.npz")
    assert (loaded.space, loaded.body) == ("camera", "anny")
    for name, column in full.people.columns().items():
        np.testing.assert_array_equal(getattr(loaded.people, name), column)
    both = People.concatenate([plain.people[:1], full.people])
    assert np.isnan(both.points[0]).all() and (both.points[1:] == 1).all() and both.part_boxes is None
    assert both[1:].orientation.tolist() == list(range(count))


def test_points_need_a_space():
    plain = small_take()
    with pytest.raises(VitruvianError, match="space"):
        replace(plain, people=replace(plain.people, points=np.zeros((*plain.keypoints.shape[:2], 3))))


def test_bodies_of_different_models_do_not_mix():
    people = small_take().people
    one, other = (replace(people, body_shape=np.zeros((len(people), size))) for size in (10, 11))
    with pytest.raises(VitruvianError, match="body_shape"):
        People.concatenate([one, other])


def test_files_of_version_1_are_read(tmp_path: Path):
    small_take().save(tmp_path / "take.npz")
    with np.load(tmp_path / "take.npz") as archive:
        header = json.loads(archive["header"].tobytes()) | {"format_version": 1}
    del header["space"], header["body"]  # what version 1 did not have
    rewrite(tmp_path / "take.npz", tmp_path / "old.npz", {"header.npy": npy(np.frombuffer(json.dumps(header).encode(), np.uint8))})
    assert Take.load(tmp_path / "old.npz").space == ""
