"""Many jobs in processes of their own: one that fails, crashes or hangs is reported, and the others finish.

OpenSim is C++ that can end its process on a bad model, which the standard pool answers by giving up all jobs. Here each worker has a pipe;
when it breaks, the job that it had is reported and a new worker takes its place.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from vitruvian.errors import VitruvianError

_CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy the parent's threads' locks

_START = 120.0  # seconds for Python and its modules to load on a busy machine


@dataclass(frozen=True)
class Outcome:
    """One job: its place in the list, and its result or, in one line, why there is none. seconds: that it took."""

    index: int
    result: Any
    error: str
    seconds: float


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    ready: bool = False
    job: int = -1
    since: float = field(default_factory=time.monotonic)


def run_isolated(function: Callable[[Any], Any], jobs: Sequence[Any], workers: int = 2, timeout: float = 600.0) -> Iterator[Outcome]:
    """`function` of each job, in whatever order they finish. function: importable by its name; jobs and results: picklable.

    A job that takes longer than `timeout` seconds is ended. Raises VitruvianError for fewer than one worker, and if processes can't start.
    """
    if workers < 1:
        raise VitruvianError(f"{workers} processes can't work; give 1 or more")
    waiting = list(range(len(jobs)))[::-1]
    team = [_started(function) for _ in range(min(workers, len(jobs)))]
    try:
        while waiting or any(worker.job >= 0 for worker in team):
            for worker in team:
                if worker.ready and worker.job < 0 and waiting:
                    worker.job, worker.since = waiting.pop(), time.monotonic()
                    with suppress(BrokenPipeError):  # it died since: found out below
                        worker.pipe.send(jobs[worker.job])
            expected = [worker for worker in team if worker.job >= 0 or not worker.ready]
            heard = wait([worker.pipe for worker in expected], timeout=0.5)
            for worker in expected:
                if not worker.ready:
                    _greet(worker, worker.pipe in heard)
                elif worker.pipe in heard or time.monotonic() - worker.since > timeout:
                    outcome, alive = _outcome(worker, worker.pipe in heard, timeout)
                    worker.job = -1
                    if not alive:
                        _ended(worker)
                        team[team.index(worker)] = _started(function)
                    yield outcome
    finally:
        for worker in team:
            _ended(worker)


def _started(function: Callable[[Any], Any]) -> _Worker:
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_work, args=(function, there), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _greet(worker: _Worker, heard: bool) -> None:
    """Take note that a worker has begun. Raises VitruvianError where none can begin."""
    if heard:
        try:
            worker.ready = worker.pipe.recv()
        except (EOFError, OSError) as error:
            raise VitruvianError(
                "a worker process could not start; run from a script whose work is under `if __name__ == '__main__':`"
            ) from error
    elif time.monotonic() - worker.since > _START:
        raise VitruvianError(f"a worker process did not start within {_START:g} s; give this machine fewer workers")


def _ended(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(5)


def _outcome(worker: _Worker, ready: bool, timeout: float) -> tuple[Outcome, bool]:
    """What became of a worker's job, and whether the worker goes on."""
    seconds = time.monotonic() - worker.since
    if not ready:
        return Outcome(worker.job, None, f"took longer than {timeout:g} s and was ended; cut the trial, or allow more time", seconds), False
    try:
        result, error = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        return Outcome(worker.job, None, f"its process died (exit code {code}); look at its model and markers", seconds), False
    return Outcome(worker.job, result, error, seconds), True


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """A worker's life: jobs in, (result, error) out, until the pipe closes."""
    with suppress(EOFError, OSError, KeyboardInterrupt):
        pipe.send(True)
        while True:
            job = pipe.recv()
            try:
                answer = function(job), ""
            except Exception as error:  # of any kind: it is reported, and the next job comes
                answer = None, f"{type(error).__name__}: {error}"
            pipe.send(answer)
