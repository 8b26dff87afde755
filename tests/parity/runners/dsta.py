"""Runs the cases of "dsta": whole networks, and the residual log-likelihood with its flow."""

from __future__ import annotations

import numpy as np
import torch
from tests.parity.fill import Case

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if "frames" in inputs:
        return network(case)
    if {"coords", "target", "sigma", "weight"} <= inputs.keys():
        return loss(case)
    return None


def state_of(case: Case) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(value) for name, value in case.state_dict().items()}


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> places, spread, score."""
    from vitruvian.systems.pose2d.dsta import from_published

    _, model = from_published(state_of(case))
    with torch.inference_mode():
        out = model(torch.from_numpy(case.inputs()["frames"]))
    return {"coords": out.coords.numpy(), "sigma": out.sigma.numpy(), "score": out.score.numpy()}


def loss(case: Case) -> Arrays:
    """The case draws every input from standard normals r: 0.5 + 0.1 r, sigmoid(r - 2), and a threshold."""
    from vitruvian.systems.checkpoint import pour
    from vitruvian.systems.pose2d.dsta import Prediction, RealNVP, log_density, rle_loss

    flow = RealNVP()
    pour(flow, {name.removeprefix("flow."): value for name, value in state_of(case).items()})
    r = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    prediction = Prediction(0.5 + 0.1 * r["coords"], torch.sigmoid(r["sigma"] - 2))
    target, weight = 0.5 + 0.1 * r["target"], (r["weight"][..., 0] > -0.8).float()
    with torch.inference_mode():
        return {"log_phi": log_density(flow, prediction, target).numpy(), "loss": rle_loss(flow, prediction, target, weight).numpy()}
