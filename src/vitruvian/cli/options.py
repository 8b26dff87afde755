"""The options of `vitruvian capture`, by themes. What nobody gave is None: then the library's own default holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from vitruvian.errors import MissingExtraError, VitruvianError
from vitruvian.geometry.camera import Axis

Device = Literal["auto", "cpu", "cuda"]
Flag = Annotated[bool | None, Parameter(negative="")]
_AFTERWARDS = ("out", "angles", "opensim", "profile")


@Parameter(name="*", group=Group("Networks", sort_key=1))
@dataclass(frozen=True)
class Networks:
    """Who looks, and how closely.

    Parameters
    ----------
    detector
        Detection network: an id (vitruvian weights list), or the path of an .onnx file. By default person-parts-s;
        person-parts-n is faster and misses more.
    pose
        Pose network: an id (vitruvian weights list), or the path of an .onnx file. By default wholebody-s.
    hands
        A network of 21 hand points that looks at everybody's hands once more.
    face
        A network of face points that looks at everybody's face once more.
    threshold
        Least score, 0 to 1, of a detection that counts as a person. By default 0.3.
    flip_test
        Look at each person mirrored as well: better, takes longer. By default at pictures, and not at videos.
    device
        Where the networks run; auto, the default, takes CUDA where ONNX Runtime has it.
    """

    detector: str | None = None
    pose: str | None = None
    hands: str | None = None
    face: str | None = None
    threshold: float | None = None
    flip_test: bool | None = None
    device: Device | None = None


@Parameter(name="*", group=Group("Films", sort_key=2))
@dataclass(frozen=True)
class Films:
    """What is done over time.

    Parameters
    ----------
    smooth
        How to smooth the keypoints of a video: kalman, the default where the whole video must be known (bodies, several cameras), and
        butterworth look ahead and fill short gaps; one-euro, the default elsewhere, knows only the past.
    detect_every
        Look for people in every n-th frame of a video only; between, boxes move on: faster. By default about ten times per second.
    choose
        Where a knee, ankle, elbow or wrist may be in two places, take the one that fits the frames before and after; by default where
        the whole video must be known.
    repair_swaps
        Undo exchanges of left and right over time.
    realtime
        Play a video at its own pace and leave out frames that come too early, as with cameras and streams.
    """

    smooth: Literal["one-euro", "kalman", "butterworth", "none"] | None = None
    detect_every: int | None = None
    choose: bool | None = None
    repair_swaps: Flag = None
    realtime: Flag = None


@Parameter(name="*", group=Group("Several cameras", sort_key=3))
@dataclass(frozen=True)
class Cameras:
    """Films of one scene.

    Parameters
    ----------
    calibration
        Calibrated cameras (Pose2Sim's or Sports2D's TOML, Qualisys, OpenCV, ...): the sources are films of one scene, one per camera, and
        become one take in space with TRC files. Of a single film it tells how wide the camera sees, in place of --fov.
    offsets
        Where the films did not begin together: auto finds it by the people in them; or the seconds to add to each film's times, in the
        order of the films, with commas between: 0,-0.52,1.3.
    up
        Which axis of the calibration points up; by default the one above upright cameras.
    min_views
        Cameras that must agree on a point; by default 2.
    voxels
        Weights of SelfPose3d or VoxelPose (.pth.tar, or what `vitruvian train` left), which see the pictures of all cameras at once, in
        place of detector, keypoints and triangulation.
    """

    calibration: Path | None = None
    offsets: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    up: Annotated[Axis | None, Parameter(allow_leading_hyphen=True)] = None
    min_views: int | None = None
    voxels: Path | None = None


@Parameter(name="*", group=Group("Bodies", sort_key=4))
@dataclass(frozen=True)
class Bodies:
    """Metres.

    Parameters
    ----------
    mesh
        Bodies in metres too, by default: a mesh over the video, bodies.glb, skeleton.bvh and markers.trc. Not for cameras and streams; of
        several calibrated cameras bodies.glb, where asked for.
    mesh_network
        A network for meshes (Multi-HMR), its id or .onnx file, that alone finds the people and their bodies; no other network runs. For
        short: --mesh NETWORK.
    lift
        Network that lifts keypoints into space: an id, or the path of an .onnx file; ours, lift-s, by default, or an exported HopFIR or
        FinePOSE (slow).
    text
        What people do, such as Walking, for lifters that can be told: an exported FinePOSE.
    fov
        Degrees that the camera sees across the picture's longer side; otherwise a photograph's EXIF tells, or the people in a film do, or
        60 are assumed. Distances depend on it.
    ground
        The camera stands still: feet that rest don't slide, and everybody stands on one floor.
    """

    mesh: bool | None = None
    mesh_network: str | None = None
    lift: str | None = None
    text: str | None = None
    fov: float | None = None
    ground: Flag = None


@Parameter(name="*", group=Group("Results", sort_key=5))
@dataclass(frozen=True)
class Results:
    """What is written and printed.

    Parameters
    ----------
    out
        Folder for the results: take.npz, overlay.mp4 (or .png), keypoints.json. By default NAME_vitruvian in the current folder.
    overlay
        Draw the people over the video or pictures, by default.
    formats
        What to write besides take.npz, separated by commas: json (COCO style, the default), openpose (a file per frame), csv, parquet,
        controlnet (pose pictures), rerun; of several cameras trc (the default), bvh, csv, parquet, rerun. "" for nothing. More from
        take.npz: vitruvian convert.
    angles
        Joint angles and gait parameters of each person in a video: a page with plots (angles.html), the angles as a table and a picture
        (angles.csv, angles.png), and the gait as a table (gait.csv).
    opensim
        Your OpenSim model (.osim), such as LaiUhlrich2022: scaled to each person and moved by them, with .trc, .mot and a page. For several
        calibrated cameras. Mass, height and the marker augmenter are given afterwards: vitruvian opensim take.npz --model MODEL.osim
        --mass KG --height METRES --augment.
    profile
        Print the time that each stage took.
    """

    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
    overlay: bool | None = None
    formats: str | None = None
    angles: Annotated[bool, Parameter(negative="", show_default=False)] = False
    opensim: Path | None = None
    profile: Annotated[bool, Parameter(negative="", show_default=False)] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """All options, by themes."""

    networks: Networks = field(default_factory=Networks)
    films: Films = field(default_factory=Films)
    cameras: Cameras = field(default_factory=Cameras)
    bodies: Bodies = field(default_factory=Bodies)
    results: Results = field(default_factory=Results)

    def of_capture(self) -> dict[str, object]:
        """Those that were given, by name, without what is only done once there is a take."""
        themes = (self.networks, self.films, self.cameras, self.bodies, self.results)
        values = {one.name: getattr(theme, one.name) for theme in themes for one in fields(theme)}
        return {name: value for name, value in values.items() if value is not None and name not in _AFTERWARDS}


NONE_GIVEN = Options()


def refuse(asked: Mapping[str, object], meaningless: Iterable[str], where: str) -> None:
    """Raises VitruvianError where any of these options was given; what is said not to be done, as with --no-mesh, is done nowhere."""
    meaningless = set(meaningless)
    wrong = [f"--{name.replace('_', '-')}" for name, value in asked.items() if name in meaningless and value is not False]
    if wrong:
        raise VitruvianError(f"these options mean nothing {where}: {', '.join(wrong)}; leave them away")


def need_torch() -> None:
    """Raises MissingExtraError without PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("PyTorch is not installed: pip install 'vitruvian[torch]'") from error


def names_in(text: str) -> list[str]:
    """The names in a list with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def offsets_in(text: str) -> list[float] | Literal["auto"]:
    """Seconds with commas between, or "auto". Raises VitruvianError for anything else."""
    if text.strip().lower() == "auto":
        return "auto"
    try:
        return [float(number) for number in names_in(text)]
    except ValueError as error:
        raise VitruvianError(f"no offsets {text[:40]!r}: write auto, or seconds for each film as in 0,-0.52,1.3") from error
