"""Cards of the published networks for meshes: whose they are, and what their licences forbid; each system lists its own in CARDS."""

from __future__ import annotations

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.weights import Card

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
) -> Card:
    """The card of the published file `name`: input `size` (width, height), the body that it poses, licences of code, weights and data.

    Published files are PyTorch checkpoints: convert them (`vitruvian convert-checkpoint`).
    """
    code, weights, data = licences
    return Card(
        id=name, task="mesh", file=f"{name}.onnx", input_size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD, subject="whole-body",
        family=family, body=body, licence_code=code, licence_weights=weights, licence_data=data, figures=figures or {}, source=source,
    )  # fmt: skip
