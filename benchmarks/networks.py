"""Person crops per second through RTMPose-m whole-body in batches of 32, beside its FLOPs: PyTorch and ONNX Runtime on the CPU, a GPU.

    python benchmarks/networks.py [--variant m] [--batch 32] [--threads 1] [--seconds 8] [--onnx FILE] [--peak TFLOPS] [--bandwidth TB/S]

Without --onnx a network with random weights is exported first, which takes a while. With one thread, the CPU's seconds are of processor
time, so that what else the machine does hardly counts.

Where PyTorch has CUDA: bfloat16, op by op and as one CUDA graph, each with its share of the roofline. That is the least time which the
accelerator could take: over the operators, the larger of FLOPs by `--peak` (dense bf16) and bytes read and written by `--bandwidth`, none
of them fused. The defaults, 989 and 4.8, are an H200's by its data sheet.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import rtmw


@dataclass
class Cost(TorchDispatchMode):
    """Counts what runs inside it: floating-point operations, bytes between operators and memory, and the roofline's seconds."""

    peak: float = float("inf")  # operations per second
    bandwidth: float = float("inf")  # bytes per second
    flops: float = 0.0
    traffic: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            count = flop_registry.get(func._overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=out) if count else 0
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            traffic = sum(x.numel() * x.element_size() for x in tensors)
            self.flops, self.traffic = self.flops + flops, self.traffic + traffic
            self.seconds += max(flops / self.peak, traffic / self.bandwidth)
        return out


Clock = Callable[[], float]


def rate(step: Callable[[], object], images: int, seconds: float, clock: Clock = time.perf_counter) -> float:
    """The median rate over so many seconds of steps, after a few that don't count."""
    for _ in range(3):
        step()
    times, start = [], clock()
    while not times or clock() - start < seconds:
        before = clock()
        step()
        times.append(clock() - before)
    return images / float(np.median(times))


def on_cpu(model: nn.Module, images: Tensor, seconds: float, clock: Clock) -> dict[str, float]:
    """Crops per second by PyTorch."""
    rows, fast = {}, copy.deepcopy(model).to(memory_format=torch.channels_last)
    batch = images.contiguous(memory_format=torch.channels_last)
    for name, bf16 in (("torch CPU float32", False), ("torch CPU bfloat16", True)):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            rows[name] = rate(lambda: fast(batch), len(images), seconds, clock)
    return rows


def on_runtime(
    config: rtmw.Config, model: nn.Module, images: Tensor, onnx: Path | None, threads: int, seconds: float, clock: Clock
) -> dict[str, float]:
    """Crops per second by ONNX Runtime, on the CPU and on CUDA where it has that."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = onnx or Path(folder) / "network.onnx"
        if onnx is None:
            write_onnx(rtmw.exported(config, model), path)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        for title, provider in (("CPU", "CPUExecutionProvider"), ("CUDA", "CUDAExecutionProvider")):
            if provider in onnxruntime.get_available_providers():
                session = onnxruntime.InferenceSession(str(path), settings, providers=[provider])
                feed = {session.get_inputs()[0].name: images.numpy()}
                rows[f"ONNX Runtime {title} float32"] = rate(
                    lambda s=session, f=feed: s.run(None, f), len(images), seconds, clock if title == "CPU" else time.perf_counter
                )
    return rows


def on_gpu(model: nn.Module, images: Tensor, seconds: float) -> dict[str, float]:
    """Crops per second in bfloat16 on CUDA: launched op by op, and as one graph."""
    fast = copy.deepcopy(model).to("cuda", torch.bfloat16).to(memory_format=torch.channels_last)
    batch = images.to("cuda", torch.bfloat16).contiguous(memory_format=torch.channels_last)

    def waited(step: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            step()
            torch.cuda.synchronize()

        return run

    with torch.inference_mode():
        rows = {"torch CUDA bfloat16": rate(waited(lambda: fast(batch)), len(images), seconds)}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            fast(batch)
        return rows | {"torch CUDA bfloat16, one graph": rate(waited(graph.replay), len(images), seconds)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="m", choices=rtmw.VARIANTS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each row")
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--peak", type=float, default=989.0)
    parser.add_argument("--bandwidth", type=float, default=4.8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = rtmw.VARIANTS[options.variant]
    model = rtmw.network(config).eval()
    width, height = config.input_size
    images = torch.randn(options.batch, 3, height, width)
    # Not in inference mode, which would hide what convolutions are made of.
    with torch.no_grad(), Cost(options.peak * 1e12, options.bandwidth * 1e12) as cost:
        copy.deepcopy(model).bfloat16()(images.bfloat16())
    flops = cost.flops / options.batch
    print(f"{rtmw.variant_of(config)}: {flops / 2e9:.2f} G multiply-adds per crop, batch {options.batch}, {options.threads} thread(s)")
    clock = time.process_time if options.threads == 1 else time.perf_counter
    if torch.cuda.is_available():
        limit = options.batch / cost.seconds
        print(f"{torch.cuda.get_device_name()}; roofline at {options.peak:g} TFLOP/s and {options.bandwidth:g} TB/s: {limit:,.0f} crops/s")
    print(f"{'':<34}{'crops/s':>10}{'TFLOP/s':>10}{'roofline':>10}", flush=True)

    def show(rows: dict[str, float]) -> None:
        for name, value in rows.items():
            share = f"{100 * value * cost.seconds / options.batch:>8.1f} %" if "CUDA bf" in name else ""
            print(f"{name:<34}{value:>10.1f}{value * flops / 1e12:>10.3f}{share}", flush=True)

    show(on_cpu(model, images, options.seconds, clock))
    show(on_runtime(config, model, images, options.onnx, options.threads, options.seconds, clock))
    if torch.cuda.is_available():
        show(on_gpu(model, images, options.seconds))


if __name__ == "__main__":
    main()
