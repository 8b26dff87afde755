"""HopFIR's claims in small: what do attention among hops, limbs, and the plug-in gain on poses whose distant joints move together?

    OMP_NUM_THREADS=1 nice -n 10 python recipes/hopfir_small.py [--steps 600] [--seeds 3] [--parts mixers plug-in limbs] [--out FILE]

No data is needed (card hopfir.md section 8). A tree of 17 joints with human-like bones, each turned by its own rotation vector. "synergy":
the 51 numbers are six common factors and a little noise, so that distant joints move together. "independent": of the same size, but each
on its own. "limbs": as independent, but the outer joints of a limb follow the inner ones. Seen by a camera 4.5 m away, with noise.
All networks have the same three blocks (mixer, then perceptron, normalised before, added after); only the mixer differs. "equal size" arms
have the width that gives them as many parameters as the arm that they are compared with. Short training:
the errors are large, and only their order means something. What is done is kept in FILE (hopfir.json here); a stopped run goes on there.
Figures seen: claims_pose3d.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from kept import kept
from torch import Tensor, nn

from vitruvian.body.lbs import rotation_matrices
from vitruvian.nn.graph import ModulatedGraphConv, SkeletonGraph
from vitruvian.nn.transformer import Perceptron, SelfAttention
from vitruvian.skeletons import H36M_17
from vitruvian.systems.pose3d.hopfir import GraphLifter, HopAttention, LimbRefinement

GRAPH = SkeletonGraph.of(H36M_17)
WIDTH, BLOCKS, TRAIN, TEST, BATCH = 64, 3, 30_000, 3_000, 64
# Metres from each joint's parent, at rest; y down.
_SIDE = {
    **{"hip": (0.13, 0, 0), "knee": (0, 0.45, 0), "foot": (0, 0.43, 0)},
    **{"shoulder": (0.16, 0.02, 0), "elbow": (0.05, 0.28, 0), "wrist": (0, 0.25, 0)},
}
_MIDDLE = {"root": (0, 0, 0), "spine": (0, -0.24, 0), "thorax": (0, -0.25, 0), "neck_base": (0, -0.1, -0.03), "head": (0, -0.12, 0)}


def rest_offsets() -> Tensor:
    """(17, 3) of the tree at rest."""
    rows = []
    for name in H36M_17.names:
        side, _, part = name.partition("_")
        x, y, z = _SIDE[part] if part in _SIDE else _MIDDLE[name]
        rows.append((x if side == "left" else -x, y, z) if part in _SIDE else (x, y, z))
    return torch.tensor(rows)


def rotations(vectors: Tensor) -> Tensor:
    """Rotation matrices of rotation vectors."""
    return torch.from_numpy(rotation_matrices(vectors.numpy()))


@cache
def poses(kind: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Keypoints (n, 17, 2), normalised, and joints around the root (n, 17, 3), metres."""
    draw = torch.Generator().manual_seed(seed)
    table = 0.35 * torch.randn(6, 51, generator=torch.Generator().manual_seed(12345))  # the same for training and test
    if kind == "synergy":
        vectors = torch.randn(count, 6, generator=draw) @ table + 0.12 * torch.randn(count, 51, generator=draw)
    else:
        vectors = 0.87 * torch.randn(count, 51, generator=draw)
    vectors = vectors.unflatten(1, (17, 3)) * torch.tensor([1.0, 0.5, 0.5])
    if kind == "limbs":
        for limb in GRAPH.limbs[1:]:
            for inner, outer in zip(limb[1:-1], limb[2:], strict=True):
                vectors[:, outer] = 0.9 * torch.tanh(1.5 * vectors[:, inner]) + 0.15 * torch.randn(count, 3, generator=draw)
    turn = rotations(vectors)
    yaw = 2 * torch.pi * torch.rand(count, generator=draw)
    turn[:, 0] = rotations(torch.stack([0 * yaw, yaw, 0 * yaw], -1)) @ turn[:, 0]
    offsets, joints, frames = rest_offsets(), [torch.zeros(count, 3)], [turn[:, 0]]
    for joint in range(1, 17):  # in this set parents come first
        parent = H36M_17.parents[joint]
        joints.append(joints[parent] + frames[parent] @ offsets[joint])
        frames.append(frames[parent] @ turn[:, joint])
    points = torch.stack(joints, 1)
    keypoints = 2 * points[..., :2] / (points[..., 2:] + 4.5) + 0.015 * torch.randn(count, 17, 2, generator=draw)
    return keypoints, points


class HopSum(nn.Module):
    """A modulated graph convolution that adds the hops up to 3, each with weights of its own: narrower inside, for equal size."""

    def __init__(self, width: int):
        super().__init__()
        inner = width // 2
        self.register_buffer("tables", torch.from_numpy(GRAPH.hops(3)))
        self.given = nn.Linear(width, 4 * inner)
        self.modulation = nn.Parameter(torch.ones(4, 17, inner))
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        given = self.given(x).unflatten(-1, (4, -1)).transpose(1, 2) * self.modulation
        return self.out((self.tables @ given).sum(1))


class Block(nn.Module):
    """Mixer and perceptron, normalised before and added after; then, if asked, the refinement of limbs."""

    def __init__(self, mixer: nn.Module, limbs: bool, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixer, self.mlp = mixer, Perceptron(width, 2 * width)
        self.refine = LimbRefinement(GRAPH, width, 4) if limbs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return self.refine(x + self.mlp(self.norm2(x)))


class Network(nn.Module):
    """Three blocks between a linear stem with learnt places and a linear head."""

    def __init__(self, mixer: Callable[[int], nn.Module], limbs: bool = False, width: int = WIDTH):
        super().__init__()
        self.stem, self.places = nn.Linear(2, width), nn.Parameter(0.02 * torch.randn(17, width))
        self.blocks = nn.Sequential(*(Block(mixer(width), limbs, width) for _ in range(BLOCKS)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3))

    def forward(self, keypoints: Tensor) -> Tensor:
        points = self.head(self.blocks(self.stem(keypoints) + self.places))
        return points - points[:, :1]


def hop_mixer(width: int) -> nn.Module:
    return HopAttention(width, GRAPH, 3, 2)


def no_hops(width: int) -> nn.Module:
    return HopAttention(width, GRAPH, 0, 8)


def plugged(kind: str, hops: int = 0, refine: str = "none", width: int = WIDTH) -> Callable[[], nn.Module]:
    return lambda: GraphLifter(GRAPH, kind, width, 2, hops, 2, refine=refine)


MIXERS: dict[str, Callable[[], nn.Module]] = {
    "(a) 1-hop convolution": lambda: Network(lambda width: ModulatedGraphConv(width, width, GRAPH)),
    "(b) hops 0 to 3 summed": lambda: Network(HopSum),
    "(c) HGF": lambda: Network(hop_mixer),
    "(d) self-attention": lambda: Network(lambda width: SelfAttention(width, 4)),
    "(f) HGF without hops": lambda: Network(no_hops),
    "(g) without hops, equal size": lambda: Network(no_hops, width=56),
}
LIMBS = {
    "(c) HGF": MIXERS["(c) HGF"],
    "(e) HGF + IJR": lambda: Network(hop_mixer, True),
    "(h) HGF, equal size": lambda: Network(hop_mixer, width=88),
}
PLUGS = {
    "SemGCN": plugged("sem"),
    "SemGCN + hop attention": plugged("sem", 3),
    "SemGCN, equal size": plugged("sem", width=88),
    "MGCN": plugged("modulated"),
    "MGCN + hop attention": plugged("modulated", 3),
    "MGCN, equal size": plugged("modulated", width=87),
}
REFINED = {
    "SemGCN": plugged("sem"),
    "SemGCN + IJR": plugged("sem", 0, "peripheral"),
    "SemGCN, equal size": plugged("sem", width=101),
}


def train(model: nn.Module, kind: str, seed: int, steps: int) -> Tensor:
    """(17,) mean errors of the joints on unseen poses, mm."""
    keypoints, points = poses(kind, TRAIN, 1000 + seed)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(TRAIN, (BATCH,), generator=draw)
        loss = (model(keypoints[rows]) - points[rows]).norm(dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    keypoints, points = poses(kind, TEST, 9)
    with torch.inference_mode():
        return 1000 * (model(keypoints) - points).norm(dim=-1).mean(0)


def arm(make: Callable[[], nn.Module], kind: str, seed: int, steps: int) -> list[float]:
    """Train one network: the mean errors of its 17 joints, mm, and its number of parameters."""
    torch.manual_seed(seed)
    model = make()
    return [*train(model, kind, seed, steps).tolist(), sum(p.numel() for p in model.parameters())]


def compare(title: str, kind: str, models: dict[str, Callable[[], nn.Module]], seeds: int, steps: int, file: Path) -> dict[str, np.ndarray]:
    """Train every model with every seed on one kind of poses, print a table, return the mean errors by seed."""
    print(f"\n{title}\n{'model':<28}{'parameters':>11}{'MPJPE mm, mean +- sd of seeds':>32}{'outer joints':>14}", flush=True)
    outer = [joint for limb in GRAPH.limbs[1:] for joint in limb[2:]]
    out = {}
    for name, make in models.items():
        rows = [
            kept(file, f"{kind}, {steps} steps: {name} #{seed}", lambda make=make, seed=seed: arm(make, kind, seed, steps))
            for seed in range(seeds)
        ]
        errors = np.array(rows)[:, :17]
        out[name] = errors.mean(1)
        spread = f"{out[name].mean():.1f} +- {out[name].std(ddof=min(seeds - 1, 1)):.1f}"
        print(f"{name:<28}{rows[0][17]:>11,.0f}{spread:>32}{errors[:, outer].mean():>14.1f}", flush=True)
    return out


def change(results: dict[str, np.ndarray], new: str, old: str) -> str:
    """How much lower `new` is than `old`, seed by seed, in per cent."""
    gain = 100 * (results[new] / results[old] - 1)
    return f"{new} vs {old}: {gain.mean():+.1f} % (seeds {', '.join(f'{g:+.1f}' for g in gain)})"


def main() -> None:
    """Run the parts that are asked for, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parts = ["mixers", "limbs", "plug-in", "plug-in-limbs"]
    parser.add_argument("--parts", nargs="+", default=parts, choices=parts)
    parser.add_argument("--out", type=Path, default=Path("hopfir.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = {"seeds": options.seeds, "steps": options.steps, "file": options.out}
    if "mixers" in options.parts:
        found = compare("synergy", "synergy", MIXERS, **run)
        print(change(found, "(c) HGF", "(a) 1-hop convolution"), "; wanted: -6 % at least")
        print(change(found, "(c) HGF", "(b) hops 0 to 3 summed"), "; wanted: -3 % at least")
        print(change(found, "(c) HGF", "(f) HGF without hops"))
        print(change(found, "(c) HGF", "(g) without hops, equal size"))
        found = compare("independent", "independent", {name: MIXERS[name] for name in list(MIXERS)[:3:2]}, **run)
        print(change(found, "(c) HGF", "(a) 1-hop convolution"), "; wanted: within 1.5 %")
    if "limbs" in options.parts:
        found = compare("limbs", "limbs", LIMBS, **run)
        print(change(found, "(e) HGF + IJR", "(c) HGF"))
        print(change(found, "(e) HGF + IJR", "(h) HGF, equal size"))
    if "plug-in" in options.parts:
        found = compare("plug-in, synergy", "synergy", PLUGS, **run)
        for name in ("SemGCN", "MGCN"):
            print(change(found, f"{name} + hop attention", name))
            print(change(found, f"{name} + hop attention", f"{name}, equal size"))
    if "plug-in-limbs" in options.parts:
        found = compare("plug-in, limbs", "limbs", REFINED, **run)
        print(change(found, "SemGCN + IJR", "SemGCN"))
        print(change(found, "SemGCN + IJR", "SemGCN, equal size"))


if __name__ == "__main__":
    main()
