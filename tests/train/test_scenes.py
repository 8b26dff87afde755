"""Inputs for detectors: objects lie where the pixels are that they were drawn with, alone or four together, mirrored or not."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vitruvian.codecs.anchors import centred_letterbox  # noqa: E402
from vitruvian.data.parts import PartDataset, part_picture  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.media.pictures import write_image  # noqa: E402
from vitruvian.synth.crowds import Actor  # noqa: E402
from vitruvian.systems.detection import bpjdet  # noqa: E402
from vitruvian.systems.detection.targets import flipped  # noqa: E402
from vitruvian.train import scenes  # noqa: E402
from vitruvian.train.scenes import LAYOUTS, Layout, Scenes, Taught, collate_taught, lay, read_pictures, shrunk  # noqa: E402

SIZE = (128, 96)
COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0))


def picture(colour=COLOURS[0], size=(80, 60)):
    """Black, with one rectangle, whose middle is its point."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[10:40, 20:50] = colour
    zeros = torch.zeros(1).long()
    return Taught(image, bpjdet.Targets(torch.tensor([[20.0, 10, 50, 40]]), zeros, zeros, torch.tensor([[[35.0, 25.0]]])))


def around(image, colour):
    """The box around a colour, None where there is none of it."""
    rows, columns = np.nonzero((np.abs(image.astype(int) - colour) < 60).all(-1))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None


def test_alone_and_still_it_is_the_letterbox_of_inference():
    found = lay([picture()], SIZE, Layout(), np.random.default_rng(0))
    np.testing.assert_array_equal(found.image, centred_letterbox(picture().image, SIZE))
    np.testing.assert_allclose(found.targets.boxes[0], around(found.image, COLOURS[0]), atol=1)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_of_four_are_around_what_is_drawn(seed):
    layout = Layout(mosaic=1.0, scale=0.5, shift=0.1)
    found = lay([picture(colour) for colour in COLOURS], SIZE, layout, np.random.default_rng(seed))
    assert found.image.shape == (SIZE[1], SIZE[0], 3)
    seen = [box for colour in COLOURS if (box := around(found.image, colour))]
    for box in found.targets.boxes.tolist():
        assert min(np.abs(np.subtract(box, other)).max() for other in seen) < 2.5
    large = [box for box in seen if min(box[2] - box[0], box[3] - box[1]) > 12]
    assert len(large) <= len(found.targets.boxes) <= len(seen)


def test_points_stay_in_the_middle_of_boxes_that_are_whole():
    found = lay([picture()], SIZE, Layout(scale=0.3), np.random.default_rng(1))
    left, top, right, bottom = found.targets.boxes[0].tolist()
    np.testing.assert_allclose(found.targets.points[0, 0], [(left + right) / 2, (top + bottom) / 2], atol=0.1)


def stream(layout, count=12, pictures=COLOURS):
    made = (picture(pictures[i % len(pictures)]) for i in range(1000))
    samples = Scenes(lambda rng, worker, workers: made, SIZE, layout, flipped, 0)
    return samples, islice(samples, count)


def test_mirrored_pictures_take_their_boxes_along():
    for image, targets in stream(Layout(flip=1.0))[1]:
        colour = next(colour for colour in COLOURS if around(image, colour))
        np.testing.assert_allclose(targets.boxes[0], around(image, colour), atol=1)
        assert targets.boxes[0, 0] > SIZE[0] - targets.boxes[0, 2]  # the rectangle is on the left of its picture


def test_mosaics_are_of_several_pictures_until_late():
    samples, found = stream(replace(LAYOUTS["bpjdet"], late=Layout()), 40)
    mixed = [sum(around(image, colour) is not None for colour in COLOURS) for image, _ in islice(found, 20)]
    samples.late.fill_(True)
    assert max(mixed) > 2 and all(sum(around(image, colour) is not None for colour in COLOURS) == 1 for image, _ in found)


def test_large_pictures_are_shrunk_and_their_objects_cut_at_the_edge():
    image, targets = picture(size=(800, 600))
    targets = replace(targets, boxes=torch.tensor([[700.0, 100, 900, 500]]), points=torch.tensor([[[820.0, 300]]]))
    found = shrunk(image, targets, (80, 80))
    assert found.image.shape == (60, 80, 3) and found.targets.boxes.tolist() == [[70, 10, 80, 50]] and found.targets.points.isnan().all()
    assert shrunk(image, targets, (1000, 1000)).image is image


def test_a_batch():
    images, targets = collate_taught([picture(), picture()])
    assert images.shape == (2, 3, 60, 80) and targets.images.tolist() == [0, 1]


def test_pictures_are_read_again_and_again(tmp_path):
    write_image(tmp_path / "a.png", picture().image)
    one = part_picture(tmp_path / "a.png", "a", (0, 0), np.array([[20, 10, 50, 40]]))
    nobody = part_picture(tmp_path / "none.png", "b", (0, 0), np.zeros((0, 4)))
    dataset = PartDataset("two", ("person",), "", lambda: iter([one, nobody]))
    options = {"size": SIZE, "teach": lambda picture: bpjdet.targets_of(picture.bodies, *[np.zeros((0, 4))] * 1, *[[]] * 2, bpjdet.HEAD)}
    found = list(islice(read_pictures(np.random.default_rng(0), 0, 1, dataset=dataset, **options), 3))
    assert [len(each.targets.boxes) for each in found] == [1, 1, 1]
    with pytest.raises(VitruvianError, match="two has no annotated"):
        next(read_pictures(np.random.default_rng(0), 1, 2, dataset=dataset, **options))


def test_crowds_are_annotated_as_a_data_set_would(monkeypatch):
    image = np.full((180, 80, 4), 255, np.uint8)
    parts = np.full((6, 4), np.nan)
    parts[0], parts[2] = (30, 10, 50, 40), (50, 80, 60, 95)
    actors = [Actor(image, np.array([20, 10, 60, 170], float), parts, 1.0)]
    studio = SimpleNamespace(backdrop=lambda rng, size: np.zeros((size[1], size[0], 3), np.uint8))
    monkeypatch.setattr(scenes, "Store", SimpleNamespace(open=lambda folder, truth: None))
    monkeypatch.setattr(scenes, "Studio", SimpleNamespace(open=lambda *_: studio))
    monkeypatch.setattr(scenes, "whole_people", lambda studio: np.arange(7))
    monkeypatch.setattr(scenes, "cast", lambda rng, studio, count: actors * count)
    options = {"store": Path(), "photographs": [], "held_out": True, "size": (1536, 768), "teach": lambda picture: picture}
    for taught in islice(scenes.draw_crowds(np.random.default_rng(0), 0, 1, **options), 6):
        crowd = taught.targets
        assert taught.image.shape == (192, 384, 3) and np.isfinite(crowd.headings).all()
        assert (crowd.ignore == (crowd.visible < scenes.LEAST_VISIBLE)).all() and (crowd.visible <= 1).all()
        assert {scenes.CLASSES[label] for label in crowd.labels} <= {"head", "left hand", "right hand"}
