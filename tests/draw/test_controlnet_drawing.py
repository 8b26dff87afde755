"""The ControlNet drawing, pixel by pixel: colours, widths, what is dimmed, what hides what, what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from vitruvian.draw.controlnet import HAND_COLORS, controlnet_scale, draw_controlnet
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, OPENPOSE_134, Skeleton
from vitruvian.take import People

INDEX = COCO_WHOLEBODY_133.index


def person(places: dict[str, tuple[float, float]], skeleton: Skeleton = COCO_WHOLEBODY_133, **confidence: float) -> People:
    """One person with only these keypoints, confidence 1 unless named."""
    keypoints, sure = np.full((1, len(skeleton), 2), np.nan), np.zeros((1, len(skeleton)))
    for name, place in places.items():
        keypoints[0, skeleton.index(name)], sure[0, skeleton.index(name)] = place, confidence.get(name, 1.0)
    return People([0], [-1], [[0, 0, 1, 1]], [1.0], keypoints, sure)


def draw(people: People, width: int = 200, height: int = 160, **options: float) -> np.ndarray:
    return draw_controlnet(people, COCO_WHOLEBODY_133, width, height, **options)


def test_a_limb_is_dimmed_and_its_joints_are_not():
    canvas = draw(person({"right_elbow": (40, 80), "right_wrist": (120, 80)}))
    limb = tuple(int(0.6 * c) for c in (255, 255, 0))  # fourth limb, 4-5 in OpenPose's count from 1
    assert tuple(canvas[80, 80]) == limb and tuple(canvas[84, 80]) == limb and tuple(canvas[76, 80]) == limb
    assert tuple(canvas[86, 80]) == (0, 0, 0)  # half width 4
    assert tuple(canvas[80, 40]) == (255, 255, 0) and tuple(canvas[80, 120]) == (170, 255, 0)  # joints 3 and 4
    assert tuple(canvas[80, 36]) == (255, 255, 0) and tuple(canvas[80, 35]) != (255, 255, 0)  # radius 4
    assert canvas.dtype == np.uint8 and canvas.shape == (160, 200, 3)


LIMBS = [
    ("neck", "right_shoulder", (255, 0, 0)),
    ("neck", "left_shoulder", (255, 85, 0)),
    ("right_shoulder", "right_elbow", (255, 170, 0)),
    ("right_elbow", "right_wrist", (255, 255, 0)),
    ("left_shoulder", "left_elbow", (170, 255, 0)),
    ("left_elbow", "left_wrist", (85, 255, 0)),
    ("neck", "right_hip", (0, 255, 0)),
    ("right_hip", "right_knee", (0, 255, 85)),
    ("right_knee", "right_ankle", (0, 255, 170)),
    ("neck", "left_hip", (0, 255, 255)),
    ("left_hip", "left_knee", (0, 170, 255)),
    ("left_knee", "left_ankle", (0, 85, 255)),
    ("neck", "nose", (0, 0, 255)),
    ("nose", "right_eye", (85, 0, 255)),
    ("right_eye", "right_ear", (170, 0, 255)),
    ("nose", "left_eye", (255, 0, 255)),
    ("left_eye", "left_ear", (255, 0, 170)),
]


@pytest.mark.parametrize(("a", "b", "color"), LIMBS)
def test_each_of_the_17_limbs_has_its_colour(a: str, b: str, color: tuple[int, int, int]):
    people = person({a: (50, 40), b: (150, 120)}, OPENPOSE_134)
    canvas = draw_controlnet(people, OPENPOSE_134, 200, 160)
    assert tuple(canvas[80, 100]) == tuple(int(0.6 * c) for c in color)


@pytest.mark.parametrize(("a", "b"), [("right_shoulder", "right_ear"), ("left_shoulder", "left_ear"), ("left_hip", "right_hip")])
def test_the_limbs_that_are_listed_but_not_drawn(a: str, b: str):
    assert not draw(person({a: (50, 40), b: (150, 120)}))[80, 100].any()


def test_eighteen_joint_colours_in_order():
    names = OPENPOSE_134.names[:18]
    places = {name: (10 + 10 * i, 80 + 40 * (i % 2)) for i, name in enumerate(names)}
    canvas = draw_controlnet(person(places, OPENPOSE_134), OPENPOSE_134, 200, 160)
    wheel = [(255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170)]
    wheel += [
        (0, 255, 255),
        (0, 170, 255),
        (0, 85, 255),
        (0, 0, 255),
        (85, 0, 255),
        (170, 0, 255),
        (255, 0, 255),
        (255, 0, 170),
        (255, 0, 85),
    ]
    assert [tuple(canvas[int(y), int(x)]) for x, y in places.values()] == wheel


def test_the_neck_is_the_middle_of_the_shoulders_and_needs_both():
    shoulders = {"left_shoulder": (140.0, 60.0), "right_shoulder": (60.0, 60.0)}
    canvas = draw(person(shoulders))
    assert tuple(canvas[60, 100]) == (255, 85, 0) and tuple(canvas[60, 80]) == (153, 0, 0) and tuple(canvas[60, 120]) == (153, 51, 0)
    doubtful = draw(person(shoulders, left_shoulder=0.3))
    assert not doubtful[60, 80].any() and not doubtful[60, 140].any() and doubtful[60, 60].any()


def test_confidence_must_be_over_the_threshold():
    places = {"right_elbow": (40, 80), "right_wrist": (120, 80), "face-0": (20, 20), "left_thumb1": (180, 20)}
    for name in places:
        x, y = places[name]
        low, high = draw(person(places, **{name: 0.299})), draw(person(places, **{name: 0.301}))
        assert not low[y, x].any() or name.startswith("right") and not low[80, 80].any(), name
        assert high[y, x].any()
    assert draw(person(places, right_wrist=0.2), threshold=0.1)[80, 120].any()


def test_hands_are_rainbow_lines_with_blue_points():
    places = {f"left_{name}": (20 + 16 * i, 120) for i, name in enumerate(("hand_root", "thumb1", "thumb2", "thumb3", "thumb4"))}
    canvas = draw(person(places))
    assert [tuple(canvas[120, 28 + 16 * edge]) for edge in range(4)] == list(HAND_COLORS[:4])
    assert HAND_COLORS[:2] == ((255, 0, 0), (255, 77, 0)) and HAND_COLORS[10] == (0, 255, 255) and len(set(HAND_COLORS)) == 20
    assert tuple(canvas[120, 36]) == (0, 0, 255) and tuple(canvas[124, 36]) == (0, 0, 255) and not canvas[126, 36].any()
    assert not canvas[123, 28].any()  # width 2


def test_faces_are_white_points_and_feet_are_nothing():
    canvas = draw(person({"face-8": (60, 60), "left_heel": (120, 60)}))
    assert tuple(canvas[60, 60]) == (255, 255, 255) and tuple(canvas[63, 60]) == (255, 255, 255) and not canvas[64, 60].any()
    assert not canvas[:, 100:].any()


def test_hand_and_face_points_on_the_edge_are_skipped():
    assert not draw(person({"face-8": (0.9, 60), "left_thumb1": (60, -3), "right_thumb1": (60, 0)})).any()
    assert draw(person({"right_wrist": (0.9, 60)})).any()  # those of the body are not


def test_hands_and_face_lie_over_the_bodies_of_all_people():
    a = person({"left_thumb1": (100, 80)})
    b = person({"right_elbow": (40, 80), "right_wrist": (160, 80)})
    canvas = draw(People.concatenate([a, b]))
    assert tuple(canvas[80, 100]) == (0, 0, 255) and tuple(canvas[80, 70]) == (153, 153, 0)


def test_slanted_limbs_end_at_their_joints():
    canvas = draw(person({"right_elbow": (40.0, 30.0), "right_wrist": (140.0, 130.0)}))
    drawn = np.argwhere((canvas == (153, 153, 0)).all(-1))
    along = (drawn[:, 1] - 90 + drawn[:, 0] - 80) / np.sqrt(2)
    across = (drawn[:, 1] - 90 - drawn[:, 0] + 80) / np.sqrt(2)
    assert 66 < np.abs(along).max() <= 72 and 3 <= np.abs(across).max() <= 5.5


def test_scale_widens_everything_and_is_1_up_to_512_pixels():
    assert controlnet_scale(640, 480) == 1 and controlnet_scale(2048, 1024) == 2
    thick = draw(person({"right_elbow": (40, 80), "right_wrist": (160, 80)}), scale=2.0)
    assert thick[88, 100].any() and not thick[90, 100].any()


def test_other_sets_nobody_and_nonsense():
    body = draw_controlnet(person({"left_elbow": (40, 80), "left_wrist": (120, 80)}, COCO_17), COCO_17, 200, 160)
    assert tuple(body[80, 80]) == (51, 153, 0)
    assert not draw(People.empty(133)).any()
    far = person({"right_elbow": (1e9, 80), "right_wrist": (40, 80), "face-1": (1e30, 5), "left_thumb1": (-1e30, 5)})
    assert not draw(far)[80, 60:].any()
    for width, height, scale in ((0, 10, 1.0), (10, -1, 1.0), (10, 10, 0.0), (10, 10, float("nan"))):
        with pytest.raises(VitruvianError, match="positive"):
            draw_controlnet(People.empty(133), COCO_WHOLEBODY_133, width, height, scale=scale)
