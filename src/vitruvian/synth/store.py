"""Label images on disk: rendered once, coloured anew at each use.

A store is a folder of shards. Shard `i` holds SHARD people drawn from seed (seed, i): `shard-00000.npz` with labels and offsets,
`shard-00000.bin` with one zlib block per person. A shard is complete when its `.npz` exists, so a killed run resumes where it stopped
and the same seed always gives the same store. `store.json` says what the people were made with (`Look`) and the format's version.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numba
import numpy as np

from vitruvian._files import read_json, written_whole
from vitruvian.errors import FormatError
from vitruvian.synth.classes import LAST_OF_PERSON, SEEN, THING
from vitruvian.synth.look import Look

if TYPE_CHECKING:
    from vitruvian.synth.motion import Borrowed
    from vitruvian.synth.person import Sample, Wardrobe

SHARD = 250
SIZE = (240, 320)  # width, height of a label image
PLANES = ("class", "normal_x", "normal_y", "place_x", "place_y", "place_z", "depth", "segment")
CHANNELS = len(PLANES)
PAINTED = 7  # planes that colour needs
VERSION = 2
LEAST_SEEN = 4  # keypoints


@numba.njit(cache=True)
def _undo(differences):
    """Running sums along the rows, modulo 256; four times as fast as numpy's."""
    planes = np.empty(differences.shape, np.uint8)
    for k in range(planes.shape[0]):
        for r in range(planes.shape[1]):
            total = np.uint8(0)
            for c in range(planes.shape[2]):
                total = np.uint8(total + differences[k, r, c])
                planes[k, r, c] = total
    return planes


def _pack(sample: Sample) -> bytes:
    """Differences along the rows, which are mostly nought, compressed."""
    planes = sample.planes.copy()
    planes[:, :, 1:] -= planes[:, :, :-1].copy()
    return zlib.compress(planes.tobytes(), 1)


def write_shard(folder: Path, index: int, samples: list[Sample]) -> None:
    """Write one shard; the labels last, under a temporary name first, so that a half-written shard is never taken for a whole one."""
    stem = folder / f"shard-{index:05d}"
    blocks = [_pack(s) for s in samples]
    stem.with_suffix(".bin").write_bytes(b"".join(blocks))
    labels = {
        "offsets": np.cumsum([0] + [len(b) for b in blocks]),
        "keypoints": np.stack([s.keypoints for s in samples]),
        "boxes": np.stack([s.boxes for s in samples]),
        "hidden": np.stack([s.hidden for s in samples]),
        "depth_scale": np.stack([s.depth_scale for s in samples]),
        "relief": np.array([s.relief for s in samples], np.float32),
    }
    if all(s.truth is not None for s in samples):
        for name in (f.name for f in fields(samples[0].truth)):
            values = np.stack([np.asarray(getattr(s.truth, name)) for s in samples])
            labels[f"truth_{name}"] = values.astype(np.float32) if values.dtype.kind == "f" else values
    with written_whole(stem.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **labels)


def make_shard(folder: Path, index: int, seed: int, wardrobe: Wardrobe, look: Look | None = None, borrowed: Borrowed | None = None) -> None:
    """Draw and write the SHARD people of shard `index`; `borrowed`: where a share of them have their poses from."""
    from vitruvian.synth.person import render_person, sample_bodies

    rng = np.random.default_rng((seed, index))
    samples = []
    while len(samples) < SHARD:
        bodies = sample_bodies(rng, wardrobe, 50, look, borrowed)
        for i in range(len(bodies)):
            sample = render_person(rng, wardrobe, bodies, i, SIZE, look)
            if len(samples) < SHARD and _is_shown(sample):
                samples.append(sample)
    write_shard(folder, index, samples)


def _is_shown(sample: Sample) -> bool:
    """Whether enough of the person is in the picture, not buried under things, and with a few keypoints to be seen."""
    person = (sample.classes > 0) & (sample.classes <= LAST_OF_PERSON)
    buried = (sample.hidden[:17] == THING).mean() > 0.6
    return bool(person.mean() > 0.01 and not buried and (sample.hidden == SEEN).sum() >= LEAST_SEEN)


def write_look(folder: Path, look: Look, seed: int, motion: dict[str, object] | None = None) -> None:
    """Say in `store.json` what the people are made with. FormatError where the folder already says otherwise.

    `motion`: what tells apart motions that poses are borrowed from.
    """
    path = folder / "store.json"
    if not path.exists() and any(folder.glob("shard-*.npz")):
        raise FormatError(f"{folder} holds shards of an earlier format: take another folder")
    keep_to(path, {"version": VERSION, "seed": seed, "look": look.as_dict()} | ({"motion": motion} if motion else {}))


def keep_to(path: Path, said: dict[str, object]) -> None:
    """Write into the JSON file `path` what its folder is made with. FormatError where it says something else already."""
    if not path.exists():
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(said, indent=1))
        return
    before = read_json(path, 1 << 20)
    if before != said:
        old = before if isinstance(before, dict) else {}
        parts = ", ".join(f"{name} {old.get(name)}" for name in {**said, **old} if old.get(name) != said.get(name))
        raise FormatError(f"{path.parent} was begun with {parts}: go on with the same, or take another folder")


def _read_look(folder: Path) -> Look:
    path = folder / "store.json"
    try:
        return Look(**{name: bool(on) for name, on in json.loads(path.read_text())["look"].items()}) if path.exists() else Look()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is no description of a store ({error}): draw the people again with `vitruvian synth`") from error


@dataclass(frozen=True)
class Store:
    """A folder of shards, opened for reading. `keypoints` (n, 133, 3) and `boxes` (n, 7, 4) as in Sample; images by index.

    `relief` (n,) as in Sample. `look`: what the people were made with.
    `truth`: columns of person.Truth, and `hidden`, `depth_scale` of Sample, by name. `hidden` (n, 133) as in Sample, None: nobody knows.
    """

    files: tuple[Path, ...]
    keypoints: np.ndarray
    boxes: np.ndarray
    offsets: np.ndarray
    relief: np.ndarray
    look: Look = Look()
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    hidden: np.ndarray | None = None

    @classmethod
    def open(cls, folder: str | Path, truth: bool = False) -> Store:
        """Open all complete shards below `folder`, with the labels in three dimensions if `truth`; FormatError when there is none."""
        labels = sorted(Path(folder).glob("shard-*.npz"))
        if not labels:
            raise FormatError(f"{folder} holds no label images: make some with `vitruvian synth {folder} -n 20000`")
        parts = [np.load(p) for p in labels]
        if "hidden" not in parts[0]:
            raise FormatError(f"{folder} holds label images of an earlier format: draw them again with `vitruvian synth`")
        columns = lambda name: np.concatenate([p[name] for p in parts])  # noqa: E731
        names = [n for n in parts[0].files if n.startswith("truth_") or n in ("hidden", "depth_scale")] if truth else []
        return cls(
            tuple(p.with_suffix(".bin") for p in labels),
            columns("keypoints"),
            columns("boxes"),
            np.stack([p["offsets"] for p in parts]),
            columns("relief"),
            _read_look(Path(folder)),
            {name.removeprefix("truth_"): columns(name) for name in names},
            columns("hidden"),
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def image(self, i: int, planes: int = CHANNELS) -> np.ndarray:
        """The label image of person `i`: uint8 (planes, 320, 240), the first of PLANES."""
        shard, row = divmod(i, SHARD)
        start, end = self.offsets[shard, row : row + 2]
        with open(self.files[shard], "rb") as file:
            file.seek(start)
            raw = zlib.decompressobj().decompress(file.read(end - start), planes * SIZE[0] * SIZE[1])
        return _undo(np.frombuffer(raw, np.uint8).reshape(planes, SIZE[1], SIZE[0]))
