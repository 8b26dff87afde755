"""From takes to tables, plots and pages."""

import csv
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from swap_scenes import HALPE, filmed, person
from vitruvian.biomechanics import Angles, angles_of, gait_of
from vitruvian.biomechanics.plots import Line, Panel, draw, page, svg, ticks
from vitruvian.biomechanics.report import persons_of, write_report
from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import read_mot, write_mot
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

TIMES = np.arange(0, 3, 1 / 30)


def deep(points, times=TIMES, space="world"):
    n = len(points)
    people = People(np.arange(n), np.ones(n), np.zeros((n, 4)), np.ones(n), np.full((n, 26, 2), np.nan), np.ones((n, 26)), points=points)
    return Take(people, HALPE, times, np.zeros((n, 2)), space=space)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.count = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href")]


def test_csv_names_units_and_leaves_missing_cells_empty(tmp_path):
    Angles(("knee_flexion_left",), np.array([0.0, 0.5]), np.radians([[30.0], [np.nan]])).csv(tmp_path / "a.csv")
    assert list(csv.reader((tmp_path / "a.csv").open())) == [
        ["time [s]", "knee_flexion_left [deg]"],
        ["0.000000", "30.0000"],
        ["0.500000", ""],
    ]


def test_angles_become_a_mot_in_degrees(tmp_path):
    angles = angles_of(deep(person(TIMES)))
    write_mot(angles.mot(), tmp_path / "a.mot")
    assert np.allclose(read_mot(tmp_path / "a.mot").angle("knee_flexion_left"), angles.column("knee_flexion_left"), atol=1e-6)


def test_points_in_the_cameras_frame_give_the_same_joints():
    points = person(TIMES)
    world, camera = angles_of(deep(points)), angles_of(deep(points * [1, -1, -1], space="camera"))
    assert np.allclose(world.column("knee_flexion_left"), camera.column("knee_flexion_left"), atol=1e-5)


def test_swapped_legs_are_put_right_first():
    points = person(TIMES)
    truth = filmed(points, TIMES, missing=0.0, noise=0.002)
    order = np.asarray(HALPE.swap)
    keypoints = truth.keypoints.copy()
    legs = [i for i, name in enumerate(HALPE.names) if any(word in name for word in ("hip", "knee", "ankle", "toe", "heel"))]
    keypoints[30:45, legs] = keypoints[30:45][:, order[legs]]
    columns = truth.people.columns() | {"keypoints": keypoints}
    spoilt = Take(People(**columns), truth.skeleton, truth.times, truth.sizes)
    right, wrong, mended = angles_of(truth), angles_of(spoilt, repair=False), angles_of(spoilt)

    def error(angles):
        return np.nanmax(np.abs(angles.column("hip_flexion_left") - right.column("hip_flexion_left")))

    assert error(wrong) > 0.2 and error(mended) < 1e-5
    assert any("exchanged" in note for note in mended.notes)


def test_the_person_seen_longest_is_taken_and_others_can_be_asked_for():
    one = deep(person(TIMES))
    people = People.concatenate([one.people[:20], People(**{**one.people.columns(), "track": np.full(len(one.people), 7)})])
    take = Take(people, HALPE, TIMES, np.zeros((len(TIMES), 2)), space="world")
    assert persons_of(take) == (7, 1)
    assert angles_of(take).person == 7 and len(angles_of(take, person=1).times) == 20
    with pytest.raises(VitruvianError, match="no person 5"):
        angles_of(take, person=5)


def test_frames_without_the_person_are_rows_of_nan():
    take = deep(person(TIMES))
    some = take.subset(np.r_[0:10, 20:30])
    angles = angles_of(some)
    assert len(angles.times) == 30 and np.isnan(angles.values[10:20]).all() and np.isfinite(angles.column("knee_flexion_left")[20:]).all()


def test_nobody_is_an_empty_table_with_a_page(tmp_path):
    take = Take(People.empty(17), COCO_17, np.arange(3.0), np.zeros((3, 2)))
    angles, gait = write_report(take, tmp_path / "a.html")
    assert angles.values.shape[0] == 0 and gait.values["stride_time"][2] == 0
    assert "nobody" in (tmp_path / "a.html").read_text()
    angles.png(tmp_path / "a.png")
    angles.csv(tmp_path / "a.csv")
    with pytest.raises(VitruvianError, match="no points in space"):
        angles_of(take, kind="space")


def test_the_page_loads_nothing_and_has_a_plot_per_joint(tmp_path):
    angles, _ = write_report(
        deep(person(np.arange(0, 4, 1 / 30)), np.arange(0, 4, 1 / 30)), tmp_path / "a.html", title="<script>walk</script>"
    )
    text = (tmp_path / "a.html").read_text()
    found = Page(text)
    assert "<script>" not in text and not found.links
    stems = {name.replace("_right", "").replace("_left", "") for name in angles.names}
    assert found.count["svg"] == len(stems) and found.count["table"] == 1
    assert text.count("[deg]") == len(stems) and "time [s]" in text


def test_png_is_a_picture_with_the_lines_colours(tmp_path):
    angles_of(deep(person(TIMES))).png(tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    assert (np.abs(picture.astype(int) - (213, 94, 0)).max(-1) < 3).sum() > 500


def test_a_line_breaks_where_values_are_missing():
    times = np.arange(10.0)
    values = np.where((times > 3) & (times < 6), np.nan, times)
    assert svg(Panel("x", "m", (Line("right", times, values),))).count('class="line"') == 2


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, np.nan], [5.0, 5.0]])
def test_degenerate_panels_are_drawn(values):
    panel = Panel("x", "deg", (Line("left", np.arange(len(values)) / 30, np.array(values)),))
    assert "nan" not in svg(panel) and draw([panel]).shape == (400, 720, 3)
    assert "nothing to plot" in page("x", [])


@pytest.mark.parametrize("low, high", [(0, 1), (-37.2, 61.9), (1e-4, 2e-4), (-5e5, 5e5)])
def test_ticks_are_few_and_inside(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 11 and low <= min(found) and max(found) <= high


def test_gait_of_a_take():
    times = np.arange(0, 5, 1 / 30)
    assert gait_of(deep(person(times), times)).values["cadence"][0] == pytest.approx(114, rel=0.01)
