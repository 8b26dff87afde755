"""Makes small videos with PyAV directly, so that the readers are checked against another writer than our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """The folder with real test material."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED


def pattern(width: int, height: int, level: int = 0) -> np.ndarray:
    """Grey picture whose top left quarter is red: shows every rotation and mirroring. (height, width, 3) RGB."""
    image = np.full((height, width, 3), level, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    return image


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """make_video(name, frames=..., ticks=..., size=...) -> path: a video of `pattern` frames with the given timestamps (in 1/30 s)."""

    def make(
        name: str,
        count: int = 12,
        ticks: Sequence[int] | None = None,
        size: tuple[int, int] = (96, 64),
        codec: str = "libx264",
        **options: str,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=30)
            stream.width, stream.height = size
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            for index, tick in enumerate(ticks if ticks is not None else range(count)):
                frame = av.VideoFrame.from_ndarray(pattern(*size, level=40 + 10 * (index % 12)), format="rgb24")
                frame.pts = tick
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def packets() -> Callable[[Path], list[tuple[int, int]]]:
    """packets(path) -> (position, size) of every packet in the file, in the order of decoding."""

    def find(path: Path) -> list[tuple[int, int]]:
        with av.open(str(path)) as container:
            return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]

    return find
