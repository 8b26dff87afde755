"""Inverse kinematics to convergence: the same weighted least squares as OpenSim's, solved by Levenberg and Marquardt's method.

OpenSim's solver stops, at its usual accuracy of 1e-5, so far from the minimum that a rounding of the markers by 1e-10 m moves the knee by
0.8 degrees (measured on the real walk); at 1e-9 it takes ten times as long. Here the model's own Jacobians (Simbody's station Jacobians)
give each step, coordinates stay in their ranges (those at a limit that would leave it are held; but not in a range of a whole turn of the
model against the ground, which limits nothing: such angles go on through 180 degrees), a coupled coordinate (the kneecap's)
follows its master, and coordinates that no marker moves stay as they were. [ours]

Not every model can be solved so: `Solver.of` says None where generalised speeds are not the coordinates' rates (ball and free joints), or
where there are other constraints than couplings of two coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from opensim import Model

_STEPS = 60
_AWAY = 0.25  # seconds
_STUCK = 0.2  # share of the markers that are off, from which another start is tried
_PATIENCE = 10  # frames from one such try to the next
_SETTLED = 1e-7  # radians or metres: a smaller step is the end
_GAIN = 1e-9  # share of the cost
_ALIKE = 1e-6  # share of the cost that does not tell two ends apart
_CHECK = 1e-5  # metres per radian that a Jacobian may differ from finite differences
_AHEAD = 1e-6  # of finite differences


@dataclass
class Solver:
    """A model, its state, and where its coordinates and markers are."""

    osim: ModuleType
    model: Model
    state: object
    markers: list[tuple[int, object, Float[np.ndarray, " 3"]]]
    roots: np.ndarray
    low: Float[np.ndarray, " c"]
    high: Float[np.ndarray, " c"]
    moving: Bool[np.ndarray, " c"]
    couplings: list[tuple[int, int, object]]
    place: np.ndarray
    default: Float[np.ndarray, " c"]
    turns: list[int]
    root: Bool[np.ndarray, " c"]
    pull: Float[np.ndarray, " c"]
    angles: Bool[np.ndarray, " c"]

    @classmethod
    def of(
        cls,
        osim: ModuleType,
        model: Model,
        markers: tuple[str, ...],
        weights: Float[np.ndarray, " m"],
        posture: Mapping[str, float] = MappingProxyType({}),
    ) -> Solver | None:
        """A solver for the named markers, or None where this method does not fit the model.

        posture: coordinates that are drawn to their default values, and how much a squared radian (or metre) counts there, against squared
        metres times the markers' weights.
        """
        state = model.initSystem()
        coordinates = [model.getCoordinateSet().get(i) for i in range(model.getCoordinateSet().getSize())]
        names = [coordinate.getName() for coordinate in coordinates]
        couplings = _couplings(osim, model, names)
        if couplings is None or state.getNQ() != state.getNU() != len(names) or state.getNQ() != len(names):
            return None
        stations = []
        for name in markers:
            marker = model.getMarkerSet().get(name)
            base = marker.getParentFrame().findBaseFrame()
            body = osim.PhysicalFrame.safeDownCast(base)
            local = marker.getParentFrame().findTransformInBaseFrame().shiftFrameStationToBase(marker.get_location())
            stations.append((body.getMobilizedBodyIndex(), local, body))
        free = np.array([not coordinate.getLocked(state) and not coordinate.isPrescribed(state) for coordinate in coordinates])
        for slave, _, _ in couplings:
            free[slave] = False
        clamped = [coordinate.getClamped(state) for coordinate in coordinates]
        low = np.array([c.getRangeMin() if on else -np.inf for c, on in zip(coordinates, clamped, strict=True)])
        high = np.array([c.getRangeMax() if on else np.inf for c, on in zip(coordinates, clamped, strict=True)])
        default = np.array([coordinate.getValue(state) for coordinate in coordinates])
        root = np.array([c.getJoint().getParentFrame().findBaseFrame().getName() == "ground" for c in coordinates], bool)
        angles = np.array([coordinate.getMotionType() == 1 for coordinate in coordinates], bool)
        all_round = root & angles & (high - low > 2 * np.pi - 1e-3)  # a range of a whole turn would hold who passes its end
        low[all_round], high[all_round] = -np.inf, np.inf
        turns = np.flatnonzero(root & angles).tolist()
        place = _places(state, coordinates)
        pull = np.array([posture.get(name, 0.0) for name in names])
        solver = cls(osim, model, state, stations, np.sqrt(weights), low, high, free, couplings, place, default, turns, root, pull, angles)
        return solver if solver._jacobian_fits() else None

    def track(
        self, times: Float[np.ndarray, " f"], wanted: Float[np.ndarray, "f m 3"], robust: float | None = None
    ) -> tuple[Float[np.ndarray, "f c"], Float[np.ndarray, "f m"]]:
        """Coordinates and marker errors (NaN: not seen) of frames in order, each from the one before.

        At the start, and after more than `_AWAY` seconds, quarter turns of the model's root are tried too, and the best end is kept.
        robust: metres, see `settle`; limbs that got stuck are then tried from their rest as well.
        """
        values, errors, tried = [], [], 0
        for i, places in enumerate(wanted):
            fresh = i == 0 or times[i] - times[i - 1] > _AWAY
            starts = self._starts(values[-1] if values else self.default) if fresh else [values[-1]]
            ends = [self.settle(start, places, robust, near=not fresh) for start in starts]
            best = self._best(ends, robust)
            if robust and not fresh and i - tried >= _PATIENCE and np.mean(best[1] > robust) > _STUCK:
                again, tried = self.settle(np.where(self.root, values[-1], self.default), places, robust), i
                best = min(best, again, key=lambda end: self._cost(*end, robust))
            values.append(self._unwound(best[0], self.default if fresh else values[-1]))
            errors.append(best[1])
        return np.array(values), np.array(errors)

    def settle(
        self, start: Float[np.ndarray, " c"], wanted: Float[np.ndarray, "m 3"], robust: float | None = None, near: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """`solve`; with `robust` metres, markers that are farther off count less and less (Geman and McClure), narrowed in steps.

        A foot that is seen the wrong way round then loses against the rest of the body, where least squares would bend the rest.
        near: the start is nearly right, as that of the frame before, and tells already which markers are off.
        """
        if not robust:
            return self.solve(start, wanted)
        if near:
            q, away = start, np.linalg.norm(self._markers(start) - wanted, axis=-1)
        else:
            q, away = self.solve(start, wanted)
        for width in (2.0, 1.0) if near else (4.0, 2.0, 1.0, 1.0):
            q, away = self.solve(q, wanted, 1 / (1 + (np.nan_to_num(away) / (width * robust)) ** 2))
        return q, away

    def _best(self, ends: list[tuple[np.ndarray, np.ndarray]], robust: float | None) -> tuple[np.ndarray, np.ndarray]:
        """The end of least cost; of those that are alike, the one with the least angles: each turn in space has two sets of three."""
        costs = [self._cost(*end, robust) for end in ends]
        alike = [end for end, cost in zip(ends, costs, strict=True) if cost <= (1 + _ALIKE) * min(costs) + _ALIKE**2]
        return min(alike, key=lambda end: np.abs(self._unwound(end[0], self.default) - self.default)[self.angles].sum())

    def _cost(self, q: Float[np.ndarray, " c"], away: Float[np.ndarray, " m"], robust: float | None) -> float:
        squares = np.nan_to_num(away) ** 2
        markers = self.roots**2 * (squares / (1 + squares / robust**2) if robust else squares)
        return float(markers.sum() + self.pull @ (q - self.default) ** 2)

    def _unwound(self, q: Float[np.ndarray, " c"], near: Float[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
        """The same pose with angles less than half a turn from those of another one, where their limits allow it."""
        other = q - 2 * np.pi * np.rint((q - near) / (2 * np.pi))
        return np.where(self.angles & self.moving & (other >= self.low) & (other <= self.high), other, q)

    def _starts(self, start: Float[np.ndarray, " c"]) -> list[Float[np.ndarray, " c"]]:
        """The start, and quarter turns about each angle between the ground and the root."""
        out = [start]
        for turning in self.turns:
            for quarter in (1, 2, 3):
                turned = start.copy()
                turned[turning] += quarter * np.pi / 2
                out.append(turned)
        return out

    def solve(
        self, start: Float[np.ndarray, " c"], wanted: Float[np.ndarray, "m 3"], share: Float[np.ndarray, " m"] | float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates from `start` on that lay the markers onto the wanted places (NaN: not seen), and each marker's distance.

        share: factor of the square root of each marker's weight.
        """
        seen = np.isfinite(wanted).all(-1)
        root = np.where(seen, self.roots * share, 0.0)[:, None]
        target = np.where(seen[:, None], wanted, 0.0)
        q = self._coupled(np.clip(start, self.low, self.high))
        away = self._markers(q) - target
        cost, damping = float(((root * away) ** 2).sum() + self.pull @ (q - self.default) ** 2), 1e-6
        for _ in range(_STEPS):
            jacobian = (self._jacobian() * root[..., None]).reshape(-1, len(q))
            gradient = jacobian.T @ (root * away).ravel() + self.pull * (q - self.default)
            held = ~self.moving | ((q <= self.low) & (gradient > 0)) | ((q >= self.high) & (gradient < 0))
            free = np.flatnonzero(~held)
            square = jacobian[:, free].T @ jacobian[:, free] + np.diag(self.pull[free])
            scale = np.trace(square) / max(len(free), 1)
            improved = False
            while damping < 1e6 and len(free) and scale > 0:
                step = np.linalg.solve(square + damping * scale * np.eye(len(free)), -gradient[free])
                trial = q.copy()
                trial[free] = np.clip(q[free] + step, self.low[free], self.high[free])
                trial = self._coupled(trial)
                moved = self._markers(trial) - target
                now = float(((root * moved) ** 2).sum() + self.pull @ (trial - self.default) ** 2)
                if now <= cost:
                    improved = True
                    break
                damping *= 8
            if not improved:
                self._markers(q)
                break
            settled = np.abs(trial - q).max() < _SETTLED or cost - now <= _GAIN * cost
            q, away, cost, damping = trial, moved, now, max(damping / 8, 1e-9)
            if settled:
                break
        return q, np.where(seen, np.linalg.norm(away, axis=-1), np.nan)

    def _coupled(self, q: Float[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
        for slave, master, function in self.couplings:
            q[slave] = function.calcValue(self.osim.Vector(1, float(q[master])))
        return q

    def _markers(self, q: Float[np.ndarray, " c"]) -> Float[np.ndarray, "m 3"]:
        """Marker places in the ground, with the state set to q."""
        values = self.state.updQ()
        for place, value in zip(self.place.tolist(), q.tolist(), strict=True):
            values.set(place, value)
        self.model.realizePosition(self.state)
        return np.array([body.findStationLocationInGround(self.state, local).to_numpy() for _, local, body in self.markers])

    def _jacobian(self) -> Float[np.ndarray, "m 3 c"]:
        """Of the markers by the coordinates, where the state is; a master moves its slave along."""
        matter, matrix = self.model.getMatterSubsystem(), self.osim.Matrix()
        out = np.empty((len(self.markers), 3, len(self.place)))
        for row, (body, local, _) in zip(out, self.markers, strict=True):
            matter.calcStationJacobian(self.state, body, local, matrix)
            row[:] = matrix.to_numpy()[:, self.place]
        values = self.state.getQ()
        for slave, master, function in self.couplings:
            at = values.get(int(self.place[master]))
            ends = [function.calcValue(self.osim.Vector(1, at + side * _AHEAD)) for side in (-1, 1)]
            out[..., master] += out[..., slave] * (ends[1] - ends[0]) / (2 * _AHEAD)
        return out

    def _jacobian_fits(self) -> bool:
        """Whether Simbody's Jacobian is that of the coordinates here, at an arbitrary pose."""
        random = np.random.default_rng(0)
        q = self._coupled(np.clip(random.uniform(-0.3, 0.3, len(self.place)), self.low, self.high))
        self._markers(q)
        jacobian = self._jacobian()
        for i in np.flatnonzero(self.moving):
            ends = []
            for side in (-1, 1):
                moved = q.copy()
                moved[i] += side * 1e-5
                ends.append(self._markers(self._coupled(moved)))
            if np.abs((ends[1] - ends[0]) / 2e-5 - jacobian[..., i]).max(initial=0.0) > _CHECK:
                return False
        return True


def _couplings(osim: ModuleType, model: Model, names: list[str]) -> list[tuple[int, int, object]] | None:
    """(slave, master, function) of every constraint; None where one is of another kind."""
    out = []
    constraints = model.getConstraintSet()
    for constraint in (constraints.get(i) for i in range(constraints.getSize())):
        coupler = osim.CoordinateCouplerConstraint.safeDownCast(constraint)
        if coupler is None:
            if constraint.get_isEnforced():
                return None
            continue
        masters = coupler.getIndependentCoordinateNames()
        if masters.size() != 1:
            return None
        out.append((names.index(coupler.getDependentCoordinateName()), names.index(masters.get(0)), coupler.getFunction()))
    return out


def _places(state: object, coordinates: list) -> np.ndarray:
    """The index of each coordinate among the state's Q, found by moving it."""
    places = []
    for coordinate in coordinates:
        before = state.getQ().to_numpy().copy()
        value = coordinate.getValue(state)
        coordinate.setValue(state, value + 0.01, False)
        places.append(int(np.abs(state.getQ().to_numpy() - before).argmax()))
        coordinate.setValue(state, value, False)
    return np.array(places)
