"""Runs the cases of "rmpg": host networks, whole, with or without the module."""

from __future__ import annotations

import numpy as np
import torch
from tests.parity.fill import Case


def run(case: Case) -> dict[str, np.ndarray] | None:
    """Checkpoint -> our network -> heat maps; None for a case of a kind that is not known here.

    Of a network with several stacks a case may store all maps ("heatmaps_0", ...), or the last alone, under any name.
    """
    inputs, outputs = case.inputs(), case.meta["outputs"]
    if len(inputs) != 1 or not case.meta["state"]:
        return None
    from vitruvian.systems.pose2d.rmpg import from_published

    _, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    with torch.inference_mode():
        maps = [m.numpy() for m in model.predictions(torch.from_numpy(*inputs.values())).maps]
    name = next(iter(outputs)) if len(outputs) == 1 else "heatmaps"
    return {name: maps[-1], **{f"heatmaps_{i}": m for i, m in enumerate(maps)}}
