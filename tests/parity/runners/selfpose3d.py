"""Runs the cases of "selfpose3d": the 2D backbone (or the attention network), inference from heat maps, losses and metrics.

Cases are in millimetres, our networks in metres. What no array tells (sizes, spaces, thresholds) is read from a case's text.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch
from tests.parity.fill import Case
from torch import Tensor

Arrays = dict[str, np.ndarray]
MM = 1000.0


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if "heatmaps" in inputs and "cam_R" in inputs and case.meta["state"]:
        return inference(case)
    if case.meta["state"] and len(inputs) == 1:
        return pictures(case)
    if "poses_3d" in inputs or "eval_pred" in inputs:
        return algebra(case)
    return None


def numbers(case: Case, pattern: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers that follow a word of the case's text."""
    found = re.search(pattern + r"\s*[\[(]?\s*((?:-?\d+(?:\.\d+)?(?:\s*[,x]\s*)?)+)", f"{case.meta['variant']} {case.meta['notes']}")
    return tuple(float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", found[1])) if found else default


def camera_size(case: Case) -> tuple[int, int]:
    """Width and height of the cameras' pictures: as the text says, or the data set's."""
    found = re.search(r"(\d{3,4})\s*x\s*(\d{3,4})[^.;]{0,12}camera", case.meta["notes"])
    return (int(found[1]), int(found[2])) if found else (1920, 1080)


def load(case: Case):
    from vitruvian.systems.pose3d.selfpose3d import from_published

    return from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})


def pictures(case: Case) -> Arrays:
    """Pictures -> heat maps, or attention: the output's name says which, where the state has both networks."""
    _, model = load(case)
    image = torch.from_numpy(next(iter(case.inputs().values())))
    images = image if image.ndim == 5 else image[None]
    out = {}
    with torch.inference_mode():
        for name in case.meta["outputs"]:
            attention = model.attention is not None and (model.backbone is None or "att" in name.lower())
            maps = model.weights(images) if attention else model.heatmaps(images)
            out[name] = (maps if image.ndim == 5 else maps[0]).numpy()
    return out


def cameras(inputs: Arrays, size: tuple[float, float], affine: np.ndarray):
    """The case's cameras, in metres, as one scene."""
    from vitruvian.systems.pose3d.voxels import Views

    v = len(inputs["cam_R"])
    parts = (
        inputs["cam_R"],
        inputs["cam_T"].reshape(v, 3) / MM,
        inputs["cam_fxfycxcy"][:, :2],
        inputs["cam_fxfycxcy"][:, 2:],
        inputs["cam_k"].reshape(v, 3),
        inputs["cam_p"].reshape(v, 2),
        np.tile(size, (v, 1)),
        np.tile(affine, (v, 1, 1)),
    )
    flipped = torch.zeros(1, v, dtype=torch.bool)
    return Views(*(torch.from_numpy(np.asarray(x, np.float64)).float()[None] for x in parts), flipped)


def inference(case: Case) -> Arrays:
    """Heat maps and cameras -> cubes, candidates, poses."""
    from vitruvian.systems.pose3d.voxels import Space, whole_picture

    config, model = load(case)
    inputs, outputs = case.inputs(), case.outputs()
    size = camera_size(case)
    heatmaps = torch.from_numpy(inputs["heatmaps"]).float()[None]
    cells = (heatmaps.shape[-1], heatmaps.shape[-2])
    image = tuple(int(x) for x in numbers(case, r"(?:network image|img)", (cells[0] * 4, cells[1] * 4))[:2])
    space_size = numbers(case, r"space size", (8000, 8000, 2000))
    centre = numbers(case, r"centred at", (0, -500, 800))
    bins = outputs["initial_cube"].shape if "initial_cube" in outputs else numbers(case, r"rootcube", (80, 80, 20))
    pose_bins = tuple(int(x) for x in numbers(case, r"pose ?cube", (64, 64, 64)))
    candidates = len(outputs["grid_centers"]) if "grid_centers" in outputs else len(outputs["pose"])
    model.config = replace(
        config,
        space=Space(tuple(x / MM for x in space_size), tuple(x / MM for x in centre), tuple(int(x) for x in bins)),
        pose_side=numbers(case, r"over", (2000,))[0] / MM,
        pose_bins=pose_bins,
        candidates=candidates,
        threshold=numbers(case, r"threshold", (0.3,))[0],
        sharpness=numbers(case, r"soft-argmax beta", (100,))[0],
    )
    views = cameras(inputs, size, whole_picture(size, image))
    with torch.inference_mode():
        roots = model.roots(heatmaps, model.root_sampling(views, cells, image))
        points = model.poses(heatmaps, views, roots.centre, roots.valid, image)
        first = model.person_cubes(heatmaps[0], views, roots.centre[0, :1], image)[0]
    flag = roots.valid[0].float() - 1
    tail = torch.stack((flag, roots.score[0]), -1)
    out = {
        "initial_cube": roots.cube[0, 0] if roots.cube.shape[1] == 1 else roots.cube[0],
        "root_cube": roots.volume[0],
        "grid_centers": torch.cat((roots.centre[0] * MM, tail), -1),
        "pose": torch.cat((points[0] * MM, tail[:, None].expand(-1, points.shape[2], -1)), -1),
        "pose_cube0": thinned(first, outputs.get("pose_cube0")),
    }
    return {name: value.numpy() for name, value in out.items()}


def thinned(value: Tensor, stored: np.ndarray | None) -> Tensor:
    """Every n-th entry along each axis, so that the stored shape results."""
    if stored is None:
        return value
    for axis, count in enumerate(stored.shape):
        step = next(n for n in range(1, value.shape[axis] + 1) if -(-value.shape[axis] // n) == count)
        value = value.index_select(axis, torch.arange(0, value.shape[axis], step))
    return value


def algebra(case: Case) -> Arrays:
    """Projection, rendering, the matched L1 loss, and the metrics of Panoptic."""
    inputs, outputs = case.inputs(), case.outputs()
    out: Arrays = {}
    if "poses_3d" in inputs:
        out |= losses(case, inputs, outputs)
    if "eval_pred" in inputs:
        out |= metrics(inputs)
    return out


def losses(case: Case, inputs: Arrays, outputs: Arrays) -> Arrays:
    from vitruvian.systems.pose3d.selfpose3d_loss import matched_distance, render, seen_at

    image = numbers(case, r"into the", (960, 512))
    width, height = (int(x) for x in image[:2])
    cells = tuple(int(x) for x in numbers(case, r"rendering at", (width // 4, height // 4))[:2])
    views = cameras(inputs, camera_size(case), inputs["affine"])
    seen = seen_at(torch.from_numpy(inputs["poses_3d"]).float()[None] / MM, views, width)
    drawn = render(seen, cells)[0]
    visible = torch.from_numpy(inputs["joints_vis"]).float()[None, ..., 0]
    labels = torch.from_numpy(inputs["joints_2d"]).float()[None]
    valid = torch.ones(1, seen.shape[2], dtype=torch.bool)
    distance = {drop: matched_distance(seen, valid, labels, visible, (width, height), drop) for drop in (False, True)}
    return {
        "kps_2d": seen[0].numpy(),
        "heatmaps": thinned(drawn, outputs.get("heatmaps")).numpy(),
        "l1_attn": distance[True].numpy(),
        "l1_mean": distance[False].numpy(),
    }


def metrics(inputs: Arrays) -> Arrays:
    """Panoptic's protocol over the case's frames; candidates under the threshold carry a negative flag."""
    from vitruvian.metrics.poses3d import precision_over_people

    found, scores, truth, visible = [], [], [], []
    for pred, gt, vis, count in zip(*(inputs[f"eval_{name}"] for name in ("pred", "gt", "gt_vis", "num_gt")), strict=True):
        if count:  # the published loop skips frames in which nobody is
            pred = pred[pred[:, 0, 3] >= 0]
            found.append(pred[..., :3] / MM)
            scores.append(pred[:, 0, 4])
            truth.append(gt[:count] / MM)
            visible.append(vis[:count] > 0.1)
    result = precision_over_people(found, scores, truth, visible)
    return {
        "ap": np.array(list(result.ap.values())),
        "recall": np.array(list(result.recall.values())),
        "mpjpe": np.float64(result.mpjpe * MM),
        "recall500": np.float64(result.recall500),
    }
