"""Every keypoint set is consistent in itself and equal to what its source publishes."""

from __future__ import annotations

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import (
    COCO_17,
    COCO_WHOLEBODY_133,
    CROWDPOSE_14,
    HALPE_26,
    HAND_21,
    MPII_16,
    OPENPOSE_134,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    POSETRACK_15,
    POSETRACK_17,
    SKELETONS,
    SMPL_24,
    Skeleton,
    by_name,
)

every = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)

# As published, in one list.
FLIP_133 = (
    [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27]
    + [26, 25, 24, 23, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 50, 51, 52, 53, 58, 57, 56, 55, 54, 68, 67, 66, 65, 70, 69, 62, 61, 60, 59]
    + [64, 63, 77, 76, 75, 74, 73, 72, 71, 82, 81, 80, 79, 78, 87, 86, 85, 84, 83, 90, 89, 88]
    + [*range(112, 133), *range(91, 112)]
)
# Thousandths: body, feet, face, each hand.
SIGMAS_133 = (
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    + [68, 66, 66, 92, 94, 94]
    + [42, 43, 44, 43, 40, 35, 31, 25, 20, 23, 29, 32, 37, 38, 43, 41, 45, 13, 12, 11, 11, 12, 12, 11, 11, 13, 15, 9, 7, 7, 7, 12, 9, 8, 16]
    + [10, 17, 11, 9, 11, 9, 7, 13, 8, 11, 12, 10, 34, 8, 8, 9, 8, 8, 7, 10, 8, 9, 9, 9, 7, 7, 8, 11, 8, 8, 8, 10, 8]
    + [29, 22, 35, 37, 47, 26, 25, 24, 35, 18, 24, 22, 26, 17, 21, 21, 32, 20, 19, 22, 31] * 2
)


@every
def test_set_is_consistent(skeleton: Skeleton):
    size = len(skeleton)
    assert str(size) in skeleton.name and len(set(skeleton.names)) == size
    assert [skeleton.swap[j] for j in skeleton.swap] == list(range(size))
    assert all(0 <= i < size for link in skeleton.links for i in link)
    assert len(skeleton.colors) == len(skeleton.links)
    assert all(0 <= channel <= 255 for color in skeleton.colors for channel in color)
    assert skeleton.sigmas is None or (skeleton.sigmas.shape == (size,) and (skeleton.sigmas > 0).all())


@every
def test_parts_cover_every_point_once(skeleton: Skeleton):
    covered = [i for part in skeleton.parts.values() for i in range(size)[part]] if (size := len(skeleton)) else []
    assert sorted(covered) == list(range(size))


@every
def test_parents_lead_to_one_root(skeleton: Skeleton):
    if skeleton.parents is None:
        return
    assert skeleton.parents.count(-1) == 1
    for i in range(len(skeleton)):
        path = [i]
        while path[-1] != -1:
            path.append(skeleton.parents[path[-1]])
            assert len(path) <= len(skeleton) + 1
    bones = {frozenset((i, parent)) for i, parent in enumerate(skeleton.parents) if parent >= 0}
    assert bones == {frozenset(link) for link in skeleton.links}


@every
def test_swap_exchanges_left_and_right_names(skeleton: Skeleton):
    for name, j in zip(skeleton.names, skeleton.swap, strict=True):
        if name.startswith("left_"):
            assert skeleton.names[j] == name.replace("left_", "right_", 1)
        elif not name.startswith("right_"):
            assert not skeleton.names[j].startswith(("left_", "right_"))


@every
def test_links_are_the_same_in_the_mirror(skeleton: Skeleton):
    links = {frozenset(link) for link in skeleton.links}
    mirrored = {frozenset((skeleton.swap[a], skeleton.swap[b])) for a, b in skeleton.links}
    assert links == mirrored


@every
def test_found_by_name(skeleton: Skeleton):
    assert by_name(skeleton.name) is skeleton
    assert by_name(skeleton.name.upper().replace("-", "_")) is skeleton
    assert skeleton.index(skeleton.names[-1]) == len(skeleton) - 1


def test_wholebody_is_as_published():
    assert list(COCO_WHOLEBODY_133.swap) == FLIP_133
    assert len(COCO_WHOLEBODY_133.links) == 65 and COCO_WHOLEBODY_133.links[-1] == (131, 132)
    names, sigmas = COCO_WHOLEBODY_133.names, COCO_WHOLEBODY_133.sigmas
    samples = {0: ("nose", 0.026), 16: ("right_ankle", 0.089), 19: ("left_heel", 0.066), 20: ("right_big_toe", 0.092)}
    samples |= {23: ("face-0", 0.042), 57: ("face-34", 0.016), 70: ("face-47", 0.034), 90: ("face-67", 0.008), 75: ("face-52", 0.008)}
    samples |= {91: ("left_hand_root", 0.029), 104: ("left_ring_finger1", 0.017), 132: ("right_pinky_finger4", 0.031)}
    assert {i: (names[i], sigmas[i]) for i in samples} == samples
    assert COCO_17.names == names[:17] and (COCO_17.sigmas == sigmas[:17]).all()
    np.testing.assert_allclose(sigmas, np.array(SIGMAS_133) / 1000, rtol=0, atol=1e-12)


def test_openpose_orders_are_as_published():
    order = [None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    expected = ["nose", "neck", *(COCO_17.names[i] for i in order[1:])]
    assert list(OPENPOSE_BODY_18.names) == expected
    assert OPENPOSE_134.names[:18] == OPENPOSE_BODY_18.names
    assert OPENPOSE_134.names[18:] == COCO_WHOLEBODY_133.names[17:]
    assert OPENPOSE_BODY_25.names[8] == "mid_hip" and OPENPOSE_BODY_25.names[19:] == COCO_WHOLEBODY_133.names[17:23]
    assert len(OPENPOSE_BODY_18.links) == 17 and OPENPOSE_BODY_18.colors[0] == (255, 0, 0)


def test_other_published_facts():
    assert HALPE_26.names[20:] == ("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel")
    assert POSETRACK_15.names == tuple(POSETRACK_17.names[i] for i in [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9, 1, 0, 2])
    assert SMPL_24.parents == (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    assert CROWDPOSE_14.sigmas.tolist() == [*(s for s in (0.079, 0.072, 0.062, 0.107, 0.087, 0.089) for _ in range(2)), 0.079, 0.079]
    assert [MPII_16.names[i] for i in (0, 6, 9, 15)] == ["right_ankle", "pelvis", "head_top", "left_wrist"]
    assert [HAND_21.names[i] for i in (0, 4, 8, 12, 16, 20)] == [
        "wrist",
        "thumb4",
        "forefinger4",
        "middle_finger4",
        "ring_finger4",
        "pinky_finger4",
    ]


def test_sets_are_read_only():
    with pytest.raises(ValueError):
        COCO_17.sigmas[0] = 1
    with pytest.raises(TypeError):
        COCO_17.parts["tail"] = slice(0, 1)
    with pytest.raises(TypeError):
        SKELETONS["mine"] = COCO_17


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(VitruvianError, match="coco-wholebody-133"):
        by_name("coco-18")
    with pytest.raises(VitruvianError, match="tail"):
        COCO_17.index("tail")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"swap": (1, 2, 0)}, "involution"),
        ({"links": ((0, 3),)}, "link"),
        ({"colors": ()}, "colours"),
        ({"names": ("a", "a", "c")}, "share"),
        ({"parents": (1, 0, -1)}, "tree"),
        ({"sigmas": np.ones(2)}, "sigmas"),
    ],
)
def test_contradicting_tables_are_refused(change: dict, message: str):
    tables = {"names": ("a", "b", "c"), "swap": (0, 1, 2), "links": ((0, 1),), "colors": ((0, 0, 0),), "parts": {}}
    with pytest.raises(VitruvianError, match=message):
        Skeleton(name="mine", **{**tables, **change})
