"""People over time: one body reported once, ids that stay, and smooth keypoints.

Here: the online tracker (`track`), the assignment and the pose similarity that it rests on, and the One-Euro smoother (`smooth`).
Everything works on the rows of one frame at a time, in numpy, and never sees pixels. Not here: finding people (`runtime`), running the
whole chain (`capture`).
"""

from vitruvian.people.similarity import believable, pose_similarity, without_duplicates
from vitruvian.people.smooth import Smoother
from vitruvian.people.track import Tracker

__all__ = ["Smoother", "Tracker", "believable", "pose_similarity", "without_duplicates"]
