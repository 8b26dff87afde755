"""Label images on disk: rendered once, coloured anew at each use.

A store is a folder of shards. Shard `i` holds SHARD people drawn from seed (seed, i): `shard-00000.npz` with labels and offsets,
`shard-00000.bin` with one zlib block per person. A shard is complete when its `.npz` exists, so a killed run resumes where it stopped
and the same seed always gives the same store.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._files import written_whole
from ..errors import FormatError

if TYPE_CHECKING:
    from .person import Sample, Wardrobe

SHARD = 250
SIZE = (240, 320)  # width, height of a label image
CHANNELS = 5  # class, normal x and y, place x and z


def _pack(sample: Sample) -> bytes:
    image = np.concatenate([sample.classes[None], sample.normals.transpose(2, 0, 1), sample.places.transpose(2, 0, 1)])
    return zlib.compress((image * (sample.classes > 0)).tobytes(), 1)


def write_shard(folder: Path, index: int, samples: list[Sample]) -> None:
    """Write one shard; the labels last, under a temporary name first, so that a half-written shard is never taken for a whole one."""
    stem = folder / f"shard-{index:05d}"
    blocks = [_pack(s) for s in samples]
    stem.with_suffix(".bin").write_bytes(b"".join(blocks))
    labels = {
        "offsets": np.cumsum([0] + [len(b) for b in blocks]),
        "keypoints": np.stack([s.keypoints for s in samples]),
        "boxes": np.stack([s.boxes for s in samples]),
    }
    with written_whole(stem.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **labels)


def make_shard(folder: Path, index: int, seed: int, wardrobe: Wardrobe) -> None:
    """Draw and write the SHARD people of shard `index`."""
    from .person import render_person, sample_bodies

    rng = np.random.default_rng((seed, index))
    samples = []
    while len(samples) < SHARD:
        vertices, bones = sample_bodies(rng, wardrobe, 50)
        for v, b in zip(vertices, bones, strict=True):
            sample = render_person(rng, wardrobe, v, b, SIZE)
            if (sample.classes > 0).mean() > 0.01 and len(samples) < SHARD:
                samples.append(sample)
    write_shard(folder, index, samples)


@dataclass(frozen=True)
class Store:
    """A folder of shards, opened for reading. `keypoints` (n, 133, 3) and `boxes` (n, 7, 4) as in Sample; images by index."""

    files: tuple[Path, ...]
    keypoints: np.ndarray
    boxes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open all complete shards below `folder`; FormatError when there is none."""
        labels = sorted(Path(folder).glob("shard-*.npz"))
        if not labels:
            raise FormatError(f"{folder} holds no label images: make some with `vitruvian synth {folder} -n 20000`")
        parts = [np.load(p) for p in labels]
        return cls(
            tuple(p.with_suffix(".bin") for p in labels),
            np.concatenate([p["keypoints"] for p in parts]),
            np.concatenate([p["boxes"] for p in parts]),
            np.stack([p["offsets"] for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def image(self, i: int) -> np.ndarray:
        """The label image of person `i`: uint8 (5, 320, 240): class, normal x, normal y, place x, place z."""
        shard, row = divmod(i, SHARD)
        start, end = self.offsets[shard, row : row + 2]
        with open(self.files[shard], "rb") as file:
            file.seek(start)
            raw = zlib.decompress(file.read(end - start))
        return np.frombuffer(raw, np.uint8).reshape(CHANNELS, SIZE[1], SIZE[0])
