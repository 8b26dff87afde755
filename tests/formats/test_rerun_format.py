"""rerun recordings are made, whole or not at all. Only the viewer can tell what is in them; here their entities are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from format_takes import walk_take, without_points

from vitruvian.errors import FormatError, MissingExtraError
from vitruvian.formats.rerun import write_rerun
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take


def test_a_recording_of_people_in_pixels_and_in_metres(tmp_path: Path):
    pytest.importorskip("rerun")
    take = walk_take(3, persons=2)
    write_rerun(take, tmp_path / "a.rrd")
    data = (tmp_path / "a.rrd").read_bytes()
    assert data[:4] == b"RRF2"
    for entity in (b"image/person_1/keypoints", b"image/person_2/box", b"world/person_1"):
        assert entity in data
    write_rerun(without_points(take), tmp_path / "b.rrd")
    assert b"world/" not in (tmp_path / "b.rrd").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rrd", "b.rrd"]


def test_nobody_and_no_frames(tmp_path: Path):
    pytest.importorskip("rerun")
    write_rerun(Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2))), tmp_path / "a.rrd")
    write_rerun(walk_take(3).subset(slice(0, 0)), tmp_path / "b.rrd")
    assert (tmp_path / "a.rrd").stat().st_size and (tmp_path / "b.rrd").stat().st_size


def test_a_place_that_can_not_be_written(tmp_path: Path):
    pytest.importorskip("rerun")
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError):
        write_rerun(walk_take(1), tmp_path / "file" / "a.rrd")


def test_without_rerun_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[rerun\]"):
        write_rerun(walk_take(1), tmp_path / "a.rrd")
