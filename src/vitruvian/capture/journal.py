"""What a capture has found so far, kept on disk, so that memory stays flat and a killed capture goes on where it was.

The folder `.capture` in the output folder holds `job.json` (what is captured, and how) and, for every few hundred frames, a take
(`000003.npz`) and what tracker and smoother remembered at its end (`000003.state.npz`). A part counts once both are whole.
"""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from vitruvian._files import written_whole
from vitruvian.errors import VitruvianError
from vitruvian.media import Frame
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Space, Take

log = logging.getLogger(__name__)

FOLDER = ".capture"
PART = 240
"""Frames after which a part is written, at the next occasion."""

State = Mapping[str, np.ndarray]


class Journal:
    """The rows of a capture: the newest in memory, those before in parts on disk; all in memory where there is no output folder."""

    def __init__(self, out: Path | None, job: Mapping[str, object], skeleton: Skeleton, is_video: bool) -> None:
        """Finds what an earlier run of the same `job` (JSON values) left in `out`; what another job left there is deleted.

        `is_video`: the frames share one name.
        """
        self._folder = out and out / FOLDER
        self._job, self._skeleton, self._is_video = json.dumps(job, sort_keys=True), skeleton, is_video
        self._parts: list[tuple[int, int]] = []  # frames and rows of each part on disk
        self.state: State = {}
        self._start_part()
        if self._folder and self._folder.exists() and not self._find_parts():
            self.clear()

    @property
    def frames_on_disk(self) -> int:
        """How many frames the parts hold together: where to go on."""
        return sum(frames for frames, _ in self._parts)

    @property
    def is_due(self) -> bool:
        """Whether enough frames wait for a part to be written."""
        return self._folder is not None and len(self._times) >= PART

    def add(self, frame: Frame, people: People) -> None:
        """Keep the people, time, size and name of the next frame."""
        self._people.append(people)
        self._times.append(frame.time)
        self._sizes.append((frame.image.shape[1], frame.image.shape[0]))
        self._names.append(frame.name)

    def cut(self, state: State) -> None:
        """Write the waiting frames as a part, with the `state` in which the next frame finds tracker and smoother.

        Raises FormatError where it can't be written.
        """
        if not self._parts:
            self._folder.mkdir(exist_ok=True)
            with written_whole(self._folder / "job.json") as temporary:
                temporary.write_text(self._job, encoding="utf-8")
        take, index = self._waiting(), len(self._parts)
        with written_whole(self._state_file(index)) as temporary, temporary.open("wb") as file:
            np.savez(file, **state)
        take.save(self._take_file(index))
        self._parts.append((len(take.times), len(take.people)))
        self._start_part()

    def people(self) -> Iterator[People]:
        """The people of every frame on disk, in order."""
        for take, start in self._on_disk():
            for people in take.by_frame():
                yield moved(people, start)

    def take(self) -> Take:
        """Everything as one take. Needs memory for its rows once, and for one part."""
        waiting = self._waiting()
        rows = sum(rows for _, rows in self._parts) + len(waiting.people)
        columns: dict[str, np.ndarray] = {}
        times, sizes, names, filled = [], [], [], 0
        for part, start in chain(self._on_disk(), [(waiting, self.frames_on_disk)]):
            for name, column in moved(part.people, start).columns().items():
                if name not in columns:
                    columns[name] = np.full((rows, *column.shape[1:]), np.nan if column.dtype.kind == "f" else -1, column.dtype)
                columns[name][filled : filled + len(column)] = column
            filled += len(part.people)
            times, sizes = [*times, part.times], [*sizes, part.sizes]
            names += part.names if not self._is_video else part.names[: not names]
        return replace(waiting, people=People(**columns), times=np.concatenate(times), sizes=np.concatenate(sizes), names=tuple(names))

    def clear(self) -> None:
        """Delete the parts."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._parts, self.state = [], {}

    def _start_part(self) -> None:
        self._people: list[People] = [People.empty(len(self._skeleton))]
        self._times: list[float] = []
        self._sizes: list[tuple[int, int]] = []
        self._names: list[str] = []

    def _waiting(self) -> Take:
        """The frames that are in no part yet, as a take of their own."""
        people = moved(People.concatenate(self._people), -self.frames_on_disk)
        return Take(
            people=people,
            space=_space(people),
            skeleton=self._skeleton,
            times=np.array(self._times, np.float64),
            sizes=np.array(self._sizes, np.int32).reshape(-1, 2),
            names=tuple(self._names[:1] if self._is_video else self._names),
        )

    def _find_parts(self) -> bool:
        """Count the parts that are whole and of this job. False when there is none."""
        try:
            if (self._folder / "job.json").read_text(encoding="utf-8") != self._job:
                return False
            while self._take_file(len(self._parts)).exists():
                index = len(self._parts)
                take = Take.load(self._take_file(index))
                with np.load(self._state_file(index), allow_pickle=False) as archive:
                    self.state = dict(archive)
                self._parts.append((len(take.times), len(take.people)))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, VitruvianError) as error:
            log.warning("a part of the earlier run can't be read (%s): only the parts before it count", error)
        return bool(self._parts)

    def _on_disk(self) -> Iterator[tuple[Take, int]]:
        """Each part, and the number of its first frame."""
        start = 0
        for index, (frames, _) in enumerate(self._parts):
            yield Take.load(self._take_file(index)), start
            start += frames

    def _take_file(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npz"

    def _state_file(self, index: int) -> Path:
        return self._folder / f"{index:06d}.state.npz"


def moved(people: People, frames: int) -> People:
    """The people with all frame numbers changed by `frames`."""
    return replace(people, frame=people.frame + np.int32(frames))


def _space(people: People) -> Space:
    """Where points are that a network found: in the frame of its camera."""
    return "" if people.points is None else "camera"
