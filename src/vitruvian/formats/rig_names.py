"""What other programs call the joints of our rig (`rig.py`), for `bvh.renamed` and for reading their motions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

FINGERS: Mapping[str, str] = MappingProxyType(
    {"thumb": "Thumb", "forefinger": "Index", "middle_finger": "Middle", "ring_finger": "Ring", "pinky_finger": "Pinky"}
)
"""The fingers as our keypoint sets call them, and as animation programs do."""

_LIMBS = {"upper_leg": "UpLeg", "lower_leg": "Leg", "foot": "Foot", "upper_arm": "Arm", "lower_arm": "ForeArm", "hand": "Hand"}
_LIMBS |= {f"{ours}{n}": f"Hand{theirs}{n}" for ours, theirs in FINGERS.items() for n in (1, 2, 3)}
_TRUNK = {"hips": "Hips", "spine": "LowerBack", "chest": "Spine1", "neck": "Neck", "head": "Head"}

CMU_NAMES: Mapping[str, str] = MappingProxyType(
    _TRUNK | {f"{side}_{ours}": f"{side.title()}{theirs}" for side in ("left", "right") for ours, theirs in _LIMBS.items()}
)
"""Our joint names -> those of the CMU motions' usual BVH conversion (fingers, which these lack, as in Mixamo)."""

MIXAMO_NAMES: Mapping[str, str] = MappingProxyType(
    {ours: f"mixamorig:{theirs}" for ours, theirs in (CMU_NAMES | {"spine": "Spine", "chest": "Spine2"}).items()}
)
"""Our joint names -> Mixamo's, whose rig has collar bones and more spine joints besides."""

# Another conversion of the CMU motions names joints, not bones; their AMC files have anatomical names.
_JOINT_NAMES = {"hip": "upper_leg", "knee": "lower_leg", "ankle": "foot", "elbow": "lower_arm", "wrist": "hand"}
_AMC_NAMES = {"femur": "upper_leg", "tibia": "lower_leg", "foot": "foot", "humerus": "upper_arm", "radius": "lower_arm", "wrist": "hand"}


def own_name(name: str, names: Sequence[str]) -> str:
    """Our name of the joint `name` of a rig that has the joints `names`; "" for one that is not known."""
    plain = _plain(name)
    if plain in ("leftshoulder", "rightshoulder"):  # the collar bone, except where a rig has one by that name
        collar = plain.replace("shoulder", "collar")
        return f"{plain.removesuffix('shoulder')}_upper_arm" if any(_plain(other) == collar for other in names) else ""
    return _BY_PLAIN_NAME.get(plain, "")


def _plain(name: str) -> str:
    """Without prefix (mixamorig:), case and separators."""
    return name.rpartition(":")[2].replace("_", "").replace(" ", "").lower()


_BY_PLAIN_NAME = {_plain(theirs): ours for names in (CMU_NAMES, MIXAMO_NAMES) for ours, theirs in names.items()}
_BY_PLAIN_NAME |= {f"{side}{theirs}": f"{side}_{ours}" for side in ("left", "right") for theirs, ours in _JOINT_NAMES.items()}
_BY_PLAIN_NAME |= {f"{side[0]}{theirs}": f"{side}_{ours}" for side in ("left", "right") for theirs, ours in _AMC_NAMES.items()}
_BY_PLAIN_NAME |= {_plain(ours): ours for ours in CMU_NAMES}
