"""Runs the cases of "danet": pictures to IUV maps, IUV maps to SMPL's parameters, and the cleaning of maps.

Which half a case is of is told by its state. Outputs that end in "_sub" hold every k-th channel and pixel, from the text or the shapes.
"""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

from vitruvian.nn.iuv import IUV, clean
from vitruvian.systems.mesh import danet

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    state = {name: torch.as_tensor(value) for name, value in case.state_dict().items()}
    with torch.inference_mode():
        if not state:
            return cleaning(inputs) if {"u", "v", "index"} <= set(inputs) else None
        if "image" in inputs:
            return estimate(case, state, inputs["image"])
        if {"body_iuv", "part_iuv"} <= set(inputs):
            return regress(state, inputs["body_iuv"], inputs["part_iuv"])
    return None


def cleaning(inputs: dict[str, Tensor]) -> Arrays:
    """Hard maps from raw ones."""
    cleaned = clean(IUV(inputs["u"], inputs["v"], inputs["index"], inputs.get("ann")))
    named = zip(("u_clean", "v_clean", "index_clean", "ann_clean"), cleaned, strict=True)
    return {name: value.numpy() for name, value in named if value is not None}


def estimate(case: Case, state: dict[str, Tensor], image: Tensor) -> Arrays:
    """Everything that the first half gives; a file of both halves gives the parameters too."""
    halves = {name.removeprefix("module.").split(".", 1)[0] for name in state}
    parameters = None
    if {"img2iuv", "iuv2smpl"} <= halves:
        parameters, found = danet.from_published(state)[1](image)
    else:
        found = danet.half_from_published(state)[1](image)
    whole, partial = found.iuv, torch.stack(found.partial[:3], 2)
    out = {"u": whole.u, "v": whole.v, "index": whole.index, "ann": whole.annotation, "hm": found.heatmaps, "feat": found.features}
    out |= {"centers": found.centres, "vis_score": found.visible, "part_scale": found.scales, "part_iuv": partial}
    if parameters is not None:
        out["para"] = vector(parameters)
    arrays = {name: value.numpy() for name, value in out.items()}
    for name, entry in case.meta["outputs"].items():
        if name.endswith("_sub") and name.removesuffix("_sub") in arrays:
            arrays[name] = thinned(case, name, arrays[name.removesuffix("_sub")], entry["shape"])
    return arrays


def told(case: Case, name: str, whole: np.ndarray) -> np.ndarray | None:
    """An output thinned as the text says, "NAME ... [:, ::6, 3::14]" or "NAME ...[..., 3::14, 5::14]"; None where it doesn't."""
    found = re.search(name + r"[^;\[]*\[([^\]]*)\]", case.meta["notes"])
    if not found:
        return None
    slices = []
    for text in found[1].split(","):
        numbers = re.fullmatch(r"(\d*):(\d*)(?::(\d*))?", text.strip())
        slices.append(... if numbers is None else slice(*(int(number) if number else None for number in numbers.groups())))
    try:
        return whole[tuple(slices)]
    except IndexError:
        return None


def thinned(case: Case, name: str, whole: np.ndarray, shape: list[int]) -> np.ndarray:
    """An output as the text says, or with every k-th along each axis, so that the shape becomes `shape`."""
    found = told(case, name, whole)
    if found is not None and list(found.shape) == shape:
        return found
    steps = (next((k for k in range(1, n + 1) if math.ceil(n / k) == m), 1) for n, m in zip(whole.shape, shape, strict=True))
    return whole[tuple(slice(None, None, step) for step in steps)]


def vector(parameters: danet.Parameters) -> Tensor:
    """Camera 3, betas 10, 24 rotation matrices row by row."""
    return torch.cat((parameters.camera, parameters.shape, parameters.rotations.flatten(1)), 1)


def regress(state: dict[str, Tensor], body: Tensor, parts: Tensor) -> Arrays:
    """Parameters and features of joints from maps that are given, clean or not."""
    model = danet.half_from_published(state)[1]
    parameters, found = model(IUV(*body.chunk(3, 1)), IUV(*parts.unbind(2)))
    out = {"para": vector(parameters), "rot_feat": found.rotation, "pos_feat": found.position}
    out |= {"refined_delta": found.refinement, "rot_feat_refined": found.refined}
    out |= {"rot_feat_sum": found.position + found.refinement}
    return {name: value.numpy() for name, value in out.items()}
