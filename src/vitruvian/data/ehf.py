"""EHF: 100 pictures of one man with meshes that were fitted to scans (Pavlakos et al., CVPR 2019): https://smpl-x.is.tue.mpg.de.

Meshes of 10475 vertices of SMPL-X, registered, without parameters; all pictures are from one camera, whose numbers stand in the set's
readme and are here from memory [mem], as are the names of the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vitruvian.body.model import BodyParameters
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.pose import rotation_matrices
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture
from vitruvian.errors import FormatError
from vitruvian.formats.meshes import read_ply

LAYOUT = "NN_img.jpg (or .png) and NN_align.ply, NN from 01 to 100"
SIZE, FOCAL, MIDDLE = (1600, 1200), 1498.22426237, (790.263706, 578.90334)
TURN, SHIFT = np.array([-2.98747896, 0.01172457, -0.05704687]), np.array([-0.03609917, 0.43416458, 2.37101226])
_MESH_BYTES = 64 << 20


def ehf(folder: str | Path) -> BodyDataset:
    """The pictures by number, one person in each. Raises FormatError where there is none."""
    root = Path(folder)
    meshes = sorted(root.glob("*_align.ply"))
    if not meshes:
        raise FormatError(f"{root} holds no meshes of EHF; expected there: {LAYOUT}")
    camera = np.array([[FOCAL, 0, MIDDLE[0]], [0, FOCAL, MIDDLE[1]], [0, 0, 1]])
    turn = rotation_matrices(TURN[None])[0]

    def read() -> Iterator[BodyPicture]:
        for number, path in enumerate(meshes):
            vertices, _, _ = read_ply(path, _MESH_BYTES)
            if not np.isfinite(vertices).all() or not len(vertices):
                raise FormatError(f"{path} has vertices that are not finite, or none; get the file again")
            stem = path.name.removesuffix("_align.ply")
            image = next((file for file in (root / f"{stem}_img.jpg", root / f"{stem}_img.png") if file.exists()), root / f"{stem}_img.jpg")
            seen = (np.asarray(vertices, np.float64) @ turn.T + SHIFT)[None]
            nothing = BodyParameters(np.zeros((1, len(JOINT_NAMES["smplx"]), 3)), np.zeros((1, 10)), np.zeros((1, 10)), np.zeros((1, 3)))
            people = BodyLabels("smplx", nothing, ("male",), np.eye(3)[None], np.zeros((1, 3)), vertices=seen)
            yield BodyPicture(image, number, SIZE, camera, people)

    return BodyDataset("ehf", "research and non-commercial use only", read)
