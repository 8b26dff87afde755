"""People over time: one body reported once, with its parts, ids that stay, left and right kept apart, and smooth keypoints.

While a video is read: the tracker (`track`, `tracks`, `sway`, `looks`), the assignment and the pose similarity that it rests on, the
One-Euro smoother (`smooth`), which hand or face is whose (`parts`), and a closer look at these (`refine`). Once a take is whole: tracks
that are one person (`twins`), the choice among places that the network sees (`choose`), left-right repair (`swap`), and smoothing that
looks ahead (`offline`, `filters`). All in numpy; only `refine` and the tracker's hook for looks see pixels. Not here: finding people
(`runtime`), running the whole chain (`capture`).
"""

from vitruvian.people.choose import choose_places
from vitruvian.people.offline import PRESETS, Smoothing, presets, smooth_take
from vitruvian.people.parts import attach_parts, is_part
from vitruvian.people.refine import Refiner
from vitruvian.people.similarity import believable, pose_similarity, without_doubtful_tracks, without_duplicates
from vitruvian.people.smooth import Smoother
from vitruvian.people.swap import Swap, SwapReport, repair_swaps
from vitruvian.people.track import Tracker
from vitruvian.people.twins import merge_twins

__all__ = [
    "PRESETS",
    "Refiner",
    "Smoother",
    "Smoothing",
    "Swap",
    "SwapReport",
    "Tracker",
    "attach_parts",
    "believable",
    "choose_places",
    "is_part",
    "merge_twins",
    "pose_similarity",
    "presets",
    "repair_swaps",
    "smooth_take",
    "without_doubtful_tracks",
    "without_duplicates",
]
