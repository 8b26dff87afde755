"""The compact body against Anny's own forward: error in mm and speed, one run, one CPU thread, float32.

    python benchmarks/compact_body.py [--bodies 200]        (extra [synth]; set OPENBLAS_NUM_THREADS=1 for one thread)

Errors over random phenotypes and the house's random poses: with Anny's pose turned into the compact body's by `pose_from_anny`
(merged bones keep still), and with the compact body fitted to Anny's mesh (what it can express at all).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
from compact_body import draw_phenotypes, posed_bodies, rest_bodies  # noqa: E402
from vitruvian.body.compact import ASSET, load_compact, shape_from_phenotype  # noqa: E402
from vitruvian.body.correspond import parameters_from_mesh  # noqa: E402
from vitruvian.body.torch import TorchBody  # noqa: E402


def millimetres(name: str, error: np.ndarray) -> None:
    """Print mean, 99th percentile and maximum of distances in metres."""
    e = 1000 * error
    print(f"{name}: mean {e.mean():.3f} mm, 99 % {np.percentile(e, 99):.3f} mm, worst {e.max():.2f} mm", flush=True)


def seconds(run: Callable[[], object], least: float = 1.5) -> float:
    """The fastest of the calls made within `least` seconds, after one to warm up."""
    run()
    times, end = [], time.perf_counter() + least
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print errors, then speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=200)
    parser.add_argument("--fitted", type=int, default=20, help="how many of them the compact body is fitted to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    import anny

    model = anny.Anny(rig="anny", topology="anny", facial_actions="all", phenotypes="all").float()
    rigged = anny.Anny(rig="makehuman", topology="anny", facial_actions="none", phenotypes="all").float()
    body, rng = load_compact(), np.random.default_rng(11)
    print(f"asset {ASSET.stat().st_size / 1e6:.2f} MB; {body.num_vertices} vertices, {body.num_joints} joints, {body.num_shape} shapes")
    phenotypes = draw_phenotypes(model, rng, options.bodies)
    shape = np.stack([shape_from_phenotype(**dict(zip(model.phenotype_labels, row, strict=True))) for row in phenotypes])
    vertices, _ = rest_bodies(model, rigged, phenotypes)
    millimetres("rest bodies", np.linalg.norm(body.rest(shape)[0] - vertices, axis=2))
    pose, translation, posed = posed_bodies(model, rng, phenotypes)
    out = body.forward(pose, shape, None, translation)
    millimetres("posed bodies, poses mapped", np.linalg.norm(out.vertices - posed, axis=2))
    few = posed[: options.fitted].astype(np.float32)
    p = parameters_from_mesh(body, few).parameters
    millimetres(
        f"posed bodies, fitted ({len(few)})", np.linalg.norm(body.forward(p.pose, p.shape, None, p.translation).vertices - few, axis=2)
    )
    speed(model, body, phenotypes, pose, shape, translation)


def speed(model, body, phenotypes, pose, shape, translation) -> None:
    """Bodies per second of the whole forward, shape and expression included."""
    dense = TorchBody(body)
    expression = np.random.default_rng(0).uniform(0, 0.3, (len(pose), 52)).astype(np.float32)
    for batch in (1, 64):
        args = [np.ascontiguousarray(a[:batch]) for a in (pose, shape, expression, translation)]
        tensors = [torch.from_numpy(a) for a in args]
        labels, actions = torch.from_numpy(phenotypes[:batch]).float(), torch.from_numpy(expression[:batch])
        turns = torch.eye(4).expand(batch, model.bone_count, 4, 4)
        with torch.no_grad():
            runs = {
                "compact, numpy": lambda: body.forward(*args),  # noqa: B023
                "compact, numpy, one shape": lambda: body.forward(args[0], args[1][:1], args[2][:1], args[3]),  # noqa: B023
                "compact, torch": lambda: dense(*tensors),  # noqa: B023
                "Anny": lambda: model(pose_parameters=turns, phenotype_kwargs=labels, facial_actions=actions),  # noqa: B023
            }
            for name, run in runs.items():
                t = seconds(run)
                print(f"batch {batch:2d}, {name:26s}: {batch / t:7.0f} bodies/s ({1000 * t:.1f} ms)", flush=True)


if __name__ == "__main__":
    main()
