"""Derivatives of a body's points for fitting, in closed form: columns are translation (3), root turn (3), pose (d), shape (s).

The root's rotation R changes as exp(u) R with u in world axes, so it has no singular place. See `moments` for the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.body.fitting.moments import Frames, Moments, left_jacobian_product, point_moments, shape_jacobian
from vitruvian.body.fitting.poseprior import PosePrior
from vitruvian.body.model import BodyModel
from vitruvian.body.regressors import PointRegressor, take

ROOT = 6
"""The number of columns before the pose's: translation and root turn."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What turns what, worked out once for a set of points and a pose space.

    An entry e is a joint with one of its free values: joint, parent (e), and the change of its rotation vector, direction (e, 3).
    link, entry (n): the pairs of a moment's link and an entry that turns it; target: the (point, column) cell they add to.
    """

    joint: Int[np.ndarray, " e"]
    parent: Int[np.ndarray, " e"]
    direction: Float[np.ndarray, "e 3"]
    column: Int[np.ndarray, " e"]
    link: Int[np.ndarray, " n"]
    entry: Int[np.ndarray, " n"]
    cell_point: Int[np.ndarray, " c"]
    cell_column: Int[np.ndarray, " c"]
    add: object | None
    root_link: Int[np.ndarray, " k"]
    root_point: Int[np.ndarray, " k"]
    size: int


def plan_jacobian(moments: Moments, space: PosePrior) -> Plan:
    """Work out which of a pose space's values turns which point."""
    from scipy.sparse import csr_matrix

    blocks = space.basis.reshape(len(moments.parents), 3, -1)
    joint, column = np.nonzero(np.abs(blocks).max(1) > 0)
    link, entry = np.nonzero(moments.joint[:, None] == joint)
    cells = moments.point[link] * space.size + column[entry]
    unique, place = np.unique(cells, return_inverse=True)
    add = None
    if len(unique) < len(cells):  # some joints share a value: their turns add up
        add = csr_matrix((np.ones(len(cells), space.basis.dtype), (place, np.arange(len(cells)))), (len(unique), len(cells)))
    else:
        order = np.argsort(cells)
        link, entry = link[order], entry[order]
    root = np.flatnonzero(moments.joint == 0)
    return Plan(
        joint=joint,
        parent=np.array(moments.parents)[joint],
        direction=np.ascontiguousarray(blocks[joint, :, column]),
        column=column,
        link=link,
        entry=entry,
        cell_point=unique // max(space.size, 1),
        cell_column=unique % max(space.size, 1) + ROOT,
        add=add,
        root_link=root,
        root_point=moments.point[root],
        size=space.size,
    )


def point_jacobian(moments: Moments, plan: Plan, frames: Frames, turned: Float[np.ndarray, "q 3 b"]) -> Float[np.ndarray, "b k 3 p"]:
    """Derivatives of the points by translation, root turn, pose and shape. `turned` as `pose_points` returns it."""
    bodies, number = len(frames.vectors), len(moments.shape)
    out = np.zeros((bodies, len(moments), 3, ROOT + plan.size + number), turned.dtype)
    out[..., [0, 1, 2], [0, 1, 2]] = moments.mass[:, None]
    moved = _cross(_turn_axes(plan, frames)[plan.entry], turned[plan.link])
    if plan.add is not None:
        moved = (plan.add @ moved.reshape(len(moved), -1)).reshape(-1, 3, bodies)
    out[:, plan.cell_point, :, plan.cell_column] = moved.transpose(0, 2, 1)
    arms = turned[plan.root_link].transpose(2, 0, 1)
    for i, (a, b) in enumerate(((1, 2), (2, 0), (0, 1))):  # unit vector i x arm
        out[:, plan.root_point, a, 3 + i], out[:, plan.root_point, b, 3 + i] = -arms[..., b], arms[..., a]
    if number:
        out[..., ROOT + plan.size :] = shape_jacobian(moments, frames.world)
    if moments.correctives is not None:
        out[..., ROOT : ROOT + plan.size] += _corrective_jacobian(moments, plan, frames)
    return out


def _turn_axes(plan: Plan, frames: Frames) -> Float[np.ndarray, "e 3 b"]:
    """World turn of each entry's joint per unit of its value."""
    local = left_jacobian_product(frames.vectors[:, plan.joint], plan.direction)
    return np.ascontiguousarray((frames.world[:, plan.parent] @ local[..., None])[..., 0].transpose(1, 2, 0))


def _cross(a: Float[np.ndarray, "n 3 b"], b: Float[np.ndarray, "n 3 b"]) -> Float[np.ndarray, "n 3 b"]:
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out


def _corrective_jacobian(moments: Moments, plan: Plan, frames: Frames) -> Float[np.ndarray, "b k 3 d"]:
    """The pose correctives' part: each joint's change of rotation through the correctives and the joints that carry the point."""
    bodies = len(frames.vectors)
    out = np.zeros((bodies, len(moments), 3, plan.size), frames.vectors.dtype)
    turn = left_jacobian_product(frames.vectors[:, plan.joint], plan.direction)
    change = np.cross(turn[..., None, :], frames.local[:, plan.joint].swapaxes(-1, -2)).swapaxes(-1, -2)  # [turn]x R
    features = moments.correctives.reshape(-1, 9, *moments.correctives.shape[1:])
    world = frames.world[:, moments.joint]
    for e, joint in enumerate(plan.joint):
        tau = np.einsum("bf,fqi->bqi", change[:, e].reshape(bodies, 9), features[joint - 1])
        moved = (world @ tau[..., None])[..., 0]
        flat = moments.gather @ moved.transpose(1, 0, 2).reshape(len(moments.point), -1)
        out[..., plan.column[e]] += flat.reshape(len(moments), bodies, 3).transpose(1, 0, 2)
    return out


@dataclass(frozen=True, eq=False)
class Block:
    """Some of a fit's points, with the columns of the whole problem that move them at all."""

    points: Int[np.ndarray, " k"]
    columns: Int[np.ndarray, " p"]
    moments: Moments
    plan: Plan


def blocks(model: BodyModel, regressor: PointRegressor, space: PosePrior, num_shape: int, expression: bool = False) -> tuple[Block, ...]:
    """Split points into groups that the same few columns move (a hand, a face ...): the products of derivatives are several times smaller.

    Groups are merged greedily while rows times columns squared, plus a cost per group, falls. Missing points are in no group.
    """
    moments = point_moments(model, regressor)
    inside = moments.joint[:, None] == np.arange(len(moments.parents))
    carried = np.zeros((len(regressor), len(moments.parents)), bool)
    np.logical_or.at(carried, moments.point, inside)
    moves = np.abs(space.basis.reshape(len(moments.parents), 3, -1)).max(1) > 0
    if model.pose_directions is not None:
        carried[:, 1:] |= True  # correctives: any joint may move any vertex
    present = np.flatnonzero(~regressor.missing)
    support = (carried.astype(int) @ moves.astype(int) > 0)[present]
    groups = _merged(support)
    found = []
    for group in groups:
        points, values = present[group], np.flatnonzero(support[group].any(0))
        part = point_moments(model, take(regressor, points), num_shape, expression)
        local = replace(space, basis=space.basis[:, values], likely=space.likely[values], precision=space.precision[np.ix_(values, values)])
        columns = np.concatenate([np.arange(ROOT), ROOT + values, ROOT + space.size + np.arange(len(part.shape))])
        found.append(Block(points, columns, part, plan_jacobian(part, local)))
    return tuple(found)


def _merged(support: Bool[np.ndarray, "k d"]) -> list[Int[np.ndarray, " g"]]:
    """Groups of rows with like support."""
    if not len(support):
        return []
    patterns, group_of = np.unique(support, axis=0, return_inverse=True)
    group_of = group_of.ravel()
    rows, columns = np.bincount(group_of).astype(float), patterns.astype(float)

    def cost(count: np.ndarray, size: np.ndarray) -> np.ndarray:
        return (3 * count + 40) * (20 + size) ** 2

    while len(rows) > 1:
        size = columns.sum(1)
        union = size[:, None] + size - columns @ columns.T
        alone = cost(rows, size)
        gain = np.tril(alone[:, None] + alone - cost(rows[:, None] + rows, union), -1)
        i, j = np.unravel_index(gain.argmax(), gain.shape)
        if gain[i, j] <= 0:
            break
        rows[j], columns[j] = rows[j] + rows[i], np.maximum(columns[j], columns[i])
        rows, columns = np.delete(rows, i), np.delete(columns, i, 0)
        group_of = np.where(group_of == i, j, group_of)
        group_of -= group_of > i
    return [np.flatnonzero(group_of == i) for i in range(len(rows))]
