"""What a data set of meshes gives: pictures with cameras, each with people as parameters of a published body model, or as vertices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.pose import full_pose, split_pose
from vitruvian.errors import FormatError, VitruvianError


@dataclass(frozen=True, eq=False)
class BodyLabels:
    """N people of one picture.

    kind: smpl or smplx, the model that `parameters` pose (complete poses, rotation vectors; metres). genders: male, female or neutral.
    rotation (N, 3, 3), translation (N, 3): posed points x are at rotation x + translation in the camera's axes (x right, y down, z
    forward), metres; `in_camera` does it. hand_mean: the hands' rotations count from the model's mean hand. vertices: (N, V, 3) in the
    camera's axes where a set gives meshes and no parameters (then those have no rows' worth of meaning: zeros).
    keypoints: (N, K, 3) pixels and confidence in the set's own order, where it has some. Raises VitruvianError where sizes don't fit.
    """

    kind: str
    parameters: BodyParameters
    genders: tuple[str, ...]
    rotation: Float[np.ndarray, "n 3 3"]
    translation: Float[np.ndarray, "n 3"]
    hand_mean: bool = False
    vertices: Float[np.ndarray, "n v 3"] | None = None
    keypoints: Float[np.ndarray, "n k 3"] | None = None

    def __post_init__(self) -> None:
        n = len(self.parameters)
        optional = [len(values) for values in (self.vertices, self.keypoints) if values is not None]
        if np.shape(self.rotation) != (n, 3, 3) or np.shape(self.translation) != (n, 3) or {len(self.genders), *optional} - {n}:
            raise VitruvianError(
                f"labels of {n} bodies don't go with {len(self.genders)} genders or their placement: give one row per person"
            )

    def __len__(self) -> int:
        return len(self.parameters)


@dataclass(frozen=True, eq=False)
class BodyPicture:
    """One picture with its camera matrix (3, 3), pixels. size: (width, height), zeros where the labels don't tell; see `Picture`."""

    file: Path
    id: int
    size: tuple[int, int]
    camera: Float[np.ndarray, "3 3"]
    people: BodyLabels
    video: str = ""
    frame: int = -1


@dataclass(frozen=True, eq=False)
class BodyDataset:
    """Pictures with bodies. Each iteration reads the files anew; errors in them come up as FormatError. terms: what is allowed."""

    name: str
    terms: str
    read: Callable[[], Iterator[BodyPicture]]

    def __iter__(self) -> Iterator[BodyPicture]:
        return self.read()


def in_camera(labels: BodyLabels, models: Mapping[str, BodyModel]) -> tuple[Float[np.ndarray, "n v 3"], Float[np.ndarray, "n j 3"]]:
    """Vertices and joints of everybody in the camera's axes, metres, posed by the user's models (gender -> model).

    A gender without a model takes "neutral". Where the set gives vertices, these are returned, with no joints. Raises VitruvianError
    where no model fits.
    """
    if labels.vertices is not None:
        return labels.vertices, np.zeros((len(labels), 0, 3))
    vertices, joints = [], []
    for row, gender in enumerate(labels.genders):
        model = models.get(gender, models.get("neutral"))
        if model is None:
            raise VitruvianError(f"no body model for gender {gender!r}: give one for it, or for 'neutral'")
        one = labels.parameters[row : row + 1]
        pose = full_pose(model, **split_pose(model, one.pose), hand_mean=True) if labels.hand_mean else one.pose
        out = model.forward(pose, one.shape[:, : model.num_shape], one.expression[:, : model.num_expression], one.translation)
        place = labels.rotation[row], labels.translation[row]
        vertices.append(out.vertices[0] @ place[0].T + place[1])
        joints.append(out.joints[0] @ place[0].T + place[1])
    if not vertices:
        model = next(iter(models.values()), None)
        return np.zeros((0, model.num_vertices if model else 0, 3)), np.zeros((0, model.num_joints if model else 0, 3))
    return np.stack(vertices), np.stack(joints)


def plain_labels(
    kind: str, pose: np.ndarray, shape: np.ndarray, expression: np.ndarray, translation: np.ndarray, gender: str, **other: object
) -> BodyLabels:
    """Labels of bodies whose parameters are in the camera's axes already (or in those of `rotation` and `translation` in `other`)."""
    n = len(pose)
    place = {"rotation": np.tile(np.eye(3), (n, 1, 1)), "translation": np.zeros((n, 3))} | other.pop("place", {})
    return BodyLabels(kind, BodyParameters(pose, shape, expression, translation), (gender,) * n, **place, **other)


def numbers(value: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Foreign numbers as float64 of this shape (-1: any). Raises FormatError where they are none, or not finite."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{what} is not an array of numbers; get the file again") from error
    if array.ndim != len(shape) or any(b not in (-1, a) for a, b in zip(array.shape, shape, strict=True)) or not np.isfinite(array).all():
        raise FormatError(f"{what} has the shape {array.shape} or numbers that are not finite, not {shape}; get the file again")
    return array


def pinhole(focal: object, middle: object, what: str) -> Float[np.ndarray, "3 3"]:
    """A camera matrix from two focal lengths and a principal point. Raises FormatError where there is no such camera."""
    f, c = numbers(focal, (2,), f"{what}'s focal length"), numbers(middle, (2,), f"{what}'s principal point")
    if (f <= 0).any():
        raise FormatError(f"{what} has a focal length of {f.min()} pixels; get the file again")
    return np.array([[f[0], 0, c[0]], [0, f[1], c[1]], [0, 0, 1]])
