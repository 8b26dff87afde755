"""XNect's stage III, the energy: one coherent skeleton per person from stage II's points and the picture's keypoints (numpy only).

    E = points E3D + picture E2D + limits Elim + smooth Etemp + depth Edepth                     (card xnect.md section 4.5)

| term | here |
|---|---|
| E3D = sum a_j \\|F_j - d - P_j\\|^2 | metres; a_j 0.3 where the joint was not seen [ours] |
| E2D = sum b_j c_j \\|Pi(F_j) - u_j\\|^2 | pixels; c_j confidence; b_j 1.7 for elbows and wrists, 1.5 for knees and ankles [recalled] |
| Elim = sum of squares beyond the limits | radians |
| Etemp = \\|acceleration of the angles and of the pelvis' turn\\|^2 | radians per frame^2 at 30 frames per second, at any frame rate |
| Edepth = (d_z - d_z of the frame before)^2 | metres per frame, the same |

All people of a frame are solved at once by Levenberg-Marquardt with the closed-form Jacobian. The published weights (0.9, 1e-5, 0.5, 1e-7,
8e-6 as recalled) belong to other units; those here are the card's proposals for metres and pixels, but ten times as smooth
(recipes/xnect_small.py shows what they do).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.pose import rotation_vectors
from vitruvian.body.products import gram, solve_positive
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.pose3d.xnect_skeleton import ANGLES, PELVIS, ROOT, Posture, joints_and_jacobian

FRAME = 1 / 30
"""Seconds of the frames in which accelerations are counted."""

LONGEST = 0.1
"""Seconds for which a motion is supposed to go on: after a longer gap that says nothing."""

UNSEEN = 0.3
_EXTENDED = {"elbow": 1.7, "wrist": 1.7, "knee": 1.5, "ankle": 1.5}
_PICTURE_SHARES = np.array([_EXTENDED.get(name.partition("_")[2], 1.0) for name in XNECT_14.names])
_SHOWN_BY = {"head": "head_top"} | {
    f"{side}_{part}": f"{side}_{by}" for side in ("right", "left") for part, by in (("hand", "wrist"), ("foot", "ankle"))
}


@dataclass(frozen=True)
class Weights:
    """Of the terms, for metres, pixels and radians."""

    points: float = 1.0
    picture: float = 1e-4
    limits: float = 0.5
    smooth: float = 1e-2
    depth: float = 1e-2


@dataclass(frozen=True)
class Camera:
    """A pinhole without distortion: focal length and principal point in pixels."""

    focal: float
    centre: tuple[float, float]

    @classmethod
    def guess(cls, size: tuple[int, int]) -> Camera:
        """For a picture of unknown camera, of `size` (width, height): a focal length of 1.2 times its longer side."""
        return cls(1.2 * max(size), ((size[0] - 1) / 2, (size[1] - 1) / 2))

    @property
    def values(self) -> Float[np.ndarray, " 9"]:
        """As `codecs.lifting.solve_roots` takes it: focal lengths, centre, no distortion."""
        return np.array([self.focal, self.focal, *self.centre, 0, 0, 0, 0, 0])

    def project(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
        """Points in camera axes -> pixels. Points nearer than 10 cm, or behind the camera, count as at 10 cm."""
        return self.focal * points[..., :2] / np.maximum(points[..., 2:], 0.1) + self.centre


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was seen of n people: points around the pelvis in metres (true size), keypoints in pixels, their confidence (0: not seen)."""

    points: Float[np.ndarray, "n 21 3"]
    keypoints: Float[np.ndarray, "n 14 2"]
    confidence: Float[np.ndarray, "n 14"]

    def __getitem__(self, rows: slice | np.ndarray) -> Evidence:
        return Evidence(self.points[rows], self.keypoints[rows], self.confidence[rows])

    @cached_property
    def point_weights(self) -> Float[np.ndarray, "n 21"]:
        """a_j of E3D: 1 for joints that were seen and those of the trunk, less for others; heads, hands, feet as what they hang on."""
        out = np.ones((len(self.confidence), len(XNECT_21)))
        for joint, name in enumerate(XNECT_21.names):
            shown_by = _SHOWN_BY.get(name, name)
            if shown_by in XNECT_14.names:
                out[:, joint] = np.where(self.confidence[:, XNECT_14.index(shown_by)] > 0, 1.0, UNSEEN)
        return out * np.isfinite(self.points).all(-1)


@dataclass(frozen=True, eq=False)
class Past:
    """What was fitted before, of n people: the frame before, how fast it moved, and which of these is known.

    still: the posture one frame ago. speed: radians per second of the pelvis' turn (in camera axes) and the angles. step: seconds since.
    known: whether there was a frame before; moving: whether there were two.
    """

    still: Posture
    speed: Float[np.ndarray, "n p"]
    step: Float[np.ndarray, " n"]
    known: Bool[np.ndarray, " n"]
    moving: Bool[np.ndarray, " n"]

    def __getitem__(self, rows: slice | np.ndarray) -> Past:
        return Past(self.still[rows], self.speed[rows], self.step[rows], self.known[rows], self.moving[rows])

    def expected(self) -> Posture:
        """Where they are if they go on as before, for a while."""
        way = self.speed * np.minimum(self.step, LONGEST)[:, None]
        return self.still.moved(np.concatenate([np.zeros((len(way), 3)), way], 1))


def _normal_equations(
    posture: Posture, bones: np.ndarray, evidence: Evidence, camera: Camera, past: Past, weights: Weights
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n p"], Float[np.ndarray, "n p p"]]:
    """Energy, half its gradient and half its Gauss-Newton matrix."""
    places, jacobian = joints_and_jacobian(posture, bones)
    n, size = len(posture), ROOT + len(ANGLES)
    around = jacobian.copy()
    around[..., :3] = 0  # E3D is about the pelvis
    a = weights.points * evidence.point_weights
    off = np.where(a[..., None] > 0, places - places[:, PELVIS, None] - evidence.points, 0)
    k = len(XNECT_14)
    near, image_jacobian = _picture_jacobian(places[:, :k], jacobian[:, :k], camera)
    c = weights.picture * _PICTURE_SHARES * np.where(np.isfinite(evidence.keypoints).all(-1), evidence.confidence, 0)
    miss = np.where(c[..., None] > 0, near - evidence.keypoints, 0)
    residual = np.concatenate([off.reshape(n, -1), miss.reshape(n, -1)], 1)
    weight = np.concatenate([np.repeat(a, 3, 1), np.repeat(c, 2, 1)], 1)
    rows = np.concatenate([around.reshape(n, -1, size), image_jacobian.reshape(n, -1, size)], 1)
    weighted = rows * weight[..., None]
    cost = (weight * residual**2).sum(1)
    gradient = gram(weighted, residual[..., None])[..., 0]
    matrix = gram(weighted, rows)
    single, pull, curvature = _single_terms(posture, past, weights)
    matrix[:, range(size), range(size)] += curvature
    return cost + single, gradient + pull, matrix


def _picture_jacobian(points: np.ndarray, jacobian: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of points (n, k, 2) and their derivatives (n, k, 2, p)."""
    depth = np.maximum(points[..., 2], 0.1)
    lens = np.zeros((*depth.shape, 2, 3))
    lens[..., [0, 1], [0, 1]] = camera.focal / depth[..., None]
    lens[..., 2] = -camera.focal * points[..., :2] / (depth * depth)[..., None] * (points[..., 2] > 0.1)[..., None]
    return camera.project(points), lens @ jacobian


def _single_terms(
    posture: Posture, past: Past, weights: Weights
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
    """Energy, half gradient and half curvature of what concerns one value at a time: depth, acceleration, limits."""
    n, size = len(posture), ROOT + len(ANGLES)
    weight, off = np.zeros((n, size)), np.zeros((n, size))
    per_frame = (FRAME / np.maximum(past.step, 1e-3)) ** 2
    weight[:, 2] = weights.depth * per_frame * past.known
    off[:, 2] = posture.place[:, 2] - past.still.place[:, 2]
    expected = past.expected()
    weight[:, 3:] = (weights.smooth * per_frame * past.moving)[:, None]
    off[:, 3:ROOT] = rotation_vectors(posture.turn @ expected.turn.swapaxes(1, 2))
    off[:, ROOT:] = posture.angles - expected.angles
    off = np.where(weight > 0, off, 0)
    beyond = posture.angles - np.clip(posture.angles, ANGLES.low, ANGLES.high)
    gradient, curvature = weight * off, weight.copy()
    gradient[:, ROOT:] += weights.limits * beyond
    curvature[:, ROOT:] += weights.limits * (beyond != 0)
    return (weight * off**2).sum(1) + weights.limits * (beyond**2).sum(1), gradient, curvature


def fit_people(
    evidence: Evidence,
    bones: Float[np.ndarray, "n 21 3"],
    camera: Camera,
    start: Posture,
    past: Past,
    weights: Weights = Weights(),  # noqa: B008  (frozen)
    iterations: int = 10,
    tolerance: float = 1e-3,
) -> tuple[Posture, Float[np.ndarray, " n"]]:
    """Minimise the energy of n people from a start; their postures and energies.

    A person is done when a step gains less than `tolerance` of the energy. bones: at rest, metres (`xnect_skeleton.joints`).
    """
    posture = start
    if not len(posture):
        return posture, np.zeros(0)
    cost, gradient, matrix = _normal_equations(posture, bones, evidence, camera, past, weights)
    damping, active = np.full(len(posture), 1e-3), np.arange(len(posture))
    for _ in range(iterations):
        diagonal = np.einsum("npp->np", matrix[active])
        scale = 1 / np.sqrt(np.maximum(diagonal, 1e-9 * diagonal.max(1, keepdims=True)) + 1e-12)
        system = matrix[active] * scale[:, :, None] * scale[:, None]
        system[:, range(system.shape[1]), range(system.shape[1])] += damping[active, None]
        step = -scale * solve_positive(system, (gradient[active] * scale)[..., None])[..., 0]
        trial = posture[active].moved(step)
        c, g, h = _normal_equations(trial, bones[active], evidence[active], camera, past[active], weights)
        better = c < cost[active]  # False too where a step has led to NaN
        done = np.where(better, cost[active] - c <= tolerance * cost[active], damping[active] > 1e3)
        damping[active] = np.where(better, damping[active] * 0.2, damping[active] * 8)
        taken = active[better]
        posture = _replaced(posture, taken, trial[better])
        cost[taken], gradient[taken], matrix[taken] = c[better], g[better], h[better]
        active = active[~done]
        if not len(active):
            break
    return posture, cost


def past_of(before: Posture, earlier: Posture, times: Float[np.ndarray, "n 2"], now: float, known: np.ndarray, moving: np.ndarray) -> Past:
    """The past of n people from their last two postures; times: of `earlier` and `before`, seconds. Unknown rows may be anything."""
    step = np.where(known, now - times[:, 1], FRAME)
    between = np.where(moving, times[:, 1] - times[:, 0], 1.0)
    turned = rotation_vectors(before.turn @ earlier.turn.swapaxes(1, 2))
    speed = np.concatenate([turned, before.angles - earlier.angles], 1) / np.maximum(between, 1e-3)[:, None]
    return Past(before, np.where(moving[:, None], speed, 0), step, known, moving)


def _replaced(posture: Posture, rows: np.ndarray, other: Posture) -> Posture:
    parts = [getattr(posture, name).copy() for name in ("place", "turn", "angles")]
    for part, value in zip(parts, (other.place, other.turn, other.angles), strict=True):
        part[rows] = value
    return Posture(*parts)
