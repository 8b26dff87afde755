"""People from the bottom up: heat maps of joints, fields that say which joints belong together, and short 3D codes at the joints.

| map | channels | at a cell | source |
|---|---|---|---|
| heat maps | J + 1 | bumps at the joints that are seen, last the background | usual |
| affinity fields | 2 per limb | unit vector from parent to child within the limb's width | Cao et al. 2017, arXiv 1611.08050 |
| codes | 3 J | near joint j: channels of j hold its offset from its parent, those of its children theirs from j; all others say nothing \
| XNect, arXiv 1907.00837 |

A bone's offset stands at both of its ends, so it survives when one of them is hidden. Offsets are in metres, camera axes, of a person of a
reference stature. Recalled and proposed, not read [card xnect.md section 4.3]: all constants of `Reading`, the channels of the codes, and
the neck as the joint that every person needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

from vitruvian.errors import VitruvianError

SLOTS = 4
"""Bones that a joint's code can hold: its own and three of children."""

FEATURES = 3 + 3 * SLOTS
"""Numbers per joint for the network that completes a person: x, y, confidence, code."""


@dataclass(frozen=True)
class PartTree:
    """Which joints there are and how they hang together.

    joints: J. limbs: (parent, child), outwards from the anchor limbs[0][0], so that a limb's parent is the anchor or a child before it.
    parents: (J) of the codes' bones; -1 where the parent is no detected joint (a hip's is the pelvis).
    Raises VitruvianError where the limbs are no such tree, or a joint has more than three children.
    """

    joints: int
    limbs: tuple[tuple[int, int], ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        reached = [self.limbs[0][0]] if self.limbs else []
        for parent, child in self.limbs:
            if parent not in reached or child in reached or not 0 <= child < self.joints:
                raise VitruvianError(f"limb ({parent}, {child}) does not continue a tree from joint {reached[0]}: order the limbs outwards")
            reached.append(child)
        if len(self.parents) != self.joints or max(np.bincount([p for p in self.parents if p >= 0], minlength=1)) >= SLOTS:
            raise VitruvianError(f"parents {self.parents} for {self.joints} joints: one each, and at most {SLOTS - 1} children")

    @property
    def anchor(self) -> int:
        """The joint that every person needs."""
        return self.limbs[0][0]

    @property
    def slots(self) -> Int64[np.ndarray, "j s"]:
        """The joints whose bones a joint's code holds: itself, its children; -1 for none."""
        out = np.full((self.joints, SLOTS), -1)
        out[:, 0] = np.arange(self.joints)
        for joint in range(self.joints):
            children = [child for child, parent in enumerate(self.parents) if parent == joint]
            out[joint, 1 : 1 + len(children)] = children
        return out


@dataclass(frozen=True)
class Reading:
    """What counts as a joint, a limb, and a person.

    peak: least height of a joint's bump. blur: sigma of the blur before peaks are looked for, cells. samples: places along a limb that are
    asked; `share` of them must point along it by more than `along`. joints, score: least number of joints, and least mean of joints' and
    limbs' scores, of a person. most: peaks per joint that are kept, the highest.
    """

    peak: float = 0.1
    blur: float = 0.6
    samples: int = 10
    along: float = 0.05
    share: float = 0.8
    joints: int = 3
    score: float = 0.2
    most: int = 64


@dataclass(frozen=True, eq=False)
class Targets:
    """What a network is taught for one picture, and where its codes count."""

    heatmaps: Float32[np.ndarray, "j1 h w"]
    affinity: Float32[np.ndarray, "l2 h w"]
    codes: Float32[np.ndarray, "j3 h w"]
    code_mask: Bool[np.ndarray, "j3 h w"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The people of one picture, surest first. keypoints: pixels; scores: 0 for joints that were not seen; codes: metres, 0 where none."""

    keypoints: Float32[np.ndarray, "n j 2"]
    scores: Float32[np.ndarray, "n j"]
    codes: Float32[np.ndarray, "n j s 3"]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class PartAffinity:
    """The codec of one network: input `size` and map size `cells`, both (width, height); cell = pixel / stride.

    sigma of the bumps and half_width of the limbs in pixels of the input; radius of the codes' discs in cells.
    """

    tree: PartTree
    size: tuple[int, int]
    cells: tuple[int, int]
    sigma: float = 7.0
    half_width: float = 8.0
    radius: float = 1.0

    @property
    def stride(self) -> Float32[np.ndarray, " 2"]:
        """Pixels per cell along x and y."""
        return (np.asarray(self.size) / np.asarray(self.cells)).astype(np.float32)

    def encode(
        self, keypoints: Float[np.ndarray, "n j 2"], visible: Bool[np.ndarray, "n j"], offsets: Float[np.ndarray, "n j 3"]
    ) -> Targets:
        """Targets of n people, the farthest first: where codes of two compete for a cell, the later one wins.

        offsets: every joint's from its parent. Joints that are not visible are in no map.
        """
        places = np.asarray(keypoints, np.float64) / self.stride
        visible = np.asarray(visible, bool) & np.isfinite(places).all(-1)
        places = np.where(visible[..., None], places, 0.0)
        y, x = np.mgrid[: self.cells[1], : self.cells[0]].astype(np.float64)
        sigma = self.sigma / self.stride
        joints = self.tree.joints
        heat = np.zeros((joints + 1, *x.shape))
        for person, joint in zip(*np.nonzero(visible), strict=True):
            away = ((x - places[person, joint, 0]) / sigma[0]) ** 2 + ((y - places[person, joint, 1]) / sigma[1]) ** 2
            heat[joint] = np.maximum(heat[joint], np.exp(-away / 2))
        heat[joints] = 1 - heat[:joints].max(0, initial=0)
        codes, mask = self._codes(places, visible, np.asarray(offsets), x, y)
        return Targets(heat.astype(np.float32), self._affinity(places, visible, x, y), codes, mask)

    def _affinity(self, places: np.ndarray, visible: np.ndarray, x: np.ndarray, y: np.ndarray) -> Float32[np.ndarray, "l2 h w"]:
        """Unit vectors along the limbs, their mean where limbs of one kind cross."""
        out = np.zeros((len(self.tree.limbs), 2, *x.shape))
        for limb, (a, b) in enumerate(self.tree.limbs):
            count = np.zeros(x.shape)
            for person in np.flatnonzero(visible[:, a] & visible[:, b]):
                along = (places[person, b] - places[person, a]) * self.stride
                length = np.linalg.norm(along)
                if length < 1e-6:
                    continue
                unit = along / length
                dx, dy = (x - places[person, a, 0]) * self.stride[0], (y - places[person, a, 1]) * self.stride[1]
                reach, off = dx * unit[0] + dy * unit[1], np.abs(dx * unit[1] - dy * unit[0])
                # Past the ends too, because short limbs are asked at few cells, which may lie there.
                inside = (reach >= -self.half_width) & (reach <= length + self.half_width) & (off <= self.half_width)
                out[limb] += unit[:, None, None] * inside
                count += inside
            out[limb] /= np.maximum(count, 1)
        return out.reshape(-1, *x.shape).astype(np.float32)

    def _codes(
        self, places: np.ndarray, visible: np.ndarray, offsets: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> tuple[Float32[np.ndarray, "j3 h w"], Bool[np.ndarray, "j3 h w"]]:
        """Discs around the joints with the offsets of the bones that end there."""
        codes, mask = np.zeros((self.tree.joints, 3, *x.shape), np.float32), np.zeros((self.tree.joints, *x.shape), bool)
        slots = self.tree.slots
        for person, joint in zip(*np.nonzero(visible), strict=True):
            cell = np.round(places[person, joint])
            rows, columns = np.nonzero((x - cell[0]) ** 2 + (y - cell[1]) ** 2 <= self.radius**2)
            for bone in slots[joint][slots[joint] >= 0]:
                if np.isfinite(offsets[person, bone]).all():
                    codes[bone, :, rows, columns] = offsets[person, bone]
                    mask[bone, rows, columns] = True
        return codes.reshape(-1, *x.shape), np.repeat(mask, 3, axis=0)

    def decode(
        self,
        heatmaps: Float[np.ndarray, "j1 h w"],
        affinity: Float[np.ndarray, "l2 h w"],
        codes: Float[np.ndarray, "j3 h w"],
        reading: Reading = Reading(),  # noqa: B008  (frozen)
    ) -> Parts:
        """The people of one picture. Joints that no limb ties to an anchor belong to nobody."""
        peaks = [find_peaks(heatmap, reading) for heatmap in heatmaps[: self.tree.joints]]
        owner = [np.full(len(places), -1) for places, _ in peaks]
        owner[self.tree.anchor] = np.arange(len(peaks[self.tree.anchor][0]))
        people = len(owner[self.tree.anchor])
        total, count = peaks[self.tree.anchor][1].astype(np.float64), np.ones(people)
        for limb, (a, b) in enumerate(self.tree.limbs):
            for first, second, score in pair_limb(peaks[a][0], peaks[b][0], affinity[2 * limb : 2 * limb + 2], reading):
                person = owner[a][first]
                if person >= 0:
                    owner[b][second] = person
                    total[person] += score + peaks[b][1][second]
                    count[person] += 2
        keypoints = np.zeros((people, self.tree.joints, 2), np.float32)
        scores = np.zeros((people, self.tree.joints), np.float32)
        for joint, ((places, heights), persons) in enumerate(zip(peaks, owner, strict=True)):
            found = persons >= 0
            keypoints[persons[found], joint], scores[persons[found], joint] = places[found], heights[found]
        mean = total / count
        kept = np.flatnonzero(((scores > 0).sum(1) >= reading.joints) & (mean >= reading.score))
        kept = kept[np.argsort(-mean[kept], kind="stable")]
        keypoints, scores = keypoints[kept], scores[kept]
        return Parts(keypoints * self.stride, scores, self._read_codes(codes, keypoints, scores > 0))

    def _read_codes(self, codes: np.ndarray, places: np.ndarray, seen: np.ndarray) -> Float32[np.ndarray, "n j s 3"]:
        """The codes at the joints' cells, reduced to the bones that end there."""
        height, width = codes.shape[1:]
        columns, rows = (np.clip(np.round(places[..., i]).astype(int), 0, n - 1) for i, n in enumerate((width, height)))
        slots = self.tree.slots
        there = codes.reshape(self.tree.joints, 3, height, width)[slots[None], :, rows[..., None], columns[..., None]]
        return np.where((seen[..., None] & (slots >= 0))[..., None], there, 0).astype(np.float32)


def find_peaks(heatmap: Float[np.ndarray, "h w"], reading: Reading) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, " n"]]:
    """Local maxima of a map, highest first: places in cells, by a parabola through the neighbours, and the map's heights there."""
    import cv2

    heatmap = np.ascontiguousarray(heatmap, np.float32)
    smooth = cv2.GaussianBlur(heatmap, (0, 0), reading.blur) if reading.blur > 0 else heatmap
    padded = np.pad(smooth, 1, constant_values=-np.inf)
    height, width = smooth.shape

    def beside(dx: int, dy: int) -> np.ndarray:
        return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    highest = heatmap > reading.peak
    for dx, dy in ((-1, -1), (0, -1), (1, -1), (-1, 0)):  # of two equal cells the one that comes later is the peak
        highest &= (smooth >= beside(dx, dy)) & (smooth > beside(-dx, -dy))
    rows, columns = np.nonzero(highest)
    order = np.argsort(-heatmap[rows, columns], kind="stable")[: reading.most]
    rows, columns = rows[order], columns[order]
    places = np.stack([columns, rows], 1).astype(np.float32)
    here = smooth[rows, columns]
    for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
        before, after = beside(-dx, -dy)[rows, columns], beside(dx, dy)[rows, columns]
        usable = np.isfinite(before) & np.isfinite(after)
        before, after = np.where(usable, before, here), np.where(usable, after, here)
        bend = before - 2 * here + after
        places[:, axis] += np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)
    return places, heatmap[rows, columns]


def pair_limb(
    parents: Float[np.ndarray, "n 2"], children: Float[np.ndarray, "m 2"], field: Float[np.ndarray, "2 h w"], reading: Reading
) -> list[tuple[int, int, float]]:
    """Pairs (parent, child, score) of one limb, the best first, each joint once. Places in cells.

    The score is the mean of the field along the pair's line, less what the line is longer than half the map's height in such halves.
    """
    if not len(parents) or not len(children):
        return []
    along = children[None] - parents[:, None]
    length = np.linalg.norm(along, axis=-1)
    unit = along / np.maximum(length, 1e-6)[..., None]
    steps = np.linspace(0, 1, reading.samples, dtype=np.float32)
    places = parents[:, None, None] + steps[:, None] * along[:, :, None]
    height, width = field.shape[1:]
    columns, rows = (np.clip(np.round(places[..., i]).astype(int), 0, n - 1) for i, n in enumerate((width, height)))
    agreement = field[0][rows, columns] * unit[..., :1] + field[1][rows, columns] * unit[..., 1:]
    score = agreement.mean(-1) + np.minimum(0.5 * height / np.maximum(length, 1e-6) - 1, 0)
    good = ((agreement > reading.along).mean(-1) >= reading.share) & (score > 0)
    first, second = np.nonzero(good)
    pairs: list[tuple[int, int, float]] = []
    used_first, used_second = set(), set()
    for row in np.argsort(-score[first, second], kind="stable"):
        a, b = int(first[row]), int(second[row])
        if a not in used_first and b not in used_second:
            used_first.add(a)
            used_second.add(b)
            pairs.append((a, b, float(score[a, b])))
    return pairs


def features(parts: Parts, anchor: int) -> Float32[np.ndarray, "n f"]:
    """What completes a person: per joint x, y, confidence and code; x and y from the anchor, over the person's extent; zeros if not seen.

    Where the anchor was not seen, the middle of the joints stands for it. The extent is the longer side of the box of what is seen.
    """
    seen = parts.scores > 0
    keypoints = np.where(seen[..., None], parts.keypoints, 0)
    middle = keypoints.sum(1) / np.maximum(seen.sum(1), 1)[:, None]
    origin = np.where(seen[:, anchor, None], keypoints[:, anchor], middle)
    placed = np.where(seen[..., None], parts.keypoints - origin[:, None], 0)
    low, high = (np.where(seen[..., None], parts.keypoints, fill) for fill in (np.inf, -np.inf))
    extent = (high.max(1, initial=-np.inf) - low.min(1, initial=np.inf)).max(1)
    extent = np.where(np.isfinite(extent) & (extent > 1e-6), extent, 1.0)
    flat = parts.codes.reshape(*seen.shape, 3 * SLOTS)
    each = np.concatenate([placed / extent[:, None, None], parts.scores[..., None], np.where(seen[..., None], flat, 0)], -1)
    return each.reshape(len(parts), FEATURES * seen.shape[1]).astype(np.float32)


def bones(points: Float[np.ndarray, "n k 3"], pairs: Sequence[tuple[int, int]] | Int[np.ndarray, "j 2"]) -> Float[np.ndarray, "n j 3"]:
    """Offsets of bones (parent, child) of people's points: what `PartAffinity.encode` is given."""
    pairs = np.asarray(pairs)
    return points[:, pairs[:, 1]] - points[:, pairs[:, 0]]


def codes_at_joints(tree: PartTree, offsets: Float[np.ndarray, "n j 3"], seen: Bool[np.ndarray, "n j"]) -> Float32[np.ndarray, "n j s 3"]:
    """What a perfect network's codes would say at the joints that are seen: simulated detections for training."""
    slots = tree.slots
    return np.where((seen[..., None] & (slots >= 0))[..., None], offsets[:, slots], 0).astype(np.float32)
