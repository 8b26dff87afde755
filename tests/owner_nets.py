"""Networks in the layouts of BPJDet and JointBDOE with fixed answers: two people whose heads are crossed, and three who face somewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import nets
from vitruvian.weights import Card

SIZE = (320, 240)
BODIES = np.array([[20, 20, 80, 100], [60, 20, 140, 100]], np.float32)
HEADS = np.array([[69, 25, 75, 31], [63, 25, 69, 31], [200, 200, 210, 210]], np.float32)
"""The first is the left person's although it lies nearer to the right one, the second the right person's; the third is nobody's."""
TOOLS = np.array([[40, 40, 180, 60], [30, 10, 190, 55]], np.float32)
"""Scissors, and a hook that crosses them."""
ANGLES = np.array([0.5, 0.25], np.float32)
"""Fractions of a turn: towards the camera, to the picture's left."""


def heads(folder: Path, codec: str = "bpjdet") -> Path:
    """A BPJDet network: every picture has these people with these heads."""
    middles = (HEADS[:, :2] + HEADS[:, 2:]) / 2
    points = np.concatenate([middles[:2], (BODIES[:, :2] + BODIES[:, 2:]) / 2, np.zeros((1, 2))])  # heads say where their body is
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.7], [0, 0.6], [0, 0.5]], np.float32)
    outputs = {"boxes": np.concatenate([BODIES, HEADS]), "scores": scores, "points": points.astype(np.float32)}
    path = nets.fixed(folder / "heads.onnx", outputs, SIZE)
    return _with_card(path, ("person", "head"), codec)


def pointing(folder: Path) -> Path:
    """Our own detector's layout: the same people and heads, of which the last points at nobody who is there."""
    pointers = np.concatenate([np.zeros((2, 4)), BODIES, [[200, 150, 260, 230]]]).astype(np.float32)
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.7], [0, 0.6], [0, 0.5]], np.float32)
    outputs = {"boxes": np.concatenate([BODIES, HEADS]), "scores": scores, "owners": pointers}
    return _with_card(nets.fixed(folder / "pointing.onnx", outputs, SIZE), ("person", "head"), "")


def greedy(folder: Path) -> Path:
    """A BPJDet network with two people around the same place: the first head pulls the first's hook away from the second's."""
    bodies = np.array([[0, 0, 100, 100], [40, 0, 140, 100]], np.float32)
    heads = np.array([[35, 16, 43, 24], [42, 16, 50, 24]], np.float32)
    points = np.array([[20, 20], [60, 20], [50, 50], [90, 50]], np.float32)
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.7], [0, 0.6]], np.float32)
    outputs = {"boxes": np.concatenate([bodies, heads]), "scores": scores, "points": points}
    return _with_card(nets.fixed(folder / "greedy.onnx", outputs, SIZE), ("person", "head"), "bpjdet")


def instruments(folder: Path) -> Path:
    """An hSDB-instrument network: two crossing tools with their heads and a shaft, and a head that is nobody's."""
    parts = np.array([[60, 40, 180, 58], [40, 40, 60, 60], [60, 20, 70, 30], [300, 200, 310, 210]], np.float32)
    scores = np.zeros((6, 5), np.float32)
    scores[[0, 1], [1, 0]], scores[[2, 3, 4, 5], [4, 2, 2, 2]] = [0.9, 0.8], [0.75, 0.7, 0.6, 0.5]
    points = np.full((6, 6), 1.0, np.float32)
    points[0], points[1, :2] = (50, 50, 1, 1, 120, 49), (65, 25)
    points[2:, :2] = [(110, 50), (110, 50), (110, 30), (1, 1)]
    path = nets.fixed(folder / "tools.onnx", {"boxes": np.concatenate([TOOLS, parts]), "scores": scores, "points": points}, SIZE)
    return _with_card(path, ("Electrichook", "Scissors", "head", "wrist", "body"), "bpjdet")


def contact_hands(folder: Path) -> Path:
    """A ContactHands network: the first of these people has a hand that touches an object."""
    hand = np.array([[30, 40, 40, 50]], np.float32)
    points = np.array([[35, 45, 300, 200], [300, 200, 300, 200], [50, 60, 0, 0]], np.float32)
    states = np.tile(np.array([0.1, 0.1, 0.1, 0.9] * 2, np.float32), (3, 1))
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.7]], np.float32)
    outputs = {"boxes": np.concatenate([BODIES, hand]), "scores": scores, "points": points, "states": states}
    return _with_card(nets.fixed(folder / "contact.onnx", outputs, SIZE), ("person", "hand"), "bpjdet")


def facing(folder: Path) -> Path:
    """A JointBDOE network: every picture has these people, who face these ways."""
    outputs = {"boxes": BODIES, "scores": np.array([[0.9], [0.8]], np.float32), "angles": ANGLES[:, None]}
    return _with_card(nets.fixed(folder / "facing.onnx", outputs, SIZE), ("person",), "jointbdoe")


def nobody(folder: Path) -> Path:
    """A BPJDet network that never finds anybody."""
    outputs = {"boxes": BODIES, "scores": np.zeros((2, 2), np.float32), "points": np.zeros((2, 2), np.float32)}
    return _with_card(nets.fixed(folder / "nobody.onnx", outputs, SIZE), ("person", "head"), "bpjdet")


def _with_card(path: Path, classes: tuple[str, ...], codec: str) -> Path:
    Card(path.stem, "detection", str(path), SIZE, nets.MEAN, nets.STD, classes=classes, codec=codec).save(path.with_suffix(".json"))
    return path
