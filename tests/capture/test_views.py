"""Takes of several cameras become one in the world: places, ids, clocks, gaps; on walkers whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from many_views import room, seen, take_of, walker
from vitruvian.capture.views import at_times, clocks, combine, common_times, seen_by
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import moved, y_up
from vitruvian.take import Take

TIMES = np.arange(40) / 30


def two_walkers(times: np.ndarray = TIMES) -> np.ndarray:
    return np.stack([walker(times, (-1, 0.2), (0.6, 0.1)), walker(times, (1, -0.6), (-0.5, 0.1), 1.0)])


def filmed(truth: np.ndarray, cameras, noise: float = 0.0, times: np.ndarray = TIMES) -> list[Take]:
    return [take_of(pixels, times, seed=n) for n, pixels in enumerate(seen(cameras, truth, noise))]


def nearest(take: Take, truth: np.ndarray) -> dict[int, int]:
    """Which true person each track is."""
    out = {}
    for track in take.tracks:
        people = take.people.of(track)
        off = [np.nanmean(np.linalg.norm(people.points - person[people.frame], axis=-1)) for person in truth]
        out[int(track)] = int(np.argmin(off))
    return out


def test_two_walkers_come_out_where_they_walked():
    combined = combine(filmed(two_walkers(), room()), room(), smooth="none")
    take = combined.take
    assert take.space == "world" and take.tracks.tolist() == [1, 2] and len(take.people) == 80
    who = nearest(take, two_walkers())
    assert sorted(who.values()) == [0, 1]
    for track, person in who.items():
        people = take.people.of(track)
        assert people.frame.tolist() == list(range(40))
        np.testing.assert_allclose(people.points, two_walkers()[person], atol=1e-4)
    np.testing.assert_allclose(take.confidence, 0.9, atol=1e-6)
    assert np.nanmax(combined.error) < 1e-3 and combined.used.mean() > 0.9


def test_noise_is_smoothed_in_space():
    rough, smooth = (
        combine(filmed(two_walkers(), room(), noise=3), room(), smooth=method).take.people.points for method in ("none", "kalman")
    )
    truth = two_walkers()

    def off(points):
        return min(np.sqrt(np.nanmean((points[0::2] - truth[p]) ** 2)) for p in (0, 1))

    assert off(smooth) < 0.8 * off(rough) < 0.03


def test_any_world_is_turned_until_y_is_up():
    z_up = np.linalg.inv(y_up("z"))
    cameras = [moved(camera, z_up) for camera in room()]
    take = combine(filmed(two_walkers(), room()), cameras, smooth="none").take
    for track, person in nearest(take, two_walkers()).items():
        np.testing.assert_allclose(take.people.of(track).points, two_walkers()[person], atol=1e-4)
    upside_down = combine(filmed(two_walkers(), room()), cameras, smooth="none", up="-z").take
    assert upside_down.people.points[..., 1].max() < 0


def test_a_camera_that_lies_does_not_move_points():
    pixels = seen(room(4), two_walkers())
    pixels[2, :, :, 9] += 150
    takes = [take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)]
    combined = combine(takes, room(4), smooth="none")
    assert not combined.used[2, :, 9].any() and combined.used[2, :, 11].all()
    for track, person in nearest(combined.take, two_walkers()).items():
        np.testing.assert_allclose(combined.take.people.of(track).points, two_walkers()[person], atol=1e-4)


def test_short_gaps_are_filled_and_long_ones_stay_open():
    truth = two_walkers()[:1]
    pixels = seen(room(3), truth, noise=2)
    pixels[:, :, 10:13] = np.nan  # nobody sees the person for three frames
    pixels[1:, :, 20:24, 9] = np.nan  # only one camera sees the wrist
    pixels[:, :, 26:, 10] = np.nan
    takes = [take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)]
    people = combine(takes, room(3)).take.people
    assert people.frame.tolist() == list(range(40))
    assert np.isfinite(people.points[:, 9]).all() and np.isnan(people.points[26:, 10]).all()
    np.testing.assert_allclose(people.points[10:13], truth[0, 10:13], atol=0.05)
    assert people.confidence[11, 5] < people.confidence[9, 5]


def test_measured_rows_are_told_from_filled_ones():
    pixels = seen(room(3), two_walkers()[:1])
    pixels[:, :, 10:13] = np.nan
    combined = combine([take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)], room(3))
    assert combined.measured.shape == (3, 37, 17, 2) and combined.error.shape == combined.used.shape == (3, 37, 17)
    frames = combined.take.people.frame[combined.rows]
    assert frames.tolist() == [*range(10), *range(13, 40)]
    np.testing.assert_allclose(combined.measured[1], pixels[1, 0, frames], atol=1e-3)


def test_films_of_other_rates_and_starts_are_brought_to_one_clock():
    cameras = room(3)
    clock = [np.arange(80) / 60, np.arange(40) / 30, np.arange(33) / 25]
    starts = np.array([0.0, 0.113, -0.05])
    takes = []
    for n, (times, start) in enumerate(zip(clock, starts, strict=True)):
        takes.append(take_of(seen([cameras[n]], two_walkers(times + start))[0], times, seed=n))
    combined = combine(takes, cameras, offsets=starts, smooth="none")
    take = combined.take
    np.testing.assert_allclose(take.times, clock[0])
    for track, person in nearest(take, two_walkers(take.times)).items():
        people = take.people.of(track)
        np.testing.assert_allclose(people.points, two_walkers(take.times)[person, people.frame], atol=0.02)
    assert np.nanmedian(combined.error) < 0.3 * np.nanmedian(combine(takes, cameras, smooth="none").error)


def test_a_film_that_ends_early_or_begins_late_does_not_cut_the_others():
    cameras, clock = room(3), [np.arange(12) / 30, np.arange(40) / 30, np.arange(40) / 30]
    takes = [
        take_of(seen([camera], two_walkers(times))[0], times, seed=n) for n, (camera, times) in enumerate(zip(cameras, clock, strict=True))
    ]
    take = combine(takes, cameras, smooth="none").take
    np.testing.assert_allclose(take.times, clock[1])
    for track, person in nearest(take, two_walkers(take.times)).items():
        np.testing.assert_allclose(take.people.of(track).points, two_walkers(take.times)[person], atol=1e-4)


def test_times_go_on_at_the_fastest_rate_where_two_films_do():
    fast, slow = np.arange(1, 5) / 10, np.arange(10) / 5
    np.testing.assert_allclose(common_times([fast, slow, slow]), np.arange(19) / 10)
    np.testing.assert_allclose(common_times([fast, slow, fast]), fast)
    np.testing.assert_allclose(common_times([slow, slow + 100, slow + 100]), np.concatenate([slow, slow + 100]))
    assert common_times([np.zeros(0), np.zeros(0)]).size == 0 and common_times([np.zeros(0), np.zeros(1)]).tolist() == [0]
    np.testing.assert_allclose(common_times([np.zeros(0), slow]), slow)


def test_people_at_other_times_move_in_straight_lines():
    take = filmed(two_walkers(), room(2))[0]
    same = at_times(take, TIMES)
    np.testing.assert_array_equal(same.keypoints, take.people.keypoints)
    half = at_times(take, (TIMES[:-1] + TIMES[1:]) / 2)
    track = int(half.track[0])
    one, path = half.of(track), take.people.of(track).keypoints
    np.testing.assert_allclose(one.keypoints, (path[:-1] + path[1:]) / 2, atol=1e-3)
    assert (at_times(take, np.array([-1.0, 99.0])).frame).tolist() == []
    gap = take.subset((take.people.frame < 10) | (take.people.frame > 14))
    assert 12 not in at_times(gap, TIMES + 0.001).frame


def test_clocks_are_found_by_motion():
    cameras = room(3, height=1.3)
    rng = np.random.default_rng(3)
    waves = [(rng.uniform(-1, 7), rng.uniform(0.2, 0.5), point) for point in (9, 10) for _ in range(10)]

    def waving(times):
        people = walker(times, (-0.3, 0.2), (0.1, 0.05))
        for when, reach, point in waves:
            people[:, point, 1] += reach * np.exp(-(((times - when) / 0.25) ** 2))
        return people[None]

    times, starts = np.arange(180) / 30, np.array([0.0, 0.62, -0.4])
    takes = [take_of(seen([cameras[n]], waving(times + start), 2.0, n)[0], times, seed=n) for n, start in enumerate(starts)]
    np.testing.assert_allclose(clocks(takes), starts, atol=0.012)
    with pytest.raises(VitruvianError, match="synchronised"):
        clocks([takes[0], takes[1].subset(slice(0, 0))])


def test_a_world_take_is_seen_by_a_camera_again():
    combined = combine(filmed(two_walkers(), room()), room(), smooth="none")
    view = seen_by(combined.take, combined.cameras[1])
    row = np.flatnonzero(combined.take.people.track == 1)
    np.testing.assert_allclose(view.keypoints[row], combined.measured[1][row], atol=0.01)
    assert (view.sizes == (1920, 1080)).all()
    box = view.boxes[row[0]]
    assert np.nanmin(view.keypoints[row[0], :, 0]) == pytest.approx(box[0], abs=0.01)
    with pytest.raises(VitruvianError):
        seen_by(replace(view, people=replace(view.people, points=None), space=""), room()[0])


def test_pictures_may_be_smaller_than_the_calibration_says():
    small = [take_of((each + 0.5) / 2 - 0.5, TIMES, (960, 540), n) for n, each in enumerate(seen(room(), two_walkers()))]
    take = combine(small, room(), smooth="none").take
    for track, person in nearest(take, two_walkers()).items():
        np.testing.assert_allclose(take.people.of(track).points, two_walkers()[person], atol=1e-4)


def test_what_is_far_too_small_is_nobody():
    post = 0.2 * two_walkers()[:1] + [1, 0, 1]
    takes = filmed(np.concatenate([two_walkers()[:1], post]), room())
    take = combine(takes, room(), smooth="none").take
    assert take.tracks.tolist() == [1]
    np.testing.assert_allclose(take.people.points, two_walkers()[0], atol=1e-4)


def test_sides_that_a_camera_exchanges_are_put_right():
    pixels = seen(room(4), two_walkers(), noise=2)
    legs, arms = [11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10]
    pixels[1, :, 5:25, legs] = pixels[1, :, 5:25, [12, 11, 14, 13, 16, 15]]
    pixels[3, :, 10:30, arms] = pixels[3, :, 10:30, [6, 5, 8, 7, 10, 9]]
    takes = [take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)]
    combined = combine(takes, room(4), smooth="none")
    assert combined.used[1][:, legs].mean() > 0.95 and combined.used[3][:, arms].mean() > 0.95
    for track, person in nearest(combined.take, two_walkers()).items():
        np.testing.assert_allclose(combined.take.people.of(track).points, two_walkers()[person], atol=0.05)


def test_nobody_no_frames_and_one_frame():
    empty = [take_of(np.zeros((0, 40, 17, 2)), TIMES) for _ in range(2)]
    assert len(combine(empty, room(2)).take.people) == 0
    nothing = [take_of(np.zeros((0, 0, 17, 2)), np.zeros(0)) for _ in range(2)]
    assert len(combine(nothing, room(2)).take.times) == 0
    one = combine(filmed(two_walkers(TIMES[:1]), room(), times=TIMES[:1]), room()).take
    assert len(one.people) == 2 and np.isfinite(one.people.points).all()
    alone = filmed(two_walkers(), room(2))
    assert len(combine([alone[0], empty[1]], room(2)).take.people) == 0


def test_what_does_not_fit_is_said():
    takes = filmed(two_walkers(), room(2))
    for call in (
        lambda: combine(takes, room(3)),
        lambda: combine(takes[:1], room(2)[:1]),
        lambda: combine(takes, room(2), offsets=[0.0]),
        lambda: combine(takes, room(2), offsets=[0.0, np.nan]),
        lambda: combine(takes, room(2), up="north"),
        lambda: combine([replace(take, sizes=take.sizes[:, ::-1]) for take in takes], room(2)),
    ):
        with pytest.raises(VitruvianError):
            call()


def test_people_who_stand_along_another_axis_are_warned_of(caplog):
    on_its_side = np.eye(4)
    on_its_side[:2, :2] = [[0, -1], [1, 0]]
    cameras = [
        replace(camera, R_cam_world=on_its_side[:3, :3] @ camera.R_cam_world, t_cam_world=on_its_side[:3, :3] @ camera.t_cam_world)
        for camera in room()
    ]
    combine([take_of(each, TIMES, seed=n) for n, each in enumerate(seen(cameras, two_walkers()))], cameras)
    assert "--up y" in caplog.text
    caplog.clear()
    combine(filmed(two_walkers(), room()), room())
    assert not caplog.text


def test_cameras_that_agree_on_nothing_are_warned_of(caplog):
    cameras = room(4)[:2]
    pixels = seen(cameras, two_walkers())
    combine([take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)], cameras, smooth="none")
    assert not caplog.records
    pixels[1, ..., 1] += 200  # another calibration's
    combine([take_of(each, TIMES, seed=n) for n, each in enumerate(pixels)], cameras, smooth="none")
    assert "which film is which camera's" in caplog.text
