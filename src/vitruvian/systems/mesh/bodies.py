"""From what Multi-HMR says of people to body models: their head joint where it was seen, in camera axes (card, section 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitruvian.body import BodyModel, BodyParameters
from vitruvian.body.pose import rotation_vectors
from vitruvian.body.torch import TorchBody
from vitruvian.codecs.mesh import body_pose
from vitruvian.systems.mesh.camera import project
from vitruvian.systems.mesh.multi_hmr import People
from vitruvian.systems.mesh.multi_hmr_loss import Labelled


def body_parameters(body: TorchBody, people: People) -> BodyParameters:
    """Parameters (tensors) with which the body's head joint lies where the network saw it. Differentiable; camera axes, metres.

    The pose is given as rotation vectors; use `codecs.mesh.body_pose` with `translation` to pass gradients near half turns.
    """
    rotations = body_pose(body.model, people.rotations)
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
    rotations = body_pose(body.model, people.rotations)
    out = body(rotations, *_coefficients(body.model, people))
    shift = (people.translation - out.joints[:, body.model.joint_names.index("head")])[:, None]
    joints, vertices, camera = out.joints + shift, out.vertices + shift, intrinsics[:, None]
    seen = (project(joints, camera), project(vertices, camera))
    parts = (people.offset, people.rotations, people.shape, people.code[:, 0], people.translation)
    return Labelled(scores, *parts, joints[:, 0], joints, vertices, *seen)
