"""Small files of the published body models' true layouts, with random numbers: what a user has, without what nobody may share."""

from __future__ import annotations

import json
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

PARENTS = {
    "smpl": (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
    "mano": (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14),
    "flame": (-1, 0, 1, 1, 1),
}
PARENTS["smplh"] = (*PARENTS["smpl"][:22], *(p for w, f in ((20, 22), (21, 37)) for i in range(5) for p in (w, f + 3 * i, f + 3 * i + 1)))
PARENTS["smplx"] = (
    *PARENTS["smpl"][:22],
    *(15, 15, 15),
    *(p for w, f in ((20, 25), (21, 40)) for i in range(5) for p in (w, f + 3 * i, f + 3 * i + 1)),
)
HACK_VERTICES = 30
SHAPES = {"smpl": 10, "smplh": 16, "smplx": 20, "mano": 10, "flame": 400}


def entries(kind: str, seed: int = 0, vertices: int = 40, shapes: int | None = None) -> dict[str, np.ndarray]:
    """The entries of a file, in float64, as a plain dictionary."""
    rng, joints, faces = np.random.default_rng(seed), len(PARENTS[kind]), 30
    weights = np.zeros((vertices, joints))
    np.put_along_axis(weights, rng.random(weights.shape).argsort(1)[:, :4], rng.dirichlet(np.ones(4), vertices), 1)
    found = {
        "v_template": rng.normal(0, 0.5, (vertices, 3)),
        "shapedirs": rng.normal(0, 0.05, (vertices, 3, shapes or SHAPES[kind])),
        "posedirs": rng.normal(0, 0.05, (vertices, 3, 9 * (joints - 1))),
        "J_regressor": rng.dirichlet(np.ones(vertices), joints),
        "weights": weights,
        "kintree_table": np.array([PARENTS[kind], range(joints)]).astype(np.uint32),
        "f": rng.integers(0, vertices, (faces, 3)).astype(np.uint32),
        "J": np.zeros((joints, 3)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    if kind == "mano":
        found |= {
            "hands_components": rng.normal(0, 1, (45, 45)),
            "hands_mean": rng.normal(0, 0.2, 45),
            "hands_coeffs": rng.normal(0, 1, (9, 45)),
        }
    if kind in ("smplh", "smplx"):
        found |= {f"hands_components{s}": rng.normal(0, 1, (45, 45)) for s in "lr"} | {
            f"hands_mean{s}": rng.normal(0, 0.2, 45) for s in "lr"
        }
    if kind == "smplx":
        found |= {"lmk_faces_idx": rng.integers(0, faces, 51), "lmk_bary_coords": rng.dirichlet(np.ones(3), 51)}
        found |= {"dynamic_lmk_faces_idx": rng.integers(0, faces, (79, 17)), "dynamic_lmk_bary_coords": rng.dirichlet(np.ones(3), (79, 17))}
        found |= {"vt": rng.random((50, 2)), "ft": rng.integers(0, 50, (faces, 3))}
    return found


def flame_landmarks(seed: int = 0, faces: int = 30) -> tuple[dict, dict]:
    """The entries of FLAME's static and dynamic landmark files."""
    rng = np.random.default_rng(seed)
    static = {"lmk_face_idx": rng.integers(0, faces, 51), "lmk_b_coords": rng.dirichlet(np.ones(3), 51)}
    return static, {"lmk_face_idx": rng.integers(0, faces, (79, 17)), "lmk_b_coords": rng.dirichlet(np.ones(3), (79, 17))}


def write_npz(path: Path, found: dict) -> Path:
    """An .npz as the official ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)
    return path


def write_pickle(path: Path, found: dict, protocol: int = 2, chumpy: bool = True) -> Path:
    """A .pkl as Python 2 wrote it: a sparse regressor and, with `chumpy`, shape directions selected from a chumpy array."""
    import scipy.sparse

    path.parent.mkdir(parents=True, exist_ok=True)
    if "J_regressor" in found:
        found = found | {"J_regressor": scipy.sparse.csc_matrix(found["J_regressor"])}
    with chumpy_modules() as classes:
        if chumpy:
            shapes = found["shapedirs"]
            order = np.random.default_rng(1).permutation(shapes.size)
            shuffled = np.empty(shapes.size)
            shuffled[order] = shapes.ravel()
            leaf = instance(classes["Ch"], x=shuffled)
            found = found | {"shapedirs": instance(classes["Select"], a=leaf, idxs=order, preferred_shape=shapes.shape)}
            found |= {"v_template": instance(classes["Ch"], x=found["v_template"])}
        path.write_bytes(pickle.dumps(found, protocol))
    return path


def instance(kind: type, **state: object) -> object:
    """An object with these fields."""
    made = kind()
    made.__dict__.update(state)
    return made


@contextmanager
def chumpy_modules(*more: str):
    """Classes under chumpy's names, for pickling only: Ch, Select, and `more` as "module.Class"."""
    classes, names = {}, ("ch.Ch", "reordering.Select", *more)
    for name in names:
        module, _, kind = name.rpartition(".")
        full = f"chumpy.{module}"
        for parent in ("chumpy", full):
            sys.modules.setdefault(parent, ModuleType(parent))
        classes[kind] = type(kind, (), {"__module__": full})
        setattr(sys.modules[full], kind, classes[kind])
    try:
        yield classes
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "chumpy"]:
            del sys.modules[name]


def write_hack(root: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """HACK's folder, with 5 shapes and 4 expressions; returns what it was made of."""
    import cv2

    from vitruvian.body.hack import BONES_FILE
    from vitruvian.body.lbs import rotation_matrices
    from vitruvian.body.names import JOINT_NAMES

    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    made = {
        "template": rng.normal(0, 5, (HACK_VERTICES, 3)).round(4),
        "uv": rng.random((HACK_VERTICES - 2, 2)).round(4),
        "weights": rng.random((8, HACK_VERTICES)) + 0.1,
        "mean": rng.normal(0, 5, (HACK_VERTICES, 3)),
        "shape": rng.normal(0, 0.5, (5, HACK_VERTICES, 3)),
        "blendshape": rng.normal(0, 0.5, (5, HACK_VERTICES, 3)),
        "pose": rng.normal(0, 0.5, (8, 3, 3, HACK_VERTICES, 3)),
        "map": rng.integers(0, 256, (16, 16), dtype=np.uint8),
        "direction": np.array([0, -0.453, 0.891]),
        "matrices": rotation_matrices(rng.normal(0, 0.3, (8, 3))),
        "heads": rng.normal(0, 0.2, (8, 3)),
        "lengths": rng.uniform(1, 2, 8),
    }
    lines = ["# template", *("v {} {} {}".format(*v) for v in made["template"])]
    corners = [f"{i + 1}/{i + 1}" if i < HACK_VERTICES - 2 else f"{i + 1}" for i in range(HACK_VERTICES)]
    faces = [f"f {' '.join(corners[i : i + 4])}" for i in range(0, HACK_VERTICES - 4, 4)] + [f"f {' '.join(corners[-3:])}"]
    old, new = (["vt {} {}".format(*t) for t in uv] for uv in (made["uv"] * 0, made["uv"]))
    (root / "template.obj").write_text("\n".join([*lines, *old, *faces]))
    (root / "template_newuv.obj").write_text("\n".join([*lines, *new, *faces]))
    bones = {
        name: {k: made[k2][i].tolist() for k, k2 in (("matrix", "matrices"), ("head", "heads"))}
        for i, name in enumerate(JOINT_NAMES["hack"])
    }
    for i, bone in enumerate(bones.values()):
        bone["length"] = made["lengths"][i]
    (root / BONES_FILE).write_text(json.dumps(bones))
    np.save(root / "weight_map_smooth.npy", made["weights"])
    np.save(root / "ts_larynx.npy", made["direction"])
    np.save(root / "blendshape.npy", made["blendshape"])
    np.save(root / "S.npy", np.array({"mean": made["mean"], "VT_std": made["shape"]}, object))
    np.save(root / "P.npy", np.array({"mean": made["pose"]}, object))
    cv2.imwrite(str(root / "Lc_mid.png"), made["map"])
    return made
