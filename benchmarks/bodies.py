"""How fast are posed bodies, beside the smplx package on the same synthetic SMPL-X file: `python benchmarks/bodies.py`.

One process, CPU, float32, alternating: ours, theirs, ours ... so that whatever else the machine does meets both. The figure is the ratio
of the two medians (of the minima in brackets). Time is the process's CPU time with one thread, so that other programs don't count, and
wall time with --threads N.

smplx (non-commercial code, not needed by vitruvian) must be installed: pip install smplx. It is run, never copied.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vitruvian.body.library import read_body
from vitruvian.body.model import BodyModel
from vitruvian.body.points import published_joints
from vitruvian.body.torch import TorchBody

VERTICES, JOINTS, FACES = 10475, 55, 20908
BLOCKS = {"global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "left_hand_pose": 45, "right_hand_pose": 45}


def synthetic_smplx(path: Path) -> None:
    """A file of SMPL-X's true shapes and layout (10 + 10 shapes) with random numbers and four weights per vertex."""
    rng = np.random.default_rng(0)
    single = lambda *shape: rng.normal(0, 0.01, shape).astype(np.float32)  # noqa: E731
    weights, regressor = np.zeros((VERTICES, JOINTS), np.float32), np.zeros((JOINTS, VERTICES), np.float32)
    for matrix, count in ((weights, 4), (regressor, 8)):
        index = rng.random(matrix.shape).argsort(1)[:, :count]
        np.put_along_axis(matrix, index, rng.dirichlet(np.ones(count), len(matrix)).astype(np.float32), 1)
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
    for wrist, first in ((20, 25), (21, 40)):
        parents += [parent for finger in range(5) for parent in (wrist, first + 3 * finger, first + 3 * finger + 1)]
    barycentric = rng.dirichlet(np.ones(3), (79, 17)).astype(np.float32)
    np.savez(
        path,
        v_template=single(VERTICES, 3) * 50,
        shapedirs=single(VERTICES, 3, 20),
        posedirs=single(VERTICES, 3, 9 * (JOINTS - 1)),
        J_regressor=regressor,
        weights=weights,
        kintree_table=np.array([parents, range(JOINTS)]).astype(np.uint32),
        f=rng.integers(0, VERTICES, (FACES, 3)).astype(np.uint32),
        **{f"hands_components{side}": single(45, 45) for side in "lr"},
        **{f"hands_mean{side}": single(45) for side in "lr"},
        lmk_faces_idx=rng.integers(0, FACES, 51),
        lmk_bary_coords=rng.dirichlet(np.ones(3), 51).astype(np.float32),
        dynamic_lmk_faces_idx=rng.integers(0, FACES, (79, 17)),
        dynamic_lmk_bary_coords=barycentric,
    )


def inputs(batch: int) -> dict[str, torch.Tensor]:
    """Random poses, shapes and places, under smplx's names."""
    generator = torch.Generator().manual_seed(batch)
    draw = lambda size, scale: torch.randn(batch, size, generator=generator) * scale  # noqa: E731
    given = {name: draw(size, 0.3) for name, size in BLOCKS.items()}
    return given | {"betas": draw(10, 1.0), "expression": draw(10, 1.0), "transl": draw(3, 1.0)}


def alternate(functions: list[Callable[[], object]], clock: Callable[[], float], seconds: float) -> np.ndarray:
    """Seconds of each call, (functions, rounds), taking turns for about so many seconds."""
    for function in functions:
        function()
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 5:
        row = []
        for function in functions:
            start = clock()
            function()
            row.append(clock() - start)
        rounds.append(row)
    return np.array(rounds).T


def backwards(function: Callable[[], torch.Tensor], leaves: list[torch.Tensor]) -> Callable[[], None]:
    """Forward, a sum of squares, and gradients with respect to every input."""

    def both() -> None:
        torch.autograd.grad(function().square().sum(), leaves)

    return both


def compare(folder: Path, batch: int, clock: Callable[[], float], seconds: float) -> None:
    """Print the figures of one batch size."""
    import smplx

    with contextlib.redirect_stdout(io.StringIO()):
        peer = smplx.create(str(folder), "smplx", gender="neutral", use_pca=False, flat_hand_mean=True, batch_size=batch, ext="npz")
    model: BodyModel = read_body(folder / "smplx" / "SMPLX_NEUTRAL.npz")
    body = TorchBody(model)
    given = inputs(batch)

    def ours() -> torch.Tensor:
        pose = torch.cat([given[name] for name in BLOCKS], 1).view(batch, JOINTS, 3)
        output = body(pose, given["betas"], given["expression"], given["transl"])
        assert published_joints(model, output).shape[1] == 127  # smplx returns these points too
        return output.vertices

    def theirs() -> torch.Tensor:
        return peer(**given).vertices

    arrays = [torch.cat([given[name] for name in BLOCKS], 1).view(batch, JOINTS, 3), *(given[n] for n in ("betas", "expression", "transl"))]
    arrays = [array.numpy() for array in arrays]
    with torch.no_grad():
        difference = float((ours() - theirs()).abs().max())
        report(f"batch {batch:3d} forward ", alternate([ours, theirs], clock, seconds), f"largest difference {difference:.1e} m")
    wall = alternate([lambda: model.forward(*arrays)], time.perf_counter, seconds / 3)[0]
    print(f"batch {batch:3d} forward   numpy core {np.median(wall) * 1e3:8.1f} ms (wall time, all of numpy's threads)")
    leaves = [value.requires_grad_(True) for value in given.values()]
    report(f"batch {batch:3d} with gradients", alternate([backwards(ours, leaves), backwards(theirs, leaves)], clock, seconds), "")


def report(title: str, times: np.ndarray, note: str) -> None:
    """One line: medians, their ratio, and the ratio of the minima."""
    (ours, theirs), (best, best_peer) = np.median(times, 1) * 1e3, times.min(1)
    print(f"{title:<24} ours {ours:8.1f} ms  smplx {theirs:8.1f} ms  ratio {theirs / ours:5.2f} ({best_peer / best:.2f})  {note}")


def main() -> None:
    """Compare at batch 1 and 64."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; with more than one, wall time is measured")
    parser.add_argument("--seconds", type=float, default=8, help="for each comparison")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print(f"torch {torch.__version__}, {options.threads} thread(s), {'CPU' if options.threads == 1 else 'wall'} time, float32")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "smplx").mkdir()
        synthetic_smplx(folder / "smplx" / "SMPLX_NEUTRAL.npz")
        for batch in (1, 64):
            compare(folder, batch, clock, options.seconds)


if __name__ == "__main__":
    main()
