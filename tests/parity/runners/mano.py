"""Runs the cases of "mano": SMPL, SMPL+H, SMPL-X, MANO and FLAME files through `body.published`, posed by the numpy core.

An output is TAG.QUANTITY or QUANTITY. Tags say how the hands are given ("pca6_mean", "aa_flat", "rotmat", "manopth_..."), quantities which
result ("vertices_s16" every 16th vertex, "joints144", "full_pose", "..._mm" in millimetres); sizes and options are read from these.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch
from tests.parity.fill import Case
from tests.parity.literal import pose_literally, quaternion_rotations

from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyModel, BodyOutput
from vitruvian.body.points import hand21, published_joints
from vitruvian.body.pose import full_pose, rotations_from_6d
from vitruvian.body.published import Extras, from_arrays

Arrays = dict[str, np.ndarray]
BLOCKS = {"global_orient": "root", "body_pose": "body", "neck_pose": "neck", "jaw_pose": "jaw"}
BLOCKS |= {"leye_pose": "left_eye", "reye_pose": "right_eye"}


def run(case: Case) -> Arrays | None:
    """Every output of a case; None where the state is no body model."""
    state, inputs = case.state_dict(), case.inputs()
    if "kintree_table" not in state:
        return None
    model = read(state, case.meta["variant"], inputs["betas"].shape[1])
    found: dict[str, Arrays] = {}
    for name in case.outputs():
        tag = name.rpartition(".")[0]
        if tag not in found:
            found[tag] = manopth(model, state["J_regressor"], inputs, tag) if "manopth" in tag else smplx(model, inputs, tag)
    return {name: quantity(name.rpartition(".")[2], found[name.rpartition(".")[0]]) for name in case.outputs()}


def read(state: Arrays, variant: str, betas: int) -> BodyModel:
    """The model, with FLAME's landmark files and a kid template where the state has them; left hands are not fixed, as published."""
    part = lambda prefix: {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)} or None  # noqa: E731
    side = "mano-left" if "left" in variant.lower() else ""
    kid = next((value for name, value in state.items() if "kid" in name or "smil" in name), None)
    extras = Extras(static=part("static/"), contour=part("dynamic/"), kid=kid)
    return from_arrays(state, side, num_shape=None if kid is None else betas - 1, fix_left_shape=False, extras=extras)


def smplx(model: BodyModel, inputs: Arrays, tag: str) -> Arrays:
    """The smplx package 0.1.28, which uses ten betas of files with fewer than 300."""
    betas = inputs["betas"] if model.num_shape >= 300 or "kid" in model.shape_names else inputs["betas"][:, :10]
    expression = inputs.get("expression")
    blocks = {BLOCKS[name]: inputs[name] for name in BLOCKS if name in inputs}
    pca = re.search(r"pca(\d+)", tag)
    suffix = f"pca{pca[1]}" if pca else "axisang"
    hands = {block: inputs[f"{block}_{suffix}"] for block in model.hands if f"{block}_{suffix}" in inputs}
    space = "pca" if pca and not (model.kind == "mano" and pca[1] == "45") else "axis_angle"  # with 45 its MANO takes axis angles
    pose = full_pose(model, **blocks, **hands, pose_space=space, hand_mean=tag.endswith("_mean"))
    given = rotation_matrices(pose) if tag == "rotmat" else pose
    output = model.forward(given, betas, expression, inputs.get("transl"))
    return {"full_pose": pose.reshape(len(pose), -1), "v_shaped": model.rest(betas)[0]} | points(model, output)


def points(model: BodyModel, output: BodyOutput) -> Arrays:
    """Vertices, and joints without and with landmarks and contour, by their number."""
    sets = [published_joints(model, output, landmarks=False), published_joints(model, output)]
    if model.landmarks is not None and model.landmarks.contour_faces is not None:
        sets.append(published_joints(model, output, contour=True))
    return {"vertices": output.vertices, "joints": output.joints} | {f"joints{joints.shape[1]}": joints for joints in sets}


def manopth(model: BodyModel, regressor: np.ndarray, inputs: Arrays, tag: str) -> Arrays:
    """hassony2/manopth's layer, in metres: its 21 points, centred on one of them unless a translation is given.

    The stored millimetres have a tolerance below float32's resolution, so the skinning is that of `literal.py`, which rounds alike;
    our core must agree with it to what float32 can hold.
    """
    pca, centre = re.search(r"pca(\d+)", tag), re.search(r"_c(\d+)", tag)
    count = int(pca[1]) if pca else 45
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    six = given.get("rot6d_pose") if "rot6d" in tag else None
    hand = given[f"hand_pca{count}" if pca else "hand_axisang"] if six is None else six[:, 6 : 6 + count]
    root = given["global_orient"] if six is None else None
    pose = full_pose(model, root=root, hand=hand, pose_space="pca" if pca else "axis_angle", hand_mean="_mean" in tag)
    rotations = quaternion_rotations(pose)
    if six is not None:
        rotations[:, 0] = rotations_from_6d(six[:, :6], "columns" if "rot6dgs" in tag else "manopth_robust")
    output = model.forward(rotations.numpy(), inputs["betas"])
    vertices, joints = (a.numpy() for a in pose_literally(model, regressor, rotations, given["betas"]))
    np.testing.assert_allclose(output.vertices, vertices, atol=1e-5, err_msg="the core and the literal equations differ")
    output = replace(output, vertices=vertices, joints=joints)
    points21 = hand21(model, output, "manopth")
    if "_trans" in tag:
        move = -inputs["transl"][:, None]
    else:
        move = points21[:, int(centre[1]), None] if centre else np.float32(0)
    return {"vertices": vertices - move, "joints21": points21 - move}


def quantity(name: str, found: Arrays) -> np.ndarray:
    """A stored quantity: perhaps every s-th vertex, perhaps in millimetres."""
    metres = name.removesuffix("_mm")
    stem, _, step = metres.rpartition("_s") if re.search(r"_s\d+$", metres) else (metres, "", "")
    value = found[stem][:, :: int(step)] if step else found[stem]
    return value * 1000 if name.endswith("_mm") else value
