"""ControlNet's files: the JSON in pixels or [0, 1], pictures by suffix, the video with the take's times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import assert_columns_agree, takes, walk_take
from hypothesis import HealthCheck, given, settings

from vitruvian.draw.controlnet import draw_controlnet
from vitruvian.errors import FormatError, MediaError
from vitruvian.formats.controlnet import read_controlnet_json, write_controlnet, write_controlnet_json
from vitruvian.media import open_video, read_image
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import Take


def test_layout(tmp_path: Path):
    write_controlnet_json(walk_take(2), tmp_path / "pose.json")
    frames = json.loads((tmp_path / "pose.json").read_text())
    assert len(frames) == 2 and set(frames[0]) == {"people", "canvas_width", "canvas_height"}
    assert (frames[0]["canvas_width"], frames[0]["canvas_height"]) == (640, 480)
    (person,) = frames[0]["people"]
    lengths = {key: len(value) for key, value in person.items()}
    assert lengths == {
        "person_id": 1, "pose_keypoints_2d": 54, "face_keypoints_2d": 210, "hand_left_keypoints_2d": 63, "hand_right_keypoints_2d": 63,
    }  # fmt: skip
    plain = tmp_path / "plain.json"
    write_controlnet_json(walk_take(2), plain, with_ids=False)
    assert "person_id" not in json.loads(plain.read_text())[0]["people"][0]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes((COCO_WHOLEBODY_133,), optional=False))
def test_write_read(take: Take, tmp_path: Path):
    write_controlnet_json(take, tmp_path / "pose.json")
    back = read_controlnet_json(tmp_path / "pose.json")
    assert_columns_agree(back, without_feet(take), ("keypoints", "confidence"))
    assert back.people.track.tolist() == take.people.track.tolist() and back.people.frame.tolist() == take.people.frame.tolist()
    np.testing.assert_array_equal(back.sizes, take.sizes)


def without_feet(take: Take) -> Take:
    """What 18 body points keep of a whole body."""
    keypoints, confidence = take.keypoints.copy(), take.confidence.copy()
    feet = COCO_WHOLEBODY_133.parts["foot"]
    keypoints[:, feet], confidence[:, feet] = np.nan, 0
    return replace(take, people=replace(take.people, keypoints=keypoints, confidence=confidence))


def test_other_tools_habits(tmp_path: Path):
    person = {"pose_keypoints_2d": [0.25, 0.5, 1.0] * 18, "face_keypoints_2d": None, "hand_left_keypoints_2d": []}
    frame = {"people": [person], "canvas_width": 512, "canvas_height": 768}
    for document in (frame, [frame]):
        (tmp_path / "pose.json").write_text(json.dumps(document))
        take = read_controlnet_json(tmp_path / "pose.json", fps=10)
        assert take.keypoints[0, 5].tolist() == [128, 384] and take.sizes.tolist() == [[512, 768]]
    (tmp_path / "pose.json").write_text(json.dumps([frame | {"people": []}, frame]))
    take = read_controlnet_json(tmp_path / "pose.json", fps=10)
    assert take.times.tolist() == [0, 0.1] and take.people.frame.tolist() == [1]


@pytest.mark.parametrize(
    "document",
    [
        3,
        [3],
        {"people": 3, "canvas_width": 1, "canvas_height": 1},
        {"people": []},
        {"people": [], "canvas_width": -1, "canvas_height": 1},
        {"people": [], "canvas_width": 1e20, "canvas_height": 1},
        {"people": [{"pose_keypoints_2d": [1.0]}], "canvas_width": 1, "canvas_height": 1},
        {"people": [{"pose_keypoints_2d": "x"}], "canvas_width": 1, "canvas_height": 1},
    ],
)
def test_hostile_files_are_format_errors(document: object, tmp_path: Path):
    (tmp_path / "pose.json").write_text(json.dumps(document))
    with pytest.raises(FormatError):
        read_controlnet_json(tmp_path / "pose.json")


def test_pictures_in_a_folder_and_a_single_one(tmp_path: Path):
    take = walk_take(2)
    paths = write_controlnet(take, tmp_path / "poses")
    assert [path.name for path in paths] == ["000000.png", "000001.png"]
    expected = draw_controlnet(take.people.at(1), take.skeleton, 640, 480)
    assert expected.any() and (read_image(paths[1]) == expected).all()
    one = walk_take(1)
    assert write_controlnet(one, tmp_path / "new" / "pose.png") == [tmp_path / "new" / "pose.png"]
    with pytest.raises(FormatError, match="one picture"):
        write_controlnet(take, tmp_path / "pose.png")
    assert write_controlnet(walk_take(0), tmp_path / "none") == []


def test_a_video_keeps_the_times(tmp_path: Path):
    take = replace(walk_take(4), times=np.array([0.1, 0.2, 0.5, 0.6]))
    done = []
    assert write_controlnet(take, tmp_path / "pose.mp4", on_frame=done.append) == [tmp_path / "pose.mp4"]
    assert done == [1, 2, 3, 4]
    with open_video(tmp_path / "pose.mp4") as video:
        frames = list(video)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), [0.1, 0.3, 0.1], atol=1e-3)
    drawn = draw_controlnet(take.people.at(0), take.skeleton, 640, 480)
    assert np.abs(frames[0].image.astype(int) - drawn).mean() < 5
    assert write_controlnet(walk_take(0), tmp_path / "none.mp4") == [] and not (tmp_path / "none.mp4").exists()


def test_unknown_and_absurd_sizes(tmp_path: Path):
    take = replace(walk_take(1), sizes=np.zeros((1, 2)))
    with pytest.raises(FormatError, match="--size"):
        write_controlnet(take, tmp_path / "pose.png")
    write_controlnet(take, tmp_path / "pose.png", size=(320, 200))
    assert read_image(tmp_path / "pose.png").shape == (200, 320, 3)
    with pytest.raises(MediaError, match="limit"):
        write_controlnet(replace(take, sizes=np.full((1, 2), 2**31 - 1)), tmp_path / "pose.png")
    mixed = replace(walk_take(2), sizes=np.array([[640, 480], [480, 640]]))
    with pytest.raises(FormatError, match="size"):
        write_controlnet(mixed, tmp_path / "pose.mp4")
