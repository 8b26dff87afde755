"""Our own small Multi-HMR: crowds in true perspective, training, figures (card multi-hmr.md, section 8; issue 10). See multi_hmr_small.md.

    python recipes/multi_hmr_small.py scenes  --people PEOPLE --photographs LIST --data DATA       draw the scenes once (resumable)
    python recipes/multi_hmr_small.py train   --data DATA --out RUN --arm full --seconds 3600 [--start WHOLEBODY_T/last.pt]   (resumable)
    python recipes/multi_hmr_small.py judge   --data DATA --out RUN --arm full [--results FILE.json]
    python recipes/multi_hmr_small.py package --out RUN/full --onnx multi-hmr-t.onnx

SIDE=160 in the environment makes smaller pictures (and cheaper training) than the network's usual ones; data and runs are for one side.

Arms: "full"; "dense" (a person is read off their own token: no cross-attention); "blind" (neither rays nor focal length in the depth).

A scene: people of the store, each turned about the camera's eye, which for a picture is a homography, so that the perspective stays exact,
and one who is farther away than 2.5 heights also moved along their line of sight, which is exact only for people who are small against
their distance. Lens distortion is left out (people seen through it aren't used). Everybody brings their own camera height, so that
people of one scene don't stand on one floor. Bodies are the compact one without expression.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.body.compact import load_compact
from vitruvian.body.lbs import pose_model
from vitruvian.body.model import subset
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.metrics.meshes import MeshPart, PeopleInPictures, depth_order_accuracy, finger_errors, match_people, vertex_errors
from vitruvian.metrics.poses3d import mpjpe, pa_mpjpe
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.camera import NEAREST
from vitruvian.synth.occluders import occlude
from vitruvian.synth.optics import degrade
from vitruvian.synth.paint import paint, sample_light
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import PAINTED, Store
from vitruvian.synth.store import SIZE as LABEL
from vitruvian.systems.mesh.bodies import labelled
from vitruvian.systems.mesh.camera import project
from vitruvian.systems.mesh.multi_hmr import VARIANTS, Config, MultiHMR, People, exported, find
from vitruvian.systems.mesh.multi_hmr_loss import WEIGHTS, Labelled, depth_code, encode_targets, loss_terms
from vitruvian.train.loop import Schedule, train

MODEL = replace(VARIANTS["compact-t"], image_size=int(os.environ.get("SIDE", VARIANTS["compact-t"].image_size)))
ARMS = {"full": MODEL, "dense": replace(MODEL, dense=True), "blind": replace(MODEL, bands=0)}
SIDE = MODEL.image_size
SHARD, SHARDS, HELD_OUT = 50, 400, 2  # scenes of a file, files of training, files of held-out people and photographs
FOCAL = (0.7, 1.9)  # focal lengths over the picture's side
SMALLEST, LEAST_SEEN = 26, 0.2  # pixels high; share of a person that others leave visible
HEAD = load_compact().joint_names.index("head")
BODY = [i for i, name in enumerate(load_compact().joint_names) if not any(f in name for f in ("thumb", "index", "middle", "ring", "pinky"))]
ENDS = [load_compact().joint_names.index(f"{side}_{name}") for side in ("left", "right") for name in ("wrist", "ankle")]
COUNTS, SHARES = (0, 1, 2, 3, 4, 5), (0.04, 0.36, 0.28, 0.18, 0.09, 0.05)
BATCH, RATE = 16, 6e-4
_MIRROR = torch.tensor([1.0, -1.0, -1.0])


# Scenes


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns direction `a` to `b`."""
    return cv2.Rodrigues(_axis_angle(a / np.linalg.norm(a), b / np.linalg.norm(b)))[0]


def _axis_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return axis / max(sine, 1e-12) * np.arctan2(sine, a @ b)


def place_person(rng: np.random.Generator, truth: dict[str, np.ndarray], head: np.ndarray, camera: np.ndarray) -> tuple | None:
    """Where a person of the store may stand in a scene: (homography, rotation, pelvis), None where they don't fit.

    truth: one person's labels. head: their head joint in their own camera. camera: the scene's matrix.
    """
    scale, x, y, _ = truth["camera"]
    own = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
    pelvis, height = truth["translation"].astype(np.float64), max(float(np.ptp(truth["points"][:, 1])), 0.8)
    for _ in range(6):
        target = np.array([rng.uniform(0.06, 0.94), np.clip(rng.normal(0.3, 0.18), 0.04, 0.9)]) * SIDE
        turn = turn_between(head.astype(np.float64), np.linalg.solve(camera, [*target, 1.0]))
        turned = turn @ pelvis
        if turned[2] < 0.3:
            continue
        away, share = turned[2] / height, 1.0
        if away > 2.5:
            low, high = max(2.5, away / 3), np.clip(1.6 * away, 3.0, 8.0)
            share = np.exp(rng.uniform(np.log(min(low, high)), np.log(high))) / away
        map_ = camera @ turn @ np.linalg.inv(own)
        middle = (camera @ turned)[:2] / turned[2]
        shrink = np.array([[1 / share, 0, middle[0] * (1 - 1 / share)], [0, 1 / share, middle[1] * (1 - 1 / share)], [0, 0, 1.0]])
        place = share * turned
        if camera[1, 1] * height / place[2] >= SMALLEST and _cut_by_the_scene(truth["box"], shrink @ map_):
            return shrink @ map_, turn, place
    return None


def _cut_by_the_scene(box: np.ndarray, map_: np.ndarray) -> bool:
    """Whether the sides on which the label image cuts the person off lie outside the scene."""
    width, height = LABEL
    corners = cv2.perspectiveTransform(np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float), map_)[0]
    left, top, right, bottom = box[0] <= 1, box[1] <= 1, box[2] >= width - 1, box[3] >= height - 1
    return not (
        left
        and corners[[0, 3], 0].max() > 0
        or top
        and corners[[0, 1], 1].max() > 0
        or right
        and corners[[1, 2], 0].min() < SIDE - 1
        or bottom
        and corners[[2, 3], 1].min() < SIDE - 1
    )


def lay(canvas: np.ndarray, person: np.ndarray, map_: np.ndarray, soft: float) -> np.ndarray:
    """Draw an RGBA person through a homography, in place; returns where they cover the canvas by more than half."""
    middle = np.array([[LABEL[0] / 2, LABEL[1] / 2], [LABEL[0] / 2 + 1, LABEL[1] / 2]])
    moved = cv2.perspectiveTransform(middle[None], map_)[0]
    shrink = float(np.linalg.norm(moved[1] - moved[0]))
    if shrink < 0.6:  # a warp samples single pixels: shrink by areas first
        person = cv2.resize(person, None, fx=1.5 * shrink, fy=1.5 * shrink, interpolation=cv2.INTER_AREA)
        sx, sy = LABEL[0] / person.shape[1], LABEL[1] / person.shape[0]
        map_ = map_ @ np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1.0]])
    warped = cv2.warpPerspective(person, map_, (canvas.shape[1], canvas.shape[0]), flags=cv2.INTER_LINEAR)
    if soft > 0.2:
        warped = cv2.GaussianBlur(warped, (0, 0), soft)
    keep = cv2.merge([255 - warped[..., 3]] * 3)
    canvas[:] = cv2.add(warped[..., :3], cv2.multiply(canvas, keep, scale=1 / 255))  # colours are already weighted by coverage
    return warped[..., 3] > 127


def draw_scene(rng: np.random.Generator, studio: Studio, heads: np.ndarray) -> tuple[np.ndarray, float, list[dict[str, np.ndarray]]]:
    """A picture (SIDE, SIDE, 3), its focal length in pixels, and its people: row of the store, root rotation, pelvis, share seen."""
    focal = float(np.exp(rng.uniform(*np.log(FOCAL)))) * SIDE
    camera = np.array([[focal, 0, (SIDE - 1) / 2], [0, focal, (SIDE - 1) / 2], [0, 0, 1]])
    canvas, light = studio.backdrop(rng, (SIDE, SIDE)).copy(), sample_light(rng, studio.store.look)
    wanted, found = int(rng.choice(COUNTS, p=SHARES)), []
    for _ in range(4 * wanted):
        if len(found) == wanted:
            break
        row = int(studio.members[rng.integers(len(studio.members))])
        truth = {name: values[row] for name, values in studio.store.truth.items()} | {"box": studio.store.boxes[row][0]}
        if abs(truth["camera"][3]) > 1e-9 or np.isnan(truth["box"]).any() or truth["points"][:, 2].min() < NEAREST:
            continue
        placed = place_person(rng, truth, heads[row], camera)
        if placed is not None:
            found.append({"row": row, "map": placed[0], "turn": placed[1], "place": placed[2]})
    found.sort(key=lambda person: -person["place"][2])
    owner, areas = np.zeros((SIDE, SIDE), np.int32), []
    for number, person in enumerate(found, 1):
        row = person["row"]
        figure = paint(rng, studio.store.image(row, PAINTED), float(studio.store.relief[row]), light, studio.store.look)
        covered = lay(canvas, figure, person["map"], float(rng.choice([0, rng.uniform(0.3, 0.8)])))
        owner[covered] = number
        areas.append(max(1, int(covered.sum())))
    if rng.random() < 0.25:
        for _ in range(rng.integers(1, 3)):
            owner[occlude(rng, canvas, studio.backdrop(rng, (SIDE, SIDE)), None) > 127] = 0
    for number, person in enumerate(found, 1):
        person["seen"] = float((owner == number).sum() / areas[number - 1]) if areas[number - 1] > 60 else 0.0
    return degrade(rng, canvas), focal, found


def store_heads(store: Store) -> np.ndarray:
    """The head joint of everybody in a store, in their own camera."""
    thin, truth = subset(load_compact(), np.array([0])), store.truth
    blocks = [slice(i, i + 1000) for i in range(0, len(store), 1000)]
    return np.concatenate(
        [pose_model(thin, truth["pose"][b], truth["shape"][b], None, truth["translation"][b]).joints[:, HEAD] for b in blocks]
    )


def draw_scenes(people: Path, photographs: list[str], data: Path, seconds: float) -> None:
    """Draw the shards that `data` lacks, held-out ones first, for so many seconds."""
    from scipy.spatial.transform import Rotation

    data.mkdir(parents=True, exist_ok=True)
    start, store = time.monotonic(), Store.open(people, truth=True)
    heads, pictures, studios = store_heads(store), load_photographs(photographs), {}
    names = [("held", i) for i in range(HELD_OUT)] + [("train", i) for i in range(SHARDS)]
    for kind, index in names:
        path = data / f"{kind}-{index:03d}.npz"
        if path.exists() or time.monotonic() - start > seconds:
            continue
        rng = np.random.default_rng((7, kind == "held", index))
        if kind not in studios:
            chosen = [p for i, p in enumerate(pictures) if (i % 10 == 0) == (kind == "held")]
            studios[kind] = Studio.open(store, chosen, np.random.default_rng((8, kind == "held")), 300, kind == "held")
        images, focals, columns = [], [], {name: [] for name in ("scene", "pose", "shape", "translation", "head", "seen")}
        for scene in range(SHARD):
            image, focal, found = draw_scene(rng, studios[kind], heads)
            images.append(image)
            focals.append(focal)
            for person in found:
                row, turn = person["row"], Rotation.from_matrix(person["turn"])
                pose = store.truth["pose"][row].copy()
                pose[0] = (turn * Rotation.from_rotvec(pose[0])).as_rotvec()
                offset = person["turn"] @ (heads[row] - store.truth["translation"][row])
                values = (scene, pose, store.truth["shape"][row], person["place"], person["place"] + offset, person["seen"])
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
        arrays = {name: np.asarray(values, np.int64 if name == "scene" else np.float32) for name, values in columns.items()}
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, images=np.stack(images), focals=np.array(focals, np.float32), **arrays)
        logging.info("%s after %.0f s: %d people", path.name, time.monotonic() - start, len(arrays["scene"]))


# Training


class Scenes:
    """The scenes of some shards: batches of pictures, focal lengths and people, mirrored half of the time."""

    def __init__(self, paths: list[Path]):
        parts = [dict(np.load(path)) for path in paths]
        if not parts:
            raise SystemExit("no scenes there: draw some first (scenes)")
        self.images = np.concatenate([p["images"] for p in parts])
        self.focals = torch.from_numpy(np.concatenate([p["focals"] for p in parts]))
        starts = np.cumsum([0, *(len(p["images"]) for p in parts)])
        self.scene = np.concatenate([p["scene"] + start for p, start in zip(parts, starts, strict=False)])
        self.columns = {
            n: torch.from_numpy(np.concatenate([p[n] for p in parts])) for n in ("pose", "shape", "translation", "head", "seen")
        }
        names = load_compact().joint_names
        other = {"left": "right", "right": "left"}
        self.swap = [names.index("_".join([other.get(n.split("_")[0], n.split("_")[0]), *n.split("_")[1:]])) for n in names]

    def batch(self, rows: np.ndarray, mirror: bool) -> tuple[Tensor, ...]:
        """Images (b, 3, s, s) uint8, focals (b), and of each person: picture, pose, shape, translation, head, share seen."""
        picked = [(i, p) for i, row in enumerate(rows) for p in np.flatnonzero(self.scene == row)]
        picture, who = torch.tensor([i for i, _ in picked], dtype=torch.long), torch.tensor([p for _, p in picked], dtype=torch.long)
        images = torch.from_numpy(np.ascontiguousarray(self.images[rows].transpose(0, 3, 1, 2)))
        pose, shape, translation, head, seen = (values[who] for values in self.columns.values())
        if mirror:
            flip = torch.tensor([-1.0, 1, 1])
            images, pose, translation, head = images.flip(3), pose[:, self.swap] * _MIRROR, translation * flip, head * flip
        return images, self.focals[rows], picture, pose, shape, translation, head, seen

    def endless(self, seed: int, size: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches in a new order each time round."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.images))
            for start in range(0, len(order) - size + 1, size):
                yield self.batch(order[start : start + size], bool(rng.random() < 0.5))


def cameras(focals: Tensor) -> Tensor:
    """Camera matrices of the square, counted from its corner."""
    out = torch.zeros(len(focals), 3, 3)
    out[:, 0, 0] = out[:, 1, 1] = focals
    out[:, :2, 2], out[:, 2, 2] = SIDE / 2, 1
    return out


def prepared(images: Tensor) -> Tensor:
    """The network's input."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


class Lesson:
    """The loss of a batch: everything of the card's, points in the picture from the start."""

    def __init__(self, config: Config):
        rng = np.random.default_rng(0)
        self.config = config
        self.body = TorchBody(subset(load_compact(), np.sort(rng.choice(load_compact().num_vertices, 200, replace=False)))).float()

    def __call__(self, model: MultiHMR, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        images, focals, picture, pose, shape, translation, head, seen = batch
        camera = cameras(focals)
        places = project(head, camera[picture])
        keep = (places > 0).all(1) & (places < SIDE).all(1) & (seen >= LEAST_SEEN)
        features = model.encode(prepared(images))
        with torch.autocast("cpu", enabled=False):
            features = type(features)(*(x.float() for x in features))
            targets = encode_targets(places[keep], head[keep, 2], picture[keep], len(images), self.config)
            scores = targets.scores
            hidden = (places[~keep] / self.config.patch).floor().long()
            inside = ((hidden >= 0) & (hidden < self.config.grid)).all(1)
            hidden, of = hidden[inside], picture[~keep][inside]
            free = scores[of, hidden[:, 1], hidden[:, 0]] == 0
            scores[of[free], hidden[free, 1], hidden[free, 0]] = torch.nan  # neither there nor not
            people = model.people(features, camera, targets.cells)
            rows = torch.nonzero(keep)[:, 0][targets.kept]
            cells = camera[targets.cells[:, 0]]
            said = labelled(self.body, people, features.scores, cells)
            true = self._truth(pose[rows], shape[rows], translation[rows], head[rows], cells, targets)
            terms = loss_terms(said, true, SIDE)
            total = sum(WEIGHTS[name] * value for name, value in terms.items())
        return {"total": total / 50, **{name: value.detach() for name, value in terms.items()}}

    def _truth(self, pose: Tensor, shape: Tensor, translation: Tensor, head: Tensor, camera: Tensor, targets) -> Labelled:
        with torch.no_grad():
            rotations = rotation_matrices(pose)
            out = self.body(rotations, shape, None, translation)
            code = depth_code(head[:, 2:], camera[:, 0, :1], self.config)[:, 0]
            seen = [project(points, camera[:, None]) for points in (out.joints, out.vertices)]
        short = shape[:, : self.config.shapes]
        return Labelled(targets.scores, targets.offset, rotations, short, code, head, out.joints[:, 0], out.joints, out.vertices, *seen)


def start_from(model: MultiHMR, path: Path) -> None:
    """Take the backbone of a network of 2D poses (RTMPose-t, MapPose-t) from a checkpoint of ours; its first layers stay as they are."""
    state = torch.load(path, map_location="cpu", weights_only=True)["averaged"]
    trunk = {name.split("backbone.", 1)[1]: value for name, value in state.items() if "backbone." in name}
    model.backbone.trunk.load_state_dict(trunk)
    for part in (model.backbone.trunk.stem, model.backbone.trunk.stage1, model.backbone.trunk.stage2):
        part.requires_grad_(False)


def run(data: Path, out: Path, arm: str, start: Path | None, seconds: float, steps: int) -> None:
    """Train an arm, or go on with it."""
    torch.manual_seed(0)
    model = MultiHMR(ARMS[arm]).to(memory_format=torch.channels_last)
    if start is not None:
        start_from(model, start)
    scenes, done = Scenes(sorted(data.glob("train-*.npz"))), out / arm / "last.pt"
    seed = 1 if not done.exists() else 2 + torch.load(done, map_location="cpu", weights_only=True)["step"]
    schedule = Schedule(steps, seconds, RATE, 0.02, warmup=30, clip=4.0, ema=60.0, report_every=20, save_every=20)
    train(model, scenes.endless(seed, BATCH), Lesson(ARMS[arm]), schedule, out / arm)


# Figures


def load_arm(out: Path, arm: str) -> MultiHMR:
    """The averaged network of a run."""
    model = MultiHMR(ARMS[arm])
    model.load_state_dict(torch.load(out / arm / "last.pt", map_location="cpu", weights_only=True)["averaged"])
    return model.eval()


@torch.no_grad()
def judge(model: nn.Module | None, data: Path, threshold: float) -> dict[str, float]:
    """Figures on the held-out scenes; `model` None: everybody found, at their place, in the rest pose towards the camera."""
    scenes, body = Scenes(sorted(data.glob("held-*.npz"))), load_compact()
    said, true = _Columns(), _Columns()
    for start in range(0, len(scenes.images), BATCH):
        rows = np.arange(start, min(start + BATCH, len(scenes.images)))
        images, focals, picture, pose, shape, translation, head, seen = scenes.batch(rows, False)
        camera = cameras(focals)
        places = project(head, camera[picture])
        keep = (places > 0).all(1) & (places < SIDE).all(1) & (seen >= LEAST_SEEN)
        true.add(body, picture[keep] + start, pose[keep], shape[keep], translation[keep], camera[picture[keep]])
        if model is None:
            rest = torch.zeros_like(pose[keep])
            rest[:, 0, 0] = np.pi
            said.add(body, picture[keep] + start, rest, 0 * shape[keep], translation[keep], camera[picture[keep]])
            continue
        features = model.encode(prepared(images))
        cells = find(features.scores, threshold)
        people: People = model.people(features, camera, cells)
        said.add_people(body, cells[:, 0] + start, people, camera[cells[:, 0]])
    return scores_of(said, true)


class _Columns:
    """Posed bodies of many pictures."""

    def __init__(self) -> None:
        self.image, self.vertices, self.joints, self.points = [], [], [], []

    def add(self, body, image: Tensor, pose: Tensor, shape: Tensor, translation: Tensor, camera: Tensor) -> None:
        """People by the parameters of the compact body."""
        out = pose_model(body, pose.numpy(), shape.numpy(), None, translation.numpy())
        self._keep(image, out.vertices, out.joints, camera)

    def add_people(self, body, image: Tensor, people: People, camera: Tensor) -> None:
        """People as the network says them: their head joint where it was seen."""
        out = pose_model(body, people.rotations.numpy(), people.shape.numpy(), None, None)
        shift = people.translation.numpy()[:, None] - out.joints[:, HEAD : HEAD + 1]
        self._keep(image, out.vertices + shift, out.joints + shift, camera)

    def _keep(self, image: Tensor, vertices: np.ndarray, joints: np.ndarray, camera: Tensor) -> None:
        self.image.append(image.numpy())
        self.vertices.append(vertices.astype(np.float32))
        self.joints.append(joints.astype(np.float32))
        self.points.append(project(torch.from_numpy(joints[:, BODY]).float(), camera[:, None]).numpy())

    def people(self) -> PeopleInPictures:
        """For matching: boxes are around the joints."""
        points = np.concatenate(self.points)
        return PeopleInPictures(np.concatenate(self.image), np.concatenate([points.min(1), points.max(1)], 1), points)


def scores_of(said: _Columns, true: _Columns) -> dict[str, float]:
    """Detection, and errors of those who were found: millimetres, depths in per cent."""
    matches = match_people(said.people(), true.people())
    a, b = matches.found, matches.truth
    vertices, joints = (np.concatenate(getattr(said, name))[a] for name in ("vertices", "joints"))
    true_vertices, true_joints = (np.concatenate(getattr(true, name))[b] for name in ("vertices", "joints"))
    errors = vertex_errors(vertices, true_vertices, joints, true_joints, {"all": MeshPart(None, 0)})
    depth, true_depth = joints[:, 0, 2], true_joints[:, 0, 2]
    fingers = [np.mean(list(finger_errors(joints, true_joints, load_compact().joint_names, turned).values())) for turned in (False, True)]
    ends = np.linalg.norm((joints - joints[:, :1] - true_joints + true_joints[:, :1])[:, ENDS], axis=-1)
    away = np.linalg.norm(joints[:, 0] - true_joints[:, 0], axis=1)
    figures = {
        "people": len(np.concatenate(true.image)), "f1": matches.f1, "precision": matches.precision, "recall": matches.recall,
        "pve": 1000 * errors.pve["all"].mean(), "pa_pve": 1000 * errors.pa_pve["all"].mean(),
        "mpjpe": 1000 * mpjpe(joints[:, BODY], true_joints[:, BODY], root=0).mean(),
        "pa_mpjpe": 1000 * pa_mpjpe(joints[:, BODY], true_joints[:, BODY]).mean(),
        "wrists_ankles": 1000 * ends.mean(), "fingers": 1000 * fingers[0], "fingers_turned": 1000 * fingers[1],
        "translation": 1000 * away.mean(), "translation_median": 1000 * np.median(away),
        "depth_median_percent": 100 * np.median(np.abs(depth / true_depth - 1)),
        "depth_order": depth_order_accuracy(depth, true_depth, np.concatenate(true.image)[b]),
    }  # fmt: skip
    return {name: round(float(value), 3) for name, value in figures.items()}


def package(run_folder: Path, onnx: Path) -> None:
    """Write the averaged network as ONNX with its card."""
    from vitruvian.systems.export import write_onnx

    model = load_arm(run_folder.parent, run_folder.name)
    card, worst = write_onnx(exported(model.config, model), onnx)
    logging.info("%s: %d bytes, largest difference from torch %.1e", onnx, card.size_bytes, worst)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("scenes", "train", "judge", "package"))
    for name in ("people", "data", "out", "start", "results", "onnx", "photographs"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--arm", choices=[*ARMS, "rest"], default="full")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=0.3)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if options.task == "scenes":
        draw_scenes(options.people, options.photographs.read_text().split("\n"), options.data, options.seconds)
    elif options.task == "train":
        run(options.data, options.out, options.arm, options.start, options.seconds, options.steps)
    elif options.task == "package":
        package(options.out, options.onnx)
    else:
        figures = judge(None if options.arm == "rest" else load_arm(options.out, options.arm), options.data, options.threshold)
        print(json.dumps({"arm": options.arm, "threshold": options.threshold, **figures}))
        if options.results:
            with options.results.open("a") as file:
                file.write(json.dumps({"arm": options.arm, "threshold": options.threshold, **figures}) + "\n")


if __name__ == "__main__":
    main()
