"""OpenPose files: exact layout, round trip, older versions, hostile files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import FormatError
from vitruvian.formats.openpose import read_openpose, write_openpose
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, OPENPOSE_134, Skeleton
from vitruvian.take import People, Take

EIGHT = [f"{part}_keypoints_{d}d" for d in (2, 3) for part in ("pose", "face", "hand_left", "hand_right")]


def take_of(skeleton: Skeleton = COCO_WHOLEBODY_133, names: tuple[str, ...] = ("walk.mp4",), frames: int = 3) -> Take:
    """Frame i holds i persons; every point of a person says its own index, the tracks count from 5."""
    frame = np.repeat(np.arange(frames), np.arange(frames))
    n, k = len(frame), len(skeleton)
    index = np.arange(k) + 0.5
    people = People(
        frame=frame,
        track=np.arange(n) + 5,
        boxes=np.tile([0.5, 200.5, k - 0.5, 199.5 + k], (n, 1)),
        scores=np.full(n, 0.8),
        keypoints=np.tile(np.stack([index, index + 200], axis=-1), (n, 1, 1)),
        confidence=np.tile(np.linspace(0.6, 1.0, k), (n, 1)),
    )
    return Take(people, skeleton, np.arange(frames) / 25, np.full((frames, 2), (640, 480)), names)


def test_files_are_laid_out_as_openpose_does(tmp_path: Path):
    take = take_of()
    paths = write_openpose(take, tmp_path / "json")
    assert [path.name for path in paths] == [f"walk_{i:012d}_keypoints.json" for i in range(3)]
    assert sorted(os.listdir(tmp_path / "json")) == [path.name for path in paths]
    documents = [json.loads(path.read_text()) for path in paths]
    assert [len(document["people"]) for document in documents] == [0, 1, 2]
    assert all(set(document) == {"version", "people"} and document["version"] == 1.3 for document in documents)
    person = documents[2]["people"][1]
    assert list(person) == ["person_id", *EIGHT] and person["person_id"] == [7]
    lengths = [len(person[key]) for key in EIGHT]
    assert lengths == [75, 210, 63, 63, 0, 0, 0, 0]
    body = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
    assert body[:, 0].tolist() == [
        i + 0.5 for i in (0, 5.5, 6, 8, 10, 5, 7, 9, 11.5, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22)
    ]
    assert body[1, 2] == pytest.approx(take.confidence[0, 5], abs=1e-4)
    face = np.array(person["face_keypoints_2d"]).reshape(70, 3)
    assert face[:68, 0].tolist() == [i + 0.5 for i in range(23, 91)] and (face[68:] == 0).all()
    assert person["hand_left_keypoints_2d"][0] == 91.5 and person["hand_right_keypoints_2d"][-3] == 132.5


def test_round_trip(tmp_path: Path):
    take = take_of()
    write_openpose(take, tmp_path)
    back = read_openpose(tmp_path, fps=25, size=(640, 480))
    assert back.skeleton is COCO_WHOLEBODY_133 and back.names == ("walk",)
    np.testing.assert_allclose(back.times, take.times)
    np.testing.assert_array_equal(back.sizes, take.sizes)
    np.testing.assert_array_equal(back.people.frame, take.people.frame)
    np.testing.assert_array_equal(back.people.track, take.people.track)
    np.testing.assert_allclose(back.keypoints, take.keypoints, atol=1e-3)
    np.testing.assert_allclose(back.confidence, take.confidence, atol=1e-4)
    np.testing.assert_allclose(back.boxes, take.boxes, atol=1e-3)
    np.testing.assert_allclose(back.people.scores, 0.8, atol=1e-3)


def test_missing_points_stay_missing(tmp_path: Path):
    take = take_of(frames=2)
    keypoints, confidence = take.keypoints.copy(), take.confidence.copy()
    keypoints[0, 5] = np.nan
    confidence[0, 100] = 0
    people = People(take.people.frame, take.people.track, take.boxes, take.people.scores, keypoints, confidence)
    paths = write_openpose(Take(people, take.skeleton, take.times, take.sizes, take.names), tmp_path)
    (person,) = json.loads(paths[1].read_text())["people"]
    body = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
    assert (body[[1, 5]] == 0).all() and (body[8] > 0).all()  # no neck without both shoulders
    back = read_openpose(tmp_path)
    missing = np.isnan(back.keypoints[0]).any(axis=-1)
    assert np.flatnonzero(missing).tolist() == [5, 100] and (back.confidence[0, missing] == 0).all()


def test_other_sets_write_what_they_have(tmp_path: Path):
    (path,) = write_openpose(take_of(COCO_17, frames=2), tmp_path / "body")[1:]
    (person,) = json.loads(path.read_text())["people"]
    assert [len(person[key]) for key in EIGHT] == [75, 0, 0, 0, 0, 0, 0, 0]
    (path,) = write_openpose(take_of(OPENPOSE_134, frames=2), tmp_path / "whole")[1:]
    (person,) = json.loads(path.read_text())["people"]
    assert [len(person[key]) for key in EIGHT] == [75, 210, 63, 63, 0, 0, 0, 0]
    assert person["pose_keypoints_2d"][3] == 1.5  # its own neck


def test_pictures_keep_their_names(tmp_path: Path):
    paths = write_openpose(take_of(names=("000000000785.jpg", "b.png", "dir/c.jpg")), tmp_path)
    assert [path.name for path in paths] == ["000000000785_keypoints.json", "b_keypoints.json", "c_keypoints.json"]
    back = read_openpose(tmp_path)
    assert back.names == ("000000000785", "b", "c") and back.times.tolist() == [0, 1, 2]
    clash = write_openpose(take_of(names=("a.jpg", "a.png", "b.jpg")), tmp_path / "clash")
    assert len({path.name for path in clash}) == 3


def test_no_frames_no_files(tmp_path: Path):
    assert write_openpose(take_of(frames=0, names=()), tmp_path) == []
    back = read_openpose(tmp_path)
    assert len(back.times) == 0 and len(back.people) == 0


def write(path: Path, people: object, **more: object) -> Path:
    path.write_text(json.dumps({"version": 1.3, "people": people, **more}))
    return path


def test_older_versions_are_read(tmp_path: Path):
    old = write(tmp_path / "a_keypoints.json", [{"pose_keypoints": [10.0, 20.0, 0.5] * 18}])
    take = read_openpose(old)
    assert take.people.track.tolist() == [-1] and take.keypoints[0, 16].tolist() == [10, 20]
    assert np.isnan(take.keypoints[0, 17:]).all()


@pytest.mark.parametrize(("values", "expected"), [((0.25, 0.5), (160, 240)), ((-0.5, 0.0), (160, 240))])
def test_normalised_coordinates_are_scaled(values: tuple[float, float], expected: tuple[float, float], tmp_path: Path):
    path = write(tmp_path / "a_keypoints.json", [{"pose_keypoints_2d": [*values, 0.5] * 25}])
    assert read_openpose(path, size=(640, 480)).keypoints[0, 0].tolist() == list(expected)
    with pytest.raises(FormatError, match="size"):
        read_openpose(path)
    assert read_openpose(path, normalised=False).keypoints[0, 0].tolist() == list(values)


def test_files_of_two_videos_are_not_mixed(tmp_path: Path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}_000000000000_keypoints.json", [])
    with pytest.raises(FormatError, match="several"):
        read_openpose(tmp_path)
    one = read_openpose([tmp_path / "a_000000000000_keypoints.json"])
    assert one.names == ("a",) and len(one.times) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"people": 3}',
        '{"people": [3]}',
        '{"people": [{"pose_keypoints_2d": 3}]}',
        '{"people": [{"pose_keypoints_2d": [1, 2]}]}',
        '{"people": [{"face_keypoints_2d": [1, 2, 3]}]}',
        json.dumps({"people": [{"pose_keypoints_2d": ["x"] * 75}]}),
        json.dumps({"people": [{"pose_keypoints_2d": [float("inf")] * 75}]}),
        json.dumps({"people": [{"pose_keypoints_2d": [1e300] * 75}]}),
    ],
)
def test_foreign_files_are_checked(text: str, tmp_path: Path):
    (tmp_path / "a_keypoints.json").write_text(text)
    with pytest.raises(FormatError):
        read_openpose(tmp_path)


def test_missing_file_and_strange_ids(tmp_path: Path):
    with pytest.raises(FormatError, match="check the path"):
        read_openpose(tmp_path / "none_keypoints.json")
    people = [{"person_id": ids} for ids in ([], "x", [2**40], [-1], [True], [3])]
    take = read_openpose(write(tmp_path / "a_keypoints.json", people))
    assert take.people.track.tolist() == [-1, -1, -1, -1, -1, 3]
    assert np.isnan(take.keypoints).all() and take.boxes.tolist() == [[0, 0, 0, 0]] * 6
