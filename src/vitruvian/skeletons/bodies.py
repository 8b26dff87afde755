"""Body sets of other data sets: Halpe, MPII, Human3.6M, CrowdPose, PoseTrack, NTU, Panoptic, SMPL, JHMDB, AIC, Human-Art, AP-10K.

Sigmas beyond COCO's own joints are toolkit values, not published by the data sets; sets without any have None.
Links of JHMDB, AI Challenger, Human-Art and PoseTrack-15 are proposed: no data set publishes them.
"""

from __future__ import annotations

import numpy as np

from vitruvian.skeletons.coco import BODY_NAMES, BODY_SIGMAS, COCO_17, hand_names
from vitruvian.skeletons.faces import FACE_68, FACE_SIGMAS
from vitruvian.skeletons.hands import HAND_LINKS, HAND_SIGMAS
from vitruvian.skeletons.types import Link, Skeleton, link_colors, parents_from_links, swap_from_names


def _body(
    name: str, names: tuple[str, ...], links: tuple[Link, ...], root: int | None = None, sigmas: np.ndarray | None = None, **parts: slice
) -> Skeleton:
    """A set whose sides are in its names; `root` where its links form a tree; all of it is body unless `parts` says otherwise."""
    return Skeleton(
        name=name,
        names=names,
        swap=swap_from_names(names),
        links=links,
        colors=link_colors(names, links),
        parts=parts or {"body": slice(0, len(names))},
        parents=None if root is None else parents_from_links(len(names), root, links),
        sigmas=sigmas,
    )


_HALPE_NAMES = (
    *BODY_NAMES,
    *("head", "neck", "hip"),
    *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
)
_HALPE_LINKS = (
    *((15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19), (18, 5), (5, 7), (7, 9), (18, 6), (6, 8), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (15, 20), (15, 22), (15, 24), (16, 21), (16, 23), (16, 25)),
)
_HALPE_SIGMAS = np.concatenate([BODY_SIGMAS, [0.026, 0.026, 0.066], [0.079] * 6])

HALPE_26 = _body("halpe-26", _HALPE_NAMES, _HALPE_LINKS, sigmas=_HALPE_SIGMAS, body=slice(0, 20), foot=slice(20, 26))
"""COCO's 17, head, neck, hip and six foot points (big toes, small toes, heels: not COCO-WholeBody's order)."""

_HALPE_136_NAMES = (*_HALPE_NAMES, *FACE_68.names, *hand_names("left"), *hand_names("right"))
_HALPE_136_LINKS = (*_HALPE_LINKS, *((a + base, b + base) for base in (94, 115) for a, b in HAND_LINKS))

HALPE_136 = Skeleton(
    name="halpe-136",
    names=_HALPE_136_NAMES,
    swap=tuple(26 + FACE_68.swap[i - 26] if 26 <= i < 94 else j for i, j in enumerate(swap_from_names(_HALPE_136_NAMES))),
    links=_HALPE_136_LINKS,
    colors=link_colors(_HALPE_136_NAMES, _HALPE_136_LINKS),
    parts={"body": slice(0, 20), "foot": slice(20, 26), "face": slice(26, 94), "left_hand": slice(94, 115), "right_hand": slice(115, 136)},
    sigmas=np.concatenate([_HALPE_SIGMAS, FACE_SIGMAS, HAND_SIGMAS, HAND_SIGMAS]),
)
"""Halpe's whole body: Halpe-26, 68 face points, left hand, right hand."""

MPII_16 = _body(
    "mpii-16",
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    (
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
        *((8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15)),
    ),
    root=6,
    sigmas=np.array([0.089, 0.083, 0.107, 0.107, 0.083, 0.089, 0.026, 0.026, 0.026, 0.026, 0.062, 0.072, 0.179, 0.179, 0.072, 0.062]),
)
"""MPII Human Pose, measured with PCKh@0.5."""

H36M_17 = _body(
    "h36m-17",
    (
        *("root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine", "thorax", "neck_base", "head"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    ),
    (
        *((0, 4), (4, 5), (5, 6), (0, 1), (1, 2), (2, 3), (0, 7), (7, 8), (8, 9), (9, 10)),
        *((8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
    ),
    root=0,
)
"""Human3.6M in the usual lifting order. Its "foot" is the ankle, its "head" the top of the head; measured by MPJPE."""

CROWDPOSE_14 = _body(
    "crowdpose-14",
    (
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "top_head", "neck"),
    ),
    (
        *((10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5)),
        *((12, 13), (1, 13), (0, 13)),
    ),
    sigmas=np.concatenate([BODY_SIGMAS[5:], [0.079, 0.079]]),
)
"""CrowdPose."""

POSETRACK_17 = _body(
    "posetrack-17",
    ("nose", "head_bottom", "head_top", *BODY_NAMES[3:]),
    (
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
        *((0, 1), (0, 2), (1, 5), (1, 6)),
    ),
    sigmas=BODY_SIGMAS,
)
"""PoseTrack in the COCO-like training order. The ears (3, 4) are not annotated."""

_POSETRACK_ORDER = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9, 1, 0, 2)

POSETRACK_15 = _body(
    "posetrack-15",
    tuple(POSETRACK_17.names[i] for i in _POSETRACK_ORDER),
    tuple((_POSETRACK_ORDER.index(a), _POSETRACK_ORDER.index(b)) for a, b in POSETRACK_17.links),
    sigmas=BODY_SIGMAS[list(_POSETRACK_ORDER)],
)
"""PoseTrack in the order of its official evaluation."""

NTU_25 = _body(
    "ntu-25",
    (
        *("base_of_spine", "mid_spine", "neck", "head"),
        *("left_shoulder", "left_elbow", "left_wrist", "left_hand", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
        *("left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle", "right_foot"),
        *("spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
    ),
    (
        *((0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10)),
        *((12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18), (21, 22), (22, 7), (23, 24), (24, 11)),
    ),
    root=20,
)
"""NTU RGB+D (Kinect v2), zero-based; the data set's own documents count from 1. Centre: 20, between the shoulders."""

_PANOPTIC_NAMES = (
    *("neck", "nose", "mid_hip", "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle"),
    *("right_shoulder", "right_elbow", "right_wrist", "right_hip", "right_knee", "right_ankle"),
)
_PANOPTIC_LINKS = (
    *((0, 1), (0, 2), (0, 3), (3, 4), (4, 5), (0, 9), (9, 10), (10, 11)),
    *((2, 6), (2, 12), (6, 7), (7, 8), (12, 13), (13, 14)),
)

PANOPTIC_15 = _body("panoptic-15", _PANOPTIC_NAMES, _PANOPTIC_LINKS, root=2)
"""CMU Panoptic as the multi-view voxel methods use it; root 2."""

PANOPTIC_19 = _body(
    "panoptic-19",
    (*_PANOPTIC_NAMES, "left_eye", "left_ear", "right_eye", "right_ear"),
    (*_PANOPTIC_LINKS, (1, 15), (15, 16), (1, 17), (17, 18)),
    root=2,
)
"""CMU Panoptic with eyes and ears, a superset of PANOPTIC_15 (its four face links are proposed)."""

_SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

SMPL_24 = _body(
    "smpl-24",
    (
        *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3"),
        *("left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand"),
    ),
    tuple((parent, child) for child, parent in enumerate(_SMPL_PARENTS) if parent >= 0),
    root=0,
)
"""SMPL's kinematic tree; its first 22 are SMPL-H's and SMPL-X's. These are joint centres inside the body."""

JHMDB_15 = _body(
    "jhmdb-15",
    (
        *("neck", "belly", "head", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow"),
        *("right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle"),
    ),
    (
        *((13, 9), (9, 5), (5, 1), (14, 10), (10, 6), (6, 1), (1, 0), (0, 2)),
        *((0, 3), (3, 7), (7, 11), (0, 4), (4, 8), (8, 12)),
    ),
    root=1,
)
"""sub-JHMDB."""

AIC_14 = _body(
    "aic-14",
    (
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck"),
    ),
    (
        *((2, 1), (1, 0), (0, 13), (5, 4), (4, 3), (3, 13), (12, 13)),
        *((8, 7), (7, 6), (6, 9), (9, 10), (10, 11), (0, 6), (3, 9)),
    ),
)
"""AI Challenger."""

HUMANART_21 = _body(
    "humanart-21",
    (*BODY_NAMES, "left_finger", "right_finger", "left_toe", "right_toe"),
    (*COCO_17.links, (9, 17), (10, 18), (15, 19), (16, 20)),
    body=slice(0, 17),
    left_hand=slice(17, 18),
    right_hand=slice(18, 19),
    foot=slice(19, 21),
)
"""Human-Art: COCO's 17, one finger tip per hand, one toe per foot."""

_AP10K_NAMES = (
    *("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw"),
    *("right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw"),
    *("right_hip", "right_knee", "right_back_paw"),
)
_AP10K_LINKS = (
    *((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10)),
    *((4, 11), (11, 12), (12, 13), (4, 14), (14, 15), (15, 16)),
)
_AP10K_SIGMAS = [25, 25, 26, 35, 35, 79, 72, 62, 79, 72, 62, 107, 87, 89, 107, 87, 89]

AP10K_17 = _body("ap10k-17", _AP10K_NAMES, _AP10K_LINKS, sigmas=np.array(_AP10K_SIGMAS) / 1000)
"""Mammals of AP-10K (Yu et al. 2021). Order, links and sigmas are from memory, not from a card."""
