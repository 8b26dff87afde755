"""Runs the cases of "multi-hmr": whole networks (SMPL-X or Anny), tables of places, the training loss, preparation of pictures.

Suppression and threshold of a network's case are told by its text. Outputs that end in "_sub" hold every k-th token, k from the text too.
"""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if case.meta["state"] and "image" in inputs:
        return network(case)
    if "pos_embed" in inputs:
        return positions(case)
    if any(name.startswith("pred.") for name in inputs):
        return loss(case)
    return preparation(case) if "padded" in case.meta["outputs"] else None


def told(case: Case, pattern: str, default: float) -> float:
    """The number after a word of the case's text."""
    found = re.search(pattern + r"[ =:]*(\d*\.?\d+)", case.meta["notes"])
    return float(found[1]) if found else default


def step_of(shape: list[int], whole: int) -> int:
    """The smallest k for which every k-th of `whole` rows are as many as `shape` says."""
    return next(k for k in range(1, whole + 1) if math.ceil(whole / k) == shape)


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> everything between picture and people."""
    from vitruvian.systems.mesh.multi_hmr import KERNEL, THRESHOLD, find, from_published, suppress

    config, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    inputs = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    kernel, threshold = int(told(case, r"nms(?:_kernel_size)?", KERNEL)), told(case, r"(?:det_)?thresh(?:old)?", THRESHOLD)
    with torch.inference_mode():
        features = model.encode(inputs["image"])
        camera = inputs["K"] if "K" in inputs else model.intrinsics(features)
        suppressed, cells = suppress(features.scores, kernel), find(features.scores, threshold, kernel)
        people = model.people(features, camera, cells)
        out = people_arrays(people, cells)
        out |= {"scores": features.scores, "scores_raw": features.scores, "scores_nms": suppressed, "K": camera}
        out |= {"detections": cells, "scores_det": suppressed[tuple(cells.T)], "tokens": features.tokens, "feat": features.tokens}
        if config.body == "anny":
            out |= {"fov": model.fields_of_view(features), "decoder_tokens": by_picture(model, features, camera, cells)}
        else:
            out |= {"camera_embedding": rays(camera, config), "hph_tokens": by_picture(model, features, camera, cells)}
    arrays = {name: value.numpy() for name, value in out.items()}
    for name, entry in case.meta["outputs"].items():
        if name.endswith("_sub"):
            whole = arrays[name.removesuffix("_sub")]
            arrays[name] = whole[:, :: int(told(case, "::", step_of(entry["shape"][1], whole.shape[1])))]
    return arrays


def rays(camera: Tensor, config) -> Tensor:
    from vitruvian.systems.mesh.multi_hmr_parts import ray_features

    return ray_features(camera, config)


def people_arrays(people, cells: Tensor) -> dict[str, Tensor]:
    """The people's columns under the cases' names."""
    from vitruvian.body.pose import rotation_vectors

    nearest = people.translation[:, 2].argsort(stable=True)
    out = {"offset": people.offset, "loc": people.location, "dist": people.depth, "transl": people.translation}
    out |= {"dist_log_normalised": people.code, "dist_raw": people.code, "betas": people.shape, "phenotypes": people.shape}
    out |= {"expression": people.expression, "rotmat": people.rotations, "rotvec": rotation_vectors(people.rotations)}
    return out | {"sorted_loc": people.location[nearest]}


def by_picture(model, features, camera: Tensor, cells: Tensor) -> Tensor:
    """The decoder's tokens of pictures with people, (pictures, most people, d), with what stands in the empty places."""
    from vitruvian.systems.mesh.multi_hmr import places_by_picture

    index, mask, _ = places_by_picture(cells, len(features.tokens), model.config.grid)
    return model.padded_people(features, camera, index, mask).token[cells[:, 0].unique()]


def positions(case: Case) -> Arrays:
    """The table resampled for the pictures that the outputs' names tell: pos_SIDE or pos_HEIGHTxWIDTH, of patches of 14 pixels."""
    from vitruvian.nn.vit import resample_positions

    table = torch.from_numpy(case.inputs()["pos_embed"])
    side = math.isqrt(table.shape[1] - 1)
    out = {}
    for name, entry in case.meta["outputs"].items():
        pixels = [int(number) for number in re.findall(r"\d+", name)]
        target = (pixels[0] // 14, pixels[-1] // 14)
        rows = resample_positions(table, (side, side), target, 1, 0.1)[0].numpy()
        out[name] = rows[:: step_of(entry["shape"][0], len(rows))]
    return out


NAMES = {
    "scores": ("scores", "loss_bce", "detection"),
    "offset": ("offset", "loss_offset", "offset"),
    "rotations": ("rotmat", "loss_rotmat", "rotations"),
    "shape": ("shape", "loss_shape", "shape"),
    "code": ("dist_postprocessed", "loss_dist", "code"),
    "translation": ("transl", "loss_transl", "translation"),
    "pelvis": ("transl_pelvis", "", ""),
    "joints": ("j3d", "loss_j3d", "joints"),
    "vertices": ("v3d", "loss_v3d", "vertices"),
    "joints_2d": ("j2d", "loss_j2d", "joints_2d"),
    "vertices_2d": ("v2d", "loss_v2d", "vertices_2d"),
}
"""Field of `Labelled` -> the case's input, its output, our term."""


def loss(case: Case) -> Arrays:
    """Every term, and the totals of the epochs that the outputs' names tell. The text tells the pictures' size."""
    from vitruvian.systems.mesh.multi_hmr_loss import Labelled, loss_terms, multi_hmr_loss

    given = {name: torch.from_numpy(value) for name, value in case.inputs().items()}
    given["pred.scores"] = given["pred.scores"].reshape(given["gt.scores"].shape)
    prediction, truth = (Labelled(**{field: given[f"{who}.{names[0]}"] for field, names in NAMES.items()}) for who in ("pred", "gt"))
    size = int(told(case, "img_size", 0))
    terms = loss_terms(prediction, truth, size)
    out = {name: terms[term] for _, name, term in NAMES.values() if name}
    for name in case.meta["outputs"]:
        if epoch := re.fullmatch(r"total_epoch(\d+)", name):
            out[name] = multi_hmr_loss(prediction, truth, size, int(epoch[1]))
    return {name: value.numpy() for name, value in out.items()}


def preparation(case: Case) -> Arrays:
    """A picture in its square, and normalised."""
    from vitruvian.codecs.contain import contain
    from vitruvian.codecs.normalise import normalise

    outputs = case.meta["outputs"]
    padded, _ = contain(case.inputs()["image"], outputs["padded"]["shape"][0])
    x = normalise(padded[None])[0]
    out = {"padded": padded, "x": x}
    if "x_sub" in outputs:
        step = step_of(outputs["x_sub"]["shape"][1], x.shape[1])
        out["x_sub"] = x[:, ::step, ::step]
    return out
