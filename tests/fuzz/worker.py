"""Reads spoiled files, and writes what could be read, in a process that may hang or die: `python worker.py FOLDER SEED KIND=COUNT ...`.

Nothing but a VitruvianError may come out of the library, within SECONDS per file and MEMORY bytes, and nothing may be written outside
the output folder, unpickled, started or sent. What goes wrong is printed, one line each, with the file kept beside; the exit code is 1.
A hang ends the process with a stack trace.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from mutations import spoil
from seeds import CALIBRATIONS, plant

from vitruvian.errors import VitruvianError
from vitruvian.formats.calibration import read_calibration, write_calibration
from vitruvian.formats.convert import Options, format_called, read, write
from vitruvian.media import open_video, read_image
from vitruvian.take import Take

SECONDS = 10
MEMORY = 3 << 30
MEDIA = {"png", "jpg", "webp", "tif", "bmp", "mp4"}
TARGETS = (
    *(("a.json", None), ("a.csv", None), ("a.npz", None), ("a.trc", None), ("a.bvh", None), ("a.mot", None), ("folder", "openpose")),
    *(("b.json", "controlnet-json"), ("c.json", "coco-results"), ("d.json", "coco-wholebody"), ("poses", "controlnet")),
)
WRITES = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1, "os.truncate": 0, "shutil.move": 1}
FORBIDDEN = {"pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"}
OPTIONS = Options(metres_per_pixel=0.01)


class Guard:
    """Notes every write outside `allowed`, and everything FORBIDDEN, while it is on. Python can't remove such a hook."""

    def __init__(self, allowed: Path) -> None:
        self._allowed = os.path.realpath(allowed) + os.sep
        self.on = False
        self.caught: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.caught.append(f"{event} {arguments!r}"[:200])
        elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                self._check(event, arguments[0])
        elif event in WRITES:
            self._check(event, arguments[WRITES[event]])

    def _check(self, event: str, path: object) -> None:
        where = os.path.realpath(os.fsdecode(path))
        if not (where + os.sep).startswith(self._allowed) and where != os.devnull:
            self.caught.append(f"{event} {where}"[:200])


def try_file(path: Path, kind: str, index: int, out: Path) -> None:
    """Read a spoiled file, and write what it held, in one of TARGETS in turn."""
    if kind in MEDIA:
        if kind != "mp4":
            read_image(path)
            return
        with open_video(path) as video:
            for _ in zip(video, range(200), strict=False):
                pass
        return
    if kind in CALIBRATIONS:
        write_calibration(read_calibration(path), out / "again.toml")
        return
    data = read(path, None if index % 2 else kind if kind != "asf" else "amc", OPTIONS)
    name, chosen = TARGETS[index % len(TARGETS)]
    if isinstance(data, Take) and chosen == "controlnet" and (data.sizes.prod(axis=1, dtype=np.float64) > 1e6).any():
        return  # drawn in full, and only slow
    write(data, out / name, chosen, OPTIONS)


def run(folder: Path, seed: int, counts: dict[str, int]) -> list[str]:
    """All cases; returns what went wrong."""
    planted = plant(folder)
    contents = {kind: path.read_bytes() for kind, path in planted.items()}
    others = sorted(set(contents) - set(CALIBRATIONS))  # what is spliced in
    out, bad = folder / "out", []
    guard = Guard(out)
    for kind, count in counts.items():
        for index in range(count):
            rng = np.random.default_rng((seed, *kind.encode(), index))
            path = folder / f"spoiled{planted[kind].suffix}"
            path.write_bytes(spoil(rng, contents[kind], contents[rng.choice(others)]))
            target = path
            if kind in ("asf", "amc"):  # the two belong together
                shutil.copy(planted["amc" if kind == "asf" else "asf"], folder / f"spoiled.{'amc' if kind == 'asf' else 'asf'}")
                target = folder / "spoiled.amc"
            out.mkdir(exist_ok=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            print(f"{kind} {index}", file=sys.stderr, flush=True)
            guard.on, problem = True, ""
            try:
                try_file(target, kind, index, out)
            except VitruvianError as error:
                if not str(error).strip() or len(str(error)) > 2000:
                    problem = f"a message of {len(str(error))} letters"
            except BaseException as error:
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            guard.on = False
            faulthandler.cancel_dump_traceback_later()
            problem = "; ".join([*filter(None, [problem]), *guard.caught])
            guard.caught.clear()
            if problem:
                kept = folder / f"bad_{kind}_{index}{path.suffix}"
                path.replace(kept)
                bad.append(f"{kept}: {problem}")
            shutil.rmtree(out)
    return bad


def main(arguments: list[str]) -> int:
    """Run the cases that the arguments name."""
    with suppress(ImportError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    warnings.simplefilter("ignore")
    counts = {kind: int(count) for kind, count in (argument.split("=") for argument in arguments[2:])}
    for kind in counts:
        if kind not in MEDIA and kind not in CALIBRATIONS and kind != "asf":
            format_called(kind)
    bad = run(Path(arguments[0]), int(arguments[1]), counts)
    print("\n".join([*bad, f"{sum(counts.values())} cases"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
