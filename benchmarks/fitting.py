"""Fitting bodies: accuracy and speed, all figures of body/fit.py, views.py, scan.py in one run.

    python benchmarks/fitting.py [--bodies 500] [--only points hands occlusion views scan]        (extra [synth])

points: random Anny bodies (the house's poses; then independent turns of 0.3 rad of every kept joint) -> 133 points of Anny's own mesh
+ 5 mm noise -> compact body; error against Anny's own vertices. hands: a model shaped like SMPL+H. occlusion: most of a
hand's points missing, body and hand fitted as one against a lone hand fitted to the hand's points.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from vitruvian.body.compact import JOINT_BONES, compact_arrays, load_compact
from vitruvian.body.fit import fit_points, prepare
from vitruvian.body.fitting.poseprior import make_pose_prior
from vitruvian.body.fitting.scan import fit_scan
from vitruvian.body.fitting.views import fit_keypoints
from vitruvian.body.merge import as_hand, as_smplh
from vitruvian.body.model import BodyModel, HandSpace, replace
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.regressors import PointRegressor, point_regressor

TURN = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
NOISE = 0.005


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=["points", "hands", "occlusion", "views", "scan"])
    options = parser.parse_args()
    if "points" in options.only:
        points(options.bodies)
    for name, run in (("hands", hands), ("occlusion", occlusion), ("views", views), ("scan", scan)):
        if name in options.only:
            run()


def millimetres(name: str, error: np.ndarray) -> None:
    """Print mean and 99th percentile of distances in metres."""
    print(f"{name}: mean {1000 * error.mean():.2f} mm, 99 % {1000 * np.percentile(error, 99):.2f} mm", flush=True)


def anny_bodies(count: int, rng: np.random.Generator, independent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and 133 points of random Anny bodies, y up."""
    import anny
    import torch

    from vitruvian.synth.landmarks import landmarks_for
    from vitruvian.synth.poses import Rig, rotation, sample_poses

    torch.set_num_threads(1)
    model = anny.Anny(rig="anny", topology="anny").float()
    marks = landmarks_for(model)
    with torch.no_grad():
        heads = model()["bone_poses"][0, :, :3, 3].numpy().astype(float)
    rig, kept = Rig(tuple(model.bone_labels), heads), {bone for _, bone in JOINT_BONES.values()}
    pose = sample_poses(rng, rig, count)
    if independent:
        pose = np.tile(np.eye(4), (count, len(rig.names), 1, 1))
        for i in [i for i, name in enumerate(rig.names) if name in kept]:
            turn = rng.normal(0, 0.3, (count, 3))
            pose[:, i, :3, :3] = rotation(turn, np.linalg.norm(turn, axis=1))
    shape = np.stack([
        rng.beta(0.6, 0.6, count), np.where(rng.random(count) < 0.15, rng.uniform(0.15, 0.55, count), rng.uniform(0.58, 0.98, count)),
        rng.normal(0.55, 0.18, count), rng.normal(0.5, 0.2, count), rng.uniform(0.2, 0.85, count), rng.normal(0.55, 0.18, count),
    ], 1).clip(0, 1)  # fmt: skip
    vertices, points = [], []
    for start in range(0, count, 50):
        rows = slice(start, start + 50)
        with torch.no_grad():
            out = model(pose_parameters=torch.from_numpy(pose[rows]).float(), phenotype_kwargs=torch.from_numpy(shape[rows]).float())
        mesh = out["vertices"].numpy()
        points.append(marks.wholebody133(mesh, out["bone_poses"][:, :, :3, 3].numpy()) @ TURN.T)
        vertices.append((mesh @ TURN.T).astype(np.float32))
    return np.concatenate(vertices), np.concatenate(points).astype(np.float32)


def vertex_error(model: BodyModel, parameters, vertices: np.ndarray) -> np.ndarray:
    """Distances of fitted vertices from the truth (n, v), metres."""
    out = []
    for start in range(0, len(vertices), 50):
        p = parameters[start : start + 50]
        mesh = model.forward(p.pose, p.shape, p.expression, p.translation).vertices
        out.append(np.linalg.norm(mesh - vertices[start : start + 50], axis=2))
    return np.concatenate(out)


def points(count: int) -> None:
    """133 points with noise -> the compact body."""
    model = load_compact()
    prepare(model, "coco-wholebody-133", None, 16, True)
    for title, independent in (("house's poses", False), ("independent turns of 0.3 rad", True)):
        rng = np.random.default_rng(1)
        vertices, truth = anny_bodies(count if not independent else count // 2, rng, independent)
        seen = truth + rng.normal(0, NOISE, truth.shape)
        wall, cpu = time.perf_counter(), time.process_time()
        result = fit_points(model, seen, sigma=NOISE)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        error = vertex_error(model, result.parameters, vertices)
        print(
            f"\nfit of {len(seen)} Anny bodies, {title}: {len(seen) / wall:.0f} bodies/s (per CPU second {len(seen) / cpu:.0f}), batch 64"
        )
        millimetres("  vertices", error)
        hand = np.isin(model.vertex_parts, (2, 3))
        millimetres("  vertices of hands", error[:, hand])
        millimetres("  vertices of the head", error[:, model.vertex_parts == 1])
        millimetres("  the 133 points, noise taken off", np.linalg.norm(result.points - truth, axis=2))
        print(f"  worst body: {1000 * error.mean(1).max():.1f} mm; {(error.mean(1) > 0.03).sum()} bodies over 30 mm")


def hand_spaces(model: BodyModel) -> tuple[dict[str, HandSpace], dict[str, np.ndarray]]:
    """Linear hand spaces (45 values) from the compact body's pose statistics, and standard deviations of their coefficients."""
    names, data = list(JOINT_BONES), compact_arrays()
    spaces, widths = {}, {}
    for side in ("left", "right"):
        rows = np.concatenate([3 * names.index(f"{side}_{n}") + np.arange(3) for n in JOINT_NAMES["mano"][1:]])
        values, vectors = np.linalg.eigh(data["pose_covariance"][np.ix_(rows, rows)].astype(float))
        components = vectors[:, ::-1].T
        spaces[f"{side}_hand"] = HandSpace(components.astype(np.float32), data["pose_mean"][rows].astype(np.float32))
        widths[side] = np.sqrt(np.maximum(values[::-1], 1e-4))
    return spaces, widths


def hand_regressor(model: BodyModel, side: str, prefix: str) -> PointRegressor:
    """The 21 points of one hand for a model whose mesh is the compact body's: joints by name, tips by vertex."""
    source = point_regressor(load_compact(), "coco-wholebody-133")
    first = source.names.index(f"{side}_hand_root")
    rows, columns, weights = [], [], []
    for row, column, weight in zip(source.rows, source.columns, source.weights, strict=True):
        if first <= row < first + 21:
            if column >= source.num_vertices:
                old = list(JOINT_BONES)[column - source.num_vertices]
                new = prefix + old.removeprefix(f"{side}_") if prefix == "" else old
                column = source.num_vertices + model.joint_names.index(new)
            rows, columns, weights = [*rows, row - first], [*columns, column], [*weights, weight]
    return PointRegressor(
        "hand", source.names[first : first + 21], np.array(rows), np.array(columns), np.array(weights), model.num_vertices, model.num_joints
    )


def smplh_points(model: BodyModel) -> PointRegressor:
    """22 body joints and both hands' 21 points of the SMPL+H-shaped model."""
    hands_ = [hand_regressor(model, side, f"{side}_") for side in ("left", "right")]
    rows = np.concatenate([np.arange(22), *(22 + 21 * i + h.rows for i, h in enumerate(hands_))])
    columns = np.concatenate([model.num_vertices + np.arange(22), *(h.columns for h in hands_)])
    weights = np.concatenate([np.ones(22), *(h.weights for h in hands_)])
    names = (*model.joint_names[:22], *hands_[0].names, *hands_[1].names)
    return PointRegressor("smplh", names, rows, columns, weights, model.num_vertices, model.num_joints)


def random_smplh(model: BodyModel, widths: dict, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses with synergies in the hands and shapes."""
    pose = rng.normal(0, 0.2, (count, model.num_joints, 3))
    pose[:, 0] = rng.normal(0, 1, (count, 3))
    for side in ("left", "right"):
        space = model.hands[f"{side}_hand"]
        values = rng.normal(0, 1, (count, 12)) * widths[side][:12] @ space.components[:12] + space.mean
        pose[:, model.pose_slices[f"{side}_hand"]] = values.reshape(count, 15, 3)
    return pose.astype(np.float32), rng.normal(0, 0.7, (count, 10)).astype(np.float32)


def hands(count: int = 64) -> None:
    """Clean points of body and hands -> finger joints."""
    model = as_smplh(load_compact())
    spaces, widths = hand_spaces(model)
    model = replace(model, hands=spaces)
    rng = np.random.default_rng(2)
    regressor = smplh_points(model)
    pose, shape = random_smplh(model, widths, rng, count)
    truth = model.forward(pose, shape)
    target = regressor(truth.vertices, truth.joints)
    for title, prior in (
        ("free fingers", make_pose_prior(model)),
        ("45 coefficients", make_pose_prior(model, 45, widths["left"])),
        ("12 coefficients", make_pose_prior(model, 12, widths["left"])),
    ):
        result = fit_points(
            model, target, regressor, sigma=0.001, robust=None, pose_prior=prior, num_shape=10, expression=False, iterations=40
        )
        p = result.parameters
        joints = model.forward(p.pose, p.shape, None, p.translation).joints
        print(f"\nSMPL+H-shaped model, clean points, {title}")
        millimetres("  finger joints", np.linalg.norm(joints[:, 22:] - truth.joints[:, 22:], axis=2))


def occlusion(count: int = 64) -> None:
    """Most of the right hand hidden and 5 mm noise: one fit of body and hands against separate fits."""
    body = as_smplh(load_compact())
    spaces, widths = hand_spaces(body)
    body = replace(body, hands=spaces)
    hand = replace(as_hand(load_compact(), "right"), hands={"hand": spaces["right_hand"]})
    rng = np.random.default_rng(3)
    regressor, alone = smplh_points(body), hand_regressor(hand, "right", "")
    pose, shape = random_smplh(body, widths, rng, count)
    truth = body.forward(pose, shape)
    target = regressor(truth.vertices, truth.joints)
    for hidden in (8, 14, 17):
        seen = target + rng.normal(0, NOISE, target.shape)
        for row in seen:
            row[43 + rng.choice(np.arange(1, 21), hidden, replace=False)] = np.nan
        options = {"sigma": NOISE, "num_shape": 10, "expression": False}
        joint = fit_points(body, seen, regressor, pose_prior=make_pose_prior(body, 12, widths["right"]), **options)
        single = fit_points(hand, seen[:, 43:], alone, pose_prior=make_pose_prior(hand, 12, widths["right"]), **options)
        errors = []
        for model, result, first in ((body, joint, 37), (hand, single, 1)):
            p = result.parameters
            joints = model.forward(p.pose, p.shape, None, p.translation).joints[:, first : first + 15]
            errors.append(np.linalg.norm(joints - truth.joints[:, 37:], axis=2)[result.ok & single.ok])
        print(f"\n{hidden} of 21 points of a hand hidden, 5 mm noise; finger joints of {len(errors[0])} hands")
        millimetres("  body and hands in one fit", errors[0])
        millimetres("  the hand alone", errors[1])


def views(count: int = 64) -> None:
    """Pixels with 2 px noise from four cameras, and from one."""
    model, rng = load_compact(), np.random.default_rng(4)
    vertices, truth = anny_bodies(count, rng, False)
    intrinsics = np.array([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]])
    angles = 0.3 + np.arange(4) * np.pi / 2
    turn = np.stack([np.diag([1.0, -1, -1]) @ np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]]) for a in angles])
    place = np.einsum("cij,nkj->ncki", turn, truth) + np.array([0, 0, 4.0])
    pixels = place[..., :2] / place[..., 2:] * 1000 + [640, 360] + rng.normal(0, 2, (*place.shape[:3], 2))
    start = time.perf_counter()
    result = fit_keypoints(model, pixels, np.tile(intrinsics, (4, 1, 1)), turn, np.tile([0, 0, 4.0], (4, 1)), sigma=2)
    print(f"\nfour cameras at 4 m, 2 px noise: {count / (time.perf_counter() - start):.0f} bodies/s")
    millimetres("  vertices", vertex_error(model, result.parameters, vertices))
    start = time.perf_counter()
    result = fit_keypoints(model, pixels[:, :1], intrinsics[None], sigma=2)
    print(f"one camera, 2 px noise: {count / (time.perf_counter() - start):.1f} bodies/s; residual {result.error.mean():.2f} px")
    hips = [11, 12]
    relative = [p[:, :17] - p[:, hips].mean(1, keepdims=True) for p in (result.points, place[:, 0])]
    millimetres("  17 body points relative to the hips", np.linalg.norm(relative[0] - relative[1], axis=2))


def scan(count: int = 4) -> None:
    """Clouds of 8000 points with 2 mm noise; the start from 133 points with 15 mm noise."""
    model, rng = load_compact(), np.random.default_rng(5)
    vertices, truth = anny_bodies(count, rng, False)
    first = fit_points(model, truth + rng.normal(0, 0.015, truth.shape), sigma=0.015)
    clouds, normals = [], []
    for mesh in vertices:
        corners = mesh[model.faces[rng.integers(0, len(model.faces), 8000)]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals.append(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))
        clouds.append(np.einsum("nc,nci->ni", rng.dirichlet([1, 1, 1], 8000), corners) + rng.normal(0, 0.002, (8000, 3)))
    start = time.perf_counter()
    result = fit_scan(model, clouds, start=first.parameters)
    print(f"\nscans of 8000 points: {(time.perf_counter() - start) / count:.1f} s each")
    millimetres("  vertices at the start", vertex_error(model, first.parameters, vertices))
    millimetres("  vertices", vertex_error(model, result.parameters, vertices))
    front = [n[:, 2] > 0.2 for n in normals]
    result = fit_scan(
        model,
        [c[f] for c, f in zip(clouds, front, strict=True)],
        normals=[n[f] for n, f in zip(normals, front, strict=True)],
        start=first.parameters,
    )
    millimetres("  vertices, from the front only, with normals", vertex_error(model, result.parameters, vertices))


if __name__ == "__main__":
    main()
