"""Skeletons as graphs: hops, limbs, and the graph convolutions."""

import numpy as np
import pytest
import torch

from vitruvian.errors import VitruvianError
from vitruvian.nn.graph import GraphConv, ModulatedGraphConv, SemGraphConv, SkeletonGraph
from vitruvian.skeletons import COCO_17, H36M_17, NTU_25

GRAPH = SkeletonGraph.of(H36M_17)
CONVS = (GraphConv, SemGraphConv, ModulatedGraphConv)


def test_hops_share_out_all_pairs():
    tables = [GRAPH.hop(k, normalise=False) for k in range(GRAPH.diameter + 1)]
    assert (sum(tables) == 1).all()
    assert [int(t.sum()) for t in tables] == [17, 32, 38, 44, 50, 44, 36, 20, 8]


def test_rows_of_a_hop_are_means():
    for k in range(GRAPH.diameter + 1):
        assert np.isin(GRAPH.hop(k).sum(1).round(6), (0, 1)).all()
    neighbours = GRAPH.hop(1, normalise=False)
    assert np.allclose(GRAPH.hop(1), neighbours / neighbours.sum(1, keepdims=True))
    assert (GRAPH.hop(0) == np.eye(17)).all()


def test_farthest_joints_are_wrists_and_ankles():
    a, b = (H36M_17.index(name) for name in ("left_wrist", "right_foot"))
    assert GRAPH.diameter == GRAPH.distance[a, b] == 8
    assert GRAPH.distance[H36M_17.index("head"), b] == 7


def test_limbs_hang_on_the_trunk():
    assert GRAPH.limbs == ((0, 7, 8, 9, 10), (0, 1, 2, 3), (0, 4, 5, 6), (8, 11, 12, 13), (8, 14, 15, 16))
    limbs = SkeletonGraph.of(NTU_25).limbs
    assert sorted(j for limb in limbs for j in limb[1 if limb != limbs[0] else 0 :]) == list(range(25))


def test_more_hops_than_the_graph_has_are_refused():
    with pytest.raises(VitruvianError, match="8 is the most"):
        GRAPH.hops(9)


def test_sets_without_a_tree_are_refused():
    with pytest.raises(VitruvianError, match="no tree"):
        SkeletonGraph.of(COCO_17)


def test_contradictions_are_refused():
    with pytest.raises(VitruvianError, match="leaves"):
        SkeletonGraph(("a", "b"), ((0, 2),), (0, 1))
    with pytest.raises(VitruvianError, match="involution"):
        SkeletonGraph(("a", "b", "c"), ((0, 1),), (1, 2, 0))


@pytest.mark.parametrize("conv", CONVS)
def test_only_neighbours_are_heard(conv):
    torch.manual_seed(0)
    layer = conv(4, 5, GRAPH)
    if conv is ModulatedGraphConv:
        torch.nn.init.zeros_(layer.offset)
    x = torch.randn(2, 17, 4)
    moved = x.clone()
    moved[:, 2] += 1
    changed = ((layer(x) - layer(moved)).abs() > 1e-6).any(-1).any(0)
    assert changed.nonzero().flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize("conv", CONVS)
def test_renaming_joints_renames_the_answer(conv):
    torch.manual_seed(0)
    order = torch.randperm(17)
    layer, other = conv(4, 5, GRAPH), conv(4, 5, GRAPH.reordered(order.tolist()))
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 17, 4)
    assert torch.allclose(layer(x)[:, order], other(x[:, order]), atol=1e-6)


def test_shares_of_sem_convolution_sum_to_one_over_edges():
    layer = SemGraphConv(2, 2, GRAPH)
    torch.nn.init.normal_(layer.edges)
    shares = layer.shares()
    assert torch.allclose(shares.sum(1), torch.ones(17))
    assert ((shares > 0).numpy() == (GRAPH.distance <= 1)).all()
