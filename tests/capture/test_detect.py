"""Detection without keypoints: the table, its files, and what is drawn."""

import csv
import json

import numpy as np
import pytest

from scenes import boxes_at, film, picture, walk

nets = pytest.importorskip("nets", reason="needs onnx")
import owner_nets  # noqa: E402
from vitruvian.capture import detect as module  # noqa: E402
from vitruvian.capture.detect import detect, hands_near, heads_of  # noqa: E402
from vitruvian.capture.objects import Objects  # noqa: E402
from vitruvian.errors import MediaError, VitruvianError  # noqa: E402
from vitruvian.formats.objects import CSV_COLUMNS  # noqa: E402
from vitruvian.media import open_video, read_image, write_image  # noqa: E402

IMAGE = picture(owner_nets.BODIES)


@pytest.fixture
def two(tmp_path):
    write_image(tmp_path / "two.png", IMAGE)
    return tmp_path / "two.png"


def test_owners_are_those_of_the_network(two, tmp_path):
    objects = detect(two, detector=owner_nets.heads(tmp_path))
    assert objects.labels.tolist() == [0, 0, 1, 1, 1] and objects.owner.tolist() == [0, 1, 0, 1, -1] and objects.knows_owners
    np.testing.assert_allclose(objects.boxes[2:], owner_nets.HEADS)
    assert objects.names == ("two.png",) and objects.sizes.tolist() == [[320, 240]] and objects.network == "heads"


def test_without_owners_parts_are_joined_by_boxes(two, tmp_path):
    objects = detect(two, detector=nets.detector(tmp_path, also="face"))
    people, faces = np.flatnonzero(objects.is_a("person")), np.flatnonzero(objects.is_a("face"))
    assert len(people) == len(faces) == 2 and not objects.knows_owners
    assert objects.owner[people].tolist() == people.tolist() and sorted(objects.owner[faces]) == people.tolist()


def test_the_json_says_the_same(two, tmp_path):
    objects = detect(two, tmp_path / "out", detector=owner_nets.heads(tmp_path))
    document = json.loads((tmp_path / "out/objects.json").read_text())
    assert document["info"]["owners"] == "network" and [c["name"] for c in document["categories"]] == ["person", "head"]
    assert document["images"] == [{"id": 0, "file_name": "two.png", "time": 0.0, "width": 320, "height": 240}]
    rows = document["annotations"]
    assert [row["owner"] for row in rows] == [1, 2, 1, 2, None] and [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[2]["bbox"] == [69, 25, 6, 6] and rows[2]["category_id"] == 2 and "heading_rad" not in rows[0]
    assert [row["score"] for row in rows] == [round(float(score), 4) for score in objects.scores]


def test_the_table_says_the_same(two, tmp_path):
    detect(two, tmp_path / "out", detector=owner_nets.facing(tmp_path))
    with (tmp_path / "out/objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS and [row["facing"] for row in rows] == ["front", "left"]
    assert [row["heading_rad"] for row in rows] == ["3.1416", "1.5708"] and [row["owner"] for row in rows] == ["1", "2"]


def test_contact_states_are_in_both_files(two, tmp_path):
    detect(two, tmp_path / "out", detector=owner_nets.contact_hands(tmp_path))
    with (tmp_path / "out/objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["contact_object"] for row in rows] == ["", "", "0.9000"]
    hand = json.loads((tmp_path / "out/objects.json").read_text())["annotations"][2]
    assert hand["contacts"] == {"none": 0.1, "self": 0.1, "other person": 0.1, "object": 0.9}


def test_instruments_have_outlines_around_their_parts(two, tmp_path):
    objects = detect(two, tmp_path / "out", detector=owner_nets.instruments(tmp_path))
    assert objects.owner.tolist() == [0, 1, 0, 0, 1, -1] and objects.wholes.tolist() == [True, True, False, False, False, False]
    rows = json.loads((tmp_path / "out/objects.json").read_text())["annotations"]
    assert ["segmentation" in row for row in rows] == objects.wholes.tolist()
    outline = np.reshape(rows[0]["segmentation"][0], (-1, 2))
    assert outline.min(0).tolist() == [40, 40] and outline.max(0).tolist() == [180, 60] and [180, 60] not in outline.tolist()
    assert objects.outline(2) is None
    with pytest.raises(VitruvianError, match="no heads to count"):
        heads_of(objects)


def test_the_rule_of_association_reaches_the_detector(two, tmp_path):
    path = owner_nets.greedy(tmp_path)
    assert detect(two, detector=path).owner.tolist() == [0, 1, 0, 1]
    assert detect(two, detector=path, association="published").owner.tolist() == [0, 1, 0, -1]


def test_a_video_has_its_times_and_an_overlay_of_them(tmp_path):
    times = np.array([0, 1, 2, 4, 7, 8]) / 30
    walk(tmp_path / "walk.mp4", times)
    seen = []
    objects = detect(tmp_path / "walk.mp4", tmp_path / "out", detector=nets.detector(tmp_path), on_progress=seen.append)
    np.testing.assert_allclose(objects.times, times, atol=1e-4)
    assert [len(objects.in_frame(i)) for i in range(6)] == [2] * 6 and [one.frames for one in seen] == [1, 2, 3, 4, 5, 6]
    with open_video(tmp_path / "out/overlay.mp4") as video:
        np.testing.assert_allclose([frame.time for frame in video], times, atol=1e-4)


def test_the_overlay_shows_owners_and_headings(two, tmp_path):
    plain = read_image(two).astype(int)
    drawn = {}
    for name in ("heads", "facing"):
        detect(two, tmp_path / name, detector=getattr(owner_nets, name)(tmp_path))
        drawn[name] = np.abs(read_image(tmp_path / name / "overlay.png") - plain).max(-1) > 40
    for box in owner_nets.BODIES.astype(int):
        assert drawn["heads"][box[3], box[0] + 5 : box[2] - 5].mean() > 0.9  # its lower edge
    assert drawn["heads"][44, 55:62].any()  # on the line from the left person's head to their middle
    assert drawn["facing"][66:70, 47:53].any() and not drawn["heads"][66:70, 47:53].any()  # towards the camera: down
    assert not drawn["heads"][120:180].any()


def test_a_folder_gives_a_picture_each_and_nobody_is_no_error(tmp_path):
    (tmp_path / "shots").mkdir()
    for name, boxes in (("a.png", boxes_at(0)), ("b.png", boxes_at(0)[:0])):
        write_image(tmp_path / "shots" / name, picture(boxes))
    for source in (tmp_path / "shots", str(tmp_path / "shots/*.png"), [tmp_path / "shots/a.png", tmp_path / "shots/b.png"]):
        objects = detect(source, tmp_path / "out", detector=nets.detector(tmp_path))
        assert objects.names == ("a.png", "b.png") and objects.frame.tolist() == [0, 0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["objects.csv", "objects.json", "overlay"]
    assert len(list((tmp_path / "out/overlay").iterdir())) == 2


def test_nobody_at_all(two, tmp_path):
    objects = detect(two, tmp_path / "out", detector=owner_nets.nobody(tmp_path))
    assert len(objects) == 0 and json.loads((tmp_path / "out/objects.json").read_text())["annotations"] == []
    assert heads_of(objects).heads.tolist() == [0]


def test_no_pictures(tmp_path):
    objects = detect([], detector=owner_nets.heads(tmp_path))
    assert len(objects) == 0 and objects.times.shape == (0,) and objects.contacts.shape == (0, 0)


def test_a_source_that_cannot_be_read_leaves_no_folder(tmp_path):
    with pytest.raises(MediaError):
        detect(tmp_path / "missing.mp4", tmp_path / "out", detector=owner_nets.heads(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(MediaError):
        detect(tmp_path / "broken.png", tmp_path / "out", detector=owner_nets.heads(tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"threshold": 0}, {"threshold": float("nan")}, {"formats": "json"}, {"formats": ["xml"]}])
def test_senseless_options_are_refused(two, tmp_path, options):
    with pytest.raises(VitruvianError):
        detect(two, detector=owner_nets.heads(tmp_path), **options)


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    film(tmp_path / "still.mp4", np.arange(9) / 30, [IMAGE] * 9)

    def stop(now):
        if now.frames == 5:
            raise KeyboardInterrupt

    objects = detect(tmp_path / "still.mp4", tmp_path / "out", detector=owner_nets.heads(tmp_path), on_progress=stop)
    assert not objects.complete and len(objects.times) == 5
    assert json.loads((tmp_path / "out/objects.json").read_text())["info"]["complete"] is False
    with open_video(tmp_path / "out/overlay.mp4") as video:
        assert len(list(video)) == 5


def test_an_error_half_way_leaves_no_half_overlay(tmp_path, monkeypatch):
    film(tmp_path / "still.mp4", np.arange(9) / 30, [IMAGE] * 9)

    def fail(*_):
        raise VitruvianError("no more")

    monkeypatch.setattr(module, "objects_of", fail)
    with pytest.raises(VitruvianError, match="no more"):
        detect(tmp_path / "still.mp4", tmp_path / "out", detector=owner_nets.heads(tmp_path))
    assert not (tmp_path / "out").exists()


def table(labels, boxes, owner, classes=("person", "head", "left hand", "right_hand")):
    n = len(labels)
    return Objects(
        classes, np.zeros(n, int), np.array(labels, int), np.array(boxes, float).reshape(-1, 4), np.ones(n), np.array(owner, int),
        np.full(n, np.nan), np.zeros((n, 0)), np.zeros(1), np.array([[320, 240]]), ("a.png",),
    )  # fmt: skip


def test_heads_are_counted_with_and_without_a_body():
    counts = heads_of(table([0, 1, 1], [[0, 0, 9, 9]] * 3, [0, 0, -1]))
    assert (counts.heads.tolist(), counts.with_body.tolist(), counts.people.tolist()) == ([2], [1], [1])
    with pytest.raises(VitruvianError, match="no heads"):
        heads_of(table([], [], [], ("person", "hand")))


def test_hands_near_something():
    boxes = [[0, 0, 100, 200], [40, 0, 60, 20], [58, 18, 68, 28], [150, 0, 250, 200], [160, 60, 170, 70], [5, 190, 15, 200]]
    found = hands_near(table([0, 1, 2, 0, 3, 2], boxes, [0, 0, 0, 3, 0, -1]))
    pairs = list(zip(found.hand.tolist(), found.touched.tolist(), found.own.tolist(), strict=True))
    assert pairs == [(2, 1, True), (4, 3, False)]  # at the own head; within another person; a hand that is nobody's is not asked
    with pytest.raises(VitruvianError, match="no hands"):
        hands_near(table([], [], [], ("person", "head")))


@pytest.mark.parametrize(
    "change", [{"owner": np.array([5])}, {"labels": np.array([9])}, {"times": np.zeros(0)}, {"boxes": np.zeros((2, 4))}]
)
def test_a_table_that_does_not_hold_together_is_refused(change):
    good = vars(table([0], [[0, 0, 1, 1]], [0]))
    with pytest.raises(VitruvianError):
        Objects(**good | change)
