"""Shared by all rooms: the helpers beside this file (nets, scenes, walkers) can be imported, and tiny networks are there as a fixture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode, which lets two rooms have a test file of one name, leaves the path alone


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Options for `capture`: a detector of coloured rectangles, a pose network with a fixed answer (see nets.py), no bodies."""
    nets = pytest.importorskip("nets", reason="needs onnx")
    folder = tmp_path_factory.mktemp("networks")
    return {"detector": nets.detector(folder), "pose": nets.pose(folder), "mesh": False}


@pytest.fixture(scope="session")
def rtmpose(tmp_path_factory):
    """An ONNX file of RTMPose, crops of 96 x 128, with random weights (see random_rtmpose.py); it takes some seconds to make."""
    for extra in ("torch", "onnx", "onnxscript"):
        pytest.importorskip(extra)
    from random_rtmpose import random_rtmpose

    return random_rtmpose(tmp_path_factory.mktemp("rtmpose") / "rtmpose-nano-random.onnx")
