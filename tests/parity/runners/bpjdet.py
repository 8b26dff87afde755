"""Runs the cases of "bpjdet": whole networks, decoding with suppression and association, miss-matching rates, pairs of hands and bodies.

What a network tells apart is inferred from its number of outputs; a "variant" that names classes and offsets goes before.
"""

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
        return associate(case)
    if "gt" in inputs and "mmr" in case.meta["outputs"]:
        return miss_matching(case)
    if "gt" in inputs and "joint_ap" in case.meta["outputs"]:
        return hands(inputs)
    return None


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> raw heads and decoded rows."""
    import torch

    from vitruvian.nn.anchors import decode
    from vitruvian.systems.detection.bpjdet import from_published

    config, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    with two_threads():
        raw = model(torch.from_numpy(case.inputs()["image"]))
        rows = decode(raw, model.anchors, model.strides, len(config.part_set.classes), len(config.part_set.slots))
    return {"decoded": rows.numpy()} | {f"raw{i}": level.numpy() for i, level in enumerate(raw)}


def part_set_of(case: Case, outputs: int):
    """By the variant's "nc=2 num_offsets=4 num_states=8", or else by the number of outputs."""
    from vitruvian.codecs.association import known_part_set
    from vitruvian.systems.detection.bpjdet import infer_part_set

    told = dict(re.findall(r"(nc|num_offsets|num_states)\s*=\s*(\d+)", case.meta["variant"]))
    if not {"nc", "num_offsets"} <= told.keys():
        return infer_part_set(outputs)
    slots = int(told["num_offsets"]) // 2
    return known_part_set(int(told["nc"]), slots, (outputs - 5 - int(told["nc"]) - 2 * slots) // slots)


def associate(case: Case) -> Arrays:
    """Raw heads -> rows -> bodies, parts, slots. Candidates are the rows with an objectness above 0.01."""
    from vitruvian.codecs.anchors import ANCHORS_P6, decode_rows, select, split_rows
    from vitruvian.codecs.association import Thresholds, find_bodies

    inputs = case.inputs()
    raw = [inputs[f"raw{i}"][0] for i in range(4)]
    part_set = part_set_of(case, raw[0].shape[-1])
    classes, slots = len(part_set.classes), len(part_set.slots)
    height, width = inputs["original_shape"].tolist()
    input_size = raw[0].shape[2] * 8, raw[0].shape[1] * 8
    # float32 storage of decimal values: 0.6 became 0.60000002, and a tie would go the other way.
    t = Thresholds(*(float(f"{x:.6g}") for x in inputs["thresholds"]))
    candidates = split_rows(decode_rows(raw, np.array(ANCHORS_P6), classes, slots), classes)
    found = find_bodies(candidates, part_set, input_size, (width, height), t)
    out = {"decoded_candidates": decode_rows(raw, np.array(ANCHORS_P6), classes, slots, 0.01)}
    chosen = (("body_nms", (0,), t.body_score, t.body_iou), ("part_nms", range(1, classes), t.part_score, t.part_iou))
    for name, wanted, score, overlap in chosen:
        kept, extras = select(candidates, wanted, score, overlap)
        out[name] = np.concatenate([kept.boxes, kept.scores[:, None], kept.labels[:, None], extras], axis=1)
    boxes = np.nan_to_num(found.part_boxes)
    # The program reports no parts of a picture without bodies; we do.
    parts = found.parts if len(found) else found.parts[:0]
    return out | {
        "bodies": found.boxes,
        "body_scores": found.scores,
        "slots": np.concatenate([found.hooks, found.part_scores[..., None], boxes], axis=-1),
        "states": found.states,
        "parts": np.concatenate([parts.boxes, parts.scores[:, None], parts.labels[:, None]], axis=1),
    }


def miss_matching(case: Case) -> Arrays:
    """mMR-2 of the setups that the case lists, CrowdHuman's or CityPersons'; pictures have the ids 1 to N of the notes."""
    from vitruvian.geometry.boxes import xywh_to_xyxy
    from vitruvian.metrics.association import CITYPERSONS, CROWDHUMAN, FoundPairs, TruePairs, miss_rate

    inputs = case.inputs()
    gt, dt = (inputs[name].astype(np.float64) for name in ("gt", "dt"))
    said = re.search(r"(\d+) images", case.meta["notes"])
    pictures = int(said[1]) if said else int(max(gt[:, 0].max(initial=0), dt[:, 0].max(initial=0)))
    truth = TruePairs(gt[:, 0].astype(int), xywh_to_xyxy(gt[:, 1:5]), xywh_to_xyxy(gt[:, 5:9]), gt[:, 9], gt[:, 10] > 0)
    dt = dt[dt[:, 10] != 0]
    found = FoundPairs(dt[:, 0].astype(int), xywh_to_xyxy(dt[:, 1:5]), xywh_to_xyxy(dt[:, 5:9]), dt[:, 9], dt[:, 10])
    setups = CITYPERSONS if "cityperson" in f"{case.meta['variant']} {case.meta['notes']}".lower() else CROWDHUMAN
    return {"mmr": np.array([miss_rate(truth, found, pictures, setup) for setup in setups.values()])}


def hands(inputs: Arrays) -> Arrays:
    """BodyHands' protocol, in percent."""
    from vitruvian.metrics.association import FoundPairs, TruePairs, pair_scores

    gt, dt = inputs["gt"], inputs["dt"]
    truth = TruePairs(gt[:, 0].astype(int), gt[:, 5:9], gt[:, 1:5], np.ones(len(gt)), gt[:, 9] > 0)
    found = FoundPairs(dt[:, 0].astype(int), dt[:, 5:9], dt[:, 1:5], dt[:, 9])
    scores = pair_scores(truth, found)
    names = {"hand_ap": scores.part_ap, "conditional_accuracy": scores.conditional_accuracy, "joint_ap": scores.joint_ap}
    return {name: np.array(100 * value) for name, value in names.items()}
