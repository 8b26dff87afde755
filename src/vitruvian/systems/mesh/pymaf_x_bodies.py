"""The body models of PyMAF-X: points of body, hand and face in the loop, and the final SMPL-X body (card pymaf-x.md, 4.2 and section 7).

tables = sampling_tables(state)                                   # from the published file, or any points of your own
meshes = LoopMeshes(smpl, mano_right, flame, tables["body"], tables["hand"], tables["face"])
output = network(body, left_hand, right_hand, face, meshes)
bodies = final_bodies(TorchBody(smplx), output)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.body import BodyModel, BodyOutput
from vitruvian.body.library import load_body
from vitruvian.body.model import limit_shape, subset
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.mesh.camera import camera_translation
from vitruvian.systems.mesh.pymaf_x import Output
from vitruvian.systems.mesh.pymaf_x_regressor import EXPRESSION, FACE_SHAPE, HAND, SHAPE, rotations, smplx_rotations

USERS_BODIES = ("smpl-neutral", "mano-right", "flame-neutral")
"""What the loop poses, as `vitruvian body import` calls it."""

Table = Float[Tensor, "n v"] | np.ndarray | Tensor


class PointMesh(nn.Module):
    """A body model of which only some points are wanted: numbers of vertices (n), or a table (n, v) of the vertices' shares."""

    def __init__(self, model: BodyModel, table: Table, portable: bool = False):
        """`portable` as for `TorchBody`. Raises VitruvianError where the table is not one of this mesh."""
        super().__init__()
        table = torch.as_tensor(table)
        if table.ndim not in (1, 2) or table.ndim == 2 and table.shape[1] != model.num_vertices:
            raise VitruvianError(
                f"a table of {tuple(table.shape)} doesn't fit the {model.num_vertices} vertices of {model.name}: give another"
            )
        used = table.long() if table.ndim == 1 else (table != 0).any(0).nonzero()[:, 0]
        self.mesh = TorchBody(subset(model, used.cpu().numpy()), portable).float()
        self.register_buffer("shares", table[:, used].float() if table.ndim == 2 else None, persistent=False)

    def forward(self, turns: Tensor, shape: Tensor, expression: Tensor | None = None) -> Float[Tensor, "b n 3"]:
        """The posed points. Shape and expression beyond the model's are left out."""
        model = self.mesh.model
        expression = None if expression is None else expression[:, : model.num_expression]
        points = self.mesh(turns, shape[:, : model.num_shape], expression).vertices
        return points if self.shares is None else self.shares @ points


class LoopMeshes(nn.Module):
    """The meshes in the loop. Body: SMPL, or SMPL-X with the model's mean hands; its table counts in the vertices of that model.

    The published table counts in SMPL's vertices; SMPL's own mesh needs no conversion from SMPL-X's [ours].
    """

    def __init__(
        self,
        body: BodyModel,
        hand: BodyModel,
        face: BodyModel,
        body_points: Table,
        hand_points: Table,
        face_points: Table,
        portable: bool = False,
    ):
        """`hand` is a right MANO hand, `face` FLAME. Raises VitruvianError for other models, and as `PointMesh`."""
        super().__init__()
        for model, kinds in ((body, ("smpl", "smplx")), (hand, ("mano",)), (face, ("flame",))):
            if model.kind not in kinds:
                raise VitruvianError(f"{model.name} is {model.kind}, where the loop needs {' or '.join(kinds)}: give another file")
        body, hand = (limit_shape(model, SHAPE) for model in (body, hand))
        self.body_mesh = PointMesh(body, body_points, portable)
        self.hand_mesh = PointMesh(hand, hand_points, portable)
        self.face_mesh = PointMesh(limit_shape(face, FACE_SHAPE, EXPRESSION), face_points, portable)
        self.kind = body.kind
        rest = torch.zeros(0, 3)
        if body.kind == "smplx":  # jaw and eyes still, then the mean hands
            mean = [torch.as_tensor(body.hands[side].mean).reshape(HAND, 3) for side in ("left_hand", "right_hand") if side in body.hands]
            rest = torch.cat((torch.zeros(3, 3), *mean)) if len(mean) == 2 else torch.zeros(3 + 2 * HAND, 3)
        self.register_buffer("still", rotation_matrices(rest.float()), persistent=False)

    def body(self, turns: Float[Tensor, "b 24 3 3"], shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b n 3"]:
        """Points of the body. SMPL-X has no hand joints of SMPL's kind: it takes the first 22."""
        if self.kind == "smplx":
            turns = torch.cat((turns[:, :22], self.still.expand(turns.shape[0], -1, -1, -1)), 1)
        return self.body_mesh(turns, shape)

    def hand(self, turns: Float[Tensor, "b 16 3 3"], shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b n 3"]:
        """Points of a right hand."""
        return self.hand_mesh(turns, shape)

    def face(
        self, turns: Float[Tensor, "b 4 3 3"], shape: Float[Tensor, "b 100"], expression: Float[Tensor, "b 50"]
    ) -> Float[Tensor, "b n 3"]:
        """Points of the face: root, jaw and eyes turn, the neck does not."""
        neck = torch.eye(3, dtype=turns.dtype, device=turns.device).expand(turns.shape[0], 1, 3, 3)
        return self.face_mesh(torch.cat((turns[:, :1], neck, turns[:, 1:]), 1), shape, expression)

    def rest_joints(self, shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b 24 3"]:
        """The shaped body's joints before posing, SMPL's 24 or the first as many of SMPL-X (of which only the arms' are read)."""
        mesh = self.body_mesh.mesh
        joints = mesh.rest(shape[:, : mesh.model.num_shape])[1]
        return joints[:, :24]


def user_meshes(tables: Mapping[str, Table]) -> LoopMeshes:
    """The loop's meshes, in a form that goes into ONNX files, of the user's imported SMPL, right MANO hand and FLAME.

    `tables` as `sampling_tables` gives them. Raises WeightsError where one is missing, FormatError where a body model is.
    """
    missing = [part for part in ("body", "hand", "face") if part not in tables]
    if missing:
        raise WeightsError(
            f"the checkpoint has no tables of points of {', '.join(missing)}: give the published file, or one that was converted anew"
        )
    bodies = (load_body(name) for name in USERS_BODIES)
    return LoopMeshes(*bodies, tables["body"], tables["hand"], tables["face"], portable=True)


def final_bodies(body: TorchBody, output: Output, image_size: int = 224) -> BodyOutput:
    """SMPL-X bodies in the camera of their body crop (focal length 5000 pixels of the crop, principal point in its middle); metres.

    Nobody is fine. Raises VitruvianError for a model that is not SMPL-X.
    """
    model, pose, last = body.model, output.pose, output.states[-1]
    if model.kind != "smplx":
        raise VitruvianError(f"PyMAF-X speaks of SMPL-X bodies, {model.name} is {model.kind}: give an SMPL-X file")
    shape, expression = last.shape[:, : model.num_shape], last.expression[:, : model.num_expression]
    return body(smplx_rotations(pose), shape, expression, camera_translation(last.camera, image_size))


def right_hand_turns(output: Output) -> Float[Tensor, "b 16 3 3"]:
    """MANO's rotations of the right hand as its own network saw it, root first: for those who want the hand alone."""
    last = output.states[-1]
    return rotations(torch.cat((last.right_orientation, last.right_hand), 1))
