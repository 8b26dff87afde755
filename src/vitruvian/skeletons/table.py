"""Keypoint sets that are not built in, as plain tables: what takes, cards and checkpoints keep of them.

{"names": [...], "swap": [...], "links": [[0, 1], ...]}: as in `Skeleton`. Such tables come from foreign files: nothing in them is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import SKELETONS
from vitruvian.skeletons.types import Skeleton, link_colors

MAX_KEYPOINTS = 1000
_MAX_LINKS = 4 * MAX_KEYPOINTS
_MAX_NAME = 100

OWN = "own"
"""The name of a set that has none."""

Table = dict[str, list]
"""What `table_of` gives."""


def table_of(skeleton: Skeleton) -> Table:
    """The table of a set, {} for a built-in one, whose name is enough.

    Raises FormatError for a set that no table can hold: without points, with odd names, or with the name of a built-in one.
    """
    if SKELETONS.get(skeleton.name) is skeleton:
        return {}
    table = {"names": list(skeleton.names), "swap": list(skeleton.swap), "links": [list(link) for link in skeleton.links]}
    return {} if from_table(skeleton.name, table) is SKELETONS.get(skeleton.name) else table


def from_table(name: object, table: object) -> Skeleton:
    """The set of this name, built in (where the table is empty) or as the table says. Raises FormatError where they say no set."""
    if not _is_name(name):
        raise FormatError(f"{str(name)[:40]!r} is no name of a keypoint set: give it a printable one of at most {_MAX_NAME} characters")
    if table == {} and name in SKELETONS:
        return SKELETONS[name]
    if not isinstance(table, Mapping) or set(table) != {"names", "swap", "links"}:
        raise FormatError(f"the keypoint set {name!r} is not built in, and nothing else says its names, swap and links: update vitruvian")
    if problem := _problem(table):
        raise FormatError(f"keypoint set {name!r}: {problem}; correct its table")
    if name in SKELETONS:
        built_in = SKELETONS[name]
        if [*table["names"], *table["swap"]] != [*built_in.names, *built_in.swap]:
            raise FormatError(f"{name!r} is the name of another, built-in keypoint set: choose another name")
        return built_in
    names, links = tuple(table["names"]), tuple((a, b) for a, b in table["links"])
    try:
        return Skeleton(
            name=name,
            names=names,
            swap=tuple(table["swap"]),
            links=links,
            colors=link_colors(names, links),
            parts={"body": slice(0, len(names))},
        )
    except VitruvianError as error:
        raise FormatError(str(error)) from error


def from_names(names: Sequence[object], links: Sequence[object] = ()) -> Skeleton:
    """The set of a file that says nothing of it but its keypoints: the built-in one of these names, else one that is called OWN.

    Where names begin with `left_` and `right_`, a mirror exchanges them. Raises FormatError where names or links are odd.
    """
    for skeleton in SKELETONS.values():
        if skeleton.names == tuple(names):
            return skeleton
    places = {str(name): place for place, name in enumerate(names)}
    swap = [places.get(_mirrored(name), place) for name, place in places.items()]
    return from_table(OWN, {"names": list(names), "swap": swap, "links": list(links)})


def _mirrored(name: str) -> str:
    """The name of the point on the other side; the name itself where it has no side."""
    side, _, rest = name.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return f"{other}_{rest}" if other else name


def _problem(table: Mapping[str, object]) -> str:
    """What `Skeleton` would not notice, or would stumble over; "" for nothing."""
    names, swap, links = table["names"], table["swap"], table["links"]
    if not isinstance(names, list | tuple) or not 1 <= len(names) <= MAX_KEYPOINTS or not all(map(_is_name, names)):
        return f"names must be 1 to {MAX_KEYPOINTS} printable texts of at most {_MAX_NAME} characters"
    if not _are_places(swap, len(names)) or len(swap) != len(names):
        return "swap must be one place among the names for each of them"
    pairs = isinstance(links, list | tuple) and len(links) <= _MAX_LINKS
    if not pairs or not all(_are_places(pair, len(names)) and len(pair) == 2 for pair in links):
        return f"links must be at most {_MAX_LINKS} pairs of places among the names"
    return ""


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable() and value == value.strip()


def _are_places(value: object, count: int) -> bool:
    return isinstance(value, list | tuple) and all(type(place) is int and 0 <= place < count for place in value)
