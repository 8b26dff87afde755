"""How good is it: metrics on arrays, each equal to the tool that the field reports with.

Keypoints (`keypoints`, `average_precision`), boxes and their parts (`boxes`, `association`), headings (`orientation`), ids over time
(`tracking`). Not here: readers of annotations (formats/, data/), timing (benchmarks/).
"""

from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.metrics.keypoints import oks, oks_by_part
from vitruvian.metrics.tracking import TrackingScores, frames_by_boxes, frames_by_keypoints, together, tracking_scores

__all__ = [
    "FoundPoses",
    "TrackingScores",
    "TruePoses",
    "average_precision",
    "average_precision_by_part",
    "frames_by_boxes",
    "frames_by_keypoints",
    "oks",
    "oks_by_part",
    "together",
    "tracking_scores",
]
