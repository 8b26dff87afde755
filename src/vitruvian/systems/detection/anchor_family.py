"""What BPJDet, JointBDOE and our hSDB-instrument share: sizes of the anchor-based detector, reading checkpoints, the gains of the losses.

Published checkpoints have the same keys and differ in the number of outputs per anchor alone (cards bpjdet.md and jointbdoe.md, section 9).
Networks that were trained here have the names of `nn.csp_darknet`, and buffers that tell what shapes don't (`describe`); both are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitruvian.codecs.anchors import ANCHORS_P5, ANCHORS_P6
from vitruvian.errors import WeightsError
from vitruvian.nn.csp_darknet import ANCHORS_PER_CELL, BASE_WIDTHS, AnchorNet, Levels, Release, published_names, repeats
from vitruvian.systems.checkpoint import check_fit, count_parts, need, pour, rename

SIZES: dict[str, tuple[float, float]] = {  # width and depth factors
    "nano": (0.125, 0.33),
    "s": (0.5, 0.33),
    "m": (0.75, 0.67),
    "l": (1.0, 1.0),
    "x": (1.25, 1.33),
}
DROP = (r"^(module\.)?model\.\d+\.anchor_grid$",)
"""The anchors in pixels: those in strides, times the stride, are the same numbers, also in half precision."""

_PREFIX = re.compile(r"^module\.")
_SIZE, _PARTS = "input_size", "part_names"
_MOST_LETTERS, _MOST_PIXELS = 1 << 16, 1 << 14


@dataclass(frozen=True)
class Trunk:
    """A network of the family: scale, number of levels, release of the backbone, numbers per anchor."""

    width: float
    depth: float
    outputs: int
    levels: Levels = 4
    release: Release = 5

    def build(self) -> AnchorNet:
        """The network with anchors to start from, its weights drawn at random."""
        return AnchorNet(self.width, self.depth, self.outputs, self.start_anchors(), self.levels, self.release)

    def start_anchors(self) -> Tensor:
        """(levels, 3, 2) in strides."""
        pixels = torch.tensor(ANCHORS_P5 if self.levels == 3 else ANCHORS_P6, dtype=torch.float32)
        return pixels / torch.tensor([8 << level for level in range(self.levels)])[:, None, None]


def infer_trunk(state: Mapping[str, Tensor]) -> Trunk:
    """The network that a state dict, published or ours, is of, from its keys and shapes. Raises WeightsError when it is of none."""
    state = {_PREFIX.sub("", name): value for name, value in state.items()}
    if "head.0.weight" in state:
        return _trunk_of_ours(state)
    levels: Levels = 4 if "model.33.m.0.weight" in state else 3
    release: Release = 5 if "model.0.conv.conv.weight" in state else 6
    outputs, _, *_ = need(state, f"model.{9 * levels - 3}.m.0.weight", 4)
    stem, *_ = need(state, f"model.0.conv.{'conv.' if release == 5 else ''}weight", 4)
    return _trunk(levels, release, outputs, stem, count_parts(state, "model.6.m."))


def _trunk_of_ours(state: Mapping[str, Tensor]) -> Trunk:
    """The same from the names of `nn.csp_darknet`."""
    levels: Levels = 4 if "head.3.weight" in state else 3
    release: Release = 5 if "backbone.stem.conv.conv.weight" in state else 6
    outputs, *_ = need(state, "head.0.weight", 4)
    stem, *_ = need(state, f"backbone.stem.conv.{'conv.' if release == 5 else ''}weight", 4)
    return _trunk(levels, release, outputs, stem, count_parts(state, "backbone.stage.2.blocks."))


def _trunk(levels: Levels, release: Release, outputs: int, stem: int, blocks: int) -> Trunk:
    """The network with so many outputs, channels of the stem, and blocks in the third stage. Raises WeightsError where they fit none."""
    if outputs % ANCHORS_PER_CELL or not blocks:
        raise WeightsError(f"{outputs} outputs and {blocks} blocks fit no anchor-based detector: it is a checkpoint of another system")
    depth = next((known for _, known in SIZES.values() if repeats(9, known) == blocks), blocks / 9)
    return Trunk(stem / BASE_WIDTHS[levels][0], depth, outputs // ANCHORS_PER_CELL, levels, release)


def fill(build: Callable[[], AnchorNet], state: Mapping[str, Tensor], trunk: Trunk) -> AnchorNet:
    """Build a network and fill it from a state dict of that trunk, published or ours; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, ((_PREFIX.pattern, ""), *published_names(trunk.levels, trunk.release)), DROP)
    told = {name: renamed.pop(name) for name in (_SIZE, _PARTS) if name in renamed}
    with torch.device("meta"):
        check_fit(build(), renamed)  # before memory is taken for what a damaged file asks for
    model = build()
    for name, value in told.items():
        model.register_buffer(name, value)
    pour(model, {name: value.float() if value.is_floating_point() else value for name, value in (renamed | told).items()})
    return model.eval()


def describe(model: AnchorNet, input_size: tuple[int, int], parts: Sequence[str] = ()) -> AnchorNet:
    """Let a network carry what its shapes don't tell: the size it is trained at, and the names of the parts it finds."""
    model.register_buffer(_SIZE, torch.tensor(input_size))
    if parts:
        model.register_buffer(_PARTS, spelt(parts))
    return model


def told_size(state: Mapping[str, Tensor], trunk: Trunk, otherwise: tuple[int, int]) -> tuple[int, int]:
    """(width, height) that a network was trained at, `otherwise` where it doesn't say. Raises WeightsError where that can't be."""
    value = _entry(state, _SIZE)
    if value is None:
        return otherwise
    step = 4 << trunk.levels
    if value.shape != (2,) or value.dtype != torch.int64 or not all(0 < x <= _MOST_PIXELS and x % step == 0 for x in value.tolist()):
        raise WeightsError(f"{_SIZE} is no width and height in steps of {step} pixels: the checkpoint is damaged")
    width, height = value.tolist()
    return width, height


def told_parts(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the parts that a network finds, none where it doesn't say. Raises WeightsError as `read_names`."""
    return read_names(state, _PARTS)


def spelt(names: Sequence[str]) -> Tensor:
    """Names as a tensor that a checkpoint can hold: UTF-8, a line each."""
    return torch.tensor(list("\n".join(names).encode()), dtype=torch.uint8)


def read_names(state: Mapping[str, Tensor], entry: str) -> tuple[str, ...]:
    """What `spelt` wrote, none where there is no such entry. Raises WeightsError where they are no names, each once."""
    value = _entry(state, entry)
    if value is None:
        return ()
    try:
        if value.dtype != torch.uint8 or value.ndim != 1 or not 0 < len(value) <= _MOST_LETTERS:
            raise ValueError("no text")
        names = tuple(bytes(value.tolist()).decode().split("\n"))
        if len(set(names)) < len(names) or not all(name.isprintable() and name.strip() for name in names):
            raise ValueError("no names, each once")
    except ValueError as error:
        raise WeightsError(f"{entry} says nothing ({error}): the checkpoint is damaged") from error
    return names


def _entry(state: Mapping[str, Tensor], name: str) -> Tensor | None:
    return next((value for key, value in state.items() if _PREFIX.sub("", key) == name), None)


def gains(levels: int, classes: int, size: tuple[int, int]) -> dict[str, float]:
    """What the box, objectness and class losses are multiplied by, for an input of `size` (card bpjdet.md section 6)."""
    share = 3 / levels
    return {"box": 0.05 * share, "objectness": 0.7 * size[0] * size[1] / 640**2 * share, "class": 0.3 * classes / 80 * share}


def size_name(width: float, depth: float) -> str:
    """ "s", "m", ...; sizes that are not published as "w0.3-d1"."""
    return next((name for name, known in SIZES.items() if known == (width, depth)), f"w{width:g}-d{depth:g}")
