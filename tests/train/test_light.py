"""wholebody-n's two lessons: the packaged network teaches a student of half the size, which then teaches itself a new head."""

import pytest
import torch

from vitruvian.errors import VitruvianError
from vitruvian.systems.pose2d.mappose import probabilities
from vitruvian.train import defaults, light
from vitruvian.train.loop import Progress, Schedule, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """last.pt of an untrained wholebody-s, and of an untrained wholebody-n."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    for name, network in (("s", defaults.pose_network()), ("n", defaults.light_network())):
        torch.save({"averaged": network.state_dict()}, folder / f"{name}.pt")
    return folder


def crops(n=2):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (n, 3, 256, 192), dtype=torch.uint8)
    return images, torch.rand(n, 133, 3) * torch.tensor([191.0, 255.0, 1.0])


def test_keypoints_stay_on_what_they_mark():
    image = torch.zeros(1, 3, 256, 192, dtype=torch.uint8)
    image[..., 100:102, 60:62] = 200
    small, points = light.halved(image, torch.tensor([[[60.5, 100.5, 1.0]]]))
    assert small[0, 0, 50, 30] == 200 and small.sum() == 3 * 200
    assert points.tolist() == [[[30.0, 50.0, 1.0]]]


def test_the_student_begins_as_its_teacher_and_labels_take_over(runs):
    progress = Progress()
    student, lesson = light.first(runs / "s.pt", progress)
    teacher = torch.load(runs / "s.pt", weights_only=True)["averaged"]
    torch.testing.assert_close(student.state_dict()["maps.weight"], teacher["maps.weight"])
    assert student.eval()(torch.zeros(1, 3, 128, 96)).shape == (1, 133, 16, 12)
    parts = lesson(student, crops())
    progress.fraction = 1.0
    late = lesson(student, crops())
    torch.testing.assert_close(parts["total"], late["total"] + light.TOLD * late["told"])
    torch.testing.assert_close(late["total"], late["fine"] + defaults.COARSE_WEIGHT * late["coarse"])


def test_nothing_says_better_what_a_network_says_than_itself(runs):
    student, lesson = light.second(runs / "n.pt", Progress())
    twin = lesson.teacher
    images = defaults.normalise(light.halved(*crops())[0])
    with torch.no_grad():
        chance = probabilities(twin.logits(images))
        assert light.imitation(twin.logits(images), chance) < light.imitation(student.eval().logits(images), chance)


def test_the_second_stage_moves_only_the_head(runs, tmp_path):
    student, lesson = light.second(runs / "n.pt", Progress())
    before = {name: value.clone() for name, value in student.state_dict().items()}
    after = train(student, [crops(), crops()], lesson, Schedule(steps=2, warmup=1, muon=True), tmp_path).state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"maps", "context", "fine"} <= moved and not moved & {"backbone", "surface", "coarse"}


def test_somebody_must_teach():
    with pytest.raises(VitruvianError, match="--start"):
        light.first(None, Progress())
