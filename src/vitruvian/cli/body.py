"""`vitruvian body`: the body models of this user: bring official files in, list them, look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from vitruvian.body import library
from vitruvian.cli.console import console, print_rows, progress_bar, stderr
from vitruvian.errors import VitruvianError

app = App(
    name="body",
    help="Bring in, list and look at parametric body models.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


@app.command(name="import")
def import_(
    folder: Path,
    /,
    *,
    shapes: Annotated[int | None, Parameter(name="--shapes")] = None,
    expressions: Annotated[int | None, Parameter(name="--expressions")] = None,
    fix_left_shape: Literal["auto", "yes", "no"] = "auto",
    kid_template: Path | None = None,
) -> int:
    """Convert the official files of SMPL, SMPL+H, SMPL-X, MANO, FLAME and HACK under a folder, once, to safe files of ours.

    Nothing in the files is executed. They stay where they are; their licences go on to hold for what is made of them.

    Parameters
    ----------
    folder
        Where the downloaded files are, in whatever folders inside; or one file.
    shapes
        Keep only the first shape directions; all by default.
    expressions
        Keep only the first expression directions; all by default.
    fix_left_shape
        Correct the sign error of the released left hand: where it is seen (auto), always, or never.
    kid_template
        A .npy with the child's vertices (SMIL), for one more shape direction "kid".
    """
    fix = {"auto": "auto", "yes": True, "no": False}[fix_left_shape]
    with progress_bar("import") as update:
        done, refused = library.import_bodies(
            folder,
            lambda done, total, name: update(completed=done, total=total, note=name),
            num_shape=shapes,
            num_expression=expressions,
            fix_left_shape=fix,
            kid_template=kid_template,
        )
    for model in done:
        console.print(f"{model.name}: {model.source} -> {model.path}")
        for name, note in model.notes.items():
            console.print(f"  {name}: {note}")
    for problem in refused:
        stderr.print(f"left out: {problem.reason}")
    if not done and not refused:
        raise VitruvianError(f"{folder} has no official body model: names such as SMPLX_NEUTRAL.npz or MANO_LEFT.pkl are looked for")
    for licence in sorted({model.licence for model in done}):
        console.print(f"licence of {licence}")
    return 1 if refused else 0


@app.command(name="list")
def list_() -> None:
    """Print the body models that are here: name, joints, shape and expression parameters, licence."""
    from vitruvian.body.compact import load_compact

    compact = load_compact()
    _print_row(compact.name, compact.num_joints, compact.num_shape, compact.num_expression, compact.licence)
    for header in library.list_bodies():
        sizes = (len(header[key]) for key in ("joint_names", "shape_names", "expression_names"))
        _print_row(header["name"], *sizes, header["licence"])


@app.command
def info(name: str, /) -> None:
    """Print what a body model has.

    Parameters
    ----------
    name
        A model's name (see list), or the path of a body file or an official file.
    """
    model = library.load_body(name)
    hands = {block: f"{block}, {len(hand.components)} components" for block, hand in model.hands.items()}
    marks = "none" if model.landmarks is None else f"{len(model.landmarks.faces)}"
    marks += ", and the contour's" if model.landmarks is not None and model.landmarks.contour_faces is not None else ""
    rows = {
        "name": f"{model.name} ({model.kind})",
        "licence": model.licence,
        "mesh": f"{model.num_vertices} vertices, {len(model.faces)} triangles" + (", uv" if model.uv is not None else ""),
        "joints": f"{model.num_joints}: {', '.join(model.joint_names)}",
        "pose": ", ".join(f"{block} {joints.stop - joints.start}" for block, joints in model.pose_slices.items()),
        "shape": _names(model.shape_names),
        "expression": _names(model.expression_names),
        "correctives": "none" if model.pose_directions is None else f"{len(model.pose_directions)}",
        "hands": "; ".join(hands.values()) or "no hand components",
        "landmarks": marks,
    }
    print_rows(rows | dict(model.notes))


def _names(names: tuple[str, ...]) -> str:
    if len(names) > 12:
        return f"{len(names)}: {', '.join(names[:10])}, ... {names[-1]}"
    return f"{len(names)}: {', '.join(names)}" if names else "none"


def _print_row(name: str, joints: int, shapes: int, expressions: int, licence: str) -> None:
    console.print(f"{name:<28} {joints:>4} joints {shapes:>4} shape {expressions:>4} expression  {licence}")
