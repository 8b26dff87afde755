"""SynthPose's claim with pictures: angles of a known walk from rendered people, seen by networks with 17, 23 and 52 points.

    python recipes/synthpose_small.py ... --out NET                                     # the network of 58 points (17 + 6 + 35)
    python benchmarks/synthpose_film.py film --out FOLDER [--persons 3] [--rate 30]     # needs [synth] and [biomech]
    python benchmarks/synthpose_film.py angles --out FOLDER --network NET/network.pt [--cameras 3]

film: a real gait (the published coordinates of the walking trial) moves LaiUhlrich2022, scaled to a person of Anny by the markers of a
standing pose. The person is fitted to the model's 33 markers, frame by frame as one motion, dressed, and rendered in the three published
cameras (-45, 0, 45 degrees from straight ahead, 4.5 m, 720 x 1280). Kept: each frame's crop around the drawn person (the true box, as a
detector is no part of the claim), and where all points of the body truly are.
angles: a network finds the points in the crops (flip test), cameras agree on left and right of hips, legs and arms, robust
triangulation, low-pass at 6 Hz, inverse kinematics.

Truth is what inverse kinematics make of the perfect 33 markers of the same rendered bodies (skin bends otherwise than the model's bones: it
is a few degrees off the angles that drove the walk, told beside). Models: "laboratory" is scaled, and its markers placed, by the perfect
markers of the standing pose, as the published benchmark has it: dense points are used as they are placed there, sparse ones lie on its
joint centres ("centres") or, kinder than published, where the standing pose has them on this person ("placed"). "own" is scaled from each
set's own detections of the standing pose, without any truth; dense points are placed by them, sparse ones on joint centres.
The network has learnt from the same renderer with other people, clothes, poses, views and backgrounds.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from opensim_trials import DATA, posed
from synthpose import cameras, gait, sets
from vitruvian._files import written_whole
from vitruvian.body.compact import JOINT_BONES, load_compact, shape_from_phenotype
from vitruvian.body.fit import fit_points
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyParameters
from vitruvian.body.regressors import PointRegressor
from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.formats.mot import Mot
from vitruvian.formats.trc import Trc
from vitruvian.geometry.camera import Camera
from vitruvian.geometry.sides import exchanged_sides
from vitruvian.skeletons import COCO_WHOLEBODY_133, SYNTHPOSE_52
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.angle_errors import DEGREES_OF_FREEDOM, angle_errors
from vitruvian.systems.biomechanics.marker_points import read_points
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES, SYNTHPOSE, MarkerSet
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, View, markers_from_views
from vitruvian.systems.biomechanics.opensim_report import ROBUST
from vitruvian.systems.biomechanics.trial_checks import TrialError

VIEWS = (-45, 0, 45)
CHOSEN = {2: (0, 2), 3: (0, 1, 2)}
CROP = (192, 256)
WINDOW = (480, 704)  # pixels that are drawn around the person
FIELDS = ("pose", "shape", "expression", "translation")
NAMES = (*SYNTHPOSE_52.names, *COCO_WHOLEBODY_133.names[17:23])
DENSE = tuple(SYNTHPOSE.places)
halfway = lambda a, b: (a + b) / 2  # noqa: E731
STANDING = 4  # frames of the standing pose, which come first
LIMBS = (
    (("hip",), ("hip", "ASIS", "PSIS")),
    (("knee", "ankle", "heel", "big_toe"), ("knee", "ankle", "toe", "heel", "calc", "meta")),
    (("shoulder", "elbow", "wrist"), ("shoulder", "elbow", "wrist")),
)
"""Points that tell the sides of hips, of legs below them, and of arms, and words in the names of the points that go with them."""
TO_OPENSIM = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # the compact body's axes (left, up, ahead) to OpenSim's (ahead, up, right)
ANNY_TO_OPENSIM = np.array([[0.0, -1, 0], [0, 0, 1], [-1, 0, 0]])
PEOPLE = ((0.85, 0.72, 0.5, 0.45, 0.5, 0.5), (0.15, 0.75, 0.6, 0.5, 0.6, 0.5), (0.5, 0.7, 0.45, 0.6, 0.4, 0.55))  # phenotypes of Anny


@dataclass(frozen=True, eq=False)
class Walker:
    """One person's films. times: (f,) seconds of the walk. points: (s + f, 58, 3) true, metres in OpenSim's axes, the standing pose first.

    driven: the angles that moved the model, degrees. crops, boxes: by camera. cameras: all.
    """

    times: np.ndarray
    points: np.ndarray
    driven: Mot
    crops: np.ndarray
    boxes: np.ndarray
    cameras: list[Camera]


def marker_regressor() -> PointRegressor:
    """SynthPose's 33 markers as points of the compact body."""
    points, body = read_points(), load_compact()
    rows = [points.skeleton.names.index(name) for name in SYNTHPOSE.places]
    vertices, weights = points.vertices[rows], points.weights[rows]
    row, corner = np.nonzero(weights)
    entries = (row, vertices[row, corner], weights[row, corner])
    return PointRegressor("synthpose-33", tuple(SYNTHPOSE.places), *entries, body.num_vertices, body.num_joints)


def union_model() -> object:
    """The generic model with anatomical markers and joint centres."""
    model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim")
    opensim_tools.place_markers(model, {**JOINT_CENTRES.places, **SYNTHPOSE.places}, SYNTHPOSE.fixed)
    model.initSystem()
    return model


def trial_of(points: np.ndarray, names: tuple[str, ...], rate: float) -> Trc:
    return Trc(names, np.arange(len(points)) / rate, points, rate)


def scaled_to(points: np.ndarray) -> tuple[object, object]:
    """Models of a person whose 33 markers, standing, are `points` (33, 3), OpenSim's axes: with these placed, and with joint centres."""
    still = trial_of(np.repeat(points[None], 5, 0), DENSE, 100.0)
    dense = opensim_tools.scale_model(union_model(), still, SYNTHPOSE, 70.0)
    unplaced = opensim_tools.scale_model(union_model(), still, SYNTHPOSE, 70.0, place=False)  # placing drops the markers it has not seen
    found, sparse = unplaced.getMarkerSet(), opensim_tools.copied(dense)
    places = {n: (JOINT_CENTRES.places[n][0], tuple(found.get(n).get_location().to_numpy().tolist())) for n in JOINT_CENTRES.places}
    opensim_tools.place_markers(sparse, places)
    sparse.initSystem()
    return dense, sparse


def walk(phenotype: tuple[float, ...], rate: float) -> tuple[BodyParameters, np.ndarray, Mot]:
    """The compact body's parameters of the standing pose and the walk, the walk's times, and the angles that drove it."""
    names = ("gender", "age", "muscle", "weight", "height", "proportions")
    shape = shape_from_phenotype(**dict(zip(names, phenotype, strict=True)))[None]
    body, regressor = load_compact(), marker_regressor()
    options = {"shape": shape, "expression": False, "robust": None, "num_shape": shape.shape[1]}
    model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", SYNTHPOSE)
    upright = np.stack(list(opensim_tools.model_markers(model).values())) @ TO_OPENSIM
    size = np.ptp(body.rest(shape)[0][0][:, 1]) / 1.75  # the model's markers are those of somebody of about this height
    standing = fit_points(body, size * upright[None], regressor, **options).parameters
    mesh = body.forward(standing.pose, standing.shape, standing.expression, standing.translation)
    subject, _ = scaled_to(regressor(mesh.vertices, mesh.joints)[0] @ TO_OPENSIM.T)
    times, coordinates, values = gait()
    even = np.arange(times[0], times[-1], 1 / rate)
    values = np.stack([np.interp(even, times, column) for column in values.T], 1)
    known = subject.getCoordinateSet()
    free = [i for i, n in enumerate(coordinates) if known.contains(n) and not n.endswith("_beta") and not known.get(n).get_locked()]
    places = posed(tuple(coordinates[i] for i in free), values[:, free], subject)
    target = np.stack([places[name] for name in SYNTHPOSE.places], 1) @ TO_OPENSIM
    found = fit_points(body, target, regressor, times=even - even[0], smoothness=0.1, **options)
    print(f"  the body is {1000 * np.sqrt(np.nanmean(found.error**2)):.1f} mm off the model's markers", flush=True)
    both = [
        np.concatenate([np.repeat(getattr(a, n), STANDING, 0), getattr(b, n)]) for a, b in ((standing, found.parameters),) for n in FIELDS
    ]
    turns = [i for i in free if not coordinates[i].endswith(("_tx", "_ty", "_tz"))]
    driven = Mot(tuple(coordinates[i] for i in turns), even - even[0], np.degrees(values[:, turns]))
    return BodyParameters(*both), even - even[0], driven


def anny_poses(wardrobe: object, parameters: BodyParameters, phenotypes: np.ndarray) -> np.ndarray:
    """(n, K, 4, 4) pose parameters of Anny's package that turn its skin as the compact body's joints do; dropped bones follow."""
    from vitruvian.synth.person import make_bodies

    body, names = load_compact(), list(wardrobe.rig.names)
    local = rotation_matrices(parameters.pose.reshape(-1, 3)).reshape(*parameters.pose.shape[:2], 3, 3)
    world = np.empty_like(local)
    for joint, parent in enumerate(body.parents):
        world[:, joint] = local[:, joint] if parent < 0 else world[:, parent] @ local[:, joint]
    axes = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # compact (left, up, ahead) to Anny (left, back, up)
    turned = {bone: axes @ world[:, i] @ axes.T for i, (_, bone) in enumerate(JOINT_BONES.values()) if bone != "jaw"}
    still = make_bodies(wardrobe, np.tile(np.eye(4), (1, len(names), 1, 1)), phenotypes[:1], np.zeros((1, 52)))
    rest, reference = still.rest_bone_poses[0, :, :3, :3], still.bone_poses[0, :, :3, :3]
    out, skin, total = np.tile(np.eye(4), (len(world), len(names), 1, 1)), {}, {}
    for i, name in enumerate(names):
        parent = wardrobe.parents[i]
        skin[i] = turned.get(name, skin[parent] if parent >= 0 else None)
        total[i] = skin[i] @ rest[i] @ reference[i].T
        out[:, i, :3, :3] = total[i] if parent < 0 else total[parent].swapaxes(-1, -2) @ total[i]
    out[:, 0, :3, 3] = parameters.translation @ axes.T
    return out


def render(
    wardrobe: object, phenotype: tuple[float, ...], parameters: BodyParameters, seed: int, photographs: list
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Camera]]:
    """True points, crops (c, f, h, w, 3), boxes (c, f, 4) and cameras. The standing pose is filmed where the walk's middle is."""
    from vitruvian.synth.backgrounds import Backdrops
    from vitruvian.synth.look import Look
    from vitruvian.synth.outfit import dress
    from vitruvian.synth.paint import sample_light
    from vitruvian.synth.person import make_bodies

    rng, count = np.random.default_rng((31, seed)), len(parameters.pose)
    phenotypes = np.tile(phenotype, (count, 1))
    bodies = make_bodies(wardrobe, anny_poses(wardrobe, parameters, phenotypes), phenotypes, np.zeros((count, 52)))
    mesh, heads = (values @ ANNY_TO_OPENSIM.T for values in (bodies.vertices, bodies.heads))
    base = mesh[:, wardrobe.base_index]
    compact = load_compact().forward(*(getattr(parameters, name)[::8] for name in FIELDS)).vertices @ TO_OPENSIM.T
    print(f"  Anny is {1000 * np.linalg.norm(base[::8] - compact, axis=-1).mean():.1f} mm off the compact body", flush=True)
    middle = base[STANDING:].mean((0, 1))
    shift = np.where(np.arange(count)[:, None] < STANDING, middle - base[:1].mean((0, 1)), 0.0)[:, None] * [1, 0, 1]
    mesh, heads, base = mesh + shift, heads + shift, base + shift
    keypoints = wardrobe.landmarks.wholebody133(base, heads)
    points = np.concatenate([read_points()(base, keypoints), keypoints[:, 17:23]], 1)
    outfit = dress(rng, wardrobe, np.array(phenotype), "plain", Look(objects=False))
    found, boxes = [], []
    every = [replace(camera, name=f"cam{number}") for number, camera in enumerate(cameras(VIEWS, middle), 1)]
    for camera in every:
        light, room = sample_light(rng), Backdrops(photographs, int(rng.integers(2**31)), 1, camera.size)[0]
        drawn = [draw(wardrobe, mesh[i], heads[i], outfit, camera, light, room, seed, rng) for i in range(count)]
        boxes.append([box for _, box in drawn])
        found.append([warp_crops(image, BoxTransform.from_boxes(box[None], CROP).matrices, CROP)[0] for image, box in drawn])
    return points, np.array(found), np.array(boxes), every


def draw(wardrobe, vertices, heads, outfit, camera: Camera, light, room, seed: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """One picture of the person before the room, and the box of what is drawn."""
    import cv2

    from vitruvian.synth.camera import View as Sight
    from vitruvian.synth.paint import paint
    from vitruvian.synth.person import label_image

    turn, eye = camera.R_cam_world, camera.centre_world
    sight = Sight(turn, eye + turn[2], 1.0)
    places, _ = sight.project(vertices[wardrobe.base_index])
    focal, centre = camera.intrinsics[0, 0], camera.intrinsics[:2, 2]
    pixels = focal * places + centre
    origin = np.floor((pixels.min(0) + pixels.max(0)) / 2 - np.array(WINDOW) / 2)
    sample = label_image(wardrobe, vertices.astype(np.float32), heads, outfit, sight, float(focal), centre - origin, WINDOW)
    person = paint(np.random.default_rng((5, seed)), sample.planes, sample.relief, light)
    picture = room.astype(np.float32)
    x, y = origin.astype(int)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + WINDOW[0], picture.shape[1]), min(y + WINDOW[1], picture.shape[0])
    own = person[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = cv2.GaussianBlur(own[..., 3], (0, 0), 0.6)[..., None] / 255.0
    picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * (1 - alpha) + own[..., :3] * alpha
    noisy = picture[y0:y1, x0:x1] + rng.normal(0, 3, own[..., :3].shape)
    picture[y0:y1, x0:x1] = noisy
    return np.clip(picture, 0, 255).astype(np.uint8), sample.boxes[0] + np.tile(origin, 2)


def film(folder: Path, persons: int, rate: float, photographs: Path | None) -> None:
    """Render everybody who is not there yet."""
    from vitruvian.synth.backgrounds import load_photographs
    from vitruvian.synth.wardrobe import Wardrobe

    wardrobe = Wardrobe()
    pictures = load_photographs(photographs.read_text().splitlines()[:300]) if photographs else []
    folder.mkdir(parents=True, exist_ok=True)
    for number, phenotype in enumerate(PEOPLE[:persons]):
        file = folder / f"person{number}.npz"
        if file.exists():
            continue
        start = time.process_time()
        print(f"person {number}", flush=True)
        parameters, times, driven = walk(phenotype, rate)
        points, crops, boxes, every = render(wardrobe, phenotype, parameters, number, pictures)
        poses = np.stack([np.c_[camera.R_cam_world, camera.t_cam_world] for camera in every])
        table = {"times": times, "points": points, "crops": crops, "boxes": boxes, "poses": poses, "intrinsics": every[0].intrinsics}
        with written_whole(file) as temporary, temporary.open("wb") as out:
            np.savez_compressed(out, driven=driven.values, labels=np.array(driven.labels), **table)
        print(f"  {time.process_time() - start:.0f} s of one processor", flush=True)


def load(file: Path) -> Walker:
    with np.load(file) as table:
        every = [Camera(table["intrinsics"], pose[:, :3], pose[:, 3], np.zeros(0), (720, 1280)) for pose in table["poses"]]
        driven = Mot(tuple(table["labels"].tolist()), table["times"], table["driven"])
        return Walker(table["times"], table["points"], driven, table["crops"], table["boxes"], every)


def swapped() -> tuple[int, ...]:
    """Each of NAMES' partner on the other side."""
    feet = [COCO_WHOLEBODY_133.names[COCO_WHOLEBODY_133.swap[COCO_WHOLEBODY_133.index(name)]] for name in NAMES[52:]]
    return (*SYNTHPOSE_52.swap, *(NAMES.index(name) for name in feet))


def detected(network: Path, walker: Walker) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (c, f, 58, 2) in pixels of the pictures, and scores, by a MapPose of 58 points with the flip test."""
    import torch

    from vitruvian.codecs.heatmap import flip_average_maps
    from vitruvian.codecs.probability_map import ProbabilityMap
    from vitruvian.systems.pose2d.mappose import VARIANTS as SIZES
    from vitruvian.systems.pose2d.mappose import MapPose
    from vitruvian.train.defaults import normalise

    model = MapPose(replace(SIZES["t"], keypoints=len(NAMES))).eval()
    model.load_state_dict(torch.load(network, map_location="cpu", weights_only=True))
    flat, boxes = walker.crops.reshape(-1, *walker.crops.shape[2:]), walker.boxes.reshape(-1, 4)
    places, scores = [], []
    for start in range(0, len(flat), 23):
        images = normalise(torch.from_numpy(flat[start : start + 23]).permute(0, 3, 1, 2))
        with torch.no_grad():
            maps = flip_average_maps(model(images).numpy(), model(images.flip(3)).numpy(), swapped(), shift=False)
        found, sure = ProbabilityMap(CROP, (maps.shape[3], maps.shape[2])).decode(maps)
        places.append(found)
        scores.append(sure)
    pixels = BoxTransform.from_boxes(boxes, CROP).to_image(np.concatenate(places))
    shape = walker.crops.shape[:2]
    return pixels.reshape(*shape, -1, 2).astype(float), np.concatenate(scores).reshape(*shape, -1)


def kept(file: Path, network: Path, walker: Walker) -> tuple[np.ndarray, np.ndarray]:
    """What the network finds, from the file where it is there."""
    if not file.exists():
        pixels, scores = detected(network, walker)
        with written_whole(file) as temporary, temporary.open("wb") as out:
            np.savez(out, pixels=pixels, scores=scores)
    with np.load(file) as table:
        return table["pixels"], table["scores"]


def sides_agreed(every: list[Camera], pixels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Keypoints (c, f, 58, 2) and scores with left and right as the cameras agree, limb by limb, and exchanges by camera.

    As `capture.views.combine` does it but for the hips, which networks know when they exchange knees and feet; the same for all sets.
    """
    pixels, scores, swap, count = pixels.copy(), scores.copy(), np.array(swapped()), np.zeros(len(every), int)
    for joints, words in LIMBS:
        left, right = ([NAMES.index(f"{side}_{joint}") for joint in joints] for side in ("left", "right"))
        wrong = exchanged_sides(every, *(pixels[:, :, i] for i in (left, right)), *(scores[:, :, i] for i in (left, right)))
        moved = np.array([i for i, name in enumerate(NAMES) if any(word in name for word in words)])
        for c, rows in enumerate(wrong):
            place, source = np.ix_(np.flatnonzero(rows), moved), np.ix_(np.flatnonzero(rows), swap[moved])
            pixels[c][place], scores[c][place] = pixels[c][source], scores[c][source]
            count[c] += rows.sum()
    return pixels, scores, count.tolist()


def of_set(values: np.ndarray, names: tuple[str, ...], pair: object) -> np.ndarray:
    """The named markers out of the 58 points, which are the last axis but one; `pair` makes neck and mid hip of left and right."""
    middles = {"neck": "shoulder", "mid_hip": "hip"}
    at = lambda name: values[..., NAMES.index(name), :]  # noqa: E731
    columns = [pair(at(f"left_{middles[n]}"), at(f"right_{middles[n]}")) if n in middles else at(n) for n in names]
    return np.stack(columns, -2)


def placed_in(model: object, standing: dict[str, float], points: dict[str, np.ndarray]) -> object:
    """A copy of the model with the named markers where the points are while it stands (coordinates in radians and metres)."""
    osim, model = opensim_tools.opensim(), opensim_tools.copied(model)
    state = model.initSystem()
    for name, value in standing.items():
        model.getCoordinateSet().get(name).setValue(state, float(value), False)
    model.assemble(state)
    model.realizePosition(state)
    places = {}
    for name, point in points.items():
        body, _ = JOINT_CENTRES.places[name]
        frame = model.getBodySet().get(body)
        place = model.getGround().findStationLocationInAnotherFrame(state, osim.Vec3(*point.tolist()), frame)
        places[name] = (body, tuple(place.to_numpy().tolist()))
    opensim_tools.place_markers(model, places)
    model.initSystem()
    return model


def models(name: str, markers: MarkerSet, laboratory: tuple[object, object], walker: Walker, seen: np.ndarray) -> dict[str, object]:
    """The models of one set, see the module. laboratory: of `scaled_to`. seen: the set's points of the standing pose as detected (m, 3)."""
    names, still = tuple(markers.places), walker.points[0]
    every = {"laboratory": laboratory[0]} if name == "52" else {"centres": laboratory[1]}
    if name != "52":
        stands = trial_of(of_set(still[None], DENSE, halfway), DENSE, 100.0)
        base = opensim_tools.inverse_kinematics(laboratory[0], stands, SYNTHPOSE.weights)
        standing = dict(zip(base.names, base.values[0], strict=True))
        every["placed"] = placed_in(laboratory[0], standing, dict(zip(names, of_set(still, names, halfway), strict=True)))
    generic = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", markers)
    own = trial_of(np.repeat(seen[None], 5, 0), names, 100.0)
    try:
        every["own"] = opensim_tools.scale_model(generic, own, markers, 70.0, place=bool(markers.placement))
    except TrialError as error:  # what is detected is no body
        print(f"{name} own: {error}", flush=True)
    return every


def sides_told(every: list[Camera], pixels: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with sides from the true points (f, 58, 3): of a point and its partner whichever is nearer. No user has that."""
    from vitruvian.geometry.camera import project

    true, swap = np.stack([project(camera, truth) for camera in every]), np.array(swapped())
    nearer = np.linalg.norm(pixels[:, :, swap] - true, axis=-1) < np.linalg.norm(pixels - true, axis=-1)
    return np.where(nearer[..., None], pixels[:, :, swap], pixels), np.where(nearer, scores[:, :, swap], scores)


def errors_of(
    walker: Walker, seen: tuple[np.ndarray, np.ndarray], chosen: tuple[int, ...], solver: str, sides: str
) -> tuple[dict[str, tuple[Mot, Mot]], dict[str, float]]:
    """(truth, found) by "set model points", and detection errors, of one person."""
    from vitruvian.geometry.camera import project
    from vitruvian.geometry.triangulate import triangulate

    pixels, scores = (values[list(chosen)] for values in seen)
    every = [walker.cameras[i] for i in chosen]
    if sides == "truth":
        pixels, scores = sides_told(every, pixels, scores, walker.points)
    for frames in (slice(STANDING), slice(STANDING, None)) if sides == "agreed" else ():
        pixels[:, frames], scores[:, frames], exchanged = sides_agreed(every, pixels[:, frames], scores[:, frames])
        print(f"left and right exchanged {exchanged} times in {frames}, all limbs together", flush=True)
    away = np.stack([np.linalg.norm(project(c, walker.points) - p, axis=-1) for c, p in zip(every, pixels, strict=True)])
    boxes = walker.boxes[list(chosen)]
    share = 100 * away / (1.25 * (boxes[..., 3] - boxes[..., 1]))[..., None]
    told = {
        f"{n}, % of the crop": float(np.median(share[..., part]))
        for n, part in (("17", slice(17)), ("6", slice(52, 58)), ("35", slice(17, 52)))
    }
    lab, centres = scaled_to(of_set(walker.points[0], DENSE, halfway))
    walking, pairs, rate = walker.points[STANDING:], {}, 1 / np.diff(walker.times).mean()
    truth = opensim_tools.inverse_kinematics(lab, trial_of(of_set(walking, DENSE, halfway), DENSE, rate), SYNTHPOSE.weights).mot()
    pairs["perfect markers, against what drove the walk"] = (walker.driven, truth)
    config = replace(VARIANTS["corrected"], synchronise=False, rate=float(rate), cutoff=6.0)
    for name, (markers, weights) in sets().items():
        names = tuple(markers.places)
        keypoints, sure = of_set(pixels, names, halfway), of_set(scores[..., None], names, np.minimum)[..., 0]
        views = [View(c, walker.times, k[STANDING:], s[STANDING:]) for c, k, s in zip(every, keypoints, sure, strict=True)]
        found = markers_from_views(names, views, "none", config).trial
        still = triangulate(every, keypoints[:, :STANDING], sure[:, :STANDING], threshold=config.outlier).points
        exact = of_set(walking, names, halfway)
        told[f"{name}, mm"] = float(1000 * np.nanmedian(np.linalg.norm(found.points - exact[: len(found.points)], axis=-1)))
        options = {"method": "opensim"} if solver == "opensim" else {"posture": markers.posture, "robust": ROBUST}
        for kind, model in models(name, markers, (lab, centres), walker, np.nanmean(still, 0)).items():
            for what, trial in (("perfect", trial_of(exact, names, rate)), ("detected", found)):
                if (name, what) != ("52", "perfect") and (kind, what) != ("own", "perfect"):
                    answer = opensim_tools.inverse_kinematics(model, trial, weights, checked=False, **options).mot()
                    pairs[f"{name} {kind}, {what}"] = (truth, answer)
    return pairs, told


def angles(folder: Path, network: Path, cameras_used: int, solver: str, persons: int, sides: str) -> dict[str, object]:
    """Print, and return, errors by arm and degree of freedom over all persons."""
    arms: dict[str, list[tuple[Mot, Mot]]] = {}
    details: dict[str, list[float]] = {}
    stamp = zlib.crc32(network.read_bytes())
    for number in range(persons):
        walker = load(folder / f"person{number}.npz")
        pairs, told = errors_of(
            walker, kept(folder / f"found{number}-{stamp:08x}.npz", network, walker), CHOSEN[cameras_used], solver, sides
        )
        for key, pair in pairs.items():
            arms.setdefault(key, []).append(pair)
        for key, value in told.items():
            details.setdefault(key, []).append(value)
        print(f"person {number}: " + ", ".join(f"{key} {value:.1f}" for key, value in told.items()), flush=True)
    table = {key: angle_errors(pairs, "corrected").rmse_no_shift for key, pairs in arms.items()}
    print(f"{cameras_used} cameras, {persons} persons, solver {solver}, sides {sides}; root mean square, degrees")
    for key, row in table.items():
        own = " ".join(f"{np.nanmean(angle_errors([pair], 'corrected').rmse_no_shift):5.1f}" for pair in arms[key])
        print(f"  {key:45s} mean {np.nanmean(row):5.1f} ({own})   " + " ".join(f"{value:5.1f}" for value in row))
    print("  columns: " + ", ".join(DEGREES_OF_FREEDOM))
    return {
        "cameras": cameras_used, "solver": solver, "sides": sides, "persons": persons, "detection": details,
        "mean": {key: float(np.nanmean(row)) for key, row in table.items()},
        "rmse": {key: dict(zip(DEGREES_OF_FREEDOM, row.tolist(), strict=True)) for key, row in table.items()},
    }  # fmt: skip


def picture(folder: Path, network: Path, file: Path, frame: int = STANDING + 16) -> None:
    """Two crops of each person: found points red, and yellow lines from there to where they truly are."""
    import cv2

    from vitruvian.geometry.camera import project

    row = []
    for source in sorted(folder.glob("person*.npz")):
        walker = load(source)
        pixels, _ = detected(network, walker)
        for c in (0, 1):
            place = BoxTransform.from_boxes(walker.boxes[c, frame][None], CROP)
            found, true = (place.to_crop(p[None])[0] for p in (pixels[c, frame], project(walker.cameras[c], walker.points[frame])))
            image = cv2.resize(walker.crops[c, frame], None, fx=2, fy=2)
            for a, b in zip(np.rint(2 * found).astype(int).tolist(), np.rint(2 * true).astype(int).tolist(), strict=True):
                cv2.line(image, a, b, (255, 230, 0), 1, cv2.LINE_AA)
                cv2.circle(image, a, 2, (230, 20, 20), -1, cv2.LINE_AA)
            row.append(image[40:, 90:-90])
    cv2.imwrite(str(file), cv2.cvtColor(np.hstack(row), cv2.COLOR_RGB2BGR))


def main() -> None:
    """Film, angles, or a picture of the points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("film", "angles", "picture"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--persons", type=int, default=len(PEOPLE))
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    parser.add_argument("--photographs", type=Path, help="text file: one background picture per line")
    parser.add_argument("--network", type=Path, help="network.pt of recipes/synthpose_small.py")
    parser.add_argument("--cameras", type=int, choices=tuple(CHOSEN), default=3)
    parser.add_argument("--solver", choices=("ours", "opensim"), default="ours", help="ours as in the product, or OpenSim's as published")
    parser.add_argument("--sides", choices=("agreed", "truth"), default="agreed", help="left and right as cameras agree, or as they are")
    asked = parser.parse_args()
    if asked.what == "film":
        film(asked.out, asked.persons, asked.rate, asked.photographs)
        return
    if asked.network is None:
        parser.error("angles and pictures need --network")
    if asked.what == "picture":
        picture(asked.out, asked.network, asked.out / "points.png")
        return
    table = angles(asked.out, asked.network, asked.cameras, asked.solver, asked.persons, asked.sides)
    with (asked.out / "angles.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(table | {"network": str(asked.network)}) + "\n")


if __name__ == "__main__":
    main()
