"""`vitruvian convert-checkpoint` and `vitruvian export`: from published PyTorch checkpoints to safe files, and to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitruvian.cli.console import console, print_rows, status
from vitruvian.cli.options import need_torch


def convert_checkpoint(file: Path, /, *, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None, skeleton: str = "") -> int:
    """Recognise a published checkpoint by its keys and shapes, and write it as safetensors with a card. Nothing in the file is executed.

    Parameters
    ----------
    file
        A .pth file of a system that is known here.
    out
        The .safetensors file; by default named after the checkpoint, in the folder of converted ones, where export finds it by its id.
    skeleton
        Keypoint set of the network, where its number of keypoints doesn't tell: ap10k-17 for an animal's; or the file that declares it
        (my_markers.toml).
    """
    need_torch()
    from vitruvian.systems import catalogue

    with status(f"reading {file.name}") as on_step:
        target, card = catalogue.convert_checkpoint(file, out, skeleton, on_step)
    network, licences = card["network"] or {}, card["licences"]
    rows = {
        "system": card["system"],
        "variant": card["variant"],
        "parameters": f"{card['parameters'] / 1e6:.2f} M",
        "keypoints": network.get("skeleton", ""),
        "code": licences["code"],
        "weights": licences["weights"],
        "data": licences["data"],
        "file": str(target),
    }
    if out is None:
        rows["id"] = target.stem
    print_rows({title: text for title, text in rows.items() if text})
    return 0


def export(network: str, /, *, out: Annotated[Path, Parameter(name=["--out", "-o"])], skeleton: str = "", body: str = "") -> int:
    """Write a checkpoint's network as ONNX (any batch size) with its card, and print how far it is from PyTorch.

    Parameters
    ----------
    network
        A .pth or .safetensors file, or the id of a converted checkpoint.
    out
        The .onnx file; its card gets the same name, with .json.
    skeleton
        Keypoint set of the network, where its number of keypoints doesn't tell: its name, or the file that declares it (my_markers.toml).
        Networks of vitruvian train know theirs.
    body
        "anny" for a network for meshes whose heads were taught the compact body in place of SMPL-X or SMPL: it needs no file of yours.
    """
    need_torch()
    from vitruvian.systems import catalogue

    with status(f"reading {Path(network).name}") as on_step:
        found, card, worst = catalogue.export(network, out, skeleton, on_step, body)
    print_rows({"system": found.system.name, "variant": found.variant, "size": f"{card.size_bytes / 1e6:.1f} MB", "file": card.file})
    console.print(f"largest difference from torch: {worst:.3g}")
    return 0
