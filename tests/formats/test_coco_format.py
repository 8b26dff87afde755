"""COCO-style files: what a capture writes is valid, complete, and reads back; foreign files are checked."""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitruvian.errors import FormatError
from vitruvian.formats.coco import CocoWriter, read_coco, read_wholebody_annotations, write_coco
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, SKELETONS, Skeleton
from vitruvian.take import People, Take


def random_take(seed: int = 0, frames: int = 3, skeleton: Skeleton = COCO_WHOLEBODY_133, pictures: bool = False) -> Take:
    """0 to 2 persons in every frame, some of their points missing."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(frames), rng.integers(0, 3, frames))
    n, k = len(frame), len(skeleton)
    confidence = rng.uniform(0.01, 1, (n, k))
    confidence[rng.uniform(size=(n, k)) < 0.2] = 0
    corner = rng.uniform(-20, 600, (n, 2))
    people = People(
        frame=frame,
        track=rng.integers(-1, 9, n),
        boxes=np.concatenate([corner, corner + rng.uniform(1, 300, (n, 2))], axis=1),
        scores=rng.uniform(size=n),
        keypoints=np.where(confidence[..., None] > 0, rng.uniform(-50, 2000, (n, k, 2)), np.nan),
        confidence=confidence,
    )
    names = tuple(f"picture{i}.jpg" for i in range(frames)) if pictures else ("walk.mp4",) if frames else ()
    times = np.cumsum(rng.uniform(0.01, 0.1, frames))
    sizes = rng.integers(1, 4000, (frames, 2))
    return Take(people, skeleton, times, sizes, names, source="walk.mp4", cards=("a", "b"), version="0.0.1", complete=bool(seed % 2))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), frames=st.integers(0, 4), pictures=st.booleans(), skeleton=st.sampled_from(list(SKELETONS.values())))
def test_reads_back_what_was_written(seed: int, frames: int, pictures: bool, skeleton: Skeleton, tmp_path: Path):
    take = random_take(seed, frames, skeleton, pictures)
    write_coco(take, tmp_path / "keypoints.json")
    back = read_coco(tmp_path / "keypoints.json")
    assert os.listdir(tmp_path) == ["keypoints.json"]
    assert (back.skeleton, back.names, back.complete) == (take.skeleton, take.names, take.complete)
    assert (back.source, back.cards, back.version) == (take.source, take.cards, take.version)
    np.testing.assert_array_equal(back.times, take.times)
    np.testing.assert_array_equal(back.sizes, take.sizes)
    np.testing.assert_array_equal(back.people.frame, take.people.frame)
    np.testing.assert_array_equal(back.people.track, take.people.track)
    np.testing.assert_allclose(back.boxes, take.boxes, atol=2e-3)
    np.testing.assert_allclose(back.keypoints, take.keypoints, atol=1e-3)
    np.testing.assert_allclose(back.confidence, take.confidence, atol=1e-4)


def test_layout_is_cocos(tmp_path: Path):
    take = random_take(5, 4)
    take.export(tmp_path / "out" / "keypoints.json")
    document = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert set(document) == {"images", "annotations", "categories", "info"}
    (category,) = document["categories"]
    assert (category["id"], category["name"], category["keypoints"]) == (1, "person", list(COCO_WHOLEBODY_133.names))
    assert category["skeleton"][0] == [16, 14]  # counted from 1
    assert [image["time"] for image in document["images"]] == take.times.tolist()
    assert [image["width"] for image in document["images"]] == take.sizes[:, 0].tolist()
    ids = [annotation["id"] for annotation in document["annotations"]]
    assert ids == list(range(1, len(take.people) + 1))
    for i, annotation in enumerate(document["annotations"]):
        points = np.array(annotation["keypoints"]).reshape(133, 3)
        missing = take.confidence[i] == 0
        assert (points[missing] == 0).all() and (points[~missing, 2] > 0).all()
        assert annotation["num_keypoints"] == (~missing).sum()
        assert annotation["bbox"][2:] == pytest.approx((take.boxes[i, 2:] - take.boxes[i, :2]).tolist(), abs=2e-3)
        assert annotation["area"] == pytest.approx(np.prod(annotation["bbox"][2:]), rel=1e-3)
        assert (annotation["track_id"], annotation["category_id"]) == (take.people.track[i], 1)
        assert annotation["score"] == pytest.approx(take.people.scores[i], abs=1e-4)


def test_official_tools_load_it_and_score_it_perfect(tmp_path: Path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    write_coco(random_take(7, 6, COCO_17), tmp_path / "keypoints.json")
    truth = COCO(str(tmp_path / "keypoints.json"))
    found = truth.loadRes([annotation for annotation in truth.dataset["annotations"]])
    evaluation = COCOeval(truth, found, "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_nan_and_invisible_points_are_zeros(tmp_path: Path):
    keypoints = np.full((1, 17, 2), 5.0)
    keypoints[0, 0] = np.nan
    confidence = np.ones((1, 17))
    confidence[0, 1], confidence[0, 2], confidence[0, 3] = 0, np.nan, 1e-6
    people = People([0], [-1], [[0, 0, 1, 1]], [np.nan], keypoints, confidence)
    write_coco(Take(people, COCO_17, [0.0], [[9, 9]]), tmp_path / "k.json")
    (annotation,) = json.loads((tmp_path / "k.json").read_text())["annotations"]
    assert annotation["keypoints"][:15] == [0.0] * 12 + [5.0, 5.0, 1.0]
    assert annotation["num_keypoints"] == 13 and annotation["score"] == 0


def test_streams_frames_to_disk_and_appears_on_close_only(tmp_path: Path):
    take = random_take(3, 1)
    path = tmp_path / "k.json"
    writer = CocoWriter(path, COCO_WHOLEBODY_133)
    for i in range(300):
        writer.append(take.people, time=i / 30, size=(640, 480), name="walk.mp4")
    assert not path.exists()
    on_disk = sum(file.stat().st_size for file in tmp_path.iterdir())
    writer.close(complete=False)
    assert on_disk > 0.8 * path.stat().st_size  # held on disk, not in memory
    assert os.listdir(tmp_path) == ["k.json"]
    back = read_coco(path)
    assert len(back.times) == 300 and len(back.people) == 300 * len(take.people) and not back.complete
    writer.close()
    with pytest.raises(FormatError, match="closed"):
        writer.append(take.people, time=0, size=(1, 1))


def test_no_frames_is_a_valid_file(tmp_path: Path):
    with CocoWriter(tmp_path / "k.json", COCO_17):
        pass
    back = read_coco(tmp_path / "k.json")
    assert len(back.times) == 0 and len(back.people) == 0 and back.complete


def test_an_error_leaves_nothing_new_and_the_old_file(tmp_path: Path):
    path = tmp_path / "k.json"
    write_coco(random_take(1), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), CocoWriter(path, COCO_17) as writer:
        writer.append(People.empty(17), time=0, size=(1, 1))
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == ["k.json"] and path.read_bytes() == before


def test_unfit_frames_are_refused(tmp_path: Path):
    with CocoWriter(tmp_path / "k.json", COCO_17) as writer:
        with pytest.raises(FormatError, match="convert"):
            writer.append(People.empty(133), time=0, size=(1, 1))
        with pytest.raises(FormatError, match="time"):
            writer.append(People.empty(17), time=float("nan"), size=(1, 1))
    assert len(read_coco(tmp_path / "k.json").times) == 0


def test_unwritable_place_is_a_format_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="can't write"):
        write_coco(random_take(), tmp_path / "file" / "k.json")


def small_document() -> dict:
    """COCO's own layout, as its annotation files have it: no time, no score, no track."""
    return {
        "images": [{"id": 42, "file_name": "a.jpg", "width": 640, "height": 480}],
        "annotations": [{"id": 1, "image_id": 42, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [5, 6, 2] + [0, 0, 0] * 16}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.names), "skeleton": []}],
    }


def test_reads_cocos_own_annotations(tmp_path: Path):
    (tmp_path / "k.json").write_text(json.dumps(small_document()))
    take = read_coco(tmp_path / "k.json")
    assert take.names == ("a.jpg",) and take.sizes.tolist() == [[640, 480]] and take.times.tolist() == [0]
    assert take.boxes.tolist() == [[1, 2, 4, 6]] and take.people.track.tolist() == [-1] and take.people.scores.tolist() == [1]
    assert take.keypoints[0, 0].tolist() == [5, 6] and take.confidence[0, 0] == 1 and np.isnan(take.keypoints[0, 1:]).all()


def changed(where: tuple, value: object) -> str:
    document = small_document()
    target = document
    for key in where[:-1]:
        target = target[key]
    target[where[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        "[" * 200_000,
        changed(("images",), {}),
        changed(("annotations",), [3]),
        changed(("categories",), []),
        changed(("categories", 0, "keypoints"), ["nose"]),
        changed(("annotations", 0, "image_id"), 7),
        changed(("annotations", 0, "image_id"), None),
        changed(("annotations", 0, "image_id"), []),
        changed(("annotations", 0, "keypoints"), [1, 2, 3]),
        changed(("annotations", 0, "keypoints"), ["1"] * 51),
        changed(("annotations", 0, "keypoints"), [float("nan")] * 51),
        changed(("annotations", 0, "keypoints"), None),
        changed(("annotations", 0, "bbox"), [1, 2, 3]),
        changed(("annotations", 0, "bbox"), [1, 2, 3, 10**400]),
        changed(("annotations", 0, "track_id"), 2**40),
        changed(("annotations", 0, "score"), "high"),
        changed(("images", 0, "width"), -1),
        changed(("images", 0, "width"), 2**40),
        changed(("images", 0, "time"), "now"),
        changed(("images", 0, "id"), {}),
        changed(("images", 0, "time"), 0).replace('"time": 0', '"time": 1e999'),
    ],
)
def test_foreign_files_are_checked(text: str, tmp_path: Path):
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(FormatError):
        read_coco(tmp_path / "k.json")


def test_any_value_in_any_place_is_a_take_or_a_format_error(tmp_path: Path):
    document = small_document() | {"info": {"source": "a", "version": "1", "cards": [], "complete": True}}
    document["images"][0] |= {"time": 0}
    document["annotations"][0] |= {"score": 1, "track_id": 1}

    def places(node: object, path: tuple = ()) -> list[tuple]:
        inner = node.items() if isinstance(node, dict) else list(enumerate(node))[:4] if isinstance(node, list) else ()
        return [path, *(place for key, value in inner for place in places(value, (*path, key)))]

    for place in places(document)[1:]:
        for odd in (None, 3, -1, 0.5, 1e200, 10**400, True, "x", [], [[]], {}, [3]):
            strange = copy.deepcopy(document)
            target = strange
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = odd
            (tmp_path / "k.json").write_text(json.dumps(strange))
            with suppress(FormatError):
                assert len(read_coco(tmp_path / "k.json").skeleton) == 17, (place, odd)


def test_missing_and_oversized_files_are_refused(tmp_path: Path):
    with pytest.raises(FormatError, match="check the path"):
        read_coco(tmp_path / "none.json")
    (tmp_path / "k.json").write_text(json.dumps(small_document()))
    with pytest.raises(FormatError, match="max_bytes"):
        read_coco(tmp_path / "k.json", max_bytes=100)


def wholebody_document() -> dict:
    def points(count: int, first: int) -> list[float]:
        return [value for i in range(count) for value in (first + i, 2 * (first + i), 1.0)]

    annotation = {"id": 900100581139, "image_id": 785, "iscrowd": 0, "area": 27.5, "bbox": [10, 20, 30, 40], "category_id": 1}
    annotation |= {"keypoints": points(17, 0), "foot_kpts": points(6, 17), "face_kpts": points(68, 23)}
    annotation |= {"lefthand_kpts": points(21, 91), "righthand_kpts": [0] * 63}
    annotation |= {"foot_valid": True, "face_valid": True, "lefthand_valid": True, "righthand_valid": False}
    return {"images": [{"id": 785, "file_name": "000785.jpg", "width": 64, "height": 48}], "annotations": [annotation], "categories": []}


def test_reads_wholebody_annotations_in_their_order(tmp_path: Path):
    (tmp_path / "w.json").write_text(json.dumps(wholebody_document()))
    got = read_wholebody_annotations(tmp_path / "w.json")
    assert len(got) == 1 and got.files == ("000785.jpg",) and got.sizes.tolist() == [[64, 48]]
    assert (got.ids[0], got.image_ids[0], got.areas[0]) == (900100581139, 785, 27.5)
    assert got.boxes.tolist() == [[10, 20, 40, 60]]
    assert got.keypoints[0, :112, 0].tolist() == list(range(112)) and (got.keypoints[0, 112:] == 0).all()
    assert {part: flags.tolist() for part, flags in got.valid.items()} == {
        **{part: [True] for part in ("body", "foot", "face", "left_hand")},
        "right_hand": [False],
    }


def test_wholebody_file_without_people_and_without_parts(tmp_path: Path):
    document = wholebody_document()
    (tmp_path / "w.json").write_text(json.dumps(document | {"annotations": []}))
    got = read_wholebody_annotations(tmp_path / "w.json")
    assert len(got) == 0 and got.keypoints.shape == (0, 133, 3) and got.boxes.shape == (0, 4)
    del document["annotations"][0]["face_kpts"]
    (tmp_path / "w.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="face_kpts"):
        read_wholebody_annotations(tmp_path / "w.json")


@pytest.mark.shared
def test_reads_published_wholebody_annotations():
    path = Path(__file__).parents[3] / "shared" / "data" / "images" / "coco" / "wholebody.json"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    got = read_wholebody_annotations(path)
    assert len(got) == 14 and len(set(got.files)) == 4
    usable = got.keypoints[..., 2] > 0
    assert usable[:, :17].any(axis=1).sum() > 5
    points, boxes = got.keypoints[..., :2], got.boxes[:, None]
    inside = (points >= boxes[..., :2] - 20).all(-1) & (points <= boxes[..., 2:] + 20).all(-1)
    assert inside[usable].mean() > 0.95
    assert (got.areas > 0).all() and (got.valid["left_hand"] <= usable[:, 91:112].any(axis=1)).all()
