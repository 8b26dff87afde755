"""Each data set's reader, on small files in the official layout."""

import json

import numpy as np
import pytest
import scipy.io

from vitruvian.data.aic import aic
from vitruvian.data.coco import coco
from vitruvian.data.coco_wholebody import coco_wholebody
from vitruvian.data.crowdpose import crowdpose
from vitruvian.data.h3wb import h3wb
from vitruvian.data.halpe import halpe
from vitruvian.data.humanart import humanart
from vitruvian.data.jhmdb import jhmdb
from vitruvian.data.layout import below, read_mat
from vitruvian.data.mpii import mpii
from vitruvian.data.posetrack import posetrack17, posetrack18, posetrack21
from vitruvian.data.readers import READERS, held_out, read_dataset
from vitruvian.data.ubody import ubody
from vitruvian.errors import FormatError, VitruvianError

K_OF = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def flat(k, visible=2):
    """Point i at (i, 2 i)."""
    return [number for i in range(k) for number in (i, 2 * i, visible)]


def cocolike(names, **person):
    """A document with a person in the first picture and nobody in the others."""
    images = [{"id": 7 + i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    return {"images": images, "annotations": [{"id": 3, "image_id": 7, "bbox": [1, 2, 10, 20], "iscrowd": 0} | person], "categories": []}


def wholebody_person():
    return {key: flat(k) for key, k in K_OF.items()} | {
        f"{part}_valid": part != "lefthand" for part in ("foot", "face", "lefthand", "righthand")
    }


def test_coco(tmp_path):
    write(tmp_path / "annotations/person_keypoints_val2017.json", cocolike(["a.jpg", "b.jpg"], keypoints=flat(17, 1), area=99.5))
    first, second = coco(tmp_path)
    assert first.file == tmp_path / "val2017/a.jpg" and first.size == (64, 48) and len(second.people) == 0
    assert first.people.boxes.tolist() == [[1, 2, 11, 22]] and first.people.areas.tolist() == [99.5]
    assert first.people.keypoints[0, 5].tolist() == [5, 10] and (first.people.visible == 1).all()


def test_coco_wholebody_drops_parts_that_nobody_annotated(tmp_path):
    write(tmp_path / "annotations/coco_wholebody_train_v1.0.json", cocolike(["a.jpg"], **wholebody_person()))
    (picture,) = coco_wholebody(tmp_path, "train")
    people = picture.people
    assert (
        people.keypoints.shape == (1, 133, 2) and people.keypoints[0, 17].tolist() == [0, 0] and people.keypoints[0, 22].tolist() == [5, 10]
    )
    assert np.isnan(people.keypoints[0, 91:112]).all() and (people.visible[0, 91:112] == 0).all() and (people.visible[0, 112:] == 2).all()
    assert people.areas[0] == pytest.approx(0.53 * 200)


@pytest.mark.parametrize("split,name", [("train", "train_annotations.json"), ("all", "keypoint_annotations.json")])
def test_ubody_goes_through_its_scenes_and_takes_every_nth_picture(tmp_path, split, name):
    names = [f"{'Speech/' if split == 'train' else ''}S1/{i:06d}.png" for i in range(5)]
    write(tmp_path / f"annotations/Speech/{name}", cocolike(names, **wholebody_person()))
    found = list(ubody(tmp_path, split, every=2))
    assert [picture.file.name for picture in found] == ["000000.png", "000002.png", "000004.png"]
    assert found[0].file == tmp_path / "images/Speech/S1/000000.png"


@pytest.mark.parametrize("split,frames", [("train", ["S2"]), ("val", ["S1"]), ("all", ["S1", "S2"])])
def test_ubody_is_split_by_its_list_of_films(tmp_path, split, frames):
    person = wholebody_person()
    for scene in ("Speech", "Singing"):
        document = cocolike([f"{film}/000000.png" for film in ("S1", "S2")], **{k: v for k, v in person.items() if k != "face_valid"})
        write(tmp_path / f"annotations/{scene}/keypoint_annotation.json", document)
    (tmp_path / "splits").mkdir()
    np.save(tmp_path / "splits/intra_scene_test_list.npy", np.array(["S1.mp4"]))
    found = list(ubody(tmp_path, split, every=1))
    assert [picture.file.parent.name for picture in found] == 2 * frames
    assert len({picture.id for picture in found}) == len(found)  # though both scenes' files number from 7
    assert (found[0].people.visible[:, 23:91] == 2).all()  # a part without a flag counts


def test_ubody_without_its_list_of_films(tmp_path):
    write(tmp_path / "annotations/Speech/keypoint_annotation.json", cocolike(["a/0.png"], **wholebody_person()))
    with pytest.raises(FormatError, match="intra_scene_test_list"):
        list(ubody(tmp_path))


def test_halpe(tmp_path):
    write(tmp_path / "annotations/halpe_train_v1.json", cocolike(["a.jpg"], keypoints=flat(136)))
    (picture,) = halpe(tmp_path)
    assert picture.file == tmp_path / "hico_20160224_det/images/train2015/a.jpg" and picture.people.keypoints.shape == (1, 136, 2)


def test_crowdpose_has_crowding_and_areas_from_boxes(tmp_path):
    document = cocolike(["a.jpg"], keypoints=flat(14))
    document["images"][0]["crowdIndex"] = 0.35
    write(tmp_path / "json/crowdpose_test.json", document)
    (picture,) = crowdpose(tmp_path)
    assert picture.crowding == 0.35 and picture.people.areas[0] == pytest.approx(106) and picture.file == tmp_path / "images/a.jpg"


def test_humanart_real_people_only(tmp_path):
    names = ["HumanArt/images/real_human/dance/1.jpg", "HumanArt/images/2D_virtual_human/sketch/2.jpg"]
    write(tmp_path / "annotations/validation_humanart.json", cocolike(names, keypoints=flat(17), keypoints_21=flat(21)))
    assert [picture.file for picture in humanart(tmp_path)] == [tmp_path / name.removeprefix("HumanArt/") for name in names]
    (picture,) = humanart(tmp_path, real_only=True)
    assert picture.people.keypoints.shape == (1, 21, 2)


def test_aic_turns_its_visibility_round(tmp_path):
    points = [number for i in range(14) for number in (i, i, 1 + i % 3)]
    row = {"image_id": "ab", "keypoint_annotations": {"human1": points}, "human_annotations": {"human1": [1, 2, 30, 40]}, "url": ""}
    folder = tmp_path / "ai_challenger_keypoint_validation_20170911"
    write(folder / "keypoint_validation_annotations_20170911.json", [row])
    (picture,) = aic(tmp_path, "val")
    assert picture.file == folder / "keypoint_validation_images_20170911/ab.jpg"
    assert picture.people.visible[0, :3].tolist() == [2, 1, 0] and picture.people.boxes.tolist() == [[1, 2, 30, 40]]
    assert np.isnan(picture.people.keypoints[0, 2]).all()


def test_aic_refuses_people_without_boxes(tmp_path):
    row = {"image_id": "ab", "keypoint_annotations": {"human1": [0] * 42}, "human_annotations": {}}
    write(tmp_path / "keypoint_validation_annotations_20170911.json", [row])
    with pytest.raises(FormatError, match="not of the same people"):
        list(aic(tmp_path, "val"))


def structs(*rows):
    """A MATLAB struct array; what a row lacks is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    array = np.empty((1, len(rows)), [(name, object) for name in names])
    for i, row in enumerate(rows):
        for name in names:
            array[0, i][name] = row.get(name, np.zeros((0, 0)))
    return array


def mpii_release(tmp_path, people):
    """Two pictures: the first for training, with `people`, the second for tests, with a place but no points."""
    place = structs({"scale": 1.0, "objpos": structs({"x": 10.0, "y": 20.0})})
    pictures = [{"image": structs({"name": f"{i + 1}.jpg"}), "annorect": rows} for i, rows in enumerate((people, place))]
    release = structs({"annolist": structs(*pictures), "img_train": np.array([[1, 0]])})
    scipy.io.savemat(tmp_path / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})


def mpii_person():
    points = [
        {"id": 0.0, "x": 5.0, "y": 6.0, "is_visible": 1},
        {"id": 9.0, "x": 8.0, "y": 9.0},
        {"id": 6.0, "x": 1.0, "y": 1.0, "is_visible": 0},
    ]
    head = {"x1": 3.0, "y1": 4.0, "x2": 7.0, "y2": 8.0}
    return head | {"annopoints": structs({"point": structs(*points)}), "scale": 0.5, "objpos": structs({"x": 101.0, "y": 51.0})}


def test_mpii_counts_pixels_from_zero(tmp_path):
    mpii_release(tmp_path, structs(mpii_person(), {"scale": 2.0, "objpos": structs({"x": 1.0, "y": 1.0})}))
    (picture,) = mpii(tmp_path)
    people = picture.people
    assert picture.file == tmp_path / "images/1.jpg" and len(people) == 1
    assert people.keypoints[0, 0].tolist() == [4, 5] and people.visible[0, [0, 9, 6, 1]].tolist() == [2, 2, 1, 0]
    assert people.heads.tolist() == [[2, 3, 6, 7]] and people.boxes.tolist() == [[50, 0, 150, 100]]


def test_mpii_with_one_person_and_test_pictures(tmp_path):
    mpii_release(tmp_path, structs(mpii_person()))
    assert [len(picture.people) for picture in mpii(tmp_path)] == [1]
    assert [len(picture.people) for picture in mpii(tmp_path, "test")] == [0]
    assert list(mpii(tmp_path, only={"other.jpg"})) == []


@pytest.mark.parametrize("damage", [lambda d: d[:200], lambda d: b"no matlab", lambda d: d[:300] + b"\xff" * 40 + d[340:]])
def test_mpii_damaged(tmp_path, damage):
    mpii_release(tmp_path, structs(mpii_person()))
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError):
        list(mpii(tmp_path))


def test_a_small_mat_file_that_unpacks_to_much_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "bomb.mat", {"a": np.zeros(4_000_000)}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 100_000
    with pytest.raises(FormatError, match="unpacks to more"):
        read_mat(tmp_path / "bomb.mat", "a", max_bytes=1 << 20)
    with pytest.raises(FormatError, match="no variable 'b'"):
        read_mat(tmp_path / "bomb.mat", "b")


@pytest.mark.parametrize("read,place", [(posetrack18, "annotations/val"), (posetrack21, "posetrack_data/val")])
def test_posetrack_film(tmp_path, read, place):
    document = cocolike(["images/val/000001_x/000000.jpg", "images/val/000001_x/000001.jpg"], keypoints=flat(17), track_id=4)
    document["annotations"][0]["bbox_head"] = [2, 3, 4, 4]
    document["annotations"].append({"id": 4, "image_id": 7, "keypoints": flat(17), "track_id": 5})
    for frame, image in enumerate(document["images"]):
        image |= {"frame_id": 10000010000 + frame, "vid_id": "000001", "is_labeled": frame == 0}
    write(tmp_path / place / "000001_x.json", document)
    (picture,) = read(tmp_path)
    assert picture.video == "000001" and picture.frame == 0 and picture.file == tmp_path / "images/val/000001_x/000000.jpg"
    assert picture.people.tracks.tolist() == [4, 5] and picture.people.boxes[1].tolist() == [0, 0, 16, 32]
    assert picture.people.heads[0].tolist() == [2, 3, 6, 7] and np.isnan(picture.people.heads[1]).all()


def test_posetrack17_annolist(tmp_path):
    point = {"id": [14], "x": [5.5], "y": [6.5], "is_visible": [0]}
    low = {"id": [0], "x": [7.0], "y": [30.0]}
    person = {"x1": [1], "y1": [2], "x2": [3], "y2": [4], "track_id": [2], "annopoints": [{"point": [point, low]}]}
    row = {"image": [{"name": "images/bonn/000001/00000008.jpg"}], "annorect": [person, {"track_id": [3], "annopoints": []}], "imgnum": [8]}
    empty = [{"image": [{"name": f"images/bonn/000001/0000000{i}.jpg"}], "is_labeled": [i - 7]} for i in (7, 9)]
    write(tmp_path / "annotations/val/000001.json", {"annolist": [row, *empty]})
    write(tmp_path / "annotations/val/000002.json", {"annolist": [row]})
    first, second, third = posetrack17(tmp_path)
    assert len({first.id, second.id, third.id}) == 3 and second.frame == 9
    assert first.frame == 8 and first.people.tracks.tolist() == [2] and len(second.people) == 0
    assert first.people.visible[0, [14, 0]].tolist() == [1, 2] and first.people.boxes.tolist() == [[5.5, 6.5, 7, 30]]


@pytest.mark.parametrize(
    "row", [{}, {"image": []}, {"image": [{"name": 3}]}, {"image": [{"name": "a"}], "annorect": [{"annopoints": [3]}]}, 5]
)
def test_posetrack17_damaged(tmp_path, row):
    write(tmp_path / "annotations/val/000001.json", {"annolist": [row]})
    with pytest.raises(FormatError):
        list(posetrack17(tmp_path))


@pytest.mark.parametrize("ending", ["_test_split1.txt", "_test_split_1.txt"])
def test_jhmdb_film(tmp_path, ending):
    positions = np.full((2, 15, 3), 11.0)
    positions[:, 3, 1] = 400
    (tmp_path / "joint_positions/jump/film_a").mkdir(parents=True)
    scipy.io.savemat(tmp_path / "joint_positions/jump/film_a/joint_positions.mat", {"pos_img": positions, "scale": np.ones(3)})
    (tmp_path / "sub_splits").mkdir()
    (tmp_path / f"sub_splits/jump{ending}").write_text("film_a.avi 2 \nfilm_b.avi 1\n")
    pictures = list(jhmdb(tmp_path))
    assert [picture.file.name for picture in pictures] == ["00001.png", "00002.png", "00003.png"]
    assert pictures[0].file.parent == tmp_path / "Rename_Images/jump/film_a" and pictures[0].video == "jump/film_a"
    assert pictures[0].people.keypoints[0, 0].tolist() == [10, 10]
    assert pictures[1].people.visible[0].tolist() == [2, 2, 2, 0] + [2] * 11


SETS = [coco, coco_wholebody, ubody, halpe, crowdpose, mpii, aic, humanart, posetrack17, posetrack18, posetrack21, jhmdb, h3wb]


def test_every_reader_has_a_name():
    assert set(READERS.values()) == set(SETS) and held_out("crowdpose") == "test" and held_out("coco") == "val"
    with pytest.raises(VitruvianError, match="no split 'x'"):
        read_dataset("aic", "nowhere", "x")


@pytest.mark.parametrize("read", SETS, ids=lambda read: read.__name__)
def test_a_missing_folder_is_one_line_with_the_layout(tmp_path, read):
    with pytest.raises(FormatError, match="expected there: ") as error:
        read(tmp_path / "nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        {"keypoints": [1, 2]},
        {"keypoints": ["x"] * 51},
        {"bbox": [1, 2, 3]},
        {"bbox": "box"},
        {"image_id": 99},
        {"id": 1e30},
        {"area": None},
        {"track_id": 1 << 40},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_damaged_annotations_are_format_errors(tmp_path, damage):
    document = cocolike(["a.jpg"], keypoints=flat(17))
    document["annotations"][0] |= damage
    write(tmp_path / "annotations/person_keypoints_val2017.json", document)
    with pytest.raises(FormatError):
        list(coco(tmp_path))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b", "..\\b", "C:/a", ""])
def test_names_must_stay_in_the_folder(tmp_path, name):
    with pytest.raises(FormatError, match="does not stay below"):
        below(tmp_path, name)


@pytest.mark.shared
def test_the_sample_of_coco_wholebody():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "shared/data/images/coco"
    if not folder.is_dir():
        pytest.skip("no ../shared/data")
    pictures = list(coco_wholebody(folder))
    assert sum(len(picture.people) for picture in pictures) == 14 and all(picture.file.is_file() for picture in pictures)
