"""BVH, the animators' motion file: a tree of joints with offsets, then one row of channels per frame.

Any dialect is read: root and joints with any channels in any order, several roots, offsets anywhere, end sites, wrapped rows. Local
rotation = product of the axis rotations in channel order (motion-io card, section 4). Position channels replace the OFFSET on their
axes; the card says so of roots, here it holds for every joint, as exporters with six channels everywhere mean it. Rotations follow the
translation wherever they stand among the channels. The file has no units: a `Bvh` keeps the file's numbers, customarily centimetres,
y up. Written: root OFFSET 0 and six channels there, three elsewhere (six where a joint moves within its parent), degrees with six
decimals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.euler import from_euler, to_euler
from vitruvian.formats.text import MAX_BYTES, numbers, read_text

MAX_JOINTS = 4096  # a rig with hair and cloth has a few hundred
MAX_ROTATIONS = 1 << 25  # joints times frames; their matrices take 72 bytes each
_ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
_NUMBER = r"[-+.\w]+"
_HIERARCHY = re.compile(r"\s*HIERARCHY\b", re.IGNORECASE)
_STATEMENT = re.compile(
    rf"""\s*+(?:
    (?P<joint>ROOT|JOINT)[^\S\r\n]++(?P<name>[^{{\r\n]*+)\s*+\{{
    | (?P<end>End[^\S\r\n]*+Site)[^{{\r\n]*+\s*+\{{
    | OFFSET\s+(?P<offset>{_NUMBER}\s+{_NUMBER}\s+{_NUMBER})
    | CHANNELS\s+(?P<count>\d{{1,3}})(?P<channels>(?:\s+[XYZ](?:position|rotation))*+)
    | (?P<close>\}})
    | (?P<motion>MOTION\s+Frames\s*+:\s*+(?P<frames>\d{{1,9}})\s+Frame\s*+Time\s*+:\s*+(?P<time>{_NUMBER})))""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, eq=False)
class Bvh:
    """F frames of a tree of J joints; lengths in a unit of its own, that of its file.

    names, parents: J joints, parents before their children, -1 for a root. offsets: (J, 3) from the parent, at rest.
    rotations: (F, J, 3, 3) local rotation matrices. translation: (F, 3) position of the first root. frame_time: seconds per frame.
    orders: per joint the axes of its rotation channels, as "ZXY". ends: the joints of the end sites, end_offsets: (E, 3) of these.
    positions: (F, J, 3) local positions, where joints besides the first root have position channels; None for the usual file, where
    offsets and translation say it all. metres_per_unit: None where nobody said.
    Raises VitruvianError where these don't fit each other.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Float[np.ndarray, "j 3"]
    rotations: Float[np.ndarray, "f j 3 3"]
    translation: Float[np.ndarray, "f 3"]
    frame_time: float
    orders: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    end_offsets: Float[np.ndarray, "e 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    positions: Float[np.ndarray, "f j 3"] | None = None
    metres_per_unit: float | None = None

    def __post_init__(self) -> None:
        joints, frames = len(self.names), len(self.rotations)
        if not self.orders:
            object.__setattr__(self, "orders", ("ZXY",) * joints)
        shapes = {
            "offsets": (joints, 3),
            "rotations": (frames, joints, 3, 3),
            "translation": (frames, 3),
            "end_offsets": (len(self.ends), 3),
        } | ({} if self.positions is None else {"positions": (frames, joints, 3)})
        wrong = [
            f"{name} {np.shape(getattr(self, name))}, not {shape}"
            for name, shape in shapes.items()
            if np.shape(getattr(self, name)) != shape
        ]
        if not (joints == len(self.parents) == len(self.orders)) or joints == 0:
            wrong.append(f"{joints} names, {len(self.parents)} parents and {len(self.orders)} orders")
        elif not all(-1 <= parent < joint for joint, parent in enumerate(self.parents)) or not all(0 <= end < joints for end in self.ends):
            wrong.append("a joint comes before its parent, or an end site is on none")
        if not (np.isfinite(self.frame_time) and self.frame_time > 0):
            wrong.append(f"a frame time of {self.frame_time} s")
        if wrong:
            raise VitruvianError(f"this motion does not hold together: {'; '.join(wrong)}")

    def __len__(self) -> int:
        """The number of frames F."""
        return len(self.rotations)

    @property
    def times(self) -> Float[np.ndarray, " f"]:
        """Seconds of each frame from the first one."""
        return np.arange(len(self)) * self.frame_time

    def local_positions(self) -> Float[np.ndarray, "f j 3"]:
        """Each joint's position in its parent's frame: the positions that the file gives, else the offsets; the root's translation."""
        if self.positions is not None:
            return self.positions
        local = np.tile(self.offsets, (len(self), 1, 1))
        local[:, 0] = self.translation
        return local


def forward_kinematics(motion: Bvh) -> tuple[Float[np.ndarray, "f j 3"], Float[np.ndarray, "f j 3 3"]]:
    """Positions and orientations of all joints in the world: p = p_parent + R_parent local, R = R_parent R_local."""
    local = motion.local_positions()
    positions, orientations = np.empty_like(local), np.empty_like(motion.rotations)
    for joint, parent in enumerate(motion.parents):
        if parent < 0:
            positions[:, joint], orientations[:, joint] = local[:, joint], motion.rotations[:, joint]
        else:
            positions[:, joint] = positions[:, parent] + np.einsum("fij,fj->fi", orientations[:, parent], local[:, joint])
            orientations[:, joint] = orientations[:, parent] @ motion.rotations[:, joint]
    return positions, orientations


def end_positions(motion: Bvh) -> Float[np.ndarray, "f e 3"]:
    """Positions of the end sites in the world."""
    positions, orientations = forward_kinematics(motion)
    ends = list(motion.ends)
    return positions[:, ends] + np.einsum("feij,ej->fei", orientations[:, ends], motion.end_offsets)


def renamed(motion: Bvh, names: Mapping[str, str]) -> Bvh:
    """The same motion with other joint names, those that `names` does not list as they are (see `rig_names.MIXAMO_NAMES`)."""
    return replace(motion, names=tuple(names.get(name, name) for name in motion.names))


def rescaled(motion: Bvh, metres_per_unit: float) -> Bvh:
    """The same motion with lengths in another unit, of `metres_per_unit`. Raises FormatError for one whose unit is not known."""
    if motion.metres_per_unit is None:
        raise FormatError("the unit of this motion is not known, so it can't be rescaled; set its metres_per_unit")
    factor = motion.metres_per_unit / metres_per_unit
    return replace(
        motion,
        offsets=motion.offsets * factor,
        translation=motion.translation * factor,
        end_offsets=motion.end_offsets * factor,
        positions=None if motion.positions is None else motion.positions * factor,
        metres_per_unit=metres_per_unit,
    )


@dataclass
class _Tree:
    """The hierarchy as it is being read."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: dict[int, str] = field(default_factory=dict)
    channels: list[tuple[str, ...]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    end_offsets: list[str] = field(default_factory=list)


def read_bvh(path: str | Path, max_bytes: int = MAX_BYTES) -> Bvh:
    """Read a BVH file of any dialect. Names that occur twice are numbered.

    Raises FormatError if the file is missing, larger than `max_bytes`, not of this layout, or has not the frames that it promises.
    """
    path = Path(path)
    text = read_text(path, max_bytes)
    tree, frames, time, at = _read_hierarchy(text, path)
    counts = [len(channels) for channels in tree.channels]
    if frames * max(sum(counts), len(counts)) > 3 * MAX_ROTATIONS or frames * len(counts) > MAX_ROTATIONS:
        raise FormatError(f"{path} claims {frames} frames of {len(counts)} joints, too many to hold; cut the file")
    rows = _read_rows(text, at, path)
    if rows.size != frames * sum(counts):
        have = f"{rows.size / sum(counts):g} frames" if sum(counts) else f"{rows.size} numbers"
        raise FormatError(f"{path} promises {frames} frames and holds {have} of {sum(counts)} channels; it is cut short or damaged")
    rows = rows.reshape(frames, sum(counts))
    offsets = np.zeros((len(counts), 3))
    for joint, offset in tree.offsets.items():
        offsets[joint] = _three(offset, path)
    rotations, positions, orders = np.zeros((frames, len(counts), 3, 3)), np.tile(offsets, (frames, 1, 1)), []
    for joint, start in enumerate(np.cumsum([0, *counts[:-1]])):
        turns, axes = [], ""
        for n, channel in enumerate(tree.channels[joint]):
            if channel[1:] == "position":
                positions[:, joint, "XYZ".index(channel[0])] = rows[:, start + n]
            else:
                turns.append(rows[:, start + n])
                axes += channel[0]
        rotations[:, joint] = from_euler(np.radians(np.stack(turns, -1)) if turns else np.zeros((frames, 0)), axes)
        orders.append(axes)
    moving = any(channel.endswith("position") for channels in tree.channels[1:] for channel in channels)
    ends = np.array([_three(offset, path) for offset in tree.end_offsets]).reshape(-1, 3)
    return Bvh(
        names=_unique(tree.names),
        parents=tuple(tree.parents),
        offsets=offsets,
        rotations=rotations,
        translation=positions[:, 0].copy(),
        frame_time=time,
        orders=tuple(orders),
        ends=tuple(tree.ends),
        end_offsets=ends,
        positions=positions if moving else None,
    )


def write_bvh(motion: Bvh, path: str | Path) -> None:
    """Write a motion. Each joint keeps its order of rotation channels; fewer than three are filled up, so that any rotation fits.

    Raises FormatError if the file can't be written, or if a value is not finite (BVH has no gaps: fill them first).
    """
    local = motion.local_positions()
    finite = np.isfinite(motion.rotations).all() and np.isfinite(local).all() and np.isfinite(motion.offsets).all()
    if not (finite and np.isfinite(motion.end_offsets).all()):
        raise FormatError(f"a BVH file can't hold gaps, and this motion has some (NaN); fill them before writing {path}")
    orders = [_full_order(order) for order in motion.orders]
    moving = [
        parent < 0 or not np.array_equal(local[:, joint], np.broadcast_to(motion.offsets[joint], (len(motion), 3)))
        for joint, parent in enumerate(motion.parents)
    ]
    columns = []
    for joint, angles in enumerate(_angles(motion, orders)):
        columns += [local[:, joint], angles] if moving[joint] else [angles]
    rows = np.concatenate(columns, axis=-1)
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("HIERARCHY\n" + "\n".join(_hierarchy_lines(motion, orders, moving)))
        file.write(f"\nMOTION\nFrames: {len(motion)}\nFrame Time: {motion.frame_time:.9g}\n")
        for row in rows:
            file.write(" ".join(_decimal(value) for value in row.tolist()) + "\n")


def _angles(motion: Bvh, orders: Sequence[str]) -> list[Float[np.ndarray, "f 3"]]:
    """The joints' angles in degrees, all joints of one order at once."""
    angles: list[Float[np.ndarray, "f 3"]] = [np.zeros((0, 3))] * len(orders)
    for order in set(orders):
        joints = [joint for joint, other in enumerate(orders) if other == order]
        together = np.degrees(to_euler(motion.rotations[:, joints], order))
        for n, joint in enumerate(joints):
            angles[joint] = together[:, n]
    return angles


def _read_hierarchy(text: str, path: Path) -> tuple[_Tree, int, float, int]:
    """The tree, the number of frames, the frame time, and where the rows begin."""
    start = _HIERARCHY.match(text)
    if start is None:
        raise FormatError(f"{path} does not begin with HIERARCHY; it is no BVH file")
    tree, open_, at = _Tree(), [], start.end()  # open_: the joints around this place, innermost last; None for an end site
    while True:
        found = _STATEMENT.match(text, at)
        if found is None or not _grow(tree, open_, found, path):
            line = text.count("\n", 0, at) + 1
            raise FormatError(f"{path}, line {line}: {text[at : at + 40].strip()!r} does not belong there; the file is damaged")
        at = found.end()
        if found["motion"]:
            break
    if open_ or not tree.names:
        raise FormatError(f"{path} has a hierarchy that is not closed, or empty; the file is damaged")
    (time,) = numbers([found["time"]], str(path))
    if not 1e-6 <= time <= 1e6:
        raise FormatError(f"{path} has a frame time of {time} s; correct the line Frame Time")
    return tree, int(found["frames"]), float(time), at


def _grow(tree: _Tree, open_: list[int | None], found: re.Match[str], path: Path) -> bool:
    """Take one statement into the tree; False where it has no place there."""
    inside = open_[-1] if open_ else -1
    if found["joint"]:
        if inside is None or (found["joint"].upper() == "JOINT") != bool(open_):
            return False
        if len(tree.names) >= MAX_JOINTS:
            raise FormatError(f"{path} has more than {MAX_JOINTS} joints; it is no skeleton")
        tree.parents.append(inside)
        tree.names.append(found["name"].strip() or f"joint{len(tree.names)}")
        tree.channels.append(())
        open_.append(len(tree.names) - 1)
    elif found["end"]:
        if inside is None or not open_:
            return False
        tree.ends.append(inside)
        tree.end_offsets.append("0 0 0")
        open_.append(None)
    elif found["offset"]:
        if not open_:
            return False
        if inside is None:
            tree.end_offsets[-1] = found["offset"]
        else:
            tree.offsets[inside] = found["offset"]
    elif found["count"]:
        channels = tuple(channel[0].upper() + channel[1:].lower() for channel in found["channels"].split())
        if not open_ or inside is None or len(channels) != int(found["count"]) or len(channels) > 6:
            return False
        tree.channels[inside] = channels
    elif found["close"]:
        if not open_:
            return False
        open_.pop()
    return True


def _read_rows(text: str, at: int, path: Path) -> Float[np.ndarray, " n"]:
    """The numbers of all rows; line by line, as the cells of a long file take far more memory than its numbers."""
    arrays = [np.zeros(0)]
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        cells = text[at:end].split()
        if cells:
            arrays.append(numbers(cells, f"{path}, frame {len(arrays)}"))
        at = end + 1
    rows = np.concatenate(arrays)
    if np.isnan(rows).any():
        raise FormatError(f"{path} has frames with NaN in them; a motion has no gaps, the file is damaged")
    return rows


def _three(offset: str, path: Path) -> Float[np.ndarray, " 3"]:
    values = numbers(offset.split(), str(path))
    if np.isnan(values).any():
        raise FormatError(f"{path} has an OFFSET of NaN; the file is damaged")
    return values


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, the second one of a kind as NAME_2, and so on."""
    used: dict[str, int] = {}
    unique: list[str] = []
    taken = set(names)
    for name in names:
        count = used[name] = used.get(name, 0) + 1
        while count > 1 and f"{name}_{count}" in taken:
            count += 1
        unique.append(name if count == 1 else f"{name}_{count}")
        taken.add(unique[-1])
        used[name] = count
    return tuple(unique)


def _full_order(order: str) -> str:
    """Three different axes that begin as `order` does; angles of the axes added are 0 for the rotations that had only `order`."""
    return next((full for full in _ORDERS if full.startswith(order)), "ZXY") if order else "ZXY"


def _hierarchy_lines(motion: Bvh, orders: Sequence[str], moving: Sequence[bool]) -> list[str]:
    """The nested blocks, depth first, in the order of the joints: that order is the order of the columns."""
    lines: list[str] = []
    depth: list[int] = []  # joints that are open
    for joint, parent in enumerate(motion.parents):
        while depth and depth[-1] != parent:
            _close(lines, depth)
        if parent >= 0 and not depth:
            raise FormatError(f"joint {motion.names[joint][:40]!r} does not follow its parent's block; order the joints depth first")
        tab = "\t" * len(depth)
        offset = np.zeros(3) if parent < 0 else motion.offsets[joint]
        channels = [f"{axis}position" for axis in "XYZ" if moving[joint]] + [f"{axis}rotation" for axis in orders[joint]]
        name = re.sub(r"[{}\r\n\t]+", "_", motion.names[joint]).strip() or f"joint{joint}"
        lines += [f"{tab}{'ROOT' if parent < 0 else 'JOINT'} {name}", f"{tab}{{"]
        lines += [f"{tab}\tOFFSET {_vector(offset)}", f"{tab}\tCHANNELS {len(channels)} {' '.join(channels)}"]
        depth.append(joint)
        for end, end_offset in zip(motion.ends, motion.end_offsets, strict=True):
            if end == joint:
                lines += [f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET {_vector(end_offset)}", f"{tab}\t}}"]
    while depth:
        _close(lines, depth)
    return lines


def _close(lines: list[str], depth: list[int]) -> None:
    depth.pop()
    lines.append("\t" * len(depth) + "}")


def _vector(values: Float[np.ndarray, " 3"]) -> str:
    return " ".join(_decimal(value) for value in values.tolist())


def _decimal(value: float) -> str:
    """Six decimals, without the minus of a zero."""
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text
