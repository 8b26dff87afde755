"""What a keypoint set is: names, left-right swaps, tree, links, parts and the constants of its metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError

Color = tuple[int, int, int]
Link = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """One keypoint set of K points. Indices are zero-based, left and right are the person's.

    name: the set's identifier, lower case with hyphens.
    names: the K keypoint names, in order.
    swap: length K, the flip permutation: after mirroring an image, `keypoints[..., swap, :]` puts the points in order again.
    parents: length K, each point's parent in the kinematic tree (-1 for the root), or None where the set is no tree.
    sigmas: (K,) float64, the k_i of object keypoint similarity, or None where neither data set nor toolkit gives them.
    parts: part name (body, foot, face, left_hand, right_hand) -> slice of indices.
    links: pairs of indices, for drawing and for bone features.
    colors: one RGB colour in 0..255 per link.

    Raises VitruvianError where the tables contradict each other.
    """

    name: str
    names: tuple[str, ...]
    swap: tuple[int, ...]
    links: tuple[Link, ...]
    colors: tuple[Color, ...]
    parts: Mapping[str, slice]
    parents: tuple[int, ...] | None = None
    sigmas: Float[np.ndarray, " k"] | None = None
    _indices: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "parts", MappingProxyType(dict(self.parts)))
        set_(self, "_indices", MappingProxyType({name: i for i, name in enumerate(self.names)}))
        if self.sigmas is not None:
            sigmas = np.array(self.sigmas, np.float64)
            sigmas.flags.writeable = False
            set_(self, "sigmas", sigmas)
        problem = _problem(self)
        if problem:
            raise VitruvianError(f"keypoint set {self.name!r}: {problem}; correct the table")

    def __len__(self) -> int:
        """The number of keypoints K."""
        return len(self.names)

    def index(self, name: str) -> int:
        """The index of the keypoint `name`. Raises VitruvianError if the set has no such keypoint."""
        try:
            return self._indices[name]
        except KeyError:
            raise VitruvianError(f"{self.name} has no keypoint {name!r}; see Skeleton.names for what it has") from None


def _problem(skeleton: Skeleton) -> str | None:
    """The first contradiction in a skeleton's tables, in words, or None."""
    size = len(skeleton.names)
    if len(set(skeleton.names)) != size:
        return "two keypoints share a name"
    if len(skeleton.swap) != size or any(skeleton.swap[j] != i for i, j in enumerate(skeleton.swap)):
        return "the left-right swap is not an involution of all keypoints"
    if not all(0 <= i < size for link in skeleton.links for i in link):
        return "a link leaves the set"
    if len(skeleton.colors) != len(skeleton.links):
        return "the number of colours is not the number of links"
    if skeleton.sigmas is not None and skeleton.sigmas.shape != (size,):
        return "the number of sigmas is not the number of keypoints"
    if skeleton.parents is not None and (len(skeleton.parents) != size or _has_cycle(skeleton.parents)):
        return "the parents are not a tree"
    return None


def _has_cycle(parents: tuple[int, ...]) -> bool:
    """Whether walking up from some point never reaches a root."""
    for start in range(len(parents)):
        i, steps = start, 0
        while i != -1:
            i, steps = parents[i], steps + 1
            if steps > len(parents):
                return True
    return False


def swap_from_pairs(size: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """The flip permutation of `size` points from its exchanged pairs; unlisted points map to themselves."""
    swap = list(range(size))
    for a, b in pairs:
        swap[a], swap[b] = b, a
    return tuple(swap)


def swap_from_names(names: tuple[str, ...]) -> tuple[int, ...]:
    """The flip permutation of a set whose sided names start with `left_` or `right_`."""
    index = {name: i for i, name in enumerate(names)}
    other = {"left": "right", "right": "left"}
    mirrored = []
    for name in names:
        side, _, rest = name.partition("_")
        mirrored.append(index[f"{other[side]}_{rest}"] if side in other else index[name])
    return tuple(mirrored)


def parents_from_links(size: int, root: int, links: Iterable[Link]) -> tuple[int, ...]:
    """Parents (-1 at the root) of the tree that `links` span, walked from `root`."""
    neighbours: dict[int, list[int]] = {i: [] for i in range(size)}
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    parents = [-1] * size
    seen, queue = {root}, [root]
    while queue:
        i = queue.pop()
        for j in neighbours[i]:
            if j not in seen:
                seen.add(j)
                parents[j] = i
                queue.append(j)
    return tuple(parents)


LEFT: Color = (0, 255, 0)
RIGHT: Color = (255, 128, 0)
CENTRE: Color = (51, 153, 255)
FINGERS: Mapping[str, Color] = MappingProxyType(
    {
        "thumb": (255, 128, 0),
        "forefinger": (255, 153, 255),
        "middle_finger": (102, 178, 255),
        "ring_finger": (255, 51, 51),
        "pinky_finger": (0, 255, 0),
    }
)


def link_colors(names: tuple[str, ...], links: Iterable[Link]) -> tuple[Color, ...]:
    """One RGB colour per link: a finger has its finger's colour, the left side is green, the right orange, the middle blue."""
    return tuple(_link_color(names[a], names[b]) for a, b in links)


def _link_color(a: str, b: str) -> Color:
    for finger, color in FINGERS.items():
        if finger in b or finger in a:
            return color
    sides = {name.partition("_")[0] for name in (a, b)} & {"left", "right"}
    if len(sides) != 1:
        return CENTRE
    return LEFT if "left" in sides else RIGHT
