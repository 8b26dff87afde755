"""Data sets of 3D poses written in their official layouts, for readers and judges: Human3.6M as VideoPose3D packs it, Shelf and Campus."""

import json

import numpy as np
import scipy.io

from vitruvian.data.human36m import CAMERAS, JOINTS
from vitruvian.geometry.camera import project


def write_human36m(folder, points, cameras, shorter=0):
    """points {subject: {action: (frames, 32, 3) metres}}; the 2D file is their projection to `cameras`, `shorter` frames shorter."""
    flat = {
        s: {a: [project(c, p[: len(p) - shorter, JOINTS]).astype(np.float32) for c in cameras] for a, p in actions.items()}
        for s, actions in points.items()
    }
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(points, object))
    np.savez(folder / "data_2d_h36m_gt.npz", positions_2d=np.array(flat, object), metadata=np.array({"num_joints": 17}, object))
    named = list(zip(CAMERAS, cameras, strict=True))
    intrinsics = {name: {"calibration_matrix": c.intrinsics.tolist(), "distortion": [0.0] * 5} for name, c in named}
    places = {name: {"R": c.R_cam_world.tolist(), "t": (1000 * c.t_cam_world[:, None]).tolist()} for name, c in named}
    document = {"intrinsics": intrinsics, "extrinsics": {s: places for s in points}}
    (folder / "camera-parameters.json").write_text(json.dumps(document))


def write_shelf(folder, points, cameras, name="shelf"):
    """points (frames, actors, 14, 3) metres; who is NaN in a frame is absent. Campus has the same files under another name."""
    actors = np.empty((1, points.shape[1]), object)
    for person in range(points.shape[1]):
        rows = np.empty((len(points), 1), object)
        for frame, joints in enumerate(points[:, person]):
            rows[frame, 0] = joints if np.isfinite(joints).all() else np.zeros((1, 1))
        actors[0, person] = rows
    scipy.io.savemat(folder / "actorsGT.mat", {"actor3D": actors})
    calibration = {
        str(n): {
            "R": c.R_cam_world.tolist(), "T": (1000 * c.centre_world[:, None]).tolist(), "fx": c.intrinsics[0, 0],
            "fy": c.intrinsics[1, 1], "cx": c.intrinsics[0, 2], "cy": c.intrinsics[1, 2], "k": [[0.0]] * 3, "p": [[0.0]] * 2,
        }
        for n, c in enumerate(cameras)
    }  # fmt: skip
    (folder / f"calibration_{name}.json").write_text(json.dumps(calibration))
