"""Training HopFIR and FinePOSE on folders of motions and on Human3.6M: they learn, and leave checkpoints that are exported and judged."""

import json
import sys

import numpy as np
import pytest

from many_views import room
from motion_files import motion_folder
from vitruvian.data.human36m import CAMERAS, JOINTS
from vitruvian.data.motions3d import Motion, read_motions
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import project
from vitruvian.skeletons import H36M_17

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vitruvian.systems import catalogue  # noqa: E402
from vitruvian.systems.checkpoint import read_state  # noqa: E402
from vitruvian.train import lift3d  # noqa: E402


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lift3d", *map(str, arguments)])
    lift3d.main()


def test_hopfir_learns_from_a_folder_of_motions(tmp_path, monkeypatch):
    folder, out = motion_folder(tmp_path / "motions"), tmp_path / "run"
    options = ("--variant", "t", "--steps", 60, "--batch", 4, "--rate", 3e-3)
    command(monkeypatch, "hopfir", "--motions", folder, "--out", out, *options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 60 and lines[-1]["total"] < 0.75 * lines[0]["total"] and lines[-1]["mpjpe_mm"] > 0
    found = catalogue.recognise(read_state(out / "network.safetensors"))
    assert found.system.name == "hopfir" and found.variant == "hopfir-t-h36m-17"
    command(monkeypatch, "hopfir", "--motions", folder, "--out", out, *options)  # nothing is left to do
    assert len((out / "log.jsonl").read_text().splitlines()) == len(lines)


def human36m_folder(folder, frames=12):
    """The training subjects, two of them with a word that FinePOSE doesn't know."""
    ring, rng = room(4), np.random.default_rng(0)
    actions = ("Walking 1", "Juggling")
    points = {f"S{n}": {action: np.float32(rng.normal(0, 0.2, (frames, 32, 3)) + [0, 1, 0]) for action in actions} for n in (1, 5, 6, 7, 8)}
    flat = {s: {a: [np.float32(project(c, p[:, JOINTS])) for c in ring] for a, p in table.items()} for s, table in points.items()}
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(points, object))
    np.savez(folder / "data_2d_h36m_gt.npz", positions_2d=np.array(flat, object))
    intrinsics = {n: {"calibration_matrix": c.intrinsics.tolist(), "distortion": [0.0] * 5} for n, c in zip(CAMERAS, ring, strict=True)}
    places = {n: {"R": c.R_cam_world.tolist(), "t": (1000 * c.t_cam_world[:, None]).tolist()} for n, c in zip(CAMERAS, ring, strict=True)}
    (folder / "camera-parameters.json").write_text(json.dumps({"intrinsics": intrinsics, "extrinsics": {s: places for s in points}}))


def test_finepose_takes_steps_on_human36m(tmp_path, monkeypatch):
    human36m_folder(tmp_path)
    options = ("--variant", "nano", "--steps", 3, "--batch", 2)
    command(monkeypatch, "finepose", "--human36m", tmp_path, "--out", tmp_path / "run", *options)
    last = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3 and np.isfinite(last["mpjpe_mm"])
    found = catalogue.recognise(read_state(tmp_path / "run/network.safetensors"))
    assert found.system.name == "finepose" and found.config.times == 100


def test_clips_of_human36m_are_its_own_points_and_subject_8_is_held_out(tmp_path):
    human36m_folder(tmp_path)
    source = lift3d.from_human36m(tmp_path, 5, "gt")
    clips = next(lift3d.batches(source.learn, 12, 0))
    assert clips.keypoints.shape == (12, 5, 17, 2) and clips.points.shape == (12, 5, 17, 3) and not clips.points[:, :, 0].any()
    assert set(clips.texts) == {"Walking", None}
    held = {tuple(row.round(5)) for row in _depths(next(lift3d.batches(source.measure, 12, 0)))}
    assert not held & {tuple(row.round(5)) for row in _depths(clips)}


def _depths(clips):
    return clips.points[:, 0, :, 2].abs().sort(-1).values.numpy()


def test_clips_of_motions_are_what_their_camera_sees(tmp_path):
    source = lift3d.from_motions(read_motions(motion_folder(tmp_path)), 9, 0.0)
    clip = source.learn(np.random.default_rng(0))
    assert clip.keypoints.shape == (9, 17, 2) and np.abs(clip.keypoints).max() <= 1 and clip.text is None
    # A right side that is nearer is on the left of somebody seen from the front; mirrored clips keep that.
    for seed in range(8):
        clip = source.learn(np.random.default_rng(seed))
        upright = clip.points[:, H36M_17.index("head"), 1] < clip.points[:, H36M_17.index("left_foot"), 1]
        lengths = np.linalg.norm(clip.points[:, 2] - clip.points[:, 3], axis=-1)
        assert upright.all() and np.allclose(lengths, 0.4, atol=2e-3)
    assert source.measure is not None and lift3d.from_motions(read_motions(tmp_path)[:4], 9, 0.0).measure is None


def test_short_motions_are_filled_up_and_ones_with_gaps_left_out():
    still = Motion("still", np.random.default_rng(0).normal(0, 0.3, (1, 17, 3)), 30.0)
    gap = Motion("gap", np.full((20, 17, 3), np.nan), 30.0)
    clip = lift3d.from_motions([gap, still], 6, 1.0).learn(np.random.default_rng(1))
    assert clip.points.shape == (6, 17, 3) and np.ptp(clip.points, axis=0).max() < 1e-6
    with pytest.raises(VitruvianError, match="none of 1 motions"):
        lift3d.from_motions([gap], 6, 1.0)


def test_finepose_reads_its_texts_by_clip_where_weights_are_given(tmp_path, monkeypatch):
    """A small tower stands for CLIP's; without one, no tower of random weights is left in the network."""
    from dataclasses import replace

    from vitruvian.systems.checkpoint import write_state
    from vitruvian.systems.pose3d import finepose

    nano = finepose.VARIANTS["nano"]
    monkeypatch.setitem(finepose.VARIANTS, "nano", replace(nano, tower=3))
    assert lift3d.build("finepose", "nano")[0].config == nano
    tower = finepose.FinePose(replace(nano, tower=1)).prompts.tower.state_dict()
    names = (("blocks.", "transformer.resblocks."), (".qkv.", ".attn.in_proj_"), (".out.", ".attn.out_proj."), (".c_", ".mlp.c_"))
    for ours, theirs in names:
        tower = {name.replace(ours, theirs): value for name, value in tower.items()}
    write_state(tower, tmp_path / "clip.safetensors", {})
    human36m_folder(tmp_path)
    options = ("--variant", "nano", "--clip", tmp_path / "clip.safetensors", "--steps", 2, "--batch", 2)
    command(monkeypatch, "finepose", "--human36m", tmp_path, "--out", tmp_path / "run", *options)
    trained = catalogue.recognise(read_state(tmp_path / "run/network.safetensors"))
    assert trained.config.tower == 1
    found = trained.model.prompts.tower.token_embedding.weight
    np.testing.assert_array_equal(found.detach().numpy(), tower["token_embedding.weight"].numpy())  # frozen
    with pytest.raises(SystemExit, match="HopFIR reads no text"):
        command(monkeypatch, "hopfir", "--motions", tmp_path, "--out", tmp_path / "other", "--clip", tmp_path / "clip.safetensors")


def test_what_there_is_not_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(VitruvianError, match="small-27"):
        lift3d.build("finepose", "3dhp-243")
    with pytest.raises(SystemExit, match="error: .* holds no motions"):
        command(monkeypatch, "hopfir", "--motions", tmp_path, "--out", tmp_path / "run")


@pytest.mark.slow
def test_what_was_trained_is_exported(tmp_path, monkeypatch):
    folder = motion_folder(tmp_path / "motions")
    for system, variant in (("hopfir", "t"), ("finepose", "nano")):
        out = tmp_path / system
        command(monkeypatch, system, "--motions", folder, "--out", out, "--variant", variant, "--steps", 2, "--batch", 2)
        _, card, worst = catalogue.export(out / "network.safetensors", tmp_path / f"{system}.onnx")
        assert (card.task, card.skeleton) == ("lift", "h36m-17") and worst < 1e-3
