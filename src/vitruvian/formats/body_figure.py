"""Bodies of a parametric model as what motion files hold: a rest mesh with bones, and the bones' rotations.

Every model becomes the same thing: rotations relative to the parent in axes that are parallel to the world's at rest, whatever frames
the model's own parameters have. One person has one shape, the median over the frames. What bones cannot express is left out: correctives
that depend on the pose, and the small shift of joints with the expression.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.model import BodyModel, BodyParameters, subset
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.bvh import Bvh
from vitruvian.formats.figures import SKIN, Figure, Material, Motion, SkinnedMesh, camera_motion_to_world
from vitruvian.formats.rig import CENTIMETRES, even_times
from vitruvian.take import Space, Take


def body_figure(
    model: BodyModel,
    parameters: BodyParameters,
    times: Float[np.ndarray, " t"],
    name: str = "person",
    space: Space = "world",
    all_expressions: bool = False,
) -> Figure:
    """One person over T frames, with the parameters of each (rows with NaN: not seen) and their times in seconds.

    `space`: "camera" turns OpenCV's axes to y up. The expressions that occur become morphs, or all that the model has.
    Raises VitruvianError where parameters don't fit the model or the times.
    """
    if len(times) != len(parameters):
        raise VitruvianError(f"{len(times)} times for {len(parameters)} bodies; give one time per row of the parameters")
    mesh = body_mesh(model, _typical(parameters.shape))
    used = np.nan_to_num(parameters.expression).any(0) | all_expressions
    names = np.array(model.expression_names, object)[: len(used)][used]
    morphs = dict(zip(names.tolist(), model.expression_directions[: len(used)][used], strict=True))
    motion = body_motion(model, parameters, times, _typical(parameters.shape))
    motion = replace(motion, morph_weights=np.asarray(parameters.expression)[:, used])
    return Figure(name, replace(mesh, morphs=morphs), camera_motion_to_world(motion) if space == "camera" else motion)


def body_mesh(model: BodyModel, shape: Float[np.ndarray, " s"] | None = None) -> SkinnedMesh:
    """The model at rest with one shape. The compact body comes in its materials, others in one colour."""
    vertices, joints = model.rest(None if shape is None else np.asarray(shape)[None])
    mesh = SkinnedMesh(vertices[0], model.faces, model.joint_names, model.parents, joints[0], model.weights, {}, model.uv, model.uv_faces)
    if model.kind != "anny-compact":
        return mesh if model.uv_faces is not None else replace(mesh, uv=None)
    from vitruvian.body.compact import MATERIAL_COLORS, MATERIALS, face_materials

    materials = tuple(SKIN if name == SKIN.name else Material(name, MATERIAL_COLORS[name]) for name in MATERIALS)
    return replace(mesh, materials=materials, face_material=face_materials())


def body_motion(
    model: BodyModel, parameters: BodyParameters, times: Float[np.ndarray, " t"], shape: Float[np.ndarray, " s"] | None = None
) -> Motion:
    """The bones of one body of the given shape, moved by the pose and translation of each row."""
    bones = subset(model, np.zeros(1, int))  # all joints and a single vertex
    posed = bones.forward(parameters.pose, None if shape is None else shape[None], None, parameters.translation)
    turned = posed.transforms[..., :3]
    above = [max(parent, 0) for parent in model.parents]
    local = turned[:, above].swapaxes(-1, -2) @ turned
    local[:, 0] = turned[:, 0]
    return Motion(times, local, posed.joints[:, 0])


def take_figures(take: Take, model: BodyModel, all_expressions: bool = False) -> list[Figure]:
    """Every tracked person of a take with bodies, y up, over all its frames; hidden where a frame doesn't show it.

    Rows without a track are one person each. Raises FormatError if the take has no bodies or they are of another model.
    """
    figures = []
    times = take.times - min(take.times.min(initial=0), 0)
    for name, rows, bodies in take_bodies(take, model):
        frames = take.people.frame[rows]
        whole = BodyParameters(*(_spread(values, frames, len(times)) for values in vars(bodies).values()))
        figures.append(body_figure(model, whole, times, name, take.space, all_expressions))
    return figures


def take_bodies(take: Take, model: BodyModel) -> list[tuple[str, Int[np.ndarray, " m"], BodyParameters]]:
    """Of every person in a take its name, the rows that it has (at most one per frame, in order), and its body in these.

    Tracks come first ("person_007"), then each row without a track ("untracked_000012"). Raises FormatError as `take_figures` does.
    """
    people = take.people
    if people.body_pose is None or people.body_translation is None:
        raise FormatError("this take has no bodies, only keypoints; capture it with a body model, or export to .bvh or .trc")
    if people.body_pose.shape[1] != model.num_joints:
        raise FormatError(f"the bodies of this take are of the model {take.body!r}, not {model.name!r}; load that one")
    shape = np.zeros((len(people), 0), np.float32) if people.body_shape is None else people.body_shape
    expression = np.zeros((len(people), 0), np.float32) if people.body_expression is None else people.body_expression
    bodies = BodyParameters(people.body_pose, shape, expression, people.body_translation)
    persons = [(f"person_{track:03d}", np.flatnonzero(people.track == track)) for track in take.tracks]
    persons += [(f"untracked_{row:06d}", np.array([row])) for row in np.flatnonzero(people.track < 0)]
    found = []
    for name, rows in persons:
        rows = rows[np.unique(people.frame[rows], return_index=True)[1]]
        found.append((name, rows, bodies[rows]))
    return found


def body_bvh(figure: Figure, metres_per_unit: float = CENTIMETRES) -> Bvh:
    """A figure's bones as BVH: the model's own skeleton, depth first, end sites at the far end of what each last joint moves.

    BVH has neither gaps nor times: frames before the first and after the last sighting are cut, gaps between are filled by
    interpolation, and uneven times resampled. Raises FormatError for a person without bones or never seen.
    """
    mesh, motion = figure.mesh, figure.motion
    if motion is None or not len(mesh.parents):
        raise FormatError(f"the figure {figure.name!r} has no moving bones, which a BVH file is made of; export it to .glb")
    rotations, translation = np.asarray(motion.rotations, np.float64), np.asarray(motion.translation, np.float64)
    seen = np.flatnonzero(np.isfinite(rotations).all((1, 2, 3)) & np.isfinite(translation).all(1))
    if not len(seen):
        raise FormatError(f"the figure {figure.name!r} is in no frame, and a BVH file has no gaps; leave it out")
    order = _depth_first(mesh.parents)
    rotations, translation, step = even_times(
        rotations[seen][:, order], translation[seen] / metres_per_unit, np.asarray(motion.times)[seen]
    )
    joints = np.asarray(mesh.joints, np.float64)
    offsets = joints - joints[[max(parent, 0) for parent in mesh.parents]]
    ends = [i for i, joint in enumerate(order) if joint not in mesh.parents]
    return Bvh(
        names=tuple(mesh.joint_names[joint] for joint in order),
        parents=tuple(order.index(mesh.parents[joint]) if mesh.parents[joint] >= 0 else -1 for joint in order),
        offsets=offsets[order] / metres_per_unit,
        rotations=rotations,
        translation=translation,
        frame_time=step,
        ends=tuple(ends),
        end_offsets=np.array([_far_end(mesh, order[i]) for i in ends]).reshape(-1, 3) / metres_per_unit,
    )


def _typical(shape: Float[np.ndarray, "t s"]) -> Float[np.ndarray, " s"]:
    """The median of the frames that have a shape; the model's default without any."""
    known = np.asarray(shape)[np.isfinite(shape).all(1)]
    return np.median(known, axis=0) if len(known) else np.zeros(0)


def _spread(values: Float[np.ndarray, "n ..."], frames: np.ndarray, count: int) -> Float[np.ndarray, "t ..."]:
    """The rows at their frames, NaN elsewhere."""
    out = np.full((count, *values.shape[1:]), np.nan, np.float32)
    out[frames] = values
    return out


def _depth_first(parents: tuple[int, ...]) -> list[int]:
    """The joints so that each branch follows its parent without a break, as nested blocks need it."""
    order, waiting = [], [0]
    while waiting:
        joint = waiting.pop()
        order.append(joint)
        waiting += [child for child, parent in reversed(list(enumerate(parents))) if parent == joint]
    return order


def _far_end(mesh: SkinnedMesh, joint: int) -> Float[np.ndarray, " 3"]:
    """From a joint to the farthest vertex that it moves most; two centimetres along its bone where it moves none."""
    own = np.asarray(mesh.vertices)[np.argmax(mesh.weights, axis=1) == joint] - mesh.joints[joint]
    if len(own):
        return own[np.linalg.norm(own, axis=1).argmax()]
    bone = mesh.joints[joint] - mesh.joints[max(mesh.parents[joint], 0)]
    return 0.02 * bone / max(float(np.linalg.norm(bone)), 1e-9)
