"""From one keypoint set to another, with the losses named.

Keypoints are matched by name: the sets here spell the same body point alike, and `_ALIASES` lists the points that a data set
calls something else. Neck and mid hip, which COCO-WholeBody lacks, are means of the shoulders and of the hips. The tables that
joint training uses (RTMPose, RTMW and others) are reproduced by this rule; the tests hold them as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError
from vitruvian.skeletons.bodies import (
    CROWDPOSE_14,
    H36M_17,
    HALPE_26,
    HALPE_136,
    HUMANART_21,
    MPII_16,
    NTU_25,
    PANOPTIC_15,
    PANOPTIC_19,
    POSETRACK_15,
    POSETRACK_17,
    SMPL_24,
)
from vitruvian.skeletons.coco import COCO_WHOLEBODY_133
from vitruvian.skeletons.faces import COFW_29, LAPA_106, WFLW_98
from vitruvian.skeletons.hands import HAND_21, INTERHAND_21
from vitruvian.skeletons.openpose import OPENPOSE_134, OPENPOSE_BODY_18, OPENPOSE_BODY_25
from vitruvian.skeletons.spatial import INF_3DHP_17, SHELF_14, XNECT_14, XNECT_21
from vitruvian.skeletons.types import Skeleton


@dataclass(frozen=True, eq=False)
class Converted:
    """Keypoints in another set, and what that cost.

    keypoints: (..., K, D) as the source's, D = 2 or 3; missing targets are NaN.
    scores: (..., K); 0 where missing.
    missing: target names that the source can't give.
    approximated: target names that were filled with a mean of others or with a point of a slightly different definition.
    dropped: source names that no target used.
    """

    keypoints: Float[np.ndarray, "*batch k d"]
    scores: Float[np.ndarray, "*batch k"]
    missing: tuple[str, ...]
    approximated: tuple[str, ...]
    dropped: tuple[str, ...]


def convert(
    keypoints: Float[np.ndarray, "*batch s d"], scores: Float[np.ndarray, "*batch s"], source: Skeleton, target: Skeleton
) -> Converted:
    """Express (..., S, D) keypoints and (..., S) scores of the set `source` in the set `target`.

    A mean takes the smaller of its two scores, and is missing (NaN, score 0) if either point is NaN. Raises VitruvianError if
    the arrays are not of the source's size. Any leading shape will do, empty ones too; the inputs are not changed.
    """
    keypoints, scores = np.asarray(keypoints), np.asarray(scores)
    if keypoints.ndim < 2 or keypoints.shape[-2] != len(source) or scores.shape != keypoints.shape[:-1]:
        size, got = len(source), f"{keypoints.shape} and {scores.shape}"
        raise VitruvianError(f"{source.name} needs keypoints (..., {size}, D) and scores (..., {size}), got {got}")
    plan = _plan(source, target)
    out_kp = np.full((*scores.shape[:-1], len(target), keypoints.shape[-1]), np.nan, np.result_type(keypoints, np.float32))
    out_scores = np.zeros((*scores.shape[:-1], len(target)), np.result_type(scores, np.float32))
    to, of = list(plan.copies), list(plan.copies.values())
    out_kp[..., to, :], out_scores[..., to] = keypoints[..., of, :], scores[..., of]
    for i, pair in plan.means.items():
        mean = keypoints[..., pair, :].mean(axis=-2)
        out_kp[..., i, :] = mean
        out_scores[..., i] = np.where(np.isnan(mean).any(axis=-1), 0, scores[..., pair].min(axis=-1))
    return Converted(out_kp, out_scores, plan.missing, plan.approximated, plan.dropped)


def neck_score_binary(scores: Float[np.ndarray, "*batch 133"], threshold: float = 0.3) -> Float[np.ndarray, "*batch"]:
    """The neck's score in the published DWPose code: 1 where both shoulders score above `threshold`, else 0.

    `scores`: (..., 133) in COCO-WholeBody order. `convert` gives the smaller shoulder score instead, as rtmlib does.
    """
    shoulders = [COCO_WHOLEBODY_133.index("left_shoulder"), COCO_WHOLEBODY_133.index("right_shoulder")]
    return (np.asarray(scores)[..., shoulders] > threshold).all(axis=-1).astype(np.float32)


def _numbered(prefix: str, *runs: tuple[tuple[int, ...] | range, int]) -> dict[str, str]:
    """Aliases `PREFIX-i` -> `face-j` from runs (their indices, first face index): consecutive face points."""
    return {f"{prefix}-{i}": f"face-{first + n}" for indices, first in runs for n, i in enumerate(indices)}


# What a set calls a point -> what the point is called here. Upper neck: the base of the skull; neck: between the shoulders.
_ALIASES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        HALPE_26.name: {"head": "head_top", "hip": "mid_hip"},
        HALPE_136.name: {"head": "head_top", "hip": "mid_hip"},
        MPII_16.name: {"pelvis": "mid_hip", "thorax": "neck"},
        H36M_17.name: {"root": "mid_hip", "thorax": "neck", "head": "head_top", "left_foot": "left_ankle", "right_foot": "right_ankle"},
        CROWDPOSE_14.name: {"top_head": "head_top"},
        POSETRACK_17.name: {"head_bottom": "upper_neck"},
        POSETRACK_15.name: {"head_bottom": "upper_neck"},
        NTU_25.name: {
            "base_of_spine": "mid_hip",
            "spine_shoulder": "neck",
            "neck": "upper_neck",
            "left_thumb": "left_thumb4",
            "right_thumb": "right_thumb4",
        },
        INF_3DHP_17.name: {"pelvis": "mid_hip"},
        XNECT_21.name: {"pelvis": "mid_hip"},
        SHELF_14.name: {"head_bottom": "upper_neck"},
        SMPL_24.name: {"pelvis": "mid_hip", "head": "upper_neck"},
        HUMANART_21.name: {
            "left_finger": "left_forefinger4",
            "right_finger": "right_forefinger4",
            "left_toe": "left_big_toe",
            "right_toe": "right_big_toe",
        },
        WFLW_98.name: _numbered(
            "wflw",
            (range(0, 33, 2), 0),
            (range(33, 38), 17),
            (range(42, 47), 22),
            (range(51, 60), 27),
            ((60, 61, 63, 64, 65, 67), 36),
            ((68, 69, 71, 72, 73, 75), 42),
            (range(76, 96), 48),
        ),
        LAPA_106.name: _numbered(
            "lapa",
            (range(0, 33, 2), 0),
            (range(33, 38), 17),
            (range(42, 47), 22),
            (range(51, 55), 27),
            (range(58, 63), 31),
            ((66, 67, 69, 70, 71, 73), 36),
            ((75, 76, 78, 79, 80, 82), 42),
            (range(84, 104), 48),
        ),
        COFW_29.name: _numbered(
            "cofw",
            *(((i,), face) for i, face in ((28, 8), (0, 17), (4, 19), (2, 21), (3, 22), (6, 24), (1, 26))),
            *(((i,), face) for i, face in ((20, 30), (18, 31), (21, 33), (19, 35), (8, 36), (10, 39), (11, 42), (9, 45))),
            *(((i,), face) for i, face in ((22, 48), (24, 51), (23, 54), (27, 57), (25, 62), (26, 66))),
        ),
    }
)

# Within a family a name stands for one definition, also for points that COCO-WholeBody lacks.
_FAMILIES = (
    frozenset((OPENPOSE_134, OPENPOSE_BODY_18, OPENPOSE_BODY_25)),
    frozenset((HALPE_26, HALPE_136)),
    frozenset((POSETRACK_15, POSETRACK_17)),
    frozenset((PANOPTIC_15, PANOPTIC_19)),
    frozenset((INF_3DHP_17, XNECT_14, XNECT_21)),
    frozenset((HAND_21, INTERHAND_21)),
)
# Joint centres from motion capture, depth cameras or a body model: near, but not at, the points that annotators click.
_JOINT_CENTRES = frozenset((H36M_17, NTU_25, SMPL_24, INF_3DHP_17, XNECT_14, XNECT_21))

_MEANS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")},
)


class _Plan(NamedTuple):
    copies: dict[int, int]
    means: dict[int, list[int]]
    missing: tuple[str, ...]
    approximated: tuple[str, ...]
    dropped: tuple[str, ...]


@lru_cache(maxsize=256)
def _plan(source: Skeleton, target: Skeleton) -> _Plan:
    """Which source point, or mean of two, fills each target point."""
    given = {common: i for i, common in enumerate(_common_names(source))}
    copies: dict[int, int] = {}
    means: dict[int, list[int]] = {}
    missing, approximated = [], []
    for i, (name, common) in enumerate(zip(target.names, _common_names(target), strict=True)):
        pair = _MEANS.get(common, ())
        if common in given:
            copies[i] = given[common]
            if not _same_definition(source, source.names[given[common]], target, name):
                approximated.append(name)
        elif pair and all(p in given for p in pair):
            means[i] = [given[p] for p in pair]
            approximated.append(name)
        else:
            missing.append(name)
    used = {*copies.values(), *(i for pair in means.values() for i in pair)}
    dropped = tuple(name for i, name in enumerate(source.names) if i not in used)
    return _Plan(copies, means, tuple(missing), tuple(approximated), dropped)


def _common_names(skeleton: Skeleton) -> list[str]:
    aliases = _ALIASES.get(skeleton.name, {})
    return [aliases.get(name, name) for name in skeleton.names]


def _same_definition(source: Skeleton, source_name: str, target: Skeleton, target_name: str) -> bool:
    if source is target or any(source in family and target in family for family in _FAMILIES):
        return True
    if (source in _JOINT_CENTRES) != (target in _JOINT_CENTRES):
        return False
    return source_name == target_name and source_name in _SHARED


_SHARED = frozenset(COCO_WHOLEBODY_133.names)
