"""The equations of card `mano` section 4 one after another, dense, in torch: slow, and nothing like the cores that it is an oracle for.

It also rounds as published float32 programs do, down to the last digit where they were read right. Some cases need that: results in
millimetres with an absolute tolerance of 1e-4 mm ask for more digits than float32 has, so that even the exact result, computed in
float64, misses what the published program printed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vitruvian.body.model import BodyModel


def pose_literally(model: BodyModel, regressor: np.ndarray, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices (n, v, 3) and joints (n, j, 3) of a model without expression, from rotation matrices (n, j, 3, 3).

    `regressor` (j, v): the file's, which the model itself keeps only as joint directions.
    """
    tensor = lambda a: torch.from_numpy(np.array(a, order="C"))  # noqa: E731
    n, joints = rotations.shape[:2]
    shape = tensor(np.moveaxis(model.shape_directions, 0, 2))[..., : betas.shape[1]]
    rest = (shape @ betas.T).permute(2, 0, 1) + tensor(model.template)
    places = tensor(regressor) @ rest
    feature = (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype)).reshape(n, -1)
    corrected = rest + (tensor(np.moveaxis(model.pose_directions, 0, 2)) @ feature.T).permute(2, 0, 1)
    world: list[Tensor] = []
    for joint, parent in enumerate(model.parents):
        bone = places[:, joint] if parent < 0 else places[:, joint] - places[:, parent]
        local = homogeneous(rotations[:, joint], bone)
        world.append(local if parent < 0 else world[parent] @ local)
    chain = torch.stack(world, 1)
    back = chain @ torch.cat([places, torch.zeros(n, joints, 1, dtype=places.dtype)], -1)[..., None]
    maps = chain - nothing_but_last(back)
    blended = torch.einsum("vj,njab->nvab", tensor(model.weights), maps)
    points = torch.cat([corrected, torch.ones(n, len(model.template), 1, dtype=corrected.dtype)], -1)
    return (blended * points[:, :, None]).sum(-1)[..., :3], chain[:, :, :3, 3]


def homogeneous(rotation: Tensor, translation: Tensor) -> Tensor:
    """(n, 4, 4) from rotations and translations."""
    last = torch.tensor([0, 0, 0, 1], dtype=rotation.dtype).expand(len(rotation), 1, 4)
    return torch.cat([torch.cat([rotation, translation[..., None]], -1), last], 1)


def nothing_but_last(column: Tensor) -> Tensor:
    """A column (n, j, 4, 1) as the last one of a 4 x 4 matrix of zeros."""
    return torch.nn.functional.pad(column, (3, 0))


def quaternion_rotations(vectors: Tensor) -> Tensor:
    """Rotation matrices of rotation vectors by way of quaternions; not safe at zero but for an offset of 1e-8."""
    angle = (vectors + 1e-8).norm(dim=-1, keepdim=True)
    quaternion = torch.cat([(angle * 0.5).cos(), (angle * 0.5).sin() * (vectors / angle)], -1)
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        *(w * w + x * x - y * y - z * z, 2 * (x * y) - 2 * (w * z), 2 * (w * y) + 2 * (x * z)),
        *(2 * (w * z) + 2 * (x * y), w * w - x * x + y * y - z * z, 2 * (y * z) - 2 * (w * x)),
        *(2 * (x * z) - 2 * (w * y), 2 * (w * x) + 2 * (y * z), w * w - x * x - y * y + z * z),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
