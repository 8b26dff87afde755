"""`vitruvian convert A B`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitruvian.cli.console import console, progress_bar, status, stderr
from vitruvian.errors import FormatError
from vitruvian.formats.convert import Data, Options, losses, read, write
from vitruvian.skeletons import by_name
from vitruvian.take import Take


def convert(
    source: Path,
    target: Path,
    /,
    *,
    format: Annotated[str | None, Parameter(name=["--format", "--to"])] = None,
    from_format: Annotated[str | None, Parameter(name="--from")] = None,
    skeleton: str | None = None,
    person: int | None = None,
    metres_per_pixel: float | None = None,
    metres_per_unit: float = 0.01,
    fps: float | None = None,
    size: str | None = None,
    strict: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Convert a file of keypoints or motion into another format.

    Parameters
    ----------
    source
        A take (.npz), .json (COCO, COCO results, COCO-WholeBody, OpenPose, ControlNet), folder of OpenPose files, .csv, .parquet, .trc,
        .bvh, .amc (its .asf beside it), .mot or .sto; with your own body models (vitruvian body import), AMASS (.npz) or a folder of
        SMPLer-X's files.
    target
        One of these (no .amc), a .rrd for rerun, or the pose picture or video of ControlNet: .mp4, .png, or a folder. Formats of one person
        (.trc, .bvh) get one file for each: NAME_person1.trc; of pictures, one for each person in each. Bodies go to .glb, .obj or .ply (a
        folder, NAME/person_001/000000.obj), and with --to to AMASS's .npz (amass) or a .bvh with the model's own bones (body-bvh).
    format
        Format of the target where its name does not say: coco, coco-results, coco-wholebody, openpose, controlnet-json, controlnet, amass,
        body-bvh, ...
    from_format
        Format of the source where its name and content do not say.
    skeleton
        Convert the keypoints to this set, as coco-17.
    person
        Only the person with this track id.
    metres_per_pixel
        Size of a pixel where the person moves: makes .trc and .bvh from keypoints that have no 3D points, flat in the image plane.
    metres_per_unit
        Unit of lengths in .bvh files, read or written: 0.01 is centimetres.
    fps
        Frames per second of a source that does not say (OpenPose, ControlNet's JSON: 30 by default; .amc: 120).
    size
        WIDTHxHEIGHT of frames of unknown size, for pose pictures.
    strict
        Stop instead of leaving out what the target can't hold.
    """
    options = Options(
        fps=fps,
        size=None if size is None else parse_size(size),
        skeleton=None if skeleton is None else by_name(skeleton),
        metres_per_pixel=metres_per_pixel,
        person=person,
        metres_per_unit=metres_per_unit,
    )
    if source.exists() and target.exists() and target.samefile(source):
        raise FormatError(f"{target} is the source itself: give the target another name")
    with status(f"reading {source.name}"):
        data = read(source, from_format, options)
    lost = losses(data, target, format)
    if lost and strict:
        raise FormatError(f"{target} can't hold all of {source}: {', '.join(lost)} would be lost; choose .npz, or leave out --strict")
    paths = _write(data, target, format, options)
    for path in paths[:20]:
        console.print(str(path))
    if len(paths) > 20:
        console.print(f"and {len(paths) - 20} more in {paths[0].parent}")
    if not paths:
        stderr.print(f"nothing written: nobody is in {source}")
    elif lost:
        stderr.print(f"left out, as this format can't hold it: {', '.join(lost)}")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) from "640x480". Raises FormatError for anything else."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) < 16 and int(width) and int(height)):
        raise FormatError(f"{text[:40]!r} is no size; write it as 640x480")
    return int(width), int(height)


def _write(data: Data, target: Path, format: str | None, options: Options) -> list[Path]:
    """Write with a bar, which moves where frames are drawn one by one."""
    total = len(data.times) if isinstance(data, Take) else None
    with progress_bar("frames", total, f"writing {target.name}") as update:
        return write(data, target, format, options, lambda done: update(completed=done))
