"""Meshes with fewer faces: what is merged, what stays apart, and that a body drawn with fewer looks the same."""

import numpy as np

from vitruvian.body.compact import load_compact
from vitruvian.render.simplify import merged


def grid(n: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """A flat square of n x n vertices."""
    y, x = np.mgrid[:n, :n]
    points = np.stack([x.ravel() * step, y.ravel() * step, np.zeros(n * n)], 1)
    first = (y[:-1, :-1] * n + x[:-1, :-1]).ravel()
    return points, np.concatenate([np.stack([first, first + 1, first + n], 1), np.stack([first + 1, first + n + 1, first + n], 1)])


def test_long_edges_stay():
    points, faces = grid(5, 1.0)
    kept, few = merged(points, faces, 0.9)
    assert kept.tolist() == list(range(25)) and (few == faces).all()


def test_short_edges_go_and_the_surface_keeps_its_side():
    points, faces = grid(40, 0.1)
    kept, few = merged(points, faces, 0.15)
    assert 0 < len(kept) < 800 and few.max() == len(kept) - 1
    corners = points[kept][few]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
    assert (area > -1e-9).all() and 0.8 * 3.9**2 < area.sum() <= 3.9**2 + 1e-9


def test_what_touches_without_an_edge_stays_apart():
    points, faces = grid(3, 1.0)
    both = np.concatenate([points, points + [0, 0, 0.01]])
    kept, few = merged(both, np.concatenate([faces, faces + 9]), 0.5)
    assert len(kept) == 18 and len(few) == 16


def test_nothing_is_left_of_a_speck_or_of_no_mesh():
    points, faces = grid(3, 0.001)
    assert len(merged(points, faces, 1.0)[1]) == 0
    assert [len(part) for part in merged(points, faces[:0], 1.0)] == [0, 0]


def test_a_body_keeps_its_outline_with_half_its_faces():
    model = load_compact()
    kept, faces = merged(model.template, model.faces, 0.006)
    assert len(faces) < 0.55 * len(model.faces)
    low, high = model.template[kept].min(0), model.template[kept].max(0)
    np.testing.assert_allclose([low, high], [model.template.min(0), model.template.max(0)], atol=0.012)
