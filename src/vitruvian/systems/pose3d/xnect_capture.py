"""XNect on a film: everybody's skeleton with fixed bones, in metres, with joint angles and ids, by one look at each picture.

take = capture_xnect("film.mp4", "xnect.safetensors", "out/")
out/take.npz        21 joints in the camera's frame, metres      out/skeleton.bvh  the motion (one file per person)
out/angles.csv      the 29 degrees of freedom, degrees, metres   out/overlay.mp4   the skeletons over the film

    python -m vitruvian.systems.pose3d.xnect_capture film.mp4 --weights xnect.safetensors --out out/

It runs in PyTorch (extra [torch]), for those who have trained both stages (`xnect.with_backbone`, `stage_one_loss`, `stage_two_loss`):
no weights of these were ever published, and none are contained here. Ground floor captures don't need it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from vitruvian._files import written_whole
from vitruvian.body.lbs import rotation_matrices
from vitruvian.capture import Progress
from vitruvian.capture.outputs import delivered
from vitruvian.capture.sinks import Background, Stopwatch, overlay_sink
from vitruvian.codecs.part_affinity import Parts, features
from vitruvian.draw.overlay import draw_people
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.formats.text import make_folder
from vitruvian.geometry.boxes import enclosing
from vitruvian.media import open_source, prefetch
from vitruvian.people.filters import nominal_step
from vitruvian.runtime.session import Device
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.checkpoint import read_state
from vitruvian.systems.pose3d.xnect import TREE, XNect, codec, from_published
from vitruvian.systems.pose3d.xnect_fit import Camera
from vitruvian.systems.pose3d.xnect_skeleton import ANGLES, REFERENCE_HEIGHT, Posture, joints
from vitruvian.systems.pose3d.xnect_track import TrackedPeople, Tracker, clothing_colours
from vitruvian.take import People, Take
from vitruvian.train.defaults import normalise

_HUNG_ON = {"pelvis": ("right_hip", "left_hip"), "spine": ("neck",), "head": ("neck", "head_top")}
_HUNG_ON |= {f"{side}_{end}": (f"{side}_{by}",) for side in ("right", "left") for end, by in (("hand", "wrist"), ("foot", "ankle"))}


class Capturer:
    """XNect over the pictures of one camera, in the order of their times. size: (width, height) of the pictures."""

    def __init__(self, model: XNect, size: tuple[int, int], fov: float | None = None, height: float = REFERENCE_HEIGHT) -> None:
        self.model, self.size = model, size
        self.codec = codec(model.config)
        self.zoom = min(model.config.input_size[0] / size[0], model.config.input_size[1] / size[1])
        camera = Camera.guess(size)
        if fov is not None:
            camera = Camera(max(size) / 2 / np.tan(np.radians(fov) / 2), camera.centre)
        self.camera, self.tracker = camera, Tracker(camera, height)

    def __call__(self, time: float, picture: UInt8[np.ndarray, "h w 3"]) -> TrackedPeople:
        """Everybody in the picture at `time` (seconds)."""
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            image = torch.from_numpy(self._input(picture)).permute(2, 0, 1)[None].to(device)
            maps = (part[0].float().cpu().numpy() for part in self.model(normalise(image)))
            parts = self.codec.decode(*maps)
            points = self.model.two(torch.from_numpy(features(parts, TREE.anchor)).to(device)).float().cpu().numpy()
        # The input's pixels become the picture's: centres are at whole numbers in both.
        there = Parts(((parts.keypoints + 0.5) / self.zoom - 0.5).astype(np.float32), parts.scores, parts.codes)
        return self.tracker.update(time, there, points, clothing_colours(picture, there))

    def _input(self, picture: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
        """The picture as large as fits, at the upper left; black beside it."""
        width, height = self.model.config.input_size
        shown = tuple(max(1, min(round(self.zoom * side), most)) for side, most in zip(self.size, (width, height), strict=True))
        out = np.zeros((height, width, 3), np.uint8)
        out[: shown[1], : shown[0]] = cv2.resize(picture, shown, interpolation=cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_LINEAR)
        return out


def capture_xnect(
    source: str | Path,
    weights: str | Path,
    out: str | Path | None = None,
    *,
    fov: float | None = None,
    height: float = REFERENCE_HEIGHT,
    overlay: bool = True,
    device: Device = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> Take:
    """Everybody in a film as XNect sees them: points (N, 21, 3) of one skeleton per person with fixed bones, metres, camera axes.

    weights: a file of both stages (our own layout). out: folder for the files, None writes nothing. fov: degrees across the longer side
    of the picture; None takes a focal length of 1.2 times it. height: metres, of people; distances grow with it.
    Keypoints are the points in the picture; confidence is stage I's, of joints that it does not look for their neighbours'.

    Nobody is a take without rows. Raises WeightsError for other weights, VitruvianError for pictures of different sizes and senseless
    options, MediaError for films that can't be read.
    """
    if fov is not None and not 1 <= fov < 180 or not 0.3 <= height <= 3:
        raise VitruvianError(f"fov {fov} and height {height}: give degrees from 1 to 179, and metres from 0.3 to 3")
    model = read_network(weights).to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    times, found, sizes = [], [], []
    with open_source(source) as opened, closing(prefetch(opened)) as frames:
        capturer: Capturer | None = None
        for frame in frames:
            size = (frame.image.shape[1], frame.image.shape[0])
            capturer = capturer or Capturer(model, size, fov, height)
            if size != capturer.size:
                raise VitruvianError(f"{frame.name} is {size}, earlier pictures {capturer.size}: one camera has one size")
            found.append(capturer(frame.time, frame.image))
            times.append(frame.time)
            sizes.append(size)
            if on_progress:
                on_progress(Progress(len(times), opened.frame_count, len(found[-1]), {}, done=len(times)))
    found = with_final_bones(found)
    camera = capturer.camera if capturer else Camera.guess((2, 2))
    take = _take(found, np.array(times), np.array(sizes, int).reshape(-1, 2), camera, str(source), fov)
    if out is not None:
        with delivered(make_folder(out)) as folder:
            take.save(folder / "take.npz")
            write_angles(found, take.times, folder / "angles.csv")
            if len(take.people):
                from vitruvian.formats.convert import write

                write(take, folder / "skeleton.bvh", "bvh")
            if overlay:
                _draw(take, source, folder)
    return take


def read_network(weights: str | Path) -> XNect:
    """Both stages of a file. Raises WeightsError where it holds something else, such as the published backbone alone."""
    _, model = from_published(read_state(weights))
    if not isinstance(model, XNect):
        raise WeightsError(f"{weights} is a backbone alone, which knows no joints: put it into XNect (xnect.with_backbone), and train that")
    return model


def with_final_bones(found: list[TrackedPeople]) -> list[TrackedPeople]:
    """The same postures of skeletons whose bones are, from a person's first frame on, what they were at last: of one length each."""
    last = {int(track): bones for people in found for track, bones in zip(people.track, people.bones, strict=True)}
    out = []
    for people in found:
        if len(people):
            bones = np.stack([last[int(track)] for track in people.track])
            posture = Posture(people.place, rotation_matrices(people.turn), people.angles)
            people = replace(people, bones=bones, points=joints(posture, bones))
        out.append(people)
    return out


def write_angles(found: list[TrackedPeople], times: Float[np.ndarray, " f"], path: Path) -> None:
    """A row for each person in each frame: time, id, place (metres) and turn (degrees) of the pelvis, and the 23 angles (degrees)."""
    names = ("time", "person", "x", "y", "z", "turn_x", "turn_y", "turn_z", *ANGLES.names)
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for time, people in zip(times, found, strict=True):
            degrees = np.degrees(np.concatenate([people.turn, people.angles], 1))
            for track, place, row in zip(people.track, people.place, degrees, strict=True):
                writer.writerow([f"{time:.6f}", int(track) + 1, *(f"{v:.4f}" for v in place), *(f"{v:.3f}" for v in row)])


def _take(found: list[TrackedPeople], times: np.ndarray, sizes: np.ndarray, camera: Camera, source: str, fov: float | None) -> Take:
    """The tracked skeletons as a take in the camera's frame."""
    rows = [people for people in found if len(people)]
    frames = np.repeat(np.arange(len(found)), [len(people) for people in found])
    points = np.concatenate([np.zeros((0, len(XNECT_21), 3)), *(people.points for people in rows)])
    seen = np.concatenate([np.zeros((0, len(XNECT_14)), np.float32), *(people.confidence for people in rows)])
    keypoints = np.where(points[..., 2:] > 0.1, camera.project(points), np.nan)
    people = People(
        frame=frames,
        track=np.concatenate([np.zeros(0, int), *(people.track for people in rows)]) + 1,
        boxes=enclosing(np.nan_to_num(keypoints), np.isfinite(keypoints).all(-1)),
        scores=np.where(seen > 0, seen, 0).sum(1) / np.maximum((seen > 0).sum(1), 1),
        keypoints=keypoints,
        confidence=_confidence(seen),
        points=points,
    )
    longest = float(sizes.max(initial=1))
    degrees = fov or float(np.degrees(2 * np.arctan(longest / 2 / camera.focal)))
    where = {"space": "camera", "fov": degrees, "fov_source": "assumed" if fov is None else "given"} if len(times) else {}
    return Take(people, XNECT_21, times, sizes, (Path(source).name,), source, (), **where)


def _confidence(seen: Float[np.ndarray, "n 14"]) -> Float32[np.ndarray, "n 21"]:
    """Of all 21 joints; of those that stage I does not look for the mean of their neighbours'."""
    out = np.zeros((len(seen), len(XNECT_21)), np.float32)
    out[:, : seen.shape[1]] = seen
    for name, others in _HUNG_ON.items():
        out[:, XNECT_21.index(name)] = seen[:, [XNECT_14.index(other) for other in others]].mean(1)
    return out


def _draw(take: Take, source: str | Path, folder: Path) -> None:
    """overlay.mp4 or overlay/: the skeletons over the film."""
    people = list(take.by_frame())
    with open_source(source) as opened:
        background = Background([overlay_sink(folder, opened, partial(draw_people, skeleton=take.skeleton), Stopwatch())])
        try:
            with closing(prefetch(opened)) as frames:
                for frame in frames:
                    background.put(frame, people[frame.index] if frame.index < len(people) else take.people[:0])
            background.finish(True)
        except BaseException:
            background.abort()
            raise


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.systems.pose3d.xnect_capture", description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="a film, or a folder of pictures")
    parser.add_argument("--weights", type=Path, required=True, help="both stages of XNect, .safetensors or .pth")
    parser.add_argument("--out", "-o", type=Path, required=True, help="folder for the files")
    parser.add_argument("--fov", type=float, help="degrees that the camera sees across the picture's longer side")
    parser.add_argument("--height", type=float, default=REFERENCE_HEIGHT, help="metres, of people")
    parser.add_argument("--no-overlay", action="store_true")
    options = parser.parse_args()
    try:
        take = capture_xnect(
            options.source, options.weights, options.out, fov=options.fov, height=options.height, overlay=not options.no_overlay
        )
    except VitruvianError as error:
        raise SystemExit(f"error: {error}") from error
    rate = 1 / nominal_step(take.times) if len(take.times) > 1 else 0.0
    print(f"{len(take.times)} frames ({rate:.0f} per second), {len(take.tracks)} people: {options.out}")


if __name__ == "__main__":
    main()
