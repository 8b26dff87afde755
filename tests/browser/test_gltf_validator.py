"""Our .glb files before Khronos' own validator: no error and no warning.

Needs node and the npm package `gltf-validator` in VITRUVIAN_GLTF_VALIDATOR (its folder) or in node_modules of the repository.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyParameters
from vitruvian.formats.body_figure import body_figure
from vitruvian.formats.figures import Figure, SkinnedMesh, baked_figure
from vitruvian.formats.gltf import write_gltf

VALIDATOR = Path(os.environ.get("VITRUVIAN_GLTF_VALIDATOR") or Path(__file__).parents[2] / "node_modules" / "gltf-validator")
SCRIPT = """
const [folder, path] = process.argv.slice(1);
const data = new Uint8Array(require("fs").readFileSync(path));
require(folder).validateBytes(data).then((report) => console.log(JSON.stringify(report)));
"""
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.skipif(not VALIDATOR.is_dir(), reason="needs npm install gltf-validator, or VITRUVIAN_GLTF_VALIDATOR"),
]


def walker(frames: int = 4) -> Figure:
    model, random = load_compact(), np.random.default_rng(0)
    pose, translation = random.normal(0, 0.4, (frames, model.num_joints, 3)), random.normal(0, 1, (frames, 3))
    pose[1:2] = np.nan
    expression = random.uniform(0, 1, (frames, model.num_expression)) * (np.arange(model.num_expression) % 7 == 0)
    return body_figure(model, BodyParameters(pose, np.zeros((frames, 0)), expression, translation), np.arange(frames) / 30, "walker")


FIGURES = {
    "nobody": lambda: [],
    "one": lambda: [walker()],
    "two": lambda: [walker(), replace(walker(3), name="other")],
    "one frame": lambda: [walker(1)],
    "at rest": lambda: [replace(walker(), motion=None)],
    "triangle": lambda: [Figure("triangle", SkinnedMesh(np.eye(3), np.array([[0, 1, 2]])))],
    "baked": lambda: [baked_figure("baked", np.random.default_rng(0).normal(0, 1, (5, 9, 3)), np.arange(9).reshape(3, 3), np.arange(5.0))],
}


@pytest.mark.parametrize("case", FIGURES)
def test_the_validator_finds_no_fault(tmp_path, case):
    write_gltf(FIGURES[case](), tmp_path / "take.glb")
    command = ["node", "-e", SCRIPT, str(VALIDATOR.resolve()), str(tmp_path / "take.glb")]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    found = [message for message in report["issues"]["messages"] if message["severity"] < 2]  # 0 error, 1 warning, 2 information
    assert not found
