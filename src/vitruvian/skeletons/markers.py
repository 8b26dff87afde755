"""Sets with anatomical markers, named points of the skin over bones that movement scientists use: SynthPose.

Source: Gozlan et al., OpenCapBench (arXiv 2406.09788), card `opencapbench`.
"""

from __future__ import annotations

from vitruvian.skeletons.types import Skeleton, link_colors

_SYNTHPOSE_NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("sternum", "rshoulder", "lshoulder", "r_lelbow", "l_lelbow", "r_melbow", "l_melbow", "r_lwrist", "l_lwrist", "r_mwrist", "l_mwrist"),
    *("r_ASIS", "l_ASIS", "r_PSIS", "l_PSIS", "r_knee", "l_knee", "r_mknee", "l_mknee", "r_ankle", "l_ankle", "r_mankle", "l_mankle"),
    *("r_5meta", "l_5meta", "r_toe", "l_toe", "r_big_toe", "l_big_toe", "l_calc", "r_calc", "C7", "L2", "T11", "T6"),
)
_SYNTHPOSE_LINKS = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((47, 44), (47, 40), (46, 45), (46, 41), (48, 51), (51, 50), (50, 49), (17, 48)),
)


def _other_side(name: str) -> str:
    """The marker on the other side; the name itself in the middle."""
    for a, b in (("left_", "right_"), ("right_", "left_"), ("l_", "r_"), ("r_", "l_")):
        if name.startswith(a):
            return b + name.removeprefix(a)
    return {"rshoulder": "lshoulder", "lshoulder": "rshoulder"}.get(name, name)


SYNTHPOSE_52 = Skeleton(
    name="synthpose-52",
    names=_SYNTHPOSE_NAMES,
    swap=tuple(_SYNTHPOSE_NAMES.index(_other_side(name)) for name in _SYNTHPOSE_NAMES),
    links=_SYNTHPOSE_LINKS,
    colors=link_colors(_SYNTHPOSE_NAMES, _SYNTHPOSE_LINKS),
    parts={"body": slice(0, 17), "anatomical": slice(17, 52)},
)
"""SynthPose's keypoints: COCO's 17, and 35 anatomical markers (l, m after the side: lateral, medial). Links are ours."""
