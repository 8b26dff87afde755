"""How good is it: metrics on arrays, object keypoint similarity so far.

Not here: readers of annotations (formats/), timing (benchmarks/).
"""

from vitruvian.metrics.keypoints import oks, oks_by_part

__all__ = ["oks", "oks_by_part"]
