"""The 133 COCO-WholeBody keypoints as points of the Anny body.

The 17 body and 6 foot points come from Anny's own linear COCO regressor, the hand points from the heads of the finger bones and
from finger-tip vertices, and the 68 face points (iBUG order) are mesh vertices chosen by hand on rendered pictures of the face
(`docs/images/face68.png`, drawn by `landmark_pictures`). Only the right half and the mid-line of the face is listed: the template
is exactly symmetric in x, so the left half is the mirror.

Frame: Anny's, metres, z up, the body faces -y, the person's left is +x. The chosen indices hold for `topology="anny"` (13718
vertices) and bone names for `rig="anny"` of anny 0.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import FormatError

if TYPE_CHECKING:
    import anny

VERTEX_COUNT = 13718

# Anny's regressor lists the feet as big toes, small toes, heels (left, right each); COCO-WholeBody lists left foot, then right foot.
_BODY_ORDER = (*range(17), 17, 19, 21, 18, 20, 22)

_HAND_BONES = ("wrist", *(f"finger{finger}-{joint}" for finger in range(1, 6) for joint in range(1, 4)))

# The rig's thumb starts 44 mm from the wrist and 29 mm from the thumb's knuckle; in people (and in data sets labelled with hand
# models) the carpometacarpal joint lies nearer to the wrist, so the point is taken this far back. Both joints move with the wrist bone.
_THUMB_BASE_SHIFT = 0.2

# Anny's regressor has the ankles 20 mm above the malleoli, between which people click them; so far towards the heel they lie between them.
_ANKLE_SHIFT = 0.3
_ANKLES, _HEELS = [15, 16], [19, 22]

# iBUG index -> vertex, the person's right side and the mid-line.
_FACE_RIGHT: dict[int, int] = {
    # Jaw: in front of the ear at eye height, down along the outline to the chin (8).
    **dict(zip(range(0, 9), (5386, 859, 869, 895, 893, 3682, 5278, 5205, 5209), strict=True)),
    # Brow, tail to root.
    **dict(zip(range(17, 22), (255, 225, 222, 223, 208), strict=True)),
    # Nose: bridge from the root to the tip, then from the right wing to the base of the septum.
    **dict(zip(range(27, 31), (132, 135, 164, 5038), strict=True)),
    **dict(zip(range(31, 34), (358, 285, 343), strict=True)),
    # Eye: outer corner, upper lid, inner corner, lower lid (from the nose outwards).
    **dict(zip(range(36, 42), (4838, 4832, 4849, 4854, 47, 41), strict=True)),
    # Outer lips: corner, upper border to the mid-line; lower border from the mid-line back.
    **dict(zip((48, 49, 50, 51, 57, 58, 59), (422, 5338, 450, 455, 492, 486, 480), strict=True)),
    # Inner lips: corner, upper lip to the mid-line; lower lip from the mid-line back.
    **dict(zip((60, 61, 62, 66, 67), (3691, 472, 474, 523, 517), strict=True)),
}

# The same points mirrored: iBUG index on the right -> index on the left.
_FACE_SWAP: dict[int, int] = {
    **{i: 16 - i for i in range(8)},
    **{i: 43 - i for i in range(17, 22)},
    **{31: 35, 32: 34},
    **{36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46},
    **{48: 54, 49: 53, 50: 52, 58: 56, 59: 55},
    **{60: 64, 61: 63, 67: 65},
}


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Where the COCO-WholeBody-133 keypoints and some body parts lie on a posed Anny body.

    Attributes:
        body_vertices: (m,) vertices that the body and foot points depend on.
        body_weights: (23, m) weights of those vertices, rows sum to 1, rows in COCO-WholeBody order 0..22.
        face_vertices: (68,) one vertex for each face point, iBUG order.
        hand_bones: (2, 16) bones whose heads are the left and right hand points that are no tips (wrist; thumb 1-3; forefinger 1-3; ...).
        tip_vertices: (2, 5) finger-tip vertices of the left and right hand, thumb to little finger.
        head, face, left_hand, right_hand, left_foot, right_foot: sorted vertex indices of the parts, for boxes and masks. `face` is
            the part of the head that a face box encloses: chin to hair line, in front of the ears.
    """

    body_vertices: Int[np.ndarray, " m"]
    body_weights: Float[np.ndarray, "23 m"]
    face_vertices: Int[np.ndarray, " 68"]
    hand_bones: Int[np.ndarray, "2 16"]
    tip_vertices: Int[np.ndarray, "2 5"]
    head: Int[np.ndarray, " n_head"]
    face: Int[np.ndarray, " n_face"]
    left_hand: Int[np.ndarray, " n_left_hand"]
    right_hand: Int[np.ndarray, " n_right_hand"]
    left_foot: Int[np.ndarray, " n_left_foot"]
    right_foot: Int[np.ndarray, " n_right_foot"]

    def wholebody133(self, vertices: Float[np.ndarray, "b v 3"], bone_heads: Float[np.ndarray, "b k 3"]) -> Float[np.ndarray, "b 133 3"]:
        """Keypoints of a batch of posed bodies, in COCO-WholeBody-133 order, in the frame and unit of the vertices.

        Args:
            vertices: posed vertices of Anny (`output["vertices"]`), 13718 per body.
            bone_heads: posed bone heads (`output["bone_poses"][..., :3, 3]`), 104 per body.

        Raises:
            FormatError: the arrays are not those of the body the landmarks are for.
        """
        if vertices.ndim != 3 or vertices.shape[1:] != (VERTEX_COUNT, 3):
            raise FormatError(f"vertices have shape {vertices.shape}, but (b, {VERTEX_COUNT}, 3) is needed: use topology='anny'.")
        if bone_heads.ndim != 3 or bone_heads.shape[1] <= self.hand_bones.max() or len(bone_heads) != len(vertices):
            raise FormatError(f"bone heads have shape {bone_heads.shape}, but (b, 104, 3) is needed: use rig='anny'.")
        points = np.empty((len(vertices), 133, 3), vertices.dtype)
        points[:, :23] = self.body_weights.astype(vertices.dtype, copy=False) @ vertices[:, self.body_vertices]
        points[:, 23:91] = vertices[:, self.face_vertices]
        points[:, 0] = points[:, 53]  # COCO's nose is its tip, where Anny's regressor lies 9 mm inside
        points[:, _ANKLES] += _ANKLE_SHIFT * (points[:, _HEELS] - points[:, _ANKLES])
        for hand in range(2):
            first = 91 + 21 * hand
            tips = np.arange(4, 21, 4)
            joints = np.setdiff1d(np.arange(21), tips)
            points[:, first + joints] = bone_heads[:, self.hand_bones[hand]]
            points[:, first + tips] = vertices[:, self.tip_vertices[hand]]
            points[:, first + 1] += _THUMB_BASE_SHIFT * (points[:, first] - points[:, first + 1])
        return points


def landmarks_for(model: anny.Anny) -> Landmarks:
    """Find the landmarks of an Anny model with rig "anny" and topology "anny" (any phenotype, action and skinning options).

    Raises:
        FormatError: the model has another topology or rig.
    """
    template = model.template_vertices.detach().cpu().numpy().astype(np.float64)
    bones = list(model.bone_labels)
    if len(template) != VERTEX_COUNT or "finger1-1.L" not in bones or "finger5-3.R" not in bones:
        raise FormatError('The landmarks are for the full Anny body: build it with anny.Anny(rig="anny", topology="anny", ...).')
    mirror = mirror_vertices(template)
    owner = _owner_bones(model)
    body_vertices, body_weights = _body_regressor(model)
    face_vertices = _face_vertices(mirror)
    left_tips = np.array([_tip_vertex(template, owner, bones, finger) for finger in range(1, 6)])
    head = _owned(owner, bones, ("head", "eye.L", "eye.R"))
    return Landmarks(
        body_vertices=body_vertices,
        body_weights=body_weights,
        face_vertices=face_vertices,
        hand_bones=np.array([[bones.index(f"{name}.{side}") for name in _HAND_BONES] for side in "LR"]),
        tip_vertices=np.stack([left_tips, mirror[left_tips]]),
        head=head,
        face=_face_region(template, head, face_vertices),
        left_hand=_owned(owner, bones, [b for b in bones if b.endswith(".L") and b.startswith(("wrist", "finger", "metacarpal"))]),
        right_hand=_owned(owner, bones, [b for b in bones if b.endswith(".R") and b.startswith(("wrist", "finger", "metacarpal"))]),
        left_foot=_owned(owner, bones, [b for b in bones if b.endswith(".L") and b.startswith(("foot", "toe"))]),
        right_foot=_owned(owner, bones, [b for b in bones if b.endswith(".R") and b.startswith(("foot", "toe"))]),
    )


def mirror_vertices(template: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, " v"]:
    """For each vertex of a template that is symmetric in x, the vertex at the mirrored place.

    Raises:
        FormatError: some vertex has no counterpart within a micrometre.
    """
    from scipy.spatial import cKDTree

    distance, mirror = cKDTree(template).query(template * [-1.0, 1.0, 1.0])
    if distance.max(initial=0.0) > 1e-6:
        raise FormatError("The template body is not symmetric in x: use the template of an unmodified Anny model.")
    return mirror


def _face_vertices(mirror: Int[np.ndarray, " v"]) -> Int[np.ndarray, " 68"]:
    """The 68 face vertices in iBUG order, the left ones mirrored from the right ones."""
    vertices = np.full(68, -1)
    for index, vertex in _FACE_RIGHT.items():
        vertices[_FACE_SWAP.get(index, index)] = mirror[vertex]
        vertices[index] = vertex
    return vertices


def _body_regressor(model: anny.Anny, threshold: float = 1e-3) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "23 m"]]:
    """Anny's COCO regressor without the many weights below the threshold, which move a point by less than a millimetre together."""
    import anny

    weights = anny.KeypointsRegressor.coco(model).regression_weights.detach().cpu().numpy().astype(np.float64)
    weights = np.where(weights > threshold, weights, 0.0)[list(_BODY_ORDER)]
    vertices = np.flatnonzero(weights.any(axis=0))
    weights = weights[:, vertices]
    return vertices, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _owner_bones(model: anny.Anny) -> Int[np.ndarray, " v"]:
    """The bone with the largest skinning weight of each vertex."""
    weights = model.vertex_bone_weights.detach().cpu().numpy()
    bones = model.vertex_bone_indices.detach().cpu().numpy()
    return np.take_along_axis(bones, weights.argmax(axis=1)[:, None], axis=1)[:, 0]


def _owned(owner: Int[np.ndarray, " v"], bones: Sequence[str], names: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Vertices that belong most to one of the named bones."""
    member: Bool[np.ndarray, " v"] = np.isin(owner, [bones.index(name) for name in names])
    return np.flatnonzero(member)


def _tip_vertex(template: Float[np.ndarray, "v 3"], owner: Int[np.ndarray, " v"], bones: Sequence[str], finger: int) -> int:
    """The vertex of a left finger's last bone that lies farthest along the finger."""
    middle = template[_owned(owner, bones, [f"finger{finger}-2.L"])].mean(axis=0)
    last = _owned(owner, bones, [f"finger{finger}-3.L"])
    along = (template[last] - middle) @ (template[last].mean(axis=0) - middle)
    return int(last[along.argmax()])


def _face_region(
    template: Float[np.ndarray, "v 3"], head: Int[np.ndarray, " n"], face_vertices: Int[np.ndarray, " 68"]
) -> Int[np.ndarray, " m"]:
    """Head vertices from the chin to the hair line and in front of the ears.

    The hair line is put by the canon of thirds: as far above the brows as the base of the nose lies below them.
    """
    points = template[face_vertices]
    brow, nose_base, chin = points[19, 2], points[33, 2], points[8, 2]
    candidates = template[head]
    inside = (candidates[:, 2] >= chin) & (candidates[:, 2] <= 2 * brow - nose_base) & (candidates[:, 1] <= points[0, 1])
    return head[inside]
