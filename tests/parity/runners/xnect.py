"""Runs the cases of "xnect": the published backbone as it is, fused, and pruned. What a case stores of a map is told by its shape."""

from __future__ import annotations

import re

import numpy as np
import torch
from tests.parity.fill import Case

STEPS = (1, 2, 4, 8, 16, 32, 3, 5, 6, 7)


def run(case: Case) -> dict[str, np.ndarray] | None:
    """Checkpoint -> our network -> its maps and logits; None for a case of a kind that is not known here."""
    inputs, stored = case.inputs(), case.meta["outputs"]
    if not any(name.endswith("conv6.0.weight") for name in case.meta["state"]) or len(inputs) != 1:
        return None
    from vitruvian.nn.selecsls import fuse, remaining
    from vitruvian.systems.pose3d.xnect import from_published

    _, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    image = torch.from_numpy(*inputs.values())
    pruned = "prun" in case.meta["variant"].lower() or "channels" in stored
    thin = model if model.config.fused else fuse(model, threshold(case))
    used = thin if pruned else model
    with torch.inference_mode():
        maps = used.maps(image)
        out = {"stem": maps[0], "features": maps[-1], **{f"block{i:02d}": value for i, value in enumerate(maps[1:])}}
        if used.config.head:
            out |= {"head": used.head(maps[-1]), "logits": used.logits(image), "logits_fused": thin.logits(image)}
    arrays = {name: as_stored(value.numpy(), tuple(stored[name]["shape"])) for name, value in out.items() if name in stored}
    return arrays | {"channels": np.array(remaining(used.config))}


def threshold(case: Case) -> float:
    """The pruning threshold that a case's words name; -1 (nothing is pruned) where they name none."""
    words = f"{case.meta['variant']} {case.meta['notes']}"
    found = re.search(r"gamma\|\s*(?:>|<=)\s*(-?[\d.]+(?:e-?\d+)?)|threshold\s*(?:of|=|is)?\s*(-?[\d.]+(?:e-?\d+)?)", words)
    return float(next(value for value in found.groups() if value).rstrip(".")) if found else -1.0


def as_stored(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Every n-th value along each axis, where the case stores that many."""
    if value.ndim != len(shape):
        return value
    for axis, length in enumerate(shape):
        step = next((step for step in STEPS if -(-value.shape[axis] // step) == length), 1)
        value = value.take(range(0, value.shape[axis], step), axis)
    return value
