"""Person crops per second through RTMPose-m whole-body in batches of 32, beside its FLOPs: PyTorch and ONNX Runtime on the CPU, a GPU.

    python benchmarks/networks.py [--variant m] [--batch 32] [--threads 1] [--onnx FILE] [--peak TFLOPS]

Without --onnx a network with random weights is exported first, which takes a while. `--peak`: the accelerator's dense bf16 peak (989 for an
H100 or H200 by its data sheet), for the share of it that is reached.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import rtmw

SECONDS = 8.0


def rate(step: Callable[[], object], images: int) -> float:
    """The median rate over SECONDS of steps."""
    step()
    times, start = [], time.perf_counter()
    while not times or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return images / float(np.median(times))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="m", choices=rtmw.VARIANTS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--peak", type=float, default=989.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = rtmw.VARIANTS[options.variant]
    model = rtmw.network(config).eval()
    width, height = config.input_size
    images = torch.randn(options.batch, 3, height, width)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(images[:1])
    flops = counter.get_total_flops()
    print(f"{rtmw.variant_of(config)}: {flops / 2e9:.2f} G multiply-adds per crop, batch {options.batch}, {options.threads} thread(s)")
    rows = {}
    fast, batch = model.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    for name, bf16 in (("torch CPU float32", False), ("torch CPU bfloat16", True)):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            rows[name] = rate(lambda: fast(batch), options.batch)
    with tempfile.TemporaryDirectory() as folder:
        path = options.onnx or Path(folder) / "network.onnx"
        if options.onnx is None:
            write_onnx(rtmw.exported(config, model.to(memory_format=torch.contiguous_format)), path)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: images.numpy()}
        rows["ONNX Runtime CPU float32"] = rate(lambda: session.run(None, feed), options.batch)
    if torch.cuda.is_available():
        model, batch = model.cuda().to(memory_format=torch.channels_last), batch.cuda()

        def step() -> None:
            model(batch)
            torch.cuda.synchronize()

        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            rows[f"{torch.cuda.get_device_name()} bfloat16"] = rate(step, options.batch)
    print(f"{'':<34}{'crops/s':>10}{'TFLOP/s':>10}")
    for name, value in rows.items():
        share = "" if "CPU" in name else f"   {value * flops / options.peak / 1e10:.1f} % of {options.peak:g} TFLOP/s"
        print(f"{name:<34}{value:>10.1f}{value * flops / 1e12:>10.3f}{share}")


if __name__ == "__main__":
    main()
