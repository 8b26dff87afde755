"""Take and People: the columnar result of a capture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian._version import __version__
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton

PARTS = ("head", "face", "left_hand", "right_hand", "left_foot", "right_foot")
"""The parts of a person that may have boxes of their own, in the order of `People.part_boxes`."""

Space = Literal["", "camera", "world"]
"""Where points and bodies are: nowhere known; in the camera's frame (x right, y down, z forward); in the world (y up). Metres."""

FovSource = Literal["", "given", "exif", "estimated", "assumed"]
"""Who said how wide the camera saw: nobody; the user; the photographs' EXIF (their median); the people in the film, by how they stand and
walk; or nobody, and the usual is taken."""

Spec = tuple[str, tuple[int | str, ...]]
"""A column's dtype and its shape after the rows; "k" is the number of keypoints, another letter any number."""

PEOPLE_COLUMNS: Mapping[str, Spec] = {
    "frame": ("<i4", ()),
    "track": ("<i4", ()),
    "boxes": ("<f4", (4,)),
    "scores": ("<f4", ()),
    "keypoints": ("<f4", ("k", 2)),
    "confidence": ("<f4", ("k",)),
}
OPTIONAL_COLUMNS: Mapping[str, Spec] = {
    "points": ("<f4", ("k", 3)),
    "second": ("<f4", ("k", 3)),
    "orientation": ("<f4", ()),
    "part_boxes": ("<f4", (len(PARTS), 4)),
    "body_pose": ("<f4", ("j", 3)),
    "body_shape": ("<f4", ("s",)),
    "body_expression": ("<f4", ("e",)),
    "body_translation": ("<f4", (3,)),
}
"""Columns that are None until something fills them; where a row has no value they hold NaN."""

FRAME_COLUMNS: Mapping[str, Spec] = {"times": ("<f8", ()), "sizes": ("<i4", (2,))}


def _frozen(values: object, dtype: str, tail: tuple[int | str, ...], name: str) -> np.ndarray:
    """A read-only view (a copy only if dtype or layout ask for one) of `values`, whose shape must be (rows, *tail)."""
    array = np.ascontiguousarray(values, dtype=dtype).view()
    fits = array.ndim == 1 + len(tail) and all(isinstance(t, str) or t == s for t, s in zip(tail, array.shape[1:], strict=False))
    if not fits:
        raise VitruvianError(f"{name} needs the shape {('rows', *tail)}, got {array.shape}; reshape it")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class People:
    """N rows, each one person in one frame, as parallel read-only arrays.

    frame: (N,) int32, index into the take's times. track: (N,) int32 person id that lasts over frames, -1 where not tracked.
    boxes: (N, 4) float32 xyxy pixels. scores: (N,) float32, the detection's confidence.
    keypoints: (N, K, 2) float32 pixels, NaN where missing. confidence: (N, K) float32 in [0, 1].

    What only some captures find is None where nothing looked for it, and NaN where a row has none:
    points: (N, K, 3) the keypoints in metres, in the frame that the take's `space` names. second: (N, K, 3) where each keypoint may be
    instead: pixels, and the chance of that place; only while nobody has chosen (`people.choose`). orientation: (N,) heading of the body in
    radians as in MEBOW: 0 facing away from the camera, growing anticlockwise seen from above.
    part_boxes: (N, 6, 4) xyxy pixels in the order of `PARTS`. body_pose (N, J, 3) rotation vectors, body_shape (N, S),
    body_expression (N, E) and body_translation (N, 3) metres are parameters of the body model that the take names.
    Values of other types are converted. Raises VitruvianError where shapes don't fit each other.
    """

    frame: Int[np.ndarray, " n"]
    track: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n k 2"]
    confidence: Float[np.ndarray, "n k"]
    points: Float[np.ndarray, "n k 3"] | None = None
    second: Float[np.ndarray, "n k 3"] | None = None
    orientation: Float[np.ndarray, " n"] | None = None
    part_boxes: Float[np.ndarray, "n 6 4"] | None = None
    body_pose: Float[np.ndarray, "n j 3"] | None = None
    body_shape: Float[np.ndarray, "n s"] | None = None
    body_expression: Float[np.ndarray, "n e"] | None = None
    body_translation: Float[np.ndarray, "n 3"] | None = None

    def __post_init__(self) -> None:
        for name, (dtype, tail) in (PEOPLE_COLUMNS | OPTIONAL_COLUMNS).items():
            if name in PEOPLE_COLUMNS or getattr(self, name) is not None:
                object.__setattr__(self, name, _frozen(getattr(self, name), dtype, tail, f"People.{name}"))
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise VitruvianError(f"the columns of People differ in length: {lengths}; give one row per person and frame")
        if self.keypoints.shape[:2] != self.confidence.shape:
            raise VitruvianError(f"keypoints {self.keypoints.shape} and confidence {self.confidence.shape} differ in their points")
        if self.points is not None and self.points.shape[:2] != self.confidence.shape:
            raise VitruvianError(f"points {self.points.shape} and confidence {self.confidence.shape} differ in their points")
        if self.second is not None and self.second.shape[:2] != self.confidence.shape:
            raise VitruvianError(f"second places {self.second.shape} and confidence {self.confidence.shape} differ in their points")

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, without those that are None."""
        found = {name: getattr(self, name) for name in (*PEOPLE_COLUMNS, *OPTIONAL_COLUMNS)}
        return {name: column for name, column in found.items() if column is not None}

    @classmethod
    def empty(cls, k: int) -> People:
        """No people, with K = `k` keypoints."""
        return cls(*(np.zeros((0, *(k if t == "k" else t for t in tail)), dtype) for dtype, tail in PEOPLE_COLUMNS.values()))

    @classmethod
    def concatenate(cls, several: Sequence[People]) -> People:
        """The rows of all, in order; an optional column that only some have is NaN for the others.

        Raises VitruvianError for an empty list (K is unknown, see `empty`) or differing K.
        """
        if not several:
            raise VitruvianError("nothing to concatenate; use People.empty(k) for no people")
        if len({people.keypoints.shape[1] for people in several}) > 1:
            raise VitruvianError("these people have different keypoint sets; convert them to one first")
        columns = {name: np.concatenate([getattr(people, name) for people in several]) for name in PEOPLE_COLUMNS}
        for name in OPTIONAL_COLUMNS:
            shapes = {getattr(people, name).shape[1:] for people in several if getattr(people, name) is not None}
            if len(shapes) > 1:
                raise VitruvianError(f"these people have {name} of different shapes {sorted(shapes)}: they come from different body models")
            for shape in shapes:
                columns[name] = np.concatenate(
                    [np.full((len(p), *shape), np.nan, np.float32) if getattr(p, name) is None else getattr(p, name) for p in several]
                )
        return cls(**columns)

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.frame)

    def __getitem__(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"] | slice | Sequence[int]) -> People:
        """The chosen rows: a boolean mask, a slice, or an array of indices (an int alone is not a choice of rows)."""
        if isinstance(rows, (int, np.integer)):
            raise VitruvianError(f"people[{rows}] is not a choice of rows; use people[{rows}:{rows + 1}]")
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.intp) if rows.size == 0 and rows.dtype != bool else rows
        return People(**{name: column[rows] for name, column in self.columns().items()})

    def at(self, frame: int) -> People:
        """The people in one frame."""
        return self[self.frame == frame]

    def of(self, track: int) -> People:
        """The rows of one tracked person."""
        return self[self.track == track]


@dataclass(frozen=True, eq=False)
class Take:
    """What a capture found: people in frames, and where both came from.

    people: the rows. skeleton: their keypoint set. times: (F,) float64 seconds, one per frame.
    sizes: (F, 2) int32 (width, height) pixels, zero where unknown. names: one file name per frame (pictures), or a single one (video).
    source: what was asked for. cards: ids of the networks. version: of the package that made it.
    space: the frame of points and bodies. body: the body model that the body columns belong to, "" for none.
    fov: degrees that the camera of points and bodies sees across the picture's longer side, 0 where that is not known.
    fov_source: who says so. fov_spread: where it is "estimated", one standard deviation, degrees; else 0.
    complete: False where the capture was stopped early.
    Raises VitruvianError where these don't fit each other.
    """

    people: People
    skeleton: Skeleton
    times: Float[np.ndarray, " f"]
    sizes: Int[np.ndarray, "f 2"]
    names: tuple[str, ...] = ()
    source: str = ""
    cards: tuple[str, ...] = ()
    version: str = __version__
    complete: bool = True
    space: Space = ""
    body: str = ""
    fov: float = 0.0
    fov_source: FovSource = ""
    fov_spread: float = 0.0

    def __post_init__(self) -> None:
        for name, (dtype, tail) in FRAME_COLUMNS.items():
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype, tail, f"Take.{name}"))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "cards", tuple(self.cards))
        problem = _problem(self)
        if problem:
            raise VitruvianError(f"this take does not hold together: {problem}")

    @property
    def keypoints(self) -> Float[np.ndarray, "n k 2"]:
        """Keypoints of every row in pixels, NaN where missing."""
        return self.people.keypoints

    @property
    def confidence(self) -> Float[np.ndarray, "n k"]:
        """Confidence of every keypoint in [0, 1]."""
        return self.people.confidence

    @property
    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """Boxes of every row, xyxy pixels."""
        return self.people.boxes

    @property
    def tracks(self) -> Int[np.ndarray, " t"]:
        """The ids of the tracked persons, each once, ascending (without the -1 of rows that are not tracked)."""
        ids = np.unique(self.people.track)
        return ids[ids >= 0]

    def name_of(self, frame: int) -> str:
        """The file name that a frame comes from, empty where unknown."""
        if len(self.names) == len(self.times):
            return self.names[frame]
        return self.names[0] if self.names else ""

    def by_frame(self) -> Iterator[People]:
        """The people of each frame in turn, F times, empty ones included."""
        order = np.argsort(self.people.frame, kind="stable")
        bounds = np.searchsorted(self.people.frame[order], np.arange(len(self.times) + 1))
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            yield self.people[order[start:stop]]

    def subset(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"] | slice) -> Take:
        """The same take with only the chosen rows of people; the frames stay."""
        return replace(self, people=self.people[rows])

    def save(self, path: str | Path) -> None:
        """Write the take to `path` as one .npz, whole or not at all (`vitruvian.formats.npz.write_npz`)."""
        from vitruvian.formats.npz import write_npz

        write_npz(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Take:
        """Read a take file (`vitruvian.formats.npz.read_npz`). Raises FormatError where it is missing, damaged, or no take."""
        from vitruvian.formats.npz import read_npz

        return read_npz(path)

    def export(self, path: str | Path) -> None:
        """Write the take in the format that the suffix names, as .npz, .json, .csv, .trc, .bvh: see `vitruvian.formats.convert`.

        Raises FormatError for another suffix, where the format can't hold this take, or if the path can't be written.
        """
        from vitruvian.formats.convert import write

        write(self, path)


def _problem(take: Take) -> str | None:
    """The first contradiction in a take, in words, or None."""
    frames = len(take.times)
    if len(take.sizes) != frames:
        return f"{frames} times but {len(take.sizes)} sizes; give one of each per frame"
    if take.people.keypoints.shape[1] != len(take.skeleton):
        return f"{take.people.keypoints.shape[1]} keypoints where {take.skeleton.name} has {len(take.skeleton)}"
    if len(take.names) not in (0, 1, frames):
        return f"{len(take.names)} names for {frames} frames; give one per frame, or a single one"
    if len(take.people) and not (take.people.frame.min() >= 0 and take.people.frame.max() < frames):
        return f"people in frames outside 0..{frames - 1}"
    if not np.isfinite(take.times).all():
        return "a time is not a finite number of seconds"
    if (take.sizes < 0).any():
        return "a frame has a negative size"
    if take.space not in get_args(Space):
        return f"space {take.space!r} is none of {', '.join(map(repr, get_args(Space)))}"
    if not 0 <= take.fov < 180:
        return f"a field of view of {take.fov} degrees; give one between 0 and 180"
    if not 0 <= take.fov_spread < 180:
        return f"a spread of {take.fov_spread} degrees; give one between 0 and 180"
    if take.fov_source not in get_args(FovSource):
        return f"a field of view from {take.fov_source!r}; it is from one of {', '.join(map(repr, get_args(FovSource)))}"
    if take.people.points is not None and not take.space:
        return "it has points in metres, but does not say in which space: camera or world"
    return None
