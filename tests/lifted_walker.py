"""Somebody who walks past a camera, and small published lifters that have seen nobody else: trained in seconds, exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitruvian.body.compact import load_compact
from vitruvian.body.regressors import point_regressor
from vitruvian.codecs.lifting import joints_of_coco, mirrored, normalise_keypoints
from vitruvian.geometry.camera import pinhole
from vitruvian.skeletons import H36M_17

SIZE, FOV, FRAMES, RATE = (1280, 720), 50.0, 27, 50.0
TIMES = np.arange(FRAMES) / RATE
CAMERA = pinhole(SIZE, FOV)


def walker(points: str = "coco-wholebody-133", times: np.ndarray = TIMES, heading: float = 0.4) -> np.ndarray:
    """(t, k, 3) points in the camera's frame of somebody who swings arms and legs and walks past, 4 m away."""
    model = load_compact()
    pose = np.zeros((len(times), model.num_joints, 3), np.float32)
    pose[:, 0] = [0, heading, 0]
    swing = 0.5 * np.sin(2 * np.pi * times)
    for joint, turn in (("left_hip", -swing), ("right_hip", swing), ("left_shoulder", swing), ("right_shoulder", -swing)):
        pose[:, model.joint_names.index(joint), 0] = turn
    posed = model.forward(pose, np.zeros((len(times), model.num_shape), np.float32))
    found = point_regressor(model, points)(posed.vertices, posed.joints) * np.float32([1, -1, -1])
    way = np.stack([-0.8 + 1.6 * times, np.full(len(times), 0.1), np.full(len(times), 4.0)], 1)
    return found + way[:, None].astype(np.float32)


def seen(points: np.ndarray) -> np.ndarray:
    """Where the camera sees points, pixels."""
    pixels = points @ CAMERA.T
    return pixels[..., :2] / pixels[..., 2:]


def export_lifters(folder: Path) -> tuple[dict[str, Path], dict[str, object]]:
    """HopFIR and FinePOSE (nano) that know this walker: ONNX files with their cards, and the networks themselves (eval mode)."""
    import torch

    from vitruvian.systems.export import write_onnx
    from vitruvian.systems.pose3d import finepose, hopfir

    torch.manual_seed(0)
    joints, _ = joints_of_coco(seen(walker()[:, :17]), np.ones((FRAMES, 17)))
    truth = np.float32(walker("h36m-17"))
    both = [(x, mirrored(x, H36M_17.swap)) for x in (normalise_keypoints(joints, SIZE), truth - truth[:, :1])]
    inputs, truth = (torch.from_numpy(np.concatenate(pair)) for pair in both)
    frames, clips = hopfir.HopFIR(hopfir.VARIANTS["nano"]), finepose.FinePose(finepose.VARIANTS["nano"])
    random = torch.Generator().manual_seed(0)

    def of_clips():
        return finepose.loss(clips, inputs.view(6, 9, 17, 2), truth.view(6, 9, 17, 3), [None] * 6, random)

    losses = {frames: (120, lambda: hopfir.loss(frames(inputs), truth, frames.graph)), clips: (40, of_clips)}
    for model, (steps, loss) in losses.items():
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(steps):
            optimiser.zero_grad()
            loss().backward()
            optimiser.step()
    models = {"hopfir": frames.eval(), "finepose": clips.eval()}
    paths = {name: folder / f"{name}.onnx" for name in models}
    write_onnx(hopfir.exported(frames.config, frames), paths["hopfir"])
    write_onnx(finepose.exported(clips.config, clips), paths["finepose"])
    return paths, models
