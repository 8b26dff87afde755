"""How each kind of network for meshes is shown pictures, and what becomes of its answers; the networks are made up."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from random_body import random_body
from vitruvian.body.pose import rotation_vectors
from vitruvian.codecs import aios, danet, osx, pymaf_x
from vitruvian.errors import WeightsError
from vitruvian.runtime.mesh_kinds import KINDS, Network, Persons
from vitruvian.weights import Card
from vitruvian.weights.graph import Port, Ports

OF = {kind.name: kind for kind in KINDS}
CAMERA = np.array([[500.0, 0, 160], [0, 500, 120], [0, 0, 1]])
IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
BOXES = np.array([[20.0, 30, 80, 200], [150, 40, 260, 230], [100, 20, 140, 90]], np.float32)
JOINTS = {"OSX": 53, "DaNet": 24, "PyMAF-X": 55, "AiOS": 55}


@dataclass
class Session:
    """Gives the rows of `said` in their order, whatever it is shown, and remembers that."""

    said: dict
    shown: list = field(default_factory=list)
    done: int = 0

    def get_inputs(self):
        return []

    def get_outputs(self):
        return [SimpleNamespace(name=name, shape=[], type="tensor(float)") for name in self.said]

    def run(self, _, feeds):
        rows = slice(self.done, self.done + len(next(iter(feeds.values()))))
        self.done = rows.stop
        self.shown.append(feeds)
        return [values[rows] for values in self.said.values()]


def network(kind, n, body=None, rows=8, size=(32, 32), **changes):
    """A network that says of n people what random numbers say; they stand 30 m and more away."""
    random = np.random.default_rng(1)
    turns = np.linalg.qr(random.normal(size=(n, JOINTS[kind], 3, 3)))[0]
    turns *= np.linalg.det(turns)[..., None, None]
    said = {"rotations": turns, "shapes": random.normal(size=(n, 10)), "expressions": random.normal(size=(n, 10))}
    said |= {"translations": random.uniform([-1, -1, 30], [1, 1, 60], (n, 3))} | changes
    body = body or random_body("smpl" if kind == "DaNet" else "smplx")
    card = Card("made-up", "mesh", "made-up.onnx", size, (0.0,) * 3, (1.0,) * 3, body="any")
    return Network(card, Session({name: np.float32(values) for name, values in said.items()}), body, 0.3, rows)


def persons(n=3):
    points = np.linspace(BOXES[:n, :2], BOXES[:n, 2:], 133, axis=1)
    return Persons(BOXES[:n], np.float32([0.9, 0.8, 0.7][:n]), points, np.ones((n, 133)))


def seen(translations, camera):
    return (camera @ translations[..., None])[..., :2, 0] / translations[:, 2:]


def own_cameras(kind, people):
    if kind == "OSX":
        return osx.intrinsics(osx.person_boxes(people.boxes, (320, 240))[0])
    if kind == "DaNet":
        return danet.crop(IMAGE, people.boxes)[1]
    return pymaf_x.intrinsics(pymaf_x.part_squares(people.keypoints, people.confidence).body)


@pytest.mark.parametrize("kind", ["OSX", "DaNet", "PyMAF-X"])
def test_people_are_where_their_crops_show_them(kind):
    net, people = network(kind, 3), persons()
    ((scores, bodies),) = OF[kind].see(net, [IMAGE], [CAMERA], [people])
    own, said = own_cameras(kind, people), net.session.said["translations"]
    assert np.allclose(scores, people.scores)
    assert np.allclose(
        seen(bodies.translation, CAMERA), np.concatenate([seen(t[None], k) for t, k in zip(said, own, strict=True)]), atol=0.05
    )
    assert np.allclose(bodies.translation[:, 2] / 500, said[:, 2] / own[:, 0, 0], rtol=1e-5)
    assert np.allclose(bodies.shape[:, :10], net.session.said["shapes"])


@pytest.mark.parametrize(("kind", "shapes"), [("OSX", {(3, 512, 384)}), ("DaNet", {(3, 224, 224)}), ("PyMAF-X", {(3, 224, 224), (2,)})])
def test_crops_go_in_a_few_at_a_time_in_the_order_of_people(kind, shapes):
    net = network(kind, 3, rows=2)
    ((_, bodies),) = OF[kind].see(net, [IMAGE], [CAMERA], [persons()])
    assert [len(next(iter(feeds.values()))) for feeds in net.session.shown] == [2, 1]
    assert {x.shape[1:] for x in net.session.shown[0].values()} == shapes
    assert tuple(net.session.shown[0]) == OF[kind].inputs
    assert np.allclose(bodies.shape[:, :10], net.session.said["shapes"])


@pytest.mark.parametrize("kind", ["OSX", "DaNet", "PyMAF-X"])
def test_where_nobody_is_nothing_runs(kind):
    net = network(kind, 1)
    told = OF[kind].see(net, [IMAGE, IMAGE], [CAMERA, CAMERA], [persons(0), persons(1)])
    assert [len(scores) for scores, _ in told] == [0, 1] and len(net.session.shown) == 1
    assert told[0][1].pose.shape == (0, net.body.num_joints, 3)


def test_hands_of_osx_count_from_the_mean_hand_and_those_of_pymaf_x_do_not():
    plain, mean = random_body("smplx"), random_body("smplx").hands["left_hand"].mean
    for kind, joints, expected in (("OSX", slice(22, 37), mean), ("PyMAF-X", slice(25, 40), 0 * mean)):
        net = network(kind, 1, plain)
        ((_, bodies),) = OF[kind].see(net, [IMAGE], [CAMERA], [persons(1)])
        said = rotation_vectors(net.session.said["rotations"].astype(np.float64))[0, joints]
        assert np.allclose(bodies.pose[0, 25:40].ravel() - said.ravel(), expected, atol=1e-3), kind


def test_pymaf_x_is_told_which_hands_are_seen():
    people = persons(2)
    people.confidence[1, 91:112] = 0
    net = network("PyMAF-X", 2)
    OF["PyMAF-X"].see(net, [IMAGE], [CAMERA], [people])
    assert net.session.shown[0]["seen"].tolist() == [[1, 1], [0, 1]]


def test_rows_that_are_no_bodies_are_left_out():
    net = network("DaNet", 3)
    net.session.said["translations"][0, 2] = -1
    net.session.said["rotations"][2, 5] = np.nan
    ((scores, bodies),) = OF["DaNet"].see(net, [IMAGE], [CAMERA], [persons()])
    assert scores.tolist() == [np.float32(0.8)] and len(bodies) == 1
    net = network("OSX", 2, shapes=np.full((2, 10), np.nan))
    ((scores, bodies),) = OF["OSX"].see(net, [IMAGE], [CAMERA], [persons(2)])
    assert len(scores) == 0 and bodies.pose.shape == (0, 55, 3)


def test_aios_gives_the_sure_ones_of_each_picture_the_best_first():
    said = {"scores": [[0.2, 0.9, 0.5], [0.1, 0.0, 0.2]]}
    plain = network("AiOS", 6).session.said
    changes = {name: values.reshape(2, 3, *values.shape[1:]) for name, values in plain.items()}
    net = network("AiOS", 2, size=(80, 48), **changes, **said)
    upright = np.zeros((200, 100, 3), np.uint8)
    (scores, bodies), (none, _) = OF["AiOS"].see(net, [IMAGE, upright], [CAMERA, CAMERA], [])
    assert np.allclose(scores, [0.9, 0.5]) and len(none) == 0
    assert np.allclose(bodies.shape[:, :10], changes["shapes"][0, [1, 2]])
    (feeds,) = net.session.shown
    assert feeds["image"].shape == (2, 3, 48, 80) and np.allclose(feeds["extent"] * [80, 48], [[64, 48], [24, 48]])
    own = aios.own_cameras(aios.batch([IMAGE], 48, 80, (80, 48)), np.array([[320, 240]]))[0]
    assert np.allclose(seen(bodies.translation, CAMERA), seen(changes["translations"][0, [1, 2]], own), atol=0.01)


def test_a_canvas_makes_pictures_fit_that_the_rule_makes_larger():
    assert aios.batch([np.zeros((200, 100, 3), np.uint8)], 48, 80).sizes.tolist() == [[40, 80]]
    assert aios.batch([np.zeros((200, 100, 3), np.uint8)], 48, 80, (80, 48)).sizes.tolist() == [[24, 48]]
    assert aios.batch([], 48, 80, (80, 48)).pixels.shape == (0, 3, 48, 80)


def test_kinds_are_told_by_their_ports():
    def told(inputs, outputs):
        graph = Ports(*(tuple(Port(name, (), "") for name in names) for names in (inputs, outputs)))
        return next((kind.name for kind in KINDS if kind.is_of(graph)), "")

    posed = ["rotations", "shapes", "translations"]
    assert told(["image"], posed) == "DaNet" and told(["image"], [*posed, "expressions", "places"]) == "OSX"
    assert told(["image", "extent"], [*posed, "scores"]) == "AiOS" and told(["image"], ["boxes", "scores"]) == ""


def test_answers_that_do_not_fit_are_refused():
    net = network("DaNet", 1)
    with pytest.raises(WeightsError, match="export"):
        OF["DaNet"].see(net, [IMAGE], [CAMERA], [persons()])
