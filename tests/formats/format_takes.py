"""Takes to write and read: arbitrary ones (hypothesis), and a person in 3D whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, OPENPOSE_BODY_25, Skeleton
from vitruvian.take import People, Take

SHARED = Path(__file__).parents[3] / "shared" / "data"


@st.composite
def takes(draw: st.DrawFn, skeletons: tuple[Skeleton, ...] = (COCO_17, OPENPOSE_BODY_25), optional: bool = True) -> Take:
    """0 to 4 frames of 0 to 3 people each, tracked or not, some points missing; values as a camera would give them."""
    skeleton = draw(st.sampled_from(skeletons))
    counts = draw(st.lists(st.integers(0, 3), max_size=4))
    n, k, frames = sum(counts), len(skeleton), len(counts)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seen = rng.uniform(size=(n, k)) < draw(st.sampled_from([0.0, 0.7, 1.0]))
    confidence = np.where(seen, rng.uniform(0.01, 1, (n, k)), 0)
    corner = rng.uniform(-50, 600, (n, 2))
    columns: dict[str, np.ndarray | None] = {}
    if optional and draw(st.booleans()):
        columns["points"] = np.where(seen[..., None], rng.normal(size=(n, k, 3)), np.nan)
        columns["orientation"] = np.where(rng.uniform(size=n) < 0.8, rng.uniform(-3, 3, n), np.nan)
    if optional and draw(st.booleans()):
        columns["part_boxes"] = np.where(rng.uniform(size=(n, 6, 1)) < 0.8, rng.uniform(0, 500, (n, 6, 4)), np.nan)
    if optional and draw(st.booleans()):
        columns |= {
            "body_pose": rng.normal(size=(n, 5, 3)),
            "body_shape": rng.normal(size=(n, 4)),
            "body_translation": rng.normal(size=(n, 3)),
        }
    people = People(
        frame=np.repeat(np.arange(frames), counts),
        track=[-1 if not draw(st.booleans()) else i for count in counts for i in range(count)],
        boxes=np.concatenate([corner, corner + rng.uniform(0, 300, (n, 2))], axis=1),
        scores=rng.uniform(size=n),
        keypoints=np.where(seen[..., None], rng.uniform(-20, 700, (n, k, 2)), np.nan),
        confidence=confidence,
        **columns,
    )
    names = (
        draw(hnp.arrays(object, frames, elements=st.sampled_from(["a.jpg", "dir/b.png", 'ü, "c".jpg', ""]))) if draw(st.booleans()) else []
    )
    return Take(
        people=people,
        skeleton=skeleton,
        times=np.cumsum(rng.uniform(0.01, 0.1, frames)),
        sizes=np.full((frames, 2), (640, 480)),
        names=tuple(sorted(names)) if len(names) else ("walk.mp4",),  # in the order that folders of files are read in
        source=draw(st.sampled_from(["", "walk.mp4"])),
        cards=("detector", "pose") if draw(st.booleans()) else (),
        complete=draw(st.booleans()),
        space="camera" if "points" in columns else "",
        body="some body" if "body_pose" in columns else "",
    )


def assert_columns_agree(found: Take, wanted: Take, names: tuple[str, ...], atol: float = 6e-4) -> None:
    """The named columns of People are there in both, or in neither, and agree; rows in the same order."""
    for name in names:
        here, there = getattr(found.people, name), getattr(wanted.people, name)
        if there is None or not len(there) or not np.isfinite(there).any():
            assert here is None or not np.isfinite(here).any(), name
            continue
        np.testing.assert_allclose(here, there, atol=atol, rtol=0, err_msg=name)


def body_points(frames: int = 30, seed: int = 0) -> np.ndarray:
    """(F, 133, 3) metres, y up: a person of constant bone lengths who turns, walks on, bends joints and moves the fingers."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, frames)

    def turn(scale: float) -> np.ndarray:
        """A smooth rotation over time, within `scale` radians."""
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle = scale * np.sin(2 * np.pi * (time * rng.uniform(0.3, 1) + rng.uniform()))
        cross = np.cross(np.eye(3), axis).T
        return np.eye(3) + np.sin(angle)[:, None, None] * cross + (1 - np.cos(angle))[:, None, None] * (cross @ cross)

    index = COCO_WHOLEBODY_133.index
    points = np.full((frames, 133, 3), np.nan)

    def put(name: str, origin: np.ndarray, rotation: np.ndarray, offset: tuple[float, float, float]) -> np.ndarray:
        points[:, index(name)] = origin + rotation @ np.array(offset)
        return points[:, index(name)]

    hips = np.stack([0.2 * time, 0.95 + 0.02 * np.sin(9 * time), 1.3 * time], axis=-1)
    pelvis = turn(0.5)
    spine = pelvis @ turn(0.3)
    chest = hips + spine @ np.array([0, 0.5, 0])
    shoulders = spine @ turn(0.3)
    # The trunk's frame is made of its line and the shoulders' line: keep these two at right angles, as the rig does.
    across = np.cross(spine[..., 1], shoulders[..., 2])
    shoulders = np.stack([across / np.linalg.norm(across, axis=-1, keepdims=True), spine[..., 1], np.zeros_like(across)], axis=-1)
    shoulders[..., 2] = np.cross(shoulders[..., 0], shoulders[..., 1])
    head_place, head = chest + (shoulders @ turn(0.3)) @ np.array([0, 0.22, 0]), shoulders @ turn(0.4)
    put("left_ear", head_place, head, (0.08, 0, 0)), put("right_ear", head_place, head, (-0.08, 0, 0))
    put("nose", head_place, head, (0, 0, 0.11))
    for side, out in (("left", 1.0), ("right", -1.0)):
        thigh, foot = pelvis @ turn(0.5), turn(0.3)
        shin = thigh @ turn(0.6)
        hip = put(f"{side}_hip", hips, pelvis, (0.1 * out, 0, 0))
        knee = put(f"{side}_knee", hip, thigh, (0, -0.42, 0))
        ankle = put(f"{side}_ankle", knee, shin, (0, -0.41, 0))
        put(f"{side}_heel", ankle, foot, (0, -0.07, -0.05))
        put(f"{side}_big_toe", ankle, foot, (-0.03 * out, -0.07, 0.17)), put(f"{side}_small_toe", ankle, foot, (0.05 * out, -0.07, 0.13))
        arm, hand = shoulders @ turn(0.9), shoulders @ turn(0.9)
        shoulder = put(f"{side}_shoulder", chest, shoulders, (0.18 * out, 0, 0))
        elbow = put(f"{side}_elbow", shoulder, arm, (0.29 * out, 0, 0))
        wrist = put(f"{side}_wrist", elbow, arm @ turn(0.8), (0.26 * out, 0, 0))
        put(f"{side}_hand_root", wrist, hand, (0, 0, 0))
        for n, finger in enumerate(("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")):
            knuckle = put(f"{side}_{finger}1", wrist, hand, (0.09 * out - 0.05 * (n == 0) * out, 0, 0.03 - 0.02 * n))
            for joint in (2, 3, 4):
                knuckle = put(f"{side}_{finger}{joint}", knuckle, hand @ turn(0.4), (0.03 * out, 0, 0.02 * (n == 0)))
    return points


def walk_take(frames: int = 30, persons: int = 1) -> Take:
    """`body_points` of so many persons with tracks 1, 2, ...; pixels from a simple camera, in the world."""
    each = [body_points(frames, seed) for seed in range(persons)]
    points = np.stack(each, axis=1).reshape(-1, 133, 3)
    n = len(points)
    keypoints = np.stack([320 + 100 * points[..., 0], 400 - 100 * points[..., 1]], axis=-1)
    people = People(
        frame=np.repeat(np.arange(frames), persons),
        track=np.tile(np.arange(persons) + 1, frames),
        boxes=np.tile([200.0, 100, 400, 420], (n, 1)),
        scores=np.full(n, 0.9),
        keypoints=keypoints,
        confidence=np.where(np.isfinite(keypoints).all(-1), 0.8, 0),
        points=points,
    )
    return Take(people, COCO_WHOLEBODY_133, np.arange(frames) / 25, np.full((frames, 2), (640, 480)), ("walk.mp4",), space="world")


def without_points(take: Take) -> Take:
    """The same take in pixels only."""
    return replace(take, people=replace(take.people, points=None), space="")
