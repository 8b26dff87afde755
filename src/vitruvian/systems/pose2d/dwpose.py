"""DWPose: whole-body pose by two-stage distillation (Yang et al., ICCV workshops 2023, arXiv 2307.15880).

Idea
    No new network: a recipe that makes an RTMPose, or an RTMW (`rtmw.py`), better. Stage 1 trains a student with the labels and two more
    terms: imitate the teacher's last feature map, and the teacher's SimCC distributions of ALL keypoints, labelled or not. Both terms fade
    linearly to zero, so the labels have the last word. Stage 2 freezes the trained network and trains a fresh head on its features, taught
    only by its own old head.

Paper -> here
    feature distillation     feature_loss, align_layer
    logit distillation       logit_loss
    weight decay r(t)        decay
    first stage              FirstStage
    second stage             SecondStage

    stage   labels  feature  logit  fades  trained
    first   yes     7e-5     0.1    yes    whole student (t, s, m from l; l from x), 270 epochs
    second  no      -        1      no     head only, 60 epochs

Published figures (COCO-WholeBody v1.0 val, whole AP): t 48.5, s 53.8, m 60.6, l 63.1, l-384 66.5.

Deviations
    None in the losses (weights are those of the released configurations). The published second stage keeps the learning-rate schedule of
    270 epochs although it ends after 60; which schedule to use is the trainer's choice here. How RTMW's "dw" files were distilled was never
    published: here the map to imitate is the neck's of stride 32, with the same weights, and the label loss stays RTMPose's.

Licences
    Published code: Apache-2.0 (IDEA-Research/DWPose, open-mmlab/mmpose). Published weights: no text of their own, trained on COCO-WholeBody
    and UBody annotations, which are for non-commercial research. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.systems.pose2d import rtmw
from vitruvian.systems.pose2d.rtmw import RTMW, Config, RTMPose, SimCC, SimCC3D, bin_divergence, simcc_loss

FEATURE_WEIGHT = 7e-5
LOGIT_WEIGHT = (0.1, 1.0)  # first and second stage
BETA = 10.0

# Of a raw checkpoint of either stage: what is neither student nor frozen teacher (the layers that meet the teacher's features), and heads
# that were only asked.
DROP = (r"^(?!student\.|teacher\.)", r"^teacher\.head\.", r"^(student|teacher)\.data_preprocessor\.")

VARIANTS: dict[str, Config] = {name: rtmw.VARIANTS[name] for name in ("nano", "t", "s", "m", "l", "l-384")}


def decay(epoch: int, epochs: int) -> float:
    """r(t) = 1 - epoch / epochs: the weight of both distillation terms; `epoch` counts from 0."""
    return 1.0 - epoch / epochs


def align_layer(student: RTMPose | RTMW, teacher: RTMPose | RTMW) -> nn.Module:
    """What brings the student's last features to the teacher's channels: a 1x1 convolution, or nothing where they agree."""
    s, t = student.backbone.channels[-1], teacher.backbone.channels[-1]
    return nn.Identity() if s == t else nn.Conv2d(s, t, 1)


def feature_loss(student: Float[Tensor, "b c h w"], teacher: Float[Tensor, "b c h w"], weight: float = FEATURE_WEIGHT) -> Float[Tensor, ""]:
    """Weighted sum of squared differences per image, averaged over the batch, in float32. An empty batch gives 0."""
    return weight * (student.float() - teacher.float()).square().sum() / max(len(student), 1)


def logit_loss(
    student: SimCC | SimCC3D, teacher: SimCC | SimCC3D, weight: float = LOGIT_WEIGHT[0], beta: float = BETA
) -> Float[Tensor, ""]:
    """KL( softmax(beta * teacher) || softmax(beta * student) ) over the bins, the axes added, averaged over keypoints and batch.

    Visibility plays no part: the teacher has an opinion on unlabelled keypoints too, and that is what the student gains.
    """
    batch, keypoints = student.x.shape[:2]
    total = sum(bin_divergence(s, t, beta, beta).sum() for s, t in zip(student, teacher, strict=True))
    return weight * total / max(batch * keypoints, 1)


class Taught(nn.Module):
    """What learns from a teacher, which stays frozen and in eval mode."""

    def __init__(self, teacher: RTMPose | RTMW):
        super().__init__()
        self.teacher = teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> Taught:
        super().train(mode)
        self.teacher.eval()
        return self


class FirstStage(Taught):
    """Trains `student` with labels and teacher. The teacher stays frozen and in eval mode; parameters to optimise: student and align."""

    def __init__(self, student: RTMPose | RTMW, teacher: RTMPose | RTMW):
        super().__init__(teacher)
        self.student = student
        self.align = align_layer(student, teacher)
        self.train()

    def forward(
        self, image: Float[Tensor, "b 3 h w"], target: SimCC, weight: Float[Tensor, "b k"], epoch: int, epochs: int
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses "label", "feature", "logit" (the latter two already faded) and their sum "total". Arguments as for `simcc_loss`."""
        features = self.student.features(image)
        prediction = self.student.head(*features)
        with torch.no_grad():
            teacher_features = self.teacher.features(image)
            opinion = self.teacher.head(*teacher_features)
        fade = decay(epoch, epochs)
        out = {
            "label": simcc_loss(prediction, target, weight),
            "feature": fade * feature_loss(self.align(features[-1]), teacher_features[-1]),
            "logit": fade * logit_loss(prediction, opinion, LOGIT_WEIGHT[0]),
        }
        return {**out, "total": out["label"] + out["feature"] + out["logit"]}


class SecondStage(Taught):
    """Trains a fresh head on a frozen network's features, with that network's own head as the only teacher."""

    def __init__(self, teacher: RTMPose | RTMW):
        super().__init__(teacher)
        self.head = type(teacher.head)(teacher.backbone.channels[-1], teacher.config)
        self.train()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """The logit loss with weight 1; no labels."""
        with torch.no_grad():
            features = self.teacher.features(image)
            opinion = self.teacher.head(*features)
        return logit_loss(self.head(*features), opinion, LOGIT_WEIGHT[1])

    def result(self) -> RTMPose | RTMW:
        """The network to keep: what was frozen, with the new head (shared, not copied)."""
        network = rtmw.network(self.teacher.config)
        for name, part in self.teacher.named_children():
            setattr(network, name, part)
        network.head = self.head
        return network.eval()


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, RTMPose | RTMW]:
    """Build and fill the network of a released DWPose file, or of a raw distillation checkpoint of either stage; in eval mode.

    A first-stage checkpoint gives its student, a second-stage one what was frozen of the teacher with the student's head.
    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    if any(name.startswith("student.") for name in state):
        whole = any(name.startswith("student.backbone.") for name in state)
        keep = ("student.",) if whole else ("student.head.", "teacher.backbone.", "teacher.neck.")
        state = {name.split(".", 1)[1]: value for name, value in state.items() if name.startswith(keep)}
    return rtmw.from_published(state)
