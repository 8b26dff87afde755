"""Muon: steps of equal size in every direction of a weight matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).

A gradient's matrix has a few large singular values and many small ones; Adam follows the large ones. Muon sets all of them to about 1
(five Newton-Schulz iterations, no decomposition) before it steps. How it compares on the default pose network: `recipes/wholebody-s.md`.

Steps are scaled to AdamW's usual root mean square, 0.2 (Liu et al. 2025, arXiv 2502.16982), so both rules share one learning rate.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.train.precision import has_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the published quintic: steepest at nought, and stable


def orthogonalised(matrix: Float[Tensor, "m n"], steps: int = 5) -> Float[Tensor, "m n"]:
    """The matrix with its singular values brought to 0.7 to 1.2, computed in bfloat16 where that is faster."""
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(torch.bfloat16 if has_bfloat16(matrix.device) else torch.float32)
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights that map features to features: of linear layers, and of ungrouped convolutions that a norm follows (so without a bias).

    The rest is AdamW's: a first layer sees pixels, a convolution with a bias is a last layer, a depthwise kernel mixes nothing.
    """
    found = []
    for module in model.modules():
        convolution = isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > 3 and module.bias is None
        if convolution or isinstance(module, nn.Linear):
            found.append(module.weight)
    return [weight for weight in found if weight.requires_grad]


class Muon(torch.optim.Optimizer):
    """Muon for `matrices(model)`, AdamW (betas 0.9, 0.999) for every other parameter, with decoupled weight decay for what has two axes."""

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, momentum: float = 0.95):
        mixing = matrices(model)
        chosen = {id(p) for p in mixing}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        groups = [
            {"params": mixing, "weight_decay": weight_decay, "momentum": momentum},
            {"params": [p for p in others if p.ndim >= 2], "weight_decay": weight_decay, "momentum": None},
            {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0, "momentum": None},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step; gradients that are None are left out."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = self._adam(parameter) if group["momentum"] is None else self._muon(parameter, group["momentum"])
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=group["lr"])

    def _muon(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        mean = state.setdefault("mean", torch.zeros_like(parameter)).lerp_(parameter.grad, 1 - momentum)
        ahead = parameter.grad.lerp(mean, momentum).flatten(1)
        return (orthogonalised(ahead) * (0.2 * math.sqrt(max(ahead.shape)))).view(parameter.shape)

    def _adam(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        state["step"] = state.get("step", 0) + 1
        mean = state.setdefault("mean", torch.zeros_like(parameter)).lerp_(parameter.grad, 0.1)
        square = state.setdefault("square", torch.zeros_like(parameter)).lerp_(parameter.grad.square(), 0.001)
        spread = (square / (1 - 0.999 ** state["step"])).sqrt_().add_(1e-8)
        return mean / spread / (1 - 0.9 ** state["step"])
