"""CMU Panoptic (Joo et al., ICCV 2015) as multi-view work uses it: five HD cameras, several people, 15 joints (VoxelPose's protocol).

Of each sequence: calibration_SEQ.json, hdPose3d_stage1_coco19/body3DScene_NNNNNNNN.json (19 joints x, y, z, confidence; centimetres, y
down), pictures hdImgs/00_CC/00_CC_NNNNNNNN.jpg. Points and cameras become metres and stay y down. Joints of confidence 0.1 or less are
unknown, and people without a known mid-hip are left out. Sources: cards selfpose3d.md (sections 7 and 11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.films3d import MAX_PEOPLE, Film3D, Set3D, checked_points, damaged
from vitruvian.data.layout import find
from vitruvian.errors import FormatError
from vitruvian.formats.calibration import read_calibration
from vitruvian.skeletons import PANOPTIC_15, PANOPTIC_19

LAYOUT = "SEQUENCE/calibration_SEQUENCE.json, SEQUENCE/hdPose3d_stage1_coco19/body3DScene_00000000.json, SEQUENCE/hdImgs/00_03/..."
TERMS = "non-commercial research: http://domedb.perception.cs.cmu.edu"
CAMERAS = ("00_03", "00_06", "00_12", "00_13", "00_23")
SEQUENCES = {
    "train": (
        *("160422_ultimatum1", "160224_haggling1", "160226_haggling1", "161202_haggling1"),
        *("160906_ian1", "160906_ian2", "160906_ian3", "160906_band1", "160906_band2"),
    ),
    "test": ("160906_pizza1", "160422_haggling1", "160906_ian5", "160906_band4"),
}
STEPS = {"train": 3, "test": 12}
"""Every so manieth frame is used."""
RATE = 29.97
_SURE = 0.1
_MAX_SCENE = 16 << 20
_HIP = PANOPTIC_15.index("mid_hip")


def panoptic(
    folder: str | Path,
    split: Literal["train", "test"] = "test",
    cameras: Sequence[str] = CAMERAS,
    joints: Literal[15, 19] = 15,
    step: int | None = None,
) -> Set3D:
    """The sequences of a split that are in `folder` (at least one must be), every `step`-th frame (default: the protocol's).

    People keep their places in `points` by the set's own ids. Raises FormatError where files are missing or damaged.
    """
    root, every = Path(folder), step or STEPS[split]
    there = [name for name in SEQUENCES[split] if (root / name).is_dir()]
    if not there:
        find(folder, "CMU Panoptic", LAYOUT, SEQUENCES[split][0])
    return Set3D(
        "panoptic",
        PANOPTIC_15 if joints == 15 else PANOPTIC_19,
        TERMS,
        lambda: (_film(root / name, cameras, joints, every) for name in there),
    )


def _film(place: Path, names: Sequence[str], joints: int, every: int) -> Film3D:
    by_name = {camera.name: camera for camera in read_calibration(place / f"calibration_{place.name}.json")}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise FormatError(f"{place.name}'s calibration has no camera {missing[0]}; it is damaged, or another set's")
    files = sorted(find(place, "CMU Panoptic", LAYOUT, "hdPose3d_stage1_coco19", "hdPose3d_stage1").glob("body3DScene_*.json"))[::every]
    frames, scenes = [], []
    for path in files:
        number = re.fullmatch(r"body3DScene_(\d{1,12})", path.stem)
        if number:
            frames.append(int(number.group(1)))
            scenes.append(dict(_people(path, joints)))
    ids = sorted({person for scene in scenes for person in scene})
    if len(ids) > MAX_PEOPLE:
        raise FormatError(f"{place} has {len(ids)} people; it is damaged")
    points = np.full((len(scenes), len(ids), joints, 3), np.nan)
    for f, scene in enumerate(scenes):
        for person, body in scene.items():
            points[f, ids.index(person)] = body
    pictures = {name: place / "hdImgs" / name for name in names}
    action = re.sub(r"^\d+_|\d+$", "", place.name)
    return Film3D(
        place.name, tuple(by_name[name] for name in names), points, np.array(frames, int), action, RATE / every, pictures=pictures
    )


def _people(path: Path, joints: int) -> Iterator[tuple[int, np.ndarray]]:
    """The people of one frame: id, joints in metres, NaN where not sure."""
    with damaged(path):
        for body in read_json(path, _MAX_SCENE)["bodies"]:
            values = checked_points(np.asarray(body["joints19"], np.float64).reshape(-1, 4), (19, 4), str(path))[:joints]
            points = np.where(values[:, 3:] > _SURE, values[:, :3] * 1e-2, np.nan)
            if np.isfinite(points[_HIP]).all():
                yield int(body["id"]), points
