"""Multi-HMR's claims in small, on crowds of capsule figures: `python recipes/multi_hmr_figures.py --steps 1500 --pictures 8000` (card
multi-hmr.md, section 8; issue 10).

    full     HPH: each person's query reads all tokens, and knows the camera
    dense    a person is read off their own token: the same, without cross-attention
    blind    as full, but told a field of view of 60 degrees of every picture
    close    as full, a fifth of its pictures close-ups, in which hands are large (as CUFFS)

All arms are `systems.mesh.multi_hmr.MultiHMR` with the card's losses and targets. They start from one backbone, trained by itself to say
which joints a token sees, where, and whose, as the published one starts from DINOv2, and have the same pictures in the same order (but for
`close`) and steps. Prints, on held-out pictures: F1, and of those who were found the mean error of joints about the pelvis, of wrists and
ankles (mm), of depth (median, per cent) and of where hands point (degrees), for crowds and for close-ups; the mean pose, told everybody's
place; and processor seconds. Figures: multi_hmr_small.md.

Figures are 1.7 m tall and seen from in front within 45 degrees or so; left limbs are lighter and right ones darker, as nothing else of a
capsule tells sides. Unlike the card's proposal: four convolutions in place of the patches' one, patches of 16 pixels in place of 8, two
blocks in place of four, a backbone that knows joints and goes on learning them beside each arm's own losses, and hands.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from arms import FirstLesson, learn, run_arms
from torch import Tensor, nn

from vitruvian.body.torch import rotation_matrices
from vitruvian.metrics.meshes import PeopleInPictures, match_people
from vitruvian.systems.mesh.camera import plain_focal, project, square_cameras, unproject
from vitruvian.systems.mesh.multi_hmr import Config, MultiHMR, find
from vitruvian.systems.mesh.multi_hmr_loss import WEIGHTS, Labelled, depth_code, encode_targets, loss_terms
from vitruvian.systems.mesh.multi_hmr_parts import PredictionHead

SIDE, MOST, BATCH, SHARED_STEPS, RATE = 128, 4, 32, 800, 1e-3
ARMS = ("full", "dense", "blind", "close")
# Joint: its parent, its place about it (metres; x to the left, y down, z backwards), and the rotation that carries it: of 0 the body, 1 the
# head, 2 and 3 upper arms, 4 and 5 forearms, 6 and 7 hands, 8 and 9 legs, each relative to that of `CARRIED_BY`.
TREE = {
    "pelvis": (None, (0, 0, 0), 0), "neck": ("pelvis", (0, -0.5, 0), 0), "head": ("neck", (0, -0.22, 0), 1),
    "left_shoulder": ("neck", (0.18, 0.03, 0), 0), "right_shoulder": ("neck", (-0.18, 0.03, 0), 0),
    "left_elbow": ("left_shoulder", (0, 0.28, 0), 2), "right_elbow": ("right_shoulder", (0, 0.28, 0), 3),
    "left_wrist": ("left_elbow", (0, 0.26, 0), 4), "right_wrist": ("right_elbow", (0, 0.26, 0), 5),
    "left_hand": ("left_wrist", (0, 0.18, 0), 6), "right_hand": ("right_wrist", (0, 0.18, 0), 7),
    "left_hip": ("pelvis", (0.1, 0, 0), 0), "right_hip": ("pelvis", (-0.1, 0, 0), 0),
    "left_ankle": ("left_hip", (0, 0.88, 0), 8), "right_ankle": ("right_hip", (0, 0.88, 0), 9),
}  # fmt: skip
NAMES, CARRIED_BY = tuple(TREE), (None, 0, 0, 0, 2, 3, 4, 5, 0, 0)
HEAD = NAMES.index("head")
WRISTS, HANDS, ANKLES = ([NAMES.index(f"{side}_{name}") for side in ("left", "right")] for name in ("wrist", "hand", "ankle"))
LIMBS = (  # what is drawn: two joints, radius in metres, what covers it
    ("left_hip", "left_ankle", 0.075, "trousers"), ("right_hip", "right_ankle", 0.075, "trousers"), ("pelvis", "neck", 0.15, "shirt"),
    ("left_shoulder", "right_shoulder", 0.07, "shirt"), ("left_shoulder", "left_elbow", 0.055, "shirt"),
    ("right_shoulder", "right_elbow", 0.055, "shirt"), ("left_elbow", "left_wrist", 0.045, "skin"),
    ("right_elbow", "right_wrist", 0.045, "skin"), ("left_wrist", "left_hand", 0.04, "glove"),
    ("right_wrist", "right_hand", 0.04, "glove"), ("neck", "head", 0.05, "skin"), ("head", "head", 0.13, "skin"),
)  # fmt: skip
CONFIG = Config(
    "smplx", 128, 2, SIDE, decoder_width=256, decoder_heads=4, decoder_hidden=512, shapes=1, expressions=0, joints=10, patch=16, positions=8
)
# As in multi_hmr_small.py: of the card's weights, the depth code's and the rotations' are small for a training of minutes.
OURS = {**WEIGHTS, "code": 20.0, "rotations": 1.0}


def joints_of(rotations: Tensor) -> Tensor:
    """Rotations relative to the parent (n, 10, 3, 3) -> joints about the pelvis (n, 15, 3)."""
    turned: list[Tensor] = []
    for number, parent in enumerate(CARRIED_BY):
        turned.append(rotations[:, number] if parent is None else turned[parent] @ rotations[:, number])
    places: dict[str, Tensor] = {}
    for name, (parent, offset, carrier) in TREE.items():
        moved = turned[carrier] @ rotations.new_tensor(offset)
        places[name] = moved if parent is None else places[parent] + moved
    return torch.stack(list(places.values()), 1)


def poses(number: int, rng: np.random.Generator) -> Tensor:
    """Rotations of people (n, 10, 3, 3), towards the camera: arms swing forwards and out, forearms bend, hands turn any way, legs swing."""
    turns = np.zeros((number, len(CARRIED_BY), 3))
    turns[:, 0, 1], turns[:, 1, :2] = rng.normal(0, 0.4, number), rng.normal(0, 0.2, (number, 2))
    turns[:, 2:4, 0], turns[:, 4:6, 0] = rng.uniform(-2.0, 0.4, (number, 2)), rng.uniform(-1.8, 0, (number, 2))
    turns[:, 8:, 0] = rng.normal(0, 0.35, (number, 2))
    turns[:, 2:4, 2], turns[:, 8:, 2] = rng.uniform(-1.6, 0.0, (number, 2)), rng.uniform(-0.5, 0.0, (number, 2))
    turns[:, 6:8] = rng.normal(0, 0.6, (number, 2, 3)) * np.array([1, 0, 1])
    turns[:, 3:10:2, 2] *= -1
    lean = rotation_matrices(torch.from_numpy(rng.normal(0, 0.12, (number, 3)) * np.array([1, 0, 1])).float())
    rotations = rotation_matrices(torch.from_numpy(turns).float())
    rotations[:, 0] = lean @ rotations[:, 0]
    return rotations


def scene(rng: np.random.Generator, near: bool) -> tuple[Tensor, Tensor, float]:
    """Rotations and head joints (metres) of one to four people, or one near one with a wrist in the picture; the focal length, pixels."""
    focal, middle = rng.uniform(0.6, 1.6) * SIDE, SIDE / 2
    kept: list[tuple[Tensor, Tensor]] = []
    wanted = 1 if near else int(rng.integers(1, MOST + 1))
    for _ in range(200):
        if len(kept) == wanted:
            break
        rotations = poses(1, rng)
        tall = rng.uniform(1.2, 2.4) if near else rng.uniform(0.5, 0.95)
        depth = focal * 1.7 / (tall * SIDE)
        place = np.array([rng.uniform(0.15, 0.85), rng.uniform(0.1, 0.5) if near else rng.uniform(0.06, 0.97 - 0.85 * tall)]) * SIDE
        head = torch.tensor([*(place - middle) / focal * depth, depth]).float()
        joints = joints_of(rotations)[0]
        joints = joints - joints[HEAD] + head
        seen = joints[:, :2] / joints[:, 2:] * focal + middle
        hands = ((seen[HANDS] > 4) & (seen[HANDS] < SIDE - 4)).all(1).any()
        others = [(at[:2] / at[2] * focal + middle).numpy() for _, at in kept]
        apart = all((place // CONFIG.patch != other // CONFIG.patch).any() for other in others)
        if joints[:, 2].min() > 0.3 and apart and (hands or not near):
            kept.append((rotations[0], head))
    rotations, heads = (torch.stack(parts) for parts in zip(*kept, strict=True))
    return rotations, heads, focal


def draw_person(rng: np.random.Generator, canvas: np.ndarray, joints: Tensor, focal: float, facing: float) -> None:
    """Paint capsules, far ones first, in flat colours; a face is where the head faces."""
    skin = np.array([140, 170, 220]) * rng.uniform(0.5, 1.1)
    cover = {"skin": skin, "glove": 0.8 * skin, "shirt": rng.uniform(20, 235, 3), "trousers": rng.uniform(20, 235, 3)}
    scale = canvas.shape[0] / SIDE
    points = dict(zip(NAMES, joints.numpy(), strict=True))
    seen = {name: ((p[:2] / p[2] * focal + SIDE / 2) * scale * 16).round().astype(int).tolist() for name, p in points.items()}
    order = sorted(LIMBS, key=lambda limb: -(points[limb[0]][2] + points[limb[1]][2]) / 2 - limb[2])
    for first, second, radius, kind in order:
        depth = (points[first][2] + points[second][2]) / 2
        along = points[second] - points[first]
        slant = 1 - 0.4 * abs(along[2]) / max(float(np.linalg.norm(along)), 1e-6)  # who points at the camera is darker
        sides = {first.split("_")[0], second.split("_")[0]}
        side = 1.25 if sides == {"left"} else 0.75 if sides == {"right"} else 1.0
        colour = np.clip(cover[kind] * slant * side, 0, 255).tolist()
        width = max(1, round(2 * radius * focal / depth * scale))
        cv2.line(canvas, seen[first], seen[second], colour, width, cv2.LINE_AA, 4)
    radius = 0.13 * focal / points["head"][2] * scale
    eyes = [seen["head"][0] - round(0.5 * radius * math.sin(facing) * 16), seen["head"][1]]
    cv2.circle(canvas, eyes, max(1, round(0.45 * radius * 16)), (30, 30, 30), -1, cv2.LINE_AA, 4)


def crowds(count: int, random: torch.Generator) -> tuple[Tensor, ...]:
    """Pictures (n, 3, 128, 128), focal lengths (n), rotations (n, 4, 10, 3, 3), heads (n, 4, 3), who is there (n, 4), whether a close-up
    (n): every fifth."""
    rng = np.random.default_rng(int(torch.randint(1 << 40, (1,), generator=random)))
    pictures = torch.empty(count, 3, SIDE, SIDE)
    focals, turned = torch.empty(count), torch.eye(3).repeat(count, MOST, len(CARRIED_BY), 1, 1)
    heads, there, near = torch.ones(count, MOST, 3), torch.zeros(count, MOST, dtype=torch.bool), torch.arange(count) % 5 == 4
    for row in range(count):
        rotations, head, focal = scene(rng, bool(near[row]))
        number, focals[row] = len(head), focal
        turned[row, :number], heads[row, :number], there[row, :number] = rotations, head, True
        rough = rng.uniform(30, 225, (6, 6, 3)).astype(np.float32)
        canvas = cv2.resize(rough, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        joints = joints_of(rotations)
        joints = joints - joints[:, [HEAD]] + head[:, None]
        for person in (-head[:, 2]).argsort().tolist():
            facing = float(torch.atan2(rotations[person, 0, 0, 2], rotations[person, 0, 2, 2]))
            draw_person(rng, canvas, joints[person], focal, facing)
        small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA) + rng.normal(0, 6, (SIDE, SIDE, 3))
        pictures[row] = torch.from_numpy(small.clip(0, 255).astype(np.float32) / 255).permute(2, 0, 1)
    return pictures, focals, turned, heads, there, near


class Figures(nn.Module):
    """An arm's network, whose people are figures; `first` is for the backbone's first lesson."""

    def __init__(self, arm: str):
        super().__init__()
        self.arm = arm
        self.net = MultiHMR(CONFIG)
        self.net.head = PredictionHead(replace(CONFIG, dense=arm == "dense"))  # drawn last: all else starts alike
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 48), (48, 96), (96, CONFIG.width)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.net.backbone.patch_embed = nn.Sequential(*layers[:-1])
        self.first = FirstLesson(CONFIG.width, len(NAMES), CONFIG.grid)
        nn.init.constant_(self.net.detection[2].bias, -4.0)
        self.net.head.init_cam[0, 0] = math.log(3.0)
        for layer in (self.net.head.decpose, self.net.head.decshape, self.net.head.deccam):
            nn.init.normal_(layer.weight, std=0.002)
            nn.init.zeros_(layer.bias)

    def told(self, camera: Tensor) -> Tensor:
        """The camera that the network is told."""
        return square_cameras(torch.full((len(camera),), plain_focal(SIDE)), SIDE) if self.arm == "blind" else camera

    def people(self, features, camera: Tensor, cells: Tensor) -> tuple:
        """What the network says of people, their places by the true camera, and joints in metres about the pelvis."""
        people = self.net.people(features, self.told(camera), cells)
        place = people.depth * unproject(people.location, camera[cells[:, 0]])
        return people, place, joints_of(people.rotations)


def seen_loss(model: Figures, pictures: Tensor, *truth: Tensor) -> Tensor:
    """The backbone's first lesson by itself."""
    return first_loss(model, model.net.encode(2 * pictures - 1).tokens, *truth)


def first_loss(model: Figures, tokens: Tensor, focals: Tensor, rotations: Tensor, heads: Tensor, there: Tensor, near: Tensor) -> Tensor:
    """What tokens are taught of joints, whose heads are the roots; who is nearer covers the others."""
    order = heads[..., 2].argsort(1, descending=True)
    joints = joints_of(rotations.flatten(0, 1)).unflatten(0, (-1, MOST))
    joints = joints - joints[:, :, [HEAD]] + heads[:, :, None]
    cells = project(joints, square_cameras(focals, SIDE)[:, None, None]) / CONFIG.patch
    cells, shown = cells.gather(1, order[..., None, None].expand_as(cells)), there.gather(1, order)
    return model.first(tokens, cells, shown, HEAD)


def loss_of(model: Figures, pictures: Tensor, *truth: Tensor) -> Tensor:
    """The card's losses, joints in place of vertices too; the first lesson goes on beside them."""
    focals, rotations, heads, there, _ = truth
    picture, person = there.nonzero(as_tuple=True)
    camera = square_cameras(focals, SIDE)
    places = project(heads[there], camera[picture])
    targets = encode_targets(places, heads[there][:, 2], picture, len(pictures), CONFIG)
    of = camera[targets.cells[:, 0]]
    features = model.net.encode(2 * pictures - 1)
    people, place, joints = model.people(features, camera, targets.cells)
    true_rotations, true_place = rotations[there][targets.kept], heads[there][targets.kept]
    code = depth_code(true_place[:, 2:], model.told(camera)[targets.cells[:, 0], 0, :1], CONFIG)[:, 0]

    def described(scores, offset, turned, shape, coded, at, posed) -> Labelled:
        posed = posed - posed[:, [HEAD]] + at[:, None]
        seen = project(posed, of[:, None])
        return Labelled(scores, offset, turned, shape, coded, at, posed[:, 0], posed, posed[:, :0], seen, seen[:, :0])

    said = described(features.scores, people.offset, people.rotations, people.shape, people.code[:, 0], place, joints)
    flat = torch.zeros_like(people.shape)
    true = described(targets.scores, targets.offset, true_rotations, flat, code, true_place, joints_of(true_rotations))
    terms = loss_terms(said, true, SIDE)
    return sum(OURS[name] * value for name, value in terms.items()) / 50 + 0.05 * first_loss(model, features.tokens, *truth)


def angles(said: Tensor, true: Tensor) -> Tensor:
    """Degrees between where hands point (n, 15, 3 joints -> n, 2)."""
    aims = [part[:, HANDS] - part[:, WRISTS] for part in (said, true)]
    return torch.rad2deg(F.cosine_similarity(*aims, dim=-1).clamp(-1, 1).acos())


def scores_of(said: list[Tensor], true: list[Tensor]) -> dict[str, float]:
    """Of people (picture, head place, joints about the pelvis, points in the picture): F1 and errors of those who were found."""

    def listed(part: list[Tensor]) -> PeopleInPictures:
        points = part[3].numpy()
        return PeopleInPictures(part[0].numpy(), np.concatenate([points.min(1), points.max(1)], 1), points)

    matches = match_people(listed(said), listed(true))
    (_, at, joints, _), (_, true_at, true_joints, points) = (
        [column[torch.from_numpy(rows)] for column in part] for part, rows in ((said, matches.found), (true, matches.truth))
    )
    errors = 1000 * (joints - true_joints).norm(dim=-1)
    shown = ((points[:, HANDS] > 0) & (points[:, HANDS] < SIDE)).all(-1)
    return {
        "f1": matches.f1, "joints": float(errors[:, 1:].mean()), "ends": float(errors[:, WRISTS + ANKLES].mean()),
        "hands": float(angles(joints, true_joints)[shown].mean()),
        "depth": float(100 * (at[:, 2] / true_at[:, 2] - 1).abs().median()),
    }  # fmt: skip


@torch.inference_mode()
def judge(model: Figures | None, test: tuple[Tensor, ...], mean: Tensor) -> dict[str, float]:
    """Figures of crowds and of close-ups; `model` None: everybody where they are, in the mean pose."""
    out: dict[str, float] = {}
    for kind, chosen in (("crowd", ~test[5]), ("near", test[5])):
        pictures, focals, rotations, heads, there, _ = (column[chosen] for column in test)
        camera, picture = square_cameras(focals, SIDE), there.nonzero()[:, 0]

        def placed(rows: Tensor, at: Tensor, joints: Tensor, camera: Tensor = camera) -> list[Tensor]:
            return [rows, at, joints, project(joints - joints[:, [HEAD]] + at[:, None], camera[rows][:, None])]

        true = placed(picture, heads[there], joints_of(rotations[there]))
        said = [placed(picture, heads[there], mean.expand(len(picture), -1, -1))]
        if model is not None:
            said = []
            for start in range(0, len(pictures), 50):
                features = model.net.encode(2 * pictures[start : start + 50].float() / 255 - 1)
                cells = find(features.scores, 0.3)
                people, at, joints = model.people(features, camera[start : start + 50], cells)
                said.append(placed(cells[:, 0] + start, at, joints))
        figures = scores_of([torch.cat(column) for column in zip(*said, strict=True)], true)
        out |= {f"{kind} {name}": round(value, 3) for name, value in figures.items()}
    return out


def figures_of(arm: str, steps: int, pool: tuple[Tensor, ...], test: tuple[Tensor, ...]) -> dict[str, float]:
    """What an arm makes of the test after so many steps, from the backbone that all share."""
    crowded = tuple(column[~pool[5]] for column in pool)
    if not _SHARED:
        torch.manual_seed(0)
        first = Figures("full")
        learn(first, pool, SHARED_STEPS, seen_loss, RATE, BATCH, 2.0)
        _SHARED.append({name: value for name, value in first.state_dict().items() if name.startswith("net.backbone.")})
        mean = joints_of(crowded[2][crowded[4]]).mean(0, keepdim=True)
        _SHARED.append({"mean": mean})
        print({"arm": "mean", **judge(None, test, mean)}, flush=True)
    torch.manual_seed(0)
    model = Figures(arm)
    model.load_state_dict(_SHARED[0], strict=False)
    learn(model, pool if arm == "close" else crowded, steps, loss_of, RATE, BATCH, 2.0)
    return judge(model, test, _SHARED[1]["mean"])


_SHARED: list[dict[str, Tensor]] = []


if __name__ == "__main__":
    run_arms(__doc__, ARMS, crowds, figures_of)
