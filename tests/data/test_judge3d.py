"""Lifters and takes on made-up data sets in their official layouts: who knows the truth gets full marks, and errors come out as made."""

from types import SimpleNamespace

import numpy as np
import pytest

from many_views import room, walker
from sets_3d import write_human36m, write_shelf
from vitruvian.codecs.lifting import mirrored, normalise_keypoints
from vitruvian.data.films3d import Film3D, Set3D
from vitruvian.data.human36m import CAMERAS, JOINTS
from vitruvian.data.joint_sets import brought
from vitruvian.data.judge3d import (
    SIZES,
    Guesses,
    judge_lifter,
    judge_takes,
    lifter_table,
    read_films,
    read_takes,
    shared_joints,
    take_table,
)
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera, moved, project, to_camera, up_axis, y_up
from vitruvian.metrics.poses3d import AUC_LIMITS
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, H36M_17, INF_3DHP_17, PANOPTIC_15, SHELF_14, SMPL_24, convert
from vitruvian.take import People, Take

RING = room(4)
RNG = np.random.default_rng(3)


class Oracle:
    """A lifter that has learnt what is seen of each pose, and looks for the nearest; `off` metres wrong in the depth of one joint."""

    def __init__(self, skeleton, codec="lift-frame", length=9, off=0.0, joint=3):
        self.skeleton, self.seen, self.poses, self.off, self.joint = skeleton, [], [], off, joint
        self.card = SimpleNamespace(codec=codec, diffusion_times=100)
        shape = (None, len(skeleton), 2) if codec == "lift-frame" else (None, length, len(skeleton), 6)
        self.session = SimpleNamespace(input_shape=shape, run=self.run)

    def learn(self, camera, size, points):
        """points (n, k, 3) in the world."""
        self.remember(normalise_keypoints(project(camera, points), size), to_camera(camera, points))

    def remember(self, seen, local):
        """What is seen of which poses."""
        local = local - local[:, self.skeleton.parents.index(-1), None]
        for places, poses in ((seen, local), (mirrored(seen, self.skeleton.swap), mirrored(local, self.skeleton.swap))):
            self.seen.append(places.reshape(len(places), -1))
            self.poses.append(poses)

    def run(self, batch):
        known, poses = np.concatenate(self.seen), np.concatenate(self.poses)
        flat = batch.reshape(-1, len(self.skeleton), batch.shape[-1])[..., :2].reshape(-1, 2 * len(self.skeleton))
        away = ((flat[:, None] - known) ** 2).sum(-1)
        assert away.min(1, initial=np.inf).max(initial=0) < 1e-8
        out = poses[away.argmin(1)]
        out[:, self.joint, 2] += self.off
        return (out.reshape(*batch.shape[:-1], 3).astype(np.float32),)


def h36m_points(frames=6):
    """Two subjects, two actions, of which one has two films."""
    return {
        s: {a: np.float32(RNG.normal(0, 0.15, (frames, 32, 3)) + [0, 1, 0]) for a in ("Walking 1", "Walking", "Eating")}
        for s in ("S9", "S11")
    }


@pytest.fixture
def human36m(tmp_path):
    """The set, and an oracle of it that is 17 cm off in one joint of 17."""
    points = h36m_points()
    write_human36m(tmp_path, points, RING)

    def make(codec="lift-frame", off=0.0):
        oracle = Oracle(H36M_17, codec, off=off)
        for actions in points.values():
            for values in actions.values():
                for name, camera in zip(CAMERAS, RING, strict=True):
                    oracle.learn(camera, SIZES[name], values[:, JOINTS])
        return read_films("human36m", tmp_path, keypoints="gt"), oracle

    return make


def table_of(dataset, lifter, **options):
    films = judge_lifter(dataset, lifter, **options)
    return films, lifter_table(films, dataset, shared_joints(lifter.skeleton, dataset.skeleton))


def test_a_lifter_that_knows_the_truth_on_human36m(human36m):
    dataset, oracle = human36m()
    done = []
    films, table = table_of(dataset, oracle, on_film=done.append)
    assert done == [1, 2, 3, 4, 5, 6] and len(films) == 24
    assert list(table) == ["Walking", "Eating", "mean"] and list(table["mean"]) == [
        *("MPJPE mm", "PA-MPJPE mm", "N-MPJPE mm", "MPJVE mm", "lifted %")
    ]
    assert all(table["mean"][name] < 0.01 for name in table["mean"] if name != "lifted %") and table["mean"]["lifted %"] == 100


def test_an_error_of_one_joint_is_a_seventeenth_and_does_not_move(human36m):
    dataset, oracle = human36m(off=0.17)
    _, table = table_of(dataset, oracle)
    # The mirror image's joint of the other side is off as well, and the two are averaged.
    assert table["mean"]["MPJPE mm"] == pytest.approx(10, abs=0.01) and table["mean"]["MPJVE mm"] < 0.01
    assert all(0 < table["mean"][name] < 20 for name in ("PA-MPJPE mm", "N-MPJPE mm"))


@pytest.mark.parametrize("how", ["mean", "joint-best", "pose-best", "jpma"])
def test_networks_that_guess_are_asked_in_clips(human36m, how):
    dataset, oracle = human36m("lift-diffusion")
    _, table = table_of(dataset, oracle, guesses=Guesses(2, 1, how), limit=2)
    assert table["mean"]["MPJPE mm"] < 0.01


def inf_folder(folder, frames=8):
    camera = Camera([[1500.0, 0, 1020], [0, 1490, 1040], [0, 0, 1]], size=(2048, 2048))
    tables, world = {}, {}
    for name in ("TS1", "TS2", "TS3"):
        points = RNG.normal(0, 0.3, (frames, 17, 3)) + [0, 0, 4]
        valid = np.arange(frames) % 4 > 0
        tables[name] = {"data_3d": 1000 * points, "data_2d": project(camera, points), "valid": valid.astype(float)}
        world[name] = points
    np.savez(folder / "data_test_3dhp.npz", data=np.array(tables, object))
    return camera, world


def test_inf3dhp_by_scene_and_only_frames_that_count(tmp_path):
    camera, world = inf_folder(tmp_path)
    oracle = Oracle(INF_3DHP_17, off=0.34, joint=INF_3DHP_17.index("right_wrist"))
    for points in world.values():
        oracle.learn(camera, (2048, 2048), points)
    dataset = read_films("inf3dhp", tmp_path)
    films, table = table_of(dataset, oracle)
    assert list(table) == ["green screen", "studio", "mean of films", "all frames"]
    assert sum(int(film.counts.sum()) for film in films) == 18
    # Averaged with the mirror image: both wrists are 170 mm off, of 17 joints, and 12 of the 14 that PCK counts are right.
    figures = table["all frames"]
    assert figures["MPJPE mm"] == pytest.approx(20, abs=0.01) and figures["PCK %"] == pytest.approx(100 * 12 / 14)
    assert figures["AUC %"] == pytest.approx(100 * 12 / 14 * (AUC_LIMITS > 0).mean())


def test_joints_of_another_set_are_compared_where_both_have_them():
    joints = shared_joints(H36M_17, INF_3DHP_17)
    assert [name for i, name in enumerate(INF_3DHP_17.names) if i not in joints] == ["head"]
    points = RNG.normal(0, 0.3, (4, 17, 3))
    made = to_names(brought(points, INF_3DHP_17, H36M_17))
    np.testing.assert_allclose(made["neck_base"], (made["thorax"] + made["head"]) / 2)
    np.testing.assert_allclose(brought(brought(points, INF_3DHP_17, H36M_17), H36M_17, INF_3DHP_17)[:, joints], points[:, joints])


def to_names(points):
    return dict(zip(H36M_17.names, np.moveaxis(points, -2, 0), strict=True))


def small_set(name, skeleton, points, cameras=(RING[0],), **other):
    film = Film3D("film", tuple(cameras), points, np.arange(len(points)), "act", 30.0, **other)
    return Set3D(name, skeleton, "", lambda: iter([film]))


class Whole:
    """Our own lifter's interface: 133 points, of which it knows the limbs."""

    skeleton, card = COCO_WHOLEBODY_133, SimpleNamespace(codec="")

    def __init__(self, truth, source):
        self.truth, self.source, self.asked = truth, source, []

    def __call__(self, keypoints, confidence, times, intrinsics, size):
        self.asked.append((keypoints, confidence, times, size))
        points = convert(self.truth, np.ones(self.truth.shape[:2]), self.source, COCO_WHOLEBODY_133).keypoints
        points[3] = np.nan
        return SimpleNamespace(points=points)


def test_our_own_lifter_sees_what_a_set_has_and_is_scored_where_it_answers():
    world = RNG.normal(0, 0.3, (6, 2, 24, 3)) + [0, 1, 0]
    world[:, 1] = np.nan  # nobody is there
    dataset = small_set("3dpw", SMPL_24, world, [RING[0]])
    lifter = Whole(to_camera(RING[0], world[:, 0]), SMPL_24)
    films, table = table_of(dataset, lifter)
    ((keypoints, confidence, times, size),) = lifter.asked
    assert confidence.sum(1).tolist() == [12] * 6 and np.allclose(np.diff(times), 1 / 30) and size == (1920, 1080)
    assert len(films) == 1 and table["all"]["lifted %"] == pytest.approx(100 * 5 / 6)
    # Its pelvis and neck are middles of hips and shoulders, which SMPL's are not.
    limbs = [i for i, j in enumerate(shared_joints(COCO_WHOLEBODY_133, SMPL_24)) if SMPL_24.names[j] not in ("pelvis", "neck")]
    np.testing.assert_allclose(films[0].found[0, limbs], films[0].truth[0, limbs], atol=1e-5)


def test_3dpw_is_shown_as_human36ms_joints_and_compared_in_its_own():
    world = RNG.normal(0, 0.2, (5, 1, 24, 3)) + [0, 1, 0]
    dataset = small_set("3dpw", SMPL_24, world)
    oracle = Oracle(H36M_17, joint=H36M_17.index("right_wrist"), off=0.14)
    seen = brought(project(RING[0], world[:, 0]), SMPL_24, H36M_17)
    oracle.remember(normalise_keypoints(seen, RING[0].size), brought(to_camera(RING[0], world[:, 0]), SMPL_24, H36M_17))
    _, table = table_of(dataset, oracle)
    joints = shared_joints(H36M_17, SMPL_24)
    # Of 14 joints both wrists are 70 mm off, as answers are averaged with their mirror image.
    assert len(joints) == 14 and table["all"]["MPJPE mm"] == pytest.approx(10, abs=0.01)


def test_people_of_a_set_without_a_lifters_joints_are_refused():
    dataset = small_set("other", SHELF_14, np.ones((2, 1, 14, 3)))
    with pytest.raises(VitruvianError, match="don't follow"):
        judge_lifter(dataset, Oracle(H36M_17))


def test_no_films_are_a_row_of_nothing():
    for name, skeleton, row in (("human36m", H36M_17, "mean"), ("inf3dhp", INF_3DHP_17, "all frames"), ("3dpw", SMPL_24, "all")):
        dataset = Set3D(name, skeleton, "", lambda: iter(()))
        _, table = table_of(dataset, Oracle(H36M_17))
        assert all(np.isnan(value) for value in table[row].values())


# Takes


def take_of(points, skeleton, cameras, first=0, frames=None, names=()):
    """A take in the world as a capture leaves it (y up), of points (f, p, k, 3) in the calibration's."""
    f, p, k = points.shape[:3]
    turned = points @ y_up(up_axis(cameras))[:3, :3].T
    rows = np.isfinite(turned).all((2, 3))
    frame, track = np.nonzero(rows)
    n = len(frame)
    people = People(frame, track, np.zeros((n, 4)), np.linspace(0.9, 0.5, n), np.full((n, k, 2), np.nan), np.ones((n, k)), turned[rows])
    count = frames or f
    return Take(people, skeleton, first + np.arange(count) / 25, np.zeros((count, 2)), names, space="world")


def z_up(cameras):
    """The same cameras in a world of z up."""
    return [moved(camera, np.linalg.inv(y_up("z"))) for camera in cameras]


def test_a_take_turned_to_y_up_is_turned_back():
    cameras = z_up(RING)
    assert up_axis(cameras) == "z"
    truth = walker(np.arange(5) / 25)[:, None] @ y_up("z")[:3, :3]
    both = np.concatenate([truth, truth + [0.5, 0, 0]], 1)
    panoptic = convert(both, np.ones(both.shape[:3]), COCO_17, PANOPTIC_15).keypoints
    known = [j for j in range(15) if np.isfinite(panoptic[..., j, :]).all()]
    assert len(known) == 15
    dataset = small_set("panoptic", PANOPTIC_15, panoptic, cameras)
    films = judge_takes(dataset, {"film": take_of(both, COCO_17, cameras)})
    row = take_table(films, dataset)["all"]
    assert row["AP25 %"] == row["recall@500 %"] == 100 and row["MPJPE mm"] < 0.01
    one = take_table(judge_takes(dataset, {"film": take_of(both[:, :1], COCO_17, cameras)}), dataset)["all"]
    assert one["recall@500 %"] == 50


def shelf_take(folder, frames=610):
    """A Shelf of two actors who walk, one absent for a frame; and the 133 points (frames, 2, 133, 3) that were seen there."""
    times = np.arange(frames) / 25
    coco = np.stack([walker(times, (0, 0), (0, 0.05)), walker(times, (1.5, 0), (0, -0.05))], 1)
    truth = brought(brought(coco, COCO_17, H36M_17), H36M_17, SHELF_14)
    truth[305, 0] = np.nan
    write_shelf(folder, truth, RING)
    whole = np.zeros((*coco.shape[:2], 133, 3))
    whole[:, :, :17] = coco
    return whole


def test_shelf_from_a_take_file(tmp_path):
    whole = shelf_take(tmp_path)
    dataset = read_films("shelf", tmp_path)
    take_of(whole, COCO_WHOLEBODY_133, RING).save(tmp_path / "take.npz")
    table = take_table(judge_takes(dataset, read_takes(tmp_path / "take.npz", dataset)), dataset)
    assert table == {name: {"PCP3D %": 100.0} for name in ("actor 1", "actor 2", "mean of three")}
    # A take of the second half of the frames that count, known by the names of its pictures.
    late = [f"Camera0/img_{n:06d}.png" for n in range(450, 610)]
    half = take_of(whole[450:], COCO_WHOLEBODY_133, RING, names=tuple(late))
    table = take_table(judge_takes(dataset, {"shelf": half}), dataset)
    assert table["actor 2"]["PCP3D %"] == pytest.approx(100 * 151 / 301)


def test_takes_that_can_t_be_judged(tmp_path):
    points = walker(np.arange(3) / 25)[:, None]
    dataset = small_set("egohumans", COCO_17, points, RING)
    good = take_of(points, COCO_17, RING)
    with pytest.raises(VitruvianError, match="no film"):
        judge_takes(dataset, {"other": good})
    with pytest.raises(VitruvianError, match="no film"):
        judge_takes(dataset, {})
    late = take_of(points, COCO_17, RING, names=("7.png", "8.png", "9.png"))
    with pytest.raises(VitruvianError, match="none of its frames"):
        judge_takes(dataset, {"film": late})
    flat = Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2)))
    with pytest.raises(VitruvianError, match="world"):
        judge_takes(dataset, {"film": flat})
    with pytest.raises(FormatError, match="no takes"):
        read_takes(tmp_path, dataset)


def test_takes_of_a_folder_have_their_films_names(tmp_path):
    good = take_of(walker(np.arange(3) / 25)[:, None], COCO_17, RING)
    for place in ("a/take.npz", "b/c/take.npz", "d.npz"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        good.save(tmp_path / place)
    dataset = small_set("egohumans", COCO_17, np.ones((1, 1, 17, 3)))
    assert sorted(read_takes(tmp_path, dataset)) == ["a", "b/c", "d"]
    assert list(read_takes(tmp_path / "a", dataset)) == ["a"] and list(read_takes(tmp_path / "d.npz", dataset)) == ["d"]


def test_sets_and_splits_that_there_are_not(tmp_path):
    with pytest.raises(VitruvianError, match="take one of human36m"):
        read_films("nothing", tmp_path)
    with pytest.raises(VitruvianError, match="no split 'val'"):
        read_films("human36m", tmp_path, "val")
