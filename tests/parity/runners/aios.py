"""Runs the cases of "aios": everything behind the backbone from maps, or the whole network from pictures.

How many queries and people is told by the outputs' shapes, or the text. Outputs that hold every k-th token: k from the text or the shapes.
"""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

from vitruvian.systems.mesh import aios
from vitruvian.systems.mesh.aios_decoder import Found

Arrays = dict[str, np.ndarray]
VISIBLE = 1 / (1 + math.exp(-1))  # published programs give this number for every keypoint


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    maps = [inputs[name] for name in ("c3", "c4", "c5") if name in inputs]
    if not case.meta["state"] or not (len(maps) == 3 or "image" in inputs):
        return None
    sizes = told(case, "ref0", 1, "num_queries", 900), told(case, "logits", 1, "num_group", 100)
    state = {name: torch.as_tensor(value) for name, value in case.state_dict().items()}
    with torch.inference_mode():
        if maps:
            finder = aios.finder_from_published(state, *sizes)[1]
        else:
            model = aios.from_published(state, *sizes)[1]
            finder, maps = model.finder, model.backbone(inputs["image"])[1:]
        shape = inputs["image"][:, 0].shape if "image" in inputs else (len(maps[0]), 8 * maps[0].shape[2], 8 * maps[0].shape[3])
        padding = inputs["padding_mask"] > 0 if "padding_mask" in inputs else torch.zeros(shape, dtype=torch.bool)
        out = follow(finder, maps, padding)
    return {name: thinned(case, name, value.numpy()) for name, value in out.items()}


def told(case: Case, output: str, axis: int, word: str, default: int) -> int:
    """A number from an output's shape, or after a word of the text."""
    if output in case.meta["outputs"]:
        return case.meta["outputs"][output]["shape"][axis]
    found = re.search(word + r"[ =:]*(\d+)", case.meta["notes"])
    return int(found[1]) if found else default


def follow(finder: aios.Finder, maps: list[Tensor], padding: Tensor) -> dict[str, Tensor]:
    """The outputs, and references and tokens of every layer."""
    scene = finder.scene(maps, padding)
    proposals = finder.selection(scene, finder.config.queries)
    out = {"memory": scene.tokens, "ref0": proposals.boxes, "enc_logits": proposals.logits, "enc_boxes": proposals.boxes}
    out["memory_sub"] = scene.tokens
    steps = list(finder.decoder(scene, proposals, finder.config.people))
    for number, step in enumerate(steps):
        out |= {f"hs{number}": step.tokens, f"ref{number + 1}": step.references}
    for number, step in enumerate(steps):
        out |= {f"{name}_layer{number}": value for name, value in named(step.found).items()}
    return out | named(steps[-1].found)


def with_constants(points: Tensor) -> Tensor:
    """x and y of every point, then one number for each."""
    return torch.cat((points.flatten(2), torch.full_like(points[..., 0], VISIBLE)), 2)


def named(found: Found) -> dict[str, Tensor]:
    """What a layer found under the cases' names."""
    out = {"logits": found.logits, "boxes": found.boxes}
    if found.body is not None:
        out |= {"lhand_boxes": found.hands[:, :, 0], "rhand_boxes": found.hands[:, :, 1], "face_boxes": found.faces}
        out |= {"keypoints": with_constants(found.keypoints), "smpl_pose": found.body.rotations, "jaw": found.body.jaw[:, :, None]}
        out |= {"lhand_pose": found.body.hands[:, :, 0], "rhand_pose": found.body.hands[:, :, 1]}
        out |= {"expr": found.body.expression, "betas": found.body.shape, "cam": found.body.camera}
    if found.hand_keypoints is not None:
        hands = {f"{side}hand_keypoints": with_constants(found.hand_keypoints[:, :, i]) for i, side in enumerate("lr")}
        out |= hands | {"face_keypoints": with_constants(found.face_keypoints)}
    return out


def thinned(case: Case, name: str, whole: np.ndarray) -> np.ndarray:
    """Every k-th row of tokens: k as the text says after the output's name, or as the shape asks."""
    entry = case.meta["outputs"].get(name)
    if entry is None or list(whole.shape) == entry["shape"] or whole.ndim < 2:
        return whole
    found = re.search(name + r"[^;]*?::(\d+)", case.meta["notes"])
    steps = [int(found[1])] if found else []
    steps += [k for k in range(1, whole.shape[1] + 1) if math.ceil(whole.shape[1] / k) == entry["shape"][1]]
    return next((whole[:, ::k] for k in steps if math.ceil(whole.shape[1] / k) == entry["shape"][1]), whole)
