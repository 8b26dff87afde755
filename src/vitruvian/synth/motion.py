"""Poses over time: from a user's BVH file, and made-up moves (walking, running, reaching, sitting down, dancing).

A BVH is followed by where its joints are and not by its rotations, so that any rig will do: limbs take the directions of its limbs,
pelvis and chest the frames of its hips and shoulders. What positions do not tell (twist of forearms, fingers, eyes) stays as at rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.bvh import Bvh, forward_kinematics, read_bvh
from vitruvian.synth.poses import Rig, pose_from_attitudes, rotation, shortest_arc, walking_poses

MOVES = ("walk", "run", "reach", "sit", "dance")
_TO_ANNY = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # y up, facing +z -> z up, facing -y


def _end_of(motion: Bvh, side: str, words: str) -> int:
    mark = rf"(?:{side}|{side[0]})"
    pattern = re.compile(rf"^(?:.*[:_])?(?:{mark}[_. -]?(?:{words})|(?:{words})[_. -]{mark})$", re.IGNORECASE)
    found = [i for i, name in enumerate(motion.names) if pattern.match(name)]
    if not found:
        raise FormatError(
            f"the motion has no joint for the {side} {words.split('|')[0]}: name it as in {side.title()}{words.split('|')[0].title()}"
        )
    return found[0]


def _chain(motion: Bvh, end: int, length: int) -> list[int]:
    """`end` and its ancestors, root first; FormatError where there are too few."""
    chain = [end]
    while len(chain) < length:
        if motion.parents[chain[0]] < 0:
            raise FormatError(f"the limb of joint {motion.names[end]!r} is too short: {length} joints are needed")
        chain.insert(0, motion.parents[chain[0]])
    return chain


def _unit(v: np.ndarray) -> np.ndarray:
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


def _frames(along: np.ndarray, towards: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    """Right-handed frames whose first column is `along` and whose second lies towards `towards`."""
    x = _unit(along)
    y = _unit(towards - (towards * x).sum(-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], -1)


def _arc(rest: np.ndarray, parent: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Local rotations that bring a bone at rest to a direction in the world, below parents of given orientation."""
    return shortest_arc(rest, np.einsum("nji,nj->ni", parent, direction))


def _share(turn: np.ndarray, parts: int) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(Rotation.from_matrix(turn).as_rotvec() / parts).as_matrix()


def poses_from_bvh(motion: Bvh, rig: Rig) -> Float[np.ndarray, "f k 4 4"]:
    """A motion on Anny's rig, as poses.sample_poses gives poses; the place of the root is left out (see `Bvh.translation`).

    Needs joints named left and right hand (or wrist) and foot (or ankle), as LeftHand, l_wrist or hand.L, and head. Raises FormatError.
    """
    pose = np.tile(np.eye(4), (len(motion), len(rig.names), 1, 1))
    for name, turns in _turns(motion, rig).items():
        pose[:, rig.names.index(name), :3, :3] = turns
    return pose


@dataclass(frozen=True)
class Borrowed:
    """Motions of users, from whose frames a share of people have their poses."""

    motions: tuple[Bvh, ...]
    share: float = 0.5

    def dress(self, rng: np.random.Generator, rig: Rig, poses: Float[np.ndarray, "n k 4 4"]) -> None:
        """Give poses the trunks, arms and legs of random frames, facing where poses face, in place; fingers, wrists and eyes stay."""
        frames = np.array([len(motion) for motion in self.motions])
        which = rng.choice(len(frames), len(poses), p=frames / frames.sum())
        for i in np.unique(which):
            rows = np.flatnonzero(which == i)
            turns = _turns(_at(self.motions[i], rng.integers(0, frames[i], len(rows))), rig)
            ahead = turns["root"] @ [0, -1.0, 0]
            away = np.arctan2(ahead[:, 0], -ahead[:, 1])
            turns["root"] = rotation(np.array([0, 0, 1.0]), -away) @ turns["root"]
            # Upper arms are told from the chest on, and the feet that poses have belong to other shins.
            still = ("shoulder01", "foot", *(f"toe{toe}-1" for toe in range(1, 6)))
            turns |= {f"{bone}.{side}": np.broadcast_to(np.eye(3), (len(rows), 3, 3)) for bone in still for side in "LR"}
            for name, turn in turns.items():
                poses[rows, rig.names.index(name), :3, :3] = turn


def borrow(files: Sequence[str | Path], rig: Rig, share: float = 0.5) -> Borrowed:
    """Read BVH files for poses. Raises FormatError for a file that is none, has no frames or not the joints that `poses_from_bvh` needs.

    Raises VitruvianError for a share that is none.
    """
    if not 0 < share <= 1:
        raise VitruvianError(f"a share of {share} of the people is none: give one above 0, up to 1")
    motions = tuple(read_bvh(file) for file in files)
    for file, motion in zip(files, motions, strict=True):
        if not len(motion):
            raise FormatError(f"{file} has no frames: leave it out")
        try:
            poses = poses_from_bvh(_at(motion, np.zeros(1, int)), rig)
        except FormatError as error:
            raise FormatError(f"{file}: {error}") from error
        if not np.isfinite(poses).all():
            raise FormatError(f"{file} has joints without a place: write it again")
    return Borrowed(motions, share)


def _at(motion: Bvh, frames: Int[np.ndarray, " n"]) -> Bvh:
    """Some frames of a motion."""
    places = None if motion.positions is None else motion.positions[frames]
    return replace(motion, rotations=motion.rotations[frames], translation=motion.translation[frames], positions=places)


def _turns(motion: Bvh, rig: Rig) -> dict[str, Float[np.ndarray, "f 3 3"]]:
    """Local rotations of the bones that a motion tells of."""
    at = np.einsum("ij,fkj->fki", _TO_ANNY, forward_kinematics(motion)[0])
    arms = {s: _chain(motion, _end_of(motion, name, "hand|wrist"), 3) for s, name in (("L", "left"), ("R", "right"))}
    legs = {s: _chain(motion, _end_of(motion, name, "foot|ankle"), 3) for s, name in (("L", "left"), ("R", "right"))}
    heads = [i for i, name in enumerate(motion.names) if re.search("head$", name, re.IGNORECASE)]
    if not heads:
        raise FormatError("the motion has no joint for the head: name it Head")
    head = heads[0]
    hips = [at[:, legs[s][0]] for s in "LR"]
    shoulders = [at[:, arms[s][0]] for s in "LR"]
    trunk = (shoulders[0] + shoulders[1]) / 2 - (hips[0] + hips[1]) / 2
    rest = {name: rig.heads[rig.names.index(name)] for name in ("upperleg01.L", "upperleg01.R", "upperarm01.L", "upperarm01.R")}
    rest_trunk = (rest["upperarm01.L"] + rest["upperarm01.R"] - rest["upperleg01.L"] - rest["upperleg01.R"]) / 2
    pelvis = _frames(hips[0] - hips[1], trunk) @ _frames(rest["upperleg01.L"] - rest["upperleg01.R"], rest_trunk).T
    chest = _frames(shoulders[0] - shoulders[1], trunk) @ _frames(rest["upperarm01.L"] - rest["upperarm01.R"], rest_trunk).T
    local = {"root": pelvis}
    spine = ("spine05", "spine04", "spine03", "spine02", "spine01")
    local |= dict.fromkeys(spine, _share(pelvis.swapaxes(1, 2) @ chest, len(spine)))
    neck = ("neck01", "neck02", "neck03")
    up = at[:, head] - (shoulders[0] + shoulders[1]) / 2
    rest_up = rig.heads[rig.names.index("head")] - (rest["upperarm01.L"] + rest["upperarm01.R"]) / 2
    local |= dict.fromkeys(neck, _share(_arc(rest_up, chest, up), len(neck)))
    for side in "LR":
        for parent, bones, joints in (
            (chest, ("upperarm01", "lowerarm01", "wrist"), arms[side]), (pelvis, ("upperleg01", "lowerleg01", "foot"), legs[side])
        ):  # fmt: skip
            first, second = (
                rig.direction(f"{bones[0]}.{side}", f"{bones[1]}.{side}"),
                rig.direction(f"{bones[1]}.{side}", f"{bones[2]}.{side}"),
            )
            a, b, c = (at[:, j] for j in joints)
            local[f"{bones[0]}.{side}"] = upper = _arc(first, parent, _unit(b - a))
            local[f"{bones[1]}.{side}"] = _arc(second, parent @ upper, _unit(c - b))
    return local


def between(keys: Float[np.ndarray, "m k 4 4"], places: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k 4 4"]:
    """Poses between key poses: `places` in [0, m - 1]; every bone turns the short way, starting and ending each leg at rest."""
    low = np.clip(np.floor(places).astype(int), 0, max(len(keys) - 2, 0))
    high = np.minimum(low + 1, len(keys) - 1)
    t = np.clip(places - low, 0, 1)
    out = np.tile(np.eye(4), (len(low), keys.shape[1], 1, 1))
    out[..., :3, :3] = part_way(keys[low][..., :3, :3], keys[high][..., :3, :3], t * t * (3 - 2 * t))
    return out


def part_way(
    first: Float[np.ndarray, "n j 3 3"], last: Float[np.ndarray, "n j 3 3"], share: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n j 3 3"]:
    """Rotation matrices a share of the shortest turn from the first to the last."""
    from scipy.spatial.transform import Rotation

    start, end = (Rotation.from_matrix(turns.reshape(-1, 3, 3)) for turns in (first, last))
    step = Rotation.from_rotvec((start.inv() * end).as_rotvec() * np.repeat(share, first.shape[1])[:, None])
    return (start * step).as_matrix().reshape(first.shape)


def move(rng: np.random.Generator, rig: Rig, kind: str, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k 4 4"]:
    """A made-up move of one of MOVES at `times` in seconds. Raises VitruvianError for another kind."""
    if kind not in MOVES:
        raise VitruvianError(f"no move {kind!r}; there are {', '.join(MOVES)}")
    times = np.asarray(times, float)
    if kind in ("walk", "run"):
        pace = rng.uniform(0.8, 1.1) if kind == "walk" else rng.uniform(1.3, 1.6)
        poses = walking_poses(rig, times * pace, np.zeros(len(times)))
        if kind == "run":
            _quicken(rig, poses, times * pace)
        return poses
    span = rng.uniform(0.5, 0.9) if kind == "dance" else rng.uniform(0.8, 1.6)
    count = max(2, int(np.ceil((times.max(initial=0)) / span)) + 2)
    attitudes = {"reach": ("stand", "stand"), "sit": ("stand", "sit"), "dance": ("stand", "stride", "kick", "swing", "lunge")}[kind]
    arms = {"reach": ("hang", "forward", "overhead", "aside"), "sit": ("hang", "lap"), "dance": ("aside", "overhead", "bent", "balance")}[
        kind
    ]
    legs = np.array([attitudes[i % len(attitudes)] for i in range(count)]) if kind != "dance" else rng.choice(attitudes, count)
    hands = rng.choice(arms, (count, 2)) if kind != "sit" else np.array([[arms[i % 2]] * 2 for i in range(count)])
    return between(pose_from_attitudes(rng, rig, legs, hands, np.zeros((count, 2), bool)), times / span)


def _quicken(rig: Rig, poses: np.ndarray, phase: np.ndarray) -> None:
    """Make a run of a walk, in place: longer strides, higher heels, bent elbows, the trunk forward."""
    turn = 2 * np.pi * phase
    x = np.array([1.0, 0, 0])
    for side, sign in (("L", 1), ("R", -1)):
        swing, lift = sign * np.sin(turn), np.clip(-sign * np.cos(turn), 0, 1)
        put = lambda bone, turns: poses.__setitem__((slice(None), rig.names.index(bone), slice(0, 3), slice(0, 3)), turns)  # noqa: E731
        put(f"upperleg01.{side}", rotation(x, -np.radians(14 + 38 * swing)))
        put(f"lowerleg01.{side}", rotation(x, np.radians(20 + 85 * lift)))
        upper, fore = rig.direction(f"upperarm01.{side}", f"lowerarm01.{side}"), rig.direction(f"lowerarm01.{side}", f"wrist.{side}")
        rest = np.arccos(np.clip(upper @ fore, -1, 1))
        put(f"lowerarm01.{side}", rotation(np.cross(upper, fore), np.radians(80 - 15 * swing) - rest))
    poses[:, rig.names.index("root"), :3, :3] = rotation(x, np.full(len(phase), np.radians(9)))
