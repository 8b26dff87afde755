"""OSX's claim in small, on capsule puppets: `python recipes/osx_small.py [--steps 800]` (card osx.md, sections 3 and 8; issue 10).

    tokens    a hand's fingers are read from a token of the one transformer that sees the picture
    crop      its feature map is cropped around the hand that was found, at one scale; features at the found keypoints are read
    decoder   OSX: crops at three scales, and keypoints that look around where they were found (deformable attention)
    astray    the same, but keypoints look around random places of the crop
    separate  before OSX: the picture itself is cropped around the hand and given to a network of its own

All arms start from one body, trained by itself (crops about hands that nobody has found yet teach nothing), and have the same losses,
puppets in the same order and steps; the crops, decoder and RoIAlign are those of `vitruvian.systems.mesh.osx_parts`. Prints, on held-out
puppets, the mean error of a finger's direction in the picture (degrees; "mean pose" is told the forearm's direction and knows nothing of
the fingers), of body joints and of fingertips (pixels of the picture of 96x128), the gap between the wrist of the body and that of the
hand, and processor time per picture. Figures: claims_meshes.md.

Simpler than the card's proposal: pictures of half its size, no face, a small convolutional stem in place of patches, a body of 2D joints,
and fingers' directions in place of their angles to the forearm, which nothing pulls at until each finger is told from the others.
"""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from arms import learn, run_arms
from torch import Tensor, nn

from vitruvian.nn.transformer import blocks
from vitruvian.systems.mesh.osx_parts import SCALES, KeypointDecoder, PositionNet, RoIPyramid, roi_align

ROWS, COLUMNS, STRIDE = 128, 96, 8
WIDTH, BATCH, CELLS, DECODER = 64, 16, 8, 32
RATE, FINGERS, BODY_STEPS = 2e-3, 10.0, 500
BOX, FINGER = 36.0, 17.0  # pixels: the side of a hand's crop, and a finger
SPREAD = (-0.75, -0.25, 0.25, 0.75)  # of the fingers at rest, about the forearm's direction
TURN = 0.3  # standard deviation of a finger's angle
BODY = 9  # neck, pelvis, head, then shoulder, elbow, wrist of each side
ARMS = ("tokens", "crop", "decoder", "astray", "separate")


def puppets(count: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures (n, 3, 128, 96), body joints (n, 9, 2), hands (n, 2, 5, 2: wrist and fingertips; left first), fingers'
    directions (n, 2, 4), angles from straight down."""
    normal = lambda *shape: torch.randn(count, *shape, generator=random)  # noqa: E731
    size = 0.9 + 0.1 * normal(1, 1).clamp(-1.5, 1.5)
    neck = torch.tensor([48.0, 42.0]) + normal(2) * torch.tensor([5.0, 4.0])
    lean = 0.15 * normal(1)
    down = torch.cat((lean.sin(), lean.cos()), 1)
    across = torch.stack((-down[:, 1], down[:, 0]), 1)
    pelvis, head = neck + 44 * size[:, 0] * down, neck - 14 * size[:, 0] * down
    joints, hands, angles = [neck, pelvis, head], [], []
    for side in (1, -1):
        shoulder = neck - side * 12 * size[:, 0] * across
        first = side * (0.3 + 0.4 * normal())
        second = first + side * (0.3 + 0.5 * normal())
        direct = lambda angle: torch.stack((angle.sin(), angle.cos()), -1)  # noqa: E731
        elbow = shoulder + 20 * size[:, 0] * direct(first)
        wrist = elbow + 17 * size[:, 0] * direct(second)
        turn = TURN * normal(4)
        aim = second[:, None] + torch.tensor(SPREAD) + turn
        hands.append(torch.cat((wrist[:, None], wrist[:, None] + FINGER * size * direct(aim)), 1))
        joints += [shoulder, elbow, wrist]
        angles.append(aim)
    joints, hands, angles = torch.stack(joints, 1), torch.stack(hands, 1), torch.stack(angles, 1)
    return drawn(joints, hands, size, random), joints, hands, angles


def drawn(joints: Tensor, hands: Tensor, size: Tensor, random: torch.Generator) -> Tensor:
    """The pictures: capsules with soft edges before a blurred ground; the hands are the last."""
    count = len(joints)
    bones = [(joints[:, 0], joints[:, 1], 8.0), (joints[:, 0], joints[:, 2], 3.0), (joints[:, 2], joints[:, 2], 8.0)]
    for hand, first in enumerate((3, 6)):
        bones += [(joints[:, first], joints[:, first + 1], 3.5), (joints[:, first + 1], joints[:, first + 2], 3.0)]
        wrist = hands[:, hand, 0]
        bones.append((wrist, wrist + 0.3 * (hands[:, hand, 1:].mean(1) - wrist), 3.0))
        bones += [(wrist, hands[:, hand, finger], 1.4) for finger in range(1, 5)]
    pictures = 0.25 + 0.5 * F.interpolate(torch.rand(count, 3, 8, 6, generator=random), size=(ROWS, COLUMNS), mode="bilinear")
    pixels = torch.stack(torch.meshgrid(torch.arange(COLUMNS), torch.arange(ROWS), indexing="xy"), -1).float()
    skin = 0.5 + 0.5 * torch.rand(count, 3, 1, 1, generator=random)
    for number, (a, b, radius) in enumerate(bones):
        colour = skin if number in (2, 5, 12) or number > 4 and number % 7 not in (3, 4) else torch.rand(count, 3, 1, 1, generator=random)
        start, line = a[:, None, None], (b - a)[:, None, None]
        away = pixels - start
        along = ((away * line).sum(-1) / line.square().sum(-1).clamp(min=1e-3)).clamp(0, 1)
        distance = (away - along[..., None] * line).norm(dim=-1)
        cover = (radius * size - distance + 0.5).clamp(0, 1)[:, None]
        pictures = pictures * (1 - cover) + colour * cover * (1 - 0.35 * (distance / radius).clamp(0, 1)[:, None])
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=random)).clamp(0, 1)


def stem(*widths: int) -> nn.Sequential:
    """Convolutions of stride 2 with normalisation."""
    layers = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Puppeteer(nn.Module):
    """One arm: pictures -> body joints, hands' centres, cosines and sines of the fingers' angles, hands' keypoints; places in pixels."""

    def __init__(self, arm: str):
        super().__init__()
        self.arm = arm
        rows, columns = ROWS // STRIDE, COLUMNS // STRIDE
        self.stem = stem(3, 24, 32, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(1, rows * columns, WIDTH))
        self.tokens = nn.Parameter(0.02 * torch.randn(1, 2, WIDTH))
        self.blocks = blocks(WIDTH, 4, 2 * WIDTH, 2)
        self.body = PositionNet(WIDTH, BODY + 2, 1)
        if arm == "body":
            return
        if arm == "tokens":
            self.read = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, 8))
            return
        if arm == "separate":
            self.own = stem(3, 24, WIDTH // 2)
            self.mix = nn.Sequential(nn.Conv2d(WIDTH // 2, WIDTH // 2, 3, 1, 1), nn.BatchNorm2d(WIDTH // 2), nn.ReLU())
        else:
            self.crops = RoIPyramid(WIDTH, CELLS)
        self.position = PositionNet(WIDTH // 2, 5, 1, DECODER)
        if arm in ("decoder", "astray"):
            self.decoder = KeypointDecoder(WIDTH, CELLS, 5, DECODER, 2, 64)
        self.read = nn.Sequential(nn.Linear(5 * (DECODER + 2), 128), nn.ReLU(), nn.Linear(128, 8))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        maps = self.stem(pictures)
        size = maps.shape[2:]
        x = torch.cat((self.tokens.expand(len(maps), -1, -1), maps.flatten(2).transpose(1, 2) + self.places), 1)
        for block in self.blocks:
            x = block(x)
        maps = x[:, 2:].transpose(1, 2).unflatten(2, size)
        found = self.body(maps)[0][..., :2]  # cells
        body, centres = found[:, :BODY], found[:, BODY:]
        pixels = lambda cells: (cells + 0.5) * STRIDE - 0.5  # noqa: E731
        if self.arm == "body":
            return pixels(body), pixels(centres), None, None
        if self.arm == "tokens":
            return pixels(body), pixels(centres), self.read(x[:, :2]).unflatten(-1, (4, 2)), None
        fingers, places = self.hands(pictures, maps, centres.detach())
        return pixels(body), pixels(centres), fingers, places

    def hands(self, pictures: Tensor, maps: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Fingers (b, 2, 4, 2) and keypoints (b, 2, 5, 2) of hands whose centres are known in cells. Left hands are seen mirrored."""
        half = BOX / STRIDE / 2
        boxes = torch.cat((centres - half, centres + half), -1)
        if self.arm == "separate":
            crop = roi_align(pictures, (boxes + 0.5) * STRIDE - 0.5, 4 * CELLS)
            middle = self.mix(self.own(F.interpolate(mirrored(crop), scale_factor=2.0, mode="bilinear")))
        else:
            crops = [mirrored(crop) for crop in self.crops(maps, boxes)]
            middle = crops[1]
        places = self.position(middle)[0]
        queries = self.position.queries(middle, places)
        cells = SCALES[1] * CELLS
        if self.arm in ("decoder", "astray"):
            around = (places[..., :2].detach() + 0.5) / cells
            queries = self.decoder(crops, queries, torch.rand_like(around) if self.arm == "astray" else around)
        fingers = self.read(torch.cat((queries, places[..., :2] / cells), -1).flatten(1)).view(2, -1, 4, 2).transpose(0, 1)
        left, right = places[..., :2].view(2, -1, 5, 2)
        left = torch.stack((cells - 1 - left[..., 0], left[..., 1]), -1)
        shown = (torch.stack((left, right), 1) + 0.5) / cells * BOX
        return fingers, shown + ((centres - half + 0.5) * STRIDE - 0.5)[:, :, None] - 0.5


def mirrored(crops: Tensor) -> Tensor:
    """(b, 2, c, n, n) -> left hands mirrored, then right ones: (2 b, c, n, n)."""
    return torch.cat((crops[:, 0].flip(3), crops[:, 1]))


def targets(hands: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Centres of hands (n, 2, 2), cosines and sines of fingers (n, 2, 4, 2); a left hand's fingers count in its mirror's sense."""
    seen = torch.stack((-angles[:, 0].flip(-1), angles[:, 1]), 1)
    return (hands[:, :, 0] + hands[:, :, 1:].mean(2)) / 2, torch.stack((seen.cos(), seen.sin()), -1)


def sides(hands: Tensor) -> Tensor:
    """Keypoints in the order in which a right hand has them: a left one's fingers are counted from the other side."""
    return torch.stack((hands[:, 0, [0, 4, 3, 2, 1]], hands[:, 1]), 1)


def loss_of(model: Puppeteer, pictures: Tensor, joints: Tensor, hands: Tensor, angles: Tensor) -> Tensor:
    """Mean errors of the body, the hands' middles, and what the arm has of ten times the fingers' and the hands' keypoints."""
    centres, aims = targets(hands, angles)
    body, middle, fingers, places = model(pictures)
    loss = (body - joints).abs().mean() + (middle - centres).abs().mean()
    if fingers is not None:
        loss = loss + FINGERS * (fingers - aims).abs().mean()
    return loss if places is None else loss + (places - sides(hands)).abs().mean()


def train(arm: str, steps: int, pool: tuple[Tensor, ...], start: dict[str, Tensor]) -> Puppeteer:
    """One arm from the same body, by the same puppets in the same order."""
    torch.manual_seed(0)
    model = Puppeteer(arm)
    model.load_state_dict(start, strict=False)
    learn(model, pool, steps, loss_of, RATE, BATCH, 5.0)
    return model


@torch.inference_mode()
def judge(model: Puppeteer, test: tuple[Tensor, ...]) -> dict[str, float]:
    """Degrees, pixels, milliseconds of processor time per picture."""
    torch.manual_seed(1)
    pictures, joints, hands, angles = test
    aims, begun = targets(hands, angles)[1], time.process_time()
    parts = [model(pictures[start : start + 50].float() / 255) for start in range(0, len(pictures), 50)]
    spent = time.process_time() - begun
    body, _, fingers, places = (None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True))
    gap = torch.atan2(fingers[..., 1], fingers[..., 0]) - torch.atan2(aims[..., 1], aims[..., 0])
    figures = {
        "fingers": float(torch.atan2(gap.sin(), gap.cos()).abs().mean()) * 180 / math.pi,
        "mean pose": TURN * math.sqrt(2 / math.pi) * 180 / math.pi,
        "body": float((body - joints).norm(dim=-1).mean()),
        "ms": 1000 * spent / len(pictures),
    }
    if places is not None:
        figures["tips"] = float((places - sides(hands))[:, :, 1:].norm(dim=-1).mean())
        figures["wrists apart"] = float((places[:, :, 0] - body[:, [5, 8]]).norm(dim=-1).mean())
    return figures


def figures_of(arm: str, steps: int, pool: tuple[Tensor, ...], test: tuple[Tensor, ...]) -> dict[str, float]:
    """What an arm makes of the test after so many steps, and how many weights it has."""
    model = train(arm, steps, pool, body_of(pool))
    figures = {name: round(value, 2) for name, value in judge(model, test).items()}
    return {**figures, "weights": sum(p.numel() for p in model.parameters())}


_BODY: dict[str, Tensor] = {}


def body_of(pool: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The body that all arms start from: crops about hands that nobody has found yet teach nothing. Trained once."""
    if not _BODY:
        _BODY.update(train("body", BODY_STEPS, pool, {}).state_dict())
    return _BODY


if __name__ == "__main__":
    run_arms(__doc__, ARMS, puppets, figures_of)
