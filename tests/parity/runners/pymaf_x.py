"""Runs the cases of "pymaf-x": one iteration's regressor, with the fitting of hands to arms where it is the last, and point features.

The part of the network is told by the names of the state; outputs that end in "_sub" hold every k-th point, k from the text.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

Arrays = dict[str, np.ndarray]
LAST = 2


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    names = case.meta["state"]
    if any(name.startswith("regressor.") for name in names):
        return regressor(case)
    return points(case) if any(name.startswith("maf_extractor.") for name in names) else None


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


STATE = {
    "pose": "pose",
    "shape": "shape",
    "camera": "cam",
    "left_hand": "lhand",
    "right_hand": "rhand",
    "face": "face",
    "expression": "exp",
    "left_shape": "shape_lh",
    "right_shape": "shape_rh",
    "face_shape": "shape_fa",
    "left_orientation": "orient_lh",
    "right_orientation": "orient_rh",
    "face_orientation": "orient_fa",
    "left_camera": "cam_lh",
    "right_camera": "cam_rh",
    "face_camera": "cam_fa",
}
"""Field of `State` -> the case's name, without init_ and pred_."""


def regressor(case: Case) -> Arrays:
    """Features and the previous parameters -> the next, and the pose that follows from them."""
    from vitruvian.systems.mesh.pymaf_x import read_regressor
    from vitruvian.systems.mesh.pymaf_x_regressor import VISIBLE, Features, State, integrate, plain_pose

    state, given = tensors(case.state_dict()), tensors(case.inputs())
    number = int(re.match(r"regressor\.(\d+)\.", next(name for name in state if name.startswith("regressor.")))[1])
    model = read_regressor(state, number)
    batch = len(given["feat_body"])
    start = model.start(batch)
    before = State(**{field: given.get(f"init_{name}", getattr(start, field)) for field, name in STATE.items()}, visible=start.visible)
    features = Features(*(given[f"feat_{part}"] for part in ("body", "lhand", "rhand", "face")))
    with torch.inference_mode():
        after = model(features, before)
        pose = plain_pose(after)
        if number == LAST:
            pose = integrate(after, given["tpose_joints"], model.init_rhand, after.visible > VISIBLE)
    out = {f"pred_{name}": getattr(after, field) for field, name in STATE.items()}
    out |= {"rotmat": pose.body, "pred_lhand_rotmat": pose.left_hand, "pred_rhand_rotmat": pose.right_hand, "pred_face_rotmat": pose.face}
    return {name: value.numpy() for name, value in (out | {"pred_vis_hands": after.visible}).items()}


def points(case: Case) -> Arrays:
    """Maps and projected points -> the features of every iteration that the state has."""
    from vitruvian.systems.mesh.pymaf_x import read_features
    from vitruvian.systems.mesh.pymaf_x_features import read_points

    state, given = tensors(case.state_dict()), tensors(case.inputs())
    out: dict[str, Tensor] = {}
    with torch.inference_mode():
        for _, number, layer in read_features(state):
            if f"s_feat{number}" not in given:
                continue
            maps = given[f"s_feat{number}"]
            grid = state["grid_points"].transpose(1, 2).expand(len(maps), -1, -1)
            if number == 0:
                out["feat_iter0"] = layer(maps, grid)
                continue
            where = torch.cat((grid, given["points"]), 1)
            out["attended"] = layer.attention(read_points(maps, where))
            out["reduced"] = layer.reducer(out["attended"].transpose(1, 2))
            out[f"feat_iter{number}"] = layer(maps, where)
    found = {name: value.numpy() for name, value in out.items()}
    step = re.search(r"every (\d+)", case.meta["notes"])
    for name in case.meta["outputs"]:
        if name.endswith("_sub") and name.removesuffix("_sub") in found:
            found[name] = found[name.removesuffix("_sub")][:, :: int(step[1]) if step else 1]
    return found
