"""What the numpy core and the torch core share: formulas that read the same in both libraries, and the check of inputs.

`namespace` gives numpy or torch without importing torch, so that this file stays on the ground floor.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.model import Array, BodyModel
from vitruvian.errors import VitruvianError


def namespace(*values: object) -> ModuleType:
    """torch if any of the values is a tensor, else numpy. Only names that both have are used through it."""
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(value, torch.Tensor) for value in values):
        return torch
    return np


def like(values: object, other: Array) -> Array:
    """The values in the library, the float type and on the device of `other`."""
    xp = namespace(other)
    if xp is np:
        return np.asarray(values, other.dtype)
    return xp.as_tensor(values).to(dtype=other.dtype, device=other.device)


def check_inputs(
    model: BodyModel, pose: Array | None, shape: Array | None, expression: Array | None, translation: Array | None, offsets: Array | None
) -> int:
    """The common batch size of the inputs. Raises VitruvianError, with the shape that fits, where one does not fit the model."""
    sizes = {}
    for name, value, tails in (
        ("pose", pose, ((model.num_joints, 3), (model.num_joints, 3, 3))),
        ("shape", shape, ((model.num_shape,),)),
        ("expression", expression, ((model.num_expression,),)),
        ("translation", translation, ((3,),)),
        ("offsets", offsets, ((model.num_vertices, 3),)),
    ):
        if value is None:
            continue
        shape_given, tail = tuple(value.shape), tuple(value.shape[1:])
        fewer_allowed = name in ("shape", "expression") and len(tail) == 1 and tail <= tails[0]
        if not shape_given or not (tail in tails or fewer_allowed):
            wanted = " or ".join(f"(n, {', '.join(map(str, t))})" for t in tails)
            raise VitruvianError(f"{name} of shape {shape_given} doesn't fit {model.name}: give {wanted}")
        sizes[name] = shape_given[0]
    batch = 1
    for size in sizes.values():
        if batch != 1 and size not in (1, batch):
            raise VitruvianError(f"batch sizes {sizes} of a body's inputs don't go together: give each n rows, or one")
        batch = batch if size == 1 else size
    return batch


@cache
def levels(parents: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The joint tree cut by depth: for each depth from 1 on, the joints there and the place of each one's parent in the depth above."""
    depth, rows = [0], [[0]]
    for joint, parent in enumerate(parents[1:], 1):
        depth.append(depth[parent] + 1)
        rows.extend([[]] if depth[joint] == len(rows) else [])
        rows[depth[joint]].append(joint)
    return [(row, [above.index(parents[joint]) for joint in row]) for above, row in zip(rows, rows[1:], strict=False)]


def phenotype_coefficients(
    shape: Float[Array, "n s"],
    anchors: Sequence[Float[Array, " a"]],
    fixed: Float[Array, " b"],
    targets: Int[Array, "t f"],
    basis: Float[Array, "t q"],
    num_local: int,
) -> Float[Array, "n k"]:
    """Linear coefficients of semantic shape parameters, see `model.PhenotypeSpace`; values beyond the anchors are clamped."""
    xp = namespace(shape)
    num = shape.shape[1] - num_local
    weights = [xp.broadcast_to(fixed, (shape.shape[0], fixed.shape[0]))]
    for column, anchor in enumerate(anchors[:num]):
        value = xp.clip(shape[:, column : column + 1], float(anchor[0]), float(anchor[-1]))
        weights.append(xp.clip(1 - xp.abs(value - anchor) / (anchor[1] - anchor[0]), 0, None))
    weights.append(xp.ones_like(shape[:, :1]))  # the factor that a target does not have
    weights = xp.concatenate(weights, 1)
    product = weights[:, targets[:, 0]]
    for factor in range(1, targets.shape[1]):
        product = product * weights[:, targets[:, factor]]
    coefficients = [product @ basis]
    if num_local:
        local = shape[:, num:]
        both = xp.stack([xp.clip(local, 0, 1), xp.clip(-local, 0, 1)], -1)
        coefficients.append(both.reshape(shape.shape[0], 2 * num_local))
    return xp.concatenate(coefficients, 1)


def linear_coefficients(model: BodyModel, shape: Float[Array, "n s"] | None, example: Array) -> Float[Array, "n k"]:
    """Coefficients of the shape directions, in the library and float type of `example`.

    They are the shape parameters themselves (perhaps fewer than directions), or what `phenotypes` make of them.
    """
    xp, space = namespace(example), model.phenotypes
    given = like(np.zeros((1, 0)), example) if shape is None else like(shape, example)
    if space is None and not model.shape_default.any():
        return given
    rest = xp.broadcast_to(like(model.shape_default[given.shape[1] :], example), (len(given), model.num_shape - given.shape[1]))
    full = xp.concatenate([given, rest], 1)
    if space is None:
        return full
    anchors = [like(anchor, example) for anchor in space.anchors]
    fixed = like(np.concatenate(space.fixed), example)
    return phenotype_coefficients(full, anchors, fixed, space.targets, like(space.basis, example), space.num_local)


def nearest_rotation(matrices: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3 3"]:
    """The rotations nearest to the matrices in the Frobenius norm (special Procrustes, by SVD)."""
    xp = namespace(matrices)
    u, _, vt = xp.linalg.svd(matrices)
    flip = xp.linalg.det(u @ vt)[..., None]
    last = xp.concatenate([xp.ones_like(flip), xp.ones_like(flip), flip], -1)
    return (u * last[..., None, :]) @ vt
