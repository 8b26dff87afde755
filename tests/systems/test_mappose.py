"""MapPose: what its maps mean, that it learns, that its ONNX file says the same."""

import numpy as np
import pytest
import torch

from vitruvian.codecs.probability_map import ProbabilityMap
from vitruvian.errors import WeightsError
from vitruvian.runtime.pose import PoseEstimator
from vitruvian.systems import catalogue
from vitruvian.systems.export import difference, export_onnx
from vitruvian.systems.pose2d.mappose import COARSE, STRIDE, UNTOLD, VARIANTS, MapPose, map_loss, surface_loss
from vitruvian.weights import Card


def nano(keypoints: int = 17) -> MapPose:
    from dataclasses import replace

    torch.manual_seed(0)
    return MapPose(replace(VARIANTS["nano"], keypoints=keypoints)).eval()


@pytest.mark.parametrize("size", [(96, 128), (64, 96), (192, 256)])
def test_maps_are_probabilities_for_crops_of_several_sizes(size):
    width, height = size
    with torch.no_grad():
        maps = nano()(torch.randn(2, 3, height, width))
    assert maps.shape == (2, 17, height // STRIDE, width // STRIDE)
    total = maps.sum((2, 3))
    assert (maps >= 0).all() and (total > 0.5).all() and (total < 1).all()


def test_the_loss_is_least_at_the_truth_and_for_absent_points_elsewhere():
    weights = torch.ones(1)
    keypoints = torch.tensor([[[43.5, 27.5, 1.0]]])  # column 5, row 3
    at = lambda x, y: torch.zeros(1, 1, 16, 12).index_put_(tuple(torch.tensor([v]) for v in (0, 0, y, x)), torch.tensor(12.0))  # noqa: E731
    absent, nowhere = torch.zeros(1, 1), torch.full((1, 1), 12.0)
    assert map_loss(at(5, 3), absent, keypoints, weights, STRIDE) < 0.01
    assert map_loss(at(6, 3), absent, keypoints, weights, STRIDE) > 10
    assert map_loss(at(5, 3), nowhere, keypoints, weights, STRIDE) > 0.5
    hidden = keypoints * torch.tensor([1, 1, 0])
    assert map_loss(at(5, 3), nowhere - 12, hidden, weights, STRIDE) > 10
    assert map_loss(torch.zeros(1, 1, 16, 12), nowhere, hidden, weights, STRIDE) < 0.01
    assert map_loss(at(5, 3), None, hidden, weights, STRIDE) == 0  # without "elsewhere" it has nothing to say


def test_the_loss_of_a_point_between_cells_shares_it_between_them():
    """Equal to the cross-entropy written out over a bilinear target map."""
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(3, 5, 8, 6, generator=generator)
    keypoints = torch.rand(3, 5, 3, generator=generator) * torch.tensor([192.0, 256.0, 0.0]) + torch.tensor([0.0, 0.0, 1.0])
    weights = torch.rand(5, generator=generator) + 0.1
    place = ((keypoints[..., :2] - (COARSE - 1) / 2) / COARSE).clamp(torch.zeros(2), torch.tensor([5.0, 7.0]))
    columns, rows = (1 - (place[..., axis, None] - torch.arange(n)).abs() for axis, n in enumerate((6, 8)))
    target = (rows.clamp(min=0)[..., :, None] * columns.clamp(min=0)[..., None, :]).flatten(2)
    entropy = -(target * torch.log_softmax(maps.flatten(2), 2)).sum(2)
    expected = (entropy * weights).sum() / weights.sum() / 3
    torch.testing.assert_close(map_loss(maps, None, keypoints, weights, COARSE), expected)


def test_the_surface_costs_nothing_where_it_is_right_and_where_nothing_is_told():
    truth = torch.zeros(1, 4, 2, 3, dtype=torch.uint8)
    truth[0, :, 0, 0] = torch.tensor([4, 255, 0, 51])
    truth[0, 0, 1, 2] = UNTOLD
    right = torch.zeros(1, 17 + 3, 2, 3)
    right[:, 0] = 20
    right[0, [0, 4], 0, 0] = torch.tensor([0.0, 20.0])
    right[0, -3:, 0, 0] = torch.tensor([1, 0, 0.2])
    assert all(part < 1e-6 for part in surface_loss(right, truth))
    wrong = right.clone()
    wrong[0, :, 1, 2] = 7  # told nowhere
    assert all(part < 1e-6 for part in surface_loss(wrong, truth))
    wrong[0, -3, 0, 0] = 0.4
    entropy, distance = surface_loss(wrong, truth)
    assert entropy < 1e-6 and abs(distance - 0.2) < 1e-6  # a mean of three axes
    wrong[0, [0, 4], 0, 0] = torch.tensor([20.0, 0.0])
    assert surface_loss(wrong, truth)[0] > 3


def test_it_learns_where_a_bright_square_is():
    """60 steps on pictures of one square: the score and the place of a keypoint in its middle."""
    torch.manual_seed(0)
    network = nano(1).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(2)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        corners = torch.randint(4, 80, (count, 2), generator=generator)
        images = torch.zeros(count, 3, 128, 96)
        for image, (x, y) in zip(images, corners.tolist(), strict=True):
            image[:, y : y + 13, x : x + 13] = 3
        return images, torch.cat((corners + 6.0, torch.ones(count, 1)), 1)[:, None]

    for _ in range(60):
        images, keypoints = draw(16)
        logits = network.logits(images)
        loss = map_loss(logits.fine, logits.elsewhere, keypoints, torch.ones(1), STRIDE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, keypoints = draw(32)
    with torch.no_grad():
        found, _ = ProbabilityMap((96, 128), (12, 16)).decode(network(images).numpy())  # batch statistics: 60 steps are few for averages
    assert np.median(np.linalg.norm(found - keypoints[..., :2].numpy(), axis=-1)) < 8


def test_the_exported_file_says_the_same_and_runs_on_the_ground_floor(tmp_path):
    network, path = nano(17), tmp_path / "nano.onnx"
    export_onnx(network, torch.zeros(2, 3, 128, 96), path, ("input",), ("maps",))
    worst, _ = difference(network, path, [(3, 128, 96)])
    assert worst < 1e-4
    card = Card(
        id="nano", task="pose2d", file=str(path), input_size=(96, 128), mean=(0, 0, 0), std=(255, 255, 255), skeleton="coco-17",
        codec="probability-map",
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 256, (200, 150, 3), np.uint8)
    for flip in (False, True):
        (poses,) = PoseEstimator(card, flip_test=flip, device="cpu", threads=1)([image], [np.array([[10, 10, 100, 180.0]])])
        assert poses.keypoints.shape == (1, 17, 2) and (poses.scores >= 0).all() and (poses.scores <= 1).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_run_is_recognised_and_its_averaged_weights_are_taken(tmp_path, variant):
    torch.manual_seed(0)
    averaged, last = MapPose(VARIANTS[variant]).eval(), MapPose(VARIANTS[variant])
    torch.save({"model": last.state_dict(), "averaged": averaged.state_dict(), "step": 3}, tmp_path / "last.pt")
    _, found = catalogue.load(tmp_path / "last.pt")
    assert (found.system.name, found.config, found.variant) == ("mappose", VARIANTS[variant], variant)
    image = torch.randn(1, 3, 128, 96)
    with torch.no_grad():
        torch.testing.assert_close(found.model(image), averaged(image))
    assert found.exported("run").card.codec == "probability-map"
    state = averaged.state_dict()
    del state["coarse.bias"]
    with pytest.raises(WeightsError, match="missing 1: coarse.bias"):
        catalogue.recognise(state)
