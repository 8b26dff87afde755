"""Anny through its own package, as a `BodyModel` (Brégier et al., ECCV 2026; package anny 0.6, code Apache-2.0, MakeHuman data CC0-1.0).

The package builds its tables once, for half a minute and several gigabytes; what a forward pass needs of them is kept as a body file
(some 40 MB) in the user's home, and from then on neither the package nor torch is needed. Card `anny` sections 2 and 4:

| card | here |
|---|---|
| phenotypes -> coefficients: product of piecewise-linear weights, projected on the compact basis | `model.PhenotypeSpace` |
| facial actions, local changes | expression directions, further shape parameters |
| rest orientation of a bone: special Procrustes of a matrix linear in the coefficients | `model.RestAlignment` |
| pose "local-ref": rotations in world-aligned axes, from the rig's reference pose | the pose of `forward` |

Shape: gender (0 male, 1 female), age (-1/3 newborn, 0 baby, 1/3 child, 2/3 young, 1 old), muscle, weight, height, proportions, each 0.5
by default, then the local changes, in [-1, 1]. Expression: 52 facial actions in [0, 1]; the package clamps them, this does not.
Frame: y up, facing +z; the package has z up and faces -y, (x, y, z) there is (x, z, -y) here, for points and rotation vectors.
The root stays at its rest joint; the package puts it at the origin, so its root translation is ours plus `rest_joints[:, 0]`.
No rotation at all is the rig's reference pose, whose bone directions are the same for all bodies: not exactly the rest mesh.
The meshes "smplx" and "smpl" need a download under a non-commercial licence and are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vitruvian.body.bodyfile import read_body_file, save_body
from vitruvian.body.library import folder
from vitruvian.body.model import BodyModel, PhenotypeSpace, RestAlignment
from vitruvian.errors import FormatError, MissingExtraError, VitruvianError

if TYPE_CHECKING:
    import anny

LICENCE = "Anny: code Apache-2.0 (NAVER Corp.), MakeHuman data CC0-1.0: free for any use"
TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Maps the package's axes to ours."""

_FACTORS = ("race", "gender", "age", "muscle", "weight", "height", "proportions", "cupsize", "firmness")


def load_anny(
    local_changes: Sequence[str] = (), *, expression: bool = True, rig: str = "anny", topology: str = "anny", y_up: bool = True
) -> BodyModel:
    """Anny with its default phenotypes, from the user's home, or else made by the package and kept there.

    local_changes: labels of the package such as "stomach-pregnant-incr"; `shape_names` has them in the package's order.
    expression: with the 52 facial actions. rig, topology: of the package; rigs whose bones have orientations of their own making
    (mixamo and other game rigs) are refused. y_up: turn the axes.
    Raises MissingExtraError without the package (where nothing is kept yet), VitruvianError for names that it does not know.
    """
    options = {"local_changes": list(local_changes), "expression": expression, "rig": rig, "topology": topology, "y_up": y_up}
    plain = options == {"local_changes": [], "expression": True, "rig": "anny", "topology": "anny", "y_up": True}
    name = "anny" if plain else f"anny-{hashlib.sha256(json.dumps(options).encode()).hexdigest()[:10]}"
    kept = folder() / f"{name}.npz"
    if kept.exists():
        return read_body_file(kept)
    model = from_package(build_package(local_changes, expression, rig, topology), name, y_up)
    save_body(model, kept)
    return model


def build_package(local_changes: Sequence[str] = (), expression: bool = True, rig: str = "anny", topology: str = "anny") -> anny.Anny:
    """The package's own model with these options, in float64. The first time takes a minute."""
    if any(name in topology for name in ("smpl", "smplx")):
        raise VitruvianError(f"topology {topology!r} needs a non-commercial download: use the package itself, with its licence read")
    try:
        import anny
    except ImportError as error:
        raise MissingExtraError("Anny's package is not installed: pip install 'vitruvian[synth]', or use the compact body") from error
    changes = list(local_changes) or "none"
    try:
        return anny.Anny(rig=rig, topology=topology, local_changes=changes, facial_actions="all" if expression else "none")
    except (ValueError, KeyError) as error:
        raise VitruvianError(f"Anny's package does not know these options ({error}): check rig, topology and local changes") from error


def from_package(package: anny.Anny, name: str = "anny", y_up: bool = True) -> BodyModel:
    """The arrays of the package's model. Raises FormatError where it was built with options that a `BodyModel` can't hold."""
    if package.bone_orientation != "cached" or list(package.anchors._buffers) != sorted(_FACTORS[1:], key=_package_order):
        raise FormatError("this Anny has another kind of rig or other phenotypes: build it with the default phenotypes and rig 'anny'")
    turn = TO_Y_UP if y_up else np.eye(3)
    arrays = {key: value.detach().numpy() for key, value in package.named_buffers()}
    labels = list(package.blendshape_labels)
    basis, facial, local = ([i for i, label in enumerate(labels) if label.startswith(kind)] for kind in _GROUPS)
    if len(basis) + len(facial) + len(local) != len(labels):
        raise FormatError("this Anny keeps its shapes in another way: build it with phenotype_blendshapes='compact'")
    shape, orientations = [*basis, *local], arrays["bone_orientation_blendshapes"]
    if np.abs(orientations[facial]).max(initial=0) > 0:
        raise FormatError("this Anny turns bones with facial actions, which version 0.6 does not: pin anny<0.7")
    single = lambda array: np.ascontiguousarray(array, np.float32)  # noqa: E731
    weights = np.zeros((len(arrays["template_vertices"]), len(package.bone_labels)))
    np.add.at(weights, (np.arange(len(weights))[:, None], arrays["vertex_bone_indices"]), arrays["vertex_bone_weights"])
    shape_names = (*package.phenotype_labels, *package.local_change_labels)
    return BodyModel(
        name=name,
        kind="anny",
        licence=LICENCE,
        joint_names=tuple(package.bone_labels),
        parents=tuple(package.bone_parents),
        faces=_triangles(package.faces.numpy()),
        template=single(arrays["template_vertices"] @ turn.T),
        weights=single(weights),
        joints=single(arrays["template_bone_heads"] @ turn.T),
        shape_directions=single(arrays["blendshapes"][shape] @ turn.T),
        joint_shape_directions=single(arrays["bone_heads_blendshapes"][shape] @ turn.T),
        expression_directions=single(arrays["blendshapes"][facial] @ turn.T),
        joint_expression_directions=single(arrays["bone_heads_blendshapes"][facial] @ turn.T),
        shape_names=shape_names,
        expression_names=tuple(package.facial_action_labels),
        shape_default=single([0.5] * len(package.phenotype_labels) + [0.0] * len(package.local_change_labels)),
        phenotypes=_phenotypes(package, arrays),
        rest_alignment=RestAlignment(
            reference=single(turn @ arrays["reference_bone_orientations"]),
            template=single(turn @ arrays["bone_template_orientation_matrices"]),
            directions=single(turn @ orientations[shape]),
        ),
        **_texture(package, arrays),
    )


_GROUPS = ("phenotype_basis:", "facial_action:", "local_change:")


def _package_order(factor: str) -> int:
    return ("age", "gender", "muscle", "weight", "height", "proportions", "cupsize", "firmness").index(factor)


def _phenotypes(package: anny.Anny, arrays: dict[str, np.ndarray]) -> PhenotypeSpace:
    """The multilinear space: factors that are not parameters (race, cup size, firmness) are fixed in the middle."""
    anchors = {factor: arrays[f"anchors.{factor}"].astype(np.float32) for factor in _FACTORS[1:]}
    sizes = {"race": 3} | {factor: len(values) for factor, values in anchors.items()}
    parameters = list(package.phenotype_labels)
    fixed = {factor: np.array([0, 1, 0], np.float32) for factor in _FACTORS if factor not in parameters}
    fixed["race"] = np.full(3, 1 / 3, np.float32)
    starts = dict(zip(_FACTORS, np.cumsum([0, *(sizes[factor] for factor in _FACTORS)]).tolist(), strict=False))
    order = [starts[factor] + i for factor in (*fixed, *parameters) for i in range(sizes[factor])]
    mask = arrays["stacked_phenotype_blend_shapes_mask"][:, order] > 0
    targets = np.full((len(mask), int(mask.sum(1).max())), mask.shape[1])
    for row, active in enumerate(mask):
        targets[row, : active.sum()] = np.flatnonzero(active)
    return PhenotypeSpace(
        anchors=tuple(anchors[name] for name in parameters),
        fixed=tuple(fixed.values()),
        targets=targets,
        basis=arrays["phenotype_blendshape_projection"].astype(np.float32),
        num_local=len(package.local_change_labels),
    )


def _triangles(faces: np.ndarray) -> np.ndarray:
    """Triangles, from triangles or quads."""
    faces = faces if faces.shape[1] == 3 else np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    return faces.astype(np.int32)


def _texture(package: anny.Anny, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if "texture_coordinates" not in arrays:
        return {}
    corners = _triangles(package.face_texture_coordinate_indices.numpy())
    return {"uv": arrays["texture_coordinates"].astype(np.float32), "uv_faces": corners}
