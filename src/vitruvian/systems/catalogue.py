"""Which published system does a checkpoint belong to? The systems that can read one, and what is done with the answer.

A new system gets a row in `SYSTEMS`. Its module, or the one that defines its network, has

    from_published(state) -> (Config, nn.Module)             required; raises WeightsError on another system's checkpoint
    variant_of(config) -> str, or VARIANTS                   a name for the configuration that was inferred
    DROP                                                     entries that a converted file leaves out, as regular expressions
    exported(config, model) -> Exported                      what goes into an ONNX file (with `skeleton=""` where that can be named);
                                                             without it, export says that it can't
    CARDS                                                    cards of published files that `weights.published` doesn't list
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.skeletons import SKELETONS, Skeleton
from vitruvian.systems.checkpoint import read_state, write_state
from vitruvian.systems.export import Exported, keypoint_notes, noted_keypoints, write_onnx
from vitruvian.weights import Card, store
from vitruvian.weights.card import file_sha256
from vitruvian.weights.published import PUBLISHED

OnStep = Callable[[str], object]
"""Called with a few words on what comes next."""


@dataclass(frozen=True)
class System:
    """A system whose published checkpoints can be read: its name and module, and how its keys are told.

    `marks` are regular expressions that some key must match each; `absent` are ones that no key may match.
    """

    name: str
    module: str
    marks: tuple[str, ...]
    absent: tuple[str, ...] = ()

    def read(self, state: Mapping[str, Tensor]) -> tuple[Any, nn.Module]:
        """Configuration and network of a state dict. Raises WeightsError on another system's."""
        return importlib.import_module(self.module).from_published(state)

    def claims(self, state: Mapping[str, Tensor]) -> bool:
        """Whether the keys look like this system's."""

        def seen(pattern: str) -> bool:
            return any(re.search(pattern, name) for name in state)

        return all(map(seen, self.marks)) and not any(map(seen, self.absent))


_POSE2D, _DETECTION, _BIOMECHANICS = (f"vitruvian.systems.{room}" for room in ("pose2d", "detection", "biomechanics"))
_ANCHORS = (r"^(module\.)?(model\.0|backbone\.stem)\.conv\.", r"^(module\.)?(model\.\d+\.m|head)\.2\.weight$")
_NAMES = r"^(module\.)?instrument_names$"
SYSTEMS = (
    System("dwpose", f"{_POSE2D}.dwpose", (r"^student\.head\.cls_x\.weight$", r"^(student|teacher)\.backbone\.stage4\.")),
    System("rtmw", f"{_POSE2D}.rtmw", (r"^(module\.)?head\.cls_x\.weight$", r"^(module\.)?backbone\.stage4\.")),
    System("mappose", f"{_POSE2D}.mappose", (r"^elsewhere\.weight$", r"^maps\.weight$", r"^backbone\.stage4\.")),
    System("dsta", f"{_POSE2D}.dsta", (r"^(module\.)?(Spatial_pos_embed|space\.places)$", r"^(module\.)?(fc_coord|decoder)\.linear\.")),
    System("diffpose-video", f"{_POSE2D}.diffpose_video", (r"^(module\.)?strl\.places$", r"^(module\.)?decoder\.time\.")),
    System("synthpose", f"{_BIOMECHANICS}.synthpose", (r"^(module\.)?((keypoint_)?head\.)?final_layer\.weight$",), (r"\.cls_x\.",)),
    System("rmpg", f"{_POSE2D}.rmpg", (r"^(module\.)?((keypoint_)?head\.)?(final_layer|multi_final_layers\.0)\.weight$",), (r"\.cls_x\.",)),
    System("synthpose", f"{_BIOMECHANICS}.synthpose", (r"^backbone\.embeddings\.", r"^head\.conv\.weight$")),
    System("bpjdet", f"{_DETECTION}.bpjdet", _ANCHORS, (_NAMES,)),
    System("jointbdoe", f"{_DETECTION}.jointbdoe", _ANCHORS, (_NAMES,)),
    System("hsdb-instrument", f"{_DETECTION}.hsdb_instrument", (*_ANCHORS, _NAMES)),
    System(
        "multi-hmr",
        "vitruvian.systems.mesh.multi_hmr",
        (r"\.(pos_embed|trunk\.stem\.0\.conv\.weight)$", r"^(module\.)?(x_attention_head|dec_to_token|head\.embedding)\."),
    ),
    System("osx", "vitruvian.systems.mesh.osx", (r"^(module\.)?(encoder\.)?task_tokens$", r"^(module\.)?body_regressor\.")),
    System("pymaf-x", "vitruvian.systems.mesh.pymaf_x", (r"^(module\.)?grid_points$", r"^(module\.)?regressor\.0\.fc1_hand\.")),
    System("aios", "vitruvian.systems.mesh.aios", (r"(^|\.)level_embed$", r"(^|\.)decoder\.lhand_box_embed\.weight$")),
    System("danet", "vitruvian.systems.mesh.danet", (r"^(module\.)?(img2iuv|estimator)\.", r"^(module\.)?(iuv2smpl|regressor)\.")),
    System("xnect", "vitruvian.systems.pose3d.xnect", (r"^(module\.)?(one\.backbone\.)?features\.0\.conv6\.0\.weight$",)),
    System("finepose", "vitruvian.systems.pose3d.finepose", (r"(ctx_|prompts\.contexts\.)arm$", r"(STEblocks|spatial)\.0\.attn\.qkv\.")),
    System("selfpose3d", "vitruvian.systems.pose3d.selfpose3d", (r"^(module\.)?(root_net|pose_net)\.(v2v_net\.)?front_layers\.",)),
    System("hopfir", "vitruvian.systems.pose3d.hopfir", (r"^(module\.)?stages\.0\.hgf\.attention\.modulation$",)),
)
"""In this order they are tried. DWPose's released files are RTMPose's ("rtmw"); its own row is for the containers of its two stages.

BPJDet and JointBDOE have the same keys; the number of outputs, which each of them checks, tells them apart. Networks for instruments hold
the names of these, as six parts of people and ten instruments have as many outputs. SynthPose's second row is for
ViTPose as the transformers package names it; the first for its HRNet, which has the keys of RMPG's hosts and 52 keypoints."""


@dataclass(frozen=True)
class Recognised:
    """A checkpoint that was understood: whose it is, the configuration inferred from its shapes, and the network, filled, in eval mode.

    skeleton: the keypoint set that its notes name, None where they don't.
    """

    system: System
    config: Any
    model: nn.Module
    skeleton: Skeleton | None = None

    def hook(self, name: str, otherwise: Any = None) -> Any:
        """What the system's module calls `name`, or else the module of its network (DWPose's networks are RTMPose's)."""
        modules = (importlib.import_module(place) for place in (self.system.module, type(self.model).__module__))
        return next((getattr(module, name) for module in modules if hasattr(module, name)), otherwise)

    @property
    def variant(self) -> str:
        """A name for the configuration."""
        if name := self.hook("variant_of"):
            return name(self.config)
        return next((name for name, known in self.hook("VARIANTS", {}).items() if known == self.config), "unlisted")

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def exported(self, stem: str, skeleton: str = "") -> Exported | None:
        """What goes into an ONNX file, described as far as a checkpoint file called `stem` is known; None where there is no export.

        `skeleton` names the keypoint set where their number doesn't tell.
        """
        hook = self.hook("exported")
        if hook is None:
            return None
        takes = "skeleton" in inspect.signature(hook).parameters
        if skeleton and not takes:
            raise WeightsError(f"{self.system.name} gives no keypoints that could be named: leave --skeleton away")
        noted = self.skeleton and (self.skeleton.name if self.skeleton.name in SKELETONS else self.skeleton)
        said = skeleton or (noted if takes else "")
        found = hook(self.config, self.model, **({"skeleton": said} if said else {}))
        cards = (*PUBLISHED.values(), *self.hook("CARDS", ()))
        return replace(found, card=_as_published(found.card, stem, cards, bool(said)))

    def licences(self, stem: str, exported: Exported | None) -> dict[str, str]:
        """Licences of code, weights and data of a published file called `stem`, whether it can be exported or not; "" where unknown."""
        known = (card for card in self.hook("CARDS", ()) if _plain_name(stem) in _names(card))
        card = exported.card if exported else next(known, None)
        return {name: getattr(card, f"licence_{name}", "") for name in ("code", "weights", "data")}


def recognise(state: Mapping[str, Tensor], systems: tuple[System, ...] = SYSTEMS) -> Recognised:
    """Find the system that a published state dict is of, by its keys, and build its network, by its shapes.

    Raises WeightsError when no system knows the keys, or those that do can't read it (with their reasons).
    """
    problems = []
    for system in systems:
        if system.claims(state):
            try:
                return Recognised(system, *system.read(state))
            except WeightsError as error:
                problems.append(f"{system.name}: {error}")
    if problems:
        raise WeightsError("; ".join(problems))
    some = ", ".join(list(state)[:3])
    raise WeightsError(f"no known system has such a checkpoint ({some}, ...): known are {', '.join(system.name for system in systems)}")


def load(network: str | Path) -> tuple[Path, Recognised]:
    """Read a checkpoint, published (.pth) or converted (.safetensors), from its path or by the id under which it was converted.

    Raises WeightsError when there is none, or it can't be read.
    """
    path = Path(network)
    if not path.is_file() and store.ID.fullmatch(str(network)):
        path = folder() / f"{network}.safetensors"
    if not path.is_file():
        raise WeightsError(f"no checkpoint {str(network)!r}: give the path of a file, or an id that convert-checkpoint printed")
    if path.suffix.lower() in (".onnx", ".zip"):
        raise WeightsError(f"{path} is for ONNX Runtime already: use it as it is, or vitruvian weights add")
    return path, replace(recognise(read_state(path)), skeleton=noted_keypoints(path))


def folder() -> Path:
    """Where converted checkpoints are kept unless said otherwise."""
    return store.home() / "checkpoints"


def convert_checkpoint(
    source: str | Path, target: str | Path | None = None, skeleton: str = "", on_step: OnStep = lambda _: None
) -> tuple[Path, dict[str, Any]]:
    """Read a published checkpoint, write it as safetensors with a card (.json, same stem) beside it; return the path and the card.

    Entries keep their published names; what the system doesn't read (`DROP`) is left out. `target` None: the folder of converted
    checkpoints, under the stem of the source. The card says system, variant, configuration, sums, licences of a
    published file, and in "network" what a network card would say (None for systems without export). `skeleton`: see `rtmw.exported`.
    Raises WeightsError when no system knows it, and FormatError where the files can't be written.
    """
    source = Path(source)
    if target is None and not store.ID.fullmatch(source.stem):
        raise WeightsError(f"{source.stem!r} can't be an id: name the file to write with -o")
    target = folder() / f"{source.stem}.safetensors" if target is None else Path(target)
    if target.suffix.lower() != ".safetensors":
        raise WeightsError(f"{target.name!r} is no name for a converted checkpoint: end it with .safetensors")
    on_step(f"reading {source.name}")
    state = read_state(source)
    found = replace(recognise(state), skeleton=noted_keypoints(source))
    exported = found.exported(source.stem, skeleton)
    notes = {"system": found.system.name, "variant": found.variant, "config": json.dumps(_plain(found.config))}
    named = exported is not None and exported.card.skeleton and (skeleton or found.skeleton)  # a guess is not kept
    kept = keypoint_notes(exported.card.keypoint_set) if named else {}
    on_step(f"writing {target.name}")
    drop = found.hook("DROP", ())
    write_state({name: value for name, value in state.items() if not any(re.search(p, name) for p in drop)}, target, notes | kept)
    card = {
        **notes,
        "config": _plain(found.config),
        "parameters": found.parameters,
        "file": target.name,
        "sha256": file_sha256(target),
        "size_bytes": target.stat().st_size,
        "source_file": source.name,
        "source_sha256": file_sha256(source),
        "licences": found.licences(source.stem, exported),
        "network": exported and dataclasses.asdict(exported.card),
    }
    with written_whole(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return target, card


def export(
    network: str | Path, target: str | Path, skeleton: str = "", on_step: OnStep = lambda _: None, body: str = ""
) -> tuple[Recognised, Card, float]:
    """Write a checkpoint's network as ONNX with its card: what was read, the card, and the largest difference between torch and ONNX.

    `network` as for `load`, `skeleton` as for `rtmw.exported`, `body` as for `taught_body`. Raises as `load`, `taught_body` and
    `vitruvian.systems.export.export_onnx`.
    """
    on_step(f"reading {Path(network).name}")
    path, found = load(network)
    exported = found.exported(path.stem, skeleton)
    if exported is None:
        raise WeightsError(f"{found.system.name} can't be exported to ONNX yet: run it in torch ({found.system.module})")
    exported = taught_body(exported, body)
    on_step(f"writing {Path(target).name}, and comparing it with torch")
    card, worst = write_onnx(exported, target)
    return found, card, worst


def taught_body(exported: Exported, body: str) -> Exported:
    """The same network, posing another body than the published one: "anny" (the compact body) if it was taught that, "" for what it is.

    Raises VitruvianError for other bodies, WeightsError for networks that don't say SMPL's or SMPL-X's rotations, or pose bodies inside.
    """
    if not body:
        return exported
    if body != "anny":
        raise VitruvianError(f"no body {body!r} for networks that were taught another than the published one: say --body anny")
    if exported.card.body not in ("smplx-neutral", "smpl-neutral") or not isinstance(exported.network, nn.Module):
        poses = exported.card.body or "no body"
        raise WeightsError(f"{exported.card.family or 'this network'} poses {poses} and can't be taught another: leave --body away")
    return replace(exported, card=replace(exported.card, body="compact", figures={}))


def _as_published(card: Card, stem: str, cards: Iterable[Card], keep_skeleton: bool) -> Card:
    """`card` with what one of `cards` says of the published file called `stem`: keypoint set, family, licences, figures.

    A file of another name may have been trained on anything by anybody, so nothing is said about its licences.
    """
    told = ["subject", "family", "licence_code", "licence_weights", "licence_data", "figures", *([] if keep_skeleton else ["skeleton"])]
    for known in cards:
        if _plain_name(stem) in _names(known) and _signature(known) == _signature(card):
            return replace(card, **{name: getattr(known, name) for name in told}, source=f"published checkpoint {stem}")
    return card


def _names(card: Card) -> set[str]:
    """What a published network's files are called, plainly."""
    return {_plain_name(name) for name in (card.id, *(Path(url).stem for url in card.urls))}


def _signature(card: Card) -> tuple[object, ...]:
    """What must agree between a published network and a file that bears its name."""
    return card.task, card.codec, card.input_size, len(card.keypoint_set) if card.skeleton else 0


def _plain_name(name: str) -> str:
    """A file's name without the differences between the names of a checkpoint and of its export."""
    return re.sub(r"[-_.]+", "-", name.lower())


def _plain(config: object) -> object:
    """A configuration as JSON can hold it."""
    return json.loads(json.dumps(dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config, default=str))
