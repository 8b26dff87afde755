"""Small pictures and clips of a moving stick figure, drawn in a fraction of a millisecond: data for tests, first runs and claims in small.

The figure has PoseTrack's joints (ears are never labelled). Its limbs have a colour each, so that left and right can be told; there is
clutter behind it and, if asked for, something in front of it. `vitruvian.synth` draws whole people; this is what learns within minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from vitruvian.skeletons import POSETRACK_17

K = len(POSETRACK_17)
EARS = [POSETRACK_17.index("left_ear"), POSETRACK_17.index("right_ear")]
LIMBS = {
    "head": ("nose", "head_bottom", "head_top"),
    "left_arm": ("left_shoulder", "left_elbow", "left_wrist"),
    "right_arm": ("right_shoulder", "right_elbow", "right_wrist"),
    "left_leg": ("left_hip", "left_knee", "left_ankle"),
    "right_leg": ("right_hip", "right_knee", "right_ankle"),
}
_COLOURS = {"left_arm": (230, 60, 50), "right_arm": (50, 80, 230), "left_leg": (230, 180, 40), "right_leg": (40, 190, 90)}
_SWING = {"arm": (1.3, 0.9), "leg": (0.5, 0.5)}  # how far limbs turn away from hanging, at the body and in their middle, radians
_BREADTH = 0.16
_SHUTTER = np.linspace(-0.5, 0.5, 9)
"""Moments of the time that a shutter is open."""


@dataclass(frozen=True)
class Scene:
    """What may be hard about a picture.

    hidden: chance that one limb of the key frame lies behind a bar, or is blurred away; blurred: the share of blurs among these.
    ambiguous: chance that the right forearm is drawn twice, to both sides; the true one bends the way of the left one. labelled: share of
    the joints that have a label. exposure: for how many frames' time the shutter is open at the key frame, 0 for no motion blur.
    """

    hidden: float = 0.0
    ambiguous: float = 0.0
    labelled: float = 1.0
    clutter: int = 6
    noise: float = 8.0
    blurred: float = 0.5
    exposure: float = 0.0


@dataclass(frozen=True, eq=False)
class Clip:
    """frames: (F, h, w, 3) RGB, the key frame in the middle. keypoints: (17, 3) of the key frame: x, y, weight. hidden, ambiguous: (17,).

    Joints without label keep their place (the ears aside), so that a test can ask for them.
    """

    frames: UInt8[np.ndarray, "f h w 3"]
    keypoints: Float[np.ndarray, "17 3"]
    hidden: Bool[np.ndarray, " 17"]
    ambiguous: Bool[np.ndarray, " 17"]


def draw_clip(rng: np.random.Generator, size: tuple[int, int], frames: int = 1, scene: Scene = Scene()) -> Clip:
    """One clip of `size` (width, height). All randomness is `rng`'s."""
    width, height = size
    length = rng.uniform(0.62, 0.85) * height
    start, speed = _angles(rng), rng.normal(0, 0.18, (len(_COLOURS), 2))
    root = np.array([width, height]) * rng.uniform([0.4, 0.4], [0.6, 0.5])
    drift, lean = rng.normal(0, 0.02, 2) * height, rng.normal(0, 0.12)
    twice = rng.random() < scene.ambiguous
    if twice:
        start[1, 1] = np.copysign(max(abs(start[1, 1]), 0.6), start[0, 1])
        speed[1, 1] = 0.0
    background = _background(rng, size, scene)
    limb = list(LIMBS)[rng.integers(1, len(LIMBS))] if rng.random() < scene.hidden else ""
    middle, pictures = frames // 2, []

    def joints_at(time: float) -> np.ndarray:
        return _joints(root + drift * time, start + speed * time, lean, length)

    keypoints = joints_at(0)
    for frame in range(frames):
        times = frame + scene.exposure * _SHUTTER if frame == middle and scene.exposure else np.array([frame])
        image = _exposed(background, [joints_at(time - middle) for time in times], length, twice)
        if frame == middle and limb:
            _hide(rng, image, keypoints[[POSETRACK_17.index(name) for name in LIMBS[limb]]], length, scene.blurred)
        pictures.append(image)
    noisy = np.stack(pictures) + rng.normal(0, scene.noise, (frames, height, width, 1))
    labelled = rng.random(K) < scene.labelled
    labelled[EARS] = False
    hidden, unsure = np.zeros(K, bool), np.zeros(K, bool)
    hidden[[POSETRACK_17.index(name) for name in LIMBS.get(limb, ())]] = True
    unsure[POSETRACK_17.index("right_wrist")] = twice
    table = np.concatenate([keypoints, labelled[:, None]], axis=1).astype(np.float32)
    return Clip(np.clip(noisy, 0, 255).astype(np.uint8), table, hidden, unsure)


def _angles(rng: np.random.Generator) -> Float[np.ndarray, "4 2"]:
    """How each limb of `_COLOURS` is turned, away from hanging: its upper part, and its lower part beyond that."""
    return np.array([rng.normal(0, 1, 2) * _SWING[name.split("_")[1]] for name in _COLOURS])


def _joints(root: np.ndarray, angles: Float[np.ndarray, "4 2"], lean: float, length: float) -> Float[np.ndarray, "17 2"]:
    """Joints of a figure `length` pixels high; its left side is on the picture's right, as of somebody who looks at the camera."""
    up, across = np.array([np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), np.sin(lean)])
    places = {"head_bottom": root + 0.3 * length * up, "nose": root + 0.36 * length * up, "head_top": root + 0.45 * length * up}
    for number, name in enumerate(_COLOURS):
        side, kind = name.split("_")
        sign = 1.0 if side == "left" else -1.0
        arm = kind == "arm"
        place = root + (0.26 * length * up if arm else 0) + sign * (0.11 if arm else 0.07) * length * across
        turn, reach = lean, (0.15 if arm else 0.24) * length
        for joint, angle in zip(("shoulder", "elbow", "wrist") if arm else ("hip", "knee", "ankle"), (*angles[number], 0.0), strict=True):
            places[f"{side}_{joint}"] = place
            turn = turn + angle * sign
            place = place + reach * np.array([np.sin(turn), np.cos(turn)])
    places |= {"left_ear": places["nose"], "right_ear": places["nose"]}
    return np.array([places[name] for name in POSETRACK_17.names])


def _draw(image: np.ndarray, joints: np.ndarray, length: float, twice: bool) -> None:
    thick = max(1, round(0.05 * length))

    def at(name: str) -> tuple[int, int]:
        return tuple(int(round(float(v))) for v in joints[POSETRACK_17.index(name)])

    body = np.array(
        [at(f"{side}_{joint}") for side, joint in (("left", "shoulder"), ("right", "shoulder"), ("right", "hip"), ("left", "hip"))]
    )
    cv2.fillConvexPoly(image, body, (150, 90, 160), cv2.LINE_AA)
    cv2.line(image, at("head_bottom"), at("head_top"), (225, 190, 160), 2 * thick, cv2.LINE_AA)
    cv2.circle(image, at("nose"), max(1, thick // 2), (120, 40, 40), -1, cv2.LINE_AA)
    for name, colour in _COLOURS.items():
        a, b, c = (at(joint) for joint in LIMBS[name])
        cv2.line(image, a, b, colour, thick, cv2.LINE_AA)
        cv2.line(image, b, c, tuple(int(0.7 * v) for v in colour), thick, cv2.LINE_AA)
        if twice and name == "right_arm":
            cv2.line(image, b, _mirrored(a, b, c), tuple(int(0.7 * v) for v in colour), thick, cv2.LINE_AA)


def _mirrored(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> tuple[int, int]:
    """c on the other side of the line from a through b."""
    along = np.subtract(b, a) / max(np.hypot(*np.subtract(b, a)), 1e-6)
    out = np.subtract(c, b)
    return tuple(int(round(float(v))) for v in np.add(b, 2 * (out @ along) * along - out))


def _exposed(background: np.ndarray, moments: list[Float[np.ndarray, "17 2"]], length: float, twice: bool) -> UInt8[np.ndarray, "h w 3"]:
    """The figure before the background: the mean of what it looks like at some moments."""
    images = np.stack([background] * len(moments))
    for image, joints in zip(images, moments, strict=True):
        _draw(image, joints, length, twice)
    return images[0] if len(images) == 1 else images.mean(axis=0).round().astype(np.uint8)


def _hide(rng: np.random.Generator, image: np.ndarray, joints: Float[np.ndarray, "3 2"], length: float, blurred: float) -> None:
    """A striped bar over a limb, or (with the chance `blurred`) a blur that leaves nothing of it; in place."""
    margin = _BREADTH * length / 2
    low = np.clip((joints.min(axis=0) - margin).astype(int), 0, None)
    high = np.clip((joints.max(axis=0) + margin).astype(int) + 1, 0, image.shape[1::-1])
    piece = image[low[1] : high[1], low[0] : high[0]]
    if not piece.size:
        return
    if rng.random() < 1 - blurred:
        piece[:] = rng.uniform(30, 220, 3)
        piece[:: int(rng.integers(2, 5))] = rng.uniform(30, 220, 3)
    else:
        piece[:] = cv2.blur(piece, (max(3, int(0.5 * length)),) * 2)


def _background(rng: np.random.Generator, size: tuple[int, int], scene: Scene) -> UInt8[np.ndarray, "h w 3"]:
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.uniform(40, 215, 3)
    for _ in range(int(rng.integers(0, scene.clutter + 1))):
        start, end = rng.uniform(0, size, 2), rng.uniform(0, size, 2)
        colour = tuple(int(v) for v in rng.uniform(0, 255, 3))
        if rng.random() < 0.5:
            cv2.line(
                image, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), colour, int(rng.integers(1, 4)), cv2.LINE_AA
            )
        else:
            corner = start + (end - start) * 0.3
            cv2.rectangle(image, tuple(start.astype(int).tolist()), tuple(corner.astype(int).tolist()), colour, -1)
    return image
