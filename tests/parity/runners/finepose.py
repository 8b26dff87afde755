"""Runs the cases of "finepose": one call of the denoiser, or sampling with the noise given. Strides of subsets: from text and shapes."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

from vitruvian.systems.pose3d.prompts import CONTEXT, END, PADDING, START


def run(case: Case) -> dict[str, np.ndarray] | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    if "x_2d" not in inputs or not case.meta["state"]:
        return None
    from vitruvian.systems.pose3d.finepose import from_published

    _, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    keypoints = inputs["x_2d"].float()
    with torch.inference_mode():
        prompt = model.prompts(action_tokens(inputs, len(keypoints)), inputs.get("part_tokens"))
        if "noise0" in inputs:
            noise = [inputs[name].float() for name in sorted((n for n in inputs if re.fullmatch(r"noise\d+", n)), key=lambda n: int(n[5:]))]
            flip = "without flip" not in case.meta["notes"].lower()
            return {"preds": model.sample(keypoints, prompt, torch.stack(noise), flip).numpy()}
        noisy, time = inputs["x_3d"].float(), inputs["t"]
        out = {
            "pred": model(keypoints, noisy, time, prompt),
            "text_pooled": prompt.pooled,
            "text_tokens_out": prompt.tokens,
            "after_fpc": model.communicate(keypoints, noisy, time, prompt),
        }
    return {name: strided(value, case.meta["outputs"].get(name, {}).get("shape"), case.meta["notes"], name) for name, value in out.items()}


def action_tokens(inputs: dict[str, Tensor], clips: int) -> Tensor:
    """The action's tokens; networks without a verb don't look at them, and may have none."""
    empty = torch.tensor([START, END, *[PADDING] * (CONTEXT - 2)]).expand(clips, -1)
    return inputs.get("text_tokens", empty)


def strided(value: Tensor, shape: list[int] | None, notes: str, name: str) -> np.ndarray:
    """Every k-th entry along each axis, as the notes say ("[::17, ::9]"), or the smallest k that gives the stored shape."""
    array = value.numpy()
    if shape is None or list(array.shape) == shape or len(shape) != array.ndim:
        return array
    for found in re.findall(rf"{name}.*?\[([:\d, ]+)\]", notes):
        steps = [int(part.strip().lstrip(":") or 1) for part in found.split(",")]
        steps += [1] * (array.ndim - len(steps))
        subset = array[tuple(slice(None, None, step) for step in steps)] if len(steps) == array.ndim else array
        if list(subset.shape) == shape:
            return subset
    steps = [next(k for k in range(1, whole + 1) if math.ceil(whole / k) == part) for part, whole in zip(shape, array.shape, strict=True)]
    return array[tuple(slice(None, None, step) for step in steps)]
