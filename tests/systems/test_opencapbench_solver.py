"""Our inverse kinematics on a leg that hangs from a trunk that stands still: wrong markers, drawn postures, full turns."""

import numpy as np
import pytest

from vitruvian.formats.trc import Trc
from vitruvian.systems.biomechanics import opensim_tools

PLACES = {
    **{"a": ("ground", (0.0, 1.0, 0.2)), "b": ("ground", (0.0, 1.2, -0.2)), "c": ("ground", (0.1, 1.4, 0.0))},
    **{"knee": ("leg", (0.03, -0.4, 0.02)), "ankle": ("leg", (0.0, -0.8, 0.0)), "toe": ("leg", (0.2, -0.85, 0.03))},
}
WEIGHTS = dict.fromkeys(PLACES, 1.0)


@pytest.fixture(scope="module")
def leg():
    osim = pytest.importorskip("opensim")
    opensim_tools.opensim()
    model = osim.Model()
    body = osim.Body("leg", 10.0, osim.Vec3(0), osim.Inertia(1, 1, 1))
    pin = osim.PinJoint("hip", model.getGround(), osim.Vec3(0, 1, 0), osim.Vec3(0), body, osim.Vec3(0), osim.Vec3(0))
    pin.updCoordinate().setName("swing")
    model.addBody(body)
    model.addJoint(pin)
    for name, (owner, place) in PLACES.items():
        model.addMarker(osim.Marker(name, model.getGround() if owner == "ground" else body, osim.Vec3(*place)))
    model.finalizeConnections()
    model.initSystem()
    return model


def trial(angles):
    c, s = np.cos(angles), np.sin(angles)
    turn = np.stack([c, -s, 0 * c, s, c, 0 * c, 0 * c, 0 * c, 0 * c + 1], -1).reshape(-1, 3, 3)
    points = [
        np.broadcast_to(place, (len(angles), 3)) if owner == "ground" else turn @ np.array(place) + [0, 1, 0]
        for owner, place in PLACES.values()
    ]
    return Trc(tuple(PLACES), np.arange(len(angles)) / 50, np.stack(points, 1).copy(), 50.0)


def swing(model, markers, **options):
    found = opensim_tools.inverse_kinematics(model, markers, WEIGHTS, checked=False, **options)
    assert found.method == "converged"
    return found.values[:, found.names.index("swing")]


def test_a_marker_that_is_far_off_loses_where_it_counts_less(leg):
    angles = np.linspace(-0.3, 0.4, 6)
    wrong = trial(angles)
    wrong.points[2:4, wrong.names.index("toe")] += [0.5, 0.4, 0.0]
    assert np.abs(swing(leg, wrong) - angles)[2:4].min() > 0.1
    assert np.abs(swing(leg, wrong, robust=0.05) - angles).max() < 0.02
    assert np.allclose(swing(leg, trial(angles), robust=0.05), angles, atol=1e-4)


def test_a_coordinate_is_drawn_to_its_default(leg):
    angles = np.full(3, 0.5)
    assert np.allclose(swing(leg, trial(angles)), 0.5, atol=1e-4)
    assert (np.abs(swing(leg, trial(angles), posture={"swing": 1000.0})) < 0.01).all()
    unseen = trial(angles)
    unseen.points[:, 3:] = np.nan
    found = opensim_tools.inverse_kinematics(leg, unseen, dict.fromkeys("abc", 1.0), checked=False, posture={"swing": 0.1})
    assert np.allclose(found.values, 0, atol=1e-6)


def test_angles_without_limits_go_on_through_half_a_turn_and_start_within_one(leg):
    angles = np.linspace(2.9, 3.6, 8)
    assert np.allclose(swing(leg, trial(angles)), angles, atol=1e-3)
    assert np.abs(swing(leg, trial(np.full(2, 2 * np.pi + 0.3))) - 0.3).max() < 1e-3
