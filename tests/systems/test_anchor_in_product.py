"""BPJDet and JointBDOE, exported with random weights: the ground floor reads them by the file and its card alone."""

import numpy as np
import pytest
import torch

from vitruvian.codecs.anchors import Candidates, centred_letterbox
from vitruvian.codecs.association import BODY_PARTS, Thresholds, find_bodies
from vitruvian.codecs.orientation import find_facing
from vitruvian.systems.detection import bpjdet, jointbdoe
from vitruvian.systems.export import write_onnx

pytest.importorskip("onnxscript")
CASES = {
    "bpjdet": (bpjdet, bpjdet.Config(0.125, 0.33, BODY_PARTS, (256, 192), levels=3)),
    "jointbdoe": (jointbdoe, jointbdoe.Config(0.125, 0.33, "vector", (256, 192), levels=3)),
}


def sure_network(system, config):
    """A random network whose scores are high enough for something to be found."""
    torch.manual_seed(1)
    model = system.network(config)
    with torch.no_grad():
        for head in model.head:
            head.weight.mul_(8)
            head.bias.view(3, -1)[:, 4:12] = 0.3
    return model.eval()


@pytest.mark.slow  # exporting takes seconds each
@pytest.mark.parametrize("name", CASES)
def test_the_detector_reads_what_was_exported(name, tmp_path):
    from vitruvian.runtime import Detector
    from vitruvian.weights import card_for

    system, config = CASES[name]
    model = sure_network(system, config)
    write_onnx(system.exported(config, model), tmp_path / f"{name}.onnx")
    card = card_for(tmp_path / f"{name}.onnx")
    image = np.random.default_rng(0).integers(0, 256, (150, 300, 3), np.uint8)
    find = Detector(card, classes=card.classes, score_threshold=0.3, association="published", device="cpu", threads=1)
    (found,) = find([image])
    # The graph's own numbers: `write_onnx` has proved that they are torch's, and two rows of almost one score may change places.
    pixels = np.ascontiguousarray(centred_letterbox(image, (256, 192)).transpose(2, 0, 1)[None], np.float32) / 255
    boxes, scores, *extras = find.session.run(pixels)
    candidates = Candidates(boxes[0], scores[0], np.concatenate(extras, -1)[0])
    if name == "jointbdoe":
        expected = find_facing(candidates, (256, 192), (300, 150), 0.3, 0.6)
        solid = (expected.people.boxes[:, 2:] > expected.people.boxes[:, :2]).all(1)  # the others lie in the padding
        assert len(found) == solid.sum() > 0
        np.testing.assert_allclose(found.boxes, expected.people.boxes[solid], atol=0.05)
        np.testing.assert_allclose(np.cos(found.angles - expected.angles[solid]), 1, atol=1e-3)
        return
    expected = find_bodies(candidates, BODY_PARTS, (256, 192), (300, 150), Thresholds(0.3, 0.6, 0.3, 0.3))
    assert len(expected) > 0 and len(expected.parts) > 0 and (expected.part >= 0).any()
    everything = np.concatenate([expected.boxes, expected.parts.boxes])
    solid = (everything[:, 2:] > everything[:, :2]).all(1)
    np.testing.assert_allclose(found.boxes, everything[solid], atol=1e-3)
    np.testing.assert_array_equal(found.persons, np.concatenate([np.arange(len(expected)), expected.owners])[solid])
