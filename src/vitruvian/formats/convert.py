"""Any file to any other: which suffix is which format, who reads and writes it, and what each can hold.

    data = read("walk.json")                      # a Take; a Bvh, Trc or Mot where the file holds no keypoints
    write(data, "walk.csv")
    losses(data, "walk.trc")                      # ("pixels", "confidence", "boxes", ...)

`Take.export` and `vitruvian convert` call these. A JSON file is told by its content, a folder holds OpenPose files, pose
pictures, or meshes; an .npz is ours, or AMASS's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitruvian._files import read_json
from vitruvian._npy import NpzFile
from vitruvian.errors import FormatError
from vitruvian.formats.acclaim import CMU_FPS, read_amc
from vitruvian.formats.bvh import Bvh, end_positions, forward_kinematics, read_bvh, rescaled, write_bvh
from vitruvian.formats.coco import read_coco, read_wholebody_annotations, write_coco
from vitruvian.formats.coco_results import read_results, write_results
from vitruvian.formats.coco_wholebody import annotations_from_take, take_from_annotations, write_wholebody_annotations
from vitruvian.formats.controlnet import read_controlnet_json, write_controlnet, write_controlnet_json
from vitruvian.formats.mot import Mot, read_mot, write_mot
from vitruvian.formats.openpose import read_openpose, write_openpose, write_openpose_frame
from vitruvian.formats.persons import by_picture, is_of_pictures, over_time, person_path, person_rows, y_up_points
from vitruvian.formats.rerun import write_rerun
from vitruvian.formats.rig import CENTIMETRES, motion_from_points, take_from_motion
from vitruvian.formats.tables import read_csv, read_parquet, write_csv, write_parquet
from vitruvian.formats.trc import Trc, read_trc, take_from_markers, write_take_trc, write_trc
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton
from vitruvian.skeletons import convert as convert_points
from vitruvian.take import Take

MAX_JSON_BYTES = 2 << 30
Data = Take | Bvh | Trc | Mot
"""What a file can hold: people, or a motion, markers or a table that need not be of known keypoints."""


@dataclass(frozen=True)
class Options:
    """What some formats don't say, and some can't hold as it is.

    fps: frames per second of files without times (OpenPose, ControlNet's JSON, and AMC, whose custom is 120).
    size: (width, height) of frames that don't know theirs. skeleton: convert keypoints to this set.
    metres_per_pixel: export a take without 3D points to a 3D format, in the image plane. person: only the one with this track id.
    metres_per_unit: unit of BVH files, which do not say theirs.
    Raises FormatError where a number is not positive.
    """

    fps: float | None = None
    size: tuple[int, int] | None = None
    skeleton: Skeleton | None = None
    metres_per_pixel: float | None = None
    person: int | None = None
    metres_per_unit: float = CENTIMETRES

    def __post_init__(self) -> None:
        numbers = {"fps": self.fps, "metres_per_unit": self.metres_per_unit, "metres_per_pixel": self.metres_per_pixel}
        numbers |= dict(zip(("width", "height"), self.size, strict=True)) if self.size is not None else {}
        for name, number in numbers.items():
            if number is not None and not (np.isfinite(number) and number > 0):
                raise FormatError(f"{name} is {number}; give a positive number")


EVERYTHING = frozenset(
    ("pixels", "confidence", "boxes", "scores", "tracks", "times", "empty frames", "frame sizes", "frame names", "points", "orientation")
    + ("part boxes", "body parameters", "body model", "source and networks", "field of view", "gaps")
)
_SMPLERX_FILE = re.compile(r"\d+_\d+\.npz")
_OVER_TIME = ("trc", "bvh")  # formats of one person over time
_OnFrame = Callable[[int], None] | None


@dataclass(frozen=True)
class Format:
    """One format: its name, suffixes ("" for a folder), what of a take it holds, and who reads and writes it (None: nobody)."""

    name: str
    suffixes: tuple[str, ...]
    holds: frozenset[str]
    read: Callable[[Path, Options], Data] | None
    write: Callable[[Data, Path, Options, _OnFrame], list[Path]] | None


def read(path: str | Path, format: str | None = None, options: Options = Options()) -> Data:
    """Read a file or folder in the format called `format`; None tells it by the suffix, a JSON file by its content.

    Raises FormatError (MissingExtraError where a package lacks) if the format is not known or not read, or the file is not of it.
    """
    path = Path(path)
    chosen = format_called(format) if format is not None else _format_of_file(path)
    if chosen.read is None:
        raise FormatError(f"{path}: {chosen.name} is written, not read; give the take that it was made from, or capture the video")
    return chosen.read(path, options)


def write(data: Data, path: str | Path, format: str | None = None, options: Options = Options(), on_frame: _OnFrame = None) -> list[Path]:
    """Write what `read` gave, or a take, to `path` in the format called `format`, None: that of the suffix. Returns the files written.

    Formats of one person (TRC, BVH) give one file for each, NAME_person1.trc and so on, where there are several, and none for nobody;
    of pictures without ids one for each person in each, NAME_PICTURE.trc.
    on_frame: called with the number of frames done by what takes long (the pose video).
    Raises FormatError (MissingExtraError where a package lacks) if the format is not known, can't hold the data, or can't be written.
    """
    path = Path(path)
    chosen = format_called(format) if format is not None else format_of(path)
    if chosen.write is None:
        raise FormatError(f"{chosen.name} is read, not written; write .bvh")
    if isinstance(data, Take) and options.person is not None:
        data = data.subset(person_rows(data, options.person)[options.person])
    if isinstance(data, Take) and options.skeleton is not None:
        data = convert_take(data, options.skeleton)
    if isinstance(data, Take) and chosen.name in _OVER_TIME and is_of_pictures(data):
        return [file for part, target in by_picture(data, path) for file in chosen.write(part, target, options, on_frame)]
    return chosen.write(data, path, options, on_frame)


def losses(data: Data, path: str | Path, format: str | None = None) -> tuple[str, ...]:
    """What of `data` the format of `path` can't hold, in words; empty where all fits (up to rounding), and for what is drawn."""
    chosen = format_called(format) if format is not None else format_of(Path(path))
    if isinstance(data, Take):
        return tuple(name for name, there in _contents(data).items() if there and name not in chosen.holds)
    if isinstance(data, Bvh) and chosen.name != "bvh":
        return ("rotations",)
    return ()


def format_of(path: Path) -> Format:
    """The format that a suffix stands for; .json is ours in COCO style. Raises FormatError for folders and unknown suffixes."""
    suffix = path.suffix.lower()
    for candidate in FORMATS:
        if suffix and suffix in candidate.suffixes:
            return candidate
    if not suffix:
        raise FormatError(f"{path} has no suffix: name a file, or say for a folder which format (openpose, controlnet, obj or ply)")
    raise FormatError(f"no format goes by {suffix[:20]}; known are {', '.join(_suffixes())}")


def format_called(name: str) -> Format:
    """The format of this name. Raises FormatError if there is none."""
    for candidate in FORMATS:
        if candidate.name == name.lower():
            return candidate
    raise FormatError(f"no format {name[:40]!r}; choose one of {', '.join(candidate.name for candidate in FORMATS)}")


def convert_take(take: Take, skeleton: Skeleton) -> Take:
    """The take with its keypoints, and points, in another set; what that set has and this one can't give is missing (NaN)."""
    people = take.people
    flat = convert_points(people.keypoints, people.confidence, take.skeleton, skeleton)
    deep = None if people.points is None else convert_points(people.points, people.confidence, take.skeleton, skeleton).keypoints
    changed = replace(people, keypoints=flat.keypoints, confidence=flat.scores, points=deep)
    return replace(take, people=changed, skeleton=skeleton)


def motions_of(take: Take, options: Options = Options()) -> dict[int, Bvh]:
    """Each person's motion as a rig: {track id: motion}; persons never seen with a point are left out. See `motion_from_points`."""
    points = y_up_points(take, options.metres_per_pixel)
    motions = {}
    for track, rows in person_rows(take, options.person).items():
        over, span = over_time(points[rows], take.people.frame[rows])
        if len(over):
            motions[track] = motion_from_points(over, take.skeleton, take.times[span], options.metres_per_unit)
    return motions


def _contents(take: Take) -> dict[str, bool]:
    """Which of the things that a take can hold this one does."""
    people, frames = take.people, np.arange(len(take.times))
    located = people.keypoints if people.points is None else people.points
    seen = np.isfinite(located).all(axis=-1)
    return {
        "pixels": bool(np.isfinite(people.keypoints).any()),
        "confidence": bool(((people.confidence > 0) & (people.confidence < 1)).any()),
        "boxes": bool(people.boxes.any()),
        "scores": bool((people.scores != 1).any()),
        "tracks": bool((people.track >= 0).any()),
        "times": not np.array_equal(take.times, frames),
        "empty frames": bool(np.setdiff1d(frames, people.frame).size),
        "frame sizes": bool(take.sizes.any()),
        "frame names": any(take.names),
        "points": people.points is not None,
        "orientation": people.orientation is not None,
        "part boxes": people.part_boxes is not None,
        "body parameters": any(column.startswith("body_") for column in people.columns()),
        "body model": bool(take.body),
        "source and networks": bool(take.source or take.cards),
        "field of view": bool(take.fov),
        "gaps": bool((seen.any(axis=0) & ~seen.all(axis=0)).any()),
    }


def _format_of_file(path: Path) -> Format:
    if path.is_dir():
        if any(_SMPLERX_FILE.fullmatch(file.name) for file in path.iterdir()):
            return format_called("smplerx")
        if not any(path.glob("*_keypoints.json")):
            raise FormatError(f"{path} is a folder without OpenPose files (NAME_keypoints.json); give a file, or capture pictures")
        return format_called("openpose")
    if path.suffix.lower() == ".npz" and path.is_file():
        names = NpzFile(path)
        return format_called("amass" if "trans" in names and ("poses" in names or "pose_body" in names) else "take")
    if path.suffix.lower() != ".json":
        return format_of(path)
    document = read_json(path, MAX_JSON_BYTES)
    first = document[0] if isinstance(document, list) and document else document
    keys = set(first) if isinstance(first, dict) else set()
    if "annotations" in keys:
        annotations = first["annotations"]
        whole = isinstance(annotations, list) and annotations and isinstance(annotations[0], dict) and "face_kpts" in annotations[0]
        return format_called("coco-wholebody" if whole else "coco")
    if "canvas_width" in keys:
        return format_called("controlnet-json")
    if "people" in keys:
        return format_called("openpose")
    if isinstance(document, list) and (not document or "image_id" in keys):
        return format_called("coco-results")
    raise FormatError(f"{path} is no keypoint file of COCO, OpenPose or ControlNet; say which format it is in, or convert it elsewhere")


def _take_of(data: Data, options: Options, path: Path) -> Take:
    """The data as a take, in the set that the options ask for. Raises FormatError for a table."""
    if isinstance(data, Take):
        return data
    if isinstance(data, Mot):
        raise FormatError(f"{path} holds people, and a .mot or .sto table has none; convert it to .mot or .sto")
    take = take_from_motion(data, options.metres_per_unit) if isinstance(data, Bvh) else take_from_markers(data)
    return take if options.skeleton is None else convert_take(take, options.skeleton)


def _of_take(write_take: Callable[[Take, Path], None]) -> Callable[[Data, Path, Options, _OnFrame], list[Path]]:
    """A writer of a table's row from a function that writes a take to a path."""

    def write_it(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
        write_take(_take_of(data, options, path), path)
        return [path]

    return write_it


def _write_openpose(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    take = _take_of(data, options, path)
    if path.suffix.lower() != ".json":
        return write_openpose(take, path)
    if len(take.times) != 1:
        raise FormatError(f"{path} would hold one frame and this take has {len(take.times)}; give a folder")
    write_openpose_frame(take.people, take.skeleton, path)
    return [path]


def _write_controlnet_json(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    write_controlnet_json(_take_of(data, options, path), path, options.size)
    return [path]


def _read_amc(path: Path, options: Options) -> Bvh:
    if path.suffix.lower() == ".asf":
        raise FormatError(f"{path} is a skeleton without a motion; give the .amc file")
    return read_amc(path, fps=options.fps or CMU_FPS)


def _write_controlnet(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    return write_controlnet(_take_of(data, options, path), path, options.size, on_frame=on_frame)


def _write_bvh(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    if isinstance(data, Bvh):
        write_bvh(data if data.metres_per_unit is None else rescaled(data, options.metres_per_unit), path)
        return [path]
    motions = motions_of(_take_of(data, options, path), options)
    paths = [person_path(path, track, len(motions) > 1) for track in motions]
    for motion, target in zip(motions.values(), paths, strict=True):
        write_bvh(motion, target)
    return paths


def _write_amass(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    from vitruvian.formats.body_takes import write_amass_takes

    return write_amass_takes(_take_of(data, options, path), path)


def _write_body_bvh(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    from vitruvian.formats.body_takes import write_body_bvh

    return write_body_bvh(_take_of(data, options, path), path, options.metres_per_unit)


def _meshes(suffix: str) -> Callable[[Data, Path, Options, _OnFrame], list[Path]]:
    """A writer of a table's row for meshes of one kind of file."""

    def write_it(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
        from vitruvian.formats.body_takes import write_meshes

        return write_meshes(_take_of(data, options, path), path, suffix)

    return write_it


def _read_amass(path: Path, options: Options) -> Take:
    from vitruvian.formats.body_takes import read_amass_take

    return read_amass_take(path, options.fps)


def _read_smplerx(path: Path, options: Options) -> Take:
    from vitruvian.formats.body_takes import read_smplerx_take

    return read_smplerx_take(path, options.fps or 30.0)


def _write_glb(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    from vitruvian.body.library import load_body
    from vitruvian.formats.body_figure import take_figures
    from vitruvian.formats.gltf import write_gltf

    take = _take_of(data, options, path)
    if not take.body:
        raise FormatError(f"{path.name} holds bodies, and this take only keypoints; fit them (vitruvian.body.fit), or write .bvh or .trc")
    write_gltf(take_figures(take, load_body(take.body)), path)
    return [path]


def _write_trc(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    if isinstance(data, Bvh):
        data = markers_of(data, options.metres_per_unit)
    if isinstance(data, Trc):
        write_trc(data, path)
        return [path]
    return write_take_trc(_take_of(data, options, path), path, options.metres_per_pixel, options.person)


def _write_mot(data: Data, path: Path, options: Options, on_frame: _OnFrame) -> list[Path]:
    if not isinstance(data, Mot):
        raise FormatError(
            f"{path} is a table of joint angles, and these are positions; convert them to .trc for OpenSim's inverse kinematics"
        )
    write_mot(data, path)
    return [path]


def markers_of(motion: Bvh, metres_per_unit: float = CENTIMETRES) -> Trc:
    """The joints and end sites (JOINT_end, JOINT_end2 ...) of a motion as markers in metres; the unit is that of a motion without one."""
    names, ends = list(motion.names), []
    for joint in motion.ends:
        number = ends.count(joint) + 1
        names.append(f"{motion.names[joint]}_end{number if number > 1 else ''}")
        ends.append(joint)
    points = np.concatenate([forward_kinematics(motion)[0], end_positions(motion)], axis=1)
    return Trc(tuple(names), motion.times, points * (motion.metres_per_unit or metres_per_unit), 1 / motion.frame_time)


def _suffixes() -> Sequence[str]:
    return sorted({suffix for candidate in FORMATS for suffix in candidate.suffixes if suffix})


_PIXELS = frozenset(("pixels", "confidence"))
_NAMELESS = EVERYTHING - {"source and networks", "field of view", "body model"}
_BODIES = frozenset(("body parameters", "body model"))
# The first format with a suffix is the one that the suffix stands for.
FORMATS: tuple[Format, ...] = (
    Format("take", (".npz",), EVERYTHING, lambda path, options: Take.load(path), _of_take(Take.save)),
    Format("coco", (".json",), EVERYTHING, lambda path, options: read_coco(path), _of_take(write_coco)),
    Format("coco-results", (".json",), _PIXELS | {"scores", "gaps"}, lambda path, options: read_results(path), _of_take(write_results)),
    Format(
        "coco-wholebody",
        (".json",),
        frozenset(("pixels", "boxes", "frame sizes", "frame names", "gaps")),
        lambda path, options: take_from_annotations(read_wholebody_annotations(path), str(path)),
        _of_take(lambda take, path: write_wholebody_annotations(annotations_from_take(take), path)),
    ),
    Format(
        "openpose",
        (".json", ""),
        _PIXELS | {"tracks", "empty frames", "points", "gaps"},
        lambda path, options: read_openpose(path, options.fps or 30.0, options.size, skeleton=options.skeleton or COCO_WHOLEBODY_133),
        _write_openpose,
    ),
    Format(
        "controlnet-json",
        (".json",),
        _PIXELS | {"tracks", "empty frames", "frame sizes", "gaps"},
        lambda path, options: read_controlnet_json(path, options.fps or 30.0),
        _write_controlnet_json,
    ),
    Format("controlnet", (".mp4", ".png", ".jpg", ".jpeg", ".webp", ""), EVERYTHING, None, _write_controlnet),
    Format(
        "csv",
        (".csv",),
        _NAMELESS,
        lambda path, options: read_csv(path),
        _of_take(write_csv),
    ),
    Format("parquet", (".parquet",), EVERYTHING, lambda path, options: read_parquet(path), _of_take(write_parquet)),
    Format("trc", (".trc",), frozenset(("points", "times", "gaps")), lambda path, options: read_trc(path), _write_trc),
    Format("bvh", (".bvh",), frozenset(("points",)), lambda path, options: read_bvh(path), _write_bvh),
    Format("glb", (".glb",), _BODIES | {"times", "tracks"}, None, _write_glb),
    Format("body-bvh", (".bvh",), _BODIES | {"tracks"}, None, _write_body_bvh),
    Format("amass", (".npz",), _BODIES | {"times"}, _read_amass, _write_amass),
    Format("smplerx", ("",), _BODIES | {"times", "tracks", "empty frames", "gaps"}, _read_smplerx, None),
    Format("obj", (".obj", ""), _BODIES | {"tracks", "empty frames"}, None, _meshes(".obj")),
    Format("ply", (".ply", ""), _BODIES | {"tracks", "empty frames"}, None, _meshes(".ply")),
    Format("amc", (".amc", ".asf"), frozenset(), _read_amc, None),
    Format("mot", (".mot", ".sto"), frozenset(), lambda path, options: read_mot(path), _write_mot),
    Format("rerun", (".rrd",), _PIXELS | {"boxes", "tracks", "times", "empty frames", "points", "gaps"}, None, _of_take(write_rerun)),
)
"""Every format, in the order in which suffixes are looked up."""
