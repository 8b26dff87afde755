"""OpenCapBench from pixels to markers: the published steps and the corrected ones, on points whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, project
from vitruvian.systems.biomechanics import published_steps as steps
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, View, markers_from_views, smooth_points, view_of
from vitruvian.take import People, Take

INTRINSICS = np.array([[900.0, 0, 360], [0, 900, 640], [0, 0, 1]])


def camera(angle, name="", distortion=(0.05, -0.1, 0.0005, -0.0003, 0.02)):
    """Looks at the origin's (0, 1, 0) from 4 m away, y up in the world."""
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, 0, -s], [0, -1, 0], [-s, 0, -c]])
    return Camera(INTRINSICS, R, R @ -np.array([4 * s, 1.0, 4 * c]), np.array(distortion), (720, 1280), name)


CAMERAS = [camera(angle) for angle in (-0.8, 0.0, 0.8, 1.2)]


def moving(times, markers=5):
    """(f, m, 3) metres."""
    phase = np.arange(markers)
    t = np.asarray(times)[:, None]
    return np.stack([0.3 * np.sin(2 * t + phase), 1 + 0.3 * np.cos(3 * t + 2 * phase), 0.2 * np.sin(t + phase)], -1)


def views(times, cameras=CAMERAS, truth=moving, shifts=None):
    """What the cameras see; each camera's clock is ahead by its shift."""
    out = []
    for one, shift in zip(cameras, shifts or [0.0] * len(cameras), strict=True):
        pixels = project(one, truth(times))
        out.append(View(one, times + shift, pixels, np.ones(pixels.shape[:2])))
    return out


def projections(cameras):
    return np.stack([c.intrinsics @ np.c_[c.R_cam_world, 1000 * c.t_cam_world] for c in cameras])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_published_triangulation_is_exact_without_noise(count):
    points = 1000 * moving(np.arange(4) / 60)
    cameras = [camera(a, distortion=()) for a in (-0.8, 0.0, 0.8, 1.2)][:count]
    pixels = np.stack([project(c, points / 1000) for c in cameras])
    found, sure = steps.triangulate(pixels, np.full(pixels.shape[:3], 0.7), projections(cameras))
    assert np.allclose(found, points, atol=1e-5) and np.allclose(sure, 0.7)


def test_a_camera_without_confidence_is_as_if_it_were_not_there():
    points = moving(np.arange(4) / 60)
    cameras = [camera(a, distortion=()) for a in (-0.8, 0.0, 0.8)]
    pixels = np.stack([project(c, points) for c in cameras]) + np.random.default_rng(0).normal(0, 3, (3, 4, 5, 2))
    confidence = np.ones(pixels.shape[:3])
    confidence[2] = 0
    both = steps.triangulate(pixels, confidence, projections(cameras))
    two = steps.triangulate(pixels[:2], confidence[:2], projections(cameras[:2]))
    assert np.allclose(both[0], two[0]) and np.allclose(both[1], two[1])


def test_one_view_gives_the_origin_and_nan_confidence_counts_half():
    pixels = np.full((2, 1, 2, 2), 300.0)
    confidence = np.array([[[0.9, np.nan]], [[0.0, np.nan]]])
    points, sure = steps.triangulate(pixels, confidence, projections(CAMERAS[:2]))
    assert (points[0, 0] == 0).all() and sure[0, 0] == 0 and sure[0, 1] == 0.5


def test_lowpass_halves_the_amplitude_at_its_cutoff_and_keeps_constants():
    times = np.arange(0, 20, 1 / 60)
    wave = np.sin(2 * np.pi * 6 * times)[:, None, None]
    assert steps.lowpass(wave, 60, 6)[200:-200].std() / wave[200:-200].std() == pytest.approx(0.5, abs=0.01)
    assert np.allclose(steps.lowpass(np.full((50, 2, 2), 3.0), 60, 6), 3)


def test_the_published_cutoff_filters_next_to_nothing_at_60_frames_per_second():
    times = np.arange(0, 5, 1 / 60)
    wave = np.sin(2 * np.pi * 5 * times)[:, None, None]
    assert np.abs(steps.lowpass(wave, 60) - wave).max() < 0.01


@pytest.mark.parametrize("frames", [0, 1, 2, 5])
def test_published_steps_bear_few_frames(frames):
    assert steps.lowpass(np.ones((frames, 3, 2)), 60).shape == (frames, 3, 2)
    assert steps.undistort(np.ones((frames, 3, 2)), INTRINSICS, np.zeros(5)).shape == (frames, 3, 2)
    times, points = steps.resample(np.ones((frames, 3, 3)), 60)
    assert len(times) == len(points)


def test_short_gaps_of_a_straight_motion_are_restored_long_ones_and_ends_are_not():
    points = np.arange(60.0)[:, None, None] * np.ones((1, 3, 3))
    confidence = np.ones((60, 3))
    confidence[20:25, 0] = confidence[20:40, 1] = confidence[:4, 2] = 0
    found, filled = steps.fill_short_gaps(np.where(confidence[..., None] > 0, points, 0.0), confidence, 60)
    assert np.allclose(found[:, 0], points[:, 0], atol=1e-6)
    assert (found[20:40, 1] == 0).all() and (found[:4, 2] == 0).all() and filled.sum() == 5


def test_resampling_a_slow_wave_is_accurate():
    wave = np.sin(2 * np.pi * np.arange(120) / 60)[:, None, None] * np.ones((1, 1, 3))
    times, found = steps.resample(wave, 60)
    assert len(times) == 201 and times[-1] == 2.0
    assert np.abs(found[:, 0, 0] - np.sin(2 * np.pi * times))[:198].max() < 0.003


@pytest.mark.parametrize("placement", list(steps.PLACEMENTS))
def test_placements_are_rotations_to_metres(placement):
    turned = steps.to_opensim(1000 * np.eye(3)[None], placement)[0]
    assert np.allclose(turned @ turned.T, np.eye(3)) and np.linalg.det(turned) == pytest.approx(1)


def test_unknown_placements_are_named():
    with pytest.raises(VitruvianError, match="ceiling.*backWall"):
        steps.to_opensim(np.zeros((1, 1, 3)), "ceiling")


def test_the_largest_sure_person_is_followed_until_the_box_jumps():
    def person(x, size):
        return np.random.default_rng(0).uniform(0, 1, (17, 2)) * [size, 2 * size] + [x, 100]

    keypoints = [np.stack([person(100 + 3 * i, 60), person(500 if i < 7 else 60, 95 if i < 7 else 90)]) for i in range(10)]
    sure = [np.ones((2, 17)) * 0.9] * 10
    sure[3] = sure[3] * [[1], [0.5]]  # doubtful, but still the nearest box
    assert steps.choose_person(keypoints, sure, (720, 1280)) == [1] * 7 + [-1] * 3
    assert steps.choose_person([np.zeros((0, 17, 2))] * 2, [np.zeros((0, 17))] * 2, (720, 1280)) == [-1, -1]


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_markers_of_a_known_motion(mode):
    times = np.arange(60) / 60
    found = markers_from_views(tuple("abcde"), views(times), "none", VARIANTS[mode])
    inside = found.trial.times <= times[-1]
    error = np.abs(found.trial.points[inside] - moving(found.trial.times[inside]))[5:-5].max()
    assert found.mode == mode and error < 0.004 and found.trial.rate == 100


def test_unseen_points_are_the_origin_where_published_and_nan_where_corrected():
    times = np.arange(60) / 60
    seen = views(times)
    for view in seen:
        view.confidence[20:50, 1] = 0
    published, corrected = (markers_from_views(tuple("abcde"), seen, "none", VARIANTS[mode]) for mode in ("published", "corrected"))
    assert (published.trial.points[40:75, 1] == 0).all() and np.isnan(corrected.trial.points[40:75, 1]).all()
    assert corrected.missing == pytest.approx(30 / 300, rel=0.1) and published.missing == pytest.approx(30 / 300)


def test_corrected_markers_bear_a_camera_that_sees_somebody_else():
    times = np.arange(60) / 60
    seen = views(times)
    seen[1].keypoints[:, 2] += 150
    published, corrected = (markers_from_views(tuple("abcde"), seen, "none", VARIANTS[mode]) for mode in ("published", "corrected"))
    truth = [moving(found.trial.times) for found in (published, corrected)]
    errors = [np.abs(found.trial.points - t)[5:90, 2].max() for found, t in zip((published, corrected), truth, strict=True)]
    assert errors[0] > 0.02 and errors[1] < 0.004


def test_shifted_clocks_are_found_where_corrected():
    times = np.arange(0, 6, 1 / 60)
    shifts = [0.0, 0.25, -0.1, 0.0]
    found = markers_from_views(tuple("abcde"), views(times, shifts=shifts), "none", VARIANTS["corrected"])
    assert np.allclose(found.offsets, [-s for s in shifts], atol=0.02)


def test_the_published_mode_wants_films_of_one_length():
    times = np.arange(60) / 60
    with pytest.raises(VitruvianError, match="one length"):
        markers_from_views(tuple("abcde"), [*views(times, CAMERAS[:1]), *views(times[:50], CAMERAS[1:2])], "none", VARIANTS["published"])


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_no_frames_are_an_empty_trial_and_one_view_is_an_error(mode):
    assert markers_from_views(tuple("abcde"), views(np.zeros(0)), "none", VARIANTS[mode]).trial.points.shape == (0, 5, 3)
    with pytest.raises(VitruvianError, match="two or more"):
        markers_from_views(tuple("abcde"), views(np.arange(3) / 60)[:1], "none", VARIANTS[mode])


def test_smoothing_leaves_long_gaps_open():
    times = np.arange(60) / 60
    points = moving(times)
    points[10:15, 0] = points[20:50, 1] = np.nan
    found, filled = smooth_points(times, points, 12.0, 0.2)
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[20:50, 1]).all() and filled.sum() == 5


def take_of(names, frames=4, tracks=(1,)):
    from vitruvian.skeletons import by_name

    skeleton = by_name(names)
    n = frames * len(tracks)
    keypoints = np.random.default_rng(0).uniform(100, 500, (n, len(skeleton), 2))
    people = People(
        np.repeat(np.arange(frames), len(tracks)),
        np.tile(tracks, frames),
        np.tile([100, 100, 500, 500], (n, 1)),
        np.ones(n),
        keypoints,
        np.full((n, len(skeleton)), 0.9),
    )
    return Take(people, skeleton, np.arange(frames) / 60, np.tile((720, 1280), (frames, 1)))


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_neck_and_mid_hip_are_means_where_the_set_lacks_them(mode):
    take = take_of("coco-17")
    view = view_of(take, CAMERAS[0], ("neck", "left_hip"), mode)
    assert np.allclose(view.keypoints[:, 0], take.keypoints[:, 5:7].mean(1), atol=1e-3)
    with pytest.raises(VitruvianError, match="C7"):
        view_of(take, CAMERAS[0], ("C7",), mode)


def test_a_track_can_be_asked_for():
    take = take_of("coco-17", tracks=(3, 8))
    assert np.allclose(view_of(take, CAMERAS[0], ("nose",), person=8).keypoints[:, 0], take.keypoints[1::2, 0])
    with pytest.raises(VitruvianError, match="no person 4"):
        view_of(take, CAMERAS[0], ("nose",), person=4)


def test_people_without_ids_are_chosen_as_published():
    take = take_of("coco-17", tracks=(-1, -1))
    both = [view_of(take, CAMERAS[0], ("nose",), mode).keypoints for mode in ("published", "corrected")]
    assert np.allclose(*both, equal_nan=True) and np.isfinite(both[0]).any()
    alone = take_of("coco-17", tracks=(-1,))
    assert np.allclose(view_of(alone, CAMERAS[0], ("nose",)).keypoints[:, 0], alone.keypoints[:, 0])


def legs(times):
    """(f, 8, 3) metres: pelvis, knees, ankles and heels of somebody who sways, right before left."""
    right = np.array([(-0.12, 1.0, 0.1), (-0.14, 0.5, 0.05), (-0.14, 0.1, 0.0), (-0.14, 0.04, -0.06)])
    still = np.stack([right, right * (-1, 1, 1)], 1).reshape(8, 3)
    return still + np.stack([0.1 * np.sin(times), 0 * times, 0.1 * np.cos(times)], -1)[:, None]


def test_a_heel_that_two_sure_cameras_put_half_a_metre_off_is_looked_for_once_more():
    names = tuple(f"{side}_{part}" for part in ("ASIS", "knee", "ankle", "calc") for side in "rl")
    times, seen = np.arange(30) / 30, []
    for one, view in zip(CAMERAS, views(times, truth=legs), strict=True):
        keypoints, confidence = view.keypoints.copy(), view.confidence.copy()
        if one in CAMERAS[:2]:
            keypoints[10:16, 6] = project(one, legs(times)[10:16, 6] + [0.0, 0.0, 0.5])
        else:
            confidence[10:16, 6] = 0.6
        seen.append(View(one, times, keypoints, confidence))
    config = replace(VARIANTS["corrected"], synchronise=False, rate=30.0)
    found = markers_from_views(names, seen, "none", config).trial
    assert np.abs(found.points - legs(times)).max() < 0.01
