"""Decoding, suppression and association of a 1536 x 1536 output with 300 people, beside a plain-Python reference; milliseconds on one core.

    OMP_NUM_THREADS=1 python benchmarks/association.py [--people 300] [--parts head|hands|six] [--rounds 20]

The output is made up: every person is found by several cells of the level that fits its size, and so is each of its parts, among cells
with the scores of an empty picture. Both get the same raw heads (P6, 146,880 rows); the reference follows the card bpjdet.md line by line
in loops over lists, and also looks at the objectness first. Same bodies and slots, or it says so. Times are those of the processor, so that
other programs on a busy machine don't count; ours is also given as it passes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import numpy as np

from vitruvian.codecs.anchors import ANCHORS_P6, decode_rows, split_rows
from vitruvian.codecs.association import BODY_PARTS, HANDS, HEAD, Bodies, PartSet, Thresholds, find_bodies

SIDE = 1536
SETS = {"head": HEAD, "hands": HANDS, "six": BODY_PARTS}


def crowd(people: int, part_set: PartSet, seed: int = 0) -> list[np.ndarray]:
    """Raw heads of one picture."""
    random = np.random.default_rng(seed)
    classes, slots = len(part_set.classes), len(part_set.slots)
    raw = [random.normal(0, 1, (3, SIDE >> i + 3, SIDE >> i + 3, 5 + classes + 2 * slots)).astype(np.float32) for i in range(4)]
    for level in raw:
        level[..., 4] -= 9
    for _ in range(people):
        size = np.array([0.4, 1.0]) * random.uniform(60, 220)
        middle = random.uniform(size, SIDE - size)
        places = middle + random.uniform(-0.4, 0.4, (slots, 2)) * size
        _put(raw, middle, size, 0, places, part_set, random)
        for slot, place in enumerate(places):
            label = slot + 1 if part_set.sided else 1
            _put(raw, place, np.full(2, 0.16 * size[1]), label, np.repeat(middle[None], slots, 0), part_set, random)
    return raw


def _put(raw: list, middle: np.ndarray, size: np.ndarray, label: int, points: np.ndarray, part_set: PartSet, random) -> None:
    """Write an object into the anchors that fit it best, in its cell and the neighbours."""
    anchors = np.array(ANCHORS_P6, float)
    fit = np.abs(np.log(size / anchors)).max(-1)
    level, anchor = np.unravel_index(fit.argmin(), fit.shape)
    stride, chosen = 8 << level, anchors[level, anchor]
    classes = len(part_set.classes)
    cell = np.floor(middle / stride).astype(int)
    for step in ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1)):
        x, y = np.clip(cell + step, 0, raw[level].shape[1] - 1)
        row = raw[level][anchor, y, x]
        noisy = middle + random.normal(0, 0.02, 2) * size
        row[:2] = _logit((noisy / stride - (x, y) + 0.5) / 2)
        row[2:4] = _logit(np.sqrt(size / chosen) / 2 + random.normal(0, 0.01, 2))
        row[4] = random.uniform(1, 3)
        row[5 : 5 + classes] = -4
        row[5 + label] = 3
        row[5 + classes : 5 + classes + points.size] = _logit(((points - np.array([x, y]) * stride) / chosen + 2) / 4).ravel()


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def ours(raw: list[np.ndarray], part_set: PartSet, t: Thresholds) -> Bodies:
    """What `find_bodies` needs from raw heads, with only promising rows decoded."""
    classes = len(part_set.classes)
    rows = decode_rows(raw, np.array(ANCHORS_P6), classes, len(part_set.slots), min(t.body_score, t.part_score))
    return find_bodies(split_rows(rows, classes), part_set, (SIDE, SIDE), (SIDE, SIDE), t)


def plain(raw: list, part_set: PartSet, t: Thresholds) -> tuple[list, list]:
    """The same in plain Python over nested lists: body boxes, and per body the part box of every slot or None."""
    classes, slots = len(part_set.classes), len(part_set.slots)
    bodies, parts = [], []
    for i, level in enumerate(raw):
        stride = 8 << i
        for a, plane in enumerate(level):
            width, height = ANCHORS_P6[i][a]
            for gy, line in enumerate(plane):
                for gx, row in enumerate(line):
                    objectness = 1 / (1 + math.exp(-row[4]))
                    if objectness <= t.body_score:
                        continue
                    y = [1 / (1 + math.exp(-v)) for v in row]
                    scores = [objectness * p for p in y[5 : 5 + classes]]
                    label = scores.index(max(scores))
                    if scores[label] <= (t.part_score if label else t.body_score):
                        continue
                    cx, cy = (2 * y[0] - 0.5 + gx) * stride, (2 * y[1] - 0.5 + gy) * stride
                    w, h = (2 * y[2]) ** 2 * width, (2 * y[3]) ** 2 * height
                    hooks = []
                    for k in range(5 + classes, 5 + classes + 2 * slots, 2):
                        hooks.append([(4 * y[k] - 2) * width + gx * stride, (4 * y[k + 1] - 2) * height + gy * stride])
                    box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                    (parts if label else bodies).append((scores[label], label, box, hooks))
    bodies, parts = plain_nms(bodies, t.body_iou), plain_nms(parts, t.part_iou)
    clip = lambda v: min(max(v, 0), SIDE)  # noqa: E731
    boxes = [[round(clip(v)) for v in box] for _, _, box, _ in bodies]
    hooks = [[[clip(x), clip(y)] for x, y in points] for _, _, _, points in bodies]
    hung: list[list] = [[None] * slots for _ in bodies]
    left = [(label, [clip(v) for v in box]) for _, label, box, _ in parts]
    for slot in range(slots):
        rest = []
        for label, box in left:
            if (part_set.sided and label != slot + 1) or not boxes:
                rest.append((label, box))
                continue
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            body = min(range(len(boxes)), key=lambda b: math.hypot(hooks[b][slot][0] - x, hooks[b][slot][1] - y))
            if hung[body][slot] is None and shared(box, boxes[body]) > t.inside * size_of(box):
                hung[body][slot], hooks[body][slot] = box, [x, y]
            else:
                rest.append((label, box))
        left = rest
    return boxes, hung


def plain_nms(found: list, limit: float, most: int = 300) -> list:
    """Greedy suppression within each class."""
    kept: list = []
    for one in sorted(found, key=lambda x: -x[0]):
        if len(kept) == most:
            break
        if all(one[1] != k[1] or shared(one[2], k[2]) <= limit * (size_of(one[2]) + size_of(k[2]) - shared(one[2], k[2])) for k in kept):
            kept.append(one)
    return kept


def shared(a: list, b: list) -> float:
    """Common area of two boxes."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def size_of(box: list) -> float:
    """Area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def same(found: Bodies, boxes: list, hung: list) -> bool:
    """Whether both say the same, whole-pixel ties of float32 against float64 aside."""
    if len(found) != len(boxes) or (len(boxes) and np.abs(found.boxes - np.array(boxes)).max() > 1):
        return False
    pairs = zip(found.part_boxes.reshape(-1, 4), (box for line in hung for box in line), strict=True)
    return all(np.isnan(mine).all() if box is None else np.allclose(mine, box, atol=0.01) for mine, box in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--parts", choices=SETS, default="")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    for name in [arguments.parts] if arguments.parts else SETS:
        part_set, t = SETS[name], Thresholds()
        raw = crowd(arguments.people, part_set)
        lists = [level.tolist() for level in raw]
        start = time.process_time()
        reference = plain(lists, part_set, t)
        slow = time.process_time() - start
        spent, computed = [], []
        for _ in range(arguments.rounds):
            start, busy = time.perf_counter(), time.process_time()
            found = ours(raw, part_set, t)
            spent.append(time.perf_counter() - start)
            computed.append(time.process_time() - busy)
        fast = statistics.median(computed)
        print(
            f"{name}: {len(found)} bodies, {len(found.parts)} parts, {(found.part >= 0).sum()} hung: {1e3 * fast:.1f} ms "
            f"({1e3 * min(computed):.1f} - {1e3 * max(computed):.1f}; asked 30), {1e3 * statistics.median(spent):.1f} ms with waiting "
            f"({1e3 * min(spent):.1f} - {1e3 * max(spent):.1f}), plain Python {1e3 * slow:.0f} ms, "
            f"{slow / fast:.0f} times as long; "
            f"{'same results' if same(found, *reference) else 'RESULTS DIFFER'}"
        )


if __name__ == "__main__":
    main()
