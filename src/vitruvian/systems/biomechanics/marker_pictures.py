"""The proof picture of a keypoint set: where its points lie on the resting body, from the front, the back, and close to arm and foot.

    python -m vitruvian.systems.biomechanics.marker_pictures docs/images [my_markers.toml]

writes `synthpose52.png` (or my_markers.png). Red points are in view, blue ones lie behind the surface. Needs no torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.body.compact import load_compact
from vitruvian.body.regressors import point_regressor
from vitruvian.media import write_image
from vitruvian.systems.biomechanics.marker_points import SYNTHPOSE_FILE, MarkerPoints, read_points

# Yaw, pitch, joints in the middle of the picture, metres across, which side's surface is drawn ("" for all).
_VIEWS = (
    (0, 0, ("pelvis",), 1.75, ""),
    (180, 0, ("pelvis",), 1.75, ""),
    (-60, 25, ("right_elbow", "right_wrist"), 0.42, "right_"),
    (120, -10, ("right_elbow", "right_wrist"), 0.42, "right_"),
    (-20, 25, ("right_ankle", "right_toes"), 0.34, "right_"),
    (130, 10, ("right_ankle", "right_toes"), 0.34, "right_"),
)


def resting(points: MarkerPoints) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "k 3"]]:
    """Vertices of the compact body at rest, and the points on it; y up, metres."""
    model = load_compact()
    rest = model.forward(np.zeros((1, len(model.joint_names), 3), np.float32), np.zeros((1, model.num_shape), np.float32))
    keypoints = point_regressor(model, "coco-wholebody-133")(rest.vertices, rest.joints)
    return rest.vertices[0], points(rest.vertices, keypoints)[0]


def picture(points: MarkerPoints, size: int = 620) -> UInt8[np.ndarray, "h w 3"]:
    """Front and back, both sides of the right forearm, and the right foot; whole views have the points' numbers, close ones their names."""
    from vitruvian.synth.landmark_pictures import draw_points

    model = load_compact()
    vertices, places = resting(points)
    to_anny = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # draw_points wants z up, facing -y
    joints = model.forward(np.zeros((1, len(model.joint_names), 3), np.float32), np.zeros((1, model.num_shape), np.float32)).joints[0]
    owner = np.array(model.joint_names)[model.weights.argmax(1)]
    tiles = []
    for yaw, pitch, around, extent, side in _VIEWS:
        faces = model.faces[np.char.startswith(owner, side)[model.faces[:, 0]]]
        centre = np.mean([joints[model.joint_names.index(name)] for name in around], axis=0) - [0, 0.04 if not side else 0.0, 0]
        near = np.flatnonzero(np.linalg.norm(places - centre, axis=1) < extent * (0.62 if side else 0.75))
        shown = near if not side else near[[points.skeleton.names[i][0] not in "l" for i in near]]
        labels = [points.skeleton.names[i] if side else i for i in shown]
        tiles.append(
            draw_points(
                vertices @ to_anny, faces, places[shown] @ to_anny, labels, yaw=yaw, pitch=pitch, centre=centre @ to_anny, extent=extent,
                size=size,
            )
        )  # fmt: skip
    return np.vstack([np.hstack(tiles[0:3:2]), np.hstack(tiles[1:4:2]), np.hstack(tiles[4:6])])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture to the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Draw where the points of a keypoint set lie.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("keypoints", type=Path, nargs="?", default=SYNTHPOSE_FILE)
    asked = parser.parse_args(arguments)
    write_image(asked.folder / f"{asked.keypoints.stem}.png", picture(read_points(asked.keypoints)))


if __name__ == "__main__":
    main()
