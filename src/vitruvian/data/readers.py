"""Every data set by its name, for the command line and for recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from vitruvian.data.agora import agora
from vitruvian.data.aic import aic
from vitruvian.data.arctic import arctic
from vitruvian.data.bedlam import bedlam
from vitruvian.data.bodies import BodyDataset
from vitruvian.data.coco import coco
from vitruvian.data.coco_wholebody import coco_wholebody
from vitruvian.data.crowdpose import crowdpose
from vitruvian.data.egobody import egobody
from vitruvian.data.ehf import ehf
from vitruvian.data.h3wb import h3wb
from vitruvian.data.halpe import halpe
from vitruvian.data.humanart import humanart
from vitruvian.data.jhmdb import jhmdb
from vitruvian.data.mpii import mpii
from vitruvian.data.neural_annot import coco_bodies, human36m_bodies, ubody_bodies
from vitruvian.data.pictures import Dataset
from vitruvian.data.posetrack import posetrack17, posetrack18, posetrack21
from vitruvian.data.threedpw import threedpw
from vitruvian.data.ubody import ubody
from vitruvian.errors import VitruvianError

Kind = Literal[
    "coco", "coco-wholebody", "ubody", "halpe", "crowdpose", "mpii", "aic", "humanart", "posetrack17", "posetrack18", "posetrack21",
    "jhmdb", "h3wb",
]  # fmt: skip
READERS: Mapping[Kind, Callable[..., Dataset]] = {
    "coco": coco,
    "coco-wholebody": coco_wholebody,
    "ubody": ubody,
    "halpe": halpe,
    "crowdpose": crowdpose,
    "mpii": mpii,
    "aic": aic,
    "humanart": humanart,
    "posetrack17": posetrack17,
    "posetrack18": posetrack18,
    "posetrack21": posetrack21,
    "jhmdb": jhmdb,
    "h3wb": h3wb,
}
BodyKind = Literal["bedlam", "agora", "arctic", "egobody", "3dpw", "human3.6m", "ehf", "ubody", "coco"]
BODY_READERS: Mapping[BodyKind, Callable[..., BodyDataset]] = {
    "bedlam": bedlam,
    "agora": agora,
    "arctic": arctic,
    "egobody": egobody,
    "3dpw": threedpw,
    "human3.6m": human36m_bodies,
    "ehf": ehf,
    "ubody": ubody_bodies,
    "coco": coco_bodies,
}
_BODIES_HELD_OUT = {"3dpw": "test", "human3.6m": "test", "ehf": "", "ubody": ""}  # the last two have no splits
_HELD_OUT = {"crowdpose": "test", "mpii": "train", "jhmdb": "test", "h3wb": "test"}  # MPII's test pictures have no keypoints


def held_out(kind: Kind) -> str:
    """The split of a data set that figures are published of; of MPII, which keeps those points to itself, the training split."""
    return _HELD_OUT.get(kind, "val")


def read_dataset(kind: Kind, folder: str | Path, split: str = "") -> Dataset:
    """A data set in its official folder; split "" is `held_out`.

    Raises FormatError where it is not there, VitruvianError for a split that it hasn't.
    """
    try:
        return READERS[kind](folder, split or held_out(kind))
    except KeyError as error:
        raise VitruvianError(f"{kind} has no split {error}: take train or {held_out(kind)}") from error


def read_bodies(kind: BodyKind, folder: str | Path, split: str = "", **options: object) -> BodyDataset:
    """A data set of meshes in its official folder, with the reader's own options; split "" is the one figures are published of.

    Raises FormatError where it is not there, VitruvianError for a split that it hasn't.
    """
    usual = _BODIES_HELD_OUT.get(kind, "val")
    if split and not usual:
        raise VitruvianError(f"{kind} has no splits: leave the split out")
    try:
        return BODY_READERS[kind](folder, **({"split": split or usual} if usual else {}), **options)
    except KeyError as error:
        raise VitruvianError(f"{kind} has no split {error}: take train or {usual}") from error
