"""Keypoint sets as tables: the same set comes back, and tables that are none are refused."""

import json

import pytest

from vitruvian.errors import FormatError
from vitruvian.skeletons import COCO_17, SKELETONS, Skeleton
from vitruvian.skeletons.table import MAX_KEYPOINTS, from_table, table_of

MINE = Skeleton("mine", ("nose", "l_spot", "r_spot"), (0, 2, 1), ((0, 1), (0, 2)), ((1, 2, 3), (4, 5, 6)), {"body": slice(0, 3)})
TABLE = {"names": ["nose", "l_spot", "r_spot"], "swap": [0, 2, 1], "links": [[0, 1], [0, 2]]}


def test_a_set_comes_back_from_its_table():
    assert table_of(MINE) == TABLE
    back = from_table("mine", json.loads(json.dumps(TABLE)))
    assert (back.name, back.names, back.swap, back.links) == (MINE.name, MINE.names, MINE.swap, MINE.links)
    assert len(back.colors) == 2 and back.parts["body"] == slice(0, 3)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_of_built_in_sets_the_name_is_enough(skeleton):
    assert table_of(skeleton) == {} and from_table(skeleton.name, {}) is skeleton


def test_a_table_that_a_later_package_builds_in_is_that_set():
    table = {"names": list(COCO_17.names), "swap": list(COCO_17.swap), "links": []}
    assert from_table("coco-17", table) is COCO_17
    with pytest.raises(FormatError, match="built-in"):
        table_of(Skeleton("coco-17", MINE.names, MINE.swap, (), (), {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, "names"),
        ({"names": ["a", "a", "b"]}, "share a name"),
        ({"names": ["a\tb", "c", "d"]}, "printable"),
        ({"names": ["a", 3, "d"]}, "printable"),
        ({"names": "abc"}, "names"),
        ({"names": ["x" * 101, "c", "d"]}, "printable"),
        ({"names": [str(i) for i in range(MAX_KEYPOINTS + 1)]}, "names"),
        ({"swap": [0, 1]}, "swap"),
        ({"swap": [0, 2, -2]}, "swap"),
        ({"swap": [0, 2, True]}, "swap"),
        ({"swap": [1, 2, 0]}, "involution"),
        ({"swap": [0, 2, 10**30]}, "swap"),
        ({"links": [[0, 3]]}, "links"),
        ({"links": [[0, 1, 2]]}, "links"),
        ({"links": [[0, 1.0]]}, "links"),
        ({"links": [0]}, "links"),
        ({"links": [[0, 1]] * 5000}, "links"),
        ({"more": 1}, "update vitruvian"),
    ],
)
def test_tables_that_are_no_sets_are_refused(change, message):
    with pytest.raises(FormatError, match=message):
        from_table("mine", TABLE | change)


@pytest.mark.parametrize("name", ["", 3, None, "a\n", " a", "x" * 101])
def test_odd_names_are_refused(name):
    with pytest.raises(FormatError, match="name"):
        from_table(name, TABLE)


def test_a_name_alone_that_nobody_knows_is_refused():
    with pytest.raises(FormatError, match="update vitruvian"):
        from_table("mine", {})
