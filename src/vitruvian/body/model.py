"""One description of every parametric body: arrays and names, read-only, in numpy.

A model is a template mesh, linear shape and expression directions, correctives linear in the pose, a joint tree whose rest joints
are linear in the same coefficients, and skinning weights. `lbs.py` poses it with numpy, `torch.py` with torch.

Rest joints are kept as directions of their own (the joint regressor applied once to the mesh's directions), so that posing needs no
regressor and a model cut down to a few vertices keeps its joints.

Frame: metres, y up, the subject's left is +x, facing +z, unless a model's file says otherwise (MANO: its own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.body.names import joint_parts, pose_blocks
from vitruvian.errors import FormatError, VitruvianError

if TYPE_CHECKING:
    from torch import Tensor

    Array = np.ndarray | Tensor
else:
    Array = Any


@dataclass(frozen=True, eq=False)
class HandSpace:
    """The linear pose space of one hand (MANO): axis angles = coefficients @ components[:n] (+ mean).

    `components` rows are ordered by variance; `mean` is the average relaxed hand, in the same 45 axis-angle values.
    """

    components: Float[np.ndarray, "45 45"]
    mean: Float[np.ndarray, " 45"]


@dataclass(frozen=True, eq=False)
class FaceLandmarks:
    """51 landmarks fixed to the mesh and 17 contour landmarks for each of 79 yaw angles, as barycentric points of faces.

    `yaw_joint`: the joint whose world rotation chooses the contour.
    """

    faces: Int[np.ndarray, " 51"]
    barycentric: Float[np.ndarray, "51 3"]
    contour_faces: Int[np.ndarray, "79 17"] | None
    contour_barycentric: Float[np.ndarray, "79 17 3"] | None
    yaw_joint: int


@dataclass(frozen=True, eq=False)
class Larynx:
    """HACK's larynx: a displacement map over the mesh's uv, that slides vertically and scales (card `hack` section 4.4).

    `uv` in [-1, 1], v downwards, 2 where a vertex has none; `direction` is multiplied by the sampled map, in the model's units.
    """

    displacement: Float[np.ndarray, "h w"]
    uv: Float[np.ndarray, "v 2"]
    direction: Float[np.ndarray, " 3"]


@dataclass(frozen=True, eq=False)
class PhenotypeSpace:
    """Semantic shape parameters (Anny): S numbers -> K linear coefficients (card `anny` section 4).

    Every factor (race, gender, age ...) has anchors; a value between two anchors gives them (1 - t, t). A target's coefficient is the
    product over its factors (`targets`: indices into all anchors' weights, the last index meaning 1), projected by `basis`. The last
    `num_local` parameters, in [-1, 1], are pairs of shapes: one for the positive part and one for the negative.
    """

    anchors: tuple[Float[np.ndarray, " a"], ...]
    fixed: tuple[Float[np.ndarray, " a"], ...]
    targets: Int[np.ndarray, "t f"]
    basis: Float[np.ndarray, "t k"]
    num_local: int


@dataclass(frozen=True, eq=False)
class RestAlignment:
    """Bones whose rest directions change with the shape (Anny): a pose counts from `reference`, the same for all bodies.

    The rest orientation of bone j is the rotation nearest to template + sum c_k directions_k.
    """

    reference: Float[np.ndarray, "j 3 3"]
    template: Float[np.ndarray, "j 3 3"]
    directions: Float[np.ndarray, "k j 3 3"]


@dataclass(frozen=True, eq=False)
class BodyOutput:
    """Posed bodies. Arrays or tensors; metres.

    vertices, joints: posed, with translation. rest_joints: of the shaped body before posing. rotations: of each joint in the world.
    transforms: what skinning applies to the rest mesh, without translation: x -> transforms[..., :3] x + transforms[..., 3].
    """

    vertices: Float[Array, "n v 3"]
    joints: Float[Array, "n j 3"]
    rest_joints: Float[Array, "n j 3"]
    rotations: Float[Array, "n j 3 3"]
    transforms: Float[Array, "n j 3 4"]


@dataclass(frozen=True, eq=False)
class BodyParameters:
    """What poses a body: rotation vectors of all joints (complete, no hidden mean), shape, expression, translation in metres.

    Arrays or tensors, one row per body; indexing by rows or a mask gives the parameters of those bodies.
    """

    pose: Float[Array, "n j 3"]
    shape: Float[Array, "n s"]
    expression: Float[Array, "n e"]
    translation: Float[Array, "n 3"]

    def __post_init__(self) -> None:
        sizes = {len(getattr(self, f.name)) for f in fields(self)}
        if len(sizes) != 1:
            raise VitruvianError(f"body parameters of {sorted(sizes)} rows don't go together: give one row per body in each")

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, rows: slice | np.ndarray) -> BodyParameters:
        """The parameters of some bodies. An integer is refused, as it would drop the batch axis."""
        if isinstance(rows, int | np.integer):
            raise VitruvianError(f"index body parameters by a slice, a mask or an array of rows: [{rows}:{rows + 1}] instead of [{rows}]")
        return BodyParameters(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A parametric body. V vertices, J joints, K shape and E expression directions, S shape parameters (K without `phenotypes`).

    name: "smplx-neutral". kind: smpl, smplh, smplx, mano, flame, hack, anny, ... licence: one line for people.
    parents: -1 for the root, which comes first; a parent before its children.
    joints: rest joints of the template. pose_directions: per value of the row-major (R_j - I) of all joints but the root.
    joint_frames: rotations are given in these rest frames (None: in world-aligned axes, as SMPL has it).
    notes: what the reading did, such as {"fix_left_shape": "applied"}.
    """

    name: str
    kind: str
    licence: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    faces: Int[np.ndarray, "f 3"]
    template: Float[np.ndarray, "v 3"]
    weights: Float[np.ndarray, "v j"]
    joints: Float[np.ndarray, "j 3"]
    shape_directions: Float[np.ndarray, "k v 3"]
    joint_shape_directions: Float[np.ndarray, "k j 3"]
    expression_directions: Float[np.ndarray, "e v 3"]
    joint_expression_directions: Float[np.ndarray, "e j 3"]
    shape_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    shape_default: Float[np.ndarray, " s"]
    pose_directions: Float[np.ndarray, "p v 3"] | None = None
    phenotypes: PhenotypeSpace | None = None
    rest_alignment: RestAlignment | None = None
    joint_frames: Float[np.ndarray, "j 3 3"] | None = None
    hands: Mapping[str, HandSpace] = field(default_factory=dict)
    landmarks: FaceLandmarks | None = None
    larynx: Larynx | None = None
    uv: Float[np.ndarray, "t 2"] | None = None
    uv_faces: Int[np.ndarray, "f 3"] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise FormatError(f"{self.name} is not a body model: {problem}; check the file that it comes from")

    @property
    def num_vertices(self) -> int:
        """The number of vertices V."""
        return len(self.template)

    @property
    def num_joints(self) -> int:
        """The number of joints J."""
        return len(self.parents)

    @property
    def num_shape(self) -> int:
        """The number of shape parameters S."""
        return len(self.shape_names)

    @property
    def num_expression(self) -> int:
        """The number of expression parameters E."""
        return len(self.expression_names)

    @property
    def pose_slices(self) -> Mapping[str, slice]:
        """The named blocks of a pose ("root", "body", "left_hand" ...), as slices of the joints."""
        return pose_blocks(self.kind, self.num_joints)

    @cached_property
    def vertex_parts(self) -> UInt8[np.ndarray, " v"]:
        """The part (index into `names.PART_NAMES`) of each vertex: that of the joint with the largest weight."""
        return np.array(joint_parts(self.joint_names), np.uint8)[self.weights.argmax(1)]

    def forward(
        self,
        pose: Float[np.ndarray, "#n j 3"] | Float[np.ndarray, "#n j 3 3"] | None = None,
        shape: Float[np.ndarray, "#n s"] | None = None,
        expression: Float[np.ndarray, "#n e"] | None = None,
        translation: Float[np.ndarray, "#n 3"] | None = None,
        offsets: Float[np.ndarray, "#n v 3"] | None = None,
    ) -> BodyOutput:
        """Pose n bodies with numpy; see `lbs.pose_model`."""
        from vitruvian.body.lbs import pose_model

        return pose_model(self, pose, shape, expression, translation, offsets)

    def rest(
        self,
        shape: Float[np.ndarray, "#n s"] | None = None,
        expression: Float[np.ndarray, "#n e"] | None = None,
        offsets: Float[np.ndarray, "#n v 3"] | None = None,
    ) -> tuple[Float[np.ndarray, "n v 3"], Float[np.ndarray, "n j 3"]]:
        """Vertices and joints of n shaped bodies before posing; see `lbs.rest_model`."""
        from vitruvian.body.lbs import rest_model

        return rest_model(self, shape, expression, offsets)


def astype(model: BodyModel, dtype: type) -> BodyModel:
    """The model with all its float arrays in another float type."""

    def convert(value: object) -> object:
        if isinstance(value, np.ndarray):
            return value.astype(dtype) if value.dtype.kind == "f" else value
        if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
            return tuple(convert(item) for item in value)
        if isinstance(value, HandSpace | FaceLandmarks | Larynx | PhenotypeSpace | RestAlignment):
            return type(value)(**{f.name: convert(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, Mapping):
            return {key: convert(item) for key, item in value.items()}
        return value

    return replace(model, **{f.name: convert(getattr(model, f.name)) for f in fields(model)})


def subset(model: BodyModel, vertices: Int[np.ndarray, " w"]) -> BodyModel:
    """The model with some of its vertices only, and exactly the same joints: for fitting landmarks, or points of a scan.

    Faces, uv and face landmarks are gone, as they count in the whole mesh. Raises VitruvianError for a vertex that isn't there.
    """
    vertices = np.asarray(vertices)
    if vertices.ndim != 1 or (vertices.size and not (0 <= vertices.min() and vertices.max() < model.num_vertices)):
        raise VitruvianError(f"vertices of {model.name} are numbers from 0 to {model.num_vertices - 1}: check the list")
    vertices = vertices.astype(np.int64)
    larynx = None if model.larynx is None else replace(model.larynx, uv=model.larynx.uv[vertices])
    return replace(
        model,
        faces=np.zeros((0, 3), np.int32),
        template=model.template[vertices],
        weights=model.weights[vertices],
        # Picked out of their middle axis they lie in memory as matrix products don't want them: each would copy them first.
        shape_directions=np.ascontiguousarray(model.shape_directions[:, vertices]),
        expression_directions=np.ascontiguousarray(model.expression_directions[:, vertices]),
        pose_directions=None if model.pose_directions is None else np.ascontiguousarray(model.pose_directions[:, vertices]),
        landmarks=None,
        larynx=larynx,
        uv=None,
        uv_faces=None,
    )


def sparse_weights(weights: Float[np.ndarray, "v j"]) -> tuple[Int[np.ndarray, "v k"], Float[np.ndarray, "v k"]]:
    """Joints and skinning weights of each vertex, strongest first, none left out: k is the largest number that a vertex has."""
    k = max(int((weights != 0).sum(1).max(initial=0)), 1)
    index = np.argsort(-np.abs(weights), 1, kind="stable")[:, :k]
    return index, np.take_along_axis(weights, index, 1)


def limit_shape(model: BodyModel, num_shape: int | None = None, num_expression: int | None = None) -> BodyModel:
    """The model with its first shape and expression directions only: a file of 300 asked for 10 is smaller and faster.

    Numbers beyond what the model has keep all. Raises VitruvianError for semantic shapes (Anny), whose parameters aren't ordered.
    """
    if model.phenotypes is not None and num_shape is not None:
        raise VitruvianError(
            f"{model.name} has semantic shape parameters, which can't be cut to the first {num_shape}: leave num_shape out"
        )
    changes: dict[str, Any] = {}
    if num_shape is not None:
        names = ("shape_directions", "joint_shape_directions", "shape_names", "shape_default")
        changes |= {name: getattr(model, name)[:num_shape] for name in names}
    if num_expression is not None:
        names = ("expression_directions", "joint_expression_directions", "expression_names")
        changes |= {name: getattr(model, name)[:num_expression] for name in names}
    return replace(model, **changes)


def _problem(m: BodyModel) -> str | None:
    """The first contradiction among a model's arrays, in words, or None."""
    v, j, k, e = len(m.template), len(m.parents), len(m.shape_directions), len(m.expression_directions)
    shapes = {
        "template": (v, 3),
        "weights": (v, j),
        "joints": (j, 3),
        "shape_directions": (k, v, 3),
        "joint_shape_directions": (k, j, 3),
        "expression_directions": (e, v, 3),
        "joint_expression_directions": (e, j, 3),
        "faces": (len(m.faces), 3),
        "shape_default": (len(m.shape_names),),
    }
    if m.pose_directions is not None:
        shapes["pose_directions"] = (9 * (j - 1), v, 3)
    if m.joint_frames is not None:
        shapes["joint_frames"] = (j, 3, 3)
    for name, shape in shapes.items():
        if getattr(m, name).shape != shape:
            return f"{name} has shape {getattr(m, name).shape}, expected {shape}"
    if len(m.joint_names) != j or len(m.expression_names) != e:
        return "names and arrays differ in number"
    if m.phenotypes is None and len(m.shape_names) != k:
        return f"{len(m.shape_names)} shape parameters for {k} directions"
    if j == 0 or m.parents[0] != -1 or not all(0 <= p < i for i, p in enumerate(m.parents[1:], 1)):
        return "its joints are not a tree with the root first and every parent before its children"
    if m.faces.size and not (0 <= m.faces.min() and m.faces.max() < v):
        return "a face leaves the mesh"
    return None
