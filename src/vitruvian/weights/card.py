"""The card of a network: everything that pre- and post-processing must know, and where the network comes from.

A card is JSON beside its ONNX file, same stem: `wholebody-s.onnx`, `wholebody-s.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vitruvian._files import read_json, written_whole
from vitruvian.errors import FormatError, WeightsError
from vitruvian.skeletons import Skeleton, by_name
from vitruvian.skeletons.table import from_table, table_of

ASSETS = Path(__file__).parents[1] / "assets"
"""Where the networks lie that are installed with the package."""

MAX_CARD_BYTES = 1 << 20
"""A larger JSON file is no card."""

Task = Literal["detection", "pose2d", "pose3d", "one-stage", "mesh", "lift", "augmenter"]
"""What a network does: boxes; keypoints of a box; the same with depth; boxes and keypoints of a whole picture; everybody's body in a whole
picture; markers from keypoints."""

BLIND = ("lift", "augmenter")
"""Tasks whose networks see numbers, not pictures."""

Codec = Literal[
    "simcc", "simcc3d", "heatmap", "heatmap-dark", "heatmap-udp", "probability-map", "rtmo",
    "yolox", "rtmdet", "bpjdet", "jointbdoe", "lift-frame", "lift-diffusion", "",
]  # fmt: skip
"""How its outputs are read (`vitruvian.codecs`); "" where the names of the outputs say it. Lifters: "" is ours (`codecs.lift`),
"lift-frame" lifts the joints of one frame (`codecs.lifting`), "lift-diffusion" denoises clips (`codecs.lifting_diffusion`)."""

Subject = Literal["whole-body", "body", "hand", "face", "animal"]
"""What it looks at."""

Precision = Literal["fp32", "fp16", "int8", ""]
"""How its numbers are kept: as float32; weights as float16; most of weights and arithmetic as 8-bit integers; "" where nobody said."""


@dataclass(frozen=True)
class Card:
    """One network. Raises FormatError on values that no network could have.

    | field | meaning |
    |---|---|
    | id, task | its name; what it does |
    | file | path of the ONNX file; inside the JSON the bare name of a file in the same folder |
    | input_size | (width, height) in pixels; (0, 0) for a lifter or augmenter, which sees no picture |
    | channel_order, mean, std | what the network was trained on; mean and std in grey levels, in that order of channels. \
An augmenter's: of each input feature, empty where unknown |
    | family, subject | the published system, such as "RTMPose"; what it looks at |
    | codec | how the outputs are read |
    | body | meshes: name of the body model that the network poses |
    | skeleton | name of the keypoint set (`vitruvian.skeletons`), for pose and lifters; a `Skeleton` may be given, and its name stays |
    | keypoints | names, swap and links of that set (`vitruvian.skeletons.table`) where it is not built in, else {} |
    | classes | name of each label, for detection; of a lifter the texts that it can be told |
    | padding, split_ratio | pose: crop size over box size; SimCC bins per pixel |
    | diffusion_times | lifters by diffusion: number of times of the (cosine) schedule that the network was trained with; 0 for others |
    | size_step | detectors: sides of the input may be any multiple of this up to input_size, so that padding may be left out; \
0 where the sides are fixed |
    | sha256, size_bytes | of the file, "" and 0 when unknown |
    | member | where the URLs are zip archives: the ONNX file inside, without a slash in any folder; "" for the only one |
    | licence_code, licence_weights, licence_data | licences of the published code, the weights, and the data they were trained on |
    | precision, parent, parent_sha256, calibration | made by `vitruvian.weights.reduce`: how numbers are kept, id and sum of the network \
it was made of, and the pictures that the ranges were taken from |
    | figures | published or measured numbers, name -> value; of a reduced network, what changed |
    | urls, source | where the weights are; the paper or repository |
    """

    id: str
    task: Task
    file: str
    input_size: tuple[int, int] = (0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: Literal["rgb", "bgr"] = "rgb"
    skeleton: str = ""
    classes: tuple[str, ...] = ()
    padding: float = 1.25
    split_ratio: float = 2.0
    sha256: str = ""
    licence_code: str = ""
    licence_weights: str = ""
    licence_data: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    source: str = ""
    family: str = ""
    subject: Subject | Literal[""] = ""
    codec: Codec = ""
    member: str = ""
    size_bytes: int = 0
    size_step: int = 0
    precision: Precision = ""
    parent: str = ""
    parent_sha256: str = ""
    calibration: str = ""
    body: str = ""
    diffusion_times: int = 0
    keypoints: dict[str, list] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.skeleton, Skeleton):
            object.__setattr__(self, "keypoints", table_of(self.skeleton))
            object.__setattr__(self, "skeleton", self.skeleton.name)
        for name, (valid, expected) in _SCHEMA.items():
            if not valid(getattr(self, name)):
                raise FormatError(f"Card {self.id!r}: {name} must be {expected}, not {getattr(self, name)!r}: correct the card.")
        problem = _contradiction(self)
        if problem:
            raise FormatError(f"Card {self.id!r}: {problem}.")
        _ = self.keypoints and self.keypoint_set  # which says what is wrong with it

    @property
    def keypoint_set(self) -> Skeleton:
        """The set that `skeleton` names, built in or its own. Raises VitruvianError where this package lacks it, or the card names none."""
        if self.keypoints:
            return from_table(self.skeleton, self.keypoints)
        if not self.skeleton:
            raise WeightsError(f"{self.id!r} finds no keypoints: it is for {self.task}. Use another network.")
        return by_name(self.skeleton)

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read a card; its `file` becomes a path in the card's folder. Raises FormatError when the file can't be read or is no card."""
        path = Path(path)
        card = cls._from_json(read_json(path, MAX_CARD_BYTES), path)
        # Only a bare name: a card from elsewhere must not point to other places of this machine.
        if Path(card.file).name != card.file or "\\" in card.file:
            raise FormatError(f"{path}: file must be the bare name of a file beside the card, not {card.file!r}.")
        return replace(card, file=str(path.parent / card.file))

    @classmethod
    def _from_json(cls, values: Any, path: Path) -> Card:
        """Values of a JSON document -> card; FormatError on missing or unknown fields."""
        known = {f.name for f in fields(cls)}
        required = {"id", "task", "file"}
        if not (isinstance(values, dict) and values.get("task") in BLIND):
            required |= {"input_size", "mean", "std"}
        if not isinstance(values, dict) or not required <= values.keys() or not values.keys() <= known:
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise FormatError(f"{path} is no card: needs {sorted(required)}, may have {sorted(known - required)}, has {found}.")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def save(self, path: str | Path) -> None:
        """Write the card as JSON, whole or not at all; `file` shrinks to its bare name, so the ONNX file belongs into the same folder."""
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(asdict(self) | {"file": Path(self.file).name}, indent=1) + "\n", encoding="utf-8")


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits. Raises WeightsError when it can't be read."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Can't read the weights {path}: {error.strerror}. Reinstall, or fetch the file again.") from error


def verify(card: Card) -> None:
    """Compare the file with the card's sha256, if the card has one. Raises WeightsError when the file is missing or another one."""
    found = file_sha256(card.file)
    if card.sha256 and found != card.sha256.lower():
        raise WeightsError(f"{card.file} is not the file that its card {card.id!r} describes (sha256 {found[:12]}...): fetch it again.")


def _contradiction(card: Card) -> str:
    """What two fields of a card say against each other, "" if nothing."""
    sees = card.task not in BLIND
    if sees and not (min(card.input_size) >= 1 and len(card.mean) == len(card.std) == 3):
        return "a network for pictures needs its input_size and three numbers each for mean and std: correct the card"
    if not sees and (card.input_size != (0, 0) or len(card.mean) != len(card.std)):
        return "a lifter or augmenter sees no picture: its input_size is (0, 0), and its mean and std are of one length"
    if card.size_step and (card.task != "detection" or any(side % card.size_step for side in card.input_size)):
        return "a size_step is for detectors, and the input_size is a multiple of it: correct the card"
    if card.task == "detection" and not card.classes:
        return "a detector needs the names of its classes: add them to the card"
    if card.task in ("pose2d", "pose3d", "one-stage") and not card.skeleton:
        return "a pose network needs the name of its skeleton: add it to the card"
    if card.codec.startswith("lift-") and not (card.task == "lift" and card.skeleton):
        return f"{card.codec} is for lifters, whose skeleton is named: correct the card"
    if (card.codec == "lift-diffusion") != bool(card.diffusion_times):
        return "a lifter by diffusion, and no other network, has diffusion_times: correct the card"
    if (card.task == "mesh") != bool(card.body):
        return "a network for meshes, and no other, names the body model that it poses (body): correct the card"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= 4096 and all(map(_is_number, value))


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(side, int) and 0 <= side <= 8192 for side in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_sum(value: Any) -> bool:
    return _is_text(value) and re.fullmatch(r"([0-9a-fA-F]{64})?", value) is not None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_number, value.values()))


_SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (lambda v: _is_text(v) and v != "", "a name"),
    "task": (lambda v: v in get_args(Task), f"one of {', '.join(get_args(Task))}"),
    "file": (lambda v: _is_text(v) and v != "", "a file name"),
    "input_size": (_is_size, "(width, height), 1 to 8192 pixels"),
    "mean": (_are_numbers, "numbers"),
    "std": (lambda v: _are_numbers(v) and all(number > 0 for number in v), "positive numbers"),
    "channel_order": (lambda v: v in ("rgb", "bgr"), '"rgb" or "bgr"'),
    "skeleton": (_is_text, "a text"),
    "classes": (_are_texts, "texts"),
    "padding": (lambda v: _is_number(v) and 0.1 <= v <= 10, "a number from 0.1 to 10"),
    "split_ratio": (lambda v: _is_number(v) and 0.1 <= v <= 16, "a number from 0.1 to 16"),
    "sha256": (_is_sum, "64 hexadecimal digits"),
    "licence_code": (_is_text, "a text"),
    "licence_weights": (_is_text, "a text"),
    "licence_data": (_is_text, "a text"),
    "figures": (_are_figures, "names with numbers"),
    "urls": (_are_texts, "texts"),
    "source": (_is_text, "a text"),
    "family": (_is_text, "a text"),
    "subject": (lambda v: v in ("", *get_args(Subject)), f"one of {', '.join(get_args(Subject))}"),
    "codec": (lambda v: v in get_args(Codec), f"one of {', '.join(get_args(Codec))}"),
    "member": (_is_text, "a text"),
    "size_bytes": (_is_count, "a number of bytes"),
    "size_step": (_is_count, "a number of pixels"),
    "precision": (lambda v: v in get_args(Precision), f"one of {', '.join(get_args(Precision))}"),
    "parent": (_is_text, "a text"),
    "parent_sha256": (_is_sum, "64 hexadecimal digits"),
    "calibration": (_is_text, "a text"),
    "body": (_is_text, "a text"),
    "diffusion_times": (lambda v: _is_count(v) and v <= 100_000, "a number of times, 100000 at most"),
    "keypoints": (lambda v: isinstance(v, dict), "a table of names, swap and links"),
}
