"""HopFIR, reconstructed: a 3D pose from one frame's keypoints by attention among neighbourhoods (Zhai et al., ICCV 2023, arXiv 2302.14581).

No code, weights or fork of it could be found, and its method section was not read: this is a reimplementation from the paper's description,
and claims no numeric equality with it.

Idea
    Graph networks lift joint by joint from neighbours. They don't see synergies: joints far apart that move together, as arms and legs do
    in walking. HGF makes of every joint's k-hop neighbours a group, and lets all groups of the same hop attend to each other, so that a
    wrist's neighbourhood looks at an ankle's. IJR then refines the outer joints of a limb by the rest of that limb, on which they depend.

What is the paper's, what is ours
    the paper's    groups by hops, attention among groups of one hop (HGF); refinement within limbs, peripheral joints by inner ones (IJR);
                   HGF as a plug-in for other graph networks; the published figures
    ours           everything else (card hopfir.md section 4): widths, stages, hops; modulation, biases and the fusion of hops; the limbs,
                   the order in which a limb's joints see each other, the operator of IJR; the loss's bone term

Paper -> here
    hop tables                  vitruvian.nn.graph.SkeletonGraph
    HGF                         HopAttention (the plug-in), HopBlock
    IJR                         LimbRefinement
    SemGCN, MGCN with HGF, IJR  GraphLifter(hops=..., refine=...)
    lifting with the mirror     lift

    variant   parameters    Human3.6M MPJPE, published, of the paper's own network: 32.7 mm from true keypoints, 48.5 mm from CPN's;
    t, nano   0.11 M        SemGCN with hop attention -8.9 %, MGCN -4.5 % (true keypoints). Ours has not been trained on it.
    s         0.50 M
    m         1.7 M

Not settled: the published model's hops, stages and channels; how its hops are fused; whether attention runs among joints of a hop (here,
and the option "across" for among a joint's hops); the groups and operator of IJR; whether its CPN figure used a refinement module.

Licences
    Published code: none. Data: Human3.6M (academic), MPI-INF-3DHP (non-commercial). Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.errors import WeightsError
from vitruvian.nn.graph import GraphConv, ModulatedGraphConv, SemGraphConv, SkeletonGraph
from vitruvian.nn.lifter import Lifter
from vitruvian.nn.transformer import Perceptron
from vitruvian.skeletons import by_name
from vitruvian.systems.checkpoint import need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

BONE_WEIGHT = 0.1
GRAPH_CONVS = {"plain": GraphConv, "sem": SemGraphConv, "modulated": ModulatedGraphConv}

KEYMAP: tuple[tuple[str, str], ...] = ((r"^module\.", ""),)
DROP: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """Width, stages, largest hop, heads; who is refined; what attends to what; channels of a keypoint (3 with its confidence).

    mixing: "within" a hop, its groups (joints) attend to each other; "across": the hops of one joint do.
    """

    dim: int = 96
    stages: int = 4
    hops: int = 3
    heads: int = 4
    refine: Literal["peripheral", "all", "none"] = "peripheral"
    mixing: Literal["within", "across"] = "within"
    channels: int = 2
    dropout: float = 0.1
    skeleton: str = "h36m-17"

    @property
    def graph(self) -> SkeletonGraph:
        """The joints and their tree."""
        return SkeletonGraph.of(by_name(self.skeleton))


VARIANTS: dict[str, Config] = {
    "nano": Config(48, 3, 2),
    "t": Config(48, 3, 2),
    "s": Config(),
    "m": Config(160, 5, 3),
}


class HopAttention(nn.Module):
    """Attention among k-hop neighbourhoods, hop by hop, then fused: (b, j, dim) -> (b, j, dim); add it to any layer over joints.

    1. A group is the mean of its joints' features, projected for this hop and modulated for each joint that gives.
    2. "within": all groups of one hop attend to each other, with a learnt bias for every pair; empty groups are never looked at.
       "across": the groups of one joint attend to each other over the hops, except empty ones.
    3. The hops are put together by a linear map. It starts at zero with `silent`: a network that gets the plug-in starts unchanged.
    """

    def __init__(
        self,
        dim: int,
        graph: SkeletonGraph,
        hops: int = 3,
        heads: int = 4,
        mixing: Literal["within", "across"] = "within",
        silent: bool = False,
    ):
        super().__init__()
        tables = torch.from_numpy(graph.hops(hops))
        count, joints = tables.shape[:2]
        self.heads, self.mixing = heads, mixing
        width = heads * max(round(dim / count / heads), 1)
        self.project = nn.Linear(dim, count * width, bias=False)
        self.modulation = nn.Parameter(torch.ones(count, joints, width))
        self.qkv = nn.Parameter(torch.empty(count, width, 3 * width))
        for part in self.qkv:
            nn.init.xavier_uniform_(part)
        self.qkv_bias = nn.Parameter(torch.zeros(count, 1, 3 * width))
        self.bias = nn.Parameter(torch.zeros(count, heads, joints, joints) if mixing == "within" else torch.zeros(heads, count, count))
        self.fuse = nn.Linear(count * width, dim)
        if silent:
            nn.init.zeros_(self.fuse.weight)
            nn.init.zeros_(self.fuse.bias)
        self.register_buffer("tables", tables, persistent=False)
        self.register_buffer("empty", tables.sum(-1) == 0, persistent=False)

    def forward(self, x: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        count, joints, width = self.modulation.shape
        given = self.project(x).unflatten(-1, (count, width)).transpose(1, 2) * self.modulation  # (b, k, j, w)
        groups = self.tables @ given
        qkv = (groups @ self.qkv + self.qkv_bias).unflatten(-1, (3, self.heads, -1))  # (b, k, j, 3, heads, d)
        # Hops, or joints, lie beside the heads, because the exporter knows attention over four axes only.
        if self.mixing == "within":
            query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)  # each (b, k * heads, j, d)
            mask = self.bias.masked_fill(self.empty[:, None, None], -torch.inf).flatten(0, 1)
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            out = out.unflatten(1, (count, self.heads)).permute(0, 3, 1, 2, 4)
        else:
            query, key, value = qkv.permute(3, 0, 2, 4, 1, 5).flatten(2, 3)  # each (b, j * heads, k, d)
            mask = self.bias.masked_fill(self.empty.T[:, None, None], -torch.inf).flatten(0, 1)
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            out = out.unflatten(1, (joints, self.heads)).transpose(2, 3)
        return self.fuse(out.flatten(2))


class HopBlock(nn.Module):
    """HGF: x + hop attention of the normalised x, then x + perceptron of the normalised x."""

    def __init__(self, graph: SkeletonGraph, config: Config):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attention = HopAttention(config.dim, graph, config.hops, config.heads, config.mixing)
        self.mlp = Perceptron(config.dim, 2 * config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class LimbRefinement(nn.Module):
    """IJR: joints look at their own limb, and are moved by what they see and by how they differ from where the limb hangs.

    A joint at depth r of its limb sees those of depth r + 1 at most, so that what is known flows outwards. "peripheral" leaves the trunk,
    and so the joints that limbs hang on, as it is; "all" refines the trunk as if it were a limb. A plug-in too: with `silent` a network
    that gets it starts unchanged.
    """

    def __init__(
        self, graph: SkeletonGraph, dim: int, heads: int, refine: Literal["peripheral", "all"] = "peripheral", silent: bool = False
    ):
        super().__init__()
        allowed, hook, refined = limb_tables(graph, refine)
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(3 * dim, dim)
        if silent:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)
        self.register_buffer("allowed", torch.from_numpy(allowed), persistent=False)
        self.register_buffer("hook", torch.from_numpy(hook), persistent=False)
        self.register_buffer("refined", torch.from_numpy(refined)[:, None], persistent=False)

    def forward(self, x: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        y = self.norm(x)
        query, key, value = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=self.allowed).transpose(1, 2).flatten(2)
        return torch.where(self.refined, x + self.out(torch.cat((y, seen, y - y[:, self.hook]), -1)), x)


def limb_tables(graph: SkeletonGraph, refine: Literal["peripheral", "all"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whom every joint may look at (j, j; others at themselves), the joint that its limb hangs on (j), and whether it is refined (j)."""
    allowed, hook, refined = np.eye(len(graph), dtype=bool), np.arange(len(graph)), np.zeros(len(graph), bool)
    trunk, *limbs = graph.limbs
    for limb in [*limbs, *([trunk] if refine == "all" else [])]:
        depth = graph.distance[limb[0], list(limb)]
        for joint, r in zip(limb, depth, strict=True):
            if limb is trunk or r > 0:
                allowed[joint, list(limb)] = depth <= r + 1
                hook[joint], refined[joint] = limb[0], True
    return allowed, hook, refined


class HopFIR(nn.Module):
    """Normalised keypoints (b, j, 2 or 3) -> joints around the root (b, j, 3), metres, in camera axes."""

    def __init__(self, config: Config, graph: SkeletonGraph | None = None):
        super().__init__()
        self.config = config
        self.graph = graph = graph or config.graph
        self.stem = nn.Linear(config.channels, config.dim)
        self.joints = nn.Parameter(0.02 * torch.randn(len(graph), config.dim))
        self.norm = nn.LayerNorm(config.dim)
        self.stages = nn.ModuleList()
        for _ in range(config.stages):
            stage = nn.ModuleDict({"hgf": HopBlock(graph, config)})
            if config.refine != "none":
                stage["ijr"] = LimbRefinement(graph, config.dim, config.heads, config.refine)
            self.stages.append(stage)
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, 3))

    def forward(self, keypoints: Float[Tensor, "b j c"]) -> Float[Tensor, "b j 3"]:
        x = self.norm(self.stem(keypoints) + self.joints)
        for stage in self.stages:
            for part in stage.values():
                x = part(x)
        points = self.head(x)
        return points - points[:, self.graph.root, None]


class GraphLayer(nn.Module):
    """A graph convolution, normalisation over batch and joints, ReLU, dropout."""

    def __init__(self, conv: nn.Module, width: int, dropout: float):
        super().__init__()
        self.conv, self.norm, self.dropout = conv, nn.BatchNorm1d(width), nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b j i"]) -> Float[Tensor, "b j o"]:
        y = self.conv(x)
        return self.dropout(F.relu(self.norm(y.flatten(0, 1)).unflatten(0, y.shape[:2])))


class GraphLifter(nn.Module):
    """SemGCN ("sem"), MGCN ("modulated") or a plain graph network, with HopFIR's two ideas as plug-ins after every block.

    hops: hop attention up to so many hops, 0 for none. refine: intragroup refinement, after it; "none" for none.
    A layer, `blocks` residual pairs of layers, and a convolution to 3 numbers. As for HopFIR: (b, j, 2) -> (b, j, 3) around the root.
    """

    def __init__(
        self,
        graph: SkeletonGraph,
        kind: Literal["plain", "sem", "modulated"] = "sem",
        width: int = 128,
        blocks: int = 4,
        hops: int = 0,
        heads: int = 4,
        channels: int = 2,
        dropout: float = 0.0,
        refine: Literal["peripheral", "all", "none"] = "none",
    ):
        super().__init__()
        conv = GRAPH_CONVS[kind]

        def layer(inputs: int) -> GraphLayer:
            return GraphLayer(conv(inputs, width, graph), width, dropout)

        self.root = graph.root
        self.first = layer(channels)
        self.blocks = nn.ModuleList(nn.Sequential(layer(width), layer(width)) for _ in range(blocks))
        plugs = blocks if hops else 0
        self.plugs = nn.ModuleList(HopAttention(width, graph, hops, heads, silent=True) for _ in range(plugs))
        refinements = 0 if refine == "none" else blocks
        self.refinements = nn.ModuleList(LimbRefinement(graph, width, heads, refine, silent=True) for _ in range(refinements))
        self.last = conv(width, 3, graph)

    def forward(self, keypoints: Float[Tensor, "b j c"]) -> Float[Tensor, "b j 3"]:
        x = self.first(keypoints)
        for i, block in enumerate(self.blocks):
            x = x + block(x)
            if len(self.plugs):
                x = x + self.plugs[i](x)
            if len(self.refinements):
                x = self.refinements[i](x)
        points = self.last(x)
        return points - points[:, self.root, None]


class SimpleBaseline(nn.Module):
    """The fully connected network of Martinez et al. 2017, for comparison: (b, j, 2) -> (b, j, 3) around the root."""

    def __init__(self, graph: SkeletonGraph, width: int = 1024, blocks: int = 2, channels: int = 2, dropout: float = 0.5):
        super().__init__()
        self.root = graph.root
        self.lifter = Lifter(channels * len(graph), 3 * len(graph), width, blocks, dropout)

    def forward(self, keypoints: Float[Tensor, "b j c"]) -> Float[Tensor, "b j 3"]:
        points = self.lifter(keypoints.flatten(1)).unflatten(1, (keypoints.shape[1], 3))
        return points - points[:, self.root, None]


def mirrored(values: Float[Tensor, "*b j c"], graph: SkeletonGraph) -> Float[Tensor, "*b j c"]:
    """Keypoints or points of the mirror image: x changes its sign, left and right their places. Its own inverse."""
    return torch.cat((-values[..., :1], values[..., 1:]), -1)[..., list(graph.swap), :]


@torch.inference_mode()
def lift(model: nn.Module, keypoints: Float[Tensor, "*b j c"], graph: SkeletonGraph, flip: bool = True) -> Float[Tensor, "*b j 3"]:
    """The poses of normalised keypoints of any leading shape (frames, people); `flip` averages with the mirror image's.

    The model is used as it is: put it into eval mode. Normalise pixels by `codecs.lifting.normalise_keypoints`.
    """
    flat = keypoints.reshape(-1, *keypoints.shape[-2:])
    points = model(flat)
    if flip:
        points = (points + mirrored(model(mirrored(flat, graph)), graph)) / 2
    return points.reshape(*keypoints.shape[:-1], 3)


def loss(
    points: Float[Tensor, "b j 3"], target: Float[Tensor, "b j 3"], graph: SkeletonGraph, bones: float = BONE_WEIGHT
) -> Float[Tensor, ""]:
    """Mean distance of the joints (metres), and a share of the mean difference of the bones' lengths. An empty batch gives 0."""
    if not len(points):
        return points.sum()
    first, second = (torch.tensor([edge[end] for edge in graph.edges], device=points.device) for end in (0, 1))
    lengths = [(x[:, first] - x[:, second]).norm(dim=-1) for x in (points, target)]
    return (points - target).norm(dim=-1).mean() + bones * (lengths[0] - lengths[1]).abs().mean()


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration of our own file. Raises WeightsError if it is none. "all" and "peripheral" have the same weights: the default's."""
    dim, channels = need(state, "stem.weight", 2)
    stages = len({name.split(".")[1] for name in state if name.startswith("stages.")})
    count, joints, _ = need(state, "stages.0.hgf.attention.modulation", 3)
    bias = state.get("stages.0.hgf.attention.bias")
    if bias is None or bias.ndim not in (3, 4):
        raise WeightsError("stages.0.hgf.attention.bias is missing or has a wrong shape: it is not a checkpoint of this system")
    within = bias.ndim == 4
    known = {17: "h36m-17", 25: "ntu-25"}
    if joints not in known:
        raise WeightsError(f"no tree of {joints} joints is taken for granted: build HopFIR with its graph, and load the state yourself")
    found = Config(
        *(dim, stages, count - 1, bias.shape[1 if within else 0]),
        refine="peripheral" if any(".ijr." in name for name in state) else "none",
        mixing="within" if within else "across",
        channels=channels,
        skeleton=known[joints],
    )
    return next((config for config in VARIANTS.values() if config == found), found)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, HopFIR]:
    """The network of a file of ours, in eval mode; there are no published ones. Raises WeightsError, which lists all that doesn't fit."""
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    try:
        model = HopFIR(config)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error
    pour(model, renamed)
    return config, model.eval()


def variant_of(config: Config) -> str:
    """ "hopfir-" and the variant's name, or its width, stages and hops; and the keypoint set."""
    plain = replace(config, channels=2, skeleton="h36m-17")
    name = next(
        (name for name, known in VARIANTS.items() if known == plain and name != "nano"), f"{config.dim}-{config.stages}-{config.hops}"
    )
    return f"hopfir-{name}-{config.skeleton}"


def exported(config: Config, model: HopFIR) -> Exported:
    """What goes into an ONNX file: one frame's normalised keypoints in, points around the root out (metres, camera axes)."""
    kind = {"skeleton": config.skeleton, "family": "HopFIR", "subject": "body", "codec": "lift-frame"}
    card = Card(variant_of(config), "lift", f"{variant_of(config)}.onnx", **kind)
    return Exported(model, {"keypoints": (len(model.graph), config.channels)}, ("points",), card)


CARDS: tuple[Card, ...] = ()
"""None: no weights were ever published."""
