"""The whole chain on rectangles that walk: what is in the take and in the files."""

import gc
from dataclasses import replace

import av
import numpy as np
import pytest

from scenes import boxes_at, film, picture, walk

nets = pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture import capture  # noqa: E402
from vitruvian.capture.finder import chunks  # noqa: E402
from vitruvian.capture.outputs import LIST  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.formats.coco import read_coco  # noqa: E402
from vitruvian.formats.openpose import read_openpose  # noqa: E402
from vitruvian.media import Frame, read_image, write_image  # noqa: E402
from vitruvian.take import PARTS, Take  # noqa: E402

TIMES = np.array([0, 1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]) / 30  # uneven, more than two chunks


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("walk") / "walk.mp4", TIMES)


def read_video(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != LIST)


def true_keypoints(box, count=133):
    return box[:2] + nets.pose_places(count) * (box[2:] - box[:2])


def test_two_walkers_are_found_with_ids_boxes_keypoints_and_times(walking, networks):
    take = capture(walking, smooth="none", **networks)
    np.testing.assert_allclose(take.times, TIMES, atol=1e-4)
    assert take.tracks.tolist() == [1, 2]
    assert take.complete and take.names == ("walk.mp4",) and take.cards == ("colours", "fixed-coco-wholebody-133")
    assert (take.sizes == (320, 240)).all()
    colour_of = {1: 0, 2: 1} if take.people.of(1).boxes[0, 1] < 100 else {1: 1, 2: 0}
    for track, row in colour_of.items():
        people = take.people.of(track)
        assert people.frame.tolist() == list(range(len(TIMES)))
        truth = np.array([boxes_at(time)[row] for time in TIMES])
        np.testing.assert_allclose(people.boxes, truth, atol=2)
        np.testing.assert_allclose(people.keypoints, [true_keypoints(box) for box in truth], atol=3)
        np.testing.assert_allclose(people.confidence, 0.9, atol=1e-5)


def test_smoothing_delays_a_walker_a_little_and_can_be_turned_off(walking, networks):
    raw, smooth = (capture(walking, smooth="one-euro" if on else "none", **networks).people.of(1) for on in (False, True))
    direction = np.sign(raw.boxes[-1, 0] - raw.boxes[0, 0])
    lag = direction * (raw.keypoints[5:, :, 0] - smooth.keypoints[5:, :, 0])
    assert 0 < lag.mean() < 60 * 0.1  # pixels: less than 100 ms at 60 pixels per second
    np.testing.assert_array_equal(raw.boxes, smooth.boxes)


def test_parts_that_the_detector_finds_get_their_owners(walking, networks, tmp_path):
    faces = nets.detector(tmp_path, also="face")
    take = capture(walking, tmp_path / "out", overlay=False, **networks | {"detector": faces})
    face = PARTS.index("face")
    np.testing.assert_allclose(take.people.part_boxes[:, face], take.people.boxes, atol=1e-3)
    assert np.isnan(np.delete(take.people.part_boxes, face, axis=1)).all()
    assert take.tracks.tolist() == [1, 2]
    np.testing.assert_array_equal(Take.load(tmp_path / "out" / "take.npz").people.part_boxes, take.people.part_boxes)


def test_the_files_of_a_video_agree_with_the_take(walking, networks, tmp_path):
    out = tmp_path / "new" / "out"
    take = capture(walking, out, formats=["json", "openpose"], **networks)
    assert names_in(out) == ["keypoints.json", "openpose", "overlay.mp4", "take.npz"]
    loaded, coco = Take.load(out / "take.npz"), read_coco(out / "keypoints.json")
    for other, tolerance in ((loaded, 0), (coco, 1e-3)):
        assert other.complete and other.names == take.names and other.cards == take.cards and other.source == str(walking)
        np.testing.assert_allclose(other.times, take.times)
        for column in ("frame", "track", "boxes", "keypoints", "confidence"):
            np.testing.assert_allclose(getattr(other.people, column), getattr(take.people, column), atol=tolerance, err_msg=column)
    openpose = read_openpose(out / "openpose")
    assert len(openpose.times) == len(TIMES)
    assert (openpose.people.track == take.people.track).all()

    overlay, original = read_video(out / "overlay.mp4"), read_video(walking)
    np.testing.assert_allclose([time for time, _ in overlay], TIMES, atol=1e-4)
    for (_, drawn), (_, plain), time in zip(overlay, original, TIMES, strict=True):
        changed = np.abs(drawn.astype(int) - plain).max(-1) > 60
        left, top, right, bottom = boxes_at(time)[0].astype(int)
        assert changed[top:bottom, left:right].mean() > 0.1  # somebody is drawn there
        assert changed[:15, 160:].mean() < 0.01  # and nobody here


def test_no_overlay_no_formats_leaves_the_take_only(walking, networks, tmp_path):
    capture(walking, tmp_path / "out", overlay=False, formats=[], **networks)
    assert names_in(tmp_path / "out") == ["take.npz"]


def test_without_a_folder_nothing_is_written(walking, networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    capture(walking, **networks)
    assert not list(tmp_path.iterdir())


def test_one_picture_gives_a_picture_and_no_tracks(networks, tmp_path):
    write_image(tmp_path / "two.png", picture(boxes_at(0)))
    take = capture(tmp_path / "two.png", tmp_path / "out", **networks)
    assert len(take.people) == 2 and take.people.track.tolist() == [-1, -1] and take.names == ("two.png",)
    assert names_in(tmp_path / "out") == ["keypoints.json", "overlay.png", "take.npz"]
    assert (read_image(tmp_path / "out/overlay.png") != read_image(tmp_path / "two.png")).any()


def test_a_folder_gives_one_overlay_per_picture_even_for_equal_stems(networks, tmp_path):
    (tmp_path / "shots").mkdir()
    for name, boxes in (("a.png", boxes_at(0)), ("a.bmp", boxes_at(1)[:1]), ("b.png", boxes_at(0)[:0])):
        write_image(tmp_path / "shots" / name, picture(boxes))
    take = capture(tmp_path / "shots", tmp_path / "out", formats=["json", "openpose"], **networks)
    assert take.names == ("a.bmp", "a.png", "b.png")
    assert [len(people) for people in take.by_frame()] == [1, 2, 0]
    assert sorted(path.name for path in (tmp_path / "out/overlay").iterdir()) == ["a.png", "a_1.png", "b.png"]
    assert len(list((tmp_path / "out/openpose").iterdir())) == 3
    assert read_coco(tmp_path / "out/keypoints.json").names == take.names


def test_a_list_of_pictures_of_different_sizes_keeps_its_order(networks, tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    write_image(small, picture(boxes_at(0)))
    write_image(large, np.kron(picture(boxes_at(0)), np.ones((2, 2, 1), np.uint8)))
    take = capture([small, large], **networks)
    assert take.names == ("small.png", "large.png") and take.sizes.tolist() == [[320, 240], [640, 480]]
    np.testing.assert_allclose(take.people.at(1).boxes, 2 * take.people.at(0).boxes, atol=3)


def test_a_person_who_fades_is_kept_but_a_faint_one_never_starts(networks, tmp_path):
    times = np.arange(12) / 30
    red, blue = boxes_at(0)
    # At brightness 175 the detector's score is 0.33 of 0.9: over half of the threshold, under it.
    images = [picture([red, blue], [(255 if i < 4 else 175, 0, 0), (0, 0, 175)]) for i in range(len(times))]
    take = capture(film(tmp_path / "fade.mp4", times, images), threshold=0.5, **networks)
    assert take.tracks.tolist() == [1] and len(take.people) == len(times)
    np.testing.assert_allclose(take.boxes, np.tile(red, (len(times), 1)), atol=3)


def test_the_threshold_decides_who_counts(networks, tmp_path):
    write_image(tmp_path / "faint.png", picture(boxes_at(0), [(175, 0, 0), (0, 0, 255)]))
    counts = [len(capture(tmp_path / "faint.png", threshold=threshold, **networks).people) for threshold in (0.2, 0.5, 1.0)]
    assert counts == [2, 1, 0]


def test_flip_test_gives_mirrored_crops_a_say(walking, networks):
    plain, flipped = (capture(walking, flip_test=on, smooth="none", **networks) for on in (False, True))
    # The network of the test does not look at the picture, so that its answer for the mirrored crop contradicts the first one.
    assert len(flipped.people) == len(plain.people)
    assert (flipped.confidence < plain.confidence - 0.1).any()


def test_pictures_are_looked_at_mirrored_too_unless_told_otherwise(walking, networks, tmp_path):
    write_image(tmp_path / "two.png", picture(boxes_at(0)))
    usual, once, twice = (capture(tmp_path / "two.png", flip_test=on, **networks).confidence for on in (None, False, True))
    np.testing.assert_array_equal(usual, twice)
    assert (usual < once - 0.1).any()
    film, plain = (capture(walking, flip_test=on, **networks).confidence for on in (None, False))
    np.testing.assert_array_equal(film, plain)


def test_progress_counts_every_frame_and_times_every_stage(walking, networks, tmp_path):
    seen = []
    capture(walking, tmp_path, on_progress=seen.append, **networks)
    assert [now.frames for now in seen] == [*range(1, len(TIMES) + 1), len(TIMES)]
    assert seen[-1].people == 2 and seen[-1].total == len(TIMES)
    assert set(seen[-1].seconds) == {"decode", "detect", "pose", "track", "smooth", "write", "draw", "encode"}
    assert all(spent > 0 for spent in seen[-1].seconds.values())


@pytest.mark.parametrize("options", [{"threshold": 0}, {"threshold": float("nan")}, {"formats": "json"}, {"formats": ["bvh"]}])
def test_senseless_options_are_refused_before_anything_is_written(walking, networks, tmp_path, options):
    with pytest.raises(VitruvianError):
        capture(walking, tmp_path / "out", **networks, **options)
    assert not (tmp_path / "out").exists()


def test_few_frames_are_in_memory_at_any_time(networks, tmp_path):
    source = walk(tmp_path / "long.mp4", np.arange(90) / 30)
    alive = []

    def count(now):
        if now.frames % 10 == 0:
            alive.append(sum(isinstance(thing, Frame) for thing in gc.get_objects()))

    capture(source, tmp_path / "out", on_progress=count, **networks)
    assert len(alive) >= 9 and max(alive) < 30


def test_chunks_are_bounded_in_frames_and_pixels():
    frame = Frame(np.zeros((10, 10, 3), np.uint8), 0, 0.0, "")
    found = [(replace(frame, index=i), None) for i in range(20)]
    assert [len(chunk) for chunk in chunks(iter(found), most=8, pixels=10**6)] == [8, 8, 4]
    assert [len(chunk) for chunk in chunks(iter(found), most=8, pixels=250)] == [3] * 6 + [2]
    assert [frame.index for chunk in chunks(iter(found), most=8) for frame, _ in chunk] == list(range(20))
    assert list(chunks(iter([]))) == []


def test_between_two_looks_of_the_detector_boxes_move_on(walking, networks):
    every, seldom = (capture(walking, smooth="none", detect_every=n, **networks).people for n in (1, 7))
    for track in (1, 2):
        assert seldom.of(track).frame.tolist() == every.of(track).frame.tolist()
        np.testing.assert_allclose(seldom.of(track).boxes, every.of(track).boxes, atol=3)


@pytest.mark.parametrize(("rate", "usual"), [(12, 1), (22, 2), (30, 3)])
def test_the_detector_looks_about_ten_times_per_second(networks, tmp_path, rate, usual):
    times = np.arange(9) / rate
    jitter = np.random.default_rng(0).integers(-3, 4, (len(times), 1, 2))
    shaky = film(tmp_path / "shaky.mp4", times, [picture(boxes_at(time) + np.tile(by, 2)) for time, by in zip(times, jitter, strict=True)])
    by_itself, *others = (capture(shaky, smooth="none", detect_every=n, **networks).people.boxes for n in (None, 1, 2, 3))
    assert [np.array_equal(by_itself, boxes) for boxes in others] == [n == usual for n in (1, 2, 3)]


def test_hands_and_faces_get_a_second_look(walking, networks, tmp_path):
    plain = capture(walking, smooth="none", **networks)
    closer = capture(walking, smooth="none", hands=nets.pose(tmp_path, "hand-21"), **networks)
    hands = slice(91, 133)
    changed = np.abs(closer.keypoints - plain.keypoints).max(axis=(0, 2))
    assert (changed[hands] > 0.5).any() and (np.delete(changed, np.r_[hands]) == 0).all()
    assert closer.cards == (*plain.cards, "fixed-hand-21")
