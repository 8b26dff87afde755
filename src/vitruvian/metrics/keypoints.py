"""Object keypoint similarity (OKS), whole or per part of the body.

Source: the COCO keypoint evaluation (pycocotools, COCOeval.computeOks): exp(-d^2 / (2 area k^2)) with k = 2 sigma, averaged over
the annotated keypoints. COCO-WholeBody evaluates five parts besides the whole.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton


def oks(
    pred: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    visible: Bool[np.ndarray, "n k"],
    area: Float[np.ndarray, " n"],
    sigmas: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " n"]:
    """The similarity in [0, 1] of N predicted poses, each to its own true one, in float64.

    pred, truth: keypoints in pixels. visible: the annotated keypoints (COCO's v > 0), the only ones that count.
    area: the true person's area in square pixels (COCO: of the segment, not the box). sigmas: the set's k_i.
    A predicted NaN counts as infinitely far. A person without any annotated keypoint gives NaN: there is nothing to compare.
    Raises VitruvianError where the shapes differ.
    """
    pred, truth, area, sigmas = (np.asarray(values, np.float64) for values in (pred, truth, area, sigmas))
    visible = np.asarray(visible, bool)
    if pred.shape != truth.shape or visible.shape != pred.shape[:2] or area.shape != pred.shape[:1] or sigmas.shape != pred.shape[1:2]:
        shapes = ", ".join(str(values.shape) for values in (pred, truth, visible, area, sigmas))
        raise VitruvianError(f"oks needs (n, k, 2), (n, k, 2), (n, k), (n,) and (k,), got {shapes}")
    squared = ((pred - truth) ** 2).sum(axis=-1)
    exponent = squared / (2 * sigmas) ** 2 / (area[:, None] + np.spacing(1)) / 2
    near = np.where(visible & ~np.isnan(exponent), np.exp(-exponent), 0)
    count = visible.sum(axis=-1)
    return np.divide(near.sum(axis=-1), count, out=np.full(len(count), np.nan), where=count > 0)


def oks_by_part(
    pred: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    visible: Bool[np.ndarray, "n k"],
    area: Float[np.ndarray, " n"],
    skeleton: Skeleton,
) -> dict[str, Float[np.ndarray, " n"]]:
    """`oks` of each part of the skeleton by its name, and of all keypoints together as "whole".

    The area is the person's for every part, as COCO-WholeBody's evaluation has it. Parts without annotated keypoints give NaN.
    Raises VitruvianError where shapes differ or the skeleton has no sigmas.
    """
    if skeleton.sigmas is None:
        raise VitruvianError(f"{skeleton.name} has no published sigmas; call oks with sigmas of your own")
    pred, truth, visible = np.asarray(pred), np.asarray(truth), np.asarray(visible)
    if pred.ndim != 3 or pred.shape[1] != len(skeleton):
        raise VitruvianError(f"{skeleton.name} has {len(skeleton)} keypoints, got an array of shape {pred.shape}")
    parts = {**skeleton.parts, "whole": slice(None)}
    return {name: oks(pred[:, part], truth[:, part], visible[:, part], area, skeleton.sigmas[part]) for name, part in parts.items()}
