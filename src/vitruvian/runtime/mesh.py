"""From whole pictures to everybody's body in metres: a network for meshes, its body layer in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.body.library import load_body
from vitruvian.body.model import BodyModel
from vitruvian.body.regressors import point_regressor
from vitruvian.codecs.mesh import FOV, SeenBodies, checked_camera, seen_bodies
from vitruvian.codecs.normalise import require_rgb
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.geometry.camera import pinhole
from vitruvian.runtime.detector import Detector
from vitruvian.runtime.mesh_kinds import KINDS, Kind, Network, Persons
from vitruvian.runtime.pose import PoseEstimator
from vitruvian.runtime.session import Device, open_session
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.weights import Card, card_for
from vitruvian.weights.graph import Ports, ports


class MeshEstimator:
    """A network for meshes (Multi-HMR, AiOS, OSX, PyMAF-X, DaNet): pictures, and their cameras if known -> everybody's body.

    `network` is a card, the id of a network, or the path of an ONNX file with its card. `body`: the body model in place of the one that
    the card names (a name or path as for `load_body`); SMPL and SMPL-X are the user's own files. `score_threshold` is in [0, 1].
    `detector` and `pose`: networks that find the people whose crops OSX, DaNet and PyMAF-X are shown, and for PyMAF-X the 133 keypoints of
    their hands and faces; the others need none. `cards` are those of all networks that run.
    Raises WeightsError where a network is missing or no such network, FormatError where the body model is not there, VitruvianError for
    the compact body where the network was taught another.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        body: str | Path | None = None,
        detector: Card | str | Path = "person-parts-s",
        pose: Card | str | Path = "wholebody-s",
        score_threshold: float = 0.3,
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "mesh":
            raise WeightsError(f"{self.card.id!r} finds no meshes: it is for {self.card.task}. Use another network (Multi-HMR).")
        self.score_threshold, self.max_batch = score_threshold, max_batch
        session = open_session(self.card.file, device, threads)
        self.kind = _kind(self.card, ports(session))
        self._find = _finder(self.kind, detector, pose, score_threshold, device, threads)
        self.cards: tuple[Card, ...] = (self.card, *(one.card for one in self._find))
        self.body: BodyModel = _body(self.card.body if body is None else body)
        if self.body.kind == "anny-compact" and self.card.body != "compact":
            raise VitruvianError(
                f"{self.card.id} says rotations of {self.card.body}, which don't pose the compact body: that is for networks that were "
                "taught it (vitruvian export --body anny)"
            )
        self.points = point_regressor(self.body, COCO_WHOLEBODY_133)
        self._network = Network(self.card, session, self.body, score_threshold, max_batch)

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
            pinhole((image.shape[1], image.shape[0]), FOV) if camera is None else checked_camera(camera)
            for image, camera in zip(images, cameras, strict=True)
        ]
        out: list[SeenBodies] = []
        for start in range(0, len(images), self.max_batch):
            chunk, matrices = images[start : start + self.max_batch], known[start : start + self.max_batch]
            told = self.kind.see(self._network, chunk, matrices, self._persons(chunk))
            for (scores, bodies), image, matrix in zip(told, chunk, matrices, strict=True):
                out.append(seen_bodies(scores, bodies, self.body, self.points, matrix, (image.shape[1], image.shape[0])))
        return out

    def _persons(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Persons]:
        """What the kind of network must know of each picture's people."""
        if not self._find:
            return []
        detect, *pose = self._find
        found = detect(images)
        if not pose:
            return [Persons(one.boxes, one.scores) for one in found]
        poses = pose[0](images, [one.boxes for one in found])
        return [Persons(one.boxes, one.scores, *keypoints) for one, keypoints in zip(found, poses, strict=True)]


def _finder(
    kind: Kind, detector: Card | str | Path, pose: Card | str | Path, threshold: float, device: Device, threads: int | None
) -> tuple[Detector | PoseEstimator, ...]:
    """The networks that tell a kind what it must know of people. WeightsError where the pose network has other keypoints than the 133."""
    if kind.needs == "nothing":
        return ()
    find = Detector(detector, score_threshold=threshold, device=device, threads=threads)
    if kind.needs == "boxes":
        return (find,)
    estimate = PoseEstimator(pose, device=device, threads=threads)
    if estimate.card.keypoint_set is not COCO_WHOLEBODY_133:
        raise WeightsError(f"{kind.name} needs the 133 keypoints, {estimate.card.id!r} finds {estimate.card.skeleton}: take wholebody-s")
    return find, estimate


def _body(name: str | Path) -> BodyModel:
    """The body model; Anny's rig of Multi-HMR's second generation is made by its package at the first use."""
    if name == "anny-makehuman":
        from vitruvian.body.anny import load_anny

        return load_anny(rig="makehuman")
    return load_body(name)


def _kind(card: Card, graph: Ports) -> Kind:
    """Which kind of network for meshes a graph is. WeightsError where it is none, or takes pictures of another size than its card says."""
    kind = next((kind for kind in KINDS if kind.is_of(graph)), None)
    if kind is None:
        inputs, outputs = ([port.name for port in side] for side in (graph.inputs, graph.outputs))
        raise WeightsError(f"{card.file} takes {inputs} and gives {outputs}, not what a network for meshes does: export it again")
    taken = graph.inputs[0].shape[:1:-1]
    if taken != card.input_size:
        raise WeightsError(f"{card.file} takes pictures of {taken}, its card says {card.input_size} (width, height): correct the card")
    return kind
