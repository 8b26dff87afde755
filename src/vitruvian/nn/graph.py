"""A skeleton as a graph, and the graph convolutions over its joints that lifting networks are made of: (b, j, i) -> (b, j, o).

| layer | y | of |
|---|---|---|
| GraphConv | A x W + x W0 | Kipf and Welling 2017, with a weight of its own for the joint itself |
| SemGraphConv | softmax(M) off the diagonal x W + softmax(M) on it x W0; M is learnt | SemGCN, Zhao et al. 2019, arXiv 1904.03345 |
| ModulatedGraphConv | (A + Q) ((x W) m), diagonal and rest with weights of their own; Q and m are learnt | Zou and Tang 2021 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton

APART = 1 << 16  # "distance" of joints between which there is no path


@dataclass(frozen=True)
class SkeletonGraph:
    """J joints and the edges between them; `swap` is the flip permutation, joints on the mid-line being their own partners.

    Raises VitruvianError where an edge leaves the joints or the swap is none.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    swap: tuple[int, ...]
    root: int = 0

    def __post_init__(self) -> None:
        count = len(self.names)
        if not all(0 <= joint < count for edge in self.edges for joint in edge) or not 0 <= self.root < count:
            raise VitruvianError(f"an edge or the root leaves the {count} joints: correct the graph")
        if len(self.swap) != count or any(not 0 <= j < count or self.swap[j] != i for i, j in enumerate(self.swap)):
            raise VitruvianError("the left-right swap is not an involution of all joints: correct the graph")

    @classmethod
    def of(cls, skeleton: Skeleton) -> SkeletonGraph:
        """The tree of a keypoint set, its root the tree's. Raises VitruvianError where the set is no tree."""
        if skeleton.parents is None:
            raise VitruvianError(f"{skeleton.name} is no tree: lift a set that is, such as h36m-17")
        edges = tuple((parent, joint) for joint, parent in enumerate(skeleton.parents) if parent >= 0)
        return cls(skeleton.names, edges, skeleton.swap, skeleton.parents.index(-1))

    def __len__(self) -> int:
        """The number of joints J."""
        return len(self.names)

    @cached_property
    def distance(self) -> Int64[np.ndarray, "j j"]:
        """Number of edges between joints."""
        count = len(self)
        out = np.full((count, count), APART)
        out[np.arange(count), np.arange(count)] = 0
        for a, b in self.edges:
            out[a, b] = out[b, a] = 1
        for via in range(count):
            out = np.minimum(out, out[:, via, None] + out[via])
        return np.minimum(out, APART)

    @property
    def diameter(self) -> int:
        """The largest distance."""
        return int(self.distance.max())

    def hop(self, k: int, normalise: bool = True) -> Float[np.ndarray, "j j"]:
        """1 where joints are k edges apart; with `normalise` rows sum to 1, or to 0 where there are no such joints."""
        out = (self.distance == k).astype(np.float32)
        return out / np.maximum(out.sum(1, keepdims=True), 1) if normalise else out

    def hops(self, most: int) -> Float[np.ndarray, "k1 j j"]:
        """The normalised tables of 0 to `most` hops. Raises VitruvianError where no two joints are so far apart."""
        if not 0 <= most <= self.diameter:
            raise VitruvianError(f"no joints are {most} hops apart, {self.diameter} is the most: choose fewer hops")
        return np.stack([self.hop(k) for k in range(most + 1)])

    @property
    def depth(self) -> Int64[np.ndarray, " j"]:
        """Distance of every joint from the root."""
        return self.distance[self.root]

    @cached_property
    def limbs(self) -> tuple[tuple[int, ...], ...]:
        """The trunk (joints on the mid-line), then every chain off it, led by the trunk's joint that it hangs on; all outwards."""
        middle = [joint for joint in range(len(self)) if self.swap[joint] == joint]
        groups = [tuple(sorted(middle, key=lambda joint: self.depth[joint]))] if middle else []
        left = set(range(len(self))) - set(middle)
        while left:
            grown, frontier = set(), [min(left)]
            while frontier:
                joint = frontier.pop()
                grown.add(joint)
                frontier += [b for b in left - grown if self.distance[joint, b] == 1]
            left -= grown
            hooks = [m for m in middle if any(self.distance[m, joint] == 1 for joint in grown)]
            groups.append((*hooks, *sorted(grown, key=lambda joint: self.depth[joint])))
        return tuple(groups)

    def reordered(self, order: Sequence[int]) -> SkeletonGraph:
        """The same graph with joint order[i] at place i."""
        place = {old: new for new, old in enumerate(order)}
        edges = tuple((place[a], place[b]) for a, b in self.edges)
        return SkeletonGraph(
            tuple(self.names[old] for old in order), edges, tuple(place[self.swap[old]] for old in order), place[self.root]
        )


def _two_weights(inputs: int, outputs: int) -> nn.Parameter:
    """(2, inputs, outputs): for the joint itself, for the others."""
    weight = torch.empty(2, inputs, outputs)
    for part in weight:
        nn.init.xavier_uniform_(part)
    return nn.Parameter(weight)


class GraphConv(nn.Module):
    """Mean of the neighbours and the joint itself, each with its own weights."""

    def __init__(self, inputs: int, outputs: int, graph: SkeletonGraph):
        super().__init__()
        self.weight, self.bias = _two_weights(inputs, outputs), nn.Parameter(torch.zeros(outputs))
        self.register_buffer("neighbours", torch.from_numpy(graph.hop(1)), persistent=False)

    def forward(self, x: Float[Tensor, "b j i"]) -> Float[Tensor, "b j o"]:
        return x @ self.weight[0] + self.neighbours @ (x @ self.weight[1]) + self.bias


class SemGraphConv(nn.Module):
    """How much every neighbour, and the joint itself, counts is learnt; the shares of a joint sum to 1."""

    def __init__(self, inputs: int, outputs: int, graph: SkeletonGraph):
        super().__init__()
        self.weight, self.bias = _two_weights(inputs, outputs), nn.Parameter(torch.zeros(outputs))
        self.register_buffer("near", torch.from_numpy(graph.distance <= 1), persistent=False)
        self.register_buffer("self_loop", torch.eye(len(graph)), persistent=False)
        self.edges = nn.Parameter(torch.ones(len(graph), len(graph)))  # only those of edges are looked at

    def shares(self) -> Float[Tensor, "j j"]:
        """The learnt adjacency; rows sum to 1."""
        return self.edges.masked_fill(~self.near, -torch.inf).softmax(-1)

    def forward(self, x: Float[Tensor, "b j i"]) -> Float[Tensor, "b j o"]:
        shares = self.shares()
        own, others = shares * self.self_loop, shares * (1 - self.self_loop)
        return own @ (x @ self.weight[0]) + others @ (x @ self.weight[1]) + self.bias


class ModulatedGraphConv(nn.Module):
    """Weights are modulated for every joint, and a learnt symmetric table adds edges that the skeleton has not."""

    def __init__(self, inputs: int, outputs: int, graph: SkeletonGraph):
        super().__init__()
        self.weight, self.bias = _two_weights(inputs, outputs), nn.Parameter(torch.zeros(outputs))
        self.modulation = nn.Parameter(torch.ones(len(graph), outputs))
        self.offset = nn.Parameter(torch.full((len(graph), len(graph)), 1e-6))
        near = (graph.distance <= 1).astype(np.float32)
        self.register_buffer("adjacency", torch.from_numpy(near / near.sum(1, keepdims=True)), persistent=False)
        self.register_buffer("self_loop", torch.eye(len(graph)), persistent=False)

    def forward(self, x: Float[Tensor, "b j i"]) -> Float[Tensor, "b j o"]:
        table = self.adjacency + (self.offset + self.offset.T) / 2
        own, others = table * self.self_loop, table * (1 - self.self_loop)
        return own @ ((x @ self.weight[0]) * self.modulation) + others @ ((x @ self.weight[1]) * self.modulation) + self.bias
