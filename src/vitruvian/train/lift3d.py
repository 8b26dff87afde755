"""Training of HopFIR and FinePOSE on motion capture seen by random cameras, or on Human3.6M.

    python -m vitruvian.train.lift3d hopfir --motions DIR --out runs/hopfir
    python -m vitruvian.train.lift3d hopfir --motions AMASS_DIR --body smplh-neutral --out runs/hopfir
    python -m vitruvian.train.lift3d finepose --human36m DIR --keypoints cpn_ft_h36m_dbb --variant h36m-243 --out runs/finepose
    vitruvian export runs/hopfir/network.safetensors -o hopfir.onnx

From motions every clip gets a camera of its own (`data.motions3d.random_cameras`) and noise on its keypoints; from Human3.6M keypoints
are the file's. Half of the clips are mirrored. Held out, and measured on: every tenth motion, or subject 8; never a test set. Cards
hopfir.md and finepose.md, section 6, have the published settings; the usual ones here are for one machine and ours.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.codecs.lifting import mirrored, normalise_keypoints
from vitruvian.data.judge3d import picture_size
from vitruvian.data.motions3d import Motion, film_of_motion, read_motions
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import to_camera
from vitruvian.skeletons import H36M_17
from vitruvian.systems.checkpoint import read_state, write_state
from vitruvian.systems.pose3d import finepose, hopfir
from vitruvian.systems.pose3d.prompts import Text, tokenise
from vitruvian.train.loop import Schedule, train

NETWORK = "network.safetensors"
RATE = 50.0
"""Frames per second that clips are brought to: Human3.6M's."""
FRAMES_OF_HOPFIR = 16  # of a clip before one camera; the network sees each frame alone
HELD_OUT_SUBJECT = "S8/"
_HELD_OUT = 10  # every so manieth motion
_SIZE = (1000, 1000)
_CLIPS = 16  # that a network is measured on


class Clip(NamedTuple):
    """f frames of one person: normalised keypoints, joints about the root in the camera's axes (metres), and what they do, or None."""

    keypoints: Float[np.ndarray, "f k 2"]
    points: Float[np.ndarray, "f k 3"]
    text: Text


class Clips(NamedTuple):
    """The same for b clips."""

    keypoints: Float[Tensor, "b f k 2"]
    points: Float[Tensor, "b f k 3"]
    texts: list[Text]


Draw = Callable[[np.random.Generator], Clip]
"""A random clip."""


@dataclass(frozen=True, eq=False)
class Source:
    """Clips to learn from, and to measure on (None: nothing was held out)."""

    learn: Draw
    measure: Draw | None


def from_motions(motions: Sequence[Motion], frames: int, noise: float) -> Source:
    """Clips of motions (`data.motions3d.read_motions`) before random cameras; noise: pixels, in pictures of 1000.

    Motions with joints that are not known are left out. Raises VitruvianError where none is left.
    """
    whole = [_at_rate(motion) for motion in motions if len(motion.points) and np.isfinite(motion.points).all()]
    if not whole:
        raise VitruvianError(
            f"none of {len(motions)} motions has all joints of {H36M_17.name} in every frame: the head's end is often missing"
        )
    kept, held = [m for i, m in enumerate(whole) if (i + 1) % _HELD_OUT], whole[_HELD_OUT - 1 :: _HELD_OUT]

    def draw(rng: np.random.Generator, some: list[np.ndarray]) -> Clip:
        window = _window(rng, some[rng.integers(len(some))], frames)
        film = film_of_motion(rng, window, RATE, cameras=1, noise=noise)
        points = to_camera(film.cameras[0], window)
        seen = film.keypoints[0][:, 0]
        seen = np.where(np.isfinite(seen), seen, film.seen(0)[:, 0])
        return _clip(rng, normalise_keypoints(seen, _SIZE), points, None)

    return Source(partial(draw, some=kept), partial(draw, some=held) if held else None)


def from_human36m(folder: Path, frames: int, keypoints: str) -> Source:
    """Clips of Human3.6M's training subjects; keypoints: "gt", "cpn_ft_h36m_dbb" (its 2D files). Subject 8 is held out."""
    from vitruvian.data.human36m import human36m

    learn: list[tuple] = []
    held: list[tuple] = []
    for film in human36m(folder, "train", keypoints):
        for camera, seen in zip(film.cameras, film.keypoints, strict=True):
            places = normalise_keypoints(seen[:, 0], picture_size(camera))
            row = places, to_camera(camera, film.points[:, 0]).astype(np.float32), _word(film.action)
            (held if film.name.startswith(HELD_OUT_SUBJECT) else learn).append(row)

    def draw(rng: np.random.Generator, some: list[tuple]) -> Clip:
        places, points, text = some[rng.integers(len(some))]
        start = _start(rng, len(points), frames)
        rows = np.minimum(np.arange(start, start + frames), len(points) - 1)
        return _clip(rng, places[rows], points[rows], text)

    return Source(partial(draw, some=learn), partial(draw, some=held))


def _word(action: str) -> Text:
    """The action as FinePOSE's prompt has it, None for a word that it doesn't know."""
    try:
        tokenise([action])
    except VitruvianError:
        return None
    return action


def _at_rate(motion: Motion) -> Float[np.ndarray, "f k 3"]:
    """Joints at `RATE`, in straight lines between frames."""
    times = np.arange(len(motion.points)) / motion.rate
    grid = np.arange(0, times[-1] + 1e-9, 1 / RATE)
    flat = motion.points.reshape(len(times), -1)
    return np.stack([np.interp(grid, times, column) for column in flat.T], 1).reshape(len(grid), -1, 3)


def _start(rng: np.random.Generator, length: int, frames: int) -> int:
    return int(rng.integers(max(length - frames, 0) + 1))


def _window(rng: np.random.Generator, points: Float[np.ndarray, "f k 3"], frames: int) -> Float[np.ndarray, "w k 3"]:
    """A piece of a motion; a short one is filled up with its last frame."""
    start = _start(rng, len(points), frames)
    return points[np.minimum(np.arange(start, start + frames), len(points) - 1)]


def _clip(rng: np.random.Generator, keypoints: np.ndarray, points: np.ndarray, text: Text) -> Clip:
    """About the root, and mirrored by chance."""
    points = points - points[:, H36M_17.parents.index(-1), None]
    if rng.random() < 0.5:
        keypoints, points = (mirrored(array, H36M_17.swap) for array in (keypoints, points))
    return Clip(keypoints.astype(np.float32), points.astype(np.float32), text)


def batches(draw: Draw, size: int, seed: int) -> Iterator[Clips]:
    """Endless batches of clips."""
    rng = np.random.default_rng(seed)
    while True:
        clips = [draw(rng) for _ in range(size)]
        arrays = (torch.from_numpy(np.stack([getattr(clip, name) for clip in clips])) for name in ("keypoints", "points"))
        yield Clips(*arrays, [clip.text for clip in clips])


def hopfir_loss(model: hopfir.HopFIR, clips: tuple) -> dict[str, Tensor]:
    """The network's loss on the frames of a batch."""
    keypoints, points, _ = clips
    return {"total": hopfir.loss(model(keypoints.flatten(0, 1)).float(), points.flatten(0, 1), model.graph)}


def finepose_loss(model: finepose.FinePose, clips: tuple) -> dict[str, Tensor]:
    """The network's loss on a batch."""
    return {"total": finepose.loss(model, *clips)}


@torch.inference_mode()
def error_mm(model: nn.Module, clips: Clips) -> dict[str, float]:
    """MPJPE about the root, millimetres: of HopFIR with the mirror image, of FinePOSE of one guess in one step."""
    device = next(model.parameters()).device
    keypoints, points = clips.keypoints.to(device), clips.points.to(device)
    if isinstance(model, hopfir.HopFIR):
        found = hopfir.lift(model, keypoints, model.graph)
    else:
        noise = finepose.draw_noise(model.config, len(points), points.shape[1], 1, 1).to(device)
        found = model.sample(keypoints, model.prompt(clips.texts), noise)[:, 0, 0]
        found = found - found[..., :1, :]
    return {"mpjpe_mm": 1000 * float((found - points).norm(dim=-1).mean())}


def build(system: str, variant: str, clip: Path | None = None) -> tuple[nn.Module, Callable, int]:
    """The network, its loss, and the frames of a clip. Raises VitruvianError for a variant that there isn't, or of other joints.

    clip: CLIP's weights for FinePOSE's text (ViT-B/32's, 512 wide; WeightsError for others); without them it gets the stand-in, whatever
    the variant: a tower of random weights that don't learn would say nothing.
    """
    known = {"hopfir": hopfir.VARIANTS, "finepose": finepose.VARIANTS}[system]
    config = known.get(variant)
    if config is None or (system == "finepose" and config.layout != "h36m"):
        names = [name for name, one in known.items() if system == "hopfir" or one.layout == "h36m"]
        raise VitruvianError(f"no {system} {variant!r} for Human3.6M's joints: take one of {', '.join(names)}")
    if system == "hopfir":
        if clip is not None:
            raise VitruvianError("HopFIR reads no text: leave --clip away")
        return hopfir.HopFIR(config), hopfir_loss, FRAMES_OF_HOPFIR
    model = finepose.FinePose(replace(config, tower=0))
    return model if clip is None else finepose.with_clip(model, read_state(clip)), finepose_loss, config.frames


def run(model: nn.Module, loss: Callable, source: Source, schedule: Schedule, folder: Path, batch: int, seed: int = 0) -> Path:
    """Train a network in `folder`, or go on there; returns its checkpoint (averaged weights), which `vitruvian export` takes."""
    measured = None if source.measure is None else next(batches(source.measure, _CLIPS, 7))
    evaluate = None if measured is None else lambda averaged: error_mm(averaged, measured)
    network = train(model, map(tuple, batches(source.learn, batch, seed)), loss, schedule, folder, evaluate)
    write_state(network.state_dict(), folder / NETWORK, {"trained": "vitruvian.train.lift3d"})
    return folder / NETWORK


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vitruvian.train.lift3d", description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=("hopfir", "finepose"))
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--motions", type=Path, help="folder of motions: .bvh, or AMASS's .npz")
    where.add_argument("--human36m", type=Path, help="folder of Human3.6M in VideoPose3D's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an existing one is gone on with")
    parser.add_argument("--body", help="body model of AMASS motions: smplh-neutral, or a file")
    parser.add_argument("--unit", type=float, help="metres per unit of BVH files; by default what makes legs a person's")
    parser.add_argument("--noise", type=float, default=5.0, help="of motions' keypoints: pixels, in pictures of 1000")
    parser.add_argument("--keypoints", default="gt", help="Human3.6M's 2D file: gt, cpn_ft_h36m_dbb")
    parser.add_argument("--variant", help="size of the network; hopfir: t, s, m (s); finepose: nano, small-27, h36m-243 (small-27)")
    parser.add_argument("--clip", type=Path, help="CLIP's ViT-B/32, a saved state dict, to read FinePOSE's texts (h36m-243)")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds of training")
    parser.add_argument("--batch", type=int, default=16, help="clips")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--muon", action="store_true", help="step by Muon in place of AdamW")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Command line of this module."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    try:
        model, loss, frames = build(
            options.system, options.variant or {"hopfir": "s", "finepose": "small-27"}[options.system], options.clip
        )
        if options.human36m:
            source = from_human36m(options.human36m, frames, options.keypoints)
        else:
            from vitruvian.body.library import load_body

            body = load_body(options.body) if options.body else None
            source = from_motions(read_motions(options.motions, H36M_17, body, options.unit), frames, options.noise)
        schedule = Schedule(
            steps=options.steps, seconds=options.seconds, learning_rate=options.rate, weight_decay=0.01, clip=1.0, bf16=False,
            warmup=min(300, options.steps // 10), muon=options.muon,
        )  # fmt: skip
        logging.info("network: %s", run(model.to(options.device), loss, source, schedule, options.out, options.batch, options.seed))
    except VitruvianError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
