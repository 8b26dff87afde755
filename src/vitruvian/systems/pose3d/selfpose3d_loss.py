"""What SelfPose3d learns from: pseudo 2D poses, made-up people, and two views of each picture (card selfpose3d.md, sections 6 and 11).

    affine augmentation                 draw_affines, augmented, moved, warp
    differentiable rendering            render
    synthetic roots                     draw_roots, root_targets
    L_syn, L_cons                       root_terms
    L_hm, L_att                         pose_terms
    L_1                                 matched_distance
    L_2d                                heatmap_loss

The networks, and in what this differs from the published program: `selfpose3d`. Training: `vitruvian.train.selfpose3d`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.people.assignment import assign
from vitruvian.systems.pose3d.selfpose3d import PANOPTIC_SPACE, STRIDE, SelfPose3d, input_of
from vitruvian.systems.pose3d.voxels import Space, Views, project, to_input, unproject

SIGMA = 3.0  # of heat maps, in cells
ROOT_SIGMA = 0.2  # of the synthetic roots' volumes, metres
NEAREST_WALLS = ((2.5, 2.0), (1.5, 1.5), (0.25, 0.3))  # how far from the lower and upper walls synthetic roots stay, of a 8 x 8 x 2 m box
WEIGHTS = {"synthetic": 100.0, "attention": 0.1, "joints": 0.01}


def render(
    keypoints: Float[Tensor, "*n p k 2"], cells: tuple[int, int], weight: Float[Tensor, "*n p k"] | None = None
) -> Float[Tensor, "*n k h w"]:
    """Heat maps of p people's keypoints (input pixels): Gaussians of 3 cells at keypoint / 4, summed, cut at 1. Differentiable."""
    places = keypoints / STRIDE
    along = (
        torch.exp(-(torch.arange(n, device=places.device) - places[..., axis, None]).square() / (2 * SIGMA**2))
        for axis, n in enumerate(cells)
    )
    x, y = along
    x = x if weight is None else x * weight[..., None]
    return torch.einsum("...pkh,...pkw->...khw", y, x).clamp(0, 1)


def draw_affines(b: int, input_size: tuple[int, int], generator: torch.Generator | None = None) -> Float[Tensor, "b 2 3"]:
    """Random changes of the inputs of b scenes about their middle: half of them turned by up to 45 degrees, all scaled.

    One half is made smaller by 1.1 to 1.35, the other larger by up to that (card section 6).
    """
    uniform = lambda low, high: torch.rand(b, generator=generator) * (high - low) + low  # noqa: E731
    angle = torch.where(uniform(0, 1) < 0.5, uniform(-math.pi / 4, math.pi / 4), torch.zeros(b))
    change = uniform(0.1, 0.35)
    zoom = 1 / (1 + torch.where(uniform(0, 1) < 0.5, change, -change / 2))
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    turn = torch.stack((cosine, -sine, sine, cosine), -1).view(b, 2, 2)
    middle = torch.tensor(input_size) / 2
    return torch.cat((turn, (middle - turn @ middle)[..., None]), -1)


def augmented(views: Views, change: Float[Tensor, "b 2 3"]) -> Views:
    """The same cameras, whose inputs went through one more affine each scene."""
    change = change.to(views.affine)[:, None]
    shift = change[..., :2] @ views.affine[..., 2:] + change[..., 2:]
    return views.with_affine(torch.cat((change[..., :2] @ views.affine[..., :2], shift), -1))


def moved(keypoints: Float[Tensor, "b v q k 2"], change: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b v q k 2"]:
    """Keypoints (input pixels) after an affine."""
    change = change.to(keypoints)
    return keypoints @ change[:, None, None, :, :2].transpose(-1, -2) + change[:, None, None, None, :, 2]


def warp(images: Float[Tensor, "b v 3 h w"], change: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b v 3 h w"]:
    """Inputs after an affine; 0 where they didn't reach."""
    b, v, _, h, w = images.shape
    full = torch.cat((change, change.new_tensor([[[0.0, 0.0, 1.0]]]).expand(b, -1, -1)), 1)
    back = torch.linalg.inv(full)[:, :2].to(images)
    y, x = torch.meshgrid(torch.arange(h, device=images.device), torch.arange(w, device=images.device), indexing="ij")
    places = torch.stack((x, y), -1).flatten(0, 1).to(images)
    grid = (places @ back[..., :2].transpose(-1, -2) + back[:, None, :, 2]) / images.new_tensor([w - 1, h - 1]) * 2 - 1
    grid = grid.view(b, 1, h, w, 2).expand(-1, v, -1, -1, -1).flatten(0, 1)
    return F.grid_sample(images.flatten(0, 1), grid, align_corners=True).unflatten(0, (b, v))


def draw_roots(
    space: Space, b: int, most: int = 9, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "b most 3"], Bool[Tensor, "b most"]]:
    """Made-up mid-hips of 1 to `most` people for each of b scenes, and which of the places are taken.

    They stay as far from the walls as published, in proportion to the space; a scene's people have one height, but for 5 cm.
    """
    low, high = [], []
    for size, centre, panoptic, (below, above) in zip(space.size, space.centre, PANOPTIC_SPACE.size, NEAREST_WALLS, strict=True):
        low.append(centre - size / 2 + below * size / panoptic)
        high.append(centre + size / 2 - above * size / panoptic)
    drawn = torch.rand(b, most, 3, generator=generator)
    drawn[..., 2] = drawn[:, :1, 2]
    points = torch.tensor(low) + drawn * (torch.tensor(high) - torch.tensor(low))
    points[..., 2] += 0.05 * torch.randn(b, most, generator=generator)
    count = torch.randint(1, most + 1, (b, 1), generator=generator)
    return points, torch.arange(most) < count


def root_targets(space: Space, roots: Float[Tensor, "b p 3"], taken: Bool[Tensor, "b p"]) -> Float[Tensor, "b x y z"]:
    """The volume that the root network should see: Gaussians of 0.2 m, cut at three sigmas, the highest where they meet."""
    distance = (space.points().to(roots)[None, None] - roots[:, :, None]).square().sum(-1)  # (b, p, n)
    bumps = torch.exp(-distance / (2 * ROOT_SIGMA**2)) * (distance <= (3 * ROOT_SIGMA) ** 2) * taken[..., None]
    return bumps.amax(1).unflatten(-1, space.bins)


def seen_at(points: Float[Tensor, "b p k 3"], views: Views, width: int) -> Float[Tensor, "b v p k 2"]:
    """World joints -> input pixels of every view."""
    b, p, k, _ = points.shape
    return to_input(project(points.flatten(1, 2), views), views, width).unflatten(2, (p, k))


def root_terms(
    model: SelfPose3d,
    views: Sequence[Views],
    heatmaps: Sequence[Float[Tensor, "b v k h w"]] | None,
    cells: tuple[int, int],
    generator: torch.Generator | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """The root network's losses, weighted: on made-up people, and ("consistency", with real `heatmaps`) between augmented and plain views.

    `views` and `heatmaps` are of the augmentations (two, as published) and, last, of the plain inputs. For networks that see the mid-hip
    alone. No 2D or 3D label is used.
    """
    space, width = model.config.space, cells[0] * STRIDE
    roots, taken = draw_roots(space, len(views[0].centre), generator=generator)
    roots, taken = roots.to(views[0].centre), taken.to(views[0].centre.device)
    target = root_targets(space, roots, taken)
    synthetic, volumes = target.new_zeros(()), []
    for i, view in enumerate(views):
        where = model.root_sampling(view, cells)
        weight = taken[:, None, :, None].to(roots).expand(-1, view.centre.shape[1], -1, -1)
        drawn = render(seen_at(roots[:, :, None], view, width), cells, weight)
        drawn = (drawn + 0.02 * torch.randn(drawn.shape, generator=generator).to(drawn)).clamp(0, 1)
        cube = unproject(drawn, where).unflatten(-1, space.bins)
        synthetic = synthetic + (model.root_net(cube)[:, 0] - target).square().mean()
        if heatmaps is not None:
            volumes.append(model.root_net(model.root_cube(heatmaps[i], where)))
    terms = {"synthetic": WEIGHTS["synthetic"] * synthetic}
    if heatmaps is not None:
        *others, plain = volumes
        terms["consistency"] = sum((volume - plain.detach()).square().mean() for volume in others)
    return terms


class Augmented(NamedTuple):
    """One augmentation of a batch: the network's heat maps, the pseudo 2D poses there (input pixels), which joints they have, the cameras.

    `weight` is the attention network's, None without one.
    """

    heatmaps: Float[Tensor, "b v k h w"]
    keypoints: Float[Tensor, "b v q k 2"]
    visible: Float[Tensor, "b v q k"]
    views: Views
    weight: Float[Tensor, "b v k h w"] | None = None


def pose_terms(
    model: SelfPose3d,
    sides: tuple[Augmented, Augmented],
    centre: Float[Tensor, "b c 3"],
    valid: Bool[Tensor, "b c"],
    joints: bool = True,
    crossed: bool = True,
) -> dict[str, Float[Tensor, ""]]:
    """The pose network's losses, weighted. People are at `centre` (of the root network, or true ones).

    What is found under one augmentation is drawn and scored under the other; `crossed` False scores it under its own, for comparison.
    `joints` adds the matched L1 distance (published: from the sixth epoch on).
    """
    cells = (sides[0].heatmaps.shape[-1], sides[0].heatmaps.shape[-2])
    size = input_of(cells)
    found = [model.poses(side.heatmaps, side.views, centre, valid) for side in sides]
    terms = {"heatmaps": centre.new_zeros(())}
    if joints:
        terms["joints"] = centre.new_zeros(())
    for side, points in zip(sides, found[::-1] if crossed else found, strict=True):
        seen = seen_at(points, side.views, size[0])
        there = valid[:, None, :, None].to(seen).expand(seen.shape[:-1])
        error = (render(side.keypoints, cells, side.visible) - render(seen, cells, there)).square()
        terms["heatmaps"] = terms["heatmaps"] + (error if side.weight is None else error * side.weight).mean()
        if side.weight is not None:
            terms["attention"] = terms.get("attention", 0.0) + WEIGHTS["attention"] * (side.weight - 1).square().mean()
        if joints:
            distance = matched_distance(seen, valid, side.keypoints, side.visible, size, side.weight is not None)
            terms["joints"] = terms["joints"] + WEIGHTS["joints"] * distance
    return terms


def matched_distance(
    found: Float[Tensor, "b v p k 2"],
    valid: Bool[Tensor, "b p"],
    labels: Float[Tensor, "b v q k 2"],
    visible: Float[Tensor, "b v q k"],
    size: tuple[int, int],
    drop_worst: bool,
) -> Float[Tensor, ""]:
    """L1 distance between projected people and the labels they match best, as parts of the input's sides.

    For each view: the sum over matched pairs of the mean over joints and axes. Then the mean over views and scenes, without the single
    worst one if `drop_worst`. Labels without a visible joint are no people.
    """
    scale = found.new_tensor(size)
    costs = []
    for b in range(found.shape[0]):
        people = found[b][:, valid[b]] / scale
        for v in range(found.shape[1]):
            real = visible[b, v].any(-1)
            label, seen = labels[b, v][real] / scale, visible[b, v][real]
            cost = ((people[v][:, None] - label).abs() * seen[..., None]).mean((-1, -2))
            costs.append(cost[assign(cost.detach().cpu().numpy())].sum())
    if not costs:
        return found.sum() * 0
    total = torch.stack(costs)
    return (total.sum() - total.max()) / max(len(costs) - 1, 1) if drop_worst else total.mean()


def heatmap_loss(found: Float[Tensor, "*n h w"], target: Float[Tensor, "*n h w"]) -> Float[Tensor, ""]:
    """The backbone's loss against heat maps of pseudo poses."""
    return (found - target).square().mean()
