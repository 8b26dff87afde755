"""What people do: acts as attitudes of legs, trunk and arms that belong together, with the things that go with them.

The shares are ours, guessed from what people photograph: half of the acts are plain standing, walking and sitting (`poses`), the rest
sports, work at tables, phones, riding, lying. A drawn pose whose limbs pierce the trunk, the head or each other is drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.synth.motion import Borrowed
from vitruvian.synth.poses import ARMS, ATTITUDES, Rig, pose_from_attitudes


@dataclass(frozen=True)
class Act:
    """`share`: how often. `legs`: attitudes to choose from. `arms`: arm modes to choose from; `both`: the arms do the same.

    `grasp`: chance that a hand holds something. `things`: what may be there (see `props`), one is chosen.
    """

    share: float
    legs: tuple[str, ...]
    arms: tuple[str, ...]
    both: bool = False
    grasp: float = 0.0
    things: tuple[str, ...] = ()


_PLAIN_THINGS = ("", "", "", "", "phone", "cup", "bag", "remote", "book", "ball", "umbrella", "suitcase")
ACTS = {
    "plain": Act(0.40, tuple(ATTITUDES), tuple(ARMS), grasp=0.25, things=_PLAIN_THINGS),
    "stand": Act(0.10, ("stand",), ("hip", "fold", "hang", "face", "lap", "table"), grasp=0.2, things=_PLAIN_THINGS),
    "sit": Act(0.10, ("sit", "sit", "sit", "cross"), ("lap", "table", "face", "fold", "bent"), grasp=0.2, things=_PLAIN_THINGS),
    "table": Act(0.04, ("sit",), ("table", "table", "face"), grasp=0.4, things=("cup", "phone", "book", "laptop")),
    "ski": Act(0.06, ("ski", "ski", "stride", "stand"), ("poles", "poles", "bent"), grasp=1.0, things=("skis",)),
    "swing": Act(0.06, ("swing", "swing", "lunge", "stride"), ("grip", "grip", "overhead"), True, 1.0, ("bat", "bat", "club", "racket")),
    "racket": Act(0.05, ("swing", "lunge", "kick", "stride"), ("aside", "overhead", "forward", "bent"), grasp=1.0,
                  things=("racket", "bat", "frisbee")),
    "catch": Act(0.03, ("squat", "crouch", "swing"), ("forward", "table", "lap"), grasp=0.3, things=("mitt", "ball", "")),
    "board": Act(0.05, ("board",), ("balance", "balance", "forward", "bent"), things=("skateboard", "surfboard", "snowboard")),
    "ride": Act(0.05, ("ride",), ("bars",), True, 0.9, ("bicycle", "motorbike", "horse")),
    "kneel": Act(0.03, ("kneel", "squat"), ("forward", "lap", "table"), grasp=0.2, things=("", "cup", "phone")),
    "lie": Act(0.03, ("lie",), ("hang", "bent", "overhead", "face"), grasp=0.1, things=("", "", "phone", "surfboard")),
}  # fmt: skip


@dataclass(frozen=True)
class Scripts:
    """What `n` people do: poses (n, k, 4, 4) as poses.sample_poses, names of acts, things (or ""), hands that hold (n, 2)."""

    poses: Float[np.ndarray, "n k 4 4"]
    acts: np.ndarray
    attitudes: np.ndarray
    things: np.ndarray
    grasp: Bool[np.ndarray, "n 2"]

    def __getitem__(self, chosen: np.ndarray) -> Scripts:
        return Scripts(self.poses[chosen], self.acts[chosen], self.attitudes[chosen], self.things[chosen], self.grasp[chosen])


def _acts(rng: np.random.Generator, n: int, plain: bool) -> np.ndarray:
    shares = np.array([a.share for a in ACTS.values()])
    return np.full(n, "plain", object) if plain else rng.choice(list(ACTS), n, p=shares / shares.sum()).astype(object)


def _draw(rng: np.random.Generator, rig: Rig, acts: np.ndarray) -> Scripts:
    n = len(acts)
    attitudes, arms, grasp, things = np.empty(n, object), np.empty((n, 2), object), np.zeros((n, 2), bool), np.empty(n, object)
    legs_share = np.array(list(ATTITUDES.values())) / sum(ATTITUDES.values())
    arms_share = np.array(list(ARMS.values())) / sum(ARMS.values())
    for i, name in enumerate(acts):
        act = ACTS[name]
        ordinary = name == "plain"
        attitudes[i] = rng.choice(act.legs, p=legs_share if ordinary else None)
        arms[i] = rng.choice(act.arms, 2, p=arms_share if ordinary else None)
        if act.both:
            arms[i, 1] = arms[i, 0]
        things[i] = str(rng.choice(act.things))
        grasp[i] = (rng.random(2) < act.grasp) & (things[i] != "")
    return Scripts(pose_from_attitudes(rng, rig, attitudes, arms, grasp), acts, attitudes, things, grasp)


def posed_heads(rig: Rig, parents: list[int], poses: Float[np.ndarray, "n k 4 4"]) -> Float[np.ndarray, "n k 3"]:
    """Bone heads of the reference body in given poses, metres: forward kinematics without skin."""
    turns, heads = np.empty((*poses.shape[:2], 3, 3)), np.empty((*poses.shape[:2], 3))
    for k, parent in enumerate(parents):
        if parent < 0:
            turns[:, k], heads[:, k] = poses[:, k, :3, :3], rig.heads[k]
        else:
            turns[:, k] = turns[:, parent] @ poses[:, k, :3, :3]
            heads[:, k] = heads[:, parent] + turns[:, parent] @ (rig.heads[k] - rig.heads[parent])
    return heads


def _distance(a0, a1, b0, b1, steps: int = 9) -> np.ndarray:
    """Least distance between points of two segments, by samples, per row."""
    t = np.linspace(0, 1, steps)[:, None]
    p, q = a0[:, None] + t * (a1 - a0)[:, None], b0[:, None] + t * (b1 - b0)[:, None]
    return np.sqrt(((p[:, :, None] - q[:, None]) ** 2).sum(-1).min((1, 2)))


# Limbs as capsules: bone from, bone to, radius in metres.
_TRUNK = (("root", "spine02", 0.12), ("spine02", "neck01", 0.11))
_HEAD = (("neck03", "head", 0.09),)
_LIMBS = {
    side: ((f"lowerarm01.{side}", f"wrist.{side}", 0.04), (f"wrist.{side}", f"finger3-2.{side}", 0.03)) for side in "LR"
}  # fmt: skip
_LEGS = {
    side: ((f"upperleg02.{side}", f"lowerleg01.{side}", 0.055), (f"lowerleg01.{side}", f"foot.{side}", 0.045)) for side in "LR"
}  # fmt: skip


def collides(rig: Rig, heads: Float[np.ndarray, "n k 3"]) -> Bool[np.ndarray, " n"]:
    """Whether forearms or hands pierce trunk, head, thighs or each other, or the legs each other: limbs as capsules."""
    pairs = [(a, b) for side in "LR" for a in _LIMBS[side] for b in (*_TRUNK, *_HEAD, _LEGS["L"][0], _LEGS["R"][0])]
    pairs += [(a, b) for a in _LIMBS["L"] for b in _LIMBS["R"]] + [(a, b) for a in _LEGS["L"] for b in _LEGS["R"]]
    at = lambda name: heads[:, rig.names.index(name)]  # noqa: E731
    found = np.zeros(len(heads), bool)
    for (a0, a1, ra), (b0, b1, rb) in pairs:
        found |= _distance(at(a0), at(a1), at(b0), at(b1)) < 0.85 * (ra + rb)  # flesh gives way
    return found


def sample_scripts(
    rng: np.random.Generator, rig: Rig, parents: list[int], n: int, plain: bool = False, borrowed: Borrowed | None = None
) -> Scripts:
    """Draw what `n` people do; `plain`: the attitudes of `poses` alone; `borrowed`: where a share of them have their poses from.

    Poses in which limbs pierce the body are drawn again, four times at most; those of users' motions stay as they are.
    """
    scripts = _draw(rng, rig, _acts(rng, n, plain))
    for _ in range(4):
        bad = np.flatnonzero(collides(rig, posed_heads(rig, parents, scripts.poses)))
        if not len(bad):
            break
        _put(scripts, bad, _draw(rng, rig, scripts.acts[bad]))
    if borrowed is not None:
        chosen = np.flatnonzero(rng.random(n) < borrowed.share)
        fresh = _draw(rng, rig, np.full(len(chosen), "plain", object))
        fresh.attitudes[:] = "stand"  # whatever it is, nothing to sit on or ride is put below it
        borrowed.dress(rng, rig, fresh.poses)
        _put(scripts, chosen, fresh)
    return scripts


def _put(scripts: Scripts, rows: np.ndarray, fresh: Scripts) -> None:
    for f in fields(Scripts):
        getattr(scripts, f.name)[rows] = getattr(fresh, f.name)
