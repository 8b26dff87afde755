"""A real film of four calibrated cameras (Pose2Sim's demo) from videos to a take in the world: how well do the cameras agree?

    python benchmarks/four_cameras.py [--out FOLDER] [--detector ID_OR_ONNX] [--pose ID_OR_ONNX] [--flip-test] [--smooth kalman]
        [--detect-every 2] [--no-choose]

100 frames, 60 Hz, 1080 x 1920 and 1088 x 1920: a man moves on a platform, whose surface is the calibration's floor; somebody stands behind
it, about 0.3 m lower, whom two of the cameras see.
Printed for each person who is found: the share of body and foot points with a place in space; pixels from keypoints to the projections
of their raw and smoothed points; by limb the mean length and its standard deviation over the mean; height of the lower foot above
the calibration's floor, lowest of toes and heel; for each camera how far its own 3D pose (the default lifter, alone) is from the
triangulated one; and for all the seconds of both halves. The floor is what the calibration says is 0.
A folder that holds the takes of an earlier run (--out) is used again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vitruvian.capture.cameras import capture_cameras, draw_view
from vitruvian.capture.views import Combined, combine
from vitruvian.formats.calibration import read_calibration
from vitruvian.geometry.camera import project_all, undistort
from vitruvian.metrics.poses3d import pa_mpjpe
from vitruvian.runtime.lift import Lifter
from vitruvian.take import Take

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "video" / "pose2sim-single"
LIMBS = {
    "upper arm": (("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow")),
    "forearm": (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    "thigh": (("left_hip", "left_knee"), ("right_hip", "right_knee")),
    "shank": (("left_knee", "left_ankle"), ("right_knee", "right_ankle")),
    "shoulders": (("left_shoulder", "right_shoulder"),),
    "hips": (("left_hip", "right_hip"),),
    "trunk": (("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
}
FEET = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
BODY = 23  # body and foot points come first among the 133


def report(combined: Combined) -> None:
    """Print the figures of each person."""
    take, rows = combined.take, combined.rows
    people = take.people
    after = np.linalg.norm(project_all(combined.cameras, people.points[rows]) - combined.measured, axis=-1)
    limbs = min(BODY, len(take.skeleton))
    for track in take.tracks:
        mine = people.track[rows] == track
        points = people.points[people.track == track]
        used, raw, smooth = (values[:, mine][:, :, :limbs] for values in (combined.used, combined.error, after))
        share = 100 * np.isfinite(points[:, :limbs]).all(-1).mean()
        print(f"\nperson {track}: {mine.sum()} frames, {share:.0f} % of body and foot points, {used.sum(0).mean():.1f} cameras each")
        for name, error in (("raw", raw), ("smoothed", smooth)):
            by_camera = " ".join(f"{np.nanmedian(error[c][used[c]]) if used[c].any() else np.nan:6.1f}" for c in range(len(used)))
            print(f"  median pixels to {name:8} points, cameras that count: {np.nanmedian(error[used]):5.1f}   by camera {by_camera}")
        print(f"  median pixels to raw      points, all keypoints     : {np.nanmedian(raw):5.1f}")
        report_limbs(take, points)


def report_limbs(take: Take, points: np.ndarray) -> None:
    """Print one person's limb lengths, and how high the lower foot is."""
    for limb, sides in LIMBS.items():
        for a, b in sides:
            length = 100 * np.linalg.norm(points[:, take.skeleton.index(a)] - points[:, take.skeleton.index(b)], axis=-1)
            length = length[np.isfinite(length)]
            if len(length):
                spread = 100 * length.std() / length.mean()
                print(f"  {limb:10} {a.split('_')[0]:5} {length.mean():6.1f} cm, spread {spread:5.1f} % ({len(length)} frames)")
    heights = 100 * points[:, [take.skeleton.index(name) for name in FEET], 1]
    low = np.where(np.isfinite(heights), heights, np.inf).min(1)
    low = low[np.isfinite(low)]
    if len(low):
        middle, first, last = np.percentile(low, (50, 5, 95))
        print(f"  lower foot above the floor: median {middle:.1f} cm, 5 % to 95 %: {first:.1f} to {last:.1f} cm")


def report_single_cameras(combined: Combined, lifter: Lifter) -> None:
    """Print how far each camera's own 3D pose of a person is from the one of all cameras, over the 17 points of the body."""
    take, rows = combined.take, combined.rows
    for track in take.tracks:
        mine = take.people.track[rows] == track
        kept = rows[mine]
        truth, times = take.people.points[kept][:, :17], take.times[take.people.frame[kept]]
        seen = np.isfinite(truth).all(-1)
        for c, camera in enumerate(combined.cameras):
            keypoints = undistort(camera, combined.measured[c][mine])
            sure = np.isfinite(keypoints).all(-1).astype(np.float32)
            lifted = lifter(keypoints, sure, times, camera.intrinsics, tuple(camera.size))
            error = 1000 * pa_mpjpe(np.nan_to_num(lifted.points[:, :17]), np.nan_to_num(truth), seen & lifted.known[:, None])
            print(f"  person {track}, {camera.name} alone: PA-MPJPE {np.nanmean(error):.0f} mm over {np.isfinite(error).sum()} frames")


def main() -> None:
    """Capture or load the takes, combine them, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--smooth", default="kalman")
    parser.add_argument("--detect-every", type=int)
    parser.add_argument("--no-choose", dest="choose", action="store_false", help="keypoints as they are found in each frame")
    options = parser.parse_args()
    cameras = read_calibration(options.folder / "Calib.qca.txt")
    films = [options.folder / f"{camera.name}.mp4" for camera in cameras]
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        stored = [out / camera.name / "take.npz" for camera in cameras]
        start = time.perf_counter()
        if not all(path.exists() for path in stored):
            networks = {"detector": options.detector, "pose": options.pose, "flip_test": options.flip_test}
            films_as = {"detect_every": options.detect_every, "choose": options.choose, "smooth": options.smooth, "overlay": False}
            capture_cameras(films, cameras, out, **networks, **films_as)
        print(f"films to takes to world: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        combined = combine([Take.load(path) for path in stored], cameras, smooth=options.smooth)
        print(f"takes to world alone: {time.perf_counter() - start:.1f} s for {len(combined.take.times)} frames")
        report(combined)
        report_single_cameras(combined, Lifter("lift-s"))
        if options.out:
            for n, film in enumerate(films):
                draw_view(combined, n, film, out / cameras[n].name)


if __name__ == "__main__":
    main()
