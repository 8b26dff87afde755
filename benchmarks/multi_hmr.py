"""Multi-HMR: seconds per picture against the number of people; bfloat16, ONNX Runtime and plain attention against float32.

    PYTHONPATH=src python benchmarks/multi_hmr.py [--variant compact-t] [--run RUN/full [--onnx FILE]] [--threads 1] [--repeats 5]

`--run` takes the trained network of recipes/multi_hmr_small.py, else weights are random: times don't depend on them, differences do.
Times are medians of processor time, of all threads together, which a busy machine changes little; the ways take turns. The published
implementation is not here (its licence forbids it). "plain" stands in for it: the same network and weights, with attention's weights
written out as matrices, as DINOv2's code does where xformers is not, so on every CPU [mem]. Body layers are left out: numpy's costs the
same for every network.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitruvian.codecs.mesh import camera_code
from vitruvian.systems.export import write_onnx
from vitruvian.systems.mesh.camera import default_intrinsics
from vitruvian.systems.mesh.multi_hmr import VARIANTS, MultiHMR, exported, from_published

PEOPLE = (0, 1, 2, 4, 8, 16)


def in_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each way, which take turns so that a busy machine hurts all alike."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return {name: 1000 * float(np.median(values)) for name, values in taken.items()}


def against_people(model: MultiHMR, image: torch.Tensor, camera: torch.Tensor, repeats: int) -> dict[str, float]:
    """Milliseconds of a picture in torch, float32, with so many people in it."""
    grid = model.config.grid
    places = torch.randperm(grid * grid, generator=torch.Generator().manual_seed(0))

    def run(count: int) -> Callable[[], object]:
        chosen = places[: min(count, grid * grid)].sort()[0]
        cells = torch.stack((torch.zeros_like(chosen), chosen // grid, chosen % grid), 1)
        return lambda: model.people(model.encode(image), camera, cells)

    return in_turns({f"{count} people": run(count) for count in PEOPLE}, repeats)


def backends(model: MultiHMR, image: torch.Tensor, camera: torch.Tensor, repeats: int, threads: int, onnx: Path | None) -> None:
    """Print milliseconds of each way, and how far head joints and depths of bfloat16 and ONNX Runtime are from those of float32."""
    import onnxruntime

    size = model.config.image_size
    code = camera_code(camera.numpy(), size)
    with tempfile.TemporaryDirectory() as folder:
        packed = exported(model.config, model)
        if onnx is None:
            write_onnx(packed, Path(folder) / "n.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(onnx or Path(folder) / "n.onnx"), options)
    network, coded = packed.network.eval(), torch.from_numpy(code)

    def plain() -> tuple[torch.Tensor, ...]:
        with sdpa_kernel(SDPBackend.MATH):
            return network(image, coded)

    def half() -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            return network(image, coded)

    ways = {
        "float32": lambda: network(image, coded),
        "plain": plain,
        "bfloat16": half,
        "onnx": lambda: session.run(None, {"image": image.numpy(), "camera": code}),
    }
    exact, low, other = ways["float32"](), half(), ways["onnx"]()
    for name, spent in in_turns(ways, repeats).items():
        print(f"{name:>10} {spent:8.1f} ms")
    top = torch.nonzero(exact[0][0] >= min(0.3, float(exact[0].max())))[:, 0]
    for name, found in (("bfloat16", [x.float() for x in low]), ("onnx", [torch.from_numpy(x) for x in other])):
        same = torch.cdist(exact[1][0, top], found[1][0]).argmin(1)  # rounding may change the order of people
        moved = (found[3][0, same] - exact[3][0, top]).norm(dim=-1)
        across = ((found[1][0, same] - exact[1][0, top]) / camera[0, 0, 0] * exact[2][0, top]).norm(dim=-1)
        turned = (found[4][0, same] - exact[4][0, top]).abs().max()
        print(
            f"{name:>10}, {len(top)} people: head joint {1000 * float(moved.max()):.2f} mm off at most, "
            f"{1000 * float(across.max()):.2f} mm across the line of sight; rotation matrices {float(turned):.1e}"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="compact-t", choices=list(VARIANTS))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--onnx", type=Path, help="the network as it was exported; exported first without, which takes a while")
    parser.add_argument("--image", type=Path, help="a picture to look at; noise without")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.run:
        state = torch.load(options.run / "last.pt", map_location="cpu", weights_only=True)["averaged"]
        model = from_published(state, published=False)[1]
    else:
        model = MultiHMR(VARIANTS[options.variant]).eval()
    size = model.config.image_size
    image = torch.randn(1, 3, size, size)
    if options.image:
        from vitruvian.codecs.contain import contain
        from vitruvian.codecs.normalise import normalise
        from vitruvian.media.pictures import read_image

        image = torch.from_numpy(normalise(contain(read_image(options.image), size)[0][None]))
    camera = default_intrinsics(size)[None]
    print(f"{size} pixels, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {options.threads} threads")
    with torch.inference_mode():
        for name, spent in against_people(model, image, camera, options.repeats).items():
            print(f"{name:>10} {spent:8.1f} ms")
        backends(model, image, camera, options.repeats, options.threads, options.onnx)


if __name__ == "__main__":
    main()
