"""The user's own body models: official files in, safe files out, kept in the home folder (VITRUVIAN_HOME, else the user's cache).

`import_bodies` looks through a folder for the official names, converts each file once to a body file (`bodyfile.py`) and says what was
left out and why. `load_body` opens a model by its name. Official files are never copied, changed or downloaded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitruvian._npy import NpzFile, read_npy
from vitruvian.body.bodyfile import read_body_file, read_body_header, save_body
from vitruvian.body.hack import is_hack, read_hack
from vitruvian.body.model import BodyModel
from vitruvian.body.pickles import read_body_pickle, unpickle_body
from vitruvian.body.published import Extras, FixLeftShape, from_arrays
from vitruvian.errors import FormatError, VitruvianError

logger = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""What a model may be called, since its file is."""

MOST_FILES = 10_000  # in a folder that is searched


@dataclass(frozen=True)
class Found:
    """An official file: `name` is what its model will be called, `path` the file, or HACK's folder."""

    name: str
    path: Path


@dataclass(frozen=True)
class Imported:
    """A converted model: its name, the file it came from, the file it is in, its licence in one line, and what the reading did."""

    name: str
    source: Path
    path: Path
    licence: str
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Refused:
    """An official file that could not be converted, and why."""

    source: Path
    reason: str


def folder() -> Path:
    """Where imported models are kept."""
    from vitruvian.weights.store import home

    return home() / "bodies"


_GENDER = {"m": "male", "f": "female", "n": "neutral", "male": "male", "female": "female", "neutral": "neutral"}
_NAMES: tuple[tuple[str, str], ...] = (  # pattern of the file's name in small letters -> the model's kind; "g" is the gender or side
    (r"basic_?model_(?P<g>m|f|neutral)_lbs_10_207_0_v(?P<v>[\d.]+)\.pkl", "smpl"),
    (r"smpl_(?P<g>male|female|neutral)(?P<v>_.*)?\.(pkl|npz)", "smpl"),
    (r"smplh_(?P<g>male|female|neutral)(?P<v>_.*)?\.(pkl|npz)", "smplh"),
    (r"smplx_(?P<g>male|female|neutral)(?P<v>_.*)?\.(pkl|npz)", "smplx"),
    (r"mano_(?P<g>left|right)\.(pkl|npz)", "mano"),
    (r"flame_(?P<g>male|female|neutral)(?P<v>_.*)?\.(pkl|npz)", "flame"),
    (r"(?P<g>male|female)_model\.pkl", "flame"),
    (r"(generic_model|flame_?20(?P<v>\d\d)(_no_jaw)?)\.pkl", "flame"),
    (r"model\.(pkl|npz)", ""),  # AMASS and AGORA keep smplh/male/model.npz: the folders say the rest
)


def model_name(path: Path) -> str | None:
    """What the model in an official file is called here: kind, gender or side, and what else its name says; None for other files."""
    for pattern, kind in _NAMES:
        match = re.fullmatch(pattern, path.name.lower())
        if match is None:
            continue
        if not kind:
            return _name_by_folders(path)
        gender = _GENDER.get(match.groupdict().get("g") or "neutral", match.groupdict().get("g"))
        version = re.sub(r"[^a-z0-9.]+", "-", (match.groupdict().get("v") or "").strip("_")).strip("-.")
        locked = any("locked" in part.lower() for part in path.parts[-4:-1]) and "locked" not in version
        return "-".join(filter(None, (kind, gender, version, "lockedhead" if locked else "")))
    return None


def _name_by_folders(path: Path) -> str | None:
    """For KIND/GENDER/model.npz."""
    if len(path.parts) < 3:
        return None
    gender, kind = (part.lower() for part in (path.parts[-2], path.parts[-3]))
    kind = next((k for k in ("smplh", "smplx", "smpl", "flame") if kind.startswith(k)), None)
    return f"{kind}-{gender}" if kind and gender in _GENDER else None


def find_bodies(folder: str | Path) -> list[Found]:
    """The official files under a folder (or the one file), by name. Where two would have one name, the second gets its folder's too.

    Raises FormatError if there is no such folder, or too much in it.
    """
    root = Path(folder)
    if root.is_file():
        return [Found(model_name(root) or "", root)]
    if not root.is_dir():
        raise FormatError(f"{root} is no folder: give the one that your model files are in")
    found: dict[str, Found] = {}
    for path in _walk(root):
        name = "hack" if path.is_dir() else model_name(path)
        if name is None:
            continue
        while name in found:
            name = f"{name}-{_plain(path.parent.name)}" if not name.endswith(_plain(path.parent.name)) else f"{name}-2"
        found[name] = Found(name, path)
    return list(found.values())


def _walk(root: Path) -> Iterator[Path]:
    """Files, and folders of HACK, in a fixed order, without following links to folders."""
    seen, queue = 0, [root]
    while queue:
        here = queue.pop()
        if is_hack(here):
            yield here
        entries = sorted(here.iterdir())
        seen += len(entries)
        if seen > MOST_FILES:
            raise FormatError(f"{root} has more than {MOST_FILES} files: give the folder of the body models alone")
        yield from (entry for entry in entries if entry.is_file())
        queue.extend(reversed([entry for entry in entries if entry.is_dir() and not entry.is_symlink()]))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "x"


def read_body(
    path: str | Path,
    *,
    name: str | None = None,
    num_shape: int | None = None,
    num_expression: int | None = None,
    fix_left_shape: FixLeftShape = "auto",
    kid_template: str | Path | None = None,
    hands: tuple[str | Path, str | Path] | None = None,
) -> BodyModel:
    """Read an official file (.pkl, .npz), HACK's folder, or a body file of ours.

    What belongs to it is taken from beside it: MANO_RIGHT for a left hand, the two MANO files for an SMPL+H without hands, FLAME's
    landmark files. hands: the two MANO files (left, right) where they are elsewhere. kid_template: .npy with the child's vertices.
    num_shape, num_expression, fix_left_shape: see `published.from_arrays`. Raises FormatError where a file is missing or damaged.
    """
    path = Path(path)
    if path.is_dir():
        return read_hack(path)
    arrays = read_entries(path)
    if "header" in arrays:
        return read_body_file(path)
    name = name or model_name(path) or ""
    extras = _extras(path, arrays, name, hands, kid_template)
    try:
        return from_arrays(arrays, name, num_shape=num_shape, num_expression=num_expression, fix_left_shape=fix_left_shape, extras=extras)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def read_entries(path: str | Path) -> Mapping[str, object]:
    """The entries of a .pkl or .npz. Raises FormatError where it can't be read."""
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return NpzFile(path, unpickle_body)
    return read_body_pickle(path)


def _extras(path: Path, arrays: Mapping, name: str, hands: tuple | None, kid_template: str | Path | None) -> Extras:
    """What belongs to a file, from the files beside it."""
    table = arrays.get("kintree_table")
    joints = table.shape[1] if isinstance(table, np.ndarray) and table.ndim == 2 else 0
    found: dict[str, object] = {}
    if joints == 16 and "left" in name:
        found["other_hand"] = _beside(path, (r"mano_right\.(pkl|npz)",), read_entries)
    if joints == 52 and "hands_componentsl" not in arrays:
        for side in ("left", "right"):
            given = hands[side == "right"] if hands else None
            pattern = (rf"mano_{side}\.(pkl|npz)",)
            found[f"{side}_hand"] = read_entries(given) if given else _beside(path, pattern, read_entries)
    if joints == 5:
        found["static"] = _beside(path, (r"flame_static_embedding\.(pkl|npz)",), read_entries)
        found["contour"] = _beside(path, (r"flame_dynamic_embedding\.npy",), _read_dictionary)
    if kid_template is not None:
        kid = read_npy(kid_template)
        if not isinstance(kid, np.ndarray) or kid.dtype.kind != "f":
            raise FormatError(f"{kid_template} is not an array of vertices: give the kid template's .npy")
        found["kid"] = kid.astype(np.float64)
    return Extras(**found)


def _beside(path: Path, patterns: tuple[str, ...], read: Callable[[Path], Mapping]) -> Mapping | None:
    """The nearest file whose name matches: in the same folder, or one inside the two folders above it; None where there is none."""
    folders = [path.parent]
    for above in list(path.resolve().parents)[1:3]:
        folders += [place for place in sorted(above.glob("*"))[:100] if place.is_dir()]
    for pattern in patterns:
        for place in folders:
            for candidate in sorted(place.glob("*.*"))[:1000]:
                if re.fullmatch(pattern, candidate.name.lower()):
                    return read(candidate)
    return None


def _read_dictionary(path: Path) -> Mapping:
    """A dictionary that was saved as an .npy."""
    value = read_npy(path, unpickle_body)
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(value, dict):
        raise FormatError(f"{path} does not hold a dictionary: give the published file")
    return value


def import_bodies(
    source: str | Path, on_progress: Callable[[int, int, str], None] | None = None, **options: object
) -> tuple[list[Imported], list[Refused]]:
    """Convert every official file under a folder (or one file) into the home folder; what is there under the same name is replaced.

    on_progress is told (done, total, name) before each file and at the end. `options` are those of `read_body`.
    One damaged file does not stop the others. Raises FormatError if there is no such folder.
    """
    found = find_bodies(source)
    done: list[Imported] = []
    refused: list[Refused] = []
    for i, item in enumerate(found):
        if on_progress is not None:
            on_progress(i, len(found), item.name)
        try:
            model = read_body(item.path, name=item.name or None, **options)
            target = folder() / f"{model.name}.npz"
            if NAME.fullmatch(model.name) is None:
                raise FormatError(f"{model.name!r} can't be the name of a model: rename the file as it was published")
            save_body(model, target)
            done.append(Imported(model.name, item.path, target, model.licence, model.notes))
        except VitruvianError as error:
            refused.append(Refused(item.path, str(error)))
    if on_progress is not None:
        on_progress(len(found), len(found), "")
    return done, refused


def list_bodies() -> list[dict]:
    """The headers of the imported models, by name: name, kind, licence, joint_names, ...; files that aren't body files are left out."""
    headers = []
    for path in sorted(folder().glob("*.npz")):
        try:
            headers.append(read_body_header(path))
        except FormatError as error:
            logger.warning("%s", error)
    return headers


def load_body(name: str | Path) -> BodyModel:
    """A model by its name in the home folder ("smplx-neutral"), "compact" (always there), "anny", or the path of a body or official file.

    Raises FormatError where there is none; the message lists what there is.
    """
    text = str(name)
    if text == "compact":
        from vitruvian.body.compact import load_compact

        return load_compact()
    if NAME.fullmatch(text):
        kept = folder() / f"{text}.npz"
        if kept.exists():
            return read_body_file(kept)
        if text == "anny":
            from vitruvian.body.anny import load_anny

            return load_anny()
    if Path(name).exists():
        return read_body(name)
    here = ", ".join(header["name"] for header in list_bodies()) or "none imported yet"
    raise FormatError(f"no body model {text!r} ({here}): use 'compact', or bring your files in with `vitruvian body import FOLDER`")
