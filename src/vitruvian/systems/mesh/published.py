"""Cards of the published networks for meshes: whose they are, and what their licences forbid; each system lists its own in CARDS."""

from __future__ import annotations

from dataclasses import replace

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.weights import Card

Levels = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET: Levels = (IMAGENET_MEAN, IMAGENET_STD)
GREY_LEVELS: Levels = ((0.0,) * 3, (255.0,) * 3)
"""Mean and standard deviation that a network is shown pictures with; the second: as fractions of white."""

SMPLX_FILE = "SMPL-X: research licence, the user's own file"
SMPL_FILE = "SMPL: research licence, the user's own file"


def published_card(
    name: str,
    family: str,
    size: tuple[int, int],
    body: str,
    licences: tuple[str, str, str],
    figures: dict[str, float] | None = None,
    source: str = "",
    levels: Levels = IMAGENET,
) -> Card:
    """The card of the published file `name`: input `size` (width, height), the body that it poses, licences of code, weights and data.

    Published files are PyTorch checkpoints: convert them (`vitruvian convert-checkpoint`).
    """
    code, weights, data = licences
    told = {"licence_code": code, "licence_weights": weights, "licence_data": data, "figures": figures or {}, "source": source}
    return replace(mesh_card(name, family, size, body, levels), **told)


def mesh_card(name: str, family: str, size: tuple[int, int], body: str, levels: Levels = IMAGENET) -> Card:
    """The card of a network `name` of which nothing is known but what it takes and poses; arguments as for `published_card`."""
    mean, std = levels
    return Card(name, "mesh", f"{name}.onnx", size, mean, std, subject="whole-body", family=family, body=body)
