"""CityPersons: pedestrians in Cityscapes' pictures (Zhang et al., CVPR 2017), full and visible boxes.

The release is a MATLAB file for each split: rows of class, full box (x, y, width, height), instance, visible box. Classes: 0 region to
ignore, 1 pedestrian, 2 rider, 3 sitting, 4 other, 5 group; all but pedestrians count neither way, as in the benchmark. The release has no
parts: faces and heads are in BFJDet's files (`data.bodyface`). Names of the file's variables are from memory [mem].
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.layout import below, find, read_mat
from vitruvian.data.parts import FAR, PartDataset, PartPicture, part_picture, seen_share
from vitruvian.errors import FormatError
from vitruvian.geometry.boxes import xywh_to_xyxy

LAYOUT = "annotations/anno_{train,val}.mat, leftImg8bit/{train,val}/CITY/*.png"
SIZE = (2048, 1024)
_PEDESTRIAN = 1


def citypersons(folder: str | Path, split: Literal["train", "val"] = "val") -> PartDataset:
    """CityPersons' people. Raises FormatError where the annotations are missing."""
    name = f"anno_{split}.mat"
    path = find(folder, "CityPersons", LAYOUT, f"annotations/{name}", name)
    images = Path(folder) / "leftImg8bit" / split
    terms = "Cityscapes' terms: non-commercial"
    return PartDataset("citypersons", ("person",), terms, lambda: _read(path, images, f"anno_{split}_aligned"))


def _read(path: Path, images: Path, variable: str) -> Iterator[PartPicture]:
    rows = np.atleast_1d(read_mat(path, variable)[variable])
    for row in rows:
        try:
            row = row[()] if isinstance(row, np.ndarray) and row.ndim == 0 else row
            city, name = str(row["cityname"]), str(row["im_name"])
            boxes = np.asarray(row["bbs"][()] if row["bbs"].ndim == 0 else row["bbs"], np.float64).reshape(-1, 10)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise FormatError(f"{path} is no annotation of CityPersons ({error}); fetch it again") from error
        if not (np.abs(boxes) < FAR).all():
            raise FormatError(f"{path}: a box of {name} lies beyond any picture; the file is damaged")
        boxes = boxes[(boxes[:, 3] > 0) & (boxes[:, 4] > 0)]
        full, seen = xywh_to_xyxy(boxes[:, 1:5]), xywh_to_xyxy(boxes[:, 6:10])
        file = below(below(images, city), name)
        yield part_picture(file, name, SIZE, full, visible=seen_share(seen, full), ignore=boxes[:, 0] != _PEDESTRIAN)
