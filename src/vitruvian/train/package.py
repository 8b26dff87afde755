"""From a training run to an embedded network: ONNX with half-precision weights, and its card.

    python -m vitruvian.train.package pose runs/pose src/vitruvian/assets
    python -m vitruvian.train.package nano runs/nano src/vitruvian/assets
    python -m vitruvian.train.package detector runs/owners src/vitruvian/assets
    python -m vitruvian.train.package light runs/dwpose-t-packaged src/vitruvian/assets

Weights are stored in half precision and cast back to float32 when the file is loaded, so a file is half as large and runs as
before; the difference this makes to the outputs is printed. Pose networks are then turned into 8-bit integers, nearly twice as fast
(`vitruvian.weights.reduce`; its card says how far that moved keypoints); `--whole` writes them as they were before that.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import nn

from vitruvian._files import written_whole
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.systems import catalogue
from vitruvian.systems.detection import rtmdet
from vitruvian.systems.export import difference, export_onnx
from vitruvian.train import defaults
from vitruvian.weights import Card
from vitruvian.weights.card import file_sha256
from vitruvian.weights.classes import PERSON_PARTS
from vitruvian.weights.quantise import halve
from vitruvian.weights.reduce import reduce

SCORE_SHIFT = -0.315
"""Of the detector's logits. A score of 0.3, the usual threshold, is then 0.37 of before: there precision and recall of persons in held-out
synthetic scenes are about equal (`benchmarks/detector.py --store`)."""


_TERMS = {
    "licence_code": "Apache-2.0",
    "licence_weights": "Apache-2.0",
    "licence_data": "synthetic: Anny bodies (CC0 MakeHuman assets), freely licensed pictures behind them: recipes/README.md",
    "source": "trained by this project: recipes/README.md",
}


def halve_weights(path: Path) -> None:
    """Store the large float32 weights of an ONNX file as float16 followed by a cast, in place."""
    import onnx

    model = onnx.load(path)
    halve(model)
    with written_whole(path) as temporary:
        onnx.save(model, temporary)


def load_averaged(network: nn.Module, run: Path) -> nn.Module:
    """The averaged weights of a training run, in eval mode."""
    network.load_state_dict(_averaged(run))
    return network.eval()


def _averaged(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", map_location="cpu", weights_only=True)["averaged"]


def deployed(run: Path) -> rtmdet.Deployed:
    """The detector of a run, with owners where they were taught; scores moved by `SCORE_SHIFT`, and its boxes decoded."""
    network = load_averaged(defaults.detector_network(any(name.startswith("owners.") for name in _averaged(run))), run)
    with torch.no_grad():
        for head in network.cls:
            head.bias += SCORE_SHIFT
    return rtmdet.Deployed(network)


class _Kind(NamedTuple):
    """A network that ships: its id, its input (width, height), and how it is made from a run."""

    id: str
    size: tuple[int, int]
    network: Callable[[Path], nn.Module]


KINDS = {
    "pose": _Kind("wholebody-s", defaults.POSE_INPUT, lambda run: load_averaged(defaults.pose_network(), run)),
    "nano": _Kind("wholebody-n", defaults.LIGHT_INPUT, lambda run: load_averaged(defaults.light_network(), run)),
    "detector": _Kind("person-parts-s", defaults.DETECTOR_INPUT, deployed),
}


def package(kind: str, run: Path, folder: Path, figures: dict[str, float]) -> Card:
    """Write `<id>.onnx` and `<id>.json` of the `pose`, `nano` or `detector` run (or of one that taught a detector owners) into `folder`.

    A pose network in half precision is `<id>-half`, the parent of what is packaged.
    """
    known, pose = KINDS[kind], kind != "detector"
    name, size, network = known.id + "-half" * pose, known.size, known.network(run)
    path = folder / f"{name}.onnx"
    example = torch.zeros(2, 3, size[1], size[0])
    free = {} if pose else {2: "height", 3: "width"}
    export_onnx(network, example, path, ("input",), ("maps",) if pose else network.outputs, free=free)
    halve_weights(path)
    worst, relative = difference(network.to(memory_format=torch.contiguous_format), path, [(3, size[1], size[0])])
    size_mb = path.stat().st_size / 1e6
    print(f"{path}: {size_mb:.2f} MB; half-precision weights move outputs by {worst:.3g}, {relative:.1e} of the range")
    card = Card(
        id=name, task="pose2d" if pose else "detection", file=str(path), input_size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD,
        family="MapPose" if pose else "RTMDet", codec="probability-map" if pose else "", subject="whole-body",
        skeleton=COCO_WHOLEBODY_133.name if pose else "", classes=() if pose else PERSON_PARTS, size_step=0 if pose else rtmdet.STRIDES[-1],
        sha256=file_sha256(path), figures=figures, **_TERMS,
    )  # fmt: skip
    card.save(path.with_suffix(".json"))
    return card


def second_card(card: Card, figures: dict[str, float]) -> Card:
    """Write `person-parts-n.json` beside person-parts-s: the same file at a smaller input, with its own figures."""
    card = replace(card, id="person-parts-n", input_size=defaults.SMALL_DETECTOR_INPUT, figures=figures)
    card.save(Path(card.file).with_name("person-parts-n.json"))
    return card


def package_pose(kind: str, run: Path, folder: Path, figures: dict[str, float]) -> Card:
    """Write `<id>.onnx` in 8-bit integers, and its card, whose parent is what `package` makes of the `pose` or `nano` run."""
    with TemporaryDirectory() as made:
        return _in_integers(package(kind, run, Path(made), figures), folder / f"{KINDS[kind].id}.onnx", figures)


def package_light(run: Path, folder: Path, figures: dict[str, float]) -> Card:
    """Write `dwpose-t-synth.onnx` in 8-bit integers, and its card, of a run of recipes/dwpose-t-packaged.toml."""
    with TemporaryDirectory() as made:
        path = Path(made) / "dwpose-t-synth-half.onnx"
        _, card, _ = catalogue.export(run / "network.safetensors", path, COCO_WHOLEBODY_133.name)
        halve_weights(path)
        card = replace(card, subject="whole-body", sha256=file_sha256(path), **_TERMS)
        return _in_integers(card, folder / "dwpose-t-synth.onnx", figures)


def _in_integers(card: Card, path: Path, figures: dict[str, float]) -> Card:
    """The network of a card as `path`, in 8-bit integers; its card has these figures, and how far answers moved."""
    card = reduce(card, path)
    card = replace(card, figures={**figures, **card.figures})
    card.save(path.with_suffix(".json"))
    return card


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.train.package", description=__doc__)
    parser.add_argument("kind", choices=("pose", "nano", "detector", "light"))
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=json.loads, default={}, help="measured figures, as JSON")
    parser.add_argument("--small-figures", type=json.loads, default={}, help="those of the detector at its smaller input, as JSON")
    parser.add_argument("--whole", action="store_true", help="ID-half.onnx with float arithmetic instead of ID.onnx")
    options = parser.parse_args()
    if options.kind in ("pose", "nano") and not options.whole:
        package_pose(options.kind, options.run, options.folder, options.figures)
    elif options.kind == "light":
        package_light(options.run, options.folder, options.figures)
    elif options.kind == "detector":
        second_card(package(options.kind, options.run, options.folder, options.figures), options.small_figures)
    else:
        package(options.kind, options.run, options.folder, options.figures)


if __name__ == "__main__":
    sys.exit(main())
