"""The rasteriser against shapes whose picture is known."""

import numpy as np

from vitruvian.render.raster import interpolate_faces, nearest_faces, of_faces, vertex_normals

SQUARE = np.array([[2, 2], [8, 2], [8, 8], [2, 8]], np.float32)  # clockwise on screen, y down
SEEN = np.array([[0, 2, 1], [0, 3, 2]], np.int32)  # counter-clockwise as seen


def draw(points, depth, faces, classes, attributes, size=(12, 10), double_sided=None):
    """Classes, attributes and depth of the pixels."""
    classes = np.asarray(classes, np.uint8)
    owner, near = nearest_faces(points, np.asarray(depth, np.float32), faces, classes, size, double_sided)
    return of_faces(owner, classes), interpolate_faces(owner, points, np.asarray(depth), faces, np.asarray(attributes, np.float32)), near


def test_square_covers_its_pixels_and_interpolates_attributes():
    classes, values, depth = draw(SQUARE, [1, 1, 1, 1], SEEN, [7, 7], SQUARE)
    rows, columns = np.nonzero(classes)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 8, 2, 8)
    assert (classes == 7).sum() == 49
    np.testing.assert_allclose(values[5, 4], [4, 5], atol=1e-5)  # the attribute is the position, x before y
    assert np.isinf(depth[0, 0]) and depth[5, 5] == 1


def test_the_nearer_triangle_wins_whatever_the_order():
    points = np.concatenate([SQUARE, SQUARE + 2])
    faces = np.concatenate([SEEN, SEEN + 4])
    for order in ([0, 1, 2, 3], [2, 3, 0, 1]):
        classes, _, _ = draw(points, [2, 2, 2, 2, 1, 1, 1, 1], faces[order], np.array([1, 1, 5, 5])[order], np.zeros((8, 1)))
        assert classes[6, 6] == 5 and classes[2, 2] == 1


def test_back_faces_vanish_unless_double_sided():
    back = SEEN[:, ::-1].copy()
    assert not draw(SQUARE, np.ones(4), back, [1, 1], np.zeros((4, 1)))[0].any()
    assert draw(SQUARE, np.ones(4), back, [1, 1], np.zeros((4, 1)), double_sided=np.ones(2, bool))[0].any()


def test_outside_behind_and_class_zero_draw_nothing():
    assert not draw(SQUARE + 100, np.ones(4), SEEN, [1, 1], np.zeros((4, 1)))[0].any()
    assert not draw(SQUARE, -np.ones(4), SEEN, [1, 1], np.zeros((4, 1)))[0].any()
    assert not draw(SQUARE, np.ones(4), SEEN, [0, 0], np.zeros((4, 1)))[0].any()
    assert not draw(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3), np.int32), [], np.zeros((0, 1)))[0].any()


def test_vertex_normals_of_an_octahedron_point_outwards():
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], np.int32)
    np.testing.assert_allclose(vertex_normals(corners, faces), corners, atol=1e-6)
