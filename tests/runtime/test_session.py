import sys

import numpy as np
import pytest

from vitruvian.errors import MissingExtraError, WeightsError
from vitruvian.runtime import Session


@pytest.mark.parametrize("batch, max_batch", [("b", 3), ("b", 100), (1, 8), (4, 8)])
@pytest.mark.parametrize("n", [1, 4, 7])
def test_any_number_of_pictures_gives_the_same_rows_whatever_the_batch(make_pose, batch, max_batch, n):
    session = Session(make_pose(batch=batch).file, device="cpu", threads=1, max_batch=max_batch)
    pictures = np.random.default_rng(0).random((n, 3, 64, 48), dtype=np.float32)
    x, y = session.run(pictures)
    assert x.shape == (n, 3, 96) and y.shape == (n, 3, 128)
    for i in range(n):
        np.testing.assert_allclose(x[i], session.run(pictures[i : i + 1])[0][0], atol=1e-6)
    np.testing.assert_allclose(x[:, 0, ::2], (pictures[:, 0] - pictures[:, 1] - pictures[:, 2]).max(axis=1), atol=1e-5)


def test_it_knows_its_shapes(make_pose):
    session = Session(make_pose(batch=1).file, device="cpu", threads=1)
    assert session.input_shape == (1, 3, 64, 48) and session.batch_size == 1 and session.device == "cpu"
    assert session.output_names == ("simcc_x", "simcc_y") and session.output_shapes == ((1, 3, 96), (1, 3, 128))
    assert Session(make_pose().file, device="cpu", threads=1).input_shape[0] is None


def test_an_empty_batch_gives_empty_outputs(make_pose):
    x, y = Session(make_pose().file, device="cpu", threads=1).run(np.zeros((0, 3, 64, 48), np.float32))
    assert x.shape == (0, 3, 96) and y.shape == (0, 3, 128)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="nowhere.onnx"):
        Session(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x08\x08" + bytes(100)])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="no ONNX file"):
        Session(tmp_path / "net.onnx")


def test_half_a_file_is_refused(make_pose, tmp_path):
    whole = open(make_pose().file, "rb").read()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        Session(tmp_path / "half.onnx")


def test_a_picture_of_the_wrong_size_is_explained(make_pose):
    with pytest.raises(WeightsError, match="64, 48"):
        Session(make_pose().file, device="cpu", threads=1).run(np.zeros((1, 3, 32, 32), np.float32))


def test_without_onnxruntime_the_extra_is_named(make_pose, monkeypatch):
    file = make_pose().file
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[cpu\]"):
        Session(file)
