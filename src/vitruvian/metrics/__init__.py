"""How good is it: metrics on arrays, each equal to the tool that the field reports with.

Keypoints (`keypoints`, `average_precision`, `crowdpose`, `posetrack`, and `pck`, which has `pck.pck` and `pck.auc`), boxes and their parts
(`boxes`, `association`), headings (`orientation`), points in space (`poses3d`, with a `pck` and an `auc` of its own), meshes (`meshes`),
ids over time (`tracking`). Not here: readers of annotations (formats/, data/), timing (benchmarks/).
"""

from vitruvian.metrics.association import FoundPairs, PairScores, TruePairs, crowd_precision, miss_rate, pair_scores
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision
from vitruvian.metrics.crowdpose import crowdpose_average_precision
from vitruvian.metrics.keypoints import oks, oks_by_part
from vitruvian.metrics.meshes import (
    CrowdScores,
    Matches,
    MeshPart,
    PeopleInPictures,
    VertexErrors,
    crowd_scores,
    depth_order_accuracy,
    match_people,
    parts_by_weights,
    vertex_errors,
    whole_body_parts,
)
from vitruvian.metrics.orientation import Facings, OrientationScores, angle_difference, orientation_scores
from vitruvian.metrics.pck import box_unit, head_unit, mean_share, mpii_pckh, nme, normalised_distances, points_unit
from vitruvian.metrics.poses3d import PeopleScores, mpjpe, mpjve, n_mpjpe, pa_mpjpe, pcp3d, pcp3d_of_actors, precision_over_people
from vitruvian.metrics.posetrack import TrackedPicture, posetrack_average_precision
from vitruvian.metrics.tracking import TrackingScores, frames_by_boxes, frames_by_keypoints, together, tracking_scores

__all__ = [
    "CrowdScores",
    "Facings",
    "FoundBoxes",
    "FoundPairs",
    "FoundPoses",
    "Matches",
    "MeshPart",
    "OrientationScores",
    "PairScores",
    "PeopleInPictures",
    "PeopleScores",
    "TrackedPicture",
    "TrackingScores",
    "TrueBoxes",
    "TruePairs",
    "TruePoses",
    "VertexErrors",
    "angle_difference",
    "average_precision",
    "average_precision_by_part",
    "box_average_precision",
    "box_unit",
    "crowd_precision",
    "crowd_scores",
    "crowdpose_average_precision",
    "depth_order_accuracy",
    "frames_by_boxes",
    "frames_by_keypoints",
    "head_unit",
    "match_people",
    "mean_share",
    "miss_rate",
    "mpii_pckh",
    "mpjpe",
    "mpjve",
    "n_mpjpe",
    "nme",
    "normalised_distances",
    "oks",
    "oks_by_part",
    "orientation_scores",
    "pa_mpjpe",
    "pair_scores",
    "parts_by_weights",
    "pcp3d",
    "pcp3d_of_actors",
    "points_unit",
    "posetrack_average_precision",
    "precision_over_people",
    "together",
    "tracking_scores",
    "vertex_errors",
    "whole_body_parts",
]
