"""How well do people tell how wide a camera sees, and does the answer know how sure it is?

    python benchmarks/focal.py [--films 20]                                # made-up walkers (tests/street.py)
    python benchmarks/focal.py --bodies                                    # what perspective within one body could tell
    python benchmarks/focal.py --takes TAKE.npz ... [--fov 59.6]           # real takes, beside the true field of view
    python benchmarks/focal.py --film FOLDER                               # rendered people, our networks; needs [synth]

Walkers: 1280 x 720, 15 Hz, fields of view drawn from the prior (ln f 0.3 about 60 degrees, at most twice that), roll of 2 degrees; sizes of
5.5 %, leans of 2 degrees, keypoints off by a share of the height, a third of it for good. Printed: how many films tell; of those the error
of ln f (root of mean square, worst) beside the spread that was said; and over all films error by spread, which should be 1.
Bodies: the least standard deviation of ln f (Cramer and Rao) from trunk and head, whose shapes are known to 1.5 cm and which turn against
each other. Film: 18 seconds at 6 Hz of the three people of `four_cameras_crowd.py`, by its cameras 1 and 4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from street import street  # noqa: E402
from vitruvian.capture.lens import seen_lens  # noqa: E402
from vitruvian.geometry.focal import USUAL_FOV, USUAL_SPREAD, SeenLens  # noqa: E402
from vitruvian.take import Take  # noqa: E402

SITUATIONS = {
    "level, 1.2 m high": {"tilt": 0, "height": 1.2},
    "tilt 5, 1.5 m": {"tilt": 5, "height": 1.5},
    "tilt 10, 1.8 m": {"tilt": 10, "height": 1.8},
    "the same, one person for 20 s": {"tilt": 10, "height": 1.8, "people": 1, "seconds": 20.0},
    "the same, one for 5 s": {"tilt": 10, "height": 1.8, "people": 1, "seconds": 5.0},
    "the same, 3 % off": {"tilt": 10, "height": 1.8, "noise": 0.03},
    "the same, in the hand (1 degree)": {"tilt": 10, "height": 1.8, "sway": 1.0},
    "tilt 20, 3 m": {"tilt": 20, "height": 3.0},
    "tilt 12, 5 m, 15 to 30 m away": {"tilt": 12, "height": 5.0, "depths": (15.0, 30.0)},
}
TRUNK = np.array([(0.18, -0.5, 0.02), (-0.18, -0.5, 0.02), (0.1, 0, 0), (-0.1, 0, 0)])  # shoulders and hips, y down, metres
HEAD = np.array([(0.075, -0.68, 0), (-0.075, -0.68, 0), (0.032, -0.7, -0.09), (-0.032, -0.7, -0.09), (0, -0.66, -0.11)])


def log_focal(fov: float) -> float:
    """ln of the focal length in longer sides."""
    return float(-np.log(2 * np.tan(np.radians(fov) / 2)))


def off(lens: SeenLens, fov: float) -> tuple[float, float]:
    """Error of ln f, and its spread."""
    return log_focal(lens.fov) - log_focal(fov), np.radians(lens.spread) / np.sin(np.radians(lens.fov))


def walkers(films: int) -> None:
    """Print the table of the situations; three people for 15 seconds, 2 % off, where nothing else is said."""
    print(f"{'situation':34} told   error (worst)  spread   error by spread, all")
    for number, (name, situation) in enumerate(SITUATIONS.items()):
        results = []
        for film in range(films):
            rng = np.random.default_rng((number, film))
            wide = log_focal(USUAL_FOV) + np.clip(rng.normal(0, USUAL_SPREAD), -2 * USUAL_SPREAD, 2 * USUAL_SPREAD)
            fov = float(2 * np.degrees(np.arctan(0.5 / np.exp(wide))))
            options = {"people": 3, "seconds": 15.0} | situation
            lens = seen_lens(street(1000 * number + film, fov, roll=rng.normal(0, 2), **options))
            if lens is not None:
                results.append((*off(lens, fov), lens.is_told))
        error, spread, told = np.array(results).reshape(-1, 3).T
        told = told > 0
        rms = lambda x: np.sqrt(np.mean(x**2))  # noqa: E731
        figures = f"{rms(error[told]):.3f} ({np.abs(error[told]).max():.2f})   {spread[told].mean():.3f} " if told.any() else " " * 22
        every = f"{rms(error / spread):.2f}" if len(error) else ""
        print(f"{name:34} {told.sum():2d}/{films}  {figures}   {every}", flush=True)


def within_bodies(distance: float, frames: int, noise: float) -> float:
    """The least standard deviation of ln f by trunk and head of one person in so many independent frames."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    information, step = np.zeros((31, 31)), 1e-5
    information[1:, 1:] = np.eye(30) / 0.015**2
    inner = np.diag([1e-6] * 6 + [np.radians(10) ** -2.0] * 3 + [np.radians(20) ** -2.0] * 3)  # shoulders against hips; head
    turn = lambda vector: Rotation.from_rotvec(vector).as_matrix()  # noqa: E731
    for _ in range(frames):
        base = turn([0, rng.uniform(-np.pi, np.pi), 0]) @ turn(rng.normal(0, 0.15, 3))
        place = np.array([rng.uniform(-0.3, 0.3) * distance, 0, distance])

        def seen(x: np.ndarray, base: np.ndarray = base, place: np.ndarray = place) -> np.ndarray:
            shape, pose = x[1:31].reshape(10, 3), x[31:]
            twist, neck = turn(pose[6:9]), np.array([0, -0.52, 0]) + shape[9]
            trunk, head = TRUNK + shape[:4], (HEAD + shape[4:9] - neck) @ turn(pose[9:12]).T + neck @ twist.T
            points = np.concatenate([trunk[:2] @ twist.T, trunk[2:], head]) @ (base @ turn(pose[3:6])).T + place + pose[:3]
            return (np.exp(x[0]) * points[:, :2] / points[:, 2:]).ravel() / (noise * 1.75 / distance)

        slopes = np.stack([(seen(way) - seen(-way)) / (2 * step) for way in step * np.eye(43)], 1)
        shared, own = slopes[:, :31], slopes[:, 31:]
        mixed = shared.T @ own
        information += shared.T @ shared - mixed @ np.linalg.solve(own.T @ own + inner, mixed.T)
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))


def film(folder: Path) -> list[Path]:
    """Render and capture the films that are not there yet; the takes' paths."""
    import four_cameras_crowd as crowd
    from vitruvian.capture import capture
    from vitruvian.media import VideoWriter
    from vitruvian.synth.backgrounds import Backdrops
    from vitruvian.synth.look import Look
    from vitruvian.synth.outfit import dress
    from vitruvian.synth.paint import sample_light
    from vitruvian.synth.wardrobe import Wardrobe

    takes = [folder / f"cam{n}" / "take.npz" for n in (1, 4)]
    if all(path.exists() for path in takes):
        return takes
    folder.mkdir(parents=True, exist_ok=True)
    times, wardrobe, look = np.arange(108) / 6, Wardrobe(), Look(objects=False)
    room = crowd.make_room(wardrobe, times)
    outfits = [dress(np.random.default_rng((11, n)), wardrobe, np.array(p), "plain", look) for n, p in enumerate(crowd.PEOPLE)]
    for n in (1, 4):
        rng, path = np.random.default_rng((13, n - 1)), folder / f"cam{n}.mp4"
        light, wall = sample_light(rng, Look(lights=False)), Backdrops([], 39 + n, 1, crowd.SIZE)[0]
        with VideoWriter(path, *crowd.SIZE, 6) as writer:
            for f, time in enumerate(times):
                picture = crowd.draw(wardrobe, room, f, crowd.cameras()[n - 1], outfits, light, wall)
                writer.write(np.clip(picture + rng.normal(0, 2.5, picture.shape), 0, 255).astype(np.uint8), time)
        capture(path, folder / f"cam{n}", mesh=False, overlay=False, smooth="none")
    return takes


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=20)
    parser.add_argument("--bodies", action="store_true")
    parser.add_argument("--takes", type=Path, nargs="+", default=[])
    parser.add_argument("--fov", type=float)
    parser.add_argument("--film", type=Path)
    options = parser.parse_args()
    takes, fov = options.takes, options.fov
    if options.film:
        takes, fov = film(options.film), float(2 * np.degrees(np.arctan(320 / 470)))
    for path in takes:
        lens = seen_lens(Take.load(path))
        true = "" if fov is None else f", truly {fov:.1f}"
        words = "too few places" if lens is None else f"{lens.fov:.1f} +- {lens.spread:.1f} degrees, looks down by {lens.tilt:.0f}, noise "
        print(f"{path}: {words}" + ("" if lens is None else f"{lens.noise:.3f}, {'told' if lens.is_told else 'not told'}") + true)
    if options.bodies:
        for distance in (1.5, 2.0, 3.0, 5.0, 8.0):
            found = [f"{within_bodies(distance, 40, noise):.2f} ({100 * noise:.0f} % off)" for noise in (0.01, 0.02)]
            print(f"within bodies {distance:g} m away, 40 frames: " + ", ".join(found))
    if not takes and not options.bodies:
        walkers(options.films)


if __name__ == "__main__":
    main()
