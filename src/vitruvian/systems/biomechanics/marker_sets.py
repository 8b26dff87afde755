"""Markers on the musculoskeletal model LaiUhlrich2022: where they sit, what they weigh, and which distances scale which bones.

Positions, weights and measurements of `SYNTHPOSE` are those of the set-up files of OpenCapBench (StanfordMIMI/OpenCapBench at b37d51dd,
MIT, (c) 2024 yonigozlan), rounded to 0.01 mm. The weights of `JOINT_CENTRES` are the published sparse baseline's, with the big toes
added; its positions are ours: the model's joint centres, the feet's points placed by eye on the sole's outline, about a centimetre off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vitruvian.biomechanics.segments import both_sides
from vitruvian.geometry.limbs import Limb

Place = tuple[str, tuple[float, float, float]]
"""A body of the model, and a position in its frame in metres (x forward, y up, z to the right)."""


@dataclass(frozen=True)
class Measurement:
    """Distances between pairs of markers that scale bodies along some of the axes "XYZ"."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    bodies: tuple[str, ...]
    axes: str = "XYZ"


@dataclass(frozen=True)
class MarkerSet:
    """Markers on a model, and how they are used.

    places: where each sits on the unscaled model. weights: of inverse kinematics. measurements: for scaling. placement: weights of the
    markers, and placement_pose weights and values (radians) of the coordinates, when markers are moved to where the static trial has them.
    fixed: markers that are never moved. posture: what the markers do not tell: coordinates that our solver draws to their default values,
    and how strongly (see `converged.Solver`).
    """

    name: str
    places: Mapping[str, Place]
    weights: Mapping[str, float]
    measurements: tuple[Measurement, ...]
    placement: Mapping[str, float] = field(default_factory=dict)
    placement_pose: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    posture: Mapping[str, float] = field(default_factory=dict)


def reduced(markers: MarkerSet, names: Collection[str]) -> MarkerSet:
    """The set with only the named markers, and the measurements that have a pair of them left."""
    have = set(names)
    pairs = [replace(m, pairs=tuple(pair for pair in m.pairs if have >= set(pair))) for m in markers.measurements]
    return replace(
        markers,
        places={name: place for name, place in markers.places.items() if name in have},
        weights={name: weight for name, weight in markers.weights.items() if name in have},
        measurements=tuple(measurement for measurement in pairs if measurement.pairs),
        placement={name: weight for name, weight in markers.placement.items() if name in have},
    )


def _both(right: Mapping[str, Place]) -> dict[str, Place]:
    """The right side's places and their mirror images: names begin with r and l, bodies end in _r and _l."""
    left = {
        f"l{name[1:]}": (body.removesuffix("_r") + ("_l" if body.endswith("_r") else ""), (x, y, -z))
        for name, (body, (x, y, z)) in right.items()
    }
    return {**right, **left}


_LIMBS = {
    "r_ASIS": ("pelvis", (0.028, 0.01, 0.128)),
    "r_PSIS": ("pelvis", (-0.154, 0.025, 0.05)),
    "r_knee": ("femur_r", (0.008, -0.378, 0.055)),
    "r_mknee": ("femur_r", (0.011, -0.378, -0.055)),
    "r_ankle": ("tibia_r", (-0.0067, -0.37914, 0.05018)),
    "r_mankle": ("tibia_r", (-0.00547, -0.38, -0.03858)),
    "r_toe": ("calcn_r", (0.18684, 0.00837, 0.00527)),
    "r_5meta": ("calcn_r", (0.14, 0.005, 0.065)),
    "r_calc": ("calcn_r", (-0.03216, 0.03257, -0.01117)),
    "rshoulder": ("torso", (0.0, 0.418, 0.142)),
    "r_lelbow": ("humerus_r", (0.015, -0.28, 0.04)),
    "r_melbow": ("humerus_r", (0.00225, -0.286, -0.05)),
    "r_lwrist": ("radius_r", (0.0005, -0.225, 0.05)),
    "r_mwrist": ("radius_r", (-0.022, -0.225, -0.022)),
}
_SPINE = {
    "sternum": ("torso", (0.046, 0.385, 0.0)),
    "C7": ("torso", (-0.08, 0.42, 0.0)),
    "L2": ("torso", (-0.03532, 0.03628, 0.0)),
    "T11": ("torso", (-0.07719, 0.14869, 0.0)),
    "T6": ("torso", (-0.0982, 0.28115, 0.0)),
}
_FEET = ("talus_r", "calcn_r", "toes_r", "talus_l", "calcn_l", "toes_l")
_ARMS = ("ulna_r", "radius_r", "hand_r", "ulna_l", "radius_l", "hand_l")


def _weighted(groups: Mapping[str, float]) -> dict[str, float]:
    """Weights by marker from groups "a b c" -> weight; a leading "?" stands for both sides."""
    return {
        (side + name[1:] if name[0] == "?" else name): weight
        for group, weight in groups.items()
        for name in group.split()
        for side in ("rl" if name[0] == "?" else " ")
    }


SYNTHPOSE = MarkerSet(
    name="synthpose-33",
    places=MappingProxyType({**_both(_LIMBS), **_SPINE}),
    weights=MappingProxyType(
        _weighted(
            {
                "C7 L2 T6 T11 ?shoulder ?_lelbow ?_melbow ?_lwrist ?_mwrist": 5.0,
                "sternum ?_knee ?_mknee ?_ankle ?_mankle": 10.0,
                "?_ASIS ?_PSIS": 25.0,
                "?_toe ?_5meta ?_calc": 7.0,
            }
        )
    ),
    measurements=(
        Measurement("foot", tuple((f"{s}_calc", f"{s}_{end}") for s in "rl" for end in ("toe", "5meta")), _FEET),
        *(Measurement(f"tibia_{s}", ((f"{s}_knee", f"{s}_ankle"), (f"{s}_mknee", f"{s}_mankle")), (f"tibia_{s}",)) for s in "rl"),
        *(Measurement(f"femur_{s}", ((f"{s}_ASIS", f"{s}_knee"),), (f"femur_{s}", f"patella_{s}")) for s in "rl"),
        Measurement("pelvis_xy", (("r_ASIS", "r_PSIS"), ("l_ASIS", "l_PSIS")), ("pelvis",), "XY"),
        Measurement("pelvis_z", (("l_ASIS", "r_ASIS"),), ("pelvis",), "Z"),
        Measurement("torso_xy", (("rshoulder", "r_PSIS"), ("lshoulder", "l_PSIS"), ("C7", "r_PSIS"), ("C7", "l_PSIS")), ("torso",), "XY"),
        Measurement("torso_z", (("rshoulder", "lshoulder"),), ("torso",), "Z"),
        Measurement("humerus", tuple((f"{s}shoulder", f"{s}_{e}elbow") for s in "rl" for e in "lm"), ("humerus_r", "humerus_l")),
        Measurement("radius", tuple((f"{s}_{a}wrist", f"{s}_{b}elbow") for s in "rl" for a, b in ("ml", "lm")), _ARMS),
    ),
    placement=MappingProxyType(
        _weighted(
            {
                "C7": 20.0,
                "?shoulder ?_lwrist ?_mwrist": 5.0,
                "sternum ?_ASIS ?_PSIS ?_knee ?_mknee ?_ankle ?_mankle ?_toe ?_5meta ?_calc": 10.0,
                "?_lelbow": 1.0,
            }
        )
    ),
    placement_pose=MappingProxyType(
        {
            **{f"{name}_{side}": (0.1, 0.0) for side in "rl" for name in ("hip_flexion", "knee_angle")},
            **{f"ankle_angle_{side}": (0.1, 0.08726646) for side in "rl"},
            **{f"lumbar_{name}": (0.1, 0.0) for name in ("extension", "bending", "rotation")},
        }
    ),
    fixed=frozenset(f"{s}_{e}{joint}" for s in "rl" for e in "lm" for joint in ("elbow", "wrist")),
)
"""The 33 anatomical markers of SynthPose that the benchmark uses."""

_CENTRES = {
    "right_hip": ("femur_r", (0.0, 0.0, 0.0)),
    "right_knee": ("tibia_r", (0.0, 0.0, 0.0)),
    "right_ankle": ("talus_r", (0.0, 0.0, 0.0)),
    "right_heel": ("calcn_r", (-0.03216, 0.03257, -0.01117)),
    "right_big_toe": ("calcn_r", (0.235, 0.0, -0.03)),
    "right_small_toe": ("calcn_r", (0.165, 0.0, 0.06)),
    "right_shoulder": ("humerus_r", (0.0, 0.0, 0.0)),
    "right_elbow": ("ulna_r", (0.0, 0.0, 0.0)),
    "right_wrist": ("hand_r", (0.0, 0.0, 0.0)),
}


def _centres() -> dict[str, Place]:
    """Both sides of `_CENTRES`, and the two points in the middle."""
    mirrored = _both({f"r{name.removeprefix('right')}": place for name, place in _CENTRES.items()})
    sided = {("right" if name[0] == "r" else "left") + name[1:]: place for name, place in mirrored.items()}
    return {**sided, "neck": ("torso", (0.003, 0.3715, 0.0)), "mid_hip": ("pelvis", (-0.056, -0.0785, 0.0))}


JOINT_CENTRES = MarkerSet(
    name="joint-centres-20",
    places=MappingProxyType(_centres()),
    weights=MappingProxyType(
        {
            **dict.fromkeys(("neck", *both_sides("shoulder", "elbow", "wrist")), 5.0),
            **dict.fromkeys(("mid_hip", *both_sides("hip")), 25.0),
            **dict.fromkeys(both_sides("knee", "ankle", "small_toe", "big_toe"), 30.0),
            **dict.fromkeys(both_sides("heel"), 60.0),
        }
    ),
    measurements=(
        Measurement("foot", tuple((f"{s}_heel", f"{s}_{end}") for s in ("right", "left") for end in ("big_toe", "small_toe")), _FEET),
        *(Measurement(f"tibia_{s[0]}", ((f"{s}_knee", f"{s}_ankle"),), (f"tibia_{s[0]}",)) for s in ("right", "left")),
        *(Measurement(f"femur_{s[0]}", ((f"{s}_hip", f"{s}_knee"),), (f"femur_{s[0]}", f"patella_{s[0]}")) for s in ("right", "left")),
        Measurement("pelvis", (("right_hip", "left_hip"),), ("pelvis",)),
        Measurement("torso_xy", tuple((f"{s}_hip", f"{s}_shoulder") for s in ("right", "left")), ("torso",), "XY"),
        Measurement("torso_z", (("right_shoulder", "left_shoulder"),), ("torso",), "Z"),
        Measurement("humerus", tuple((f"{s}_shoulder", f"{s}_elbow") for s in ("right", "left")), ("humerus_r", "humerus_l")),
        Measurement("radius", tuple((f"{s}_elbow", f"{s}_wrist") for s in ("right", "left")), _ARMS),
    ),
    # A centimetre between hips and neck bends pelvis and trunk against each other by 25 degrees: the three lie nearly on one line.
    posture=MappingProxyType(
        {
            "lumbar_extension": 0.1,
            **dict.fromkeys(("lumbar_bending", "lumbar_rotation"), 0.01),
            **{f"{name}_{side}": 0.02 for name in ("hip_rotation", "subtalar_angle", "mtp_angle") for side in "rl"},
            **{f"{name}_{side}": 0.01 for name in ("arm_rot", "pro_sup", "wrist_flex", "wrist_dev") for side in "rl"},
        }
    ),
)
"""What a take of ours has: COCO's joints with feet, neck and mid hip, on the model's joint centres."""

PUBLISHED_SPARSE_WEIGHTS = MappingProxyType({name: weight for name, weight in JOINT_CENTRES.weights.items() if "big_toe" not in name})
"""Of the published sparse baseline, which does not use the big toes."""

AUGMENTED_NAMES = MappingProxyType(
    {
        "C7_study": "C7",
        "r_shoulder_study": "rshoulder",
        "L_shoulder_study": "lshoulder",
        **{f"{theirs}.{bone}_study": f"{ours}_{bone}" for theirs, ours in (("r", "r"), ("L", "l")) for bone in ("ASIS", "PSIS")},
        **{
            f"{theirs}_{point}_study": f"{ours}_{point}"
            for theirs, ours in (("r", "r"), ("L", "l"))
            for point in ("knee", "mknee", "ankle", "mankle", "calc", "toe", "5meta", "lelbow", "melbow", "lwrist", "mwrist")
        },
    }
)
"""OpenCap's markers (`vitruvian.biomechanics.augmenter`) that are SynthPose's by another name."""

_CHAINS = (
    *(("?_ASIS", f"?_{m}knee", f"?_{m}ankle") for m in ("", "m")),
    *(("?shoulder", f"?_{side}elbow", f"?_{side}wrist") for side in "lm"),
)
_FOOT = ("?_calc", "?_toe", "?_5meta", "?_big_toe")
"""Anatomical markers from the trunk outwards; and what may come nearer to the ankle than it is far, but not farther away."""


def marker_limbs(names: Sequence[str]) -> tuple[Limb, ...]:
    """Arms, legs and feet of SynthPose's markers for `geometry.limbs.with_steady_limbs`, as far as they are among the names."""
    place, found = {name: number for number, name in enumerate(names)}, []
    hanging = [("?_ASIS", "?_knee", "?_ankle", end) for end in _FOOT]
    for chain in (*_CHAINS, *hanging):
        for own, opposite in ("rl", "lr"):
            points, others = ([place.get(name.replace("?", side)) for name in chain] for side in (own, opposite))
            if None in points or None in others:
                continue
            ends = range(1, len(chain)) if chain not in hanging else (len(chain) - 1,)
            found += [Limb(tuple(points[end - 1 :: -1]), points[end], (others[end - 1], others[end]), chain in hanging) for end in ends]
    return tuple(sorted(found, key=lambda limb: len(limb.starts)))
