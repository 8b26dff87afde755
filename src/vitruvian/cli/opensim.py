"""`vitruvian opensim`, and what `vitruvian capture --opensim` does with a take: .trc, scaled .osim, .mot and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress import track

from vitruvian.cli.console import console, say_error, stderr
from vitruvian.errors import MissingExtraError, VitruvianError

if TYPE_CHECKING:
    from vitruvian.take import Take

AUGMENTERS = "opencap-augmenter-lower,opencap-augmenter-upper"


def opensim(
    source: Path,
    /,
    *,
    model: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    person: int | None = None,
    mass: float | None = None,
    height: float | None = None,
    cutoff: float = 6.0,
    augment: Annotated[bool, Parameter(negative="")] = False,
    augmenters: str = AUGMENTERS,
    weights: Path | None = None,
    upright: bool = True,
) -> int:
    """Joint angles through a musculoskeletal model: markers (.trc), the scaled model (.osim), angles (.mot), and a page (.html).

    Parameters
    ----------
    source
        A take with points in space (take.npz of several calibrated cameras), or a .trc file of markers.
    model
        Your OpenSim model (.osim). LaiUhlrich2022, or another with its bodies, is scaled to the person; for a .trc with other markers than
        SynthPose's or joints', the model of the person that has these markers, which is used as it is.
    out
        Folder for the files; by default that of the source.
    person
        Track id of the only person to do; all by default.
    mass
        Kilograms; guessed by default (joint angles do not depend on it).
    height
        Metres; guessed by default.
    cutoff
        Hertz of the low-pass on a take's points; 0 for none.
    augment
        Guess anatomical markers from the keypoints with OpenCap's marker augmenter: better than joint centres where the turn of a
        segment matters.
    augmenters
        Its two networks, lower body and arms: ids (vitruvian weights list) or .onnx files, separated by a comma.
    weights
        For a .trc: an OpenSim task file with the markers' weights.
    upright
        Somebody stands in some frame at least, which tells a wrong axis; --no-upright for people who lie all the time.
    """
    ready(model)
    folder = source.parent if out is None else out
    markers = source.suffix.lower() == ".trc"
    if weights is not None and (augment or not markers):
        raise VitruvianError("--weights are those of a .trc's markers; leave them away for a take, and with --augment")
    if markers and not augment:
        stem = f"{source.stem}_opensim" if folder.resolve() == source.parent.resolve() else source.stem
        _print_paths(_write_markers(source, folder, stem, {"model": model, "mass": mass, "weights": weights, "upright": upright}))
        return 0
    networks = _networks(augmenters) if augment else None
    options = {"mass": mass, "height": height, "cutoff": cutoff or None, "augmenters": networks, "upright": upright}
    _print_paths(write_opensim(_read_take(source), folder, model, person, options))
    return 0


def _networks(augmenters: str) -> tuple[str, ...]:
    """The two names of --augmenters."""
    networks = tuple(name.strip() for name in augmenters.split(","))
    if len(networks) != 2:
        raise VitruvianError("--augmenters are two networks, of the lower body and of the arms, separated by a comma")
    return networks


def _read_take(source: Path) -> Take:
    """The take in a file, or that of the markers in a .trc."""
    from vitruvian.take import Take

    if source.suffix.lower() == ".trc":
        from vitruvian.formats.trc import take_from_markers
        from vitruvian.systems.biomechanics.trial_checks import read_trial

        return take_from_markers(read_trial(source), name=source.name)
    from vitruvian.formats.convert import read

    take = read(source)
    if not isinstance(take, Take):
        raise VitruvianError(f"{source} holds no keypoints; give a take with points in space, or markers (.trc)")
    return take


def _write_markers(source: Path, folder: Path, stem: str, options: dict[str, object]) -> list[Path]:
    """The files of a .trc's markers as they are; returns their paths."""
    from vitruvian.systems.biomechanics.opensim_report import markers_report
    from vitruvian.systems.biomechanics.trial_checks import read_trial

    found = markers_report(read_trial(source), folder, stem=stem, **options)
    _print_notes(found.notes)
    return list(found.paths)


def ready(model: Path) -> None:
    """Raise what is wrong with OpenSim or the model at once, before minutes of work."""
    from vitruvian.systems.biomechanics.opensim_tools import load_model

    load_model(model)


def write_opensim(take: Take, folder: Path, model: Path, person: int | None = None, options: dict[str, object] | None = None) -> list[Path]:
    """The files of each person, `folder`/opensim.* (opensim_person1.* ... where there are several); returns their paths.

    A person whom the model can't follow is told, and the others are done; where there is nobody whom it can, the reason is raised.
    """
    from vitruvian.biomechanics.report import persons_of
    from vitruvian.systems.biomechanics.opensim_report import opensim_report
    from vitruvian.weights import card_for

    options = dict(options or {})
    if options.get("augmenters"):
        options["augmenters"] = tuple(name if Path(name).is_file() else card_for(name) for name in options["augmenters"])
    persons = persons_of(take) if person is None else (person,)
    written, problem = [], None
    for one in track(persons, "opensim", console=stderr, transient=True, disable=not stderr.is_terminal):
        stem = "opensim" if len(persons) == 1 else f"opensim_person{one}"
        try:
            found = opensim_report(take, folder, stem=stem, model=model, person=None if one < 0 else one, **options)
        except MissingExtraError:
            raise
        except VitruvianError as error:
            problem = error
            say_error(f"person {one}: {error}" if len(persons) > 1 else str(error))
            continue
        console.print(f"person {one}:" if len(persons) > 1 else "opensim:")
        _print_notes(found.notes)
        written += found.paths
    if not written:
        raise problem or VitruvianError("nobody is in this take; there is nothing to move a model by")
    return written


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        console.print(f"  {note}")


def _print_paths(paths: list[Path]) -> None:
    for path in paths:
        console.print(f"  {path}")
