"""From what OSX says of people to SMPL-X bodies: the user's model posed, its 137 keypoints, and where the crop sees them (card, 2 and 6).

The orders of keypoints are public data here, as other programs use them: 25 of the body, 20 of each hand, 72 of the face.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from vitruvian.body import BodyModel, BodyOutput
from vitruvian.body.points import published_joints
from vitruvian.body.pose import full_pose, rotation_vectors, split_pose
from vitruvian.body.torch import TorchBody
from vitruvian.codecs import mesh
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.errors import VitruvianError
from vitruvian.systems.mesh.osx import GRID, Prediction
from vitruvian.systems.mesh.osx_loss import Labels

KEYPOINT_NAMES = (
    *("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "neck"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    *("left_ear", "right_ear", "left_eye", "right_eye", "nose"),
    *(f"{side}_{finger}{i}" for side in ("left", "right") for finger in ("thumb", "index", "middle", "ring", "pinky") for i in range(1, 5)),
)
"""The 65 keypoints that have a place in the crop; a finger's fourth is its tip. 72 of the face follow without names."""

IN_SMPLX = (
    *(0, 1, 2, 4, 5, 7, 8, 12, 16, 17, 18, 19, 20, 21, 60, 61, 62, 63, 64, 65, 59, 58, 57, 56, 55),
    *(37, 38, 39, 66, 25, 26, 27, 67, 28, 29, 30, 68, 34, 35, 36, 69, 31, 32, 33, 70),
    *(52, 53, 54, 71, 40, 41, 42, 72, 43, 44, 45, 73, 49, 50, 51, 74, 46, 47, 48, 75),
    *(22, 15, 57, 56, *range(76, 144)),
)
"""Where the 137 keypoints are among the 144 points of SMPL-X (`body.points.published_joints` with the contour)."""


def body_pose(model: BodyModel, rotations: Float[Tensor, "b 53 3 3"], hand_mean: bool = True) -> Float[Tensor, "b j 3"]:
    """The complete pose of SMPL-X (55 joints) as rotation vectors; the eyes look ahead.

    `hand_mean`: hands are counted from the model's mean hand. The card does not say; the program that OSX's body comes from leaves the
    body package's default on, which adds it [mem]. For the compact body, of a network that is taught it, its own pose (b 69 3), whose hands
    have no mean. Raises VitruvianError for other models.
    """
    if model.kind not in ("smplx", "anny-compact"):
        raise VitruvianError(f"OSX speaks of SMPL-X bodies, {model.name} is {model.kind}: give an SMPL-X file, or the compact body")
    pose = rotation_vectors(mesh.body_pose(model, rotations))
    return full_pose(model, **split_pose(model, pose), hand_mean=True) if hand_mean else pose


def pose_bodies(body: TorchBody, prediction: Prediction, hand_mean: bool = True) -> BodyOutput:
    """The bodies in the camera of their crop: metres, axes of OpenCV. Nobody is fine. Raises VitruvianError as `body_pose`."""
    pose = body_pose(body.model, prediction.rotations, hand_mean)
    shape, expression = prediction.shape[:, : body.model.num_shape], prediction.expression[:, : body.model.num_expression]
    return body(pose, shape, expression, prediction.translation)


def keypoints(model: BodyModel, output: BodyOutput) -> Float[Tensor, "b 137 3"]:
    """The 137 keypoints of posed bodies. Raises VitruvianError if the model is not the published SMPL-X with its landmarks."""
    points = published_joints(model, output, contour=True)
    if points.shape[1] != 144:
        raise VitruvianError(f"{model.name} gives {points.shape[1]} points, not SMPL-X's 144: import it with its face landmarks")
    return points[:, list(IN_SMPLX)]


def project(points: Float[Tensor, "b k 3"]) -> Float[Tensor, "b k 2"]:
    """Points in the crop's camera -> cells of the map of 12x16 patches. Cells of the 384x512 crop are 32 pixels wide."""
    ratio = WEAK_FOCAL / 16  # in cells: a crop of the camera has 16 pixels per cell
    middle = points.new_tensor([GRID[1] / 2, GRID[0] / 2])
    return points[..., :2] / points[..., 2:].clamp(min=1e-4) * ratio + middle


def labelled(body: TorchBody, prediction: Prediction, hand_mean: bool = True) -> Labels:
    """What the loss compares, of a prediction with all parts. Raises VitruvianError as `keypoints`."""
    joints = keypoints(body.model, pose_bodies(body, prediction, hand_mean))
    pose, places = rotation_vectors(prediction.rotations), prediction.places
    parts = (joints, joints, prediction.boxes, project(joints), places, places, prediction.face_places)
    return Labels(pose, prediction.shape, prediction.expression, *parts)
