"""SelfPose3d's claims in small (card selfpose3d.md, section 8): how far do 3D networks come without any 3D label?

    python recipes/selfpose3d_small.py [--seeds 0 1] [--steps 200] [--out FILE]          (extra [torch]; one thread)

One to three stick people of 15 joints stand in a box of 4 x 4 x 2 m between four cameras of 960 x 544 pixels. Pseudo 2D poses are their
projections with 3 pixels of noise and 5 % of the joints missing; heat maps of 60 x 34 are drawn of them, so that there are no pictures and
no backbone. (a) The root network learns from made-up points alone; its recall within 300 mm is counted on heat maps of pseudo poses.
(b) Pose networks learn by reprojection across two augmentations; (c) the same within one augmentation; and with true 3D joints, as the
upper bound; each from pseudo poses with 3, and with 12 pixels of noise. Beside them: the soft arg-max of the cubes as they are, and
triangulation that is told which pseudo pose is whose. All of them start from the people that the root network finds; joints of people who
are found within 500 mm are compared, mm; mean and range over seeds. Columns: four cameras; three; two; four with 12 and with 24 pixels of
noise (training always has four cameras). What is done is kept in FILE (selfpose3d.json here), networks beside it; a stopped run goes on
there. Figures seen: claims_pose3d.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from kept import kept

from vitruvian._files import written_whole
from vitruvian.geometry.camera import Camera
from vitruvian.geometry.triangulate import triangulate
from vitruvian.systems.pose3d import selfpose3d as sp
from vitruvian.systems.pose3d import selfpose3d_loss as learning
from vitruvian.systems.pose3d.selfpose3d import SelfPose3d
from vitruvian.systems.pose3d.selfpose3d_loss import Augmented
from vitruvian.systems.pose3d.voxels import Space, Views, soft_argmax, views_of
from vitruvian.train.views3d import draw_people

CELLS, INPUT, SIZE = (60, 34), (240, 136), (960, 544)
CONFIG = sp.Config(
    backbone=None,
    attention=None,
    widths=(4, 8, 16, 32),
    space=Space((4, 4, 2), (0, 0, 1), (20, 20, 8)),
    pose_bins=(12, 12, 12),
    candidates=6,
)
TESTS = {"4 cameras": (4, 3.0), "3": (3, 3.0), "2": (2, 3.0), "4, 12 px": (4, 12.0), "4, 24 px": (4, 24.0)}
SCENES = 2


def cameras() -> list[Camera]:
    """Four cameras around the box, 2 m high."""
    out = []
    for angle in 2 * np.pi * np.arange(4) / 4 + 0.4:
        place = np.array([4.6 * np.cos(angle), 4.6 * np.sin(angle), 2.0])
        forward = np.array([0, 0, 1.0]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0, 0, 1)) / np.linalg.norm(np.cross(forward, (0, 0, 1)))
        rotation = np.stack([right, np.cross(forward, right), forward])
        intrinsics = np.array([[620.0, 0, SIZE[0] / 2], [0, 620, SIZE[1] / 2], [0, 0, 1]])
        out.append(Camera(intrinsics, rotation, -rotation @ place, size=SIZE))
    return out


RING = cameras()


def views(b: int, count: int = 4) -> Views:
    """The cameras of b scenes."""
    return Views(*(x.expand(b, *x.shape[1:]) for x in views_of(RING[:count], INPUT)))


def pseudo_poses(
    rng: np.random.Generator, points: np.ndarray, there: np.ndarray, count: int, noise: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints in input pixels (b, v, p, 15, 2), and which there are (b, v, p, 15). `noise` in pixels of the cameras."""
    seen = learning.seen_at(torch.from_numpy(points).float(), views(len(points), count), INPUT[0])
    shaken = seen + noise * INPUT[0] / SIZE[0] * torch.from_numpy(rng.normal(size=seen.shape)).float()
    visible = torch.from_numpy((rng.random(seen.shape[:-1]) > 0.05) & there[:, None, :, None]).float()
    return shaken, visible


def train_roots(seed: int, steps: int) -> SelfPose3d:
    """The root network, from made-up points in plain views alone (the agreement between augmentations is left out to save time)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = SelfPose3d(CONFIG).train()
    optimiser = torch.optim.Adam(model.root_net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        terms = learning.root_terms(model, [views(8)], None, CELLS, generator)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def augmentations(keypoints: torch.Tensor, visible: torch.Tensor, generator: torch.Generator) -> tuple[Augmented, Augmented]:
    """Two random affines of the same pseudo poses."""
    out = []
    for _ in range(2):
        change = learning.draw_affines(len(keypoints), INPUT, generator)
        moved = learning.moved(keypoints, change)
        seen = learning.augmented(views(len(keypoints), keypoints.shape[1]), change)
        out.append(Augmented(learning.render(moved, CELLS, visible), moved, visible, seen))
    return out[0], out[1]


def train_poses(roots: SelfPose3d, kind: str, noise: float, seed: int, steps: int) -> SelfPose3d:
    """A pose network: "crossed", "same view" or "supervised", from pseudo poses with so much noise. The root network stays as it is."""
    torch.manual_seed(seed + 100)
    rng, generator = np.random.default_rng(seed + 100), torch.Generator().manual_seed(seed + 100)
    model = SelfPose3d(CONFIG).train()
    model.root_net = roots.root_net.requires_grad_(False).eval()
    optimiser = torch.optim.Adam(model.pose_net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    where = model.root_sampling(views(SCENES), CELLS)
    for _ in range(steps):
        points, there = draw_people(rng, SCENES)
        keypoints, visible = pseudo_poses(rng, points, there, 4, noise)
        plain = learning.render(keypoints, CELLS, visible)
        with torch.no_grad():
            found = model.roots(plain, where)
        if not bool(found.valid.any()):
            continue
        if kind == "supervised":
            loss = supervised(model, plain, found, points, there)
        else:
            sides = augmentations(keypoints, visible, generator)
            loss = sum(learning.pose_terms(model, sides, found.centre, found.valid, crossed=kind == "crossed").values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def nearest(centre: np.ndarray, mask: np.ndarray, truth: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs of candidates and people whose mid-hips are nearest to each other, and within `limit` metres."""
    out = []
    for person, root in enumerate(truth[:, 2]):
        distance = np.where(mask, np.linalg.norm(centre - root, axis=-1), np.inf)
        if len(distance) and distance.min() < limit:
            out.append((int(distance.argmin()), person))
    return out


def supervised(model: SelfPose3d, maps: torch.Tensor, found: sp.Roots, points: np.ndarray, there: np.ndarray) -> torch.Tensor:
    """Mean absolute distance from the true joints of the people that were found."""
    poses = model.poses(maps, views(len(maps)), found.centre, found.valid)
    errors = []
    for i in range(len(maps)):
        people = points[i][there[i]]
        for candidate, person in nearest(found.centre[i].numpy(), found.valid[i].numpy(), people, 0.5):
            errors.append((poses[i, candidate] - torch.from_numpy(people[person]).float()).abs().mean())
    return torch.stack(errors).mean() if errors else poses.sum() * 0


def recall(model: SelfPose3d, count: int, noise: float, scenes: int = 48) -> float:
    """Share of people whose mid-hip is found within 300 mm."""
    rng = np.random.default_rng(5)
    points, there = draw_people(rng, scenes)
    keypoints, visible = pseudo_poses(rng, points, there, count, noise)
    with torch.inference_mode():
        found = model.roots(learning.render(keypoints, CELLS, visible), model.root_sampling(views(scenes, count), CELLS))
    hits = [len(nearest(c.numpy(), v.numpy(), p[t], 0.3)) for c, v, p, t in zip(found.centre, found.valid, points, there, strict=True)]
    return sum(hits) / there.sum()


def errors(model: SelfPose3d, how: str, count: int, noise: float, scenes: int = 24) -> float:
    """Mean distance of joints of the people who are found, mm. `how`: "network", "raw" (soft arg-max of the cubes) or "triangulation"."""
    rng = np.random.default_rng(6)
    points, there = draw_people(rng, scenes)
    keypoints, visible = pseudo_poses(rng, points, there, count, noise)
    maps, scene_views = learning.render(keypoints, CELLS, visible), views(scenes, count)
    out = []
    with torch.inference_mode():
        found = model.roots(maps, model.root_sampling(scene_views, CELLS))
        poses = model.poses(maps, scene_views, found.centre, found.valid) if how == "network" else None
        for i in range(scenes):
            people = points[i][there[i]]
            for candidate, person in nearest(found.centre[i].numpy(), found.valid[i].numpy(), people, 0.5):
                if how == "network":
                    pose = poses[i, candidate].numpy()
                elif how == "raw":
                    centre = found.centre[i, candidate][None]
                    cubes = model.person_cubes(maps[i], scene_views.rows(slice(i, i + 1)), centre)
                    pose = soft_argmax(cubes.flatten(2), model.cube_around(centre), CONFIG.sharpness)[0].numpy()
                else:
                    pixels = np.where(visible[i, :, person, :, None] > 0, keypoints[i, :, person].double(), np.nan)
                    pose = triangulate(RING[:count], (pixels - np.array(INPUT) / 2) * SIZE[0] / INPUT[0] + np.array(SIZE) / 2).points
                out.append(np.linalg.norm(pose - people[person], axis=-1))
    return 1000 * float(np.nanmean(out)) if out else np.nan


def roots_of(file: Path, seed: int, steps: int) -> SelfPose3d:
    """The root network of a seed: trained before, or now."""
    if file.is_file():
        model = SelfPose3d(CONFIG).eval()
        model.root_net.load_state_dict(torch.load(file, weights_only=True))
        return model
    model = train_roots(seed, steps)
    with written_whole(file) as temporary:
        torch.save(model.root_net.state_dict(), temporary)
    return model


ARMS = {
    "(a) recall at 300 mm, %": ("recall", 0.0),
    "cubes, no network": ("raw", 0.0),
    "triangulation, told who": ("triangulation", 0.0),
    "(b) crossed views": ("crossed", 3.0),
    "(c) same view": ("same view", 3.0),
    "3D labels": ("supervised", 3.0),
    "(b) learnt from 12 px": ("crossed", 12.0),
    "(c) learnt from 12 px": ("same view", 12.0),
    "3D labels, maps of 12 px": ("supervised", 12.0),
}
"""What is done, and the noise of the pseudo poses that a network learns from, pixels."""


def main() -> None:
    """Train, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("selfpose3d.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[list[float]]] = {}
    for seed in options.seeds:
        roots = roots_of(options.out.with_name(f"roots-{seed}-{options.steps}.pt"), seed, options.steps * 8 // 5)

        def arm(how: str, noise: float, seed: int = seed, roots: SelfPose3d = roots) -> list[float]:
            if how == "recall":
                return [100 * recall(roots, *test) for test in TESTS.values()]
            if how in ("raw", "triangulation"):
                return [errors(roots, how, *test) for test in TESTS.values()]
            model = train_poses(roots, how, noise, seed, options.steps)
            return [errors(model, "network", *test) for test in TESTS.values()]

        for name, kind in ARMS.items():
            key = f"{options.steps} steps: {name} #{seed}"
            rows.setdefault(name, []).append(kept(options.out, key, lambda kind=kind, arm=arm: arm(*kind)))
            print(key, np.round(rows[name][-1]), flush=True)
    print(f"{'':<26}" + "".join(f"{name:>18}" for name in TESTS) + f"   mm, mean [range] over {len(options.seeds)} seeds")
    for name, table in rows.items():
        columns = np.array(table).T
        print(f"{name:<26}" + "".join(f"{f'{c.mean():.0f} [{c.min():.0f}, {c.max():.0f}]':>18}" for c in columns))


if __name__ == "__main__":
    main()
