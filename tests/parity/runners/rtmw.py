"""Runs the cases of "rtmw": whole networks, heads alone (inputs are then the maps that a head takes), and the 3D SimCC codec.

The codec's case stores targets of depth at every 4th bin. What RTMW shares with DWPose is run as a case of "dwpose".
"""

from __future__ import annotations

import numpy as np
import torch
from tests.parity.fill import Case
from tests.parity.runners import dwpose

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if any(name.startswith("head.") for name in case.meta["state"]):
        return network(case)
    return simcc3d_codec(inputs) if "logits_z" in inputs else dwpose.run(case)


def network(case: Case) -> Arrays:
    """Checkpoint -> our network, or our head where the checkpoint has no more -> logits per axis."""
    from vitruvian.systems.checkpoint import pour
    from vitruvian.systems.pose2d.rtmw import Head, HierarchicalHead, from_published, infer_config

    state = {name: torch.as_tensor(value) for name, value in case.state_dict().items()}
    inputs = sorted((torch.from_numpy(value) for value in case.inputs().values()), key=lambda x: -x.shape[2])  # fine maps first
    if any(name.startswith("backbone.") for name in state):
        _, model = from_published(state)
    else:
        config = infer_config(state)
        model = (Head if config.levels == 1 else HierarchicalHead)(inputs[-1].shape[1], config).eval()
        pour(model, {name.removeprefix("head."): value for name, value in state.items()})
    with torch.inference_mode():
        outputs = model(*inputs)
    return {f"simcc_{axis}": value.numpy() for axis, value in outputs._asdict().items()}


def simcc3d_codec(inputs: Arrays) -> Arrays:
    """Decode the logits; encode the keypoints with and without depth."""
    from vitruvian.codecs.simcc3d import SimCC3D

    logits = [inputs[f"logits_{axis}"] for axis in "xyz"]
    codec = SimCC3D(tuple(line.shape[-1] // 2 for line in logits))
    keypoints, scores = codec.decode(*logits)
    metric = np.concatenate([keypoints[..., :2], codec.metres(keypoints[..., 2:])], axis=-1)
    deep = codec.encode(inputs["keypoints2d"], inputs["keypoints3d"][..., 2], inputs["visible"])
    flat = codec.encode(inputs["keypoints2d"], None, inputs["visible"])
    return {
        "keypoints_crop": keypoints,
        "keypoints_metric_z": metric,
        "scores": scores,
        "label_z": deep.z[..., ::4],
        "label_weights": deep.weights,
        "weight_z": deep.depth_weights,
        "root_z": deep.root_depth,
        "label_z_2d_only": flat.z[..., ::4],
        "weight_z_2d_only": flat.depth_weights,
    }
