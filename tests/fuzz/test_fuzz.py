"""2,720 spoiled files: nothing comes out of the readers and writers but typed errors, in time, and nothing is written elsewhere.

The cases are the same in every run. Another seed, or more of a kind: `PYTHONPATH=src:tests/fuzz python tests/fuzz/worker.py FOLDER SEED
bvh=5000`, FOLDER being an empty one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SEED = 20
GROUPS = {
    "json": {"coco": 150, "coco-results": 120, "coco-wholebody": 100, "openpose": 150, "controlnet-json": 150},
    "text": {"trc": 160, "bvh": 260, "mot": 160, "csv": 160, "amc": 80, "asf": 80},
    "calibration": {f"calib-{kind}": 100 for kind in ("toml", "qca", "xml", "yml", "json", "pickle")},
    "binary": {"take": 250, "png": 120, "jpg": 30, "webp": 20, "tif": 30, "bmp": 20, "mp4": 80},
}
LIMIT = 300  # seconds for a group, far above what one takes: each file has ten


def run_worker(folder: Path, seed: int, counts: dict[str, int]) -> subprocess.CompletedProcess:
    paths = [str(HERE), str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, str(HERE / "worker.py"), str(folder), str(seed), *(f"{kind}={count}" for kind, count in counts.items())]
    # One thread per library: idle ones of OpenBLAS would take most of the memory that the worker allows itself.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, cwd=folder)


@pytest.mark.parametrize("group", GROUPS)
def test_spoiled_files_raise_typed_errors_in_time(group: str, tmp_path: Path):
    done = run_worker(tmp_path, SEED, GROUPS[group])
    assert done.returncode == 0, f"last case {done.stderr[-1500:]}\n{done.stdout[-4000:]}"
    assert f"{sum(GROUPS[group].values())} cases" in done.stdout


def test_there_are_2000_of_them():
    assert sum(sum(counts.values()) for counts in GROUPS.values()) >= 2000


def test_the_worker_tells_of_what_it_looks_for(tmp_path: Path):
    """A reader that fails, writes elsewhere or hangs must be caught: the worker with a library that does all three."""
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import sys, worker\n"
        "def try_file(path, kind, index, out):\n"
        "    if index == 0: raise KeyError('untyped')\n"
        "    if index == 1: open(out.parent / 'elsewhere', 'w')\n"
        "    if index == 2: import pickle; pickle.loads(b'cos\\nsystem\\n.')\n"
        "    if index == 4:\n"
        "        while True: pass\n"
        "worker.try_file, worker.SECONDS = try_file, 1\n"
        "sys.exit(worker.main(sys.argv[1:]))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")]), "OPENBLAS_NUM_THREADS": "1"}
    for count in (4, 5):
        folder = tmp_path / str(count)
        folder.mkdir()
        command = [sys.executable, str(spy), str(folder), "0", f"mot={count}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 1
        if count == 4:
            assert [word in done.stdout for word in ("untyped", "elsewhere", "pickle.find_class", "mot_3")] == [True, True, True, False]
        else:
            assert "Timeout" in done.stderr and "mot 4" in done.stderr
