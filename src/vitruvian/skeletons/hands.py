"""Hand sets: OpenPose's 21 points (also FreiHAND, COCO-WholeBody-Hand), and InterHand2.6M for one hand and for two."""

from __future__ import annotations

import numpy as np

from vitruvian.skeletons.types import Skeleton, link_colors, parents_from_links, swap_from_names

FINGER_NAMES = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND_NAMES = ("wrist", *(f"{finger}{i}" for finger in FINGER_NAMES for i in (1, 2, 3, 4)))

HAND_LINKS = tuple(link for base in (1, 5, 9, 13, 17) for link in ((0, base), (base, base + 1), (base + 1, base + 2), (base + 2, base + 3)))

# Published with COCO-WholeBody, the same for both hands.
HAND_SIGMAS = np.array(
    [0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021, 0.032]
    + [0.020, 0.019, 0.022, 0.031]
)

HAND_21 = Skeleton(
    name="hand-21",
    names=_HAND_NAMES,
    swap=tuple(range(21)),  # a mirrored hand is the other hand: its points keep their order
    links=HAND_LINKS,
    colors=link_colors(_HAND_NAMES, HAND_LINKS),
    parts={"hand": slice(0, 21)},
    parents=parents_from_links(21, 0, HAND_LINKS),
    sigmas=HAND_SIGMAS,
)
"""One hand: 0 wrist, then thumb, index, middle, ring and little finger from the palm outwards (4, 8, ... are the tips)."""

_INTERHAND_NAMES = (*(f"{finger}{i}" for finger in FINGER_NAMES for i in (4, 3, 2, 1)), "wrist")
_INTERHAND_LINKS = tuple(
    link for tip in (0, 4, 8, 12, 16) for link in ((20, tip + 3), (tip + 3, tip + 2), (tip + 2, tip + 1), (tip + 1, tip))
)

INTERHAND_21 = Skeleton(
    name="interhand-21",
    names=_INTERHAND_NAMES,
    swap=tuple(range(21)),
    links=_INTERHAND_LINKS,
    colors=link_colors(_INTERHAND_NAMES, _INTERHAND_LINKS),
    parts={"hand": slice(0, 21)},
    parents=parents_from_links(21, 20, _INTERHAND_LINKS),
    sigmas=HAND_SIGMAS[[HAND_21.index(name) for name in _INTERHAND_NAMES]],
)
"""One hand of InterHand2.6M: tips first, wrist last. Its sigmas are COCO-WholeBody's, the data set has none."""

# The wrists bear the hand root's name: COCO-WholeBody has the body's wrist besides, and these map to the hand root.
_TWO_HANDS_NAMES = tuple(f"{side}_{'hand_root' if name == 'wrist' else name}" for side in ("right", "left") for name in _INTERHAND_NAMES)
_TWO_HANDS_LINKS = (*_INTERHAND_LINKS, *((a + 21, b + 21) for a, b in _INTERHAND_LINKS))

INTERHAND_42 = Skeleton(
    name="interhand-42",
    names=_TWO_HANDS_NAMES,
    swap=swap_from_names(_TWO_HANDS_NAMES),
    links=_TWO_HANDS_LINKS,
    colors=link_colors(_TWO_HANDS_NAMES, _TWO_HANDS_LINKS),
    parts={"right_hand": slice(0, 21), "left_hand": slice(21, 42)},
    sigmas=np.tile(INTERHAND_21.sigmas, 2),
)
"""Both hands of InterHand2.6M as stored: 0-20 the right one, 21-41 the left one."""
