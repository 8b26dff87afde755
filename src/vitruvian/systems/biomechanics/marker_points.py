"""Keypoint sets of one's own: named points on the surface of a body model, declared in a TOML file.

name = "my-markers"                       # of the keypoint set
body = "anny"                             # whose vertices are numbered: Anny, and the compact body, which has Anny's

[points]                                  # in the order of the set
nose = { keypoint = "nose" }              # a keypoint of COCO-WholeBody, as `synth` knows it
r_ASIS = { vertices = [4302, 4352, 4381], weights = [0.67, 0.03, 0.3] }
my_spot = { vertices = [1399] }           # one vertex, or the mean of several

[swap]                                    # only where the names do not say it: left_/right_, l_/r_, L_/R_, lX/rX of the same X
my_left_spot = "my_right_spot"

`synthpose52.toml` beside this file has the 52 of SynthPose on Anny (made by recipes/synthpose_points.py, docs/images/synthpose52.png).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.text import read_text
from vitruvian.skeletons import COCO_WHOLEBODY_133, SKELETONS, Skeleton
from vitruvian.skeletons.types import link_colors

SYNTHPOSE_FILE = Path(__file__).with_name("synthpose52.toml")
MAX_POINTS = 1000
MAX_CORNERS = 64  # vertices of one point
_MAX_TOML = 1 << 20
_VERTICES = {"anny": 13718}
_SIDES = (("left_", "right_"), ("l_", "r_"), ("L_", "R_"), ("l", "r"))


@dataclass(frozen=True, eq=False)
class MarkerPoints:
    """K points of a body. vertices: (K, C), weights: (K, C), rows of which sum to 1, or are 0 where the point is a keypoint.

    keypoint: (K,) index among COCO-WholeBody's 133, -1 for a point of the surface. body: whose vertices are numbered.
    """

    skeleton: Skeleton
    vertices: Int[np.ndarray, "k c"]
    weights: Float[np.ndarray, "k c"]
    keypoint: Int[np.ndarray, " k"]
    body: str = "anny"

    @property
    def used_vertices(self) -> Int[np.ndarray, " v"]:
        """Those that the points depend on, ascending: all that must be posed."""
        return np.unique(self.vertices[self.weights != 0])

    def __call__(
        self, mesh: Float[np.ndarray, "b v 3"], keypoints: Float[np.ndarray, "b 133 3"] | None = None
    ) -> Float[np.ndarray, "b k 3"]:
        """The points on posed meshes; those that are keypoints are taken from there, or NaN without them.

        Raises VitruvianError where the mesh has too few vertices.
        """
        if mesh.ndim != 3 or mesh.shape[1] <= self.vertices.max(initial=-1):
            raise VitruvianError(f"meshes of shape {mesh.shape} are not of {self.body}, whose vertices {self.skeleton.name} numbers")
        points = np.einsum("bkci,kc->bki", mesh[:, self.vertices], self.weights.astype(mesh.dtype))
        copied = self.keypoint >= 0
        points[:, copied] = np.nan if keypoints is None else keypoints[:, self.keypoint[copied]]
        return points


def read_points(path: str | Path = SYNTHPOSE_FILE) -> MarkerPoints:
    """Read such a file. Raises FormatError where it can't be read or does not say what it must."""
    path = Path(path)
    try:
        table = tomllib.loads(read_text(path, _MAX_TOML))
        return _parsed(table)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path} is no TOML file: {error}; correct it") from error
    except _Problem as problem:
        raise FormatError(f"{path}: {problem}") from problem


class _Problem(Exception):
    """What a file says wrong."""


def _parsed(table: Mapping[str, object]) -> MarkerPoints:
    unknown = sorted(set(table) - {"name", "body", "points", "swap"})
    name, body, points, swap = table.get("name"), table.get("body", "anny"), table.get("points"), table.get("swap", {})
    if unknown:
        raise _Problem(f"{unknown[0][:40]} is not known; known are name, body, points, swap")
    if not isinstance(name, str) or not name or not name.replace("-", "").isalnum() or name != name.lower():
        raise _Problem("name must be the set's: small letters, digits and hyphens")
    if body not in _VERTICES:
        raise _Problem(f"body is {str(body)[:40]!r}; vertices are those of {', '.join(_VERTICES)}")
    if not isinstance(points, Mapping) or not 1 <= len(points) <= MAX_POINTS:
        raise _Problem(f"points must be a table of 1 to {MAX_POINTS} points")
    rows = [_point(str(each), value, _VERTICES[body]) for each, value in points.items()]
    corners = max(len(row[0]) for row in rows)
    vertices, weights = np.zeros((len(rows), corners), np.int64), np.zeros((len(rows), corners))
    for i, (chosen, shares, _) in enumerate(rows):
        vertices[i, : len(chosen)], weights[i, : len(chosen)] = chosen, shares
    skeleton = _skeleton(name, tuple(map(str, points)), swap)
    return MarkerPoints(skeleton, vertices, weights, np.array([row[2] for row in rows]), body)


def _point(name: str, value: object, count: int) -> tuple[list[int], list[float], int]:
    """Vertices, weights that sum to 1, and -1; or nothing and a keypoint's index."""
    if not isinstance(value, Mapping) or set(value) not in ({"keypoint"}, {"vertices"}, {"vertices", "weights"}):
        raise _Problem(f"points.{name[:40]} must have either keypoint, or vertices and (if you like) weights")
    if "keypoint" in value:
        if value["keypoint"] not in COCO_WHOLEBODY_133.names:
            raise _Problem(f"points.{name[:40]}: no keypoint {str(value['keypoint'])[:40]!r} in {COCO_WHOLEBODY_133.name}")
        return [], [], COCO_WHOLEBODY_133.index(value["keypoint"])
    vertices = value["vertices"]
    listed = isinstance(vertices, list) and 1 <= len(vertices) <= MAX_CORNERS
    if not listed or not all(type(v) is int and 0 <= v < count for v in vertices):
        raise _Problem(f"points.{name[:40]}.vertices must be 1 to {MAX_CORNERS} whole numbers from 0 to {count - 1}")
    weights = value.get("weights", [1.0] * len(vertices))
    fits = isinstance(weights, list) and len(weights) == len(vertices) and all(type(w) in (int, float) and 0 <= w < 1e6 for w in weights)
    if not fits or sum(weights) <= 0:
        raise _Problem(f"points.{name[:40]}.weights must be as many as vertices, none below 0, and not all 0")
    return vertices, [w / sum(weights) for w in weights], -1


def _skeleton(name: str, names: tuple[str, ...], said: object) -> Skeleton:
    """The keypoint set: the known one of this name where the points are its own, else one with the swaps that are said or seen."""
    if name in SKELETONS and SKELETONS[name].names == names and not said:
        return SKELETONS[name]
    if name in SKELETONS:
        raise _Problem(f"{name} is the name of another keypoint set; choose another")
    if not isinstance(said, Mapping) or not all(isinstance(b, str) and {a, b} <= set(names) for a, b in said.items()):
        raise _Problem("swap must be a table from the name of a point to that of the point on its other side")
    pairs = {**said, **{b: a for a, b in said.items()}}
    for one in names:
        if one not in pairs and (other := _other_side(one, names)):
            pairs[one] = other
    swap = tuple(names.index(pairs.get(one, one)) for one in names)
    if any(swap[j] != i for i, j in enumerate(swap)):
        raise _Problem("swap pairs a point with two others; give each point one other side")
    return Skeleton(name=name, names=names, swap=swap, links=(), colors=link_colors(names, ()), parts={"body": slice(0, len(names))})


def _other_side(name: str, names: tuple[str, ...]) -> str:
    """The point of the set that is this one's on the other side by its name, "" for none."""
    for left, right in _SIDES:
        for a, b in ((left, right), (right, left)):
            if name.startswith(a) and (other := b + name.removeprefix(a)) in names:
                return other
    return ""
