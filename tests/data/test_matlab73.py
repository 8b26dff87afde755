"""MATLAB 7.3 files: MPI-INF-3DHP's official test films come out of them, and hostile ones are refused."""

import sys

import numpy as np
import pytest

from vitruvian.data.inf3dhp import inf3dhp
from vitruvian.data.matlab73 import is_mat73, read_mat73
from vitruvian.errors import FormatError, MissingExtraError
from vitruvian.geometry.camera import Camera, project


def write_mat73(path, fill):
    """As MATLAB does: HDF5 behind 512 bytes that say what it is."""
    h5py = pytest.importorskip("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("frames", [1, 8])
def test_official_test_films_are_read(tmp_path, frames):
    camera = Camera([[1500.0, 0, 1020], [0, 1490, 1040], [0, 0, 1]], size=(2048, 2048))
    points = np.random.default_rng(0).normal(0, 0.5, (frames, 17, 3)) + [0, 0, 4]
    tables = {"annot3": 1000 * points, "univ_annot3": 1100 * points, "annot2": project(camera, points)}  # (f, 17, 3 or 2)
    valid = np.arange(frames) % 3 > 0

    def fill(file):
        for name, table in tables.items():  # 2 x 17 x 1 x f in MATLAB, which HDF5 has the other way round
            file.create_dataset(name, data=table[:, None], compression="gzip")
        file["valid_frame"] = valid[None].astype(float)

    write_mat73(tmp_path / "TS1" / "annot_data.mat", fill)
    (film,) = inf3dhp(tmp_path)
    np.testing.assert_allclose(film.points[:, 0], points, atol=1e-9)
    np.testing.assert_allclose(film.seen(0), film.keypoints[0], atol=1e-3)
    assert film.counts.tolist() == valid.tolist() and film.action == "green screen"
    (normal,) = inf3dhp(tmp_path, points="normalised")
    np.testing.assert_allclose(normal.points, 1.1 * film.points)


def test_axes_are_matlabs(tmp_path):
    path = write_mat73(tmp_path / "a.mat", lambda file: file.create_dataset("x", data=np.arange(6).reshape(3, 2)))
    assert is_mat73(path) and read_mat73(path, "x")["x"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_what_is_no_table_inside_the_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_mat73(tmp_path / "other.mat", lambda file: file.create_dataset("x", data=np.ones(3)))
    (tmp_path / "secret").write_bytes(bytes(80))

    def fill(file):
        file["outside"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "/x")
        file["soft"] = h5py.SoftLink("/outside")
        file.create_dataset("raw", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.mat"), "x", (3,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("large", (1 << 40,), "f8", chunks=(1 << 16,), compression="gzip")
        file["text"] = "words"
        file.create_group("group")

    path = write_mat73(tmp_path / "a.mat", fill)
    for name in ("outside", "soft", "raw", "virtual", "large", "text", "group", "absent"):
        with pytest.raises(FormatError, match=name):
            read_mat73(path, name)


def test_damaged_files_are_refused(tmp_path):
    whole = write_mat73(tmp_path / "a.mat", lambda file: file.create_dataset("x", data=np.ones((40, 3)))).read_bytes()
    for length in (10, 512, 600, 1200):
        (tmp_path / "cut.mat").write_bytes(whole[:length])
        with pytest.raises(FormatError, match="cut.mat"):
            read_mat73(tmp_path / "cut.mat", "x")
    with pytest.raises(FormatError, match="check the path"):
        is_mat73(tmp_path / "none.mat")


def test_without_the_package_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "TS1").mkdir()
    (tmp_path / "TS1" / "annot_data.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    with pytest.raises(MissingExtraError, match=r"vitruvian\[data\]"):
        list(inf3dhp(tmp_path))
