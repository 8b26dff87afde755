"""AiOS's claim in small, on crowds of capsule figures: `python recipes/aios_small.py --steps 1400 --pictures 6000` (card aios.md, section
8; issue 10).

    human     four layers on one token per person; the pose is read from it alone
    spread    AiOS: two layers on people, then each spreads into a token of its box and one per joint; two layers on these; the pose is
              read from all of them side by side
    apart     as spread, but boxes of different people don't see each other

Nobody has a detector or crops: a small deformable DETR with queries from the encoder finds the people (`systems.mesh.aios_encoder`,
`aios_decoder.DecoderLayer`, `blocked_pairs`). All arms start from one encoder and first two layers, trained by themselves ("people"), and
have the same losses, pictures in the same order and steps. Prints, on held-out pictures: F1 (a found person's score is over 0.5 and its
box overlaps a true one by half), mean error of the joints of found people in pixels of the picture of 96x96, the same for those whose box
overlaps another's by 0.3 or more and for the others, and what the mean pose in the true box would cost. Figures: claims_meshes.md.

Smaller than the card's proposal: planar figures of 13 joints (those of recipes/claims_pymaf_x.py), pictures of 96 pixels, a width of 64,
10 queries, no denoising; a pose is the places of the joints in the box. As the published AiOS starts from ED-Pose, which has learnt COCO's
keypoints, the encoder's first lesson is which of its tokens see which joint, where, and whose; it goes on beside each arm's own losses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from arms import FirstLesson, learn, run_arms
from claims_pymaf_x import BEND, PARENTS, joints_of
from torch import Tensor, nn

from vitruvian.systems.detection.rtmdet import overlaps
from vitruvian.systems.mesh.aios import corners
from vitruvian.systems.mesh.aios_decoder import DecoderLayer, Layout, blocked_pairs
from vitruvian.systems.mesh.aios_encoder import MLP, Encoder, Scene, Selection, logit, sines_of_boxes

SIDE, STRIDE, WIDTH, HEADS, POINTS, HIDDEN, BATCH = 96, 8, 64, 4, 4, 128, 16
QUERIES, MOST, JOINTS = 10, 4, len(PARENTS)
FIRST_STEPS, SHARED_STEPS = 800, 1200
CROWDED = 0.3
ARMS = ("human", "spread", "apart")
LAYOUT = Layout((("body", 1), ("points", JOINTS)))


def crowds(count: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n, 3, 96, 96), joints (n, 4, 13, 2) as fractions, who is there (n, 4); the later figures stand before the earlier ones."""
    angles = torch.randn(count * MOST, JOINTS, generator=random) * torch.tensor(BEND)
    turns = torch.stack((angles.cos(), angles.sin()), -1)
    place = torch.randn(count, MOST, 3, generator=random) * torch.tensor([0.05, 0.28, 0.1]) + torch.tensor([0.52, 0.0, 0.05])
    joints = (joints_of(turns, place.flatten(0, 1)).unflatten(0, (count, MOST)) + 1) / 2
    there = torch.arange(MOST) < torch.randint(1, MOST + 1, (count, 1), generator=random)
    ticks = (torch.arange(SIDE) + 0.5) / SIDE
    pixels = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    pictures = 0.25 + 0.5 * F.interpolate(torch.rand(count, 3, 8, 8, generator=random), size=(SIDE, SIDE), mode="bilinear")
    for person in range(MOST):
        tint = torch.rand(count, 3, 1, 1, generator=random)
        for joint in range(1, JOINTS):
            a, b = joints[:, person, PARENTS[joint]], joints[:, person, joint]
            start, line = a[:, None, None], (b - a)[:, None, None]
            away = pixels - start
            along = ((away * line).sum(-1) / line.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
            distance = (away - along[..., None] * line).norm(dim=-1) * SIDE
            radius = 0.05 * SIDE * place[:, person, :1, None]
            cover = ((radius - distance + 0.5).clamp(0, 1) * there[:, person, None, None])[:, None]
            own = torch.tensor([joint % 3 == k for k in range(3)]).view(1, 3, 1, 1) * 0.3  # neighbouring limbs differ a little
            pictures = pictures * (1 - cover) + (0.7 * tint + own) * cover * (1 - 0.4 * (distance / radius).clamp(0, 1)[:, None])
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=random)).clamp(0, 1), joints, there


def boxes_of(joints: Tensor) -> Tensor:
    """Joints (*n, 13, 2) -> boxes (x, y, width, height), a twentieth wider on each side."""
    low, high = joints.amin(-2), joints.amax(-2)
    return torch.cat(((low + high) / 2, 1.1 * (high - low)), -1)


def posed(numbers: Tensor, boxes: Tensor) -> Tensor:
    """26 numbers, places in halves of the box -> joints as fractions of the picture."""
    return boxes[..., None, :2] + numbers.unflatten(-1, (JOINTS, 2)) * boxes[..., None, 2:] / 2


class Crowd(nn.Module):
    """One arm: the `scene` of pictures -> for each layer, logits (b, q), boxes (b, q, 4), joints (b, q, 13, 2)."""

    def __init__(self, arm: str):
        super().__init__()
        self.arm, layers = arm, []
        for inputs, outputs in ((3, 24), (24, 32), (32, WIDTH)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.stem = nn.Sequential(*layers)
        self.coarser = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.GroupNorm(8, WIDTH))
        self.encoder = Encoder(WIDTH, HEADS, 2, POINTS, HIDDEN, 2)
        self.selection = Selection(WIDTH, 1)
        tokens = [1, 1] if arm == "people" else [1, 1, 1, 1] if arm == "human" else [1, 1, LAYOUT.size, LAYOUT.size]
        self.layers = nn.ModuleList(DecoderLayer(WIDTH, HEADS, 2, POINTS, HIDDEN) for _ in tokens)
        self.first = FirstLesson(WIDTH, JOINTS, SIDE // STRIDE)
        self.norm, self.position = nn.LayerNorm(WIDTH), MLP(2 * WIDTH, WIDTH, WIDTH)
        self.score = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in tokens)
        self.move = nn.ModuleList(MLP(WIDTH, WIDTH, 4) for _ in tokens)
        self.pose = nn.ModuleList(MLP(count * WIDTH, 2 * WIDTH, 2 * JOINTS) for count in tokens)
        if arm in ("spread", "apart"):
            self.contents = nn.Parameter(0.02 * torch.randn(JOINTS, WIDTH))
            self.joint_move = nn.ModuleList(MLP(WIDTH, WIDTH, 2) for _ in range(2))
        for layer in (*self.score, self.selection.enc_out_class_embed):
            nn.init.constant_(layer.bias, -3.0)
        for head in (*self.move, *self.pose, self.selection.enc_out_bbox_embed):
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)

    def scene(self, pictures: Tensor) -> Scene:
        """Encoded tokens of two maps."""
        fine = self.stem(pictures)
        maps = [fine, self.coarser(fine)]
        return self.encoder(maps, [torch.zeros_like(x[:, 0], dtype=torch.bool) for x in maps])

    def forward(self, scene: Scene) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        start = self.selection(scene, QUERIES)
        out: list[tuple[Tensor, Tensor, Tensor | None]] = [(start.logits[..., 0], start.boxes, None)]
        content, reference, blocked = start.tokens.detach(), start.boxes.detach(), None
        for number, layer in enumerate(self.layers):
            if number == 2 and self.arm != "human":
                content, reference = self.spread(content, reference)
                blocked = blocked_pairs(LAYOUT, QUERIES, None, content.device)
                if self.arm == "apart":
                    person = torch.arange(QUERIES).repeat_interleave(LAYOUT.size)
                    blocked = person[:, None] != person
            content = layer(
                content, self.position(sines_of_boxes(reference, WIDTH)), reference[:, :, None].expand(-1, -1, 2, -1), scene, blocked
            )
            size = LAYOUT.size if number > 1 and self.arm != "human" else 1
            tokens, boxes = (x.unflatten(1, (-1, size)) for x in (self.norm(content), reference))
            moved = (self.move[number](tokens[:, :, 0]) + logit(boxes[:, :, 0])).sigmoid()
            out.append((self.score[number](tokens[:, :, 0])[..., 0], moved, posed(self.pose[number](tokens.flatten(2)), moved)))
            if size > 1:
                points = torch.cat(
                    ((self.joint_move[number - 2](tokens[:, :, 1:]) + logit(boxes[:, :, 1:, :2])).sigmoid(), boxes[:, :, 1:, 2:]), -1
                )
                out.append((None, None, points[..., :2]))
                moved = torch.cat((moved[:, :, None], points), 2).flatten(1, 2)
            reference = moved.detach()
        return out

    def spread(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """People -> their box and joints; joints start where the second layer's pose has them, a fifth of the box large."""
        said = posed(self.pose[1](self.norm(content)), boxes).detach()
        points = torch.cat((said, (0.2 * boxes[:, :, None, 2:]).expand_as(said)), -1)
        tokens = torch.cat((content[:, :, None], content[:, :, None] + self.contents), 2)
        return tokens.flatten(1, 2), torch.cat((boxes[:, :, None], points), 2).flatten(1, 2)


@torch.no_grad()
def match(scores: Tensor, boxes: Tensor, truth: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cheapest assignment of queries to people: pictures, queries, people."""
    from scipy.optimize import linear_sum_assignment

    found = []
    for picture in range(len(scores)):
        people = there[picture].nonzero()[:, 0]
        cost = 5 * torch.cdist(boxes[picture], truth[picture, people], p=1) - 2 * scores[picture].sigmoid()[:, None]
        query, column = (torch.as_tensor(x) for x in linear_sum_assignment(cost.numpy()))
        found.append(torch.stack((torch.full_like(query, picture), query, people[column])))
    return torch.cat(found, 1).unbind(0)


def seen_loss(model: Crowd, pictures: Tensor, joints: Tensor, there: Tensor) -> Tensor:
    """The encoder's first lesson by itself."""
    return first_loss(model, model.scene(pictures), joints, there)


def first_loss(model: Crowd, scene: Scene, joints: Tensor, there: Tensor) -> Tensor:
    """What tokens of the finer map are taught of joints."""
    grid = SIDE // STRIDE
    return model.first(scene.tokens[:, : grid * grid], joints * grid, there, 0)


def loss_of(out: list, joints: Tensor, there: Tensor) -> Tensor:
    """Scores, boxes and joints of every layer; joints' tokens are matched as the layer that they belong to."""
    truth, total = boxes_of(joints), 0.0
    for scores, boxes, points in out:
        if scores is not None:
            picture, query, person = match(scores, boxes, truth, there)
            aim = torch.zeros_like(scores)
            aim[picture, query] = 1.0
            entropy = F.binary_cross_entropy_with_logits(scores, aim, reduction="none")
            weight = torch.where(aim > 0, 1.0, 0.5 * scores.sigmoid().detach())
            total = total + 2 * (weight * entropy).sum() / len(picture)
            near = overlaps(corners(boxes[picture, query]), corners(truth[picture, person]))[1]
            total = total + 5 * (boxes[picture, query] - truth[picture, person]).abs().sum(-1).mean() + 2 * (1 - near).mean()
        if points is not None:
            total = total + 20 * (points[picture, query] - joints[picture, person]).abs().sum(-1).mean()
    return total


def train(arm: str, steps: int, pool: tuple[Tensor, ...], start: dict[str, Tensor] | None = None) -> Crowd:
    """One arm from the same start, by the same pictures in the same order; without a start, the encoder's first lesson comes before."""
    torch.manual_seed(0)
    model = Crowd(arm)
    if start is None:
        learn(model, pool, FIRST_STEPS, seen_loss, 1.5e-3, BATCH, 2.0)
    else:
        model.load_state_dict(start, strict=False)
    learn(model, pool, steps, lesson, 1.5e-3, BATCH, 2.0)
    return model


def lesson(model: Crowd, pictures: Tensor, joints: Tensor, there: Tensor) -> Tensor:
    """The loss of a batch; the encoder's first lesson goes on beside it."""
    scene = model.scene(pictures)
    return loss_of(model(scene), joints, there) + first_loss(model, scene, joints, there)


@torch.inference_mode()
def judge(model: Crowd, test: tuple[Tensor, ...]) -> dict[str, float]:
    """F1, and pixels."""
    pictures, joints, there = test
    outs = [model(model.scene(pictures[start : start + 50].float() / 255)) for start in range(0, len(pictures), 50)]
    last = lambda part: torch.cat([[o for o in out if o[0] is not None][-1][part] for out in outs])  # noqa: E731
    scores, boxes, points = (last(part) for part in range(3))
    truth = boxes_of(joints)
    picture, query, person = match(scores, boxes, truth, there)
    pairs = overlaps(corners(boxes[picture, query]), corners(truth[picture, person]))[0]
    hit = (pairs > 0.5) & (scores[picture, query] > 0)
    errors = (points[picture, query] - joints[picture, person]).norm(dim=-1).mean(-1) * SIDE
    others = overlaps(
        corners(truth)[:, :, None].expand(-1, -1, MOST, -1).reshape(-1, 4), corners(truth)[:, None].expand(-1, MOST, -1, -1).reshape(-1, 4)
    )[0]
    others = others.view(-1, MOST, MOST) * there[:, :, None] * there[:, None] * (1 - torch.eye(MOST))
    crowded = (others.amax(-1) >= CROWDED)[picture, person]
    inside = (joints - truth[:, :, None, :2]) / truth[:, :, None, 2:] * 2
    mean = posed(inside[there].mean(0).flatten().expand(*truth.shape[:2], -1), truth)
    rest = (mean - joints).norm(dim=-1).mean(-1)[there].mean() * SIDE
    figures = {
        "f1": 2 * hit.sum() / ((scores > 0).sum() + there.sum()),
        "joints": errors[hit].mean(),
        "crowded": errors[hit & crowded].mean(),
    }
    figures |= {"free": errors[hit & ~crowded].mean(), "share crowded": crowded.float().mean(), "mean pose": rest}
    return {name: round(float(value), 3) for name, value in figures.items()}


def figures_of(arm: str, steps: int, pool: tuple[Tensor, ...], test: tuple[Tensor, ...]) -> dict[str, float]:
    """What an arm makes of the test after so many steps. What all arms share learns first, once: it has to find people before it poses."""
    if not _SHARED:
        _SHARED.append(train("people", SHARED_STEPS, pool))
        print({"arm": "people", "steps": SHARED_STEPS, **judge(_SHARED[0], test)}, flush=True)
    return judge(train(arm, steps, pool, _SHARED[0].state_dict()), test)


_SHARED: list[Crowd] = []


if __name__ == "__main__":
    run_arms(__doc__, ARMS, crowds, figures_of)
