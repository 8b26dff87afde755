"""Readers of data sets of people with parts or headings, on small files in the official layouts, and on hostile ones."""

import json

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitruvian.data.bodyface import bodyface
from vitruvian.data.bodyhands import bodyhands
from vitruvian.data.citypersons import citypersons
from vitruvian.data.cocohumanparts import cocohumanparts
from vitruvian.data.contacthands import contacthands
from vitruvian.data.crowdhuman import crowdhuman
from vitruvian.data.mebow import mebow, write_weak
from vitruvian.data.parts import box_of, pairs_of
from vitruvian.errors import FormatError


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def cocolike(*annotations, names=("a.jpg", "b.jpg"), **more):
    images = [{"id": 7 + i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    rows = [{"id": i + 1, "image_id": 7, "category_id": 1, "iscrowd": 0} | one for i, one in enumerate(annotations)]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]} | more


def person(**more):
    return {"tag": "person", "fbox": [10, 10, 20, 40], "vbox": [10, 10, 20, 20], "hbox": [15, 10, 8, 8], "head_attr": {"ignore": 0}} | more


def lines(*people):
    return json.dumps({"ID": "1,a", "gtboxes": list(people)}) + "\n\n" + json.dumps({"ID": "2,b", "gtboxes": []}) + "\n"


def test_crowdhuman(tmp_path):
    unsure = person(head_attr={"ignore": 1})
    write(tmp_path / "annotation_val.odgt", lines(person(), unsure, person(tag="mask"), person(extra={"ignore": 1})))
    first, second = crowdhuman(tmp_path)
    assert first.file == tmp_path / "Images/1,a.jpg" and len(second.bodies) == 0
    assert first.bodies[0].tolist() == [10, 10, 30, 50] and first.visible[0] == 0.5
    assert first.ignore.tolist() == [False, False, True, True]
    assert first.owners.tolist() == [0, 3] and first.parts[0].tolist() == [15, 10, 23, 18] and (first.labels == 1).all()


@pytest.mark.parametrize(
    "text",
    [
        "no json\n", "[]\n", '{"ID": "../../x", "gtboxes": []}\n', '{"ID": 3, "gtboxes": []}\n', '{"ID": "a", "gtboxes": [3]}\n',
        '{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3]}]}\n', '{"ID": "a", "gtboxes": [{"fbox": [1, 2, 1e9, 4]}]}\n',
        '{"ID": "a", "gtboxes": [{"fbox": [1, 2, NaN, 4]}]}\n', "[" * 100_000 + "\n", '"' + "x" * (1 << 22) + '"\n',
    ],
)  # fmt: skip
def test_hostile_lines_of_crowdhuman(tmp_path, text):
    write(tmp_path / "annotation_val.odgt", text)
    with pytest.raises(FormatError):
        list(crowdhuman(tmp_path))


def mat(path, *pictures, variable="anno_val_aligned"):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(pictures)), object)
    for i, (name, rows) in enumerate(pictures):
        cells[0, i] = {"cityname": "ulm", "im_name": name, "bbs": np.array(rows, float).reshape(-1, 10)}
    scipy.io.savemat(path, {variable: cells})


def test_citypersons(tmp_path):
    rows = [[1, 5, 6, 20, 40, 1, 5, 6, 20, 20], [5, 0, 0, 9, 9, 2, 0, 0, 9, 9], [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]]
    mat(tmp_path / "annotations/anno_val.mat", ("x.png", rows), ("y.png", []))
    first, second = citypersons(tmp_path)
    assert first.file == tmp_path / "leftImg8bit/val/ulm/x.png" and first.size == (2048, 1024) and len(second.bodies) == 0
    assert first.bodies.tolist() == [[5, 6, 25, 46], [0, 0, 9, 9]] and first.ignore.tolist() == [False, True]
    assert first.visible.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    "name, rows", [("../../x.png", [[1] * 10]), ("x.png", [[1, np.nan, 0, 1, 1, 0, 0, 0, 1, 1]]), ("x.png", [[1e9] * 10])]
)
def test_hostile_files_of_citypersons(tmp_path, name, rows):
    mat(tmp_path / "annotations/anno_val.mat", (name, rows))
    with pytest.raises(FormatError):
        list(citypersons(tmp_path))


def test_a_matlab_file_of_something_else(tmp_path):
    (tmp_path / "annotations").mkdir()
    scipy.io.savemat(tmp_path / "annotations/anno_val.mat", {"anno_val_aligned": np.arange(4)})
    with pytest.raises(FormatError):
        list(citypersons(tmp_path))
    mat(tmp_path / "annotations/anno_train.mat", variable="other")
    with pytest.raises(FormatError, match="anno_train_aligned"):
        list(citypersons(tmp_path, "train"))


def test_heads_and_faces(tmp_path):
    rows = [{"bbox": [1, 2, 10, 20], "h_bbox": [3, 2, 4, 4], "f_bbox": [0, 0, 0, 0], "vis_ratio": 0.4}, {"bbox": [9, 9, 5, 5], "ignore": 1}]
    write(tmp_path / "annotations/instances_val_full_bhf.json", cocolike(*rows))
    head, empty = bodyface(tmp_path, part="head")
    assert head.parts.tolist() == [[3, 2, 7, 6]] and head.owners.tolist() == [0] and head.ignore.tolist() == [False, True]
    assert head.visible.tolist() == pytest.approx([0.4, 1]) and len(empty.bodies) == 0 and head.size == (64, 48)
    assert all(len(picture.parts) == 0 for picture in bodyface(tmp_path, part="face"))


def test_cocohumanparts(tmp_path):
    hier = [[5, 5, 9, 9, 1], [0, 0, 0, 0, 0], [1, 1, 3, 3, 1], [2, 2, 1, 4, 1], [0] * 5, [7, 40, 9, 44, 2]]
    write(
        tmp_path / "annotations/person_humanparts_val2017.json",
        cocolike({"bbox": [1, 2, 10, 20], "hier": sum(hier, [])}, {"bbox": [2, 2, 9, 9]}),
    )
    dataset = cocohumanparts(tmp_path)
    first, _ = dataset
    assert [dataset.classes[label] for label in first.labels] == ["head", "left hand", "right foot"]
    assert first.parts[2].tolist() == [7, 40, 9, 44] and first.owners.tolist() == [0, 0, 0] and len(first.bodies) == 2
    assert first.file == tmp_path / "val2017/a.jpg"


def bodyhands_file(**more):
    hand = {"category_id": 1, "bbox": [5, 5, 4, 4], "body_id": 3}
    nobodys = {"category_id": 1, "bbox": [50, 5, 4, 4]}
    body = {"category_id": 2, "bbox": [1, 1, 20, 40], "body_id": 3}
    return cocolike(hand, body, nobodys, categories=[{"id": 1, "name": "hand"}, {"id": 2, "name": "body"}], **more)


def test_bodyhands(tmp_path):
    write(tmp_path / "annotations/test.json", bodyhands_file())
    first, _ = bodyhands(tmp_path)
    assert first.bodies.tolist() == [[1, 1, 21, 41]] and first.owners.tolist() == [0, -1] and first.file == tmp_path / "images/a.jpg"
    write(tmp_path / "annotations/train.json", cocolike())
    with pytest.raises(FormatError, match="not hand and body"):
        list(bodyhands(tmp_path, "train"))


def contact_files(folder, *objects):
    write(folder / "ImageSets/Main/test.txt", "a\n\n")
    write(folder / "Annotations/a.xml", f"<annotation>{''.join(objects)}</annotation>")


HAND = "<object><name>hand</name>{}<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"


def test_contacthands(tmp_path):
    state = "<contact_state>0, 1,2,0</contact_state>"
    contact_files(tmp_path, HAND.format(state, 15), HAND.format("", 25), HAND.format("", 15).replace("hand", "cup"))
    (picture,) = contacthands(tmp_path)
    assert picture.parts.tolist() == [[5, 6, 15, 9], [5, 6, 25, 9]] and picture.owners.tolist() == [-1, -1] and len(picture.bodies) == 0
    np.testing.assert_array_equal(picture.contacts, [[0, 1, np.nan, 0], [np.nan] * 4])
    assert picture.file == tmp_path / "JPEGImages/a.jpg"


@pytest.mark.parametrize(
    "text",
    [
        "<annotation>", "no xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>",
        f"<a>{HAND.format('', 'nan')}</a>", f"<a>{HAND.format('', '')}</a>", f"<a>{HAND.format('', '1e9')}</a>",
        f"<a>{HAND.format('<contact_state>0,1</contact_state>', 9)}</a>",
        f"<a>{HAND.format('<contact_state>0,1,3,0</contact_state>', 9)}</a>", "<annotation><object><name>hand</name></object></annotation>",
    ],
)  # fmt: skip
def test_hostile_files_of_contacthands(tmp_path, text):
    contact_files(tmp_path)
    write(tmp_path / "Annotations/a.xml", text)
    with pytest.raises(FormatError):
        list(contacthands(tmp_path))


@pytest.mark.parametrize("name", ["../../etc/passwd", "missing"])
def test_names_that_contacthands_lists(tmp_path, name):
    contact_files(tmp_path)
    write(tmp_path / "ImageSets/Main/test.txt", name)
    with pytest.raises(FormatError):
        list(contacthands(tmp_path))


def mebow_files(folder, labels, weak=None):
    write(folder / "annotations/person_keypoints_val2017.json", cocolike(*[{"bbox": [i, 2, 10, 20]} for i in range(3)]))
    write(folder / "annotations/val_hoe.json", labels)
    if weak is not None:
        write(folder / "annotations/val_hoe_weak.json", weak)


def test_mebow_reads_pictures_with_a_label_and_fills_in_weak_ones(tmp_path):
    mebow_files(tmp_path, {"7_1": 90}, {"7_1": 5, "7_2": 270})
    (picture,) = mebow(tmp_path)
    np.testing.assert_allclose(picture.headings, [np.pi / 2, 3 * np.pi / 2, np.nan])
    assert picture.weak.tolist() == [False, True, False] and picture.file == tmp_path / "val2017/a.jpg"


def test_weak_labels_are_written_as_they_are_read(tmp_path):
    mebow_files(tmp_path, {"7_1": 90})
    write_weak(tmp_path / "mine.json", [(7, 2, np.radians(181.0)), (7, 3, np.radians(359.0))])
    (picture,) = mebow(tmp_path, weak=tmp_path / "mine.json")
    np.testing.assert_allclose(np.degrees(picture.headings), [90, 180, 0], atol=1e-4)


@pytest.mark.parametrize("labels", [[], {"7": 3}, {"7_1": "front"}, {"7_1": 4000}, {"7_1": True}, {"7_1": None}])
def test_hostile_labels_of_mebow(tmp_path, labels):
    mebow_files(tmp_path, labels)
    with pytest.raises(FormatError):
        list(mebow(tmp_path))


HOSTILE = [
    "nothing", {}, {"images": [], "annotations": 3}, cocolike({"bbox": [1, 2, 3]}), cocolike({"bbox": [1, 2, 3, "4"]}),
    cocolike({"bbox": [0, 0, 5, 5], "image_id": 99}), cocolike({"bbox": [0, 0, 5, 5]}, names=("../../etc/passwd", "b.jpg")),
    cocolike({"bbox": [0, 0, 5, 5], "hier": [1, 2]}), cocolike({"bbox": [0, 0, 5, 5], "hier": ["x"] * 30}),
]  # fmt: skip


@pytest.mark.parametrize("document", HOSTILE)
def test_hostile_documents(tmp_path, document):
    write(tmp_path / "annotations/person_humanparts_val2017.json", document)
    with pytest.raises(FormatError):
        list(cocohumanparts(tmp_path))


@pytest.mark.parametrize("reader", [crowdhuman, citypersons, bodyface, cocohumanparts, bodyhands, contacthands, mebow])
def test_a_folder_without_the_files_is_told_what_belongs_there(tmp_path, reader):
    with pytest.raises(FormatError, match="expected there"):
        reader(tmp_path)


def test_pairs_for_the_metrics(tmp_path):
    write(tmp_path / "annotation_val.odgt", lines(person(), person(hbox=[0, 0, 0, 0]), person(extra={"ignore": 1})))
    pairs = pairs_of(crowdhuman(tmp_path), 1)
    assert pairs.image.tolist() == [0, 0] and pairs.ignore.tolist() == [False, True] and pairs.visible.tolist() == [0.5, 0.5]
    assert len(pairs_of([], 1).image) == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.booleans(), lambda x: st.lists(x, max_size=5) | st.dictionaries(st.text(), x, max_size=2)
    )
)
def test_any_value_is_a_box_none_or_an_error(value):
    try:
        box = box_of(value, "here")
    except FormatError:
        return
    assert box is None or (box.shape == (4,) and np.isfinite(box).all() and (box[2:] > box[:2]).all())
