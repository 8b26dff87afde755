"""What a capture has found so far, kept on disk, so that memory stays flat and a killed capture goes on where it was.

The folder `.capture` in the output folder holds `job.json` (what is captured, and how) and, for every few hundred frames, a take
(`000003.npz`) and what tracker and smoother remembered at its end (`000003.state.npz`). A part counts once both are whole. `whole.json`,
the number of frames, says that no frame is missing.
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
Row = tuple[People, float, tuple[int, int], str]
"""A frame's people, time, size and name."""


class Journal:
    """The rows of a capture: the newest in memory, those before in parts on disk; all in memory where there is no output folder."""

    def __init__(self, out: Path | None, job: Mapping[str, object], skeleton: Skeleton, is_video: bool) -> None:
        """Finds what an earlier run of the same `job` (JSON values) left in `out`; what another job left there is deleted, with a warning.

        `is_video`: the frames share one name.
        """
        self._folder = out and out / FOLDER
        self._job, self._skeleton, self._is_video = json.loads(json.dumps(job)), skeleton, is_video
        self._parts: list[tuple[int, int]] = []  # frames and rows of each part on disk
        self._rows: list[Row] = []  # of the frames in no part yet
        self.state: State = {}
        self.is_whole = False
        if self._folder and self._folder.exists() and not self._find_parts():
            self.clear()

    @property
    def frames_on_disk(self) -> int:
        """How many frames the parts hold together: where to go on."""
        return sum(frames for frames, _ in self._parts)

    @property
    def is_due(self) -> bool:
        """Whether enough frames wait for a part to be written."""
        return self._folder is not None and len(self._rows) >= PART

    def add(self, frame: Frame, people: People) -> None:
        """Keep the people, time, size and name of the next frame."""
        self._rows.append((people, frame.time, (frame.image.shape[1], frame.image.shape[0]), frame.name))

    def cut(self, state: State) -> None:
        """Write the waiting frames as a part, with the `state` in which the next frame finds tracker and smoother.

        Raises FormatError where it can't be written.
        """
        if not self._parts:
            self._folder.mkdir(exist_ok=True)
            with written_whole(self._folder / "job.json") as temporary:
                temporary.write_text(json.dumps(self._job), encoding="utf-8")
        take, index = self._waiting(), len(self._parts)
        with written_whole(self._state_file(index)) as temporary, temporary.open("wb") as file:
            np.savez(file, **state)
        take.save(self._take_file(index))
        # Together, so that Ctrl-C can't come between and leave the frames in both.
        self._parts, self._rows = [*self._parts, (len(take.times), len(take.people))], []

    def finish(self, state: State) -> None:
        """Write what waits, after the last frame: a run that is stopped from here on finds every frame."""
        if self._folder is None:
            return
        if self._rows:
            self.cut(state)
        if self._parts:
            with written_whole(self._folder / "whole.json") as temporary:
                temporary.write_text(json.dumps(self.frames_on_disk), encoding="utf-8")

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
        people = People(**columns)
        both = {"times": np.concatenate(times), "sizes": np.concatenate(sizes)}
        return replace(waiting, people=people, space=space_of(people), names=tuple(names), **both)

    def clear(self) -> None:
        """Delete the parts."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._parts, self.state, self.is_whole = [], {}, False

    def _waiting(self) -> Take:
        """The frames that are in no part yet, as a take of their own."""
        rows = self._rows
        people = moved(People.concatenate([People.empty(len(self._skeleton)), *(people for people, *_ in rows)]), -self.frames_on_disk)
        return Take(
            people=people,
            space=space_of(people),
            skeleton=self._skeleton,
            times=np.array([time for _, time, _, _ in rows], np.float64),
            sizes=np.array([size for _, _, size, _ in rows], np.int32).reshape(-1, 2),
            names=tuple(name for *_, name in (rows[:1] if self._is_video else rows)),
        )

    def _find_parts(self) -> bool:
        """Count the parts that are whole and of this job. False when there is none."""
        try:
            if not (self._folder / "job.json").exists() or not self._is_same_job():
                return False
            while self._take_file(len(self._parts)).exists():
                index = len(self._parts)
                take = Take.load(self._take_file(index))
                with np.load(self._state_file(index), allow_pickle=False) as archive:
                    self.state = dict(archive)
                self._parts.append((len(take.times), len(take.people)))
            whole = self._folder / "whole.json"
            self.is_whole = whole.exists() and json.loads(whole.read_text(encoding="utf-8")) == self.frames_on_disk
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, VitruvianError) as error:
            log.warning("a part of the earlier run can't be read (%s): only the parts before it count", error)
        return bool(self._parts)

    def _is_same_job(self) -> bool:
        found = json.loads((self._folder / "job.json").read_text(encoding="utf-8"))
        if found != self._job:
            found = found if isinstance(found, dict) else {}
            other = ", ".join(key for key, value in self._job.items() if found.get(key) != value)
            log.warning("%s: an interrupted capture was another one (%s): what it had found is deleted", self._folder.parent, other)
        return found == self._job

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


def space_of(people: People) -> Space:
    """Where points are that a network found: in the frame of its camera."""
    return "" if people.points is None else "camera"
