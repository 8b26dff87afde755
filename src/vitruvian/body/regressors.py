"""Keypoint sets as linear points of body models: sparse weights over vertices and joints.

    regressor = point_regressor(model, "coco-wholebody-133")
    points = regressor(output.vertices, output.joints)             # (n, 133, 3), NaN where the model has no such point

The compact body and Anny: the 133 points are those of `vitruvian.synth.landmarks`, which the house's own networks are trained on; the
skeleton sets are bone heads. The SMPL family: joints, and the vertex numbers and landmarks of the published programs (card `mano`
section 4); their COCO body points are joint centres, which annotators did not see, so they are `uncertain`. A point that neither
a joint nor a documented vertex gives is missing: SMPL and SMPL+H have no face-68, no SMPL model has the top of a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.body.compact import JOINT_BONES, compact_arrays
from vitruvian.body.model import BodyModel
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.points import VERTEX_POINT_NAMES, VERTEX_POINTS, hand_tips
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133, FACE_68, HAND_21, SKELETONS, Skeleton

Row = Mapping[int, float]
"""One point: column -> weight. Columns count the vertices, then the joints."""

_ANNY_VERTICES = 13718
_HEAD_TOP = 881  # the highest vertex of the template, on the mid-line
_FINGERS = {"thumb": "thumb", "forefinger": "index", "middle_finger": "middle", "ring_finger": "ring", "pinky_finger": "pinky"}
# SMPL's joints on the compact body (card `anny` section 9); all others have the same name on both.
_SMPL_ROLES = {
    **{"spine1": "spine2", "spine2": "spine4", "spine3": "spine5", "neck": "neck1"},
    **{f"{s}_{a}": f"{s}_{b}" for s in ("left", "right") for a, b in (("foot", "toes"), ("collar", "clavicle"), ("hand", "middle1"))},
}
_PUBLISHED = {"smpl": 6890, "smplh": 6890, "smplx": 10475, "mano": 778}  # vertices
_COCO_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True, eq=False)
class PointRegressor:
    """K named points as weighted sums of a body's vertices and joints.

    rows, columns, weights: the entries of the (K, V + J) matrix, joints after the vertices. `uncertain`: points that stand in for ones
    that this model does not define, or that its joints only come near to.
    """

    name: str
    names: tuple[str, ...]
    rows: Int[np.ndarray, " e"]
    columns: Int[np.ndarray, " e"]
    weights: Float[np.ndarray, " e"]
    num_vertices: int
    num_joints: int
    uncertain: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def missing(self) -> Bool[np.ndarray, " k"]:
        """Points that the model does not have."""
        return ~np.isin(np.arange(len(self.names)), self.rows)

    def __call__(self, vertices: Float[np.ndarray, "n v 3"], joints: Float[np.ndarray, "n j 3"]) -> Float[np.ndarray, "n k 3"]:
        """The points of posed bodies, NaN where missing. Raises VitruvianError for another model's arrays."""
        if vertices.shape[1:] != (self.num_vertices, 3) or joints.shape[1:] != (self.num_joints, 3) or len(vertices) != len(joints):
            wanted = f"(n, {self.num_vertices}, 3) and (n, {self.num_joints}, 3)"
            raise VitruvianError(f"vertices {vertices.shape} and joints {joints.shape} are not of the regressor's model: give {wanted}")
        of_joint = self.columns >= self.num_vertices
        points = np.zeros((len(vertices), len(self.names), 3), vertices.dtype)
        for chosen, source, first in ((~of_joint, vertices, 0), (of_joint, joints, self.num_vertices)):
            rows, values = self.rows[chosen], source[:, self.columns[chosen] - first] * self.weights[chosen, None].astype(vertices.dtype)
            np.add.at(points, (slice(None), rows), values)
        points[:, self.missing] = np.nan
        return points


def point_regressor(model: BodyModel, points: str | Skeleton | Iterable[str] = "coco-wholebody-133") -> PointRegressor:
    """The regressor of a keypoint set for a model.

    points: a set of `vitruvian.skeletons` or its name ("coco-17", "coco-wholebody-133", "h36m-17", "openpose-body-25", "smpl-24", ...),
    "smplx-55" (SMPL-X's joints), "joints" (the model's own), or names out of these. For a single hand (MANO) "hand-21".
    Raises VitruvianError for an unknown set.
    """
    if isinstance(points, str):
        name = points.lower().replace("_", "-")
        names = {"smplx-55": JOINT_NAMES["smplx"], "joints": tuple(model.joint_names)}.get(name)
        if names is None:
            if name not in SKELETONS:
                raise VitruvianError(f"no keypoint set {points!r}; choose smplx-55, joints or one of {', '.join(SKELETONS)}")
            names = SKELETONS[name].names
    elif isinstance(points, Skeleton):
        name, names = points.name, points.names
    else:
        name, names = "custom", tuple(points)
    table, uncertain = _joint_table(model) if name == "joints" else _tables(model, name)
    entries = [(row, column, weight) for row, point in enumerate(names) for column, weight in table.get(point, {}).items()]
    rows, columns, weights = (np.array([e[i] for e in entries]) for i in range(3))
    return PointRegressor(
        name=name,
        names=tuple(names),
        rows=rows.astype(np.int64),
        columns=columns.astype(np.int64),
        weights=weights.astype(np.float64),
        num_vertices=model.num_vertices,
        num_joints=model.num_joints,
        uncertain=frozenset(names) & uncertain & set(table),
    )


def vertex_regressor(model: BodyModel, vertices: Int[np.ndarray, " k"]) -> PointRegressor:
    """Single vertices as points, for markers and scans."""
    vertices = np.asarray(vertices, np.int64).reshape(-1)
    if vertices.size and not (0 <= vertices.min() and vertices.max() < model.num_vertices):
        raise VitruvianError(f"vertices of {model.name} are numbers from 0 to {model.num_vertices - 1}: check the list")
    names = tuple(f"vertex{i}" for i in vertices)
    return PointRegressor(
        "vertices", names, np.arange(len(vertices)), vertices, np.ones(len(vertices)), model.num_vertices, model.num_joints
    )


def take(regressor: PointRegressor, points: Int[np.ndarray, " k"]) -> PointRegressor:
    """Some points of a regressor, in the order given."""
    place = np.full(len(regressor), -1)
    place[points] = np.arange(len(points))
    kept = place[regressor.rows] >= 0
    return replace(
        regressor,
        names=tuple(regressor.names[i] for i in points),
        rows=place[regressor.rows[kept]],
        columns=regressor.columns[kept],
        weights=regressor.weights[kept],
        uncertain=regressor.uncertain & {regressor.names[i] for i in points},
    )


def _joint_table(model: BodyModel) -> tuple[dict[str, Row], frozenset[str]]:
    return {name: {model.num_vertices + i: 1.0} for i, name in enumerate(model.joint_names)}, frozenset()


def _tables(model: BodyModel, set_name: str) -> tuple[dict[str, Row], frozenset[str]]:
    """Every point name that a model can serve for a set -> its row; and which of them are uncertain."""
    if model.num_vertices == _ANNY_VERTICES and model.kind in ("anny", "anny-compact"):
        surface, joints, uncertain = _anny_points(model)
    else:
        surface, joints, uncertain = _published_points(model)
    if set_name == "h36m-17":
        return _h36m(surface, joints)
    if set_name in ("smpl-24", "smplx-55"):
        return joints, _NOT_SMPL if "anny" in model.kind else frozenset(
            {"left_hand", "right_hand"}
        ) if model.kind != "smpl" else frozenset()
    if set_name == "hand-21":
        side = _lone_side(model)
        named = {n: f"{side}_{n if n != 'wrist' else 'hand_root'}" for n in HAND_21.names}
        return {n: surface[point] for n, point in named.items() if point in surface}, frozenset()
    return surface | _derived(surface), uncertain


_NOT_SMPL = frozenset(
    {"spine1", "spine2", "spine3", "left_collar", "right_collar", "neck", "head", "left_foot", "right_foot", "left_hand", "right_hand"}
)


def _lone_side(model: BodyModel) -> str:
    """Which hand a model of a single hand is; of a body the right one is taken."""
    return "left" if model.kind == "mano" and "left" in model.name else "right"


def _mean(*rows: Row) -> Row:
    total: dict[int, float] = {}
    for row in rows:
        for column, weight in row.items():
            total[column] = total.get(column, 0.0) + weight / len(rows)
    return total


def _derived(surface: Mapping[str, Row]) -> dict[str, Row]:
    """Points that sets define as means of others."""
    found = {}
    for name, sources in (
        ("neck", ("left_shoulder", "right_shoulder")),
        ("mid_hip", ("left_hip", "right_hip")),
        ("hip", ("left_hip", "right_hip")),
    ):
        if all(s in surface for s in sources):
            found[name] = _mean(*(surface[s] for s in sources))
    return found


def _h36m(surface: Mapping[str, Row], joints: Mapping[str, Row]) -> tuple[dict[str, Row], frozenset[str]]:
    """Human3.6M's markers-based centres: hips, knees, ankles and arms are joints; spine, thorax and head are our nearest points."""
    table = {f"{side}_{p}": joints[f"{side}_{p}"] for side in ("left", "right") for p in ("hip", "knee", "shoulder", "elbow", "wrist")}
    table |= {f"{side}_foot": joints[f"{side}_ankle"] for side in ("left", "right")}
    table |= {
        "root": _mean(joints["left_hip"], joints["right_hip"]),
        "spine": joints["spine2"],
        "thorax": joints["neck"],
        "neck_base": joints["head"],
    }
    if "head_top" in surface:
        table["head"] = surface["head_top"]
    return table, frozenset({"root", "spine", "thorax", "neck_base", "head"})


def _anny_points(model: BodyModel) -> tuple[dict[str, Row], dict[str, Row], frozenset[str]]:
    """Surface points and joints of the compact body, or of Anny, which has its vertices and, under their own names, its joints."""
    data, first = compact_arrays(), model.num_vertices
    if model.kind == "anny-compact":
        joints = _joint_table(model)[0]
    else:
        bones = {label: i for i, label in enumerate(model.joint_names)}
        joints = {name: {first + bones[bone]: 1.0} for name, (_, bone) in JOINT_BONES.items() if bone in bones}
        for side in ("left", "right"):
            joints[f"{side}_toes"] = {first + bones[f"toe{i}-1.{side[0].upper()}"]: 0.2 for i in range(1, 6)}
    named = list(JOINT_BONES)
    surface: dict[str, dict[int, float]] = {name: {} for name in COCO_WHOLEBODY_133.names}
    for row, column, weight in zip(data["landmark_rows"], data["landmark_columns"], data["landmark_weights"], strict=True):
        of_joint = int(column) >= first
        parts = joints[named[int(column) - first]] if of_joint else {int(column): 1.0}
        for place, share in parts.items():
            surface[COCO_WHOLEBODY_133.names[row]][place] = float(weight) * share
    surface["head_top"] = {_HEAD_TOP: 1.0}
    smpl = {
        name: joints[_SMPL_ROLES.get(name, name)]
        for name in (*JOINT_NAMES["smplx"], *JOINT_NAMES["smpl"])
        if _SMPL_ROLES.get(name, name) in joints
    }
    return surface, smpl, frozenset({"head_top"})


def _published_points(model: BodyModel) -> tuple[dict[str, Row], dict[str, Row], frozenset[str]]:
    """Surface points and joints of SMPL, SMPL+H, SMPL-X, MANO, FLAME, from what the published programs document."""
    joints = _joint_table(model)[0]
    surface: dict[str, Row] = {f"{s}_{p}": joints[f"{s}_{p}"] for s in ("left", "right") for p in _COCO_JOINTS if f"{s}_{p}" in joints}
    surface |= _hand_points(model, joints) | _documented_vertices(model) | _face_points(model)
    if "left_hand" not in joints and "left_middle1" in joints:
        joints |= {f"{side}_hand": joints[f"{side}_middle1"] for side in ("left", "right")}
    return surface, joints, frozenset(surface) - frozenset(FACE_68.names[17:]) - frozenset(_hand_points(model, joints))


def _hand_points(model: BodyModel, joints: Mapping[str, Row]) -> dict[str, Row]:
    """Wrists and finger joints under COCO-WholeBody's names."""
    found = {}
    for side in ("left", "right") if "wrist" not in joints else (_lone_side(model),):
        prefix = "" if "wrist" in joints else f"{side}_"
        if f"{prefix}wrist" in joints:
            found[f"{side}_hand_root"] = joints[f"{prefix}wrist"]
        for finger, published in _FINGERS.items():
            found |= {f"{side}_{finger}{i}": joints[f"{prefix}{published}{i}"] for i in (1, 2, 3) if f"{prefix}{published}{i}" in joints}
    return found


def _documented_vertices(model: BodyModel) -> dict[str, Row]:
    """The vertices that the published programs append to the joints: face points, feet, finger tips."""
    if model.kind == "mano":
        side = _lone_side(model)
        names, vertices = [f"{side}_{finger}4" for finger in _FINGERS], hand_tips("manopth", left=side == "left")
    else:
        tips = {f"{side}_{published}": f"{side}_{finger}4" for side in ("left", "right") for finger, published in _FINGERS.items()}
        names, vertices = [tips.get(n, n) for n in VERTEX_POINT_NAMES], VERTEX_POINTS.get(model.kind, ())
    if model.num_vertices != _PUBLISHED.get(model.kind):  # a subset, or a mesh of another topology
        return {}
    return {name: {vertex: 1.0} for name, vertex in zip(names, vertices, strict=False)}


def _face_points(model: BodyModel) -> dict[str, Row]:
    """iBUG points 17..67 from a file's static landmarks, and the jaw line 0..16 as it is seen from the front."""
    if model.landmarks is None:
        return {}
    found = _barycentric(model, model.landmarks.faces, model.landmarks.barycentric, FACE_68.names[17:])
    if model.landmarks.contour_faces is not None:
        found |= _barycentric(model, model.landmarks.contour_faces[0], model.landmarks.contour_barycentric[0], FACE_68.names[:17])
    return found


def _barycentric(model: BodyModel, faces: np.ndarray, weights: np.ndarray, names: tuple[str, ...]) -> dict[str, Row]:
    rows = zip(names, model.faces[faces], weights, strict=True)
    return {name: {int(c): float(w) for c, w in zip(corners, weight, strict=True)} for name, corners, weight in rows}
