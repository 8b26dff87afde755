"""The kinds of networks for meshes: how each is shown pictures, and what it says of the people in them.

A kind is told by the names of its graph's inputs and outputs. Multi-HMR and AiOS see whole pictures and find the people themselves. OSX
and DaNet see crops around people's boxes, PyMAF-X crops of body, hands and face around their keypoints: somebody has to find these first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.pose import default_parameters
from vitruvian.codecs import aios, danet, osx, pymaf_x
from vitruvian.codecs.contain import contain
from vitruvian.codecs.mesh import OUTPUTS, camera_code, decode, decode_in_own_camera
from vitruvian.codecs.normalise import normalise
from vitruvian.errors import WeightsError
from vitruvian.weights import Card
from vitruvian.weights.graph import Ports, ports

Image = UInt8[np.ndarray, "_ _ 3"]
Camera = Float[np.ndarray, "3 3"]
Told = tuple[Float[np.ndarray, " n"], BodyParameters]
"""Scores and bodies of one picture's people, in the camera of the picture."""

MOST = 50
"""People of a picture that AiOS gives at most, as published."""


@dataclass(frozen=True, eq=False)
class Persons:
    """The people of one picture as others found them: boxes (xyxy) and scores; the 133 keypoints and their confidence where asked for."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n 133 2"] | None = None
    confidence: Float[np.ndarray, "n 133"] | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """An open graph, and the body that it poses. threshold: least score of who counts. rows: how many go in at once."""

    card: Card
    session: object
    body: BodyModel
    threshold: float
    rows: int

    def run(self, feeds: Mapping[str, Float[np.ndarray, "n ..."]]) -> dict[str, Float[np.ndarray, "n ..."]]:
        """All outputs by name, for one row or more. Raises WeightsError where the graph doesn't take these."""
        names = [port.name for port in ports(self.session).outputs]
        count = len(next(iter(feeds.values())))
        try:
            parts = [
                self.session.run(None, {name: np.ascontiguousarray(x[start : start + self.rows], np.float32) for name, x in feeds.items()})
                for start in range(0, count, self.rows)
            ]
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            shapes = [x.shape for x in feeds.values()]
            raise WeightsError(f"{self.card.file} can't run on pictures {shapes}: check its card ({error}).") from error
        return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}


def see_multi_hmr(network: Network, images: Sequence[Image], cameras: Sequence[Camera], _: Sequence[Persons]) -> list[Told]:
    """Squares, and codes of their cameras."""
    card, size = network.card, network.card.input_size[0]
    squares, places = zip(*(contain(image, size) for image in images), strict=True)
    inside = np.stack([place.intrinsics(camera) for place, camera in zip(places, cameras, strict=True)])
    batch = normalise(np.stack(squares), card.mean, card.std, card.channel_order)
    answers = network.run({"image": batch, "camera": camera_code(inside, size)})
    return [decode(_row(answers, row), network.body, network.threshold) for row in range(len(images))]


def see_aios(network: Network, images: Sequence[Image], cameras: Sequence[Camera], _: Sequence[Persons]) -> list[Told]:
    """Pictures in a canvas, and how much of it they fill."""
    canvas = network.card.input_size
    batch = aios.batch(images, min(canvas), max(canvas), canvas)
    own = aios.own_cameras(batch, np.array([image.shape[1::-1] for image in images], np.int64))
    answers = network.run({"image": batch.pixels, "extent": batch.sizes / np.array(canvas)})
    told = []
    for row, camera in enumerate(cameras):
        one = _row(answers, row)
        best = np.argsort(-one["scores"], kind="stable")[:MOST]
        best = best[one["scores"][best] >= network.threshold]
        rows = {name: values[best] for name, values in one.items()}
        told.append(decode_in_own_camera(rows, network.body, rows["scores"], own[row][None], camera))
    return told


def see_osx(network: Network, images: Sequence[Image], cameras: Sequence[Camera], persons: Sequence[Persons]) -> list[Told]:
    """Crops around boxes; its hands count from the body's mean hand."""

    def one(image: Image, people: Persons) -> _Crops:
        boxes, kept = osx.person_boxes(people.boxes, image.shape[1::-1])
        return {"image": osx.crop(image, boxes)}, osx.intrinsics(boxes), people.scores[kept]

    return _of_crops(network, images, cameras, persons, one, hand_mean=True)


def see_danet(network: Network, images: Sequence[Image], cameras: Sequence[Camera], persons: Sequence[Persons]) -> list[Told]:
    """Crops around boxes."""

    def one(image: Image, people: Persons) -> _Crops:
        crops, own = danet.crop(image, people.boxes)
        return {"image": crops}, own, people.scores

    return _of_crops(network, images, cameras, persons, one)


def see_pymaf_x(network: Network, images: Sequence[Image], cameras: Sequence[Camera], persons: Sequence[Persons]) -> list[Told]:
    """Crops around keypoints, and which hands these show."""

    def one(image: Image, people: Persons) -> _Crops:
        squares = pymaf_x.part_squares(people.keypoints, people.confidence)
        crops = pymaf_x.crop(image, squares)
        return {**vars(crops), "seen": squares.seen}, pymaf_x.intrinsics(squares.body), people.scores[squares.people]

    return _of_crops(network, images, cameras, persons, one)


_Crops = tuple[dict[str, np.ndarray], Float[np.ndarray, "n 3 3"], Float[np.ndarray, " n"]]
"""What the graph is shown of one picture's people, the cameras that it takes for granted, and the people's scores."""


def _of_crops(
    network: Network,
    images: Sequence[Image],
    cameras: Sequence[Camera],
    persons: Sequence[Persons],
    crops: Callable[[Image, Persons], _Crops],
    hand_mean: bool = False,
) -> list[Told]:
    """Picture by picture, so that the crops of one are in memory; where nobody is, nothing runs."""
    told = []
    for image, camera, people in zip(images, cameras, persons, strict=True):
        feeds, own, scores = crops(image, people)
        if len(scores):
            told.append(decode_in_own_camera(network.run(feeds), network.body, scores, own, camera, hand_mean))
        else:
            told.append((np.zeros(0, np.float32), default_parameters(network.body, 0)))
    return told


def _row(answers: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: array[row] for name, array in answers.items()}


@dataclass(frozen=True)
class Kind:
    """A kind of networks: its inputs in order, some of its outputs, what it must know of people beforehand, and how it sees them."""

    name: str
    inputs: tuple[str, ...]
    outputs: frozenset[str]
    needs: Literal["nothing", "boxes", "keypoints"]
    see: Callable[[Network, Sequence[Image], Sequence[Camera], Sequence[Persons]], list[Told]]

    def is_of(self, graph: Ports) -> bool:
        """Whether a graph is of this kind."""
        return tuple(port.name for port in graph.inputs) == self.inputs and self.outputs <= {port.name for port in graph.outputs}


_POSED = frozenset(("rotations", "shapes", "translations"))
KINDS = (
    Kind("Multi-HMR", ("image", "camera"), frozenset(OUTPUTS), "nothing", see_multi_hmr),
    Kind("AiOS", ("image", "extent"), _POSED | {"scores"}, "nothing", see_aios),
    Kind("OSX", ("image",), _POSED | {"expressions", "places"}, "boxes", see_osx),
    Kind("DaNet", ("image",), _POSED, "boxes", see_danet),
    Kind("PyMAF-X", ("body", "left_hand", "right_hand", "face", "seen"), _POSED | {"expressions"}, "keypoints", see_pymaf_x),
)
"""The first that a graph is of, counts."""
