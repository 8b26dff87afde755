"""Training recipes: TOML files, parsed into frozen dataclasses. A misspelt key, a wrong type or an unknown choice is one line of error.

name = "dwpose-t"                      # of the run's folder
system = "rtmpose"                     # rtmpose, rtmw, rtmw3d, rmpg, synthpose, dsta, diffpose; bpjdet, jointbdoe, hsdb-instrument

[data]                                 # see Data
augmentation = "dwpose"
[[data.sources]]                       # several are mixed by weight
kind = "synth"

[[stages]]                             # one after the other, see Stage
name = "teacher"
variant = "l"
schedule = { steps = 20000 }           # see vitruvian.train.loop.Schedule
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vitruvian.data.judge_parts import PartKind
from vitruvian.data.readers import Kind as PoseKind
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import SYNTHPOSE_52, Skeleton, by_name
from vitruvian.systems.biomechanics.marker_points import MarkerPoints, read_points
from vitruvian.train.loop import Schedule

MAX_BYTES = 1 << 20
System = Literal[
    "rtmpose", "rtmw", "rtmw3d", "rmpg", "synthpose", "dsta", "diffpose", "bpjdet", "jointbdoe", "hsdb-instrument", "selfpose3d"
]
DrawnKind = Literal["figures", "synth", "crowds", "instruments"]
Kind = Literal[DrawnKind, PoseKind, PartKind, "hsdb-cholecystectomy", "hsdb-gastrectomy", "panoptic"]
CropAugmentation = Literal["rtmpose", "dwpose", "rtmw", "posetrack", "heatmap"]
SceneAugmentation = Literal["bpjdet", "jointbdoe", "scenes"]
Lesson = Literal["labels", "first", "second", "heatmaps", "roots", "poses"]
KEYPOINTS = {
    "rtmpose": "coco-wholebody-133",
    "rtmw": "coco-wholebody-133",
    "rtmw3d": "coco-wholebody-133",
    "rmpg": "coco-17",
    "synthpose": "synthpose-52",
    "dsta": "posetrack-17",
    "diffpose": "posetrack-17",
    "selfpose3d": "panoptic-15",
}
"""What pose networks learn unless a recipe says otherwise."""
POSES: tuple[Kind, ...] = tuple(dict.fromkeys(("coco-wholebody", *get_args(PoseKind), "figures", "synth")))
VIEWS: tuple[Kind, ...] = ("panoptic", "figures")
DETECTORS: Mapping[System, tuple[Kind, ...]] = {
    "bpjdet": (
        "crowdhuman", "crowdhuman-face", "citypersons-face", "citypersons-head", "bodyhands", "contacthands", "cocohumanparts", "crowds",
    ),
    "jointbdoe": ("mebow", "crowds"),
    "hsdb-instrument": ("hsdb-cholecystectomy", "hsdb-gastrectomy", "instruments"),
}  # fmt: skip
"""What pose networks, SelfPose3d and detectors learn from, the usual data set first."""


@dataclass(frozen=True)
class Source:
    """Where samples come from: DrawnKind is drawn, the others are read from the `folder` of an official data set.

    For "synth" and "crowds", `folder` is a store of label images ("" for one in the cache, made on first use).
    """

    kind: Kind
    folder: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Data:
    """What is trained on. `late` is the share of each stage, at its end, that uses the augmentation's calmer late stage.

    people, photographs: of "synth" and "crowds": how many label images to make, and a text file that names a background picture per line.
    takes: of "panoptic", a folder with SEQUENCE/CAMERA/take.npz whose keypoints are learnt from (`vitruvian.train.views3d`).
    hidden, ambiguous, labelled: of "figures", see `vitruvian.train.figures.Scene`. randomised: of "instruments", the share of pictures
    with any colours and backgrounds.
    """

    sources: tuple[Source, ...] = (Source("figures"),)
    augmentation: Literal["none", CropAugmentation, SceneAugmentation] = "none"
    late: float = 0.0
    workers: int = 1
    people: int = 2000
    photographs: str = ""
    hidden: float = 0.0
    ambiguous: float = 0.0
    labelled: float = 1.0
    takes: str = ""
    randomised: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One training run. lesson: "labels"; DWPose's "first" (labels and a teacher), or "second" (the teacher's head anew, no labels);
    SelfPose3d's "heatmaps", "roots" and "poses" (`vitruvian.train.selfpose3d`).

    teacher: the name of an earlier stage, or a checkpoint. start: weights to begin from, named in the same way, "" for random ones.
    coach: weight of the coarse heat-map losses that a SimCC network needs when it starts from nothing (recipes/wholebody-t.md), 0 for none.
    """

    name: str
    variant: str
    schedule: Schedule
    lesson: Lesson = "labels"
    teacher: str = ""
    start: str = ""
    coach: float = 0.0
    batch: int = 32


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    keypoints: name of the keypoint set that is learnt, or a file that declares one (`systems.biomechanics.marker_points`); "" for the
    system's own. Detectors have none.
    """

    name: str
    system: System
    stages: tuple[Stage, ...]
    data: Data = Data()
    keypoints: str = ""
    seed: int = 0

    @property
    def skeleton(self) -> Skeleton:
        """The keypoint set that is learnt. Raises VitruvianError for no such set, or a detector."""
        if self.system in DETECTORS:
            raise VitruvianError(f"{self.system} finds no keypoints: leave keypoints away")
        return self.points.skeleton if self.keypoints.endswith(".toml") else by_name(self.keypoints or KEYPOINTS[self.system])

    @property
    def points(self) -> MarkerPoints | None:
        """Where the set's points lie on a body, for labels from synthetic people; None where `synth` labels them as they are."""
        if self.keypoints.endswith(".toml"):
            return read_points(self.keypoints)
        return read_points() if self.skeleton is SYNTHPOSE_52 else None


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises FormatError where the file can't be read or does not say what a recipe must."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise FormatError(f"{path} is larger than {MAX_BYTES} bytes: it is no recipe")
        recipe = _value(Recipe, tomllib.loads(text.decode("utf-8")), "")
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path} is no TOML file: {error}; correct it") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    if problem := _problem(recipe):
        raise FormatError(f"{path}: {problem}")
    return recipe


def on_data(recipe: Recipe, folder: str | Path, kind: Kind | None = None) -> Recipe:
    """The same recipe on a data set in `folder`, by default the system's usual one; a name that ends with -synth loses that.

    Raises VitruvianError for a data set that the system can't learn from.
    """
    source = Source(kind or teachers_of(recipe.system)[0], str(folder))
    changed = replace(recipe, name=recipe.name.removesuffix("-synth"), data=replace(recipe.data, sources=(source,)))
    if problem := _problem(changed):
        raise VitruvianError(problem)
    return changed


def teachers_of(system: System) -> tuple[Kind, ...]:
    """The kinds of sources that a system can learn from, the usual data set first."""
    return VIEWS if system == "selfpose3d" else DETECTORS.get(system, POSES)


def on_keypoints(recipe: Recipe, keypoints: str) -> Recipe:
    """The same recipe for another keypoint set: its name, or a file that declares one. Raises VitruvianError for no such set."""
    changed = replace(recipe, keypoints=keypoints)
    _ = changed.skeleton
    return changed


def shortened(recipe: Recipe, steps: int | None = None, seconds: float | None = None) -> Recipe:
    """The same recipe with at most so many steps, or seconds of training, in each stage. Raises VitruvianError for none of either."""
    if steps is not None and steps < 1:
        raise VitruvianError(f"{steps} steps teach nothing: give 1 or more")
    if seconds is not None and not seconds > 0:
        raise VitruvianError(f"{seconds:g} seconds teach nothing: give more than 0")
    stages = []
    for stage in recipe.stages:
        schedule = stage.schedule
        if steps is not None:
            schedule = replace(schedule, steps=min(steps, schedule.steps))
        if seconds is not None:
            schedule = replace(schedule, seconds=min(seconds, schedule.seconds))
        stages.append(replace(stage, schedule=schedule))
    return replace(recipe, stages=tuple(stages))


def _problem(recipe: Recipe) -> str:
    """The first contradiction of a recipe, in words; "" for none."""
    names = [stage.name for stage in recipe.stages]
    if recipe.system not in DETECTORS or recipe.keypoints:
        try:
            _ = recipe.skeleton
        except VitruvianError as error:
            return str(error)
    if recipe.system == "rtmw3d" and recipe.skeleton.name != KEYPOINTS["rtmw3d"]:
        return "rtmw3d learns the depth of the 133 keypoints of COCO-WholeBody: leave keypoints away"
    if not names or len(set(names)) < len(names) or not all(name.replace("-", "").isalnum() for name in (*names, recipe.name)):
        return "a recipe needs stages with different names, of letters, digits and hyphens, as its own name"
    if not recipe.data.sources or any(source.weight <= 0 for source in recipe.data.sources):
        return "data needs sources with positive weights"
    kinds = teachers_of(recipe.system)
    for source in recipe.data.sources:
        if source.kind not in kinds:
            return f"{recipe.system} can't learn from {source.kind}: take {', '.join(kinds)}"
    if recipe.data.augmentation not in ("none", *get_args(SceneAugmentation if recipe.system in DETECTORS else CropAugmentation)):
        return f"the augmentation {recipe.data.augmentation!r} is not for {recipe.system}"
    for stage in recipe.stages:
        if (stage.lesson in ("heatmaps", "roots", "poses")) != (recipe.system == "selfpose3d"):
            return f"stage {stage.name!r}: heatmaps, roots and poses are the lessons of selfpose3d, and of it alone"
        if (stage.lesson in ("first", "second")) != bool(stage.teacher):
            return f"stage {stage.name!r}: a lesson from labels has no teacher, first and second need one"
        if stage.teacher and recipe.system not in ("rtmpose", "rtmw"):
            return f"stage {stage.name!r}: only rtmpose and rtmw can be taught by a teacher"
        if stage.batch < 1 or stage.schedule.steps < 0 or stage.schedule.warmup < 1:
            return f"stage {stage.name!r}: batch and warmup must be at least 1, steps at least 0"
    return ""


def _value(kind: Any, value: object, where: str) -> Any:
    """A TOML value as what a dataclass's annotation asks for."""
    origin, options = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _table(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise FormatError(f"{where} must be a list")
        return tuple(_value(options[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal:
        if value not in options:
            raise FormatError(f"{where} is {value!r}; choose one of {', '.join(map(repr, options))}")
        return value
    if origin in (Union, UnionType):
        kind = next(option for option in options if option is not type(None))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise FormatError(f"{where} must be of type {kind.__name__}, not {value!r}")
    return value


def _table(kind: type, table: object, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise FormatError(f"{where or 'a recipe'} must be a table")
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    dot = f"{where}." if where else ""
    for name in table:
        if name not in known:
            raise FormatError(f"{dot}{name} is not known; known are {', '.join(known)}")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise FormatError(f"{dot}{name} is missing")
    return kind(**{name: _value(hints[name], value, f"{dot}{name}") for name, value in table.items()})
