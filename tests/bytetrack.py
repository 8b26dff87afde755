"""The ByteTrack of roboflow's package `trackers` (Apache-2.0) on our detections. Needs `trackers` and `supervision`; an oracle only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from crowds import Crowd
from vitruvian.take import People

# Its own defaults, and thresholds like ours: a weak detection is one under 0.3, ids come at once, and people are kept for 1.5 s.
SETTINGS = {
    "ByteTrack": {},
    "ByteTrack, our thresholds": {
        "track_activation_threshold": 0.3,
        "high_conf_det_threshold": 0.3,
        "minimum_consecutive_frames": 1,
        "lost_track_buffer": 45,
    },
}


def available() -> bool:
    """Whether the package can be imported."""
    try:
        import supervision  # noqa: F401
        import trackers  # noqa: F401
    except ImportError:
        return False
    return True


def bytetracked(crowd: Crowd, fps: float, **settings: float) -> tuple[People, Iterable[float]]:
    """The detections that got an id, and the seconds that each frame took."""
    import time as clock

    import supervision as sv
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=fps, **settings)
    found, seconds = [People.empty(17)], []
    for time, people in zip(crowd.times, crowd.frames(), strict=True):
        rows = np.arange(len(people))
        detections = sv.Detections(
            xyxy=people.boxes.astype(np.float64), confidence=people.scores.astype(np.float64), class_id=rows * 0, data={"row": rows}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = clock.perf_counter()
            tracked = tracker.update(detections, timestamp=float(time))
            seconds.append(clock.perf_counter() - start)
        if len(tracked):
            ids = np.asarray(tracked.tracker_id)
            found.append(replace(people[tracked.data["row"]], track=ids)[ids >= 0])
    return People.concatenate(found), seconds
