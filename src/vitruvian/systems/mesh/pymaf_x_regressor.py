"""PyMAF-X: from features and the parameters so far to the next parameters, and how hands are fitted to arms (card pymaf-x.md, 4.5, 4.6)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.body.pose import rotation_vectors, rotations_from_6d
from vitruvian.body.torch import rotation_matrices

BODY, HAND, FACE = 24, 15, 3  # joints; of the face: jaw, left eye, right eye
SHAPE, EXPRESSION, FACE_SHAPE = 10, 50, 100
CAMERA_FEATURES = (0.8, 0.3, 0.5, 0.5)  # published constants for a camera that is not known
DROPOUT = 0.5
VISIBLE = 0.1  # from this value of the network on a hand counts as seen
MOST_TWIST = 0.4 * math.pi
LEFT_ELBOW, RIGHT_ELBOW = 18, 19
ARMS = {18: (0, 3, 6, 9, 13, 16, 18), 19: (0, 3, 6, 9, 14, 17, 19)}
"""From the pelvis to each elbow, in SMPL's joints; the wrist's number is the elbow's and two."""


class State(NamedTuple):
    """Parameters as they go round the loop: six numbers per joint, cameras (scale, x, y). The left hand is kept as its mirrored right one.

    `visible`: raw values, left and right.
    """

    pose: Float[Tensor, "b 144"]
    shape: Float[Tensor, "b 10"]
    camera: Float[Tensor, "b 3"]
    left_hand: Float[Tensor, "b 90"]
    right_hand: Float[Tensor, "b 90"]
    face: Float[Tensor, "b 18"]
    expression: Float[Tensor, "b 50"]
    left_shape: Float[Tensor, "b 10"]
    right_shape: Float[Tensor, "b 10"]
    face_shape: Float[Tensor, "b 100"]
    left_orientation: Float[Tensor, "b 6"]
    right_orientation: Float[Tensor, "b 6"]
    face_orientation: Float[Tensor, "b 6"]
    left_camera: Float[Tensor, "b 3"]
    right_camera: Float[Tensor, "b 3"]
    face_camera: Float[Tensor, "b 3"]
    visible: Float[Tensor, "b 2"]


class Pose(NamedTuple):
    """Rotations relative to the parent, of the body's root to the camera; the left hand is a left hand."""

    body: Float[Tensor, "b 24 3 3"]
    left_hand: Float[Tensor, "b 15 3 3"]
    right_hand: Float[Tensor, "b 15 3 3"]
    face: Float[Tensor, "b 3 3 3"]


def smplx_rotations(pose: Pose) -> Float[Tensor, "b 55 3 3"]:
    """The complete pose of SMPL-X in its joints' order; SMPL's last two joints, the hands, it has not."""
    return torch.cat((pose.body[:, :22], pose.face, pose.left_hand, pose.right_hand), 1)


class Features(NamedTuple):
    """What the maps say, of each part."""

    body: Float[Tensor, "b f"]
    left_hand: Float[Tensor, "b g"]
    right_hand: Float[Tensor, "b g"]
    face: Float[Tensor, "b g"]


def rotations(six: Float[Tensor, "b j6"]) -> Float[Tensor, "b j 3 3"]:
    """Rotations of six numbers per joint: two columns side by side."""
    return rotations_from_6d(six.unflatten(-1, (-1, 6)), "interleaved")


def mirror(matrices: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rotations of the mirrored body part, left for right."""
    sign = matrices.new_tensor([-1.0, 1.0, 1.0])
    return matrices * sign[:, None] * sign


def upright(joints: int) -> Float[Tensor, "1 j6"]:
    """Six numbers per joint of no rotation."""
    return torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(joints)[None]


class Regressor(nn.Module):
    """One iteration: features and `State` -> residuals -> `State`. Both hands share their layers.

    The buffers `init_*` are the mean parameters with which the loop starts; published files carry them in every iteration.
    """

    def __init__(self, body: int, part: int, hidden: int):
        super().__init__()
        inputs = body + 6 * BODY + SHAPE + 3 + len(CAMERA_FEATURES)
        self.fc1, self.fc2 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.decpose, self.decshape, self.deccam = (nn.Linear(hidden, n) for n in (6 * BODY, SHAPE, 3))
        self.fc1_hand, self.fc2_hand = nn.Linear(part + 6 * HAND, hidden), nn.Linear(hidden, hidden)
        self.decrhand, self.fc3_hand = nn.Linear(hidden, 6 * HAND), nn.Linear(hidden + SHAPE + 9, hidden)
        self.decshape_rhand, self.decorient_rhand, self.deccam_rhand = (nn.Linear(hidden, n) for n in (SHAPE, 6, 3))
        self.fc1_face, self.fc2_face = nn.Linear(part + 6 * FACE + EXPRESSION, hidden), nn.Linear(hidden, hidden)
        self.dechead, self.decexp = nn.Linear(hidden, 6 * FACE), nn.Linear(hidden, EXPRESSION)
        self.fc3_face = nn.Linear(hidden + FACE_SHAPE + 9, hidden)
        self.decshape_face, self.decorient_face, self.deccam_face = (nn.Linear(hidden, n) for n in (FACE_SHAPE, 6, 3))
        self.fc1_vis, self.fc2_vis, self.decvis = nn.Linear(3 * hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2)
        for name, layer in self.named_children():
            if name.startswith("dec"):  # residuals start small
                nn.init.xavier_uniform_(layer.weight, gain=0.01)
        starts = {"pose": upright(BODY), "orient": upright(1), "lhand": upright(HAND), "rhand": upright(HAND), "face": upright(FACE)}
        starts |= {"shape": torch.zeros(1, SHAPE), "shape_rh": torch.zeros(1, SHAPE), "shape_fa": torch.zeros(1, FACE_SHAPE)}
        starts |= {"cam": torch.tensor([[0.9, 0, 0]]), "exp": torch.zeros(1, EXPRESSION)}
        for name, value in starts.items():
            self.register_buffer(f"init_{name}", value)

    def start(self, batch: int) -> State:
        """The mean parameters."""
        camera, orientation, hand = (self.init_cam,) * 3, (self.init_orient,) * 3, self.init_shape_rh
        whole = (self.init_pose, self.init_shape, self.init_cam, self.init_lhand, self.init_rhand, self.init_face, self.init_exp)
        unseen = self.init_cam.new_zeros(1, 2)
        return State(*(v.expand(batch, -1) for v in (*whole, hand, hand, self.init_shape_fa, *orientation, *camera, unseen)))

    def _twice(self, first: nn.Linear, second: nn.Linear, *given: Tensor) -> Float[Tensor, "b h"]:
        """Two linear layers, without a non-linearity between them, as published."""
        x = F.dropout(first(torch.cat(given, 1)), DROPOUT, self.training)
        return F.dropout(second(x), DROPOUT, self.training)

    def _hand(self, feature: Tensor, hand: Tensor, shape: Tensor, orientation: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
        """Pose, shape, orientation and camera of a right hand, and what visibility is told from."""
        x = self._twice(self.fc1_hand, self.fc2_hand, feature, hand)
        y = F.dropout(self.fc3_hand(torch.cat((x, shape, orientation, camera), 1)), DROPOUT, self.training)
        rest = (shape + self.decshape_rhand(y), orientation + self.decorient_rhand(y), camera + self.deccam_rhand(y))
        return hand + self.decrhand(x), *rest, y

    def forward(self, features: Features, state: State) -> State:
        """The next parameters. Expression starts anew at every iteration: a published slip that weights depend on."""
        s, known = state, features.body.new_tensor(CAMERA_FEATURES).expand(features.body.shape[0], -1)
        body = self._twice(self.fc1, self.fc2, features.body, s.pose, s.shape, s.camera, known)
        left = self._hand(features.left_hand, s.left_hand, s.left_shape, s.left_orientation, s.left_camera)
        right = self._hand(features.right_hand, s.right_hand, s.right_shape, s.right_orientation, s.right_camera)
        expression = self.init_exp.expand(features.face.shape[0], -1)
        face = self._twice(self.fc1_face, self.fc2_face, features.face, s.face, expression)
        own = torch.cat((face, s.face_shape, s.face_orientation, s.face_camera), 1)
        own = F.dropout(self.fc3_face(own), DROPOUT, self.training)
        seen = self.decvis(self._twice(self.fc1_vis, self.fc2_vis, body, left[4], right[4]))
        return State(
            pose=s.pose + self.decpose(body),
            shape=s.shape + self.decshape(body),
            camera=s.camera + self.deccam(body),
            left_hand=left[0],
            right_hand=right[0],
            face=s.face + self.dechead(face),
            expression=expression + self.decexp(face),
            left_shape=left[1],
            right_shape=right[1],
            face_shape=s.face_shape + self.decshape_face(own),
            left_orientation=left[2],
            right_orientation=right[2],
            face_orientation=s.face_orientation + self.decorient_face(own),
            left_camera=left[3],
            right_camera=right[3],
            face_camera=s.face_camera + self.deccam_face(own),
            visible=seen,
        )


def plain_pose(state: State) -> Pose:
    """The parts as each network sees them, not fitted to each other."""
    left = mirror(rotations(state.left_hand))
    return Pose(rotations(state.pose), left, rotations(state.right_hand), rotations(state.face))


def twist_angle(turn: Float[Tensor, "*b 3 3"], axis: Float[Tensor, "*b 3"]) -> Float[Tensor, " *b"]:
    """The angle in [-pi, pi] by which a rotation turns about an axis of length one: the twist of its swing-twist decomposition.

    By the dot product; the published ratio of sums has no value where the axis' components sum to zero.
    """
    vector = rotation_vectors(turn)
    square = (vector * vector).sum(-1)
    small = square < 1e-8
    half = torch.where(small, torch.ones_like(square), square).sqrt() / 2
    sinc = torch.where(small, torch.full_like(square, 0.5), half.sin() / (2 * half))
    cosine = torch.where(small, torch.ones_like(square), half.cos())
    return 2 * torch.atan2(sinc * (vector * axis).sum(-1), cosine)


def integrate(state: State, rest_joints: Float[Tensor, "b 24 3"], mean_hand: Float[Tensor, "1 90"], visible: Bool[Tensor, "b 2"]) -> Pose:
    """Adaptive integration: seen hands keep the rotation in the picture that their own network found, and the arm follows.

    The wrist takes what is missing between elbow and hand; of its twist about the forearm more than 0.4 pi goes to the elbow, which leaves
    the hand where it is. Of a hand that is not seen, the body network's wrist and elbow are kept, and its fingers are the mean hand's.
    `rest_joints` are the shaped body's before posing. `visible`: left, right.
    """
    pose = plain_pose(state)
    body = list(pose.body.unbind(1))
    hands = (mirror(rotations(state.left_orientation))[:, 0], rotations(state.right_orientation)[:, 0])
    for side, (elbow, hand) in enumerate(zip((LEFT_ELBOW, RIGHT_ELBOW), hands, strict=True)):
        world = body[0]
        for joint in ARMS[elbow][1:]:
            world = world @ pose.body[:, joint]
        wrist = world.transpose(-1, -2) @ hand
        forearm = F.normalize(rest_joints[:, elbow + 2] - rest_joints[:, elbow], dim=-1)
        angle = twist_angle(wrist, forearm)
        excess = angle - angle.clamp(-MOST_TWIST, MOST_TWIST)
        turn = rotation_matrices(forearm * excess[:, None])
        seen = visible[:, side, None, None]
        body[elbow] = torch.where(seen, body[elbow] @ turn, body[elbow])
        body[elbow + 2] = torch.where(seen, turn.transpose(-1, -2) @ wrist, body[elbow + 2])
    mean = rotations(mean_hand)
    left = torch.where(visible[:, 0, None, None, None], pose.left_hand, mirror(mean))
    right = torch.where(visible[:, 1, None, None, None], pose.right_hand, mean)
    return Pose(torch.stack(body, 1), left, right, pose.face)
