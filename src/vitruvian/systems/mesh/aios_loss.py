"""Training of AiOS: who is meant by which query, queries that undo noise, and the losses (card section 6).

What the card doesn't tell is ours: rotations, shape, expression and points in 3D are compared by their absolute differences; means over
people and coordinates; the class of people is the second of two, as COCO counts; every query is a positive of its noisy box, moved by up to
noise / 2 of its size at each corner; the sigmas of points of hands and face; points of bodies are joints, the face's are jaw and eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.body.torch import TorchBody
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.skeletons import COCO_17
from vitruvian.systems.detection.rtmdet import overlaps
from vitruvian.systems.mesh.aios import Output, camera_translation, corners, smplx_rotations
from vitruvian.systems.mesh.aios_decoder import Body, Found, Noisy

PERSON = 1  # the class of people
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
NOISY, BOX_NOISE, LABEL_NOISE = 100, 0.4, 0.5
SIGMA = {"hands": 0.035, "faces": 0.025}
COSTS: Mapping[str, float] = {"class": 2.0, "boxes": 5.0, "boxes_giou": 2.0, "keypoints": 10.0, "keypoints_oks": 4.0}
POINTS = {"body": slice(0, 22), "left": slice(25, 40), "right": slice(40, 55), "face": slice(22, 25)}
"""Joints of SMPL-X by part."""

WEIGHTS: Mapping[str, float] = {
    "class": 2.0,
    **{f"{part}{kind}": weight for part in ("boxes", "hands", "faces") for kind, weight in (("", 5.0), ("_giou", 2.0))},
    **{name: 10.0 for name in ("keypoints", "hand_keypoints", "face_keypoints")},
    **{"keypoints_oks": 4.0, "hand_keypoints_oks": 0.5, "face_keypoints_oks": 4.0},
    **{"root": 1.0, "rotations": 0.1, "left_hand": 0.1, "right_hand": 0.1, "jaw": 0.1, "shape": 0.01, "expression": 0.01},
    **{f"{kind}_{part}": weight for kind in ("3d", "3d_aligned") for part, weight in zip(POINTS, (1.0, 0.1, 0.1, 0.1), strict=True)},
    **{"2d_body": 1.0, "2d_left": 0.5, "2d_right": 0.5, "2d_face": 0.1},
}


class Truth(NamedTuple):
    """Everybody in a batch, one per row; `picture` is the row of the batch. Boxes (x, y, width, height) and points as fractions of it.

    `seen` flags: which hands, faces and keypoints count. `body` and its `joints` (SMPL-X's 55, metres, camera axes) count where `posed`;
    its fields have one row per person, without the axis of pictures. `joints_2d` are fractions of the picture.
    """

    picture: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    hands: Float[Tensor, "n 2 4"]
    hands_seen: Bool[Tensor, "n 2"]
    faces: Float[Tensor, "n 4"]
    faces_seen: Bool[Tensor, " n"]
    keypoints: Float[Tensor, "n k 2"]
    keypoints_seen: Bool[Tensor, "n k"]
    hand_keypoints: Float[Tensor, "n 2 h 2"]
    hand_keypoints_seen: Bool[Tensor, "n 2 h"]
    face_keypoints: Float[Tensor, "n f 2"]
    face_keypoints_seen: Bool[Tensor, "n f"]
    body: Body
    posed: Bool[Tensor, " n"]
    joints: Float[Tensor, "n 55 3"]
    joints_2d: Float[Tensor, "n 55 2"]


def similarity(
    points: Float[Tensor, "*n k 2"], truth: Float[Tensor, "*n k 2"], seen: Bool[Tensor, "*n k"], boxes: Float[Tensor, "*n 4"], sigma: Tensor
) -> Float[Tensor, " *n"]:
    """Object keypoint similarity, the mean over seen points, where the area is that of the true box; nothing seen gives 1."""
    area = boxes[..., 2:].prod(-1, keepdim=True).clamp(min=1e-6)
    closeness = (-(points - truth).square().sum(-1) / (2 * area * (2 * sigma) ** 2)).exp()
    seen = seen.to(points)
    count = seen.sum(-1)
    return torch.where(count > 0, (closeness * seen).sum(-1) / count.clamp(min=1), torch.ones_like(count))


def sigmas(part: str, count: int, device: torch.device) -> Float[Tensor, " k"]:
    """How far apart two people mark a point, as a share of the person's size: COCO's for 17 body points, one number else."""
    if part == "body" and count == len(COCO_17):
        return torch.tensor(COCO_17.sigmas, dtype=torch.float32, device=device)
    return torch.full((count,), SIGMA.get(part, 0.07), device=device)


@torch.no_grad()
def costs(found: Found, truth: Truth, picture: int) -> Float[Tensor, "q n"]:
    """What it costs to take each query for each true person of one picture; keypoints count from the stage on that knows them."""
    rows = truth.picture == picture
    chance, boxes, target = found.logits[picture, :, PERSON].sigmoid(), found.boxes[picture], truth.boxes[rows]
    positive = -ALPHA * (1 - chance) ** GAMMA * (chance + 1e-8).log()
    negative = -(1 - ALPHA) * chance**GAMMA * (1 - chance + 1e-8).log()
    q, n = len(boxes), len(target)
    pairs = corners(boxes).repeat_interleave(n, 0), corners(target).repeat(q, 1)
    total = COSTS["class"] * (positive - negative)[:, None] + COSTS["boxes"] * torch.cdist(boxes, target, p=1)
    total = total - COSTS["boxes_giou"] * overlaps(*pairs)[1].view(q, n)
    if found.keypoints is not None:
        points, aim, seen = found.keypoints[picture][:, None], truth.keypoints[rows], truth.keypoints_seen[rows]
        gap = ((points - aim).abs().sum(-1) * seen).sum(-1) / seen.sum(-1).clamp(min=1)
        near = similarity(points, aim[None], seen[None], target[None], sigmas("body", points.shape[2], points.device))
        total = total + COSTS["keypoints"] * gap + COSTS["keypoints_oks"] * (1 - near)
    return total


def match(found: Found, truth: Truth) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"], Int[Tensor, " m"]]:
    """The cheapest one-to-one assignment: pictures, queries, rows of the truth. Where people outnumber queries, some get none."""
    from scipy.optimize import linear_sum_assignment

    out = []
    for picture in range(len(found.boxes)):
        rows = (truth.picture == picture).nonzero()[:, 0]
        if len(rows):
            query, column = (
                torch.as_tensor(x, device=rows.device) for x in linear_sum_assignment(costs(found, truth, picture).cpu().numpy())
            )
            out.append(torch.stack((torch.full_like(query, picture), query, rows[column])))
    return torch.cat(out, 1).unbind(0) if out else torch.zeros(3, 0, dtype=torch.long, device=truth.picture.device).unbind(0)


def focal(logits: Float[Tensor, "*b c"], person: Bool[Tensor, "*b"], count: int) -> Float[Tensor, ""]:
    """The focal loss of queries that are people or nobody, by the number of people."""
    target = torch.zeros_like(logits)
    target[..., PERSON] = person.to(logits)
    chance = logits.sigmoid()
    right = chance * target + (1 - chance) * (1 - target)
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * (1 - right) ** GAMMA * entropy).sum() / max(count, 1)


def box_terms(boxes: Float[Tensor, "*n 4"], target: Float[Tensor, "*n 4"], seen: Bool[Tensor, "*n"], name: str) -> dict[str, Tensor]:
    """Absolute differences summed over a box, and 1 - GIoU; means over seen boxes."""
    boxes, target, seen = boxes.flatten(0, -2), target.flatten(0, -2), seen.flatten().to(boxes)
    count = seen.sum().clamp(min=1)
    giou = overlaps(corners(boxes), corners(target))[1]
    return {name: ((boxes - target).abs().sum(-1) * seen).sum() / count, f"{name}_giou": ((1 - giou) * seen).sum() / count}


def point_terms(points: Tensor, target: Tensor, seen: Tensor, boxes: Tensor, sigma: Tensor, name: str) -> dict[str, Tensor]:
    """Absolute differences summed over x and y, mean over seen points; and 1 - similarity, mean over boxes with a seen point."""
    gap = ((points - target).abs().sum(-1) * seen).sum() / seen.sum().clamp(min=1)
    some = seen.any(-1).to(points)
    near = similarity(points, target, seen, boxes, sigma)
    return {name: gap, f"{name}_oks": ((1 - near) * some).sum() / some.sum().clamp(min=1)}


def mean_gap(value: Float[Tensor, " n *d"], target: Float[Tensor, " n *d"], counts: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean absolute difference over the people that count; nobody gives 0."""
    gap = (value - target).abs().flatten(1)
    return (gap * counts.to(gap)[:, None]).sum() / (counts.sum().clamp(min=1) * max(gap.shape[1], 1))


def parameter_terms(body: Body, truth: Body, posed: Bool[Tensor, " n"]) -> dict[str, Tensor]:
    """Rotation matrices, shape, expression of people, one per row."""
    pairs = {"root": lambda b: b.rotations[:, :1], "rotations": lambda b: b.rotations[:, 1:], "jaw": lambda b: b.jaw}
    pairs |= {"left_hand": lambda b: b.hands[:, 0], "right_hand": lambda b: b.hands[:, 1]}
    pairs |= {"shape": lambda b: b.shape, "expression": lambda b: b.expression}
    return {name: mean_gap(part(body), part(truth), posed) for name, part in pairs.items()}


def pose(body: TorchBody, found: Body, whole: bool) -> Float[Tensor, "n 55 3"]:
    """Joints in camera axes, metres. `whole` False: stage 1, whose hands and expression stay at rest, as published."""
    if not whole:
        rest = torch.eye(3, dtype=found.jaw.dtype, device=found.jaw.device).expand_as(found.hands)
        found = found._replace(hands=rest, expression=torch.zeros_like(found.expression))
    joints = body.joints_only(smplx_rotations(found), found.shape, found.expression)
    return joints + camera_translation(found.camera)[:, None]


def posed_terms(joints: Tensor, truth: Truth, row: Tensor, sizes: Float[Tensor, "m 2"]) -> dict[str, Tensor]:
    """Joints relative to the pelvis, relative to the first joint of their part, and in the picture, by part."""
    aim, counts, terms = truth.joints[row], truth.posed[row], {}
    # The weak camera may say a depth near 0, where nothing can be seen: kept a tenth of a metre away.
    seen = joints[..., :2] / joints[..., 2:].clamp(min=0.1) * WEAK_FOCAL / sizes[:, None] + 0.5
    for part, which in POINTS.items():
        value, target = joints[:, which], aim[:, which]
        terms[f"3d_{part}"] = mean_gap(value - joints[:, :1], target - aim[:, :1], counts)
        terms[f"3d_aligned_{part}"] = mean_gap(value - value[:, :1], target - target[:, :1], counts)
        terms[f"2d_{part}"] = mean_gap(seen[:, which], truth.joints_2d[row][:, which], counts)
    return terms


def layer_terms(
    found: Found, truth: Truth, sizes: Float[Tensor, "b 2"] | None = None, body: TorchBody | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Every term of one layer without its weight. `sizes` are (width, height) of the scaled pictures, in pixels; with them and a SMPL-X
    `body` the joints count too. Nobody gives 0 for all but the class.
    """
    picture, query, row = match(found, truth)
    person = torch.zeros_like(found.logits[..., 0], dtype=torch.bool)
    person[picture, query] = True
    take = lambda values: values[picture, query]  # noqa: E731
    of = lambda name: getattr(truth, name)[row]  # noqa: E731
    terms = {"class": focal(found.logits, person, len(row))}
    terms |= box_terms(take(found.boxes), of("boxes"), torch.ones_like(row, dtype=torch.bool), "boxes")
    if found.body is None:
        return terms
    parts = (("keypoints", "boxes", "body"), ("hand_keypoints", "hands", "hands"), ("face_keypoints", "faces", "faces"))
    for name in ("hands", "faces"):
        terms |= box_terms(take(getattr(found, name)), of(name), of(f"{name}_seen"), name)
    for name, boxes, part in parts:
        if getattr(found, name) is not None:
            points = take(getattr(found, name))
            sigma = sigmas(part, points.shape[-2], points.device)
            terms |= point_terms(points, of(name), of(f"{name}_seen"), of(boxes), sigma, name)
    mine = Body(*map(take, found.body))
    terms |= parameter_terms(mine, Body(*(values[row] for values in truth.body)), of("posed"))
    if body is not None and sizes is not None:
        terms |= posed_terms(pose(body, mine, found.hand_keypoints is not None), truth, row, sizes[picture])
    return terms


class Denoising(NamedTuple):
    """Queries that know a person approximately, and whom each of them means: its row of the truth, -1 for none."""

    noisy: Noisy
    row: Int[Tensor, "b d"]


def denoising(truth: Truth, batch: int, labels: torch.nn.Embedding, count: int = NOISY) -> Denoising | None:
    """Queries that start near true people: about `count` of each picture in groups, a group holding everybody once; None without people.

    Groups don't see each other. Labels are another's with probability `LABEL_NOISE` / 2; corners move by up to `BOX_NOISE` of half sides.
    """
    numbers = torch.bincount(truth.picture, minlength=batch)
    most = int(numbers.max()) if len(truth.picture) else 0
    if not most:
        return None
    groups = max(count // most, 1)
    order = truth.picture.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (numbers.cumsum(0) - numbers)[truth.picture[order]]
    row = torch.full((batch, most), -1, device=order.device)
    row[truth.picture, place] = torch.arange(len(order), device=order.device)
    row = row.repeat(1, groups)
    there = (row >= 0)[..., None]
    box = truth.boxes[row.clamp(min=0)]
    half = torch.cat((box[..., 2:], box[..., 2:]), -1) / 2
    moved = (corners(box) + (2 * torch.rand_like(box) - 1) * half * BOX_NOISE).clamp(0, 1)
    box = torch.cat(((moved[..., :2] + moved[..., 2:]) / 2, (moved[..., 2:] - moved[..., :2]).clamp(min=1e-3)), -1)
    label = torch.full_like(row, PERSON)
    other = torch.rand_like(box[..., 0]) < LABEL_NOISE / 2
    label = torch.where(other, torch.randint_like(label, labels.num_embeddings - 1), label)
    group = torch.arange(groups, device=row.device).repeat_interleave(most)
    content = labels(label) * there
    return Denoising(Noisy(content, torch.where(there, box, torch.full_like(box, 0.5)), group[:, None] != group), row)


def denoising_terms(found: Found, wanted: Denoising, truth: Truth) -> dict[str, Float[Tensor, ""]]:
    """Class and box of the denoising queries, each of which knows whom it means."""
    logits, boxes = found.denoised
    there = wanted.row >= 0
    return {"class": focal(logits, there, int(there.sum()))} | box_terms(boxes, truth.boxes[wanted.row.clamp(min=0)], there, "boxes")


def total(terms: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """The weighted sum of terms."""
    return sum(WEIGHTS[name] * value for name, value in terms.items())


def aios_loss(
    output: Output,
    truth: Truth,
    sizes: Float[Tensor, "b 2"] | None = None,
    body: TorchBody | None = None,
    wanted: Denoising | None = None,
) -> Float[Tensor, ""]:
    """The training loss: all layers, the encoder's proposals, and the denoising queries if there were any. Arguments as `layer_terms`."""
    proposals = Found(output.proposals.logits, output.proposals.boxes)
    loss = total(layer_terms(proposals, truth))
    for found in output.layers:
        loss = loss + total(layer_terms(found, truth, sizes, body))
        if wanted is not None:
            loss = loss + total(denoising_terms(found, wanted, truth))
    return loss
