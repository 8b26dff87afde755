"""The torch core: the same bodies as `lbs.py`, differentiable and batched, on any device.

Steps and symbols are those of `lbs.py`. What makes it fast: rest joints come from their own directions (no regressor product), the
joint tree is walked depth by depth, and everything per vertex has the batch as its last axis, the order in which the two large matrix
products (correctives, blended maps) are quickest and in which skinning runs over long rows. One transposition at the end.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.body.arrays import check_inputs, levels, nearest_rotation, phenotype_coefficients
from vitruvian.body.model import BodyModel, BodyOutput, sparse_weights

_BLOCK = 200_000  # vertices times bodies that are skinned at a time: their blended maps take 10 MB in float32


class TorchBody(nn.Module):
    """A body model as a torch module. Its buffers are not persistent: no checkpoint carries a body model.

    `body.model` keeps names, parents and faces. Move it with `.to(device)`; `.double()` for float64.
    """

    def __init__(self, model: BodyModel, portable: bool = False) -> None:
        """`portable`: use only operators that every exporter (ONNX) knows; the same numbers, a little slower."""
        super().__init__()
        self.model, self.portable = model, portable
        self._tree = levels(model.parents)
        order = [0, *(joint for row, _ in self._tree for joint in row)]
        keep = lambda name, value: self.register_buffer(name, value, persistent=False)  # noqa: E731
        keep("template", _tensor(model.template).reshape(1, -1))
        keep("shape_directions", _tensor(model.shape_directions).flatten(1))
        keep("expression_directions", _tensor(model.expression_directions).flatten(1))
        keep("pose_directions", None if model.pose_directions is None else _tensor(model.pose_directions).flatten(1))
        keep("weights", _tensor(model.weights))
        index, values = sparse_weights(model.weights)
        few = 3 * index.shape[1] <= model.num_joints and not portable
        keep("strongest", _tensor(index) if few else None)
        keep("strongest_weights", _tensor(values) if few else None)
        keep("joints", _tensor(model.joints).reshape(1, -1))
        keep("joint_shape_directions", _tensor(model.joint_shape_directions).flatten(1))
        keep("joint_expression_directions", _tensor(model.joint_expression_directions).flatten(1))
        keep("shape_default", _tensor(model.shape_default))
        keep("joint_frames", None if model.joint_frames is None else _tensor(model.joint_frames))
        keep("joint_frames_back", None if model.joint_frames is None else _tensor(np.linalg.inv(model.joint_frames)))
        keep("identity", _tensor(np.eye(3, dtype=model.template.dtype)))
        keep("generators", _tensor(_GENERATORS.astype(model.template.dtype)))
        keep("depth_order", torch.tensor(order))
        keep("joint_order", torch.tensor(np.argsort(order)))
        keep("parents", torch.tensor([max(parent, 0) for parent in model.parents]))
        for depth, (_, parent) in enumerate(self._tree):
            keep(f"above{depth}", torch.tensor(parent))
        self._keep_alignment(keep)

    def _keep_alignment(self, keep) -> None:
        """Anny's tables, where the model has them."""
        space, rest = self.model.phenotypes, self.model.rest_alignment
        if space is not None:
            keep("fixed", _tensor(np.concatenate(space.fixed)))
            keep("targets", torch.tensor(space.targets))
            keep("basis", _tensor(space.basis))
            for i, anchor in enumerate(space.anchors):
                keep(f"anchor{i}", _tensor(anchor))
        if rest is not None:
            keep("reference", _tensor(rest.reference))
            keep("orientation", _tensor(rest.template).reshape(1, -1))
            keep("orientation_directions", _tensor(rest.directions).flatten(1))

    def forward(
        self,
        pose: Float[Tensor, "#n j 3"] | Float[Tensor, "#n j 3 3"] | None = None,
        shape: Float[Tensor, "#n s"] | None = None,
        expression: Float[Tensor, "#n e"] | None = None,
        translation: Float[Tensor, "#n 3"] | None = None,
        offsets: Float[Tensor, "#n v 3"] | None = None,
    ) -> BodyOutput:
        """Pose n bodies; inputs and their rules as in `lbs.pose_model`."""
        n = check_inputs(self.model, pose, shape, expression, translation, offsets)
        rotations, coefficients, expression = self._inputs(pose, shape, expression)
        joints = self._rest_joints(coefficients, expression)
        world, places, skin = self._chain(rotations, joints, self._rest_rotations(coefficients))
        blends = [(coefficients, self.shape_directions), (expression, self.expression_directions)]
        if self.pose_directions is not None:
            blends.append(((rotations[:, 1:] - self.identity).flatten(1), self.pose_directions))
        posed = self._vertices(blends, offsets, skin)
        if translation is not None:
            posed, places = posed + translation[:, None], places + translation[:, None]
        return BodyOutput(*(_rows(a, n) for a in (posed, places, joints, world, skin)))

    def rest(
        self,
        shape: Float[Tensor, "#n s"] | None = None,
        expression: Float[Tensor, "#n e"] | None = None,
        offsets: Float[Tensor, "#n v 3"] | None = None,
    ) -> tuple[Float[Tensor, "n v 3"], Float[Tensor, "n j 3"]]:
        """Vertices (with offsets) and joints of n shaped bodies before posing and without pose correctives."""
        n = check_inputs(self.model, None, shape, expression, None, offsets)
        _, coefficients, expression = self._inputs(None, shape, expression)
        blends = [(coefficients, self.shape_directions), (expression, self.expression_directions)]
        vertices = self._vertices(blends, offsets, None)
        return _rows(vertices, n), _rows(self._rest_joints(coefficients, expression), n)

    def joints_only(
        self,
        pose: Float[Tensor, "#n j 3"] | Float[Tensor, "#n j 3 3"] | None = None,
        shape: Float[Tensor, "#n s"] | None = None,
        expression: Float[Tensor, "#n e"] | None = None,
        translation: Float[Tensor, "#n 3"] | None = None,
    ) -> Float[Tensor, "n j 3"]:
        """The posed joints alone, at a small part of the cost: for fitting to joints."""
        n = check_inputs(self.model, pose, shape, expression, translation, None)
        rotations, coefficients, expression = self._inputs(pose, shape, expression)
        joints = self._rest_joints(coefficients, expression)
        _, places, _ = self._chain(rotations, joints, self._rest_rotations(coefficients))
        return _rows(places if translation is None else places + translation[:, None], n)

    def _inputs(self, pose, shape, expression) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (n j 3 3), linear shape coefficients and expression, with zeros or defaults where None was given."""
        if pose is None:
            rotations = self.identity.expand(1, self.model.num_joints, 3, 3)
        else:
            rotations = pose if pose.ndim == 4 else rotation_matrices(pose, self.generators, self.identity)
        none = self.template.new_zeros(1, 0)
        return rotations, self._coefficients(none if shape is None else shape), none if expression is None else expression

    def _coefficients(self, shape: Float[Tensor, "n s"]) -> Float[Tensor, "n k"]:
        space = self.model.phenotypes
        if space is None and not self.model.shape_default.any():
            return shape
        rest = self.shape_default[shape.shape[1] :].expand(shape.shape[0], -1)
        full = torch.cat([shape, rest], 1)
        if space is None:
            return full
        anchors = [getattr(self, f"anchor{i}") for i in range(len(space.anchors))]
        return phenotype_coefficients(full, anchors, self.fixed, self.targets, self.basis, space.num_local)

    def _rest_joints(self, coefficients: Tensor, expression: Tensor) -> Float[Tensor, "n j 3"]:
        joints = _add_blend(self.joints, coefficients, self.joint_shape_directions)
        return _add_blend(joints, expression, self.joint_expression_directions).unflatten(1, (-1, 3))

    def _vertices(self, blends: list[tuple[Tensor, Tensor]], offsets: Tensor | None, skin: Tensor | None) -> Float[Tensor, "n v 3"]:
        """The template with blends and offsets, skinned if there are skinning maps; block by block, so that a block stays in the cache."""
        used = [(c, d[: c.shape[1]]) for c, d in blends if c.shape[1] or c.shape[0] != 1]
        step = max(self.model.num_vertices, 1)
        if not self.portable:
            sizes = [len(c) for c, _ in used] + [len(x) for x in (offsets, skin) if x is not None]
            step = max(_BLOCK // max([1, *sizes]), 256)
        blocks = []
        for start in range(0, max(self.model.num_vertices, 1), step):
            rows = slice(3 * start, 3 * (start + step))
            vertices = self.template[:, rows].T
            for coefficients, directions in used:
                vertices = _add_blend_columns(vertices, coefficients, directions[:, rows])
            if offsets is not None:
                vertices = vertices + offsets[:, start : start + step].flatten(1).T
            if skin is not None:
                vertices = self._skin(slice(start, start + step), vertices, skin)
            blocks.append(vertices.T if self.portable else _Turned.apply(vertices))
        whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)
        return whole.unflatten(1, (self.model.num_vertices, 3))

    def _skin(self, rows: slice, vertices: Float[Tensor, "3v #n"], skin: Float[Tensor, "#n j 3 4"]) -> Float[Tensor, "3v n"]:
        """Linear blend skinning of some vertices, one body per column: blend the maps' columns, then apply them."""
        weights = self.weights[rows]
        columns = skin.permute(1, 3, 2, 0)  # (j 4 3 n)
        if self.strongest is None:
            blended = weights @ columns.flatten(1)
        else:
            blended = _Blended.apply(columns.flatten(1), weights, self.strongest[rows], self.strongest_weights[rows])
        x, y, z, move = blended.unflatten(1, columns.shape[1:]).unbind(1)
        vertices = vertices.unflatten(0, (len(weights), 3))
        out = torch.addcmul(move, x, vertices[:, 0:1])
        return out.addcmul(y, vertices[:, 1:2]).addcmul(z, vertices[:, 2:3]).flatten(0, 1)

    def _rest_rotations(self, coefficients: Tensor) -> Float[Tensor, "n j 3 3"] | None:
        if self.model.rest_alignment is None:
            return None
        matrices = _add_blend(self.orientation, coefficients, self.orientation_directions).unflatten(1, (-1, 3, 3))
        return self.reference @ _nearest_rotation(matrices).transpose(-1, -2)

    def _chain(self, rotations: Tensor, joints: Tensor, alignment: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """World rotations (n j 3 3), places (n j 3) and skinning maps (n j 3 4) of all joints."""
        if self.joint_frames is not None:
            rotations = self.joint_frames @ rotations @ self.joint_frames_back
        bones = joints - joints[:, self.parents]
        if alignment is not None:
            bones = (alignment[:, self.parents] @ bones[..., None])[..., 0]
        bones = torch.cat([joints[:, :1], bones[:, 1:]], 1)  # the root starts from the origin
        n = bones.shape[0] if rotations.shape[0] == 1 else rotations.shape[0]
        local = torch.cat([_rows(rotations, n), _rows(bones, n)[..., None]], -1)
        local = nn.functional.pad(local, (0, 0, 0, 1))
        local[..., 3, 3] = 1
        local = local[:, self.depth_order]
        above, start = local[:, :1], 1
        done = [above]
        for depth, (row, _) in enumerate(self._tree):
            above = above[:, getattr(self, f"above{depth}")] @ local[:, start : start + len(row)]
            start += len(row)
            done.append(above)
        world = torch.cat(done, 1)[:, self.joint_order]
        turned, places = world[..., :3, :3], world[..., :3, 3]
        skin = turned if alignment is None else turned @ alignment
        moves = places[..., None] - skin @ joints[..., None]
        return turned, places, torch.cat([skin, moves], -1)


class _Blended(torch.autograd.Function):
    """weights @ columns for rows of few weights: the few forwards, the matrix product backwards, each the quicker of the two there."""

    @staticmethod
    def forward(columns: Float[Tensor, "j d"], weights: Float[Tensor, "v j"], index: Tensor, values: Float[Tensor, "v k"]) -> Tensor:
        if not columns.shape[1]:
            return columns.new_zeros(len(weights), 0)
        return nn.functional.embedding_bag(index, columns, per_sample_weights=values, mode="sum")

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, gradient: Float[Tensor, "v d"]) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0].T @ gradient, None, None, None

    @staticmethod
    def jvp(ctx, columns: Float[Tensor, "j d"], *_) -> Float[Tensor, "v d"]:
        return _Blended.apply(columns, *ctx.saved_tensors)

    @staticmethod
    def vmap(info, in_dims, columns, *tables) -> tuple[Tensor, int]:
        flat = columns.movedim(in_dims[0], 2).flatten(1)  # linear in the columns: more bodies are just more columns
        return _Blended.apply(flat, *tables).unflatten(1, (-1, info.batch_size)), 2


class _Turned(torch.autograd.Function):
    """Transposition with a real copy in both directions: without one in the backward pass all that follows would run across rows."""

    generate_vmap_rule = True

    @staticmethod
    def forward(columns: Float[Tensor, "d n"]) -> Float[Tensor, "n d"]:
        return columns.T.contiguous()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        pass

    @staticmethod
    def backward(ctx, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "d n"]:
        return _Turned.apply(gradient)

    @staticmethod
    def jvp(ctx, tangent: Float[Tensor, "d n"]) -> Float[Tensor, "n d"]:
        return _Turned.apply(tangent)


# d/dv of the cross-product matrix [v]x, flattened row by row.
_GENERATORS = np.array([[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0]])


def rotation_matrices(
    vectors: Float[Tensor, "*b 3"], generators: Float[Tensor, "3 9"] | None = None, identity: Float[Tensor, "3 3"] | None = None
) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrices of rotation vectors (radians), by Rodrigues' formula; exact, with exact gradients, at zero too.

    The two constants may be given to save making them.
    """
    if generators is None or identity is None:
        generators = torch.as_tensor(_GENERATORS, dtype=vectors.dtype, device=vectors.device)
        identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    square = (vectors * vectors).sum(-1)[..., None, None]
    small = square < 1e-4  # there the series below are exact to double precision
    half = torch.where(small, torch.ones_like(square), square).sqrt() / 2
    sinc = torch.where(small, 1 - square / 24 * (1 - square / 80), torch.sin(half) / half)
    s = torch.where(small, 1 - square / 6 * (1 - square / 20), sinc * torch.cos(half))
    cross = (vectors @ generators).unflatten(-1, (3, 3))
    outer = vectors[..., :, None] * vectors[..., None, :]
    c = sinc * sinc / 2
    return identity * (1 - c * square) + s * cross + c * outer


def _nearest_rotation(matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """`arrays.nearest_rotation` with first derivatives that exist for equal singular values too, where those of the SVD don't.

    For M = R P with P symmetric, R^T dR is antisymmetric and (R^T dR) P + P (R^T dR) = R^T dM - dM^T R, which P's eigenvectors solve.
    At M itself the right side is zero, so that the last line adds derivatives and no value.
    """
    with torch.no_grad():
        rotation = nearest_rotation(matrices.detach())
        symmetric = rotation.transpose(-1, -2) @ matrices.detach()
        values, vectors = torch.linalg.eigh((symmetric + symmetric.transpose(-1, -2)) / 2)
        sums = (values[..., :, None] + values[..., None, :]).clamp(min=torch.finfo(matrices.dtype).eps)
    turned = rotation.transpose(-1, -2) @ matrices
    skew = vectors.transpose(-1, -2) @ (turned - turned.transpose(-1, -2)) @ vectors
    return rotation + rotation @ vectors @ (skew / sums) @ vectors.transpose(-1, -2)


def _add_blend(base: Float[Tensor, "#n d"], coefficients: Float[Tensor, "#n k"], directions: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """base + coefficients @ directions[:k], in one pass where the batch sizes allow."""
    k = coefficients.shape[1]
    if coefficients.shape[0] == 1:
        return base if k == 0 else base + coefficients @ directions[:k]
    return torch.addmm(base, coefficients, directions[:k])


def _add_blend_columns(base: Tensor, coefficients: Float[Tensor, "#n k"], directions: Float[Tensor, "m d"]) -> Float[Tensor, "d n"]:
    """The same with one body per column; base is (d, n) or (d, 1)."""
    k = coefficients.shape[1]
    if coefficients.shape[0] == 1:  # a matrix-vector product is quicker along the rows
        return base if k == 0 else base + (coefficients @ directions[:k]).T
    return torch.addmm(base, directions[:k].T, coefficients.T)


def _rows(value: Tensor, n: int) -> Tensor:
    """The value with n rows, expanded without a copy where it has one."""
    return value if value.shape[0] == n else value.expand(n, *value.shape[1:])


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))  # a copy: the model's own arrays may be read-only
