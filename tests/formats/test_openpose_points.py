"""OpenPose files with 3D lists, other bodies than BODY_25, and names that no file may have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import assert_columns_agree, takes, walk_take
from hypothesis import HealthCheck, given, settings

from vitruvian.errors import FormatError
from vitruvian.formats.openpose import read_openpose, write_openpose
from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_BODY_18, OPENPOSE_BODY_25
from vitruvian.take import Take


def test_points_are_x_y_z_confidence_in_the_3d_lists(tmp_path: Path):
    take = walk_take(1)
    (path,) = write_openpose(take, tmp_path)
    (person,) = json.loads(path.read_text())["people"]
    body = np.array(person["pose_keypoints_3d"]).reshape(25, 4)
    neck = take.people.points[0, [5, 6]].mean(axis=0)
    assert body[1, :3].tolist() == pytest.approx(neck.tolist(), abs=1e-6) and body[1, 3] == pytest.approx(0.8)
    assert len(person["hand_left_keypoints_3d"]) == 84 and len(person["face_keypoints_3d"]) == 280
    assert set(person["face_keypoints_3d"]) == {0}  # none are known


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(take=takes((COCO_WHOLEBODY_133, OPENPOSE_BODY_25)))
def test_write_read(take: Take, tmp_path: Path):
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    paths = write_openpose(replace(take, names=("walk.mp4",)), folder)
    back = read_openpose(paths, space="camera", skeleton=take.skeleton, normalised=False)
    assert_columns_agree(back, take, ("track", "keypoints", "confidence", "points"))
    assert back.people.frame.tolist() == take.people.frame.tolist() and len(back.times) == len(take.times)


def test_eighteen_points(tmp_path: Path):
    take = walk_take(2)
    paths = write_openpose(take, tmp_path, OPENPOSE_BODY_18)
    (person,) = json.loads(paths[0].read_text())["people"]
    assert len(person["pose_keypoints_2d"]) == 54 and len(person["pose_keypoints_3d"]) == 72
    back = read_openpose(tmp_path, skeleton=OPENPOSE_BODY_18)
    np.testing.assert_allclose(back.keypoints[:, 1], take.keypoints[:, [5, 6]].mean(axis=1), atol=1e-3)


def test_points_without_pixels_and_pixels_without_points(tmp_path: Path):
    take = walk_take(1)
    blind = replace(take.people, keypoints=np.full((1, 133, 2), np.nan), confidence=np.zeros((1, 133)))
    write_openpose(replace(take, people=blind), tmp_path / "3d")
    back = read_openpose(tmp_path / "3d")
    np.testing.assert_allclose(back.people.points[0, 5], take.people.points[0, 5], atol=1e-6)
    assert np.isnan(back.keypoints).all() and back.confidence[0, 5] == 1 and back.space == "world"
    write_openpose(replace(take, people=replace(take.people, points=None), space=""), tmp_path / "2d")
    assert read_openpose(tmp_path / "2d").people.points is None


def test_strange_names_stay_in_the_folder(tmp_path: Path):
    names = ["../../up.jpg", "/etc/passwd.png", "a\0b.jpg", "\udc80.jpg", "x" * 300 + ".jpg", "..", "con:|?.jpg", ""]
    take = replace(walk_take(len(names)), names=tuple(names))
    paths = write_openpose(take, tmp_path / "out")
    assert len(set(paths)) == len(names) and all(path.parent == tmp_path / "out" and path.is_file() for path in paths)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_wrong_rates_are_refused(tmp_path: Path):
    write_openpose(walk_take(1), tmp_path)
    for fps in (0, -1, float("nan")):
        with pytest.raises(FormatError, match="rate"):
            read_openpose(tmp_path, fps=fps)
