"""`vitruvian doctor`: what it finds in healthy and in broken installations."""

from dataclasses import replace

import numpy as np
import pytest

from scenes import boxes_at, walk
from vitruvian.cli.doctor import compare, examine
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import People, Take
from vitruvian.weights import EMBEDDED, Card

nets = pytest.importorskip("nets", reason="needs onnx")

TIMES = np.arange(10) / 30


def truth():
    """A take of the two walkers as the tiny networks should see them; one keypoint of each lies outside the picture."""
    boxes = np.concatenate([boxes_at(time) for time in TIMES])
    keypoints = boxes[:, None, :2] + nets.pose_places(133) * (boxes[:, None, 2:] - boxes[:, None, :2])
    confidence = np.ones(keypoints.shape[:2])
    keypoints[:, 3], confidence[:, 3] = 0, 0
    people = People(np.repeat(np.arange(10), 2), np.tile([1, 2], 10), boxes, np.ones(20), keypoints, confidence)
    return Take(people, COCO_WHOLEBODY_133, TIMES, np.tile([320, 240], (10, 1)))


@pytest.fixture
def assets(tmp_path):
    """A folder like the package's assets, with the tiny networks as the embedded ones."""
    for network in EMBEDDED:
        folder = tmp_path / f"made-{network}"
        folder.mkdir()
        skeleton = "coco-17" if network == "lift-s" else "coco-wholebody-133"
        path = nets.detector(folder) if network.startswith("person-parts") else nets.pose(folder, skeleton)
        card = Card.load(path.with_suffix(".json"))
        path.rename(tmp_path / f"{network}.onnx")
        replace(card, id=network, file=f"{network}.onnx").save(tmp_path / f"{network}.json")
    walk(tmp_path / "sample.mp4", TIMES)
    truth().save(tmp_path / "sample.npz")
    return tmp_path


def findings(assets):
    return {finding.title if finding.title != "weights" else finding.text.split(":")[0]: finding for finding in examine(assets)}


def test_a_healthy_installation_passes_and_prints_the_error_against_the_truth(assets):
    found = findings(assets)
    assert all(finding.healthy for finding in found.values())
    assert "passed" in found["self-test"].text and "100% of the people" in found["self-test"].text
    assert {"vitruvian", "python", "platform", "numpy", "av", "devices", "person-parts-s", "wholebody-s"} <= found.keys()


def test_wrong_poses_fail_the_self_test(assets):
    true = truth()
    moved = replace(true, people=replace(true.people, keypoints=true.people.keypoints + 40))
    moved.save(assets / "sample.npz")
    finding = findings(assets)["self-test"]
    assert not finding.healthy and "FAILED" in finding.text


@pytest.mark.parametrize("name", ["sample.mp4", "sample.npz"])
def test_a_missing_sample_is_an_error_that_says_so(assets, name):
    (assets / name).unlink()
    finding = findings(assets)["self-test"]
    assert not finding.healthy and "sample" in finding.text and "reinstall" in finding.text


def test_missing_weights_are_named(assets):
    (assets / "wholebody-s.onnx").unlink()
    found = list(examine(assets))
    bad = [finding.title for finding in found if not finding.healthy]
    assert bad == ["weights", "self-test"]


def test_weights_that_are_not_those_of_the_card_are_found(assets):
    card = Card.load(assets / "wholebody-s.json")
    replace(card, sha256="0" * 64).save(assets / "wholebody-s.json")
    bad = [finding for finding in examine(assets) if not finding.healthy]
    assert [finding.title for finding in bad] == ["weights"] and "sha256" in bad[0].text


def test_compare_measures_what_it_says():
    true = truth()
    same = compare(true, true)
    assert (same.found, same.similarity, same.pixels) == (1.0, pytest.approx(1.0), 0.0)
    moved = compare(replace(true, people=replace(true.people, keypoints=true.people.keypoints + [3, 4])), true)
    assert moved.pixels == pytest.approx(5) and moved.relative == pytest.approx(5 / np.sqrt(60 * 80)) and 0.1 < moved.similarity < 1
    half = compare(true.subset(true.people.track == 1), true)
    assert (half.found, half.pixels) == (0.5, 0.0)
    nobody = compare(true.subset(slice(0, 0)), true)
    assert nobody.found == 0 and np.isnan(nobody.similarity)
