"""OBJ and PLY: read back by ourselves and by trimesh; files of strangers; sequences of a take."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.body.compact import load_compact
from vitruvian.errors import FormatError
from vitruvian.formats.meshes import read_obj, read_ply, write_mesh, write_mesh_sequence, write_obj, write_ply, write_take_meshes
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

VERTICES = np.random.default_rng(0).normal(0, 1, (50, 3))
FACES = np.random.default_rng(1).permutation(50)[:48].reshape(16, 3)
COLORS = np.random.default_rng(2).integers(0, 256, (50, 3)).astype(np.uint8)


def test_obj_comes_back(tmp_path):
    write_obj(VERTICES, FACES, tmp_path / "mesh.obj")
    vertices, faces = read_obj(tmp_path / "mesh.obj")
    np.testing.assert_allclose(vertices, VERTICES, atol=1e-6)
    np.testing.assert_array_equal(faces, FACES)


def test_obj_with_texture_comes_back(tmp_path):
    uv = np.random.default_rng(3).uniform(0, 1, (9, 2))
    write_obj(VERTICES, FACES, tmp_path / "mesh.obj", uv, FACES % 9)
    np.testing.assert_array_equal(read_obj(tmp_path / "mesh.obj")[1], FACES)
    lines = [line.split() for line in (tmp_path / "mesh.obj").read_text().splitlines()]
    np.testing.assert_allclose(np.array([line[1:] for line in lines if line[0] == "vt"], float), uv, atol=1e-6)
    corners = np.array([[cell.split("/") for cell in line[1:]] for line in lines if line[0] == "f"], int) - 1
    np.testing.assert_array_equal(corners, np.stack([FACES, FACES % 9], axis=-1))


@pytest.mark.parametrize("colors", [None, COLORS])
def test_ply_comes_back(tmp_path, colors):
    write_ply(VERTICES, FACES, tmp_path / "mesh.ply", colors)
    vertices, faces, found = read_ply(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(vertices, VERTICES.astype(np.float32))
    np.testing.assert_array_equal(faces, FACES)
    assert found is None if colors is None else (found == colors).all()


def test_trimesh_reads_our_ply_and_we_read_its_files(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    write_ply(VERTICES, FACES, tmp_path / "ours.ply", COLORS)
    theirs = trimesh.load(tmp_path / "ours.ply", process=False)
    np.testing.assert_allclose(theirs.vertices, VERTICES, atol=1e-6)
    np.testing.assert_array_equal(theirs.faces, FACES)
    np.testing.assert_array_equal(theirs.visual.vertex_colors[:, :3], COLORS)
    for name, options in (("theirs.ply", {"encoding": "binary"}), ("text.ply", {"encoding": "ascii"}), ("theirs.obj", {})):
        theirs.export(tmp_path / name, **options)
        vertices, faces = (read_obj if name.endswith("obj") else read_ply)(tmp_path / name)[:2]
        np.testing.assert_allclose(vertices, VERTICES, atol=1e-5)
        np.testing.assert_array_equal(faces, FACES)


def test_no_vertices_and_no_faces_are_valid(tmp_path):
    for suffix, read in ((".obj", read_obj), (".ply", read_ply)):
        write_mesh(np.zeros((0, 3)), np.zeros((0, 3), int), tmp_path / f"empty{suffix}")
        vertices, faces = read(tmp_path / f"empty{suffix}")[:2]
        assert vertices.shape == faces.shape == (0, 3)


def test_obj_polygons_and_negative_corners(tmp_path):
    path = tmp_path / "quad.obj"
    path.write_text(
        "# scan\nmtllib x.mtl\nv 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\ng one\nf 1//1 2//1 3//1 4//1\nf -4 -3 -2\nf 1 2\n"
    )
    vertices, faces = read_obj(path)
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])
    assert vertices.shape == (4, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_ply_of_mixed_polygons_and_other_properties(tmp_path, order):
    kind = "little" if order == "<" else "big"
    header = (
        f"ply\r\nformat binary_{kind}_endian 1.0\r\ncomment made by hand\r\nelement vertex 4\r\nproperty double x\r\nproperty double y\r\n"
    )
    header += (
        "property double z\r\nproperty float quality\r\nelement face 3\r\nproperty uchar flag\r\nproperty list uchar uint vertex_index\r\n"
    )
    header += "element edge 1\r\nproperty int a\r\nend_header\r\n"
    points = np.zeros(4, [("p", f"{order}f8", 3), ("q", f"{order}f4")])
    points["p"] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    body = points.tobytes()
    for polygon in ((0, 1, 2), (0, 1, 2, 3), (2, 3)):
        body += bytes([7, len(polygon)]) + np.array(polygon, f"{order}u4").tobytes()
    path = tmp_path / "mixed.ply"
    path.write_bytes(header.encode() + body + bytes(4))
    vertices, faces, colors = read_ply(path)
    np.testing.assert_array_equal(vertices, points["p"])
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 1, 2], [0, 2, 3]])
    assert colors is None


def test_a_point_cloud_has_no_faces(tmp_path):
    (tmp_path / "cloud.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n4 5 6\n"
    )
    vertices, faces, _ = read_ply(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(vertices, [[1, 2, 3], [4, 5, 6]])
    assert faces.shape == (0, 3)


HEAD = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
DAMAGED = [
    b"",
    b"plyx",
    b"ply\nend_header\n",
    HEAD + b"end_header",
    HEAD + b"end_header\n1 2\n",
    HEAD + b"end_header\n1 2 x\n",
    HEAD + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n1 2 3\n3 0 0 1\n",
    HEAD + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n1 2 3\n9 0\n",
    HEAD + b"element face 1\nproperty list char int vertex_indices\nend_header\n1 2 3\n-1 0\n",
    HEAD.replace(b"vertex 1", b"vertex 999999999") + b"end_header\n1 2 3\n",
    HEAD.replace(b"float x", b"float q") + b"end_header\n1 2 3\n",
    HEAD.replace(b"ascii", b"binary_little_endian") + b"end_header\n12345678901",
    b"ply\nformat binary_little_endian 1.0\nelement face 2\nproperty list int int vertex_indices\nend_header\n\xff\xff\xff\x7f" + bytes(8),
    b"ply\nformat binary_little_endian 1.0\nelement face 2\nproperty list int int vertex_indices\nend_header\n\xff\xff\xff\xff" + bytes(8),
    b"ply\nformat ascii 1.0\nproperty float x\nend_header\n",
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_ply_is_refused(tmp_path, data):
    (tmp_path / "bad.ply").write_bytes(data)
    with pytest.raises(FormatError):
        read_ply(tmp_path / "bad.ply")


@pytest.mark.parametrize("text", ["v 1 2\n", "v 1 2 x\n", "v 0 0 0\nf 1 1 2\n", "v 0 0 0\nf 1 a 1\n", "v 0 0 0\nf 0 1 1\n", "v 1 2 1e99\n"])
def test_damaged_obj_is_refused(tmp_path, text):
    (tmp_path / "bad.obj").write_text(text)
    with pytest.raises(FormatError):
        read_obj(tmp_path / "bad.obj")


@given(st.binary(max_size=300))
def test_noise_after_a_header_never_crashes(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise.ply"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement face 5\nproperty list char short vertex_indices\nend_header\n" + noise)
    try:
        read_ply(path)
    except FormatError:
        pass


def test_too_large_files_and_missing_ones_are_refused(tmp_path):
    write_ply(VERTICES, FACES, tmp_path / "mesh.ply")
    for call in (
        lambda: read_ply(tmp_path / "mesh.ply", 100),
        lambda: read_ply(tmp_path / "no.ply"),
        lambda: read_obj(tmp_path / "no.obj"),
    ):
        with pytest.raises(FormatError):
            call()


def test_meshes_that_no_file_can_hold_are_refused(tmp_path):
    for path in ("a.obj", "a.ply", "a.stl", "a"):
        with pytest.raises(FormatError):
            write_mesh(VERTICES * np.nan, FACES, tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_a_sequence_has_one_file_per_frame_but_none_for_gaps(tmp_path):
    frames = np.stack([VERTICES, VERTICES * np.nan, VERTICES + 1])
    paths = write_mesh_sequence(frames, FACES, tmp_path / "person", first=9)
    assert [path.name for path in paths] == ["000009.ply", "000011.ply"]
    np.testing.assert_allclose(read_ply(paths[1])[0], VERTICES + 1, atol=1e-6)
    assert write_mesh_sequence([], FACES, tmp_path / "nobody") == []


def test_a_takes_people_go_into_folders_of_their_own_upright(tmp_path):
    model, random = load_compact(), np.random.default_rng(0)
    pose = random.normal(0, 0.3, (3, model.num_joints, 3)).astype(np.float32)
    translation = random.normal(0, 1, (3, 3)).astype(np.float32)
    people = People(
        frame=[4, 2, 4],
        track=[1, 1, 2],
        boxes=np.zeros((3, 4)),
        scores=np.ones(3),
        keypoints=np.zeros((3, 17, 2)),
        confidence=np.zeros((3, 17)),
        body_pose=pose,
        body_translation=translation,
    )
    take = Take(people, COCO_17, np.arange(5.0), np.zeros((5, 2)), space="camera", body="compact")
    paths = write_take_meshes(take, model, tmp_path, ".obj")
    assert [path.relative_to(tmp_path) for path in paths] == [
        Path("person_001/000002.obj"),
        Path("person_001/000004.obj"),
        Path("person_002/000004.obj"),
    ]
    expected = model.forward(pose[:1], None, None, translation[:1]).vertices[0] * [1, -1, -1]
    np.testing.assert_allclose(read_obj(paths[1])[0], expected, atol=1e-5)
