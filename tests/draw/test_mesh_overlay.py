import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.draw.mesh import PAPER, draw_bodies, draw_bones, draw_meshes, turntable, turntable_views
from vitruvian.draw.overlay import track_color
from vitruvian.errors import VitruvianError
from vitruvian.take import People

INTRINSICS = np.array([[100.0, 0, 60], [0, 100, 40], [0, 0, 1]])
CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) / 2
FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip  # corners counter-clockwise seen from outside
RED, BLUE = (255, 0, 0), (0, 0, 255)


def canvas(value: int = 0):
    return np.full((80, 120, 3), value, np.uint8)


def box(depth: float, x: float = 0.0):
    return CUBE + [x, 0, depth]


def test_a_mesh_covers_its_projection_in_its_colour():
    image = canvas()
    draw_meshes(image, [box(2.5)], FACES, INTRINSICS, [RED], opacity=1.0)
    rows, columns = np.nonzero(image[..., 0] > 60)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (35, 85, 15, 65)  # its front is 2 m away: 25 pixels to each side
    assert not image[..., 1:].any()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_person_hides_the_other_whatever_the_order(order):
    image = canvas()
    meshes, colors = [box(2.5), box(4.0, x=0.8)], [RED, BLUE]
    draw_meshes(image, [meshes[i] for i in order], FACES, INTRINSICS, [colors[i] for i in order], opacity=1.0)
    assert image[40, 80, 0] > 100 and image[40, 80, 2] < 20
    assert image[40, 94, 2] > 60 and image[40, 94, 0] < 20


def test_two_that_reach_into_each_other_each_show_where_they_are_nearer():
    image = canvas()
    turned = box(0.0) @ np.array([[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]]) + [0, 0, 2.6]
    draw_meshes(image, [box(2.5), turned], FACES, INTRINSICS, [RED, BLUE], opacity=1.0)
    inside = image[20:60, 40:80].reshape(-1, 3)
    assert (inside[:, 0] > 100).sum() > 200 and (inside[:, 2] > 100).sum() > 200


def test_opacity_lets_the_picture_through_but_not_the_person_behind():
    image = canvas(200)
    draw_meshes(image, [box(2.5), box(4.0)], FACES, INTRINSICS, [RED, BLUE], opacity=0.5)
    full = canvas(0)
    draw_meshes(full, [box(2.5)], FACES, INTRINSICS, [RED], opacity=1.0)
    np.testing.assert_allclose(image[40, 60].astype(int), (full[40, 60].astype(int) + 200) / 2, atol=2)
    unchanged = canvas(200)
    draw_meshes(unchanged, [box(2.5)], FACES, INTRINSICS, [RED], opacity=0.0)
    assert (unchanged == 200).all()


def test_every_vertex_can_have_its_colour():
    image = canvas()
    colors = np.where(CUBE[:, :1] < 0, RED, BLUE).astype(np.uint8)
    draw_meshes(image, [box(2.5)], FACES, INTRINSICS, [colors], opacity=1.0)
    assert image[40, 38, 0] > 2 * image[40, 38, 2] and image[40, 82, 2] > 2 * image[40, 82, 0]


def test_people_may_have_meshes_of_their_own():
    image = canvas()
    tetrahedron = np.array([[0, 0, 2.0], [0.4, 0.4, 2.2], [-0.4, 0.4, 2.2], [0, -0.4, 2.2]])
    draw_meshes(image, [box(2.5, 1.2), tetrahedron], [FACES, np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])], INTRINSICS)
    assert image[45, 60].any() and image[40, 110].any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("vertices", [[], np.zeros((0, 8, 3)), [box(-3)], [box(np.nan)], [box(3, 1e6)], [box(1e30)]])
def test_nobody_in_view_changes_nothing(vertices):
    image = canvas(7)
    draw_meshes(image, vertices, FACES, INTRINSICS)
    assert (image == 7).all()


@pytest.mark.filterwarnings("error")
def test_a_camera_inside_a_body_is_no_trouble():
    image = canvas()
    draw_meshes(image, [box(0.2)], FACES, INTRINSICS)
    assert image.shape == (80, 120, 3)


def test_counts_that_differ_are_refused():
    with pytest.raises(VitruvianError, match="one of each"):
        draw_meshes(canvas(), [box(2), box(3)], FACES, INTRINSICS, [RED])


def test_part_of_a_larger_picture_can_be_drawn_into():
    whole = np.zeros((200, 300, 3), np.uint8)
    draw_meshes(whole[50:130, 100:220], [box(2.5)], FACES, INTRINSICS)
    assert whole[90, 160].any() and not whole[:50].any() and not whole[:, :100].any()


def test_bones_run_between_joints_in_view():
    image = canvas()
    joints = np.array([[0, 0, 2.0], [0.6, 0, 2], [0.6, 0.5, 2], [0, 0, -1], [np.nan, 0, 1], [1e9, 0, 1]])
    draw_bones(image, joints, [-1, 0, 1, 0, 0, 0], INTRINSICS, RED)
    assert image[40, 75, 0] > 200 and image[52, 90, 0] > 200
    assert not image[:36].any() and not image[:, :56].any()


def test_turntable_shows_all_sides_beside_each_other():
    arm = np.array([[0.5, 0, 0], [1.5, 0.1, 0], [1.5, -0.1, 0]])  # to the left of one who faces +z
    vertices, faces = np.concatenate([CUBE, arm]), np.concatenate([FACES, [[8, 10, 9], [8, 9, 10]]])
    image = turntable(vertices, faces, views=4, size=(100, 80))
    assert image.shape == (80, 400, 3)
    front, right, back, left = ((view != PAPER).any(-1) for view in np.split(image, 4, axis=1))
    assert front[:, 25].sum() > 3 * front[:, 80].sum() > 0 and back[:, 74].sum() > 3 * back[:, 19].sum() > 0
    for view in (front, right, back, left):
        assert view.any() and not view[[0, -1]].any() and not view[:, [0, -1]].any()


def test_turntable_without_views_or_mesh():
    assert turntable(CUBE, FACES, views=0, size=(10, 20)).shape == (20, 0, 3)
    (empty,) = turntable_views(np.zeros((0, 3)), np.zeros((0, 3), int), views=1, size=(10, 20))
    assert (empty == PAPER).all()


def standing(places, tracks) -> People:
    """Bodies upright before the camera, in its axes."""
    model, n = load_compact(), len(places)
    pose = np.zeros((n, model.num_joints, 3))
    pose[:, 0, 0] = np.pi  # y up to y down
    return People(
        frame=np.zeros(n),
        track=tracks,
        boxes=np.zeros((n, 4)),
        scores=np.ones(n),
        keypoints=np.zeros((n, 17, 2)),
        confidence=np.zeros((n, 17)),
        body_pose=pose,
        body_translation=np.reshape(places, (n, 3)),
    )


def test_bodies_of_people_are_drawn_in_their_tracks_colours():
    image = canvas()
    people = standing([[-0.5, 0, 3.0], [0.5, 0, 3.0], [np.nan, 0, 3]], [3, 8, 9])
    draw_bodies(image, people, load_compact(), INTRINSICS, opacity=1.0)
    for column, track in ((43, 3), (77, 8)):
        found = image[35, column].astype(float)
        np.testing.assert_allclose(found / found.max(), np.array(track_color(track)) / 255, atol=0.08)
    head, feet = image[:20].any(-1).sum(), image[60:].any(-1).sum()
    assert 0 < head and 0 < feet and not image[:, :15].any()


def test_bones_may_be_drawn_on_top_of_bodies():
    plain, boned = canvas(), canvas()
    draw_bodies(plain, standing([[0, 0, 3.0]], [3]), load_compact(), INTRINSICS)
    draw_bodies(boned, standing([[0, 0, 3.0]], [3]), load_compact(), INTRINSICS, bones=True)
    assert (boned.min(-1) > 200).sum() > 20 > (plain.min(-1) > 200).sum()


def test_people_without_bodies_change_nothing():
    image = canvas(7)
    draw_bodies(image, People.empty(17), load_compact(), INTRINSICS)
    draw_bodies(image, standing(np.zeros((0, 3)), []), load_compact(), INTRINSICS)
    assert (image == 7).all()
