"""SynthPose in small: the whole-body network MapPose with a new head of 58 points: COCO's 17, six of the feet, 35 anatomical markers.

    OMP_NUM_THREADS=1 python recipes/synthpose_small.py --store people/ --photographs photographs.txt --start last.pt --out FOLDER

One network has all three sets, 17, 23 (with feet) and 52 (17 + 35), so that sets are compared and not trainings. It starts from a MapPose
of 133 points (`python -m vitruvian.train pose`). What is before the last map stays as it is, so that crops go through it once and are kept
(FOLDER/crops-*.npz), and a processor learns the rest in minutes: the last joining of maps and the outputs, each new marker from the
weights of the keypoints beside it. The store's people who stand or walk, in the picture whole, alone, with nothing in front of them: the
pictures that a laboratory's cameras take of one walker, and not those that a default network must bear. Stopped runs go on.
`--whole 500` then trains all layers on fresh crops for so many seconds.
FOLDER/network.pt is the whole network; `benchmarks/synthpose_film.py` measures what its points are worth as joint angles. Figures seen:
docs/biomechanics.md.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.codecs.probability_map import ProbabilityMap
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.look import Look
from vitruvian.synth.scene import Studio, pose_crop
from vitruvian.synth.store import Store
from vitruvian.systems.biomechanics.marker_labels import marker_labels
from vitruvian.systems.biomechanics.marker_points import SYNTHPOSE_FILE, MarkerPoints, read_points
from vitruvian.systems.pose2d.mappose import STRIDE, VARIANTS, MapPose
from vitruvian.train.defaults import cell_loss, normalise, pose_loss
from vitruvian.train.loop import Schedule, steps_done, train

FEET = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
SIZE = (192, 256)
CHUNK = 100  # crops of one file
JOINTS = ("shoulder", "hip", "knee", "ankle")
# New marker -> keypoints whose weights it begins with; for both sides where the name begins with "?".
BESIDE = {
    **dict.fromkeys(("sternum", "C7", "T6"), ("left_shoulder", "right_shoulder")),
    **dict.fromkeys(("T11", "L2"), ("left_hip", "right_hip")),
    "?shoulder": ("?_shoulder",),
    **dict.fromkeys(("?_lelbow", "?_melbow"), ("?_elbow",)),
    **dict.fromkeys(("?_lwrist", "?_mwrist"), ("?_wrist",)),
    **dict.fromkeys(("?_ASIS", "?_PSIS"), ("?_hip",)),
    **dict.fromkeys(("?_knee", "?_mknee"), ("?_knee",)),
    **dict.fromkeys(("?_ankle", "?_mankle"), ("?_ankle",)),
    **{"?_5meta": ("?_small_toe",), "?_toe": ("?_big_toe",), "?_big_toe": ("?_big_toe",), "?_calc": ("?_heel",)},
}


def points_58(folder: Path) -> MarkerPoints:
    """SynthPose's 52 points and the six of COCO-WholeBody's feet."""
    text = SYNTHPOSE_FILE.read_text(encoding="utf-8").replace('"synthpose-52"', '"synthpose-58"')
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "synthpose58.toml"
    with written_whole(file) as temporary:
        temporary.write_text(text + "".join(f'{name} = {{ keypoint = "{name}" }}\n' for name in FEET), encoding="utf-8")
    return read_points(file)


def sources(name: str) -> tuple[str, ...]:
    """The whole-body keypoints whose outputs a point begins with."""
    if name in COCO_WHOLEBODY_133.names:
        return (name,)
    if name in BESIDE:
        return BESIDE[name]
    side = {"r": "right", "l": "left"}[name[0]]
    return tuple(one.replace("?", side) for one in BESIDE["?" + name[1:]])


def begun_network(points: MarkerPoints, start: Path) -> MapPose:
    """A MapPose with outputs for the points, begun with those of a network of 133."""
    state = torch.load(start, map_location="cpu", weights_only=True)
    state = state.get("averaged", state)
    rows = [[COCO_WHOLEBODY_133.index(one) for one in sources(name)] for name in points.skeleton.names]
    for name in ("maps", "coarse", "elsewhere"):
        for part in ("weight", "bias"):
            values = state[f"{name}.{part}"]
            state[f"{name}.{part}"] = torch.stack([values[row].mean(0) for row in rows])
    model = MapPose(replace(VARIANTS["t"], keypoints=len(points.keypoint)))
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class People:
    """A store with the labels of the points, and who of it is seen whole."""

    store: Store
    whole: np.ndarray
    swap: np.ndarray

    @classmethod
    def open(cls, folder: Path, points: MarkerPoints) -> People:
        """Pose everybody anew for the labels."""
        store = Store.open(folder, truth=True)
        labels = marker_labels(store, points)
        look = Look(crowds=False, occluders=False)
        count = store.keypoints.shape[1]
        labelled = replace(store, keypoints=np.concatenate([store.keypoints, labels], 1), truth={}, look=look)
        swap = np.r_[COCO_WHOLEBODY_133.swap, count + np.array(points.skeleton.swap)]
        return cls(labelled, np.flatnonzero((labels[..., 2] > 0).all(1) & upright(store)), swap)


def upright(store: Store) -> np.ndarray:
    """Which people stand or walk: trunk and legs along the vertical."""
    places = {part: slice(COCO_WHOLEBODY_133.index(f"left_{part}"), COCO_WHOLEBODY_133.index(f"right_{part}") + 1) for part in JOINTS}
    points, up = store.truth["points"], store.truth["floor"][:, :3]
    shoulder, hip, knee, ankle = (points[:, places[part]].mean(1) for part in JOINTS)
    along = lambda limb: (limb * up).sum(1) / np.linalg.norm(limb, axis=1)  # noqa: E731
    return (along(shoulder - hip) > 0.8) & (along(hip - knee) > 0.75) & (along(knee - ankle) > 0.6)


def draw(people: People, studio: Studio, members: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """CHUNK crops (n, h, w, 3), and (n, K, 3): x, y in crop pixels, weight."""
    rng = np.random.default_rng((97, seed))
    own = Studio(people.store, studio.backdrops, members, people.swap)
    crops, keypoints, _ = zip(*(pose_crop(rng, own, SIZE) for _ in range(CHUNK)), strict=True)
    return np.stack(crops), np.stack(keypoints)[:, len(COCO_WHOLEBODY_133) :]


class Head(nn.Module):
    """What is trained of a MapPose."""

    def __init__(self, model: MapPose):
        super().__init__()
        self.fine, self.maps, self.elsewhere = model.fine, model.maps, model.elsewhere

    def forward(self, middle: Tensor, map8: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the maps and of "elsewhere"."""
        return self.maps(self.fine(middle, map8)), self.elsewhere(seen)


@torch.no_grad()
def features(model: MapPose, crops: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the head starts from, half precision: the map of stride 16, the backbone's of stride 8, the mean of the context."""
    taken: dict[str, Tensor] = {}
    hooks = [
        model.fine.register_forward_pre_hook(lambda _, inputs: taken.update(middle=inputs[0], map8=inputs[1])),
        model.elsewhere.register_forward_pre_hook(lambda _, inputs: taken.update(seen=inputs[0])),
    ]
    parts = []
    for start in range(0, len(crops), 20):
        images = torch.from_numpy(crops[start : start + 20]).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            model.logits(normalise(images))
        parts.append([taken[name].half().numpy() for name in ("middle", "map8", "seen")])
    for hook in hooks:
        hook.remove()
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def collected(folder: Path, model: MapPose, asked: argparse.Namespace, points: MarkerPoints) -> list[tuple[Tensor, ...]]:
    """Features and labels of all crops, drawn where they are not there yet; the first two files are of people who are held out."""
    files = [folder / f"crops-{i:03d}.npz" for i in range(asked.crops // CHUNK + 2)]
    if not all(file.exists() for file in files):
        people = People.open(asked.store, points)
        logging.info("%d of %d people are upright and seen whole", len(people.whole), len(people.store))
        photographs = load_photographs(asked.photographs.read_text().splitlines()) if asked.photographs else []
        cv2.setNumThreads(0)
        for i, file in enumerate(files):
            if file.exists():
                continue
            studio = Studio.open(people.store, photographs, np.random.default_rng(i), CHUNK)
            crops, keypoints = draw(people, studio, people.whole[(people.whole % 20 == 0) == (i < 2)], i)
            middle, map8, seen = features(model, crops)
            with written_whole(file) as temporary, temporary.open("wb") as out:
                np.savez(out, middle=middle, map8=map8, seen=seen, keypoints=keypoints)
            logging.info("%d of %d crops", (i + 1) * CHUNK, len(files) * CHUNK)
    tables = [np.load(file) for file in files]
    return [tuple(torch.from_numpy(table[name]) for name in ("middle", "map8", "seen", "keypoints")) for table in tables]


def batches(chunks: list[tuple[Tensor, ...]], size: int) -> Iterator[tuple[Tensor, ...]]:
    """Random samples without end."""
    draws, columns = torch.Generator().manual_seed(0), [torch.cat(values) for values in zip(*chunks, strict=True)]
    while True:
        for rows in torch.randperm(len(columns[0]), generator=draws).split(size):
            middle, map8, seen, keypoints = (column[rows] for column in columns)
            yield middle.float(), map8.float().contiguous(memory_format=torch.channels_last), seen.float(), keypoints


def loss(head: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Cross-entropy of the fine maps."""
    maps, elsewhere = head(*batch[:3])
    return {"total": cell_loss(maps, batch[3], STRIDE, elsewhere)}


@torch.no_grad()
def errors(head: nn.Module, held_out: list[tuple[Tensor, ...]]) -> dict[str, float]:
    """Median and mean distance in percent of the crop's height: of the body's 17 points, of the markers, and of the feet."""
    groups = {"body": slice(0, 17), "markers": slice(17, 52), "feet": slice(52, 58)}
    codec, away = ProbabilityMap(SIZE, (SIZE[0] // STRIDE, SIZE[1] // STRIDE)), []
    for *inputs, keypoints in held_out:
        maps, elsewhere = head(*(value.float() for value in inputs))
        chances = torch.softmax(torch.cat((maps.flatten(2), elsewhere[..., None]), 2), 2)[..., :-1].view_as(maps)
        distance = np.linalg.norm(codec.decode(chances.numpy())[0] - keypoints[..., :2].numpy(), axis=-1)
        away.append(np.where(keypoints[..., 2] > 0, 100 * distance / SIZE[1], np.nan))
    every, table = np.concatenate(away), {}
    for name, part in groups.items():
        table |= {f"{name}_median": float(np.nanmedian(every[:, part])), f"{name}_mean": float(np.nanmean(every[:, part]))}
    return table


def fresh(people: People, members: np.ndarray, photographs: list, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of crops (b, 3, h, w) and keypoints without end."""
    rng = np.random.default_rng((98, seed))
    cv2.setNumThreads(0)
    studio = Studio.open(people.store, photographs, rng, 400)
    own = Studio(people.store, studio.backdrops, members, people.swap)
    while True:
        crops, keypoints, _ = zip(*(pose_crop(rng, own, SIZE) for _ in range(size)), strict=True)
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        yield images, torch.from_numpy(np.stack(keypoints)[:, len(COCO_WHOLEBODY_133) :])


def whole(model: MapPose, asked: argparse.Namespace, points: MarkerPoints) -> MapPose:
    """All layers trained on, on fresh crops, for `asked.whole` seconds."""
    people = People.open(asked.store, points)
    photographs = load_photographs(asked.photographs.read_text().splitlines()) if asked.photographs else []
    members = people.whole[people.whole % 20 != 0]
    schedule = Schedule(
        steps=10**9,
        seconds=asked.whole,
        learning_rate=asked.rate / 2,
        warmup=20,
        ema=60.0,
        muon=True,
        flat=0.3,
        save_every=40,
        report_every=10,
    )
    stream = fresh(people, members, photographs, asked.batch, steps_done(asked.out / "whole"))
    return train(model.requires_grad_(True), stream, pose_loss, schedule, asked.out / "whole")


def again(model: MapPose, asked: argparse.Namespace, points: MarkerPoints) -> list[tuple[Tensor, ...]]:
    """Features of people who are held out, by a network whose features have changed."""
    people = People.open(asked.store, points)
    photographs = load_photographs(asked.photographs.read_text().splitlines()) if asked.photographs else []
    stream = fresh(people, people.whole[people.whole % 20 == 0], photographs, 2 * CHUNK, 10**6)
    images, keypoints = next(stream)
    crops = images.permute(0, 2, 3, 1).numpy()
    return [(*(torch.from_numpy(part) for part in features(model, crops)), keypoints)]


def main() -> None:
    """Collect, train, join."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of label images with bodies (vitruvian synth)")
    parser.add_argument("--photographs", type=Path, help="text file: one background picture per line")
    parser.add_argument("--start", type=Path, required=True, help="last.pt of a MapPose-t of 133 points")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--whole", type=float, default=0.0, help="seconds for which all layers are trained after the head")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    points = points_58(asked.out)
    model = begun_network(points, asked.start).eval()
    chunks = collected(asked.out, model, asked, points)
    held_out, head = chunks[:2], Head(model).to(memory_format=torch.channels_last)
    logging.info("before: %s", json.dumps(errors(head, held_out)))
    head.train()
    schedule = Schedule(
        steps=asked.steps, learning_rate=asked.rate, warmup=30, ema=80.0, muon=True, flat=0.3, save_every=60, report_every=20
    )
    done = train(head, batches(chunks[2:], asked.batch), loss, schedule, asked.out / "head", lambda network: errors(network, held_out))
    logging.info("after: %s", json.dumps(errors(done, held_out)))
    model.load_state_dict(done.state_dict(), strict=False)
    if asked.whole:
        model = whole(model, asked, points)
        logging.info("after all of it was trained: %s", json.dumps(errors(Head(model), again(model, asked, points))))
    with written_whole(asked.out / "network.pt") as temporary:
        torch.save(model.state_dict(), temporary)


if __name__ == "__main__":
    main()
