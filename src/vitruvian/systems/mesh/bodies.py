"""From what Multi-HMR says of people to body models: their head joint where it was seen, in camera axes (card, section 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitruvian.body import BodyModel, BodyParameters
from vitruvian.body.anny import TO_Y_UP
from vitruvian.body.pose import rotation_vectors
from vitruvian.body.torch import TorchBody
from vitruvian.errors import VitruvianError
from vitruvian.systems.mesh.camera import project
from vitruvian.systems.mesh.multi_hmr import People
from vitruvian.systems.mesh.multi_hmr_loss import Labelled


def body_rotations(model: BodyModel, people: People) -> Float[Tensor, "n j 3 3"]:
    """The complete pose of a body model: rotations in its joints' order. SMPL-X: the eyes stay; Anny: turned to the model's y up.

    `codecs.mesh.body_pose` is the same in numpy. Raises VitruvianError for a model whose joints the network does not speak of.
    """
    given = people.rotations
    if given.shape[1] == 53 and model.num_joints == 55:
        still = torch.eye(3, dtype=given.dtype, device=given.device).expand(len(given), 2, 3, 3)
        return torch.cat((given[:, :22], given[:, 52:], still, given[:, 22:52]), 1)
    if given.shape[1] == model.num_joints and model.kind == "anny-compact":
        return given
    if given.shape[1] == model.num_joints and model.kind == "anny":
        turn = torch.as_tensor(TO_Y_UP, dtype=given.dtype, device=given.device)
        return torch.cat((given[:, :1] @ turn.T, turn @ given[:, 1:] @ turn.T), 1)
    raise VitruvianError(
        f"{given.shape[1]} rotations don't fit the {model.num_joints} joints of {model.name}: "
        'take an SMPL-X body for 53, load_anny(rig="makehuman") for 163, the compact body for 69'
    )


def body_parameters(body: TorchBody, people: People) -> BodyParameters:
    """Parameters (tensors) with which the body's head joint lies where the network saw it. Differentiable; camera axes, metres.

    The pose is given as rotation vectors; use `body_rotations` with `translation` to pass gradients near half turns.
    """
    rotations = body_rotations(body.model, people)
    shape, expression = _coefficients(body.model, people)
    joints = body.joints_only(rotations, shape, expression)
    translation = people.translation - joints[:, body.model.joint_names.index("head")]
    return BodyParameters(rotation_vectors(rotations), shape, expression, translation)


def _coefficients(model: BodyModel, people: People) -> tuple[Tensor, Tensor]:
    """Shape and expression as the model takes them; the rest is its default. Of Anny's, the first six count (card 4.7)."""
    default = torch.as_tensor(model.shape_default, dtype=people.shape.dtype, device=people.shape.device).expand(len(people.shape), -1)
    known = min(6 if model.kind == "anny" else people.shape.shape[1], model.num_shape)
    shape = torch.cat((people.shape[:, :known], default[:, known:]), 1)
    spoken = people.expression[:, : model.num_expression]
    return shape, F.pad(spoken, (0, model.num_expression - spoken.shape[1]))


def labelled(body: TorchBody, people: People, scores: Float[Tensor, "b g g"], intrinsics: Float[Tensor, "n 3 3"]) -> Labelled:
    """What the loss compares, of a prediction: the bodies posed and seen by each person's camera."""
    rotations = body_rotations(body.model, people)
    out = body(rotations, *_coefficients(body.model, people))
    shift = (people.translation - out.joints[:, body.model.joint_names.index("head")])[:, None]
    joints, vertices, camera = out.joints + shift, out.vertices + shift, intrinsics[:, None]
    seen = (project(joints, camera), project(vertices, camera))
    parts = (people.offset, people.rotations, people.shape, people.code[:, 0], people.translation)
    return Labelled(scores, *parts, joints[:, 0], joints, vertices, *seen)
