"""Runs the cases of "jointbdoe": whole networks, and decoding with suppression and the angle benchmark."""

from __future__ import annotations

import re

import numpy as np
from tests.parity.fill import Case
from tests.parity.two_threads import two_threads

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if case.meta["state"]:
        return network(case)
    if "raw0" in inputs:
        return decode_and_score(case)
    return None


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> raw heads and decoded rows."""
    import torch

    from vitruvian.systems.detection.jointbdoe import decode_rows, from_published

    _, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    with two_threads():
        raw = model(torch.from_numpy(case.inputs()["image"]))
        rows = decode_rows(model, raw)
    return {"decoded": rows.numpy()} | {f"raw{i}": level.numpy() for i, level in enumerate(raw)}


def decode_and_score(case: Case) -> Arrays:
    """Raw heads -> people in pixels of the input and of the picture, and the benchmark; thresholds are in the notes."""
    from vitruvian.codecs.anchors import ANCHORS_P6, decode_rows, select, split_rows
    from vitruvian.codecs.orientation import find_facing
    from vitruvian.geometry.boxes import xywh_to_xyxy
    from vitruvian.metrics.orientation import Facings, orientation_scores

    inputs = case.inputs()
    score = _told(case, r"confidence (\d*\.?\d+)", 0.05)
    overlap = _told(case, r"IoU (\d*\.?\d+)", 0.5)
    raw = [inputs[f"raw{i}"][0] for i in range(4)]
    height, width = inputs["original_shape"].tolist()
    input_size = raw[0].shape[2] * 8, raw[0].shape[1] * 8
    candidates = split_rows(decode_rows(raw, np.array(ANCHORS_P6), 1, 0), 1)
    kept, extras = select(candidates, (0,), score, overlap)
    found = find_facing(candidates, input_size, (width, height), score, overlap)
    boxes, degrees = xywh_to_xyxy(inputs["gt_boxes"]), inputs["gt_degrees"]
    out = {"network_nms": _rows(kept, extras[:, 0]), "detections": _rows(found.people, found.angles / (2 * np.pi))}
    for name, mine in (("benchmark", slice(None)), ("benchmark_strong", inputs["gt_weak"] == 0)):
        truth = Facings(boxes[mine], np.radians(degrees[mine]))
        scores = orientation_scores([truth], [Facings(found.people.boxes, found.angles)])
        shares = [100 * scores.accuracy[limit] for limit in (5.0, 15.0, 30.0)]
        out[name] = np.array([scores.people, scores.matched, scores.mae, *shares])
    return out


def _rows(found, turns: np.ndarray) -> np.ndarray:
    return np.concatenate([found.boxes, found.scores[:, None], found.labels[:, None], turns[:, None]], axis=1)


def _told(case: Case, pattern: str, otherwise: float) -> float:
    said = re.search(pattern, case.meta["notes"])
    return float(said[1]) if said else otherwise
