"""Label images agree with their labels."""

import numpy as np
import pytest

from vitruvian.synth.camera import View as Camera
from vitruvian.synth.classes import HAIR, LAST_OF_PERSON, LOWER, SKIN, UPPER
from vitruvian.synth.outfit import dress
from vitruvian.synth.paint import paint
from vitruvian.synth.person import label_image, pose_bodies, render_person, sample_bodies
from vitruvian.synth.poses import walking_poses
from vitruvian.synth.store import Store, write_shard

FRONT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looking along +y at a body that faces -y


def standing(wardrobe, turn=FRONT, seed=0):
    """A person standing before the camera, 240x320."""
    poses = walking_poses(wardrobe.rig, np.zeros(1), np.zeros(1))
    vertices, bones = pose_bodies(wardrobe, poses, np.full((1, 6), 0.6), np.zeros((1, len(wardrobe.model.facial_action_labels))))
    view = Camera(turn, vertices[0][wardrobe.base_index].mean(0), 4.0)
    outfit = dress(np.random.default_rng(seed), wardrobe)
    return label_image(wardrobe, vertices[0], bones[0], outfit, view, 560.0, np.array([120.0, 160.0]), (240, 320))


@pytest.fixture(scope="module")
def people(wardrobe):
    rng = np.random.default_rng(1)
    bodies = sample_bodies(rng, wardrobe, 6)
    return [render_person(rng, wardrobe, bodies, i) for i in range(6)]


def test_a_standing_person_is_labelled_the_right_way_round(wardrobe):
    person = standing(wardrobe)
    x, y = person.keypoints[:, 0], person.keypoints[:, 1]
    assert y[0] < y[5] < y[11] < y[13] < y[15]  # nose, shoulder, hip, knee, ankle from top to bottom
    assert x[5] > x[6] and x[11] > x[12]  # seen from the front the person's left is on the picture's right
    assert y[23 + 8] > y[23 + 33] > y[23 + 27]  # chin below nose base below nose root
    assert (person.keypoints[:, 2] > 0).all()
    assert person.keypoints[0, 2] == 2  # the nose is seen


def test_from_behind_the_face_is_hidden(wardrobe):
    person = standing(wardrobe, FRONT @ np.diag([-1.0, -1.0, 1.0]))
    assert (person.keypoints[40:91, 2] == 1).mean() > 0.9
    assert person.keypoints[5, 0] < person.keypoints[6, 0]


def test_keypoints_in_the_picture_lie_on_the_person(people):
    for person in people:
        seen = person.keypoints[person.keypoints[:, 2] == 2]
        columns, rows = np.clip(np.rint(seen[:, :2]), 0, [239, 319]).astype(int).T
        assert (person.classes[rows, columns] > 0).mean() > 0.8  # the rest lie on the silhouette


def test_person_box_is_tight_and_holds_the_parts(people):
    for person in people:
        rows, columns = np.nonzero((person.classes > 0) & (person.classes <= LAST_OF_PERSON))
        np.testing.assert_allclose(person.boxes[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        head = person.boxes[1]
        if not np.isnan(head).any():
            assert head[0] >= person.boxes[0, 0] - 3 and head[3] <= person.boxes[0, 3] + 3


def test_people_are_dressed(people):
    worn = set(np.unique(np.concatenate([p.classes.ravel() for p in people])))
    assert {SKIN, HAIR, UPPER, LOWER} <= worn


def test_paint_colours_the_person_and_nothing_else(wardrobe):
    person = standing(wardrobe)
    labels = person.planes
    a, b = (paint(np.random.default_rng(i), labels) for i in (0, 1))
    assert ((a[..., 3] > 0) == (person.classes > 0)).all()
    assert (a[person.classes == 0] == 0).all()
    assert np.abs(a.astype(int) - b)[person.classes > 0].mean() > 5  # another draw, other colours
    assert (paint(np.random.default_rng(0), labels) == a).all()


def test_store_gives_back_what_was_written(people, tmp_path):
    many = [people[i % len(people)] for i in range(250)]
    write_shard(tmp_path, 0, many)
    store = Store.open(tmp_path)
    assert len(store) == 250
    for i in (0, 3, 249):
        assert (store.image(i) == many[i].planes).all()
        assert (store.keypoints[i] == many[i].keypoints).all()
        np.testing.assert_array_equal(store.boxes[i], many[i].boxes)


def test_an_empty_folder_is_no_store(tmp_path):
    from vitruvian.errors import FormatError

    with pytest.raises(FormatError, match="vitruvian synth"):
        Store.open(tmp_path)
