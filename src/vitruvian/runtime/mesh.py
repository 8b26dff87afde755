"""From whole pictures to everybody's body in metres: a network for meshes, its body layer in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.body.library import load_body
from vitruvian.body.model import BodyModel
from vitruvian.body.regressors import point_regressor
from vitruvian.codecs.contain import Placement, contain
from vitruvian.codecs.mesh import FOV, OUTPUTS, SeenBodies, camera_code, decode, seen_bodies
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.geometry.camera import pinhole
from vitruvian.runtime.session import Device, open_session
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.weights import Card, card_for
from vitruvian.weights.graph import ports


class MeshEstimator:
    """A network for meshes (Multi-HMR): pictures, and their cameras if known -> everybody's body, score, box and 133 points.

    `network` is a card, the id of a network, or the path of an ONNX file with its card. `body`: the body model in place of the one that
    the card names (a name or path as for `load_body`); SMPL-X is the user's own file. `score_threshold` is in [0, 1].
    Raises WeightsError where the network is missing or no such network, FormatError where the body model is not there.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        body: str | Path | None = None,
        score_threshold: float = 0.3,
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "mesh":
            raise WeightsError(f"{self.card.id!r} finds no meshes: it is for {self.card.task}. Use another network (Multi-HMR).")
        if len(set(self.card.input_size)) != 1:
            raise WeightsError(
                f"{self.card.id!r} takes pictures of {self.card.input_size}, and networks for meshes take squares: check its card"
            )
        self.score_threshold, self.max_batch = score_threshold, max_batch
        self._session = _session(self.card.file, device, threads)
        self.body: BodyModel = _body(self.card.body if body is None else body)
        self.points = point_regressor(self.body, COCO_WHOLEBODY_133)

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], cameras: Sequence[Float[np.ndarray, "3 3"] | None] | None = None
    ) -> list[SeenBodies]:
        """Per picture (RGB, any sizes) its people, best first.

        cameras: matrices in pixels of the pictures (pixel centres are whole numbers); where there is none, a field of view of 60 degrees
        across the picture's longer side is assumed, and metres are as uncertain as that. An empty list gives an empty
        list. Raises VitruvianError on arrays that are no pictures, and on cameras that are none.
        """
        cameras = [None] * len(images) if cameras is None else cameras
        if len(cameras) != len(images):
            raise VitruvianError(f"{len(cameras)} cameras for {len(images)} pictures: give one for each, or none")
        for image in images:
            require_rgb(image)
        known = [
            pinhole((image.shape[1], image.shape[0]), FOV) if camera is None else np.asarray(camera, np.float64)
            for image, camera in zip(images, cameras, strict=True)
        ]
        out: list[SeenBodies] = []
        for start in range(0, len(images), self.max_batch):
            chunk, matrices = images[start : start + self.max_batch], known[start : start + self.max_batch]
            squares, places = zip(*(contain(image, self.card.input_size[0]) for image in chunk), strict=True)
            answers = self._run(np.stack(squares), places, matrices)
            for row, (image, matrix) in enumerate(zip(chunk, matrices, strict=True)):
                scores, bodies = decode({name: array[row] for name, array in answers.items()}, self.body, self.score_threshold)
                out.append(seen_bodies(scores, bodies, self.body, self.points, matrix, (image.shape[1], image.shape[0])))
        return out

    def _run(
        self, squares: UInt8[np.ndarray, "b s s 3"], places: Sequence[Placement], matrices: Sequence[Float[np.ndarray, "3 3"]]
    ) -> dict[str, np.ndarray]:
        """The network's outputs by name, for one batch."""
        inside = np.stack([place.intrinsics(matrix) for place, matrix in zip(places, matrices, strict=True)])
        batch = normalise(squares, self.card.mean, self.card.std, self.card.channel_order)
        names = [port.name for port in ports(self._session).outputs]
        try:
            answers = self._session.run(None, {"image": batch, "camera": camera_code(inside, squares.shape[1])})
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise WeightsError(f"{self.card.file} can't run on pictures {batch.shape}: check its card ({error}).") from error
        return dict(zip(names, answers, strict=True))


def _body(name: str | Path) -> BodyModel:
    """The body model; Anny's rig of Multi-HMR's second generation is made by its package at the first use."""
    if name == "anny-makehuman":
        from vitruvian.body.anny import load_anny

        return load_anny(rig="makehuman")
    return load_body(name)


def _session(path: str | Path, device: Device, threads: int | None):
    """A session with inputs "image" and "camera". WeightsError for other graphs, MissingExtraError without CUDA where that is asked for."""
    session = open_session(path, device, threads)
    found = ports(session)
    given = {port.name for port in found.outputs}
    if [port.name for port in found.inputs] != ["image", "camera"] or not set(OUTPUTS) <= given:
        raise WeightsError(
            f"{path} takes {[p.name for p in found.inputs]} and gives {sorted(given)}, not what a network for meshes does: export it again"
        )
    return session
