"""Valid files of every kind that a stranger may hand over, small, to be spoiled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np

from vitruvian.formats.calibration import write_calibration
from vitruvian.formats.convert import write
from vitruvian.formats.mot import Mot, write_mot
from vitruvian.geometry.camera import looking_at
from vitruvian.media import VideoWriter
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, Skeleton
from vitruvian.take import People, Take

ASF = """:version 1.10
:units
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     name lfemur
     direction 0.3 -0.9 0
     length 7.3
     axis 0 0 20 XYZ
     dof rx ry rz
  end
  begin
     name ltibia
     direction 0.3 -0.9 0
     length 7.8
     axis 0 0 20 XYZ
     dof rx
  end
:hierarchy
  begin
    root lfemur
    lfemur ltibia
  end
"""
AMC = ":FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3 4 5 6\nlfemur 7 8 9\nltibia 10\n2\nroot 1 2 3 4 5 6\nlfemur 7 8 9\nltibia 11\n"


QUALISYS = """<?xml version='1.0' encoding='ASCII'?>
<calibration type="regular"><cameras><camera active="1" serial="left" viewrotation="0"><fov_video left="0" top="0" right="1919"
bottom="1079"/><transform x="100" y="-200" z="900.5" r11="1" r12="0" r13="0" r21="0" r22="1" r23="0" r31="0" r32="0" r33="1"/>
<intrinsic focalLengthU="76800" focalLengthV="76800" centerPointU="61440" centerPointV="34560" skew="0" radialDistortion1="-0.1"
radialDistortion2="0.02" radialDistortion3="0" tangentalDistortion1="0" tangentalDistortion2="0"/></camera></cameras></calibration>
"""
CALIBRATIONS = ("calib-toml", "calib-qca", "calib-xml", "calib-yml", "calib-json", "calib-pickle")


def plant_calibrations(folder: Path) -> dict[str, Path]:
    """One calibration file of each dialect that `read_calibration` tells by its content."""
    camera = looking_at((1, 1.5, 4), (0, 1, 0), 1200, (1920, 1080), name="left")
    names = ("Calib.toml", "rig.qca.txt", "lens.xml", "lens.yml", "calibration_x.json", "cameraIntrinsicsExtrinsics.pickle")
    planted = {kind: folder / name for kind, name in zip(CALIBRATIONS, names, strict=True)}
    write_calibration([camera], planted["calib-toml"])
    planted["calib-qca"].write_text(QUALISYS)
    for kind in ("calib-xml", "calib-yml"):
        storage = cv2.FileStorage(str(planted[kind]), cv2.FILE_STORAGE_WRITE)
        for name, matrix in (
            ("K", camera.intrinsics),
            ("D", np.zeros((1, 5))),
            ("R", camera.R_cam_world),
            ("T", camera.t_cam_world[:, None]),
        ):
            storage.write(name, matrix)
        storage.release()
    entry = {"K": camera.intrinsics.tolist(), "distCoef": [0.0] * 5, "R": camera.R_cam_world.tolist(), "t": [[1.0], [2.0], [3.0]]}
    planted["calib-json"].write_text(json.dumps({"cameras": [{"name": "00_03", "resolution": [1920, 1080], **entry}]}))
    arrays = {"intrinsicMat": camera.intrinsics, "distortion": np.zeros((1, 5)), "rotation": camera.R_cam_world}
    table = arrays | {"translation": camera.t_cam_world[:, None] * 1000, "imageSize": np.array([[1080.0], [1920.0]])}
    planted["calib-pickle"].write_bytes(pickle.dumps(table))
    return planted


def small_take(skeleton: Skeleton, frames: int = 3, names: tuple[str, ...] = ("walk.mp4",), points: bool = True) -> Take:
    """Two tracked people per frame, with every optional column if `points`."""
    rng = np.random.default_rng(0)
    n, k = 2 * frames, len(skeleton)
    optional = {
        "points": rng.normal(size=(n, k, 3)),
        "orientation": rng.normal(size=n),
        "part_boxes": rng.uniform(0, 60, (n, 6, 4)),
        "body_pose": rng.normal(size=(n, 2, 3)),
        "body_shape": rng.normal(size=(n, 2)),
        "body_translation": rng.normal(size=(n, 3)),
    }
    people = People(
        frame=np.repeat(np.arange(frames), 2),
        track=np.tile([1, 2], frames),
        boxes=np.tile([1.0, 2, 60, 40], (n, 1)),
        scores=rng.uniform(size=n),
        keypoints=rng.uniform(0, 60, (n, k, 2)),
        confidence=rng.uniform(size=(n, k)),
        **(optional if points else {}),
    )
    return Take(people, skeleton, np.arange(frames) / 30, np.full((frames, 2), (64, 48)), names, space="camera" if points else "")


def plant(folder: Path) -> dict[str, Path]:
    """Write one file of each kind into `folder` and return {kind: path}."""
    take, body = small_take(COCO_WHOLEBODY_133, 2), small_take(COCO_17)
    pictures = small_take(COCO_17, 3, ("a.jpg", "b.png", "c.jpg"))
    alone = body.subset(body.people.track == 1)
    files = {
        "coco": write(pictures, folder / "coco.json"),
        "coco-results": write(body, folder / "results.json", "coco-results"),
        "coco-wholebody": write(take, folder / "wholebody.json", "coco-wholebody"),
        "openpose": write(small_take(COCO_17, 1), folder / "a_000000000000_keypoints.json", "openpose"),
        "controlnet-json": write(body, folder / "pose.json", "controlnet-json"),
        "take": write(body, folder / "take.npz"),
        "csv": write(body, folder / "take.csv"),
        "trc": write(alone, folder / "walk.trc"),
        "bvh": write(alone, folder / "walk.bvh"),
    }
    planted = {kind: paths[0] for kind, paths in files.items()}
    planted["mot"] = folder / "angles.mot"
    write_mot(Mot(("hip", "knee"), np.arange(4) / 10, np.arange(8.0).reshape(4, 2)), planted["mot"])
    for kind, text in (("asf", ASF), ("amc", AMC)):
        planted[kind] = folder / f"11.{kind}"
        planted[kind].write_text(text)
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    for kind in ("png", "jpg", "webp", "tif", "bmp"):
        planted[kind] = folder / f"picture.{kind}"
        planted[kind].write_bytes(cv2.imencode(f".{kind}", image)[1].tobytes())
    planted["mp4"] = folder / "clip.mp4"
    with VideoWriter(planted["mp4"], 32, 24, 25) as writer:
        for frame in range(6):
            writer.write(np.roll(image, frame, axis=1)[:24].repeat(2, 0)[:24].repeat(2, 1)[:, :32].copy(), frame / 25)
    return planted | plant_calibrations(folder)
