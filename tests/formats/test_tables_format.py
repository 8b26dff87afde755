"""CSV and Parquet: columns with units, write-read, tables that pandas users have cut, hostile files."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import assert_columns_agree, takes, walk_take
from hypothesis import HealthCheck, given, settings

from vitruvian.errors import FormatError, MissingExtraError
from vitruvian.formats.coco import read_coco, write_coco
from vitruvian.formats.tables import read_csv, read_parquet, write_csv, write_parquet
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, HAND_21, INTERHAND_21, Skeleton
from vitruvian.take import OPTIONAL_COLUMNS, PEOPLE_COLUMNS, People, Take

EVERY = (*PEOPLE_COLUMNS, *OPTIONAL_COLUMNS)


def tiny(**changes: object) -> Take:
    """Two frames, one person in the second."""
    people = People([1], [4], [[1, 2, 3, 4]], [0.5], np.tile([10.25, 20.0625], (1, 17, 1)), np.full((1, 17), 0.75))
    return replace(Take(people, COCO_17, [0.0, 0.04], [[640, 480]] * 2, ("walk.mp4",)), **changes)


def test_a_row_is_a_person_in_a_frame_and_columns_have_units(tmp_path: Path):
    write_csv(tiny(), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        empty, row = csv.DictReader(file)
    assert list(row)[:13] == [
        *("file", "frame", "time_s", "width_px", "height_px", "track", "score"),
        *("box_left_px", "box_top_px", "box_right_px", "box_bottom_px", "nose_x_px", "nose_y_px"),
    ]  # fmt: skip
    assert (row["frame"], row["time_s"], row["track"], row["file"]) == ("1", "0.040000000", "4", "walk.mp4")
    assert (row["right_ankle_x_px"], row["right_ankle_y_px"], row["right_ankle_confidence"]) == ("10.250", "20.062", "0.7500")
    assert empty["frame"] == "0" and empty["track"] == "" and empty["nose_x_px"] == "" and empty["width_px"] == "640"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes())
def test_csv_comes_back(take: Take, tmp_path: Path):
    write_csv(take, tmp_path / "a.csv")
    back = read_csv(tmp_path / "a.csv")
    if not len(take.times):
        assert len(back.times) == 0 and len(back.people) == 0
        return
    assert_columns_agree(back, take, EVERY)
    np.testing.assert_allclose(back.times, take.times, atol=1e-9)
    np.testing.assert_array_equal(back.sizes, take.sizes)
    assert back.skeleton is take.skeleton and [back.name_of(i) for i in range(len(back.times))] == [
        take.name_of(i) for i in range(len(take.times))
    ]
    if take.people.points is not None and len(take.people):
        assert back.space == take.space


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes())
def test_parquet_comes_back_exactly(take: Take, tmp_path: Path):
    pytest.importorskip("pyarrow")
    write_parquet(take, tmp_path / "a.parquet")
    back = read_parquet(tmp_path / "a.parquet")
    assert_columns_agree(back, take, EVERY, atol=0)
    np.testing.assert_array_equal(back.times, take.times)
    keys = ("names", "source", "cards", "version", "complete", "body", "space")
    assert [getattr(back, key) for key in keys] == [getattr(take, key) for key in keys]


def test_parquet_shows_missing_values_as_null(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tiny(), tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["score"].null_count == 1 and table["track"].to_pylist() == [None, 4]
    assert str(table.schema.field("nose_x_px").type) == "float" and str(table.schema.field("time_s").type) == "double"


def test_whole_bodies_with_points(tmp_path: Path):
    take = walk_take(3, persons=2)
    write_csv(take, tmp_path / "a.csv")
    assert "left_wrist_world_x_m" in (tmp_path / "a.csv").read_text().partition("\n")[0]
    back = read_csv(tmp_path / "a.csv")
    assert back.skeleton is COCO_WHOLEBODY_133 and back.space == "world" and back.names == ("walk.mp4",)
    np.testing.assert_allclose(back.people.points, take.people.points, atol=1e-6)


def test_sets_of_the_same_names_are_told_by_their_order(tmp_path: Path):
    for skeleton in (HAND_21, INTERHAND_21):
        people = People([0], [-1], [[0, 0, 1, 1]], [1], np.zeros((1, 21, 2)), np.ones((1, 21)))
        write_csv(Take(people, skeleton, [0.0], [[9, 9]]), tmp_path / "a.csv")
        assert read_csv(tmp_path / "a.csv").skeleton is skeleton


def rewritten(path: Path, change) -> Path:
    """The CSV file with its rows (lists of cells, the header first) changed."""
    with path.open(newline="") as file:
        rows = change(list(csv.reader(file)))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_columns_may_be_moved_and_added_and_rows_left_out(tmp_path: Path):
    write_csv(walk_take(4), tmp_path / "a.csv")

    def change(rows: list[list[str]]) -> list[list[str]]:
        return [[*row[::-1], "note" if n == 0 else "a, b"] for n, row in enumerate(rows) if n != 2]

    back = read_csv(rewritten(tmp_path / "a.csv", change))
    assert len(back.times) == 3 and back.people.frame.tolist() == [0, 1, 2]
    np.testing.assert_allclose(back.times, [0, 0.08, 0.12])


def cell(column: str, text: str):
    def change(rows: list[list[str]]) -> list[list[str]]:
        rows[-1][rows[0].index(column)] = text
        return rows

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [],
        lambda rows: [rows[0][:6], rows[1][:6]],
        lambda rows: [[*rows[0][:-1], "other"], *rows[1:]],
        lambda rows: [[*rows[0], "frame"], *([*row, "1"] for row in rows[1:])],
        lambda rows: [*rows[:-1], rows[-1][:-1]],
        cell("frame", ""),
        cell("frame", "1e20"),
        cell("time_s", "nan"),
        cell("time_s", "later"),
        cell("width_px", "-5"),
        cell("track", "1e12"),
        cell("nose_x_px", "1e300"),
        cell("nose_x_px", "inf"),
    ],
)
def test_hostile_tables_are_format_errors(change, tmp_path: Path):
    write_csv(tiny(), tmp_path / "a.csv")
    with pytest.raises(FormatError):
        read_csv(rewritten(tmp_path / "a.csv", change))


def test_files_that_are_no_tables(tmp_path: Path):
    for content in (b'"a', b"\0\0", b"a,b\n" + b"x" * 200_000 + b",1\n", b"\xff\xfe"):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(FormatError):
            read_csv(tmp_path / "a.csv")
    with pytest.raises(FormatError, match="check the path"):
        read_csv(tmp_path / "none.csv")
    pytest.importorskip("pyarrow")
    for content in (b"", b"PAR1", b"PAR1" * 100):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(FormatError, match="Parquet"):
            read_parquet(tmp_path / "a.parquet")
    with pytest.raises(FormatError):
        read_parquet(tmp_path / "none.parquet")


def test_foreign_parquet_tables(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    for table in ({"a": [1]}, {"frame": ["x"], "time_s": [0.0]}, {"frame": [[1]], "time_s": [0.0]}):
        parquet.write_table(arrow.table(table), tmp_path / "a.parquet")
        with pytest.raises(FormatError):
            read_parquet(tmp_path / "a.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[tables\]"):
        write_parquet(tiny(), tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("write", "read", "suffix"), [(write_csv, read_csv, "csv"), (write_parquet, read_parquet, "parquet"), (write_coco, read_coco, "json")]
)
def test_keypoints_of_ones_own_come_back(write, read, suffix, tmp_path: Path):
    mine = Skeleton("mine", ("spine", "left_toe", "right_toe"), (0, 2, 1), ((0, 1), (0, 2)), ((0, 0, 0), (0, 0, 0)), {"body": slice(0, 3)})
    take = tiny()
    people = replace(take.people, keypoints=take.people.keypoints[:, :3], confidence=take.people.confidence[:, :3])
    write(replace(take, people=people, skeleton=mine), tmp_path / f"a.{suffix}")
    back = read(tmp_path / f"a.{suffix}")
    assert (back.skeleton.names, back.skeleton.swap) == (mine.names, mine.swap)
    np.testing.assert_allclose(back.people.keypoints, people.keypoints, atol=1e-3)
    if suffix != "csv":  # which says no more than the points' names
        assert (back.skeleton.name, back.skeleton.links) == ("mine", mine.links)
