"""A training run's last.pt from a network's ONNX file in half precision: to go on training where the run folder is lost.

    git show 613d9a2:src/vitruvian/assets/wholebody-s.onnx > wholebody-s-half.onnx      # what wholebody-s was made integers of
    python recipes/thaw.py wholebody-s-half.onnx people photographs.local.txt runs/thawed/last.pt
    python recipes/thaw.py src/vitruvian/assets/person-parts-s.onnx people photographs.local.txt runs/thawed-detector/last.pt

Whether the file is a pose network or a detector is told by its outputs. Normalisations behind a convolution are folded into it in the file.
Each is given back the means and deviations that it has on 128 pictures, and weights that undo these, so that the network says in
evaluation what the file says and in training nearly so. Those of the detector's towers are in the file and stay as they are. Heads that a
pose network's file lacks (coarse map, surface) begin anew; a detector's scores are moved back by `SCORE_SHIFT`.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from vitruvian.synth.scene import detection_scene, pose_crop
from vitruvian.systems.detection import rtmdet
from vitruvian.systems.detection.rtmdet import RTMDet
from vitruvian.systems.pose2d.mappose import MapPose, probabilities
from vitruvian.train import defaults
from vitruvian.train.feed import Endless, batches, collate_pose, collate_scenes
from vitruvian.train.package import SCORE_SHIFT

PICTURES, COMPARED = 128, 16


def weights_of(path: Path) -> dict[str, Tensor]:
    """The file's weights by our names; those of a matrix product are named by the bias that is added to it.

    A folded bias has the name of the normalisation behind its convolution.
    """
    graph = onnx.load(path).graph
    known = {i.name.removesuffix("_half"): numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    reader = {name: node for node in graph.node for name in node.input}
    out = {name: value for name, value in known.items() if not name.startswith(("val_", "const_", "scalar_"))}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in known:
            add = reader[node.output[0]]
            bias = next(name for name in add.input if name.removesuffix("_half") in known).removesuffix("_half")
            out[bias.removesuffix("bias") + "weight"] = known[node.input[1]].T
    return {_named(name): torch.from_numpy(value.copy()) for name, value in out.items()}


def _named(name: str) -> str:
    name = name.removeprefix("network.").replace(".conv.weight_bias", ".bn.bias")
    return re.sub(r"\.0\.weight_bias$", ".1.bias", name)  # of a sequence: a convolution, its normalisation


def fill(network: nn.Module, known: dict[str, Tensor]) -> list[nn.BatchNorm2d]:
    """Put the weights in their places; returns the normalisations of which the file has only what was folded."""
    state = network.state_dict()
    for name, value in known.items():
        if state[name].shape != value.shape:
            raise SystemExit(f"{name} is {tuple(value.shape)}, expected {tuple(state[name].shape)}")
        state[name] = value
    network.load_state_dict(state)
    norms = {name: part for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)}
    absent = [n for n in state if n not in known and n.rpartition(".")[0] not in norms and not n.startswith(("surface", "coarse"))]
    if absent:
        raise SystemExit(f"the file lacks {absent[0]}")
    return [part for name, part in norms.items() if f"{name}.running_mean" not in known]


def unfold(network: nn.Module, norms: list[nn.BatchNorm2d], run: functools.partial) -> None:
    """Give each of these normalisations the statistics that it has in `run`, and weights that undo them."""

    def settle(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)

    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
    network.eval()
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()


def thawed_pose(known: dict[str, Tensor], images: Tensor) -> tuple[MapPose, list[Tensor]]:
    """The pose network, and what it says of the first pictures."""
    network = defaults.pose_network()
    unfold(network, fill(network, known), functools.partial(network, images))
    with torch.no_grad():
        return network, [probabilities(network.logits(images[:COMPARED]))]


def thawed_detector(known: dict[str, Tensor], images: Tensor) -> tuple[RTMDet, list[Tensor]]:
    """The detector, with owners where the file has them, and what it says of the first pictures."""
    network = defaults.detector_network(owners=any(name.startswith("owners.") for name in known))
    deployed = rtmdet.Deployed(network)
    unfold(network, fill(network, known), functools.partial(deployed, images))
    with torch.no_grad():
        said = list(deployed(images[:COMPARED]))
        for head in network.cls:
            head.bias -= SCORE_SHIFT
    return network, said


def main() -> None:
    """The command line."""
    path, store, photographs, out = map(Path, sys.argv[1:])
    session = onnxruntime.InferenceSession(path)
    if session.get_outputs()[0].name == "boxes":
        draw, collate, thawed = functools.partial(detection_scene, size=defaults.SCENE), collate_scenes, thawed_detector
    else:
        draw, collate, thawed = functools.partial(pose_crop, size=defaults.POSE_INPUT), collate_pose, thawed_pose
    scenes = Endless(draw, store, photographs.read_text().splitlines(), 3)
    images = defaults.normalise(next(iter(batches(scenes, collate, PICTURES, 0)))[0])
    network, said = thawed(weights_of(path), images)
    for output, here, there in zip(session.get_outputs(), said, session.run(None, {"input": images[:COMPARED].numpy()}), strict=True):
        off = np.abs(here.numpy() - there).max()
        print(f"{output.name}: largest difference from the file {off:.1e}, values to {np.abs(there).max():.3g}")
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict(), "averaged": network.state_dict(), "step": 0}, out)


if __name__ == "__main__":
    main()
