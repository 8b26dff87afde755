"""Annotated pictures for training and evaluation: readers of public data sets' official files, their mixture, crops and augmentations.

Here: one file per data set, each with a function (folder, split) -> `Dataset`; `mixture` (one keypoint set for all, mixing, shuffling,
clips), `crops` (person crops with labels), `augment`, `judge` (a network on a set). numpy and OpenCV only. Nothing is downloaded: every set
has terms of its own (`Dataset.terms`). Not here: result files (formats/), metrics (metrics/), synthetic people (synth/), the loop (train/).
"""

from vitruvian.data.pictures import Dataset, Labels, Picture

__all__ = ["Dataset", "Labels", "Picture"]
