"""Annotated pictures for training and evaluation: readers of public data sets' official files, their mixture, crops and augmentations.

Here: one file per data set, each with a function (folder, split) -> `Dataset`; by name they are in `READERS`. `mixture` (one keypoint
set for all, mixing, shuffling, clips), `crops` (person crops with labels: `cut`), `augment` (presets `RTMPOSE`, `DWPOSE`, `RTMW`,
`POSETRACK`, `HEATMAP`), `judge` (a network on a set: `judge.judge`, `judge.table`). numpy and OpenCV only. Nothing is downloaded: every set
has terms of its own (`Dataset.terms`). Not here: result files (formats/), metrics (metrics/), synthetic people (synth/), the loop (train/).
"""

from vitruvian.data.augment import Augmentation, change_looks
from vitruvian.data.crops import Crops, cut
from vitruvian.data.mixture import clip_files, converted, in_skeleton, mix, shuffled
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.data.readers import READERS, Kind, held_out, read_dataset

__all__ = [
    "READERS",
    "Augmentation",
    "Crops",
    "Dataset",
    "Kind",
    "Labels",
    "Picture",
    "change_looks",
    "clip_files",
    "converted",
    "cut",
    "held_out",
    "in_skeleton",
    "labels",
    "mix",
    "read_dataset",
    "shuffled",
]
