"""DWPose: what each stage trains, and what stays as it was."""

import pytest
import torch

from vitruvian.systems.pose2d.dwpose import FirstStage, SecondStage, decay, feature_loss, from_published, logit_loss
from vitruvian.systems.pose2d.rtmw import Config, RTMPose, SimCC

SMALL = Config(0.125, 0.167, (64, 64), keypoints=5, token=32, shared=16, kernel=3)
LARGE = Config(0.25, 0.167, (64, 64), keypoints=5, token=32, shared=16, kernel=3)


def batch():
    return torch.randn(2, 3, 64, 64), SimCC(torch.rand(2, 5, 128), torch.rand(2, 5, 128)), torch.ones(2, 5)


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def unchanged(module, before):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_decay_runs_from_one_to_one_epoch_short_of_zero():
    assert decay(0, 270) == 1.0
    assert decay(269, 270) == pytest.approx(1 / 270)


def test_losses_vanish_when_the_student_agrees():
    x = torch.randn(2, 8, 4, 4)
    assert feature_loss(x, x) == 0
    z = SimCC(torch.randn(2, 5, 64), torch.randn(2, 5, 80))
    assert logit_loss(z, z) == pytest.approx(0, abs=1e-6)
    assert logit_loss(SimCC(z.x[:0], z.y[:0]), SimCC(z.x[:0], z.y[:0])) == 0


def test_first_stage_trains_student_and_alignment_but_not_the_teacher():
    torch.manual_seed(0)
    stage = FirstStage(RTMPose(SMALL), RTMPose(LARGE)).train()
    teacher = snapshot(stage.teacher)
    image, target, weight = batch()
    losses = stage(image, target, weight, epoch=0, epochs=10)
    losses["total"].backward()
    torch.optim.SGD([p for p in stage.parameters() if p.requires_grad], 0.1).step()
    assert unchanged(stage.teacher, teacher)
    assert all(p.grad is not None for p in (*stage.student.parameters(), *stage.align.parameters()))
    assert losses["total"].item() == pytest.approx(sum(losses[name].item() for name in ("label", "feature", "logit")))


def test_first_stage_fades_the_teacher_but_not_the_labels():
    torch.manual_seed(0)
    stage = FirstStage(RTMPose(SMALL), RTMPose(SMALL)).eval()
    image, target, weight = batch()
    early, late = (stage(image, target, weight, epoch, 10) for epoch in (0, 9))
    assert late["label"] == early["label"]
    assert late["feature"].item() == pytest.approx(0.1 * early["feature"].item(), rel=1e-4)
    assert late["logit"].item() == pytest.approx(0.1 * early["logit"].item(), rel=1e-4)


def test_second_stage_keeps_the_backbone_bit_for_bit():
    torch.manual_seed(0)
    network = RTMPose(SMALL)
    backbone = snapshot(network.backbone)
    stage = SecondStage(network).train()
    optimiser = torch.optim.AdamW(stage.head.parameters(), 1e-3)
    image = torch.randn(4, 3, 64, 64)
    for _ in range(2):
        loss = stage(image)
        loss.backward()
        optimiser.step()
    result = stage.result()
    assert unchanged(result.backbone, backbone)
    assert result.head is stage.head and result.head is not network.head


@pytest.mark.parametrize("second", [False, True])
def test_distillation_checkpoints_give_the_network_to_keep(second):
    student, teacher = RTMPose(SMALL).eval(), RTMPose(SMALL).eval()
    state = {f"teacher.{name}": value for name, value in teacher.state_dict().items()}
    state |= {f"student.{name}": value for name, value in student.state_dict().items() if not second or name.startswith("head.")}
    state["distill_losses.loss_fea.align.weight"] = torch.zeros(1)
    _, network = from_published(state)
    features = (teacher if second else student).backbone(image := torch.randn(1, 3, 64, 64))[-1]
    assert torch.equal(network(image).x, student.head(features).x)
