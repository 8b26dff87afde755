"""Takes with bodies go to AMASS, meshes and BVH and come from AMASS and SMPLer-X, posed alike; what lacks for that is said."""

from dataclasses import replace

import numpy as np
import pytest
from format_takes import walk_take

from random_body import JOINTS, random_body
from vitruvian.body.bodyfile import save_body
from vitruvian.body.compact import load_compact
from vitruvian.body.library import folder, load_body
from vitruvian.body.model import BodyParameters
from vitruvian.errors import FormatError
from vitruvian.formats.amass import BodyMotion, read_amass, with_hand_mean_added, with_up, write_amass
from vitruvian.formats.body_takes import take_of_motions
from vitruvian.formats.bvh import Bvh, forward_kinematics, read_bvh
from vitruvian.formats.convert import losses, read, write
from vitruvian.formats.meshes import read_obj, read_ply
from vitruvian.formats.published_bodies import write_smplerx
from vitruvian.skeletons import SMPL_24
from vitruvian.take import Take


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """Models of random numbers in an otherwise empty home."""
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    for name in ("smpl-neutral", "smplh-male", "smplh-female", "smplx-neutral"):
        save_body(replace(random_body(name.split("-")[0]), name=name), folder() / f"{name}.npz")


def motion(kind="smplh", n=4, up="z", seed=0, **options):
    random = np.random.default_rng(seed)
    values = (random.normal(0, scale, shape) for scale, shape in ((0.4, (n, JOINTS[kind], 3)), (1, (n, 0)), (1, (n, 3))))
    pose, expression, translation = (value.astype(np.float32) for value in values)
    shape = np.tile(random.normal(0, 1, 10), (n, 1)).astype(np.float32)
    return BodyMotion(kind, BodyParameters(pose, shape, expression, translation), np.arange(n) / 20, "female", up, **options)


def posed(model, body):
    return model.forward(body.pose, body.shape[:, : model.num_shape], body.expression, body.translation)


def compact_take(people=1, frames=3, space="world"):
    random, model = np.random.default_rng(1), load_compact()
    motions = {}
    for person in range(people):
        pose, translation = random.normal(0, 0.3, (frames, model.num_joints, 3)), random.normal(0, 1, (frames, 3))
        shape = np.tile(random.normal(0, 1, model.num_shape), (frames, 1))
        body = BodyParameters(*(v.astype(np.float32) for v in (pose, shape, np.zeros((frames, 0)), translation)))
        motions[person + 1] = body
    times = np.arange(frames) / 20
    columns = {"frame": np.tile(np.arange(frames), people), "track": np.repeat(np.arange(people) + 1, frames)}
    take = walk_take(1)
    n = frames * people
    filled = {name: np.repeat(getattr(take.people, name), n, 0) for name in ("boxes", "scores", "keypoints", "confidence")}
    names = ("pose", "shape", "expression", "translation")
    bodies = {f"body_{name}": np.concatenate([getattr(body, name) for body in motions.values()]) for name in names}
    rows = replace(take.people, **columns, **filled, **bodies, points=None)
    return replace(take, people=rows, times=times, sizes=np.zeros((frames, 2)), body="compact", space=space), motions


@pytest.mark.parametrize("kind, name", [("smpl", "smpl-neutral"), ("smplh", "smplh-female"), ("smplx", "smplx-neutral")])
def test_amass_files_are_takes_in_the_world_and_come_back(tmp_path, kind, name):
    wanted = motion(kind)
    write_amass(wanted, tmp_path / "walk.npz")
    take = read(tmp_path / "walk.npz")
    assert isinstance(take, Take) and (take.body, take.space, take.skeleton) == (name, "world", SMPL_24)
    assert take.tracks.tolist() == [1] and np.allclose(take.times, wanted.times)
    truth = posed(load_body(name), with_up(wanted, "y", load_body(name)).parameters)
    known = slice(0, 24 if kind == "smpl" else 22)
    np.testing.assert_allclose(take.people.points[:, known], truth.joints[:, known], atol=1e-5)
    assert write(take, tmp_path / "again.npz", "amass") == [tmp_path / "again.npz"]
    back = read_amass(tmp_path / "again.npz")
    np.testing.assert_allclose(
        posed(load_body(name), back.parameters).vertices, posed(load_body(name), wanted.parameters).vertices, atol=1e-4
    )
    take.save(tmp_path / "take.npz")
    assert read(tmp_path / "take.npz").body == name


def test_amass_files_become_motions_of_our_rig(tmp_path):
    write_amass(motion("smplh"), tmp_path / "walk.npz")
    take = read(tmp_path / "walk.npz")
    assert write(take, tmp_path / "walk.trc") == [tmp_path / "walk.trc"]
    assert write(take, tmp_path / "bones.bvh", "body-bvh") == [tmp_path / "bones.bvh"]
    bones = read(tmp_path / "bones.bvh")
    assert isinstance(bones, Bvh) and len(bones.names) == 52


def test_several_people_are_several_amass_files(tmp_path):
    model = load_body("smplx-neutral")
    take = take_of_motions({3: motion("smplx", up="camera"), 7: motion("smplx", 2, "camera", seed=1)}, model)
    assert take.space == "camera" and len(take.people) == 6
    assert [path.name for path in write(take, tmp_path / "all.npz", "amass")] == ["all_person_003.npz", "all_person_007.npz"]
    back = with_up(read_amass(tmp_path / "all_person_007.npz"), "camera", model).parameters
    truth = posed(model, motion("smplx", 2, "camera", seed=1).parameters)
    np.testing.assert_allclose(posed(model, back).joints, truth.joints, atol=1e-4)
    assert write(take.subset(slice(0, 0)), tmp_path / "nobody.npz", "amass") == []


def test_smplerx_folders_are_takes_in_the_camera_s_frame(tmp_path):
    people = {0: motion("smplx", 3, "camera", hand_mean=True), 2: motion("smplx", 2, "camera", 1, hand_mean=True)}
    for person, moved in people.items():
        moved = replace(moved, parameters=replace(moved.parameters, expression=np.zeros((len(moved.times), 10), np.float32)))
        write_smplerx(moved, tmp_path / "bodies", person, fps=20.0)
    take = read(tmp_path / "bodies")
    assert (take.body, take.space, take.tracks.tolist(), len(take.times)) == ("smplx-neutral", "camera", [0, 2], 3)
    model = load_body("smplx-neutral")
    truth = posed(model, with_hand_mean_added(people[2], model).parameters).joints
    np.testing.assert_allclose(take.people.of(2).points[:, :22], truth[:, :22], atol=1e-5)


@pytest.mark.parametrize("suffix, reader", [(".obj", read_obj), (".ply", read_ply)])
def test_meshes_are_a_file_for_each_body(tmp_path, suffix, reader):
    take, motions = compact_take(people=2, frames=2, space="camera")
    paths = write(take, tmp_path / f"walk{suffix}")
    assert [str(path.relative_to(tmp_path)) for path in paths] == [f"walk/person_00{p}/00000{f}{suffix}" for p in (1, 2) for f in (0, 1)]
    truth = posed(load_compact(), motions[2]).vertices[1] * [1, -1, -1]
    np.testing.assert_allclose(reader(paths[3])[0], truth, atol=1e-5)
    assert write(take, tmp_path / "folder", suffix[1:])[0] == tmp_path / "folder" / "person_001" / f"000000{suffix}"
    assert write(take.subset([3]), tmp_path / f"one{suffix}") == [tmp_path / f"one{suffix}"]
    np.testing.assert_allclose(reader(tmp_path / f"one{suffix}")[0], truth, atol=1e-5)
    assert write(take.subset(slice(0, 0)), tmp_path / f"nobody{suffix}") == []
    assert "pixels" in losses(take, "a.obj") and "body parameters" not in losses(take, "a.obj")


def test_bones_are_where_the_model_has_its_joints(tmp_path):
    take, motions = compact_take(people=2)
    paths = write(take, tmp_path / "walk.bvh", "body-bvh")
    assert [path.name for path in paths] == ["walk_person_001.bvh", "walk_person_002.bvh"]
    found, model = read_bvh(paths[1]), load_compact()
    order = [found.names.index(name) for name in model.joint_names]
    np.testing.assert_allclose(forward_kinematics(found)[0][:, order] * 0.01, posed(model, motions[2]).joints, atol=2e-3)


def test_what_lacks_is_said(tmp_path):
    take, _ = compact_take()
    with pytest.raises(FormatError, match="SMPL-X, and these are of"):
        write(take, tmp_path / "a.npz", "amass")
    for format in ("amass", "obj", "body-bvh"):
        with pytest.raises(FormatError, match="no bodies"):
            write(walk_take(2), tmp_path / "a", format)
    for path in folder().glob("smpl-*"):
        path.unlink()
    write_amass(motion("smpl"), tmp_path / "walk.npz")
    with pytest.raises(FormatError, match="vitruvian body import"):
        read(tmp_path / "walk.npz")
    assert [path.name for path in tmp_path.glob("*.*")] == ["walk.npz"]
