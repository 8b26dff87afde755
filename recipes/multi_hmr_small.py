"""Our own small Multi-HMR: crowds in true perspective, training, figures (card multi-hmr.md, section 8; issue 10). See multi_hmr_small.md.

    python recipes/multi_hmr_small.py scenes  --people PEOPLE --photographs LIST --data DATA       draw the scenes once (resumable)
    python recipes/multi_hmr_small.py train   --data DATA --out RUNS --arm close --seconds 3600 --start LIFTED/last.pt
                                              --pose WHOLEBODY_S/last.pt [--people PEOPLE --errors ERRORS.npz]      (resumable)
    python recipes/multi_hmr_small.py judge   --data DATA --out RUNS --arm close [--results FILE.json]
    python recipes/multi_hmr_small.py package --out RUNS/close --onnx multi-hmr-t.onnx

LIFTED and ERRORS.npz are what recipes/multi_hmr_lifting.py leaves, which comes before training with pictures. SIDE=... in the environment
makes pictures of another side than the network's usual 256; data and runs are for one side.

Arms: "full"; "dense" (a person is read off their own token: no cross-attention); "blind" (neither rays nor focal length in the depth);
"close" (as full, an eighth of its pictures are close-ups); "rest" for `judge`: everybody found, in the rest pose. What the scenes are:
recipes/multi_hmr_scenes.py. Training varies them as a camera can: turned about its axis, zoomed, shifted, cut to another shape.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from multi_hmr_scenes import HEAD, SIDE, draw_scenes
from torch import Tensor, nn

from vitruvian.body.compact import load_compact
from vitruvian.body.lbs import pose_model
from vitruvian.body.model import subset
from vitruvian.body.pose import rotation_vectors
from vitruvian.body.regressors import point_regressor
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.metrics.meshes import MeshPart, PeopleInPictures, depth_order_accuracy, finger_errors, match_people, vertex_errors
from vitruvian.metrics.poses3d import mpjpe, pa_mpjpe
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.systems.mesh.bodies import labelled
from vitruvian.systems.mesh.camera import project, square_cameras
from vitruvian.systems.mesh.multi_hmr import VARIANTS, Config, MultiHMR, People, exported, find
from vitruvian.systems.mesh.multi_hmr_loss import WEIGHTS as CARD_WEIGHTS
from vitruvian.systems.mesh.multi_hmr_loss import Labelled, depth_code, encode_targets, loss_terms
from vitruvian.train.loop import Progress, Schedule, steps_done, train

MODEL = replace(VARIANTS["compact-t"], image_size=SIDE)
ARMS = {"full": MODEL, "dense": replace(MODEL, dense=True), "blind": replace(MODEL, bands=0), "close": MODEL}
LEAST_SEEN = 0.2  # share of a person that others leave visible
BODY = [i for i, name in enumerate(load_compact().joint_names) if not any(f in name for f in ("thumb", "index", "middle", "ring", "pinky"))]
ENDS = [load_compact().joint_names.index(f"{side}_{name}") for side in ("left", "right") for name in ("wrist", "ankle")]
_OTHER = {"left": "right", "right": "left"}
SWAP = [
    load_compact().joint_names.index("_".join([_OTHER.get(n.split("_")[0], n.split("_")[0]), *n.split("_")[1:]]))
    for n in load_compact().joint_names
]  # joints of the other side
BATCH, CLOSE_SHARE, CROWDED, RATE = 16, 8, 0.6, 5e-4
# The card's 1 for the code is a hundredth of what limbs weigh: depth would be learnt in days. Hips and spine can undo a wrong root.
WEIGHTS = {**CARD_WEIGHTS, "code": 20.0, "maps": 10.0, "expected": 30.0, "root": 5.0, "rotations": 0.3}
STILL = ("nothing", "backbone", "mappose")
_MIRROR = torch.tensor([1.0, -1.0, -1.0])


# Training


class Scenes:
    """The scenes of some shards: batches of pictures, cameras and people."""

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

    def batch(self, rows: np.ndarray, rng: np.random.Generator | None = None) -> tuple[Tensor, ...]:
        """Images (b, 3, s, s) uint8, cameras (b, 3, 3), and of each person: picture, pose, shape, translation, head, share seen.

        With `rng` they are varied, and all mirrored half of the time.
        """
        picked = [(i, p) for i, row in enumerate(rows) for p in np.flatnonzero(self.scene == row)]
        picture, who = torch.tensor([i for i, _ in picked], dtype=torch.long), torch.tensor([p for _, p in picked], dtype=torch.long)
        images, camera = self.images[rows], square_cameras(self.focals[rows], SIDE)
        pose, shape, translation, head, seen = (values[who] for values in self.columns.values())
        if rng is not None:
            images, camera, turn, bars = varied(rng, images, camera)
            pose, translation, head = pose.clone(), _turned(translation, turn[picture]), _turned(head, turn[picture])
            pose[:, 0] = rotation_vectors(turn[picture] @ rotation_matrices(pose[:, 0]))
            places = project(head, camera[picture])
            shown = (places >= bars[picture, :2]).all(1) & (places < bars[picture, 2:]).all(1)
            seen = seen * shown
        images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        if rng is not None and rng.random() < 0.5:
            flip = torch.tensor([-1.0, 1, 1])
            images, pose, translation, head = images.flip(3), pose[:, SWAP] * _MIRROR, translation * flip, head * flip
            camera = camera.clone()
            camera[:, 0, 2] = SIDE - camera[:, 0, 2]
        return images, camera, picture, pose, shape, translation, head, seen


def endless(scenes: dict[str, Scenes], seed: int, progress: Progress) -> Iterator[tuple[Tensor, ...]]:
    """Varied batches: at first mostly people by themselves, after `CROWDED` of the run a quarter; close-ups all along."""
    rng = np.random.default_rng(seed)
    while True:
        close = BATCH // CLOSE_SHARE if "close" in scenes else 0
        single = round((BATCH - close) * max(0.25, 0.75 - 0.5 * progress.fraction / CROWDED))
        counts = {"crowd": BATCH - close - single, "close": close, "single": single}
        parts, before = [], 0
        for kind, count in counts.items():
            if count:
                batch = scenes[kind].batch(rng.integers(len(scenes[kind].images), size=count), rng)
                parts.append((*batch[:2], batch[2] + before, *batch[3:]))
                before += count
        yield tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def varied(rng: np.random.Generator, images: np.ndarray, camera: Tensor) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
    """Pictures as the camera would have taken them turned about its axis, zoomed and shifted, brighter or darker, cut to another shape.

    Returns pictures, cameras, the turn of the world (b, 3, 3), and what part of the square is picture (b, 4), xyxy; the rest is black.
    """
    out, turn, bars = np.empty_like(images), torch.eye(3).repeat(len(images), 1, 1), torch.zeros(len(images), 4)
    camera = camera.clone()
    for i, image in enumerate(images):
        angle, zoom = np.clip(rng.normal(0, 0.12), -0.4, 0.4), np.exp(rng.uniform(-0.25, 0.5))
        c, s = np.cos(angle), np.sin(angle)
        shift = np.full(2, SIDE / 2) + rng.uniform(-0.1, 0.1, 2) * SIDE - zoom * np.array([[c, -s], [s, c]]) @ np.full(2, SIDE / 2)
        map_ = np.column_stack((zoom * np.array([[c, -s], [s, c]]), shift))
        by_index = map_ @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]]) - np.array([[0, 0, 0.5], [0, 0, 0.5]])
        colour = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
        image = cv2.warpAffine(image, by_index, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        image = np.clip(image * colour, 0, 255).astype(np.uint8)
        box = np.array([0.0, 0.0, SIDE, SIDE])
        if rng.random() < 0.5:
            axis, bar = int(rng.integers(2)), int(rng.uniform(0, 0.25) * SIDE)
            box[axis], box[axis + 2] = bar, SIDE - bar
        kept = tuple(slice(int(box[k]), int(box[k + 2])) for k in (1, 0))
        out[i] = 0
        out[i][kept] = image[kept]
        turn[i, :2, :2] = torch.tensor([[c, -s], [s, c]])
        middle = map_ @ np.append(camera[i, :2, 2].numpy(), 1.0)
        camera[i, [0, 1], [0, 1]] *= zoom
        camera[i, :2, 2] = torch.from_numpy(middle).float()
        bars[i] = torch.from_numpy(box)
    return out, camera, turn, bars


def _turned(vectors: Tensor, turn: Tensor) -> Tensor:
    return (turn @ vectors[..., None])[..., 0]


def prepared(images: Tensor) -> Tensor:
    """The network's input."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def map_term(maps: Tensor, points: Tensor, picture: Tensor) -> Tensor:
    """Cross-entropy of the maps of keypoints with where people (points n 133 2, pixels) have them, spread over four cells, nats; what is
    not in the picture counts for nothing. MapPose knows one person in the middle of a crop: this tells it of crowds."""
    height, width = maps.shape[2:]
    inside = ((points > 0) & (points < SIDE)).all(-1)
    chance = maps.flatten(2).log_softmax(-1)[picture]  # (n, 133, h w)
    place = (points / SIDE * width - 0.5).clamp(0, width - 1.001)
    first, total = place.floor(), 0.0
    for right in (0, 1):
        for below in (0, 1):
            corner = first + torch.tensor([right, below])
            share = (1 - (place - corner).abs()).prod(-1)
            cell = (corner[..., 1] * width + corner[..., 0]).long()
            total = total + chance.gather(2, cell[..., None])[..., 0] * share
    return -(total * inside).sum() / inside.sum().clamp(min=1)


class Keypoints:
    """The 133 keypoints of bodies."""

    def __init__(self) -> None:
        model = load_compact()
        table = point_regressor(model, COCO_WHOLEBODY_133)
        used = np.unique(table.columns[table.columns < model.num_vertices])
        self.body = TorchBody(subset(model, used)).float()
        column = np.where(
            table.columns < model.num_vertices, np.searchsorted(used, table.columns), table.columns - model.num_vertices + len(used)
        )
        self.weights = torch.zeros(len(table), len(used) + model.num_joints)
        self.weights.index_put_((torch.from_numpy(table.rows), torch.from_numpy(column)), torch.from_numpy(table.weights).float(), True)

    @torch.no_grad()
    def __call__(self, rotations: Tensor, shape: Tensor, translation: Tensor) -> Tensor:
        out = self.body(rotations, shape, None, translation)
        return self.weights @ torch.cat((out.vertices, out.joints), 1)


def expected_term(people: People, points: Tensor) -> Tensor:
    """How far readers expect keypoints from where they are (n 133 2, pixels), over the person's size."""
    points = points / SIDE
    size = size_of(points, (people.location / SIDE).detach()).clamp(min=0.05)
    gap = (people.expected - points[:, None]).abs() / size[:, None, None]
    return gap.clamp(max=5).sum(-1).mean((1, 2)).sum() / max(len(points), 1)


def size_of(points: Tensor, head: Tensor) -> Tensor:
    """The mean distance of keypoints from the head (n k 2, n 2 -> n 1)."""
    return (points - head[:, None]).square().sum(-1).mean(1, keepdim=True).sqrt()


class Lesson:
    """The loss of a batch: everything of the card's, points in the picture from the start."""

    def __init__(self, config: Config):
        rng = np.random.default_rng(0)
        self.config, self.keypoints = config, Keypoints()
        self.body = TorchBody(subset(load_compact(), np.sort(rng.choice(load_compact().num_vertices, 200, replace=False)))).float()

    def __call__(self, model: MultiHMR, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        images, camera, picture, pose, shape, translation, head, seen = batch
        places = project(head, camera[picture])
        keep = (places > 0).all(1) & (places < SIDE).all(1) & (seen >= LEAST_SEEN)
        for part in model.backbone.trunk.modules():
            if isinstance(part, nn.BatchNorm2d) and not part.weight.requires_grad:
                part.eval()  # statistics of what doesn't learn stay
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
            terms["root"] = (people.rotations[:, 0] - true.rotations[:, 0]).abs().sum() / max(len(rows), 1)
            points = project(self.keypoints(true.rotations, shape[rows], translation[rows]), cells[:, None])
            terms["maps"] = map_term(features.maps, points, targets.cells[:, 0])
            if people.expected.numel():
                terms["expected"] = expected_term(people, points)
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


def start_from(model: MultiHMR, lifted: Path | None, pose: Path | None, still: str) -> None:
    """Start from a run of this recipe or of multi_hmr_lifting.py, then with MapPose-t's weights (wholebody-s); what stays as it is of
    them: `still`, one of `STILL`."""
    read = lambda path: torch.load(path, map_location="cpu", weights_only=True)["averaged"]  # noqa: E731
    trunk = model.backbone.trunk
    if lifted is not None:
        model.load_state_dict(read(lifted))
    if pose is not None and (wrong := trunk.load_state_dict(read(pose), strict=False).missing_keys):
        raise SystemExit(f"{pose} is no MapPose-t: it lacks {wrong[0]}")
    for part in {"nothing": (), "backbone": (trunk.backbone,), "mappose": (trunk,)}[still]:
        part.requires_grad_(False)


def run(options: argparse.Namespace) -> None:
    """Train an arm, or go on with it; with `errors`, made-up people beside the pictures."""
    torch.manual_seed(0)
    arm, out = options.arm, options.out / options.arm
    model = MultiHMR(ARMS[arm]).to(memory_format=torch.channels_last)
    start_from(model, options.start, options.pose, options.still)
    kinds = ("crowd", "single", "close") if arm == "close" else ("crowd", "single")
    scenes = {kind: Scenes(sorted(options.data.glob(f"{kind}-train-*.npz"))) for kind in kinds}
    done, lesson = steps_done(out), Lesson(ARMS[arm])
    if options.errors is not None:
        from multi_hmr_lifting import beside

        lesson = beside(lesson, options.people, options.errors, done)
    schedule = Schedule(
        options.steps,
        options.seconds,
        options.rate,
        0.02,
        warmup=50,
        clip=4.0,
        ema=100.0,
        report_every=25,
        save_every=250,
        muon=options.muon,
    )
    figures = ("f1", "pve", "mpjpe", "wrists_ankles", "fingers_turned", "depth_median_percent")

    def evaluate(network: MultiHMR) -> dict[str, float]:
        seen = judge(network, options.data, 0.3)
        return {name: seen[name] for name in figures}

    progress = Progress()
    train(model, endless(scenes, 1 + done, progress), lesson, schedule, out, evaluate, progress)


# Figures


def load_arm(out: Path, arm: str) -> MultiHMR:
    """The averaged network of a run."""
    model = MultiHMR(ARMS[arm])
    model.load_state_dict(torch.load(out / arm / "last.pt", map_location="cpu", weights_only=True)["averaged"])
    return model.eval()


@torch.no_grad()
def judge(model: nn.Module | None, data: Path, threshold: float, kind: str = "crowd") -> dict[str, float]:
    """Figures on held-out scenes; `model` None: everybody found, at their place, in the rest pose towards the camera."""
    scenes, body = Scenes(sorted(data.glob(f"{kind}-held-*.npz"))), load_compact()
    said, true = _Columns(), _Columns()
    for start in range(0, len(scenes.images), BATCH):
        rows = np.arange(start, min(start + BATCH, len(scenes.images)))
        images, camera, picture, pose, shape, translation, head, seen = scenes.batch(rows)
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


def tell(line: dict[str, object], results: Path | None) -> None:
    """Print figures, and append them to a file of JSON lines."""
    print(json.dumps(line))
    if results:
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("scenes", "train", "judge", "package"))
    for name in ("people", "data", "out", "start", "pose", "errors", "results", "onnx", "photographs"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--arm", choices=[*ARMS, "rest"], default="full")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--still", choices=STILL, default="backbone", help="train: what of MapPose stays as it is")
    parser.add_argument("--muon", action="store_true", help="train: step by Muon in place of AdamW")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--kind", choices=("crowd", "close", "single"), default="crowd")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if options.task == "scenes":
        draw_scenes(options.people, options.photographs.read_text().split("\n"), options.data, options.seconds)
    elif options.task == "train":
        run(options)
    elif options.task == "package":
        package(options.out, options.onnx)
    else:
        model = None if options.arm == "rest" else load_arm(options.out, options.arm)
        figures = judge(model, options.data, options.threshold, options.kind)
        tell({"arm": options.arm, "scenes": options.kind, "threshold": options.threshold, **figures}, options.results)


if __name__ == "__main__":
    main()
