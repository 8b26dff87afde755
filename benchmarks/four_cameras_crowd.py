"""Three rendered people before four calibrated cameras, from videos to a take in the world: is everybody found, and does everybody stay it?

    python benchmarks/four_cameras_crowd.py --out FOLDER [--frames 72] [--detector ID_OR_ONNX] [--pose ID_OR_ONNX]       # needs [synth]

Two people walk past each other in the middle of a room and back, so that they hide each other from most cameras; a third comes in late,
goes out for a second, and comes back. 20 Hz, 640 x 480; the lens of the second camera bends, the fourth starts `LATE` frames late.
Calib.toml is as Pose2Sim has it, z up. The networks have learnt from the same renderer with other people and rooms.
Printed: who is found; how often ids change; rows and poses of single cameras that belong to another person; MPJPE of 17 body points; the
offsets that `--offsets auto` finds; and of each person what `four_cameras.py` prints. What a folder holds already (films, takes) is used
again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from four_cameras import report
from vitruvian.capture.cameras import capture_cameras, draw_view
from vitruvian.capture.clocks import common_clock
from vitruvian.capture.views import Combined, combine
from vitruvian.errors import VitruvianError
from vitruvian.formats.calibration import read_calibration, write_calibration
from vitruvian.geometry.camera import Camera, looking_at, project, y_up
from vitruvian.take import Take

RATE, SIZE, LATE = 20.0, (640, 480), 5
PLACES = ((4.3, 1.6, 2.3), (-1.4, 4.4, 1.9), (-4.2, -1.9, 2.4), (1.7, -4.3, 1.5))
PEOPLE = ((0.9, 0.75, 0.55, 0.45, 0.6, 0.5), (0.1, 0.7, 0.5, 0.5, 0.5, 0.5), (0.6, 0.8, 0.5, 0.6, 0.35, 0.5))  # phenotypes of Anny
NEAR = 0.3  # metres within which a body is somebody's


@dataclass(frozen=True, eq=False)
class Room:
    """What happens. vertices (p, f, V, 3) and heads (p, f, K, 3): z up, metres. there (p, f): who is in the room. points (p, f, 133, 3)."""

    vertices: np.ndarray
    heads: np.ndarray
    there: np.ndarray
    points: np.ndarray


def cameras() -> list[Camera]:
    """Four around a room of 9 m, z up."""
    every = [looking_at(place, (0, 0, 0.85), 470, SIZE, (0, 0, 1), f"cam{n}") for n, place in enumerate(PLACES, 1)]
    bent = every[1]
    every[1] = Camera(bent.intrinsics, bent.R_cam_world, bent.t_cam_world, np.array([-0.08, 0, 0, 0]), size=SIZE, name=bent.name)
    return every


def ways(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on the floor (p, f, 2), and who is in the room (p, f)."""
    swing = np.sin(2 * np.pi * times / 5.2 - 0.9)
    first = np.stack([1.5 * swing, -0.25 + 0.1 * times], -1)
    second = np.stack([-1.4 * swing, 0.45 - 0.15 * times], -1)
    angle = 0.5 * times + 0.4
    third = np.stack([1.7 * np.cos(angle), 1.7 * np.sin(angle)], -1)
    there = np.ones((3, len(times)), bool)
    there[2] = (times > 0.6) & ((times < 1.8) | (times > 2.7))
    return np.stack([first, second, third]), there


def make_room(wardrobe: object, times: np.ndarray) -> Room:
    """Pose everybody at every time, walking the way they go."""
    from vitruvian.synth.motion import move
    from vitruvian.synth.person import pose_bodies
    from vitruvian.synth.poses import rotation

    places, there = ways(times)
    vertices, heads, points = [], [], []
    for number, (phenotype, way) in enumerate(zip(PEOPLE, places, strict=True)):
        rng = np.random.default_rng((7, number))
        poses = move(rng, wardrobe.rig, "walk", times + 0.3 * number)
        faces = np.zeros((len(times), len(wardrobe.model.facial_action_labels)))
        body, bones = pose_bodies(wardrobe, poses, np.tile(phenotype, (len(times), 1)), faces)
        speed = np.gradient(way, times, axis=0)
        turn = rotation(np.array([0, 0, 1.0]), np.unwrap(np.arctan2(speed[:, 1], speed[:, 0])) + np.pi / 2)  # people face -y at rest
        ground = body[:, wardrobe.base_index, 2].min(1)
        shift = np.concatenate([way, -ground[:, None]], 1)[:, None]
        body, bones = (np.einsum("fij,fvj->fvi", turn, each) + shift for each in (body, bones))
        vertices.append(body.astype(np.float32))
        heads.append(bones.astype(np.float32))
        points.append(wardrobe.landmarks.wholebody133(body[:, wardrobe.base_index], bones))
    return Room(np.array(vertices), np.array(heads), there, np.array(points))


def film(folder: Path, count: int) -> None:
    """Render the films that are not there yet, and write calibration and truth."""
    from vitruvian.media import VideoWriter
    from vitruvian.synth.backgrounds import Backdrops
    from vitruvian.synth.look import Look
    from vitruvian.synth.outfit import dress
    from vitruvian.synth.paint import sample_light
    from vitruvian.synth.wardrobe import Wardrobe

    folder.mkdir(parents=True, exist_ok=True)
    missing = [(n, camera) for n, camera in enumerate(cameras()) if not (folder / f"{camera.name}.mp4").exists()]
    if not missing:
        return
    wardrobe = Wardrobe()
    room = make_room(wardrobe, np.arange(count) / RATE)
    look = Look(objects=False)
    outfits = [dress(np.random.default_rng((11, n)), wardrobe, np.array(phenotype), "plain", look) for n, phenotype in enumerate(PEOPLE)]
    write_calibration(cameras(), folder / "Calib.toml")
    np.savez(folder / "truth.npz", points=np.where(room.there[..., None, None], room.points, np.nan) @ y_up("z")[:3, :3].T)
    for n, camera in missing:
        rng = np.random.default_rng((13, n))
        light, wall = sample_light(rng, Look(lights=False)), Backdrops([], 40 + n, 1, SIZE)[0]
        first = LATE if n == 3 else 0
        with VideoWriter(folder / f"{camera.name}.mp4", *SIZE, RATE) as writer:
            for f in range(first, count):
                picture = draw(wardrobe, room, f, camera, outfits, light, wall)
                writer.write(np.clip(picture + rng.normal(0, 2.5, picture.shape), 0, 255).astype(np.uint8), (f - first) / RATE)
        print(f"{camera.name} is filmed", flush=True)


def draw(wardrobe: object, room: Room, frame: int, camera: Camera, outfits: list, light: object, wall: np.ndarray) -> np.ndarray:
    """One picture, float, the far people first."""
    import cv2

    from vitruvian.synth.camera import View
    from vitruvian.synth.paint import paint
    from vitruvian.synth.person import label_image

    turn, eye = camera.R_cam_world, camera.centre_world
    sight = View(turn, eye + turn[2], 1.0, float(camera.distortion[0]) if len(camera.distortion) else 0.0)
    picture, centre = wall.astype(np.float32), camera.intrinsics[:2, 2]
    depth = (room.heads[:, frame].mean(1) - eye) @ turn[2]
    for p in np.argsort(-depth):
        if not room.there[p, frame]:
            continue
        pixels = project(camera, room.vertices[p, frame][wardrobe.base_index])
        low = np.clip(np.floor(np.nanmin(pixels, 0)) - 12, 0, SIZE).astype(int)
        high = np.clip(np.ceil(np.nanmax(pixels, 0)) + 12, 0, SIZE).astype(int)
        if (high - low).min() < 8:
            continue
        scale, window = float(camera.intrinsics[0, 0]), tuple((high - low).tolist())
        sample = label_image(wardrobe, room.vertices[p, frame], room.heads[p, frame], outfits[p], sight, scale, centre - low, window)
        person = paint(np.random.default_rng((5, int(p))), sample.planes, sample.relief, light)
        alpha = cv2.GaussianBlur(person[..., 3], (0, 0), 0.6)[..., None] / 255.0
        part = picture[low[1] : high[1], low[0] : high[0]]
        part[:] = part * (1 - alpha) + person[..., :3] * alpha
    return picture


def who(points: np.ndarray, truth: np.ndarray, frame: np.ndarray, limit: float) -> np.ndarray:
    """Whose each row (n, 17, d) is, of the truth (p, f, 17, d): the nearest person's by median distance, -1 for nobody's."""
    off = np.linalg.norm(points[:, None] - truth[:, frame].swapaxes(0, 1), axis=-1)
    near = np.where(np.isfinite(off).sum(-1) >= 4, np.nanmedian(np.where(np.isfinite(off), off, 1e9), -1), np.inf)
    return np.where(near.min(1) < limit, near.argmin(1), -1)


def judge(combined: Combined, truth: np.ndarray) -> None:
    """Print what is right and wrong, by the true points (p, f, 133, 3), y up, NaN where away."""
    people = combined.take.people
    true = truth[:, :, :17]
    mine = who(people.points[:, :17], true, people.frame, NEAR)
    there = np.isfinite(true).all((2, 3))
    found = np.zeros_like(there)
    found[mine[mine >= 0], people.frame[mine >= 0]] = True
    changes = sum(int((np.diff(people.track[mine == p][np.argsort(people.frame[mine == p])]) != 0).sum()) for p in range(len(true)))
    gap = 1000 * np.linalg.norm(people.points[mine >= 0, :17] - true[mine[mine >= 0], people.frame[mine >= 0]], axis=-1)
    owners = {track: sorted(set(mine[people.track == track].tolist())) for track in combined.take.tracks.tolist()}
    print(f"whose rows the tracks have (-1: nobody's): {owners}; ids change {changes} times")
    print(f"found {100 * found[there].mean():.1f} % of {there.sum()} frames of people; {(mine < 0).sum()} rows are nobody")
    placed = 100 * np.isfinite(gap).mean()
    print(f"MPJPE of 17 points {np.nanmean(gap):.0f} mm, median {np.nanmedian(gap):.0f} mm; {placed:.1f} % have a place")
    rows = combined.rows
    for c, camera in enumerate(combined.cameras):
        pixels = combined.measured[c][:, :17]
        seen = np.isfinite(pixels).all(-1).sum(1) >= 4
        wrong = who(pixels, project(camera, true), people.frame[rows], 60.0) != mine[rows]
        print(f"  {camera.name}: {seen.sum()} poses, {(wrong & seen).sum()} of them somebody else's or nobody's")


def main() -> None:
    """Render, capture, combine, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=72)
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--smooth", default="kalman")
    options = parser.parse_args()
    film(options.out, options.frames)
    rig = read_calibration(options.out / "Calib.toml")
    films, offsets = [options.out / f"{camera.name}.mp4" for camera in rig], [0.0, 0.0, 0.0, LATE / RATE]
    results, start = options.out / "capture", time.perf_counter()
    stored = [results / camera.name / "take.npz" for camera in rig]
    if not all(path.exists() for path in stored):
        networks = {"detector": options.detector, "pose": options.pose}
        capture_cameras(films, options.out / "Calib.toml", results, offsets=offsets, smooth=options.smooth, overlay=False, **networks)
        print(f"films to takes to world: {time.perf_counter() - start:.1f} s")
    takes, start = [Take.load(path) for path in stored], time.perf_counter()
    combined = combine(takes, rig, offsets=offsets, smooth=options.smooth)
    print(f"takes to world alone: {time.perf_counter() - start:.1f} s for {len(combined.take.times)} frames")
    judge(combined, np.load(options.out / "truth.npz")["points"])
    try:
        print(f"offsets found: {common_clock(takes, rig).round(3).tolist()}, truly {offsets}")
    except VitruvianError as error:
        print(f"no offsets: {error}")
    report(combined)
    for n, path in enumerate(films):
        draw_view(combined, n, path, results / rig[n].name)


if __name__ == "__main__":
    main()
