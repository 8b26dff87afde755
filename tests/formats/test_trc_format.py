"""TRC: the header to the letter, gaps, axes, people, OpenSim's real file, write-read, hostile files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED, walk_take
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.persons import camera_to_y_up, y_up_to_z_up, z_up_to_y_up
from vitruvian.formats.trc import Trc, read_trc, take_from_markers, write_take_trc, write_trc
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People, Take

SMALL = Trc(("nose", "hip"), np.array([0.5, 0.54]), np.array([[[1, 2, 3], [0.1, 0.2, 0.3]], [[np.nan] * 3, [-1, 0, 1]]]), 25.0)


def test_layout_is_opensims(tmp_path: Path):
    write_trc(SMALL, tmp_path / "a.trc")
    assert (tmp_path / "a.trc").read_text().split("\n") == [
        "PathFileType\t4\t(X/Y/Z)\ta.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        "25\t25\t2\t2\tmm\t25\t1\t2",
        "Frame#\tTime\tnose\t\t\thip\t\t",
        "\t\tX1\tY1\tZ1\tX2\tY2\tZ2",
        "",
        "1\t0.500000\t1000.0000\t2000.0000\t3000.0000\t100.0000\t200.0000\t300.0000",
        "2\t0.540000\tNaN\tNaN\tNaN\t-1000.0000\t0.0000\t1000.0000",
        "",
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text("abc XYZ.-é", min_size=1, max_size=6).map(str.strip).filter(bool), unique=True, max_size=4),
    frames=st.integers(0, 4),
    units=st.sampled_from(["mm", "m"]),
    data=st.data(),
)
def test_write_read(names, frames, units, data, tmp_path: Path):
    points = data.draw(hnp.arrays(np.float64, (frames, len(names), 3), elements=st.floats(-1e3, 1e3)))
    points[data.draw(hnp.arrays(bool, (frames, len(names))))] = np.nan
    markers = Trc(tuple(names), np.arange(frames) / 25, points, 25.0)
    write_trc(markers, tmp_path / "a.trc", units)
    back = read_trc(tmp_path / "a.trc")
    assert back.names == markers.names and back.rate == 25
    np.testing.assert_allclose(back.times, markers.times, atol=1e-6)
    np.testing.assert_allclose(back.points, points, atol=1e-6)


def test_a_take_comes_back(tmp_path: Path):
    take = walk_take()
    (path,) = write_take_trc(take, tmp_path / "walk.trc")
    markers = read_trc(path)
    assert markers.rate == pytest.approx(25) and "left_forefinger4" in markers.names and "face-0" not in markers.names
    back = take_from_markers(markers)
    assert back.skeleton is COCO_WHOLEBODY_133 and back.tracks.tolist() == [1] and back.space == "world"
    np.testing.assert_allclose(back.people.points, take.people.points, atol=1e-6)
    np.testing.assert_allclose(back.times, take.times, atol=1e-6)
    assert np.isnan(back.keypoints).all() and back.confidence[0, 0] == 1 and back.confidence[0, 30] == 0


def test_each_person_has_a_file_over_its_own_frames(tmp_path: Path):
    take = walk_take(frames=6, persons=2)
    rows = ~((take.people.track == 2) & ((take.people.frame < 2) | (take.people.frame == 4)))
    paths = write_take_trc(take.subset(rows), tmp_path / "walk.trc")
    assert [path.name for path in paths] == ["walk_person1.trc", "walk_person2.trc"]
    second = read_trc(paths[1])
    np.testing.assert_allclose(second.times, take.times[2:6], atol=1e-6)
    assert np.isnan(second.points[2]).all() and np.isfinite(second.points[3]).all()
    assert [path.name for path in write_take_trc(take, tmp_path / "one.trc", person=2)] == ["one.trc"]
    with pytest.raises(FormatError, match="person 3"):
        write_take_trc(take, tmp_path / "walk.trc", person=3)


def test_people_without_ids(tmp_path: Path):
    take = walk_take(frames=3)
    alone = replace(take, people=replace(take.people, track=np.full(3, -1)))
    assert [path.name for path in write_take_trc(alone, tmp_path / "walk.trc")] == ["walk.trc"]
    crowd = walk_take(frames=3, persons=2)
    with pytest.raises(FormatError, match="track"):
        write_take_trc(replace(crowd, people=replace(crowd.people, track=np.full(6, -1))), tmp_path / "walk.trc")


def test_the_same_person_twice_in_a_frame_keeps_the_better_one(tmp_path: Path):
    take = walk_take(frames=2, persons=2)
    people = replace(take.people, track=np.ones(4), scores=[0.2, 0.9, 0.9, 0.2])
    (path,) = write_take_trc(replace(take, people=people), tmp_path / "walk.trc")
    found = read_trc(path)
    nose = found.points[:, found.names.index("nose")]
    np.testing.assert_allclose(nose, take.people.points[[1, 2], 0], atol=1e-6)


def test_camera_axes_and_z_up_are_turned_by_rotations(tmp_path: Path):
    np.testing.assert_array_equal(camera_to_y_up(np.array([1, 2, 3])), [1, -2, -3])
    np.testing.assert_array_equal(z_up_to_y_up(np.array([1, 2, 3])), [1, 3, -2])
    np.testing.assert_array_equal(y_up_to_z_up(z_up_to_y_up(np.array([1, 2, 3]))), [1, 2, 3])
    for turn in (camera_to_y_up, z_up_to_y_up, y_up_to_z_up):
        assert np.linalg.det(turn(np.eye(3))) == pytest.approx(1)
    take = replace(walk_take(2), space="camera")
    (path,) = write_take_trc(take, tmp_path / "walk.trc")
    np.testing.assert_allclose(read_trc(path).points[:, 0], take.people.points[:, 0] * [1, -1, -1], atol=1e-6)


def test_pixels_need_a_scale_and_lie_in_the_image_plane(tmp_path: Path):
    people = People([0], [1], [[0, 0, 1, 1]], [1], np.tile([100.0, 79.0], (1, 17, 1)), np.ones((1, 17)))
    take = Take(people, COCO_17, [0.0], [[640, 480]])
    with pytest.raises(FormatError, match="metres_per_pixel"):
        write_take_trc(take, tmp_path / "a.trc")
    for scale in (0, -1, np.nan, np.inf):
        with pytest.raises(FormatError, match="scale"):
            write_take_trc(take, tmp_path / "a.trc", metres_per_pixel=scale)
    (path,) = write_take_trc(take, tmp_path / "a.trc", metres_per_pixel=0.01)
    np.testing.assert_allclose(read_trc(path).points[0, 0], [1.0, 4.0, 0.0])


def test_nobody_gives_no_file_and_no_frames_a_header(tmp_path: Path):
    empty = Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2)))
    assert write_take_trc(walk_take().subset(slice(0, 0)), tmp_path / "a.trc") == []
    assert write_take_trc(empty, tmp_path / "a.trc", metres_per_pixel=0.01) == [] and not list(tmp_path.iterdir())
    write_trc(Trc(("a",), np.zeros(0), np.zeros((0, 1, 3))), tmp_path / "b.trc")
    assert read_trc(tmp_path / "b.trc").points.shape == (0, 1, 3)


def test_other_writers_habits(tmp_path: Path):
    text = (
        "PathFileType  4\t(X/Y/Z) C:\\a.trc\r\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\r\n"
        "  100.0\t\t  100.0\t\t  3\t\t  2\t\t m\t  100.0\t 1\t 3\r\n"
        "Frame#\tTime\tA\t\t\tB\t\t\t\r\n"
        "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\t\r\n"
        "1\t0.00\t1\t2\t3\t4\t5\t6\t\r\n"  # no blank line before the rows, a tab after them
        "2\t0.01\t\t\t\t4\t5\t6\r\n"
        "3\t0.02\t1\t2\t3\r\n"  # cut off at the last point that is there
    )
    (tmp_path / "a.trc").write_bytes(text.encode())
    found = read_trc(tmp_path / "a.trc")
    assert found.names == ("A", "B") and found.rate == 100 and found.times.tolist() == [0, 0.01, 0.02]
    assert np.isnan(found.points[1, 0]).all() and np.isnan(found.points[2, 1]).all()
    assert found.points[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def good(tmp_path: Path) -> str:
    write_trc(SMALL, tmp_path / "good.trc")
    return (tmp_path / "good.trc").read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:60],
        lambda text: text.replace("PathFileType", "FileType"),
        lambda text: text.replace("\tmm\t", "\tfurlong\t"),
        lambda text: text.replace("Frame#", "Row"),
        lambda text: text.replace("hip", "nose"),
        lambda text: text.replace("0.540000", "soon"),
        lambda text: text.replace("0.540000", ""),
        lambda text: text.replace("-1000.0000", "1e200"),
        lambda text: text.replace("-1000.0000", "-inf"),
        lambda text: text.replace("-1000.0000", "1\t2\t3"),
        lambda text: text.replace("nose\t\t\thip", "\t\t\t".join(f"m{i}" for i in range(30_000))).replace("NaN\t", ""),
    ],
)
def test_hostile_files_are_format_errors(change, tmp_path: Path):
    (tmp_path / "a.trc").write_text(change(good(tmp_path)))
    with pytest.raises(FormatError):
        read_trc(tmp_path / "a.trc")


def test_unfit_markers_are_refused(tmp_path: Path):
    with pytest.raises(VitruvianError, match="hold together"):
        Trc(("a",), np.zeros(2), np.zeros((1, 1, 3)))
    for names in (("a\tb",), ("",)):
        with pytest.raises(FormatError, match="names"):
            write_trc(Trc(names, np.zeros(1), np.zeros((1, 1, 3))), tmp_path / "a.trc")
    with pytest.raises(FormatError, match="keypoint set"):
        take_from_markers(Trc(("R.Shoulder",), np.zeros(1), np.zeros((1, 1, 3))))


@pytest.mark.shared
def test_opensims_own_trial(tmp_path: Path):
    path = SHARED / "opensim" / "markers_walk.trc"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    markers = read_trc(path)
    assert len(markers.names) == 41 and markers.points.shape == (238, 41, 3) and markers.rate == 100
    assert markers.names[:2] == ("R.Shoulder", "L.Shoulder") and markers.points[0, 0].tolist() == pytest.approx(
        [-0.65263, 1.529542, -0.09452]
    )
    np.testing.assert_allclose(np.diff(markers.times), 0.01, atol=1e-6)
    write_trc(markers, tmp_path / "again.trc")
    np.testing.assert_allclose(read_trc(tmp_path / "again.trc").points, markers.points, atol=1e-7)


def test_opensim_reads_it(tmp_path: Path):
    opensim = pytest.importorskip("opensim", reason="a check against OpenSim's own reader where it is installed")
    write_trc(SMALL, tmp_path / "a.trc")
    table = opensim.TimeSeriesTableVec3(str(tmp_path / "a.trc"))
    assert list(table.getColumnLabels()) == ["nose", "hip"] and table.getNumRows() == 2
