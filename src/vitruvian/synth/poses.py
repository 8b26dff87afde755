"""Random human poses by rule: whole-body attitudes, arms, hands and faces, in Anny's `local-ref` pose parameters.

In `local-ref` every bone's rotation is given in world-aligned axes relative to its parent, and the identity is Anny's
reference pose: x to the person's left, y to the back, z up, arms hanging at 45 degrees, elbows bent by about 45 degrees.
So each rule below reads like anatomy: a thigh swings forward by a negative turn about x. Angles are in radians.

The mixture is ours: mostly upright people seen from the front, because an earlier trial with independent joint noise and rolled
bodies learnt to roll upright people and to swap left and right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

DEGREE = np.pi / 180
SIDES = ("L", "R")
FINGERS = {1: ("finger1-1", "finger1-2", "finger1-3")} | {i: tuple(f"finger{i}-{j}" for j in (1, 2, 3)) for i in (2, 3, 4, 5)}

# Attitudes of the legs and trunk, and how often each is drawn.
ATTITUDES = {"stand": 0.42, "stride": 0.20, "sit": 0.12, "crouch": 0.11, "lunge": 0.06, "kick": 0.07, "bend": 0.02}
# Attitudes of one arm, and how often each is drawn.
ARMS = {"hang": 0.34, "bent": 0.27, "forward": 0.13, "aside": 0.10, "overhead": 0.08, "across": 0.08}
# Signs of a hand: how far thumb to little finger are curled. Pointing, victory, thumb up, fist, flat hand, "okay", three, call, horns.
SIGNS = (
    (0.8, 0, 0.9, 0.9, 0.9), (0.9, 0, 0, 0.95, 0.95), (0, 1, 1, 1, 1), (0.9, 1, 1, 1, 1), (0, 0, 0, 0, 0), (0.7, 0.75, 0.1, 0.05, 0),
    (0.9, 0, 0, 0, 0.95), (0, 0.95, 0.95, 0.95, 0), (0.8, 0, 0.95, 0.95, 0),
)  # fmt: skip
_MOST_BENT, _MOST_LIFTED = 60 * DEGREE, 65 * DEGREE  # of a hip that gives way to a shorter leg, and of a heel
_X, _Z = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])


def rotation(axis: np.ndarray, angle: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Rodrigues' formula: rotation matrices about `axis` (3,) or (n, 3), any length, by `angle` (n,)."""
    angle = np.asarray(angle, float).reshape(-1)
    axis = np.broadcast_to(np.asarray(axis, float), (len(angle), 3))
    axis = axis / (np.linalg.norm(axis, axis=1, keepdims=True) + 1e-12)
    k = np.zeros((len(angle), 3, 3))
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    k[:, 1, 0], k[:, 2, 0], k[:, 2, 1] = axis[:, 2], -axis[:, 1], axis[:, 0]
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + s * k + (1 - c) * (k @ k)


def shortest_arc(a: np.ndarray, b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """The smallest rotations that take direction `a` (3,) to directions `b`."""
    a = a / np.linalg.norm(a)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return rotation(np.cross(np.broadcast_to(a, b.shape), b) + 1e-9, np.arccos(np.clip(b @ a, -1, 1)))


@dataclass(frozen=True)
class Rig:
    """What the pose rules must know of the skeleton: bone names, and each bone's head in the reference pose, metres."""

    names: tuple[str, ...]
    heads: Float[np.ndarray, "k 3"]

    def direction(self, start: str, end: str) -> Float[np.ndarray, " 3"]:
        """Unit vector from one bone's head to another's in the reference pose."""
        d = self.heads[self.names.index(end)] - self.heads[self.names.index(start)]
        return d / np.linalg.norm(d)


def _choose(rng, table: dict[str, float], n: int) -> np.ndarray:
    weights = np.array(list(table.values()))
    return rng.choice(list(table), size=n, p=weights / weights.sum())


def _pick(mode: np.ndarray, table: dict[str, np.ndarray]) -> np.ndarray:
    return np.select([mode == name for name in table], list(table.values()))


def _legs(rng, attitude: np.ndarray) -> dict[str, np.ndarray]:
    """Hip and knee angles of both legs, degrees, by attitude."""
    n = len(attitude)
    u, g = lambda a, b: rng.uniform(a, b, n), lambda m, s: rng.normal(m, s, n)
    first = rng.random(n) < 0.5  # which leg leads
    swing = u(8, 45)
    lead = {
        "stand": (g(3, 7), np.abs(g(5, 4)), np.abs(g(4, 6))), "stride": (swing, g(2, 3), np.abs(g(12, 14))),
        "sit": (u(65, 105), u(-4, 25), u(50, 115)), "crouch": (u(25, 100), u(2, 28), u(35, 120)),
        "lunge": (u(50, 100), g(4, 6), u(60, 110)), "kick": (u(-25, 110), u(0, 60), u(0, 110)),
        "bend": (u(40, 95), g(5, 5), u(0, 25)), "board": (u(10, 75), u(8, 32), u(20, 100)), "ski": (u(15, 70), g(7, 5), u(20, 90)),
        "ride": (u(45, 95), u(4, 35), u(45, 110)), "swing": (u(0, 45), u(8, 28), u(5, 50)),
        "lie": (u(-8, 60), np.abs(g(6, 8)), u(0, 80)),
        "kneel": (u(-10, 35), g(6, 6), u(75, 135)), "squat": (u(90, 125), u(8, 35), u(95, 140)),
        "cross": (u(70, 100), u(25, 50), u(100, 130)),
    }  # fmt: skip
    tie = rng.random(n) < 0.7  # the two legs of a sitting or crouching person mostly agree
    other = {
        "stand": (g(3, 7), np.abs(g(5, 4)), np.abs(g(4, 6))),
        "stride": (-0.7 * swing, g(2, 3), u(5, 30) + (rng.random(n) < 0.4) * u(20, 70)),
        "sit": np.where(tie, np.stack(lead["sit"]) + rng.normal(0, 7, (3, n)), np.stack([u(60, 105), u(-4, 25), u(20, 115)])),
        "crouch": np.where(tie, np.stack(lead["crouch"]) + rng.normal(0, 8, (3, n)), np.stack([u(25, 100), u(2, 28), u(35, 120)])),
        "lunge": (u(-25, 5), g(4, 5), u(20, 100)), "kick": (g(4, 8), np.abs(g(4, 4)), np.abs(g(8, 10))),
        "bend": (lead["bend"][0] + g(0, 5), g(5, 5), u(0, 25)), "board": (u(5, 70), u(8, 32), u(20, 100)),
        "ski": np.where(tie, np.stack(lead["ski"]) + rng.normal(0, 9, (3, n)), np.stack([u(-30, 10), g(5, 4), u(5, 60)])),
        "ride": np.where(tie, np.stack(lead["ride"]) + rng.normal(0, 7, (3, n)), np.stack([u(20, 70), u(3, 12), u(20, 70)])),
        "swing": (u(-20, 30), u(5, 28), u(5, 55)), "lie": np.stack(lead["lie"]) + rng.normal(0, 14, (3, n)),
        "kneel": np.where(tie, np.stack([u(70, 100), g(5, 6), u(70, 115)]), np.stack(lead["kneel"]) + rng.normal(0, 6, (3, n))),
        "squat": np.stack(lead["squat"]) + rng.normal(0, 6, (3, n)), "cross": (u(65, 100), u(25, 50), u(95, 130)),
    }  # fmt: skip
    angles = {}
    for k, name in enumerate(("flexion", "abduction", "knee")):
        a = _pick(attitude, {m: np.asarray(v[k]) for m, v in lead.items()})
        b = _pick(attitude, {m: np.asarray(v[k]) for m, v in other.items()})
        angles[f"{name}.L"], angles[f"{name}.R"] = np.where(first, a, b), np.where(first, b, a)
    for name, low, high in (("flexion", -35, 130), ("abduction", -25, 65), ("knee", -3, 148)):  # what joints allow
        for side in SIDES:
            angles[f"{name}.{side}"] = np.clip(angles[f"{name}.{side}"], low, high)
    return angles


def _trunk(rng, attitude: np.ndarray) -> dict[str, np.ndarray]:
    """Forward tilt of the pelvis, and flexion, side bend and twist of spine and neck, degrees."""
    n = len(attitude)
    u, g = lambda a, b: rng.uniform(a, b, n), lambda m, s: rng.normal(m, s, n)
    tilt = _pick(
        attitude,
        {
            "stand": g(0, 4),
            "stride": g(5, 6),
            "sit": g(-6, 10),
            "crouch": u(5, 45),
            "lunge": g(10, 12),
            "kick": g(0, 14),
            "bend": u(25, 70),
            "board": g(12, 14),
            "ski": u(5, 50),
            "ride": u(0, 40),
            "swing": g(12, 10),
            "lie": g(0, 6),
            "kneel": g(8, 12),
            "squat": u(0, 35),
            "cross": g(-4, 8),
        },
    )
    flexion = _pick(
        attitude,
        {
            "stand": g(2, 6),
            "stride": g(5, 7),
            "sit": g(10, 14),
            "crouch": g(22, 14),
            "lunge": g(10, 12),
            "kick": g(3, 14),
            "bend": u(15, 60),
            "board": g(12, 12),
            "ski": g(15, 10),
            "ride": g(12, 12),
            "swing": g(8, 10),
            "lie": g(5, 10),
            "kneel": g(8, 12),
            "squat": g(18, 12),
            "cross": g(14, 12),
        },
    )
    wild = (rng.random(n) < 0.15) | np.isin(attitude, ("board", "swing"))
    return {
        "tilt": tilt, "flexion": flexion, "side": np.where(wild, g(0, 16), g(0, 5)), "twist": np.where(wild, g(0, 25), g(0, 9)),
        "nod": g(0, 13) - 0.5 * np.clip(tilt + flexion - 10, 0, 60),
        "turn": np.where(rng.random(n) < 0.3, g(0, 38), g(0, 14)), "lean": g(0, 8),
    }  # fmt: skip


def _arm_angles(rng, mode: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far each upper arm is raised from hanging, where around the body (0 aside, 90 degrees to the front), the elbow's bend, and the
    upper arm's twist, by what the arm does; radians."""
    n = len(mode)
    u, g = lambda a, b: rng.uniform(a, b, n), lambda m, s: rng.normal(m, s, n)
    raised = {
        "hang": np.abs(g(12, 8)),
        "bent": np.abs(g(26, 13)),
        "forward": u(45, 105),
        "aside": u(45, 110),
        "overhead": u(110, 172),
        "across": u(15, 65),
        "poles": u(18, 60),
        "bars": u(35, 80),
        "grip": u(30, 95),
        "table": u(15, 45),
        "face": u(25, 65),
        "hip": u(30, 55),
        "balance": u(45, 115),
        "fold": u(20, 40),
        "lap": u(8, 30),
    }
    around = {
        "hang": u(-40, 90),
        "bent": u(-40, 85),
        "forward": u(40, 105),
        "aside": u(-15, 40),
        "overhead": u(-10, 90),
        "across": u(65, 105),
        "poles": u(20, 95),
        "bars": u(62, 95),
        "grip": u(75, 118),
        "table": u(60, 105),
        "face": u(45, 100),
        "hip": u(-45, 5),
        "balance": u(-25, 60),
        "fold": u(70, 105),
        "lap": u(50, 100),
    }
    elbow = {
        "hang": np.abs(g(14, 14)),
        "bent": u(45, 145),
        "forward": u(0, 90),
        "aside": u(0, 100),
        "overhead": u(0, 110),
        "across": u(60, 135),
        "poles": u(40, 115),
        "bars": u(5, 70),
        "grip": u(25, 110),
        "table": u(65, 115),
        "face": u(120, 148),
        "hip": u(75, 110),
        "balance": u(0, 70),
        "fold": u(95, 125),
        "lap": u(20, 75),
    }
    twist = {"hang": g(0, 18), "bent": g(0, 30), "forward": g(0, 35), "aside": u(-80, 60), "overhead": g(0, 35), "across": u(-10, 50)}
    twist |= {"poles": g(0, 25), "bars": u(-50, 30), "grip": u(-30, 40), "table": u(-15, 40), "face": u(-30, 40), "hip": u(-70, -30)}
    twist |= {"balance": u(-60, 50), "fold": u(30, 70), "lap": u(-5, 45)}
    return tuple(_pick(mode, table) * DEGREE for table in (raised, around, elbow, twist))


def _arm(rng, rig: Rig, side: str, rotations: dict[str, np.ndarray], mode: np.ndarray) -> None:
    n, (raised, around, elbow, twist) = len(mode), _arm_angles(rng, mode)
    mirror = 1 if side == "L" else -1
    target = np.stack([mirror * np.sin(raised) * np.cos(around), -np.sin(raised) * np.sin(around), -np.cos(raised)], 1)
    upper = rig.direction(f"upperarm01.{side}", f"lowerarm01.{side}")
    fore = rig.direction(f"lowerarm01.{side}", f"wrist.{side}")
    hinge = np.cross(upper, fore)
    bent_at_rest = np.arccos(np.clip(upper @ fore, -1, 1))
    # The collar bone takes a third of the elevation above the horizontal.
    lift = np.clip(raised - 60 * DEGREE, 0, None) * 0.3
    rotations[f"shoulder01.{side}"] = rotation(np.array([0, -mirror, 0.0]), lift + rng.normal(0, 3, n) * DEGREE)
    unlifted = np.einsum("nji,nj->ni", rotations[f"shoulder01.{side}"], target)
    rotations[f"upperarm01.{side}"] = shortest_arc(upper, unlifted) @ rotation(upper, mirror * twist)
    rotations[f"lowerarm01.{side}"] = rotation(hinge, elbow - bent_at_rest)
    rotations[f"lowerarm02.{side}"] = rotation(fore, mirror * rng.uniform(-60, 70, n) * DEGREE)
    rotations[f"wrist.{side}"] = rotation(hinge, rng.normal(0, 22, n) * DEGREE) @ rotation(
        np.cross(fore, hinge), rng.normal(0, 10, n) * DEGREE
    )


def _hand(rng, rig: Rig, side: str, rotations: dict[str, np.ndarray], grasp: np.ndarray) -> None:
    n = len(grasp)
    index, little = rig.direction(f"wrist.{side}", f"finger2-1.{side}"), rig.direction(f"wrist.{side}", f"finger5-1.{side}")
    out_of_palm = np.cross(index, little) * (1 if side == "L" else -1)  # towards the back of the hand
    curl = rng.choice([0.0, 0.25, 0.6, 1.0], n, p=[0.2, 0.4, 0.25, 0.15]) + rng.normal(0, 0.08, n)
    signs = np.array(SIGNS)[rng.integers(0, len(SIGNS), n)]
    shown, spread = (rng.random(n) < 0.25) & ~grasp, rng.random(n) < 0.3
    curl = np.where(grasp, rng.uniform(0.55, 0.95, n), curl)
    for finger, bones in FINGERS.items():
        own = np.clip(curl + rng.normal(0, 0.12, n), -0.1, 1.05)
        own = np.where(shown, np.clip(signs[:, finger - 1] + rng.normal(0, 0.08, n), -0.1, 1.05), own)
        along = rig.direction(f"{bones[0]}.{side}", f"{bones[2]}.{side}")
        hinge = np.cross(out_of_palm, along)
        for joint, most in zip(bones, (70, 90, 60) if finger > 1 else (20, 40, 55), strict=True):
            bend = rotation(hinge, own * most * DEGREE - (12 * DEGREE if finger > 1 else 0))
            if joint == bones[0]:
                fan = np.where(spread & ~grasp, (3 - finger) * 7.0, 0.0) * (1 if side == "L" else -1) * (finger > 1)
                bend = rotation(out_of_palm, (rng.normal(0, 5, n) + fan) * DEGREE) @ bend
            rotations[f"{joint}.{side}"] = bend


def sample_poses(rng: np.random.Generator, rig: Rig, n: int) -> Float[np.ndarray, "n k 4 4"]:
    """Draw `n` poses: `local-ref` parameters of Anny's 104-bone rig, the root left upright and facing -y."""
    arms = np.stack([_choose(rng, ARMS, n), _choose(rng, ARMS, n)], 1)
    return pose_from_attitudes(rng, rig, _choose(rng, ATTITUDES, n), arms, np.zeros((n, 2), bool))


def pose_from_attitudes(
    rng: np.random.Generator, rig: Rig, attitude: np.ndarray, arms: np.ndarray, grasp: np.ndarray
) -> Float[np.ndarray, "n k 4 4"]:
    """Poses with given attitudes of legs and trunk (n,), of the left and right arm (n, 2), and hands that hold something (n, 2)."""
    n = len(attitude)
    rotations: dict[str, np.ndarray] = {}
    angles = _legs(rng, attitude)
    trunk = {k: v * DEGREE for k, v in _trunk(rng, attitude).items()}
    x, y, z = np.eye(3)
    for hand, (side, sign) in enumerate((("L", -1), ("R", 1))):
        flexion, abduction, knee = (angles[f"{a}.{side}"] * DEGREE for a in ("flexion", "abduction", "knee"))
        thigh = rig.direction(f"upperleg01.{side}", f"lowerleg01.{side}")
        turn = rotation(y, sign * abduction) @ rotation(x, -flexion)
        rotations[f"upperleg01.{side}"] = turn @ rotation(thigh, -sign * rng.normal(6, 12, n) * DEGREE)
        rotations[f"lowerleg01.{side}"] = rotation(x, knee)
        rotations[f"foot.{side}"] = rotation(x, rng.normal(0, 11, n) * DEGREE) @ rotation(z, rng.normal(0, 8, n) * DEGREE)
        _arm(rng, rig, side, rotations, arms[:, hand])
        _hand(rng, rig, side, rotations, grasp[:, hand])
    spine = ("spine05", "spine04", "spine03", "spine02", "spine01")
    for bone in spine:
        share = 1 / len(spine)
        rotations[bone] = rotation(z, trunk["twist"] * share) @ rotation(y, trunk["side"] * share) @ rotation(x, trunk["flexion"] * share)
    neck = ("neck01", "neck02", "neck03", "head")
    for bone in neck:
        share = 1 / len(neck)
        rotations[bone] = rotation(z, trunk["turn"] * share) @ rotation(y, trunk["lean"] * share) @ rotation(x, trunk["nod"] * share)
    rotations["root"] = rotation(x, np.where(np.isin(attitude, ("stand", "stride")), trunk["tilt"] * 0.3, trunk["tilt"]))
    down = attitude == "lie"  # on the back, a side or the front, and turned any way on the ground
    rolled = rotation(z, rng.uniform(-np.pi, np.pi, n)) @ rotation(x, np.full(n, -np.pi / 2)) @ rotation(z, rng.uniform(-np.pi, np.pi, n))
    rotations["root"] = np.where(down[:, None, None], rolled, rotations["root"])
    _plant_feet(rig, rotations, attitude)
    gaze = rotation(z, rng.normal(0, 12, n) * DEGREE) @ rotation(x, rng.normal(0, 7, n) * DEGREE)
    rotations["eye.L"] = rotations["eye.R"] = gaze
    pose = np.tile(np.eye(4), (n, len(rig.names), 1, 1))
    for name, r in rotations.items():
        pose[:, rig.names.index(name), :3, :3] = r
    return pose


def _plant_feet(rig: Rig, rotations: dict[str, Float[np.ndarray, "n 3 3"]], attitude: np.ndarray) -> None:
    """Put the feet of those whose `attitude` (n,) is stand or stride on the ground: local rotations by bone, changed in place.

    Angles drawn joint by joint leave one foot in the air and tilt the other. Here the longer leg bends until both ankles are level, hip
    and knee together, and the feet turn flat; of a stride, the rear one goes onto its toes, or stays in the air where it is swung so high
    that they don't reach the ground. Worked out on the reference body; other people's proportions are close.
    """
    rows = np.flatnonzero(np.isin(attitude, ("stand", "stride")))
    if not len(rows):
        return
    stride, own = attitude[rows] == "stride", {bone: turns[rows] for bone, turns in rotations.items()}
    above = {side: _ankle(rig, own, side)[:, 2] for side in SIDES}
    ahead = {side: -_ankle(rig, own, side)[:, 1] for side in SIDES}
    for side, other in (SIDES, SIDES[::-1]):
        lifts_heel = stride & (ahead[other] < ahead[side])  # the other foot is behind and comes down to its toes
        level_with = np.where(lifts_heel, np.minimum(above[side], above[other]), above[other])
        _bend(rig, own, side, level_with)
    height = {side: _ankle(rig, own, side)[:, 2] for side in SIDES}
    for side, other in (SIDES, SIDES[::-1]):
        _set_down(rig, own, side, height[side] - height[other])
    for bone, turns in own.items():
        rotations.setdefault(bone, np.tile(np.eye(3), (len(attitude), 1, 1)))[rows] = turns


def _ankle(rig: Rig, own: dict[str, np.ndarray], side: str) -> Float[np.ndarray, "n 3"]:
    """Where the ankle is, the root at the origin."""
    hip, knee, ankle = (rig.heads[rig.names.index(f"{bone}.{side}")] for bone in ("upperleg01", "lowerleg01", "foot"))
    root, thigh, shin = own["root"], own[f"upperleg01.{side}"], own[f"lowerleg01.{side}"]
    return np.einsum("nij,nj->ni", root, hip + np.einsum("nij,nj->ni", thigh, (knee - hip) + shin @ (ankle - knee)))


def _bend(rig: Rig, own: dict[str, np.ndarray], side: str, level: Float[np.ndarray, " n"]) -> None:
    """Bend hip and knee where the ankle is lower than `level`, until it is there, in place."""
    thigh, shin = own[f"upperleg01.{side}"], own[f"lowerleg01.{side}"]
    low, high = np.zeros(len(level)), np.full(len(level), _MOST_BENT)
    for _ in range(20):
        middle = (low + high) / 2
        own[f"upperleg01.{side}"], own[f"lowerleg01.{side}"] = rotation(_X, -middle) @ thigh, shin @ rotation(_X, 2 * middle)
        short = _ankle(rig, own, side)[:, 2] >= level
        low, high = np.where(short, low, middle), np.where(short, middle, high)


def _set_down(rig: Rig, own: dict[str, np.ndarray], side: str, lifted: Float[np.ndarray, " n"]) -> None:
    """Turn a foot whose ankle is `lifted` above the other one's flat, or onto its toes, in place; its heading stays."""
    place = lambda bone: rig.heads[rig.names.index(f"{bone}.{side}")]  # noqa: E731
    ball = place("toe1-1") - place("foot")
    reach, sole = np.hypot(ball[1], ball[2]), -ball[2]
    # Turned down by a, the ball lies reach * sin(a + rest) below the ankle.
    rest = np.arcsin(sole / reach)
    lift = np.clip(np.arcsin(np.clip((sole + np.clip(lifted, 0, None)) / reach, -1, 1)) - rest, 0, None)
    shin = own["root"] @ own[f"upperleg01.{side}"] @ own[f"lowerleg01.{side}"]
    forward = shin @ own[f"foot.{side}"] @ [0, -1.0, 0]
    flat = rotation(_Z, np.arctan2(forward[:, 0], -forward[:, 1])) @ rotation(_X, lift)
    reaches = lift <= _MOST_LIFTED
    own[f"foot.{side}"] = np.where(reaches[:, None, None], shin.swapaxes(1, 2) @ flat, own[f"foot.{side}"])
    for toe in range(1, 6):
        own[f"toe{toe}-1.{side}"] = rotation(_X, np.where(reaches, -lift, 0))


def walking_poses(rig: Rig, phase: Float[np.ndarray, " n"], wave: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k 4 4"]:
    """A walk: `phase` in cycles (two steps each); `wave` in [0, 1] lifts the left arm from hanging to waving. As `sample_poses`."""
    turn = 2 * np.pi * phase
    rotations = {}
    x, y, _ = np.eye(3)
    for side, sign in (("L", 1), ("R", -1)):
        swing = sign * np.sin(turn)
        knee = 8 + 50 * np.clip(-sign * np.cos(turn), 0, 1) ** 2 * (0.6 - 0.4 * swing)
        rotations[f"upperleg01.{side}"] = rotation(x, -(4 + 24 * swing) * DEGREE) @ rotation(y, np.full(len(phase), -sign * 2 * DEGREE))
        rotations[f"lowerleg01.{side}"] = rotation(x, knee * DEGREE)
        lifted = wave if side == "L" else np.zeros_like(wave)
        raised, around = (14 + 110 * lifted) * DEGREE, (20 + 10 * lifted) * DEGREE
        target = np.stack([sign * np.sin(raised) * np.cos(around), -np.sin(raised) * np.sin(around), -np.cos(raised)], 1)
        upper, fore = rig.direction(f"upperarm01.{side}", f"lowerarm01.{side}"), rig.direction(f"lowerarm01.{side}", f"wrist.{side}")
        rotations[f"upperarm01.{side}"] = rotation(x, 22 * swing * (1 - lifted) * DEGREE) @ shortest_arc(upper, target)
        bend = (18 - 10 * swing) * (1 - lifted) + lifted * (45 + 30 * np.sin(3 * turn))
        rotations[f"lowerarm01.{side}"] = rotation(np.cross(upper, fore), bend * DEGREE - np.arccos(np.clip(upper @ fore, -1, 1)))
    pose = np.tile(np.eye(4), (len(phase), len(rig.names), 1, 1))
    for name, r in rotations.items():
        pose[:, rig.names.index(name), :3, :3] = r
    return pose
