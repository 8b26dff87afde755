"""HRNet (Sun et al. 2019, arXiv 1902.09212): branches of strides 4, 8, 16, 32 side by side that exchange their maps after every module.

Names are those of the published files (cards danet.md, pymaf-x.md, zolly.md, opencapbench.md): conv1, bn1, conv2, bn2, layer1,
transition{1-3}, stage{2-4}.{module}.{branches,fuse_layers}. Widths are w, 2w, 4w, 8w: W32 and W48.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.resnet import BasicBlock, Bottleneck, conv, residual_layer

MODULES = (1, 4, 3)  # of stages 2, 3, 4
BLOCKS = 4  # per branch of a module, and of layer1

Maps = list[Float[Tensor, "b c h w"]]


def step(inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution, normalisation and (unless it ends a sum's term) ReLU, named by their places."""
    return nn.Sequential(conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs), *([nn.ReLU()] if relu else []))


def fusion(source: int, target: int, widths: Sequence[int]) -> nn.Module | None:
    """What brings branch `source` to the size of branch `target`: up by a 1x1 and nearest neighbours, down by strided 3x3 convolutions."""
    if source == target:
        return None
    if source > target:
        up = nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest")
        return nn.Sequential(*step(widths[source], widths[target], 1, relu=False), up)
    inner = (step(widths[source], widths[source], 3, 2) for _ in range(target - source - 1))
    return nn.Sequential(*inner, step(widths[source], widths[target], 3, 2, relu=False))


class Module(nn.Module):
    """Four basic blocks per branch, then every map becomes the sum of all, brought to its size. `outputs` is the number of maps given."""

    def __init__(self, widths: Sequence[int], outputs: int, count: int = BLOCKS):
        super().__init__()
        self.branches = nn.ModuleList(residual_layer(BasicBlock, width, width, count) for width in widths)
        rows = ([fusion(source, target, widths) for source in range(len(widths))] for target in range(outputs))
        # A row keeps an empty place for its own branch, as the published names do.
        self.fuse_layers = nn.ModuleList(nn.ModuleList(nn.Identity() if layer is None else layer for layer in row) for row in rows)

    def forward(self, maps: Maps) -> Maps:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [F.relu(sum(layer(x) for layer, x in zip(row, maps, strict=True))) for row in self.fuse_layers]


class HRNet(nn.Module):
    """Normalised pictures -> maps of strides 4, 8, 16, 32 with `self.channels` channels; with `finest` only the first of them.

    Published heat-map networks are `finest`: their last module lacks the other rows. Sides must be multiples of 32.
    `modules` and `count` (blocks per branch) shrink a network for tests.
    """

    def __init__(self, width: int = 48, finest: bool = False, modules: Sequence[int] = MODULES, count: int = BLOCKS, stem: int = 64):
        super().__init__()
        widths = tuple(width * 2**i for i in range(4))
        self.channels = widths[: 1 if finest else 4]
        self.conv1, self.bn1 = conv(3, stem, 3, 2), nn.BatchNorm2d(stem)
        self.conv2, self.bn2 = conv(stem, stem, 3, 2), nn.BatchNorm2d(stem)
        self.layer1 = residual_layer(Bottleneck, stem, 4 * stem, count)
        before: tuple[int, ...] = (4 * stem,)
        for number, modules_here in enumerate(modules, 1):
            now = widths[: number + 1]
            setattr(self, f"transition{number}", self._transition(before, now))
            outputs = [len(now)] * (modules_here - 1) + [1 if finest and number == len(modules) else len(now)]
            setattr(self, f"stage{number + 1}", nn.Sequential(*(Module(now, rows, count) for rows in outputs)))
            before = now

    @staticmethod
    def _transition(before: tuple[int, ...], now: tuple[int, ...]) -> nn.ModuleList:
        """To the widths of a stage: a 3x3 where a branch's changes, and a strided one from the coarsest map for the new branch."""
        kept = [step(a, b, 3) if a != b else nn.Identity() for a, b in zip(before, now, strict=False)]
        return nn.ModuleList([*kept, nn.Sequential(step(before[-1], now[-1], 3, 2))])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(image))))))
        maps = [self.layer1(x)]
        for number in (1, 2, 3):
            transition = getattr(self, f"transition{number}")
            maps = [layer(maps[min(i, len(maps) - 1)]) for i, layer in enumerate(transition)]
            maps = getattr(self, f"stage{number + 1}")(maps)
        return tuple(maps)
