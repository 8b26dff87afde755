"""OSX's bodies: a mesh with the published topology's size is posed, its keypoints are found and seen where the crop's camera sees them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from random_body import random_body
from vitruvian.body.compact import load_compact
from vitruvian.body.merge import pose_by_smpl, smpl_pose
from vitruvian.body.model import FaceLandmarks, subset
from vitruvian.body.pose import rotation_vectors
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.codecs.mesh import SMPL_LAYOUTS
from vitruvian.codecs.mesh import body_pose as body_pose_matrices
from vitruvian.errors import VitruvianError
from vitruvian.systems.mesh.osx import CROP, OSX, VARIANTS, Prediction
from vitruvian.systems.mesh.osx_body import IN_SMPLX, KEYPOINT_NAMES, body_pose, keypoints, labelled, pose_bodies, project
from vitruvian.systems.mesh.osx_loss import Labels, osx_loss

VERTICES = 10475


@pytest.fixture(scope="module")
def body():
    """SMPL-X in all its numbers: joints, vertices, landmarks; the values are random."""
    torch.set_num_threads(1)
    small, rng = random_body("smplx"), np.random.default_rng(0)
    rows = rng.integers(0, small.num_vertices, VERTICES)
    corner = rng.dirichlet(np.ones(3), (79, 17))
    landmarks = FaceLandmarks(rng.integers(0, 500, 51), rng.dirichlet(np.ones(3), 51), rng.integers(0, 500, (79, 17)), corner, 15)
    return TorchBody(
        replace(
            small,
            template=small.template[rows],
            weights=small.weights[rows],
            shape_directions=small.shape_directions[:, rows],
            expression_directions=small.expression_directions[:, rows],
            faces=rng.integers(0, VERTICES, (500, 3)).astype(np.int32),
            landmarks=landmarks,
        )
    ).float()


def prediction(n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((10,), (10,), (3,), (65, 3), (72, 3), (3, 4), (3, 4))
    values = [torch.randn(n, *shape, generator=generator) for shape in shapes]
    values[2] = values[2] * 0.3 + torch.tensor([0, 0, 40.0])
    values[6] = torch.tensor([0.0, 0, 64, 64]).expand(n, 3, 4)
    return Prediction(rotation_matrices(torch.randn(n, 53, 3, generator=generator)), *values)


def test_names_and_places_of_the_keypoints():
    assert len(IN_SMPLX) == 137 and len(set(IN_SMPLX)) == 135 and max(IN_SMPLX) == 143  # the eyes count for body and face
    assert len(KEYPOINT_NAMES) == 65 and KEYPOINT_NAMES[IN_SMPLX.index(21)] == "right_wrist" and KEYPOINT_NAMES[24] == "nose"


def test_pose_has_its_parts_where_smplx_has_them(body):
    given = prediction()
    vectors, pose = rotation_vectors(given.rotations), body_pose(body.model, given.rotations, hand_mean=False)
    assert torch.allclose(pose[:, :22], vectors[:, :22]) and torch.allclose(pose[:, 22], vectors[:, 52])
    assert pose[:, 23:25].abs().max() == 0 and torch.allclose(pose[:, 25:], vectors[:, 22:52])
    mean = torch.as_tensor(body.model.hands["left_hand"].mean).float().reshape(15, 3)
    assert torch.allclose(body_pose(body.model, given.rotations)[:, 25:40], vectors[:, 22:37] + mean, atol=1e-6)


def test_bodies_stand_where_the_network_puts_them(body):
    given = prediction()
    moved = given._replace(translation=given.translation + torch.tensor([1.0, 2, 3]))
    shift = pose_bodies(body, moved).vertices - pose_bodies(body, given).vertices
    assert torch.allclose(shift, torch.tensor([1.0, 2, 3]).expand_as(shift), atol=1e-4)


def test_keypoints_are_joints_and_vertices(body):
    out = pose_bodies(body, prediction())
    points = keypoints(body.model, out)
    assert points.shape == (2, 137, 3)
    assert torch.equal(points[:, KEYPOINT_NAMES.index("left_wrist")], out.joints[:, body.model.joint_names.index("left_wrist")])
    assert torch.equal(points[:, 65], out.joints[:, body.model.joint_names.index("jaw")])
    assert torch.equal(points[:, KEYPOINT_NAMES.index("nose")], out.vertices[:, 9120])


def test_points_in_front_of_the_camera_are_seen_in_the_middle():
    assert torch.allclose(project(torch.tensor([[[0.0, 0, 9], [0.096, 0, 5]]])), torch.tensor([[[6.0, 8], [12, 8]]]), atol=1e-4)


def test_loss_pulls_on_every_part_of_a_prediction(body):
    given, truth = prediction(), labelled(body, prediction(seed=1))
    given = Prediction(*(x.clone().requires_grad_() for x in given))
    known = Labels(*(torch.ones(1) for _ in truth))
    osx_loss(labelled(body, given), truth, known, given.regions).backward()
    for name, value in given._asdict().items():
        assert name == "regions" or value.grad.abs().sum() > 0 and value.grad.isfinite().all(), name


def test_nobody_is_fine(body):
    none = Prediction(*(x[:0] for x in prediction()))
    assert pose_bodies(body, none).vertices.shape == (0, VERTICES, 3) and labelled(body, none).projected.shape == (0, 137, 2)


def test_a_network_can_be_taught_the_free_body():
    """Its heads learn poses of the compact body on SMPL-X's joints: rotations, and through them vertices."""
    torch.manual_seed(0)
    whole, names = load_compact(), SMPL_LAYOUTS[53]
    free = TorchBody(subset(whole, np.arange(0, whole.num_vertices, 200))).float()
    model, pictures = OSX(VARIANTS["nano-wo-decoder"]), torch.randn(2, 3, *CROP)
    with torch.no_grad():
        pose = rotation_matrices(0.4 * torch.randn(2, whole.num_joints, 3))
        truth = torch.from_numpy(smpl_pose(whole, pose.numpy(), names))
        there = free(pose_by_smpl(whole, truth, names)).vertices
    optimiser, errors = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(40):
        said = model(pictures)
        found = free(body_pose_matrices(whole, said.rotations)).vertices
        gap = (found - there).norm(dim=-1).mean()
        errors.append(float(gap.detach()))
        optimiser.zero_grad()
        ((said.rotations - truth).abs().mean() + gap).backward()
        optimiser.step()
    assert errors[-1] < errors[0] / 2
    placed = pose_bodies(TorchBody(whole).float(), said._replace(translation=torch.tensor([[0.0, 0, 40]] * 2)))
    assert placed.vertices.shape == (2, whole.num_vertices, 3)


def test_other_bodies_are_refused(body):
    with pytest.raises(VitruvianError, match="SMPL-X"):
        pose_bodies(TorchBody(random_body("smplh")).float(), prediction())
    bare = TorchBody(replace(body.model, landmarks=None)).float()
    with pytest.raises(VitruvianError, match="144"):
        labelled(bare, prediction())
