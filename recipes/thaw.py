"""A training run's last.pt of MapPose from its ONNX file in half precision: to go on training where the run folder is lost.

    git show 613d9a2:src/vitruvian/assets/wholebody-s.onnx > wholebody-s-half.onnx      # what wholebody-s was made integers of
    python recipes/thaw.py wholebody-s-half.onnx people photographs.local.txt runs/thawed/last.pt

Normalisations are folded into the file's convolutions. Each is given back the means and deviations that it has on 128 pictures, and weights
that undo these, so that the network says in evaluation what the file says and in training nearly so. Heads that the file lacks
(coarse map, surface) begin anew.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from vitruvian.synth.scene import pose_crop
from vitruvian.systems.pose2d.mappose import MapPose, probabilities
from vitruvian.train import defaults
from vitruvian.train.feed import Endless, batches, collate_pose


def weights_of(path: Path) -> dict[str, Tensor]:
    """The file's weights by our names; those of a matrix product are named by the bias that is added to it."""
    graph = onnx.load(path).graph
    known = {i.name.removesuffix("_half"): numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    reader = {name: node for node in graph.node for name in node.input}
    out = {name: value for name, value in known.items() if not name.startswith(("val_", "const_"))}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in known:
            add = reader[node.output[0]]
            bias = next(name for name in add.input if name.removesuffix("_half") in known).removesuffix("_half")
            out[bias.removesuffix("bias") + "weight"] = known[node.input[1]].T
    return {name: torch.from_numpy(value.copy()) for name, value in out.items()}


def fill(network: MapPose, known: dict[str, Tensor]) -> None:
    """Put the weights in their places; a folded bias goes to the normalisation behind its convolution."""
    state = network.state_dict()
    for name, value in known.items():
        name = name.replace(".conv.weight_bias", ".bn.bias")
        if state[name].shape != value.shape:
            raise SystemExit(f"{name} is {tuple(value.shape)}, expected {tuple(state[name].shape)}")
        state[name] = value
    network.load_state_dict(state)
    absent = [n for n in state if n not in known and ".bn." not in n and not n.startswith(("surface", "coarse"))]
    if absent:
        raise SystemExit(f"the file lacks {absent[0]}")


def unfold(network: MapPose, images: Tensor) -> None:
    """Give each normalisation the statistics of these pictures, and weights that undo them."""

    def settle(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)

    hooks = [part.register_forward_pre_hook(settle) for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def main() -> None:
    """The command line."""
    path, store, photographs, out = map(Path, sys.argv[1:])
    scenes = Endless(functools.partial(pose_crop, size=defaults.POSE_INPUT), store, photographs.read_text().splitlines(), 3)
    images = defaults.normalise(next(iter(batches(scenes, collate_pose, 128, 0)))[0])
    network = defaults.pose_network()
    fill(network, weights_of(path))
    unfold(network, images)
    with torch.no_grad():
        said = probabilities(network.eval().logits(images[:16])).numpy()
    true = onnxruntime.InferenceSession(path).run(None, {"input": images[:16].numpy()})[0]
    print(f"largest difference from the file: {np.abs(said - true).max():.1e}")
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict(), "averaged": network.state_dict(), "step": 0}, out)


if __name__ == "__main__":
    main()
