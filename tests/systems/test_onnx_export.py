"""A wrong export must not pass for a right one."""

import pytest
import torch
from torch import nn

from vitruvian.errors import FormatError, WeightsError
from vitruvian.skeletons import COCO_17, SYNTHPOSE_52
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.export import export_onnx, keypoint_notes, keypoint_set, noted_keypoints, rounding
from vitruvian.weights import Card


class Fickle(nn.Module):
    """Gives another answer at every call in Python, which a graph can't know."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        self.calls += 1
        return self.linear(x) + self.calls


def test_file_that_differs_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_text("the old one")
    with pytest.raises(WeightsError, match="off by"):
        export_onnx(Fickle(), torch.zeros(1, 4), path)
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    assert path.read_text() == "the old one"


class Trembling(nn.Module):
    """Subtracts numbers that are nearly equal, so that float32 keeps little of what is left."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 256)

    def forward(self, x):
        far = self.linear(x) + 3e4
        return (far.softmax(1) * 256 * far).mean(1, keepdim=True) - far.mean(1, keepdim=True)


def test_rounding_of_ill_conditioned_weights_is_no_reason_to_refuse(tmp_path):
    torch.manual_seed(0)
    model = Trembling().eval()
    lost = rounding(model, [(256,)])
    assert lost > 1e-6
    export_onnx(model, torch.zeros(1, 256), tmp_path / "network.onnx", tolerance=lost / 100)


def test_rounding_sees_nothing_where_float32_is_exact():
    assert rounding(nn.Identity(), [(4,)]) == 0.0


def test_training_mode_of_the_model_is_left_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    assert export_onnx(model, torch.zeros(1, 4), tmp_path / "network.onnx") < 1e-5
    assert model.training


def own_set(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[points]\nnose = { keypoint = "nose" }\nl_spot = { vertices = [1] }\nr_spot = { vertices = [2] }\n'
    )
    return keypoint_set(3, str(tmp_path / "mine.toml"))


def test_a_keypoint_set_is_told_by_its_name_its_file_or_the_number_of_points(tmp_path):
    assert keypoint_set(17) is COCO_17 and keypoint_set(17, "ap10k_17").name == "ap10k-17" and keypoint_set(52) is SYNTHPOSE_52
    mine = own_set(tmp_path)
    assert mine.names == ("nose", "l_spot", "r_spot") and mine.swap == (0, 2, 1) and keypoint_set(3, mine) is mine
    with pytest.raises(WeightsError, match="taken for granted.*toml"):
        keypoint_set(3)
    with pytest.raises(WeightsError, match="mine has 3"):
        keypoint_set(17, mine)
    with pytest.raises(FormatError, match="nowhere.toml"):
        keypoint_set(3, str(tmp_path / "nowhere.toml"))


def test_a_card_keeps_a_keypoint_set_of_ones_own(tmp_path):
    card = Card("net", "pose2d", "net.onnx", (8, 8), (0.0,) * 3, (1.0,) * 3, skeleton=own_set(tmp_path))
    card.save(tmp_path / "net.json")
    found = Card.load(tmp_path / "net.json").keypoint_set
    assert card.skeleton == "mine" and found.names == ("nose", "l_spot", "r_spot") and found.swap == (0, 2, 1)
    plain = Card("net", "pose2d", "net.onnx", (8, 8), (0.0,) * 3, (1.0,) * 3, skeleton=COCO_17)
    assert (plain.skeleton, plain.keypoints) == ("coco-17", {}) and plain.keypoint_set is COCO_17
    with pytest.raises(FormatError, match="swap"):
        Card("net", "pose2d", "net.onnx", (8, 8), (0.0,) * 3, (1.0,) * 3, skeleton="mine", keypoints=card.keypoints | {"swap": [5]})


def test_notes_of_a_checkpoint_tell_its_keypoints(tmp_path):
    pytest.importorskip("safetensors")
    path, weights = tmp_path / "a.safetensors", {"w": torch.zeros(1)}
    mine = own_set(tmp_path)
    write_state(weights, path, keypoint_notes(mine))
    found = noted_keypoints(path)
    assert (found.name, found.names, found.swap) == (mine.name, mine.names, mine.swap)
    write_state(weights, path, keypoint_notes(COCO_17))
    assert noted_keypoints(path) is COCO_17
    write_state(weights, path, {})
    assert noted_keypoints(path) is None and noted_keypoints(tmp_path / "a.pth") is None
    (tmp_path / "b.safetensors").write_bytes(b"junk")
    assert noted_keypoints(tmp_path / "b.safetensors") is None


@pytest.mark.parametrize("note", ["", "[", "[]", "{}", '{"name": "x", "table": {}}', '{"name": 3, "table": []}', "[" * 100_000])
def test_notes_that_say_no_keypoints_are_refused(tmp_path, note):
    pytest.importorskip("safetensors")
    write_state({"w": torch.zeros(1)}, tmp_path / "a.safetensors", {"keypoints": note})
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        noted_keypoints(tmp_path / "a.safetensors")
