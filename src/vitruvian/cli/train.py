"""`vitruvian train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vitruvian.cli.console import console, progress_bar, stderr
from vitruvian.cli.evaluate import InstrumentSet, PartSet, PoseSet
from vitruvian.cli.options import need_torch

if TYPE_CHECKING:
    from vitruvian.train.loop import Report

FIGURES = ("all_px", "pck", "depth_mm", "ap50", "part_ap50", "owned", "mae", "acc30", "maps_e3", "recall_300", "mpjpe_mm", "recall_500")
"""What stages are judged by: poses, then detectors."""


def train(
    recipe: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    data: Path | None = None,
    dataset: PoseSet | PartSet | InstrumentSet | Literal["panoptic", "h3wb"] | None = None,
    keypoints: str | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int | None = None,
) -> int:
    """Train the networks of a recipe; a stopped run goes on where it was.

    Parameters
    ----------
    recipe
        A recipe (.toml), as those in recipes/.
    out
        Folder of the run, runs/NAME by default; a stage's log is in STAGE/log.jsonl, its network in STAGE/network.safetensors.
    data
        Folder of an official data set to train on, in the place of what the recipe names.
    dataset
        Which data set is in that folder; by default COCO-WholeBody, of detectors CrowdHuman (BPJDet), MEBOW (JointBDOE), or
        hsdb-cholecystectomy.
    keypoints
        The keypoint set to learn, in the place of the recipe's: its name, or a file of named points on a body (my_markers.toml; see
        vitruvian/systems/biomechanics/synthpose52.toml).
    steps
        At most so many steps in each stage.
    seconds
        At most so many seconds of training in each stage.
    device
        Where to train; auto takes CUDA where PyTorch has it. On several GPUs: torchrun --nproc-per-node 4 -m vitruvian train RECIPE.
    threads
        How many CPU threads PyTorch may use.
    """
    need_torch()
    import torch

    from vitruvian.train.crew import join, leave
    from vitruvian.train.recipe import on_data, on_keypoints, read_recipe, shortened
    from vitruvian.train.run import run_recipe

    if threads is not None:
        torch.set_num_threads(max(1, threads))
    chosen = read_recipe(recipe)
    if data is not None:
        chosen = on_data(chosen, data, dataset)
    if keypoints is not None:
        chosen = on_keypoints(chosen, keypoints)
    chosen = shortened(chosen, steps, seconds)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    crew, device = join(device)
    out = out if out is not None else Path("runs") / chosen.name
    last: Report = {}
    with progress_bar("train") as update:

        def on_step(name: str, done: int, total: int, report: Report) -> None:
            if report and report != last:
                last.clear()
                last.update(report)
                if any(name in report for name in FIGURES):
                    stderr.print(f"{name}: {summary(report)}", markup=False)
            update(completed=done, total=total or None, note=f"{name} {summary(report)}")

        network = run_recipe(chosen, out, device, on_step, crew)
    leave()
    if not crew.leads:
        return 0
    for stage in chosen.stages:
        console.print(f"{stage.name:<12} {out / stage.name / network.name}", markup=False)
    console.print(f"{chosen.name:<12} {network}", markup=False)
    return 0


def summary(report: Report) -> str:
    """The numbers of a report that one looks at."""
    shown = {name: report[name] for name in ("step", "total", *FIGURES) if name in report}
    return ", ".join(f"{name} {value:g}" for name, value in shown.items())
