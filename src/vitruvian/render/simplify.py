"""Meshes with fewer faces for small pictures: vertices that lie closer together than a pixel say nothing there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_ROUNDS = 4  # of merging; later ones find next to nothing


def merged(
    points: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], length: float
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, "g 3"]]:
    """A mesh of some of the vertices: those kept, sorted, and faces that count among them.

    Along edges shorter than `length` a vertex is merged into its neighbour, round by round. Only what an edge joins is merged: fingers and
    lips that touch stay apart. Vertices without faces are left out. Ours; a plain form of vertex clustering (Rossignac and Borrel, 1993).
    """
    points, faces = np.asarray(points), np.asarray(faces)
    for _ in range(_ROUNDS):
        into = _owners(points, faces, length)
        faces = into[faces]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (c != a)]
        if (into == np.arange(len(into))).all():
            break
    kept, places = np.unique(faces, return_inverse=True)
    return kept, places.reshape(faces.shape).astype(faces.dtype)


def _owners(points: np.ndarray, faces: np.ndarray, length: float) -> Int[np.ndarray, " v"]:
    """For each vertex the one that it is merged into, itself for most: each that is left takes its nearest ring that is left."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) < length]
    edges = np.concatenate([edges, edges[:, ::-1]])
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    into = np.arange(len(points))
    vertices = np.unique(edges[:, 0])
    starts, ends = (np.searchsorted(edges[:, 0], vertices, side).tolist() for side in ("left", "right"))
    free, ring = bytearray(b"\1") * len(points), edges[:, 1].tolist()
    for vertex, start, end in zip(vertices.tolist(), starts, ends, strict=True):
        if free[vertex]:
            free[vertex] = 0
            for other in ring[start:end]:
                if free[other]:
                    free[other] = 0
                    into[other] = vertex
    return into
