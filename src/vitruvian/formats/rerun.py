"""rerun's recording (.rrd), to look at a take in the rerun viewer; write only, as the format is for viewing and not an archive.

Logged per frame on the timelines `frame` and `time`: keypoints and boxes in `image/`, points in metres in `world/`, each person under
its track id, with class and keypoint ids, so that the viewer names the points and draws the skeleton's links. The extra `[rerun]`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, MissingExtraError
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

THRESHOLD = 0.3


def write_rerun(take: Take, path: str | Path, threshold: float = THRESHOLD) -> None:
    """Write a take as a recording; keypoints of a confidence below `threshold` are left out, points in 3D are not.

    Raises MissingExtraError without rerun-sdk, FormatError if the path can't be written.
    """
    rerun = _rerun()
    with written_whole(path) as temporary:
        recording = rerun.RecordingStream("vitruvian")
        try:
            recording.save(temporary)
            recording.log("/", _context(rerun, take.skeleton), static=True)
            if take.people.points is not None:
                axes = rerun.ViewCoordinates.RDF if take.space == "camera" else rerun.ViewCoordinates.RIGHT_HAND_Y_UP
                recording.log("world", axes, static=True)
            shown: set[str] = set()
            for frame, people in enumerate(take.by_frame()):
                recording.set_time("frame", sequence=frame)
                recording.set_time("time", duration=float(take.times[frame]))
                shown = _log_frame(rerun, recording, people, threshold, shown)
            recording.flush()
        except (RuntimeError, ValueError) as error:
            raise FormatError(f"can't write {path}: {error}; check the folder and the free space") from error
        finally:
            recording.disconnect()  # lets go of the file


def _rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise MissingExtraError("a .rrd needs rerun-sdk: pip install 'vitruvian[rerun]', or export to .csv") from error
    return rerun


def _context(rerun: ModuleType, skeleton: Skeleton) -> object:
    """Names of the keypoints and the links between them, for class 0."""
    names = [rerun.AnnotationInfo(id=i, label=name) for i, name in enumerate(skeleton.names)]
    info = rerun.AnnotationInfo(id=0, label="person")
    links = list(skeleton.links)
    return rerun.AnnotationContext([rerun.ClassDescription(info=info, keypoint_annotations=names, keypoint_connections=links)])


def _log_frame(rerun: ModuleType, recording: object, people: People, threshold: float, shown: set[str]) -> set[str]:
    """Log one frame's people, and clear the entities of `shown` that are not in it; returns those that are."""
    from vitruvian.draw.overlay import track_color  # imports OpenCV

    now: set[str] = set()
    for row in range(len(people)):
        track = int(people.track[row])
        name, color = f"person_{track}" if track >= 0 else f"untracked_{row}", track_color(track)
        sure = (people.confidence[row] >= threshold) & np.isfinite(people.keypoints[row]).all(-1)
        ids = np.flatnonzero(sure)
        recording.log(f"image/{name}/keypoints", rerun.Points2D(people.keypoints[row, ids], keypoint_ids=ids, class_ids=0))
        if np.isfinite(people.boxes[row]).all():
            box = rerun.Boxes2D(array=people.boxes[row][None], array_format=rerun.Box2DFormat.XYXY, colors=[color], labels=[name])
            recording.log(f"image/{name}/box", box)
        now |= {f"image/{name}"}
        if people.points is not None:
            ids = np.flatnonzero(np.isfinite(people.points[row]).all(-1))
            recording.log(f"world/{name}", rerun.Points3D(people.points[row, ids], keypoint_ids=ids, class_ids=0))
            now |= {f"world/{name}"}
    for name in shown - now:
        recording.log(name, rerun.Clear(recursive=True))
    return now
