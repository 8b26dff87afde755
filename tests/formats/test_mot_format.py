"""MOT and STO: version 1 to the letter, version 3 read, angles in radians, OpenSim's real file, write-read, hostile files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.mot import Mot, read_mot, write_mot

SMALL = Mot(("knee_angle_r", "pelvis_tx"), np.array([0.0, 0.01]), np.array([[90.0, 1.5], [-45.25, np.nan]]))


def test_layout_is_version_1(tmp_path: Path):
    write_mot(SMALL, tmp_path / "a.mot")
    assert (tmp_path / "a.mot").read_text().split("\n") == [
        "Coordinates", "version=1", "nRows=2", "nColumns=3", "inDegrees=yes", "endheader",
        "time\tknee_angle_r\tpelvis_tx", "0\t90\t1.5", "0.01\t-45.25\tnan", "",
    ]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(st.text("abcXYZ_/.-", min_size=1, max_size=8).filter(lambda label: label != "time"), unique=True, max_size=4),
    rows=st.integers(0, 4),
    in_degrees=st.booleans(),
    data=st.data(),
)
def test_write_read(labels, rows, in_degrees, data, tmp_path: Path):
    values = data.draw(hnp.arrays(np.float64, (rows, len(labels)), elements=st.floats(-1e4, 1e4) | st.just(np.nan)))
    write_mot(Mot(tuple(labels), np.arange(rows) / 100, values, in_degrees, "a = name"), tmp_path / "a.sto")
    back = read_mot(tmp_path / "a.sto")
    assert back.labels == tuple(labels) and back.in_degrees == in_degrees and back.name == "a name"
    np.testing.assert_allclose(back.times, np.arange(rows) / 100)
    np.testing.assert_allclose(back.values, values, rtol=1e-8)


def test_angles_are_radians_and_columns_as_they_are():
    assert SMALL.angle("knee_angle_r").tolist() == pytest.approx([np.pi / 2, np.radians(-45.25)])
    assert SMALL.column("pelvis_tx")[0] == 1.5
    assert Mot(("a",), np.zeros(1), np.ones((1, 1)), in_degrees=False).angle("a").tolist() == [1.0]
    with pytest.raises(VitruvianError, match="no column"):
        SMALL.column("hip")


VERSION_3 = "inDegrees=yes\nDataType=double\nversion=3\nOpenSimVersion=4.6\nendheader\ntime\ta\tb\n0.5\t1\t2\n0.6\t3\t4\n"


@pytest.mark.parametrize(
    "text",
    [
        VERSION_3,
        VERSION_3.replace("\t", "   "),
        VERSION_3.replace("\n", "\r\n"),
        VERSION_3.replace("endheader", "anything=at all\n\nENDHEADER"),
        VERSION_3.replace("1\t2\n", "1\t2\t\n").replace("a\tb\n", "a\tb\t\n"),
        VERSION_3.replace("inDegrees=yes", "name\nnRows=2\nnColumns=3\ninDegrees = yes"),
    ],
)
def test_other_versions_and_spaces(text: str, tmp_path: Path):
    (tmp_path / "a.mot").write_bytes(text.encode())
    found = read_mot(tmp_path / "a.mot")
    assert found.labels == ("a", "b") and found.in_degrees
    assert found.times.tolist() == [0.5, 0.6] and found.values.tolist() == [[1, 2], [3, 4]]


def test_empty_cells_are_gaps(tmp_path: Path):
    (tmp_path / "a.mot").write_text(VERSION_3.replace("1\t2", "\t2"))
    assert np.isnan(read_mot(tmp_path / "a.mot").values[0, 0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version=1\n",
        "endheader\n",
        "endheader\na\tb\n1\t2\n",
        VERSION_3.replace("a\tb", "a\ta"),
        VERSION_3.replace("1\t2", "1"),
        VERSION_3.replace("1\t2", "1\t2\t3"),
        VERSION_3.replace("1\t2", "1\tx"),
        VERSION_3.replace("1\t2", "1\t1e300"),
        VERSION_3.replace("1\t2", "1\tinf"),
        VERSION_3.replace("0.5", "nan"),
        VERSION_3.replace("version=3", "nRows=7"),
    ],
)
def test_hostile_files_are_format_errors(text: str, tmp_path: Path):
    (tmp_path / "a.mot").write_text(text)
    with pytest.raises(FormatError):
        read_mot(tmp_path / "a.mot")


def test_unfit_tables_are_refused(tmp_path: Path):
    with pytest.raises(VitruvianError, match="hold together"):
        Mot(("a",), np.zeros(2), np.zeros((2, 2)))
    for table in (
        Mot(("a b",), np.zeros(1), np.zeros((1, 1))),
        Mot(("time",), np.zeros(1), np.zeros((1, 1))),
        Mot((), np.array([np.nan]), np.zeros((1, 0))),
    ):
        with pytest.raises(FormatError):
            write_mot(table, tmp_path / "a.mot")


@pytest.mark.shared
def test_opensims_own_coordinates(tmp_path: Path):
    path = SHARED / "opensim" / "coordinates.sto"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    table = read_mot(path)
    assert table.values.shape == (1350, 31) and not table.in_degrees and table.times[0] == 0.45
    assert table.column("/jointset/ground_pelvis/pelvis_ty/value")[0] == 0.96796985
    write_mot(table, tmp_path / "again.mot")
    np.testing.assert_allclose(read_mot(tmp_path / "again.mot").values, table.values, rtol=1e-8, atol=1e-12)


def test_opensim_reads_it(tmp_path: Path):
    opensim = pytest.importorskip("opensim", reason="a check against OpenSim's own reader where it is installed")
    write_mot(SMALL, tmp_path / "a.mot")
    table = opensim.TimeSeriesTable(str(tmp_path / "a.mot"))
    assert list(table.getColumnLabels()) == list(SMALL.labels) and table.getNumRows() == 2
