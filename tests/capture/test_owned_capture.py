"""Detectors that know whose a part is, and which way people face, in captures: the take has what they say."""

import numpy as np
import pytest

from scenes import film, picture

nets = pytest.importorskip("nets", reason="needs onnx")
import owner_nets  # noqa: E402
from vitruvian.capture import capture  # noqa: E402
from vitruvian.formats.tables import read_csv  # noqa: E402
from vitruvian.media import write_image  # noqa: E402
from vitruvian.take import PARTS, Take  # noqa: E402

HEAD = PARTS.index("head")
IMAGE = picture(owner_nets.BODIES)


@pytest.fixture
def two(tmp_path):
    write_image(tmp_path / "two.png", IMAGE)
    return tmp_path / "two.png"


def test_heads_go_to_the_people_that_the_network_names(two, networks, tmp_path):
    take = capture(two, tmp_path / "out", **networks | {"detector": owner_nets.heads(tmp_path)})
    order = np.argsort(take.boxes[:, 0])
    np.testing.assert_allclose(take.boxes[order], owner_nets.BODIES)
    np.testing.assert_allclose(take.people.part_boxes[order, HEAD], owner_nets.HEADS[:2])
    assert np.isnan(np.delete(take.people.part_boxes, HEAD, axis=1)).all()
    np.testing.assert_array_equal(Take.load(tmp_path / "out/take.npz").people.part_boxes, take.people.part_boxes)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("detector", [owner_nets.heads, owner_nets.pointing])
def test_owners_last_over_frames_that_the_detector_did_not_see(networks, tmp_path, every, detector):
    film(tmp_path / "still.mp4", np.arange(7) / 30, [IMAGE] * 7)
    take = capture(tmp_path / "still.mp4", detect_every=every, smooth="none", **networks | {"detector": detector(tmp_path)})
    assert len(take.people) == 14
    left = take.boxes[:, 0] < 40
    np.testing.assert_allclose(take.people.part_boxes[left, HEAD], np.tile(owner_nets.HEADS[0], (7, 1)), atol=0.01)
    np.testing.assert_allclose(take.people.part_boxes[~left, HEAD], np.tile(owner_nets.HEADS[1], (7, 1)), atol=0.01)


@pytest.mark.parametrize("every", [1, 3])
def test_headings_are_in_the_take_and_in_its_table(networks, tmp_path, every):
    film(tmp_path / "still.mp4", np.arange(7) / 30, [IMAGE] * 7)
    options = networks | {"detector": owner_nets.facing(tmp_path)}
    take = capture(tmp_path / "still.mp4", tmp_path / "out", detect_every=every, formats=["csv"], **options)
    left = take.boxes[:, 0] < 40
    np.testing.assert_allclose(take.people.orientation, np.where(left, np.pi, np.pi / 2), atol=1e-6)
    assert take.people.part_boxes is None
    np.testing.assert_allclose(read_csv(tmp_path / "out/keypoints.csv").people.orientation, take.people.orientation, atol=1e-5)


def test_nobody_is_a_take_without_rows(two, networks, tmp_path):
    take = capture(two, tmp_path / "out", **networks | {"detector": owner_nets.nobody(tmp_path)})
    assert len(take.people) == 0 and take.times.shape == (1,)
