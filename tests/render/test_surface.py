"""The numpy z-buffer against shapes whose picture is known, and against the numba rasteriser."""

import numpy as np
import pytest

from vitruvian.render import surface as module
from vitruvian.render.shade import AMBIENT, brightness, vertex_normals
from vitruvian.render.surface import interpolate, project, visible_surface

SQUARE = np.array([[2, 2], [8, 2], [8, 8], [2, 8]], np.float32)  # clockwise on screen, y down
SEEN = np.array([[0, 2, 1], [0, 3, 2]], np.int32)  # counter-clockwise as seen
SIZE = (12, 10)


def drawn(points, depth, faces, size=SIZE, **options):
    """(height, width) face index and depth of the whole picture."""
    found = visible_surface(np.asarray(points, float), np.asarray(depth, float), np.asarray(faces), size, **options)
    face, far = np.full(size[::-1], -1), np.full(size[::-1], np.inf)
    height, width = found.face.shape
    face[found.top : found.top + height, found.left : found.left + width] = found.face
    far[found.top : found.top + height, found.left : found.left + width] = found.depth
    return face, far


def blob(seed: int = 0, rows: int = 24, columns: int = 48):
    """A bumpy closed surface around (0, 0, 3) in camera axes: vertices, outward faces."""
    random = np.random.default_rng(seed)
    v, u = np.meshgrid(np.linspace(0, np.pi, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij")
    radius = 0.6 + 0.25 * np.sin(3 * u + random.uniform(0, 6)) * np.sin(v) ** 2 + 0.1 * np.cos(5 * v)
    points = np.stack([radius * np.sin(v) * np.cos(u), -radius * np.cos(v), 3 + radius * np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    corner = lambda r, c: r * columns + c % columns  # noqa: E731
    quads = np.array(
        [(corner(r, c), corner(r, c + 1), corner(r + 1, c + 1), corner(r + 1, c)) for r in range(rows - 1) for c in range(columns)]
    )
    return points.astype(np.float32), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def test_square_covers_its_pixels():
    face, depth = drawn(SQUARE, np.ones(4), SEEN)
    rows, columns = np.nonzero(face >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max(), len(rows)) == (2, 8, 2, 8, 49)
    assert depth[5, 5] == 1 and np.isinf(depth[0, 0])


def test_a_fan_of_triangles_has_no_holes():
    random = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(random.uniform(0, 2 * np.pi, 40))
        ring = 300 + 250 * np.stack([np.cos(angles), np.sin(angles)], 1) + random.uniform(-0.5, 0.5, 2)
        points = np.concatenate([ring, [ring.mean(0)]])
        faces = np.stack([np.roll(np.arange(40), -1), np.arange(40), np.full(40, 40)], 1)
        face, _ = drawn(points, np.ones(41), faces, (600, 600), double_sided=True)
        inside = np.hypot(*(np.indices((600, 600)) - ring.mean(0)[::-1, None, None])) < 20
        assert (face[inside] >= 0).all()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 3, 0, 1]])
def test_the_nearer_face_wins_whatever_the_order(order):
    points, faces = np.concatenate([SQUARE, SQUARE + 2]), np.concatenate([SEEN, SEEN + 4])[order]
    face, depth = drawn(points, [2, 2, 2, 2, 1, 1, 1, 1], faces)
    assert order[face[6, 6]] >= 2 and order[face[2, 2]] < 2
    assert depth[6, 6] == 1 and depth[2, 2] == 2


def test_faces_that_cross_each_other_are_cut_at_the_crossing():
    tilted = np.array([1.0, 3.0, 3.0, 1.0])  # nearer on the left
    face, _ = drawn(np.concatenate([SQUARE, SQUARE]), np.concatenate([tilted, np.full(4, 1.5)]), np.concatenate([SEEN, SEEN + 4]))
    assert (face[5, 2:5] < 2).all() and (face[5, 5:9] >= 2).all()  # in perspective the depth is 1.5 at x = 5 already


def test_back_faces_vanish_unless_double_sided():
    assert (drawn(SQUARE, np.ones(4), SEEN[:, ::-1])[0] == -1).all()
    assert (drawn(SQUARE, np.ones(4), SEEN[:, ::-1], double_sided=True)[0] >= 0).sum() == 49


@pytest.mark.parametrize(
    ("points", "depth"),
    [
        (SQUARE + 100, np.ones(4)),
        (SQUARE - 100, np.ones(4)),
        (SQUARE, -np.ones(4)),
        (SQUARE, np.full(4, 0.01)),
        (SQUARE * np.nan, np.ones(4)),
        (SQUARE, np.full(4, np.nan)),
        (SQUARE * 0, np.ones(4)),
        (SQUARE * 1e30, np.ones(4)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_outside_behind_or_senseless_draws_nothing(points, depth):
    assert (drawn(points, depth, SEEN)[0] == -1).all()


def test_no_faces_draw_nothing():
    found = visible_surface(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3), int), SIZE)
    assert found.face.size == 0
    assert interpolate(found, np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3), int), np.zeros((0, 2))).shape == (0, 2)


def test_one_bad_vertex_takes_only_its_faces_away():
    points, faces = blob()
    points[500] = np.nan
    intrinsics = np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]])
    face, _ = drawn(project(points, intrinsics), points[:, 2], faces, (160, 120))
    assert (face >= 0).sum() > 3000 and not np.isin(np.flatnonzero((faces == 500).any(1)), face).any()


def test_interpolated_positions_lie_on_their_pixels_rays():
    points, faces = blob()
    intrinsics = np.array([[300.0, 0, 120], [0, 300, 90], [0, 0, 1]])
    pixels = project(points, intrinsics)
    found = visible_surface(pixels, points[:, 2], faces, (240, 180))
    rows, columns = np.nonzero(found.face >= 0)
    places = interpolate(found, pixels, points[:, 2], faces, points)
    np.testing.assert_allclose(project(places, intrinsics), np.stack([columns + found.left, rows + found.top], 1), atol=0.01)
    np.testing.assert_allclose(places[:, 2], found.depth[rows, columns], rtol=1e-4)


def test_large_pictures_are_cut_in_portions_without_a_difference(monkeypatch):
    points, faces = blob()
    pixels = project(points, np.array([[300.0, 0, 120], [0, 300, 90], [0, 0, 1]]))
    whole = visible_surface(pixels, points[:, 2], faces, (240, 180))
    monkeypatch.setattr(module, "_CHUNK", 3000)
    parts = visible_surface(pixels, points[:, 2], faces, (240, 180))
    np.testing.assert_array_equal(whole.depth, parts.depth)
    assert (whole.face != parts.face).mean() < 0.01  # on an edge that two faces share, either is right


def test_it_agrees_with_the_numba_rasteriser():
    raster = pytest.importorskip("vitruvian.render.raster", reason="needs numba")
    points, faces = blob(1)
    size = (240, 180)
    pixels = project(points, np.array([[300.0, 0, 120], [0, 300, 90], [0, 0, 1]]))
    face, depth = drawn(pixels, points[:, 2], faces, size)
    owner, other = raster.nearest_faces(pixels, points[:, 2], faces, np.ones(len(faces), np.uint8), size)
    both = (face >= 0) & (owner >= 0)
    assert ((face >= 0) != (owner >= 0)).sum() < 0.001 * both.sum()
    assert (np.abs(depth[both] / other[both] - 1) > 2e-3).mean() < 1e-3


def test_a_surface_is_brightest_where_it_faces_camera_and_sky():
    points = np.array([[0, 0, 2.0]] * 4)
    normals = np.array([[0, 0, -1.0], [0, -1, 0], [0, 1, 0], [0, 0, 1]])
    front, top, bottom, back = brightness(points, normals)
    assert front > top > bottom >= AMBIENT and back < front


def test_normals_of_a_vertex_without_faces_are_zero():
    normals = vertex_normals(np.eye(4, 3), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(normals[:3], np.full((3, 3), 3**-0.5), atol=1e-6)
    assert not normals[3].any()
