"""Deterministic weights, so a model can be checked against its published implementation without its checkpoint.

A parity case is two files:

    CASE.json  {"source": "owner/repo@commit", "variant": str, "notes": str,
                "state":   {name: {"shape": [...], "dtype": "float32", "rule": "fill" | "kept"}},
                "inputs":  {name: {"shape": [...], "dtype": ..., "rule": "randn:SEED" | "kept"}},
                "outputs": {name: {"shape": [...], "dtype": ...}},
                "rtol": float, "atol": float}
    CASE.npz   "state/NAME"  for each kept state entry (tables, index buffers, fixed embeddings)
               "input/NAME"  for each kept input
               "output/NAME" for each output of the published implementation in eval mode, float32, CPU

`state_dict(case)` rebuilds the published checkpoint's keys and values; load it as if it were the
published file, run the model on `inputs(case)`, and compare with `outputs(case)`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np


def _rng(key: str) -> np.random.RandomState:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
    return np.random.RandomState(seed)  # RandomState's stream is frozen across numpy versions


def fill(name: str, shape, dtype: str = "float32") -> np.ndarray:
    """Values for the state entry `name`: a fixed function of its name and shape, scaled to keep activations sane."""
    shape = tuple(int(s) for s in shape)
    kind = np.dtype(dtype)
    if kind.kind != "f":
        return np.zeros(shape, kind)
    rng = _rng(name)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        out = rng.uniform(0.5, 1.5, shape)
    elif len(shape) >= 2:
        out = rng.standard_normal(shape) / np.sqrt(max(1, int(np.prod(shape[1:]))))
    elif leaf in ("weight", "gamma", "scale"):
        out = rng.uniform(0.5, 1.5, shape)
    else:
        out = 0.1 * rng.standard_normal(shape)
    return np.asarray(out, kind)


def randn(seed: int, shape, dtype: str = "float32") -> np.ndarray:
    """A standard-normal input drawn from a frozen stream."""
    return np.random.RandomState(seed).standard_normal(tuple(shape)).astype(dtype)


class Case:
    """One parity case on disk, named by its path without suffix."""

    def __init__(self, stem: str | Path):
        stem = Path(stem)
        self.meta = json.loads(stem.with_suffix(".json").read_text())
        with np.load(stem.with_suffix(".npz")) as archive:
            self.arrays = {k: archive[k] for k in archive.files}

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            name: self.arrays[f"state/{name}"] if entry["rule"] == "kept" else fill(name, entry["shape"], entry["dtype"])
            for name, entry in self.meta["state"].items()
        }

    def inputs(self) -> dict[str, np.ndarray]:
        out = {}
        for name, entry in self.meta["inputs"].items():
            rule, _, seed = entry["rule"].partition(":")
            out[name] = self.arrays[f"input/{name}"] if rule == "kept" else randn(int(seed), entry["shape"], entry["dtype"])
        return out

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: self.arrays[f"output/{name}"] for name in self.meta["outputs"]}


def save_case(stem, *, source, variant, notes, state, inputs, outputs, kept=(), rtol=1e-4, atol=1e-4):
    """Write a case. `state`: {name: array}; `inputs`: {name: array or ("randn", seed, shape)}; `kept`: state names stored as they are."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    arrays, meta = (
        {},
        {"source": source, "variant": variant, "notes": notes, "state": {}, "inputs": {}, "outputs": {}, "rtol": rtol, "atol": atol},
    )
    for name, value in state.items():
        value = np.asarray(value)
        keep = name in kept or value.dtype.kind not in "f" and value.ndim > 0
        meta["state"][name] = {"shape": list(value.shape), "dtype": str(value.dtype), "rule": "kept" if keep else "fill"}
        if keep:
            arrays[f"state/{name}"] = value
    for name, value in inputs.items():
        if isinstance(value, tuple) and value and value[0] == "randn":
            meta["inputs"][name] = {"shape": list(value[2]), "dtype": "float32", "rule": f"randn:{value[1]}"}
        else:
            value = np.asarray(value)
            meta["inputs"][name] = {"shape": list(value.shape), "dtype": str(value.dtype), "rule": "kept"}
            arrays[f"input/{name}"] = value
    for name, value in outputs.items():
        value = np.asarray(value)
        meta["outputs"][name] = {"shape": list(value.shape), "dtype": str(value.dtype)}
        arrays[f"output/{name}"] = value
    stem.with_suffix(".json").write_text(json.dumps(meta, indent=1) + "\n")
    np.savez_compressed(stem.with_suffix(".npz"), **arrays)
