"""HopFIR: attention within hops, refinement of limbs, plug-in, mirror, files and export."""

from dataclasses import replace

import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.nn.graph import SkeletonGraph
from vitruvian.skeletons import H36M_17, NTU_25
from vitruvian.systems.checkpoint import read_state, write_state
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose3d import hopfir
from vitruvian.systems.pose3d.hopfir import VARIANTS, GraphLifter, HopAttention, HopFIR, LimbRefinement, SimpleBaseline, lift

GRAPH = SkeletonGraph.of(H36M_17)
NANO = VARIANTS["nano"]
MODES = [NANO, replace(NANO, mixing="across"), replace(NANO, refine="all"), replace(NANO, refine="none", channels=3, stages=1)]


def network(config=NANO, graph=None):
    torch.manual_seed(0)
    return HopFIR(config, graph)


@pytest.mark.parametrize("config", MODES, ids=["default", "across", "all", "confidence"])
def test_batch_equals_single_and_empty_is_empty(config):
    model = network(config).eval()
    x = torch.randn(3, 17, config.channels)
    with torch.inference_mode():
        together, alone, none = model(x), model(x[1:2]), model(x[:0])
    assert together.shape == (3, 17, 3) and none.shape == (0, 17, 3)
    assert torch.isfinite(together).all()
    assert torch.allclose(together[1:2], alone, atol=1e-5)
    assert (together[:, 0] == 0).all()


@pytest.mark.parametrize("config", MODES, ids=["default", "across", "all", "confidence"])
def test_loss_sends_a_gradient_to_every_parameter(config):
    model = network(config)
    hopfir.loss(model(torch.randn(4, 17, config.channels)), torch.randn(4, 17, 3), GRAPH).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize(("name", "millions"), [("t", 0.106), ("s", 0.504), ("m", 1.687)])
def test_sizes_are_the_documented_ones(name, millions):
    assert sum(p.numel() for p in HopFIR(VARIANTS[name]).parameters()) == pytest.approx(millions * 1e6, rel=0.01)


def test_renaming_joints_renames_the_answer():
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    model = network().eval()
    other = network(graph=GRAPH.reordered(order.tolist())).eval()
    state = model.state_dict()
    for name in state:
        if name == "joints":
            state[name] = state[name][order]
        elif name.endswith("modulation"):
            state[name] = state[name][:, order]
        elif name.endswith("attention.bias"):
            state[name] = torch.randn(state[name].shape)
    model.load_state_dict({**state, **{n: unordered(n, v, order) for n, v in state.items()}})
    other.load_state_dict(state)
    x = torch.randn(2, 17, 2)
    assert torch.allclose(model(x)[:, order], other(x[:, order]), atol=1e-5)


def unordered(name, value, order):
    """Joints of a reordered parameter in the first order again."""
    back = torch.argsort(order)
    if name == "joints":
        return value[back]
    if name.endswith("modulation"):
        return value[:, back]
    if name.endswith("attention.bias"):
        return value[..., back, :][..., back]
    return value


def test_distant_neighbourhoods_see_each_other_within_a_hop():
    torch.manual_seed(0)
    layer = HopAttention(16, GRAPH, 1, 2)
    x = torch.randn(1, 17, 16)
    moved = x.clone()
    moved[:, 16] += 1  # a wrist
    assert ((layer(x) - layer(moved))[0, 3].abs() > 1e-6).any()  # the other side's ankle


def test_without_hops_a_joint_is_its_own_group():
    layer = HopAttention(8, GRAPH, 0, 2, "across")
    x = torch.randn(1, 17, 8)
    moved = x.clone()
    moved[:, 16] += 1
    changed = ((layer(x) - layer(moved)).abs() > 1e-7).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [16]


@pytest.mark.parametrize("mixing", ["within", "across"])
def test_empty_groups_give_no_nan(mixing):
    layer = HopAttention(16, GRAPH, 8, 1, mixing)
    assert layer.empty[8].sum() == 17 - 4  # only wrists and ankles have neighbours eight hops away
    assert torch.isfinite(layer(torch.randn(2, 17, 16))).all()


def test_empty_groups_are_never_heard():
    torch.manual_seed(0)
    layer = HopAttention(16, GRAPH, 8, 1)
    x = torch.randn(2, 17, 16)
    before = layer(x)
    with torch.no_grad():
        layer.bias[8, :, :, layer.empty[8]] += 100.0  # whatever the biases say of them
    assert torch.equal(layer(x), before)


def test_trunk_passes_refinement_unchanged_and_limbs_do_not():
    torch.manual_seed(0)
    layer = LimbRefinement(GRAPH, 16, 4)
    x = torch.randn(2, 17, 16)
    y = layer(x)
    trunk = list(GRAPH.limbs[0])
    assert torch.equal(x[:, trunk], y[:, trunk])
    rest = [j for j in range(17) if j not in trunk]
    assert ((x - y)[:, rest].abs().amax(-1) > 1e-4).all()


def test_refinement_flows_outwards_within_a_limb():
    torch.manual_seed(0)
    layer = LimbRefinement(GRAPH, 16, 4)
    x = torch.randn(1, 17, 16)

    def touched(joint):
        moved = x.clone()
        moved[:, joint] += torch.randn(16)
        return ((layer(moved) - layer(x)).abs() > 1e-6).any(-1)[0].nonzero().flatten().tolist()

    assert touched(11) == [11, 12, 13]  # shoulder: elbow and wrist hear of it
    assert touched(13) == [12, 13]  # wrist: the shoulder, two joints further in, does not
    assert touched(8) == [8, 11, 12, 13, 14, 15, 16]  # both arms hang on the thorax


def test_plug_in_starts_silent():
    torch.manual_seed(0)
    plain = GraphLifter(GRAPH, "sem", 32, 2).eval()
    plugged = GraphLifter(GRAPH, "sem", 32, 2, hops=3).eval()
    plugged.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 17, 2)
    assert torch.equal(plain(x), plugged(x))
    with torch.no_grad():
        plugged.plugs[0].fuse.weight.normal_()
    assert not torch.allclose(plain(x), plugged(x))


def test_refinement_as_a_plug_in_starts_silent():
    torch.manual_seed(0)
    plain, plugged = (GraphLifter(GRAPH, "sem", 32, 2, refine=refine).eval() for refine in ("none", "peripheral"))
    plugged.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 17, 2)
    assert torch.equal(plain(x), plugged(x))
    with torch.no_grad():
        plugged.refinements[1].out.weight.normal_()
    assert not torch.allclose(plain(x), plugged(x))


@pytest.mark.parametrize("kind", ["plain", "sem", "modulated"])
def test_hosts_train(kind):
    model = GraphLifter(GRAPH, kind, 16, 1, hops=2)
    with torch.no_grad():
        model.plugs[0].fuse.weight.normal_()
    points = model(torch.randn(4, 17, 2))
    assert (points[:, 0] == 0).all()
    hopfir.loss(points, torch.randn(4, 17, 3), GRAPH).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_simple_baseline_trains():
    model = SimpleBaseline(GRAPH, 32, 1)
    hopfir.loss(model(torch.randn(4, 17, 2)), torch.randn(4, 17, 3), GRAPH).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_mirror_twice_is_the_identity():
    x = torch.randn(2, 17, 3)
    assert torch.equal(hopfir.mirrored(hopfir.mirrored(x, GRAPH), GRAPH), x)
    assert torch.equal(hopfir.mirrored(x, GRAPH)[:, 1, 0], -x[:, 4, 0])


def test_lifting_with_the_mirror_commutes_with_it():
    model = network().eval()
    x = torch.randn(2, 5, 17, 2)
    there = hopfir.mirrored(lift(model, hopfir.mirrored(x, GRAPH), GRAPH), GRAPH)
    assert torch.allclose(there, lift(model, x, GRAPH), atol=1e-5)
    assert lift(model, x[:, :0], GRAPH).shape == (2, 0, 17, 3)


def test_loss_is_distance_and_bones():
    target = torch.randn(3, 17, 3)
    assert hopfir.loss(target, target, GRAPH) == 0
    assert float(hopfir.loss(target + torch.tensor([0.03, 0.04, 0.0]), target, GRAPH)) == pytest.approx(0.05, rel=1e-4)
    assert float(hopfir.loss(2 * target, target, GRAPH)) > float(hopfir.loss(2 * target, target, GRAPH, bones=0.0))
    assert hopfir.loss(target[:0], target[:0], GRAPH) == 0


@pytest.mark.parametrize("config", [*MODES, VARIANTS["s"], replace(NANO, skeleton="ntu-25")], ids=str)
def test_own_files_come_back(config, tmp_path):
    write_state(network(config).state_dict(), tmp_path / "net.safetensors", {"skeleton": config.skeleton})
    found, model = hopfir.from_published(read_state(tmp_path / "net.safetensors"))
    assert found == (replace(config, refine="peripheral") if config.refine == "all" else config)
    assert not model.training


def test_what_does_not_fit_is_listed():
    state = network().state_dict()
    del state["head.1.bias"]
    state["surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"head\.1\.bias.*surprise"):
        hopfir.from_published(state)
    with pytest.raises(WeightsError, match="another system|not a checkpoint"):
        hopfir.from_published({"conv.weight": torch.zeros(1)})


def test_unknown_number_of_joints_is_refused():
    state = network(graph=SkeletonGraph.of(NTU_25)).state_dict()
    state["stages.0.hgf.attention.modulation"] = torch.zeros(3, 9, 16)
    with pytest.raises(WeightsError, match="9 joints"):
        hopfir.from_published(state)


@pytest.mark.parametrize("config", [NANO, pytest.param(MODES[1], marks=pytest.mark.slow)], ids=["within", "across"])
def test_export_equals_torch(config, tmp_path):
    card, worst = write_onnx(hopfir.exported(config, network(config).eval()), tmp_path / "lifter.onnx")
    assert worst < 1e-4
    assert (card.task, card.codec, card.skeleton) == ("lift", "lift-frame", "h36m-17")


def test_it_learns_to_lift_a_turning_stick_person():
    torch.manual_seed(0)
    rest = torch.randn(17, 3)
    rest = rest - rest[0]
    angle = torch.rand(64) - 0.5
    turn = torch.zeros(64, 3, 3)
    turn[:, 0, 0] = turn[:, 2, 2] = angle.cos()
    turn[:, 0, 2], turn[:, 2, 0] = angle.sin(), -angle.sin()
    turn[:, 1, 1] = 1
    points = rest @ turn
    model = network(replace(NANO, dim=32, stages=1, dropout=0.0))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(120):
        loss = hopfir.loss(model(points[..., :2]), points, GRAPH)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.15 * points.norm(dim=-1).mean()
