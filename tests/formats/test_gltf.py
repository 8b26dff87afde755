"""Our .glb files read back by an independent reader (glb.py, which checks the specification's rules), pygltflib and trimesh."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from glb import Glb
from vitruvian.errors import FormatError
from vitruvian.formats.figures import Figure, Material, Motion, SkinnedMesh, baked_figure, camera_motion_to_world
from vitruvian.formats.gltf import strongest_weights, write_gltf

RINGS, SIDES = 9, 8


def tube(joints: int = 3) -> SkinnedMesh:
    """An upright tube of one metre, bones one after the other along it, weights that reach over all of them."""
    angles = np.arange(SIDES) * 2 * np.pi / SIDES
    heights = np.linspace(0, 1, RINGS)
    vertices = np.array([[0.1 * np.sin(a), h, 0.1 * np.cos(a)] for h in heights for a in angles])
    corner = lambda r, s: r * SIDES + s % SIDES  # noqa: E731
    quads = [(corner(r, s), corner(r, s + 1), corner(r + 1, s + 1), corner(r + 1, s)) for r in range(RINGS - 1) for s in range(SIDES)]
    faces = np.array([triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))])
    places = np.array([[0, (j + 0.5) / joints, 0.02] for j in range(joints)])
    weights = np.exp(-8 * np.abs(vertices[:, 1:2] - places[:, 1]))
    names, parents = [f"bone.{j}" for j in range(joints)], [j - 1 for j in range(joints)]
    bulge = {
        "bulge": 0.1 * vertices * [1, 0, 1],
        "still": np.zeros_like(vertices),
        "tip": np.where(heights.repeat(SIDES) > 0.9, 0.1, 0)[:, None] * [0, 1, 0],
    }
    return SkinnedMesh(vertices, faces, names, parents, places, weights, bulge)


def bend(mesh: SkinnedMesh, count: int = 5, seed: int = 0) -> Motion:
    """Random rotations and walks, at uneven times."""
    random = np.random.default_rng(seed)
    j = len(mesh.parents)
    rotations = Rotation.from_rotvec(random.normal(0, 1.5, (count * j, 3))).as_matrix().reshape(count, j, 3, 3)
    times = np.cumsum(random.uniform(0.02, 0.08, count)) - 0.02 + 0.001
    return Motion(times, rotations, random.normal(0, 1, (count, 3)), random.uniform(0, 1, (count, len(mesh.morphs))))


def posed(mesh: SkinnedMesh, motion: Motion, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by the textbook: down the tree, then the weighted sum of the bones' maps."""
    vertices = np.asarray(mesh.vertices) + sum(w * d for w, d in zip(motion.morph_weights[key], mesh.morphs.values(), strict=True))
    turns, places = [], []
    for j, parent in enumerate(mesh.parents):
        local = motion.rotations[key, j]
        turns.append(local if parent < 0 else turns[parent] @ local)
        offset = mesh.joints[j] - mesh.joints[parent]
        places.append(motion.translation[key] if parent < 0 else places[parent] + turns[parent] @ offset)
    moved = np.stack([(vertices - rest) @ turn.T + place for rest, turn, place in zip(mesh.joints, turns, places, strict=True)], axis=1)
    shares = mesh.weights / mesh.weights.sum(1, keepdims=True)
    return np.einsum("vj,vjc->vc", shares, moved), np.array(places)


@pytest.fixture
def written(tmp_path):
    def write(*figures: Figure) -> Glb:
        write_gltf(figures, tmp_path / "take.glb")
        glb = Glb(tmp_path / "take.glb")
        glb.check()
        return glb

    return write


@pytest.mark.parametrize("joints", [1, 3, 4, 7])
def test_skinning_the_file_gives_the_posed_mesh_at_every_key(written, joints):
    mesh = tube(joints)
    motion = bend(mesh)
    glb = written(Figure("tube", mesh, motion))
    for key, time in enumerate(motion.times):
        vertices, places = posed(mesh, motion, key)
        np.testing.assert_allclose(glb.world(float(np.float32(time)))[:joints, :3, 3], places, atol=1e-5)
        np.testing.assert_allclose(glb.vertices("tube", float(np.float32(time))), vertices, atol=2e-4)  # weights below 1e-5 are dropped


def test_times_are_the_true_ones(written):
    motion = bend(tube())
    glb = written(Figure("tube", tube(), motion))
    (times,) = {tuple(glb.array(sampler["input"])[:, 0]) for sampler in glb.document["animations"][0]["samplers"]}
    np.testing.assert_array_equal(times, motion.times.astype(np.float32))


def test_between_two_keys_the_short_way_is_taken(written):
    mesh = tube(1)
    turns = Rotation.from_rotvec(np.radians([[0, 170, 0], [0, 190, 0], [0, 210, 0]])).as_matrix()[:, None]
    glb = written(Figure("tube", mesh, Motion(np.arange(3.0), turns, np.zeros((3, 3)), np.zeros((3, 3)))))
    np.testing.assert_allclose(glb.world(0.5)[0, :3, :3], Rotation.from_euler("y", 180, degrees=True).as_matrix(), atol=1e-6)


def test_joints_that_stay_have_no_channel_but_their_pose(written):
    mesh, motion = tube(3), bend(tube(3))
    rotations = motion.rotations.copy()
    rotations[:, 1] = rotations[0, 1]
    motion = replace(motion, rotations=rotations)
    glb = written(Figure("tube", mesh, motion))
    targets = [(c["target"]["node"], c["target"]["path"]) for c in glb.document["animations"][0]["channels"]]
    assert sorted(targets) == [(0, "rotation"), (0, "translation"), (2, "rotation"), (3, "weights")]
    np.testing.assert_allclose(glb.vertices("tube", float(np.float32(motion.times[2]))), posed(mesh, motion, 2)[0], atol=2e-4)


def test_several_people_share_one_animation_and_equal_data(written):
    one = written(Figure("a", tube(), bend(tube())))
    both = written(Figure("a", tube(), bend(tube())), Figure("b", tube(), bend(tube(), seed=1)))
    assert len(both.document["animations"]) == 1 and len(both.document["skins"]) == len(both.document["meshes"]) == 2
    assert len(both.binary) < 1.5 * len(one.binary)
    np.testing.assert_allclose(both.vertices("b", 0.1), written(Figure("b", tube(), bend(tube(), seed=1))).vertices("b", 0.1), atol=1e-6)


def test_a_person_is_hidden_where_it_is_not_seen(written):
    motion = bend(tube(), 6)
    translation = motion.translation.copy()
    translation[[0, 3, 5]] = np.nan
    glb = written(Figure("tube", tube(), replace(motion, translation=translation)))
    times = [float(np.float32(time)) for time in motion.times]
    scales = [glb.properties(time)[0]["scale"].tolist() for time in times]
    assert scales == [[0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert glb.properties((times[2] + times[3]) / 2)[0]["scale"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(glb.vertices("tube", times[4]), posed(tube(), motion, 4)[0], atol=2e-4)


def test_a_person_never_seen_is_hidden(written):
    motion = bend(tube())
    glb = written(Figure("tube", tube(), replace(motion, translation=np.full((5, 3), np.nan))))
    assert [channel["target"]["path"] for channel in glb.document["animations"][0]["channels"]] == ["scale"]
    assert not glb.properties(0.0)[0]["scale"].any()


def test_nobody_no_frame_one_frame_no_motion_and_no_faces_are_valid(written):
    assert "nodes" not in written().document
    mesh = tube()
    empty = Motion(np.zeros(0), np.zeros((0, 3, 3, 3)), np.zeros((0, 3)), np.zeros((0, 3)))
    assert "animations" not in written(Figure("tube", mesh, empty)).document
    np.testing.assert_allclose(written(Figure("tube", mesh)).vertices("tube", 0.0), mesh.vertices, atol=1e-6)
    assert written(Figure("tube", mesh, bend(mesh, 1))).array(0).shape[0] == len(mesh.vertices)
    bones = replace(mesh, vertices=np.zeros((0, 3)), faces=np.zeros((0, 3), int), weights=np.zeros((0, 3)), morphs={})
    glb = written(Figure("bones", bones, replace(bend(mesh), morph_weights=None)))
    assert "meshes" not in glb.document and len(glb.document["nodes"]) == 3
    assert len(written(Figure("nothing", SkinnedMesh(np.zeros((0, 3)), np.zeros((0, 3), int)))).document["nodes"]) == 1


def test_morphs_of_few_vertices_are_sparse_and_named(written):
    glb = written(Figure("tube", tube()))
    (mesh,) = glb.document["meshes"]
    assert mesh["extras"]["targetNames"] == ["bulge", "still", "tip"]
    bulge, still, tip = (glb.document["accessors"][target["POSITION"]] for target in mesh["primitives"][0]["targets"])
    assert "bufferView" in bulge and "sparse" not in still and tip["sparse"]["count"] == SIDES
    np.testing.assert_allclose(glb.array(mesh["primitives"][0]["targets"][2]["POSITION"]), tube().morphs["tip"], atol=1e-7)


def test_seams_of_the_texture_split_vertices_and_nothing_else(written):
    mesh = tube()
    columns = mesh.faces % SIDES
    wrapped = np.where((columns == 0) & (columns.max(1, keepdims=True) == SIDES - 1), SIDES, columns)
    rows = mesh.faces // SIDES
    uv = np.array([[s / SIDES, r / RINGS] for r in range(RINGS) for s in range(SIDES + 1)])
    mesh = replace(mesh, uv=uv, uv_faces=rows * (SIDES + 1) + wrapped)
    motion = bend(mesh)
    glb = written(Figure("tube", mesh, motion))
    attributes = glb.document["meshes"][0]["primitives"][0]["attributes"]
    points, coordinates = glb.array(attributes["POSITION"]), glb.array(attributes["TEXCOORD_0"])
    assert len(points) == RINGS * (SIDES + 1)
    np.testing.assert_allclose(coordinates[:, 1], 1 - points[:, 1] * (RINGS - 1) / RINGS, atol=1e-6)  # v runs down
    corners = glb.array(glb.document["meshes"][0]["primitives"][0]["indices"]).ravel()
    moved = glb.vertices("tube", float(np.float32(motion.times[1])))[corners]
    np.testing.assert_allclose(moved, posed(mesh, motion, 1)[0][mesh.faces.ravel()], atol=2e-4)


def test_materials_make_primitives_with_linear_colours(written):
    mesh = replace(tube(), materials=(Material("low", (255, 0, 0)), Material("unused", (0, 0, 0)), Material("high", (128, 128, 128))))
    mesh = replace(mesh, face_material=np.where(mesh.vertices[mesh.faces][:, :, 1].mean(1) < 0.5, 0, 2))
    glb = written(Figure("tube", mesh))
    low, high = glb.document["materials"]
    assert low["pbrMetallicRoughness"]["baseColorFactor"] == [1, 0, 0, 1]
    assert high["pbrMetallicRoughness"]["baseColorFactor"][0] == pytest.approx(0.2158, abs=1e-3)
    sizes = [len(glb.array(p["indices"])) // 3 for p in glb.document["meshes"][0]["primitives"]]
    assert sizes == [(mesh.face_material == 0).sum(), (mesh.face_material == 2).sum()]


def test_camera_axes_are_turned_upright():
    mesh, motion = tube(), bend(tube())
    flip = np.diag([1.0, -1.0, -1.0])
    seen = replace(
        motion,
        rotations=np.concatenate([flip @ motion.rotations[:, :1], motion.rotations[:, 1:]], 1),
        translation=motion.translation @ flip,
    )
    back = camera_motion_to_world(seen)
    np.testing.assert_allclose(posed(mesh, back, 2)[0], posed(mesh, motion, 2)[0], atol=1e-12)


def test_baked_vertices_come_back_frame_by_frame(written):
    vertices = np.random.default_rng(0).normal(0, 1, (4, RINGS * SIDES, 3)).astype(np.float32)
    vertices[2, 5] = np.nan
    glb = written(baked_figure("baked", vertices, tube().faces, np.array([0.0, 0.1, 0.25, 0.3])))
    for key, time in ((0, 0.0), (1, 0.1), (3, 0.3)):
        np.testing.assert_allclose(glb.vertices("baked", float(np.float32(time))), vertices[key], atol=1e-5)
    assert not glb.vertices("baked", 0.26).any()
    nothing = written(baked_figure("baked", vertices[:0], tube().faces, np.zeros(0)))
    assert "meshes" not in nothing.document


@pytest.mark.parametrize(("joints", "kept"), [(2, 4), (4, 4), (5, 8), (12, 8)])
def test_the_strongest_weights_are_kept_and_sum_to_one(joints, kept):
    weights = np.random.default_rng(0).uniform(0.1, 1, (20, joints))
    indices, values = strongest_weights(weights)
    assert indices.shape == (20, kept) and (np.diff(values, axis=1) <= 0).all()
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(indices[:, 0], weights.argmax(1))


def test_pygltflib_reads_the_same_file(tmp_path):
    pygltflib = pytest.importorskip("pygltflib")
    mesh, motion = tube(), bend(tube())
    write_gltf([Figure("tube", mesh, motion)], tmp_path / "take.glb")
    gltf = pygltflib.GLTF2().load(str(tmp_path / "take.glb"))
    skin = gltf.skins[0]
    assert [gltf.nodes[joint].name for joint in skin.joints] == list(mesh.joint_names)
    binary, rotation = gltf.binary_blob(), gltf.animations[0].channels[1]
    assert (rotation.target.node, rotation.target.path) == (0, "rotation")
    accessor = gltf.accessors[gltf.animations[0].samplers[rotation.sampler].output]
    found = np.frombuffer(binary, np.float32, 4 * accessor.count, gltf.bufferViews[accessor.bufferView].byteOffset).reshape(-1, 4)
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), motion.rotations[:, 0], atol=1e-6)


def test_trimesh_loads_the_geometry(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    mesh = tube()
    write_gltf([Figure("tube", mesh, bend(mesh))], tmp_path / "take.glb")
    (loaded,) = trimesh.load(tmp_path / "take.glb", process=False).geometry.values()
    np.testing.assert_allclose(loaded.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(loaded.faces, mesh.faces)
    outwards = loaded.vertex_normals * loaded.vertices * [1, 0, 1]
    assert (outwards.sum(1) > 0).all()


BROKEN = {
    "faces": lambda m: replace(m, faces=m.faces + 1),
    "finite": lambda m: replace(m, vertices=np.where(m.vertices > 0.99, np.nan, m.vertices)),
    "tree": lambda m: replace(m, parents=[-1, 2, 0]),
    "roots": lambda m: replace(m, parents=[-1, -1, 0]),
    "names": lambda m: replace(m, joint_names=m.joint_names[:2]),
    "weights": lambda m: replace(m, weights=m.weights * 0),
    "morph": lambda m: replace(m, morphs={"short": m.vertices[:3]}),
    "uv": lambda m: replace(m, uv=np.zeros((4, 2))),
    "uv faces": lambda m: replace(m, uv=np.zeros((4, 2)), uv_faces=m.faces),
    "material": lambda m: replace(m, face_material=np.ones(len(m.faces), int)),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_figure_that_does_not_hold_together_is_refused(tmp_path, fault):
    with pytest.raises(FormatError, match="can't be written"):
        write_gltf([Figure("tube", BROKEN[fault](tube()))], tmp_path / "take.glb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("times", [[0, 0, 1], [0, -1, 2], [-1, 0, 1], [0, np.nan, 1], [1e9, 1e9 + 1, 1e9 + 2]])
def test_times_that_a_player_cannot_follow_are_refused(tmp_path, times):
    with pytest.raises(FormatError, match="times"):
        write_gltf([Figure("tube", tube(), replace(bend(tube(), 3), times=np.array(times, float)))], tmp_path / "take.glb")
