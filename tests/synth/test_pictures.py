"""Tars of pictures: read back, the labels lie where the picture shows it."""

import io
import json
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vitruvian.cli import main
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth import pictures
from vitruvian.synth.classes import PARTS, SEGMENTS
from vitruvian.synth.pictures import SIZES, draw_picture, generate_pictures, write_tar
from vitruvian.synth.scene import UNTOLD, Studio
from vitruvian.synth.store import Store

POINTS = {"person": range(17), "face": range(23, 91), "left_hand": range(91, 112), "right_hand": range(112, 133),
          "left_foot": range(17, 20), "right_foot": range(20, 23)}  # fmt: skip


@pytest.fixture(scope="module")
def studio(people_folder):
    return Studio.open(Store.open(people_folder), [], np.random.default_rng(0), backdrops=4)


@pytest.fixture(scope="module")
def tars(studio, tmp_path_factory):
    """Tar 1 of 20 pictures of each task, unpacked: task -> {key: {suffix: content}}."""
    folder, found = tmp_path_factory.mktemp("tars"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "TAR", 20)
        for task in SIZES:
            write_tar(folder / f"{task}.tar", studio, task, 1, seed=3)
    for task in SIZES:
        found[task] = {}
        with tarfile.open(folder / f"{task}.tar") as tar:
            for entry in tar:
                key, _, suffix = entry.name.partition(".")
                found[task].setdefault(key, {})[suffix] = tar.extractfile(entry).read()
    return found


def read(sample):
    """Picture, labels, and keypoints (p, 133, 3) of one picture."""
    labels = json.loads(sample["json"])
    keypoints = np.array([person["keypoints"] for person in labels["people"]], float).reshape(-1, 133, 3)
    return np.asarray(Image.open(io.BytesIO(sample["jpg"]))), labels, keypoints


@pytest.mark.parametrize("task", SIZES)
def test_every_picture_has_its_files_and_its_number(tars, task):
    assert list(tars[task]) == [f"{number:09d}" for number in range(20, 40)]
    for sample in tars[task].values():
        assert set(sample) == ({"jpg", "json", "segments.png"} if task == "pose" else {"jpg", "json"})
        image, labels, _ = read(sample)
        assert image.shape == (*SIZES[task][::-1], 3) and (labels["width"], labels["height"]) == SIZES[task]


@pytest.mark.parametrize("task", SIZES)
def test_boxes_hold_what_is_seen_of_their_owner(tars, task):
    held = dict.fromkeys(POINTS, 0)
    for sample in tars[task].values():
        _, labels, keypoints = read(sample)
        rows = {person["id"]: row for row, person in enumerate(labels["people"])}
        for entry in labels["boxes"]:
            x0, y0, x1, y1 = entry["box"]
            assert 0 <= x0 < x1 <= labels["width"] and 0 <= y0 < y1 <= labels["height"] and entry["part"] in PARTS
            mine = keypoints[rows[entry["owner"]], list(POINTS.get(entry["part"], ()))]
            mine = mine[mine[:, 2] == 2]
            if len(mine):
                assert (mine[:, :2] > [x0 - 1, y0 - 1]).all() and (mine[:, :2] < [x1 + 1, y1 + 1]).all(), entry
                held[entry["part"]] += 1
    assert all(held[part] for part in ("person", "face", "left_hand", "right_hand")), held


@pytest.mark.parametrize("task", SIZES)
def test_visibility_says_where_and_why(tars, task):
    why = np.zeros(4, int)
    for sample in tars[task].values():
        _, labels, keypoints = read(sample)
        for person, points in zip(labels["people"], keypoints, strict=True):
            occlusion = np.array(person["occlusion"])
            np.testing.assert_array_equal(points[:, 2], np.array([2, 1, 1, 0])[occlusion])
            assert (points[occlusion == 3] == 0).all()
            inside = points[occlusion < 3, :2]
            assert (inside >= -0.5).all() and (inside < np.array(SIZES[task]) - 0.5 + 1e-2).all()
            why += np.bincount(occlusion, minlength=4)
    assert (why > 0).all()


def test_segments_are_under_the_keypoints_and_untold_where_something_is_before_them(tars):
    on = seen = untold = 0
    for sample in tars["pose"].values():
        _, labels, keypoints = read(sample)
        segments = np.asarray(Image.open(io.BytesIO(sample["segments.png"])))
        assert segments.shape == (256, 192) and ((segments < len(SEGMENTS)) | (segments == UNTOLD)).all()
        for person, points in zip(labels["people"], keypoints, strict=True):
            inside, occlusion = points[:, 2] > 0, np.array(person["occlusion"])
            column, row = np.clip(np.rint(points[:, :2]), 0, [191, 255]).astype(int).T
            found = segments[row, column]
            covered = inside & (found == UNTOLD)
            assert (occlusion[covered] == 2).all()
            shown = (np.arange(133) < 17) & (occlusion == 0)
            on, seen, untold = on + (found[shown] > 0).sum(), seen + shown.sum(), untold + covered.sum()
    assert on > 0.85 * seen and untold


def test_the_picture_shows_the_person_where_the_segments_are(studio):
    """Before a wall of one colour, without shadows, others, things laid on and a camera's faults, all else is the person's."""
    look = studio.store.look.without(["crowds", "occluders", "camera", "lights"])
    wall = np.full((400, 400, 3), 120, np.uint8)
    plain = replace(studio, store=replace(studio.store, look=look), backdrops=[wall])
    shown = own = all_of_them = 0
    for seed in range(8):
        scene, segments = draw_picture(np.random.default_rng(seed), plain, "pose")
        rows, columns = np.nonzero(segments)
        np.testing.assert_allclose(scene.boxes[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        flat = scene.image.reshape(-1, 3)
        colours, counts = np.unique(flat[flat.any(1)], axis=0, return_counts=True)  # black is what is beyond the picture's edge
        differs = (scene.image != colours[counts.argmax()]).any(-1) & scene.image.any(-1)
        shown, own, all_of_them = shown + (differs & (segments > 0)).sum(), own + (segments > 0).sum(), all_of_them + differs.sum()
    assert shown > 0.97 * own
    assert shown > 0.6 * all_of_them  # the others are of things in the hands and below, and softened edges


def test_same_seed_same_tar_and_no_half_ones(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "TAR", 4)
    for name in "ab":
        write_tar(tmp_path / f"{name}.tar", studio, "pose", 0, seed=5)
    write_tar(tmp_path / "c.tar", studio, "pose", 0, seed=6)
    a, b, c = ((tmp_path / f"{name}.tar").read_bytes() for name in "abc")
    assert a == b != c
    monkeypatch.setattr(pictures, "labels_of", lambda scene: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_tar(tmp_path / "d.tar", studio, "pose", 0, seed=5)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "b.tar", "c.tar"}


def test_tars_that_are_there_are_left_alone_and_kept_to_their_seed(people_folder, tmp_path):
    folder = shutil.copytree(people_folder, tmp_path / "store")
    for index in range(2):
        (folder / f"pose-{index:06d}.tar").write_bytes(b"made before")
    assert list(generate_pictures(folder, "pose", 300, 250, seed=1)) == [(500, 500)]
    assert (folder / "pose-000001.tar").read_bytes() == b"made before"
    said = json.loads((folder / "pose.json").read_text())
    assert said["keypoints"] == list(COCO_WHOLEBODY_133.names) and said["segments"] == list(SEGMENTS)
    with pytest.raises(FormatError, match="seed 1"):
        list(generate_pictures(folder, "pose", 300, 250, seed=2))


def test_wrong_tasks_and_too_few_people_are_told(people_folder, studio):
    with pytest.raises(VitruvianError, match="'faces'"):
        list(generate_pictures(people_folder, "faces", 1, 250))
    with pytest.raises(VitruvianError, match="'faces'"):
        draw_picture(np.random.default_rng(0), studio, "faces")
    with pytest.raises(FormatError, match="-n 500"):
        list(generate_pictures(people_folder, "pose", 1, 500))


@pytest.mark.slow
def test_command_draws_pictures(people_folder, tmp_path, capsys):
    folder = shutil.copytree(people_folder, tmp_path / "store")
    command = ["synth", str(folder), "--pictures", "3", "--task", "detection", "--processes", "1"]
    assert main(command) == 0
    assert "250 pictures" in capsys.readouterr().out
    with tarfile.open(folder / "detection-000000.tar") as tar:
        assert len(tar.getnames()) == 500
    before = (folder / "detection-000000.tar").stat().st_mtime_ns
    assert main(command) == 0
    assert (folder / "detection-000000.tar").stat().st_mtime_ns == before


def test_no_pictures_is_a_wrong_number(tmp_path, capsys):
    assert main(["synth", str(tmp_path), "--pictures", "0"]) == 2
    assert "at least one" in capsys.readouterr().err
