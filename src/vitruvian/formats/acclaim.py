"""Acclaim's ASF (skeleton) and AMC (motion) files, as the CMU motion capture database has them; read only, as a `Bvh`.

A bone has a direction and a length in the axes of the world, axes of its own (`axis`, Euler angles C), and some degrees of freedom. Its
rotation is R_parent C M C^T with M = Rz Ry Rx of the angles present (order "rx ry rz": the first turns first, about fixed axes); it
carries the bone's far end, where its children begin. The root moves by TX TY TZ. [known; checked here on the pose of a real file]
Lengths stay in the file's unit, 1/LENGTH of an inch where the skeleton says `length LENGTH`: with CMU's 0.45 that is 0.0564 m [known].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.errors import FormatError
from vitruvian.formats.bvh import MAX_JOINTS, MAX_ROTATIONS, Bvh
from vitruvian.formats.euler import from_euler
from vitruvian.formats.text import MAX_BYTES, numbers, read_text

CMU_FPS = 120.0
INCH = 0.0254
_DOFS = ("rx", "ry", "rz", "tx", "ty", "tz", "l")


@dataclass
class _Bone:
    direction: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axes: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    dof: tuple[str, ...] = ()


@dataclass
class _Skeleton:
    """The root is the bone called "root"; parents come before children."""

    bones: dict[str, _Bone]
    parents: dict[str, str]
    in_degrees: bool
    metres_per_unit: float | None


def read_amc(path: str | Path, skeleton: str | Path | None = None, fps: float = CMU_FPS, max_bytes: int = MAX_BYTES) -> Bvh:
    """Read the motion in an .amc file, with the skeleton of an .asf file, as local rotations of joints.

    A joint stands where its bone begins, and bears the bone's name; end sites are the far ends of the last bones. `skeleton`: the .asf
    file; None takes the one beside the motion that has the same name up to the last "_" (CMU: 11.asf for 11_01.amc), or the same name.
    `fps`: frames per second, which the file does not say.
    Raises FormatError if a file is missing, too large, or not of this layout.
    """
    path = Path(path)
    asf = Path(skeleton) if skeleton is not None else _beside(path)
    body = _read_asf(asf, max_bytes)
    order = list(body.bones)
    parents = tuple(-1 if bone == "root" else order.index(body.parents[bone]) for bone in order)
    channels = _read_frames(path, body, max_bytes)
    frames = len(channels["root"])
    rotations = np.empty((frames, len(order), 3, 3))
    for j, bone in enumerate(order):
        turns = [n for n, dof in enumerate(body.bones[bone].dof) if dof in ("rx", "ry", "rz")]
        angles = channels[bone][:, turns]
        # The first axis turns first, about fixed axes: it is the rightmost factor.
        axes = "".join(body.bones[bone].dof[n][1].upper() for n in turns)[::-1]
        turned = from_euler(np.radians(angles[:, ::-1]) if body.in_degrees else angles[:, ::-1], axes)
        own = body.bones[bone].axes
        rotations[:, j] = own @ turned @ own.T
    root = body.bones["root"]
    moves = [n for n, dof in enumerate(root.dof) if dof[0] == "t"]
    translation = np.zeros((frames, 3))
    for n in moves:
        translation[:, "xyz".index(root.dof[n][1])] = channels["root"][:, n]
    reach = {bone: body.bones[bone].direction * body.bones[bone].length for bone in order}
    ends = [j for j, bone in enumerate(order) if bone not in body.parents.values()]
    if not (np.isfinite(fps) and fps > 0):
        raise FormatError(f"{fps} is no frame rate; give frames per second, such as 120")
    return Bvh(
        names=tuple(order),
        parents=parents,
        offsets=np.array([np.zeros(3) if bone == "root" else reach[body.parents[bone]] for bone in order]),
        rotations=rotations,
        translation=translation,
        frame_time=1 / fps,
        orders=("ZYX",) * len(order),
        ends=tuple(ends),
        end_offsets=np.array([reach[order[j]] for j in ends]).reshape(-1, 3),
        metres_per_unit=body.metres_per_unit,
    )


def _beside(path: Path) -> Path:
    for name in (path.stem, path.stem.rpartition("_")[0]):
        if name and (candidate := path.with_name(f"{name}.asf")).is_file():
            return candidate
    raise FormatError(f"{path} needs the .asf file of its skeleton, and none is beside it; pass skeleton=")


def _lines(path: Path, max_bytes: int) -> Iterator[list[str]]:
    """The words of each line that is neither empty nor a comment."""
    for line in read_text(path, max_bytes).splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            yield words


def _read_asf(path: Path, max_bytes: int) -> _Skeleton:
    sections: dict[str, list[list[str]]] = {}
    for words in _lines(path, max_bytes):
        if words[0].startswith(":"):
            current = sections.setdefault(words[0].lower(), [])
            current.append(words[1:])
        elif not sections:
            raise FormatError(f"{path} does not begin with a section; it is no ASF file")
        else:
            current.append(words)
    units = {words[0].lower(): words[1] for words in sections.get(":units", []) if len(words) > 1}
    in_degrees = not units.get("angle", "deg").lower().startswith("rad")
    (length,) = numbers([units.get("length", "nan")], f"{path}, length")
    metres_per_unit = INCH / float(length) if 1e-6 < length < 1e6 else None
    bones = {"root": _root(sections.get(":root", []), in_degrees, path)} | _bones(sections.get(":bonedata", []), in_degrees, path)
    parents: dict[str, str] = {}
    for words in sections.get(":hierarchy", []):
        if words and words[0] not in ("begin", "end"):
            parents |= {child: words[0] for child in words[1:]}
    ordered = _from_the_root(parents)
    if set(ordered) - set(bones) or len(ordered) < 2:
        raise FormatError(f"{path} has a hierarchy of bones that it does not describe, or none; the file is damaged")
    return _Skeleton({bone: bones[bone] for bone in ordered}, {bone: parents[bone] for bone in ordered[1:]}, in_degrees, metres_per_unit)


def _from_the_root(parents: dict[str, str]) -> list[str]:
    """The bones depth first; those that are not connected to the root, in circles for instance, are left out."""
    children: dict[str, list[str]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    ordered, waiting = [], ["root"]
    while waiting and len(ordered) < MAX_JOINTS:
        bone = waiting.pop()
        ordered.append(bone)
        waiting += [child for child in children.get(bone, [])[::-1] if child not in ordered]
    return ordered


def _root(lines: list[list[str]], in_degrees: bool, path: Path) -> _Bone:
    entries = {words[0].lower(): words[1:] for words in lines if words}
    order = tuple(word.lower() for word in entries.get("order", "tx ty tz rx ry rz".split()))
    _check_dof(order, path)
    angles = entries.get("orientation", ["0", "0", "0"])
    return _Bone(axes=_axes(angles, (entries.get("axis") or ["XYZ"])[0], in_degrees, path), dof=order)


def _bones(lines: list[list[str]], in_degrees: bool, path: Path) -> dict[str, _Bone]:
    bones: dict[str, _Bone] = {}
    bone = _Bone()
    for key, *words in filter(None, lines):
        if key == "begin":
            bone = _Bone()
        elif key == "name" and words:
            bones[words[0]] = bone
        elif key == "direction":
            bone.direction = _three(words, path)
            bone.direction = bone.direction / max(float(np.linalg.norm(bone.direction)), 1e-12)
        elif key == "length" and words:
            bone.length = float(numbers(words[:1], str(path))[0])
        elif key == "axis" and len(words) == 4:
            bone.axes = _axes(words[:3], words[3], in_degrees, path)
        elif key == "dof":
            bone.dof = tuple(word.lower() for word in words)
            _check_dof(bone.dof, path)
    return bones


def _check_dof(dof: tuple[str, ...], path: Path) -> None:
    if not set(dof) <= set(_DOFS) or len(set(dof)) != len(dof):
        raise FormatError(f"{path} has the degrees of freedom {' '.join(dof)[:60]!r}; known are {' '.join(_DOFS)}, each once")


def _axes(angles: list[str], order: str, in_degrees: bool, path: Path) -> Float[np.ndarray, "3 3"]:
    values, order = _three(angles, path), order.upper()
    if sorted(order) != ["X", "Y", "Z"]:
        raise FormatError(f"{path} has axes in the order {order[:20]!r}; it must name X, Y and Z")
    return from_euler((np.radians(values) if in_degrees else values)[::-1], order[::-1])


def _three(words: list[str], path: Path) -> Float[np.ndarray, " 3"]:
    values = numbers(words, str(path))
    if len(values) != 3 or np.isnan(values).any():
        raise FormatError(f"{path} has {' '.join(words)[:60]!r} where three numbers belong; the file is damaged")
    return values


def _read_frames(path: Path, body: _Skeleton, max_bytes: int) -> dict[str, Float[np.ndarray, "f d"]]:
    """Each bone's channels over all frames; zeros in frames that do not list it."""
    frames: list[dict[str, list[str]]] = []
    for words in _lines(path, max_bytes):
        if len(words) == 1 and words[0].isdecimal():
            frames.append({})
            if len(frames) * len(body.bones) > MAX_ROTATIONS:
                raise FormatError(f"{path} has too many frames to hold; cut the file")
        elif frames and words[0] in body.bones:
            frames[-1][words[0]] = words[1:]
        elif frames:
            raise FormatError(f"{path} moves {words[0][:40]!r}, a bone that its skeleton lacks; pass the .asf that belongs to it")
    channels = {}
    for name, bone in body.bones.items():
        rows = [frame.get(name, ["0"] * len(bone.dof)) for frame in frames]
        if any(len(row) != len(bone.dof) for row in rows):
            raise FormatError(
                f"{path} has a frame with other than {len(bone.dof)} numbers for {name}; it is cut short or of another skeleton"
            )
        values = numbers([cell for row in rows for cell in row], f"{path}, {name}").reshape(len(rows), len(bone.dof))
        if np.isnan(values).any():
            raise FormatError(f"{path} has NaN for {name}; the file is damaged")
        channels[name] = values
    return channels
