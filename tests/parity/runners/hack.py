"""Runs the cases of "hack": the published arrays through `body.hack`, posed by the numpy core. "_s8" outputs hold every 8th vertex."""

from __future__ import annotations

import re

import numpy as np
from tests.parity.fill import Case

from vitruvian.body.hack import HackAssets, hack_model
from vitruvian.body.points import larynx_offsets


def run(case: Case) -> dict[str, np.ndarray] | None:
    """Every output of a case; None where the state is not HACK's."""
    state, inputs = case.state_dict(), case.inputs()
    if "bones.matrix" not in state:
        return None
    vertices = len(state["template.v"])
    assets = HackAssets(
        template=state["template.v"],
        uv=state["template.uv"],
        faces=np.zeros((0, 3), np.int64),
        weights=state["W"],
        larynx=state["L"],
        larynx_direction=state["ts"],
        matrices=state["bones.matrix"],
        heads=state["bones.head"],
        lengths=state["bones.length"],
        shape_mean=state["S.mean"],
        shape=state.get("S.VT_std", np.zeros((0, vertices, 3))),
        expression=state["E.mean"],
        pose=state["P.mean"],
    )
    full, plain = hack_model(assets, unit=1.0), hack_model(assets, "obj", unit=1.0)
    offsets = larynx_offsets(full, inputs["tau"], inputs["alpha"])
    found = {
        "full.vertices": full.forward(inputs["theta"], inputs["beta"], inputs["bsw"], offsets=offsets).vertices,
        "template_shape.vertices": plain.forward(inputs["theta"], None, inputs["bsw"], offsets=offsets).vertices,
        "larynx_offset": larynx_offsets(full, inputs["tau"], np.ones_like(inputs["alpha"])),
    }
    out = {}
    for name in case.outputs():
        step = re.search(r"_s(\d+)$", name)
        value = found[name[: step.start()] if step else name]
        out[name] = value[:, :: int(step[1])] if step else value
    return out
