"""Mesh overlay on 720p: milliseconds per frame on one core, beside the usual painter's loop, for one to four people.

    python benchmarks/mesh_overlay.py [--repeats 20] [--picture out.png]

The peer draws the same shaded triangles far to near with cv2.fillConvexPoly, one flat colour each, as overlays without OpenGL do; it
knows no z-buffer and no smooth shading. Needs the compact body's file and nothing beyond the ground floor.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from vitruvian.body.compact import load_compact
from vitruvian.draw.mesh import draw_meshes
from vitruvian.draw.overlay import track_color
from vitruvian.render.shade import brightness, vertex_normals
from vitruvian.render.surface import project

SIZE = (1280, 720)
INTRINSICS = np.array([[1100.0, 0, 640], [0, 1100, 360], [0, 0, 1]])
PLACES = ((0.0, 3.0), (0.35, 2.9), (-0.9, 3.4), (0.9, 3.6))  # metres to the side and away


def painters_loop(image: np.ndarray, vertices: list[np.ndarray], faces: np.ndarray, intrinsics: np.ndarray) -> None:
    """Every face that looks at the camera, far to near, filled with its mean colour; then blended."""
    layer, mask = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
    triangles, colors, depths = [], [], []
    for person, points in enumerate(vertices):
        places, shade = project(points, intrinsics)[faces], brightness(points, vertex_normals(points, faces))[faces].mean(1)
        one, two = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
        seen = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < 0
        triangles.append((places[seen] * 16).round().astype(np.int32))
        colors.append(np.outer(shade[seen], track_color(person)))
        depths.append(points[faces[seen], 2].mean(1))
    order = np.argsort(-np.concatenate(depths))
    corners, filling = np.concatenate(triangles)[order], np.concatenate(colors)[order].tolist()
    for triangle, color in zip(corners, filling, strict=True):
        cv2.fillConvexPoly(layer, triangle, color, shift=4)
        cv2.fillConvexPoly(mask, triangle, 255, shift=4)
    image[mask > 0] = (0.85 * layer[mask > 0] + 0.15 * image[mask > 0]).astype(np.uint8)


def best(call, repeats: int) -> float:
    """The least time of several calls, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--picture", help="where to write the last picture")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    model = load_compact()
    body = model.template * [1, -1, -1]
    people = [(body + [x, 0, z]).astype(np.float32) for x, z in PLACES]
    image = np.full((SIZE[1], SIZE[0], 3), 96, np.uint8)
    print(f"{model.num_vertices} vertices, {len(model.faces)} faces, {SIZE[0]} x {SIZE[1]}")
    for count in (1, 2, 4):
        shown = people[:count]
        ours = best(lambda: draw_meshes(image.copy(), shown, model.faces, INTRINSICS), arguments.repeats)  # noqa: B023
        theirs = best(lambda: painters_loop(image.copy(), shown, model.faces, INTRINSICS), max(arguments.repeats // 4, 1))  # noqa: B023
        print(f"{count} people: z-buffer {ours:.1f} ms, painter's loop {theirs:.1f} ms, ratio {theirs / ours:.1f}")
    if arguments.picture:
        draw_meshes(image, people, model.faces, INTRINSICS)
        cv2.imwrite(arguments.picture, image[..., ::-1])


if __name__ == "__main__":
    main()
