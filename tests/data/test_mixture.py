"""Sets in one keypoint set, mixed and shuffled, and the neighbours of a film's frames."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from vitruvian.data.mixture import clip_files, converted, in_skeleton, mix, shuffled
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import AIC_14, COCO_17, COCO_WHOLEBODY_133, CROWDPOSE_14, HALPE_136, HUMANART_21, JHMDB_15, MPII_16, POSETRACK_17


def people(skeleton, n=1):
    points = np.tile(np.arange(len(skeleton), dtype=float)[:, None], (n, 1, 2))
    return labels(points, np.full((n, len(skeleton)), 2), np.tile([0.0, 0, 10, 10], (n, 1)))


def dataset(name, skeleton, count, empty=()):
    def read():
        for i in range(count):
            yield Picture(Path(f"{name}/{i}.jpg"), i, (10, 10), Labels.empty(len(skeleton)) if i in empty else people(skeleton))

    return Dataset(name, skeleton, "", read)


# The maps of RTMW's training (card keypoints-coco-wholebody.md): source -> target.
TABLES = {
    "aic": (AIC_14, dict(zip(range(12), (6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15), strict=True))),
    "crowdpose": (CROWDPOSE_14, {i: i + 5 for i in range(12)}),
    "mpii": (MPII_16, {0: 16, 1: 14, 2: 12, 3: 11, 4: 13, 5: 15, 10: 10, 11: 8, 12: 6, 13: 5, 14: 7, 15: 9}),
    "jhmdb": (JHMDB_15, {3: 6, 4: 5, 5: 12, 6: 11, 7: 8, 8: 7, 9: 14, 10: 13, 11: 10, 12: 9, 13: 16, 14: 15}),
    "halpe": (
        HALPE_136,
        {i: i for i in range(17)} | {20: 17, 21: 20, 22: 18, 23: 21, 24: 19, 25: 22} | {i: i - 3 for i in range(26, 136)},
    ),
    "posetrack": (POSETRACK_17, {0: 0} | {i: i for i in range(3, 17)}),
    "humanart": (HUMANART_21, {i: i for i in range(17)} | {17: 99, 18: 120, 19: 17, 20: 20}),
}


@pytest.mark.parametrize("name", TABLES)
def test_points_go_where_the_published_tables_say(name):
    skeleton, table = TABLES[name]
    found = converted(people(skeleton), skeleton, COCO_WHOLEBODY_133)
    expected = np.full(133, np.nan)
    expected[list(table.values())] = list(table)
    np.testing.assert_array_equal(found.keypoints[0, :, 0], expected)
    np.testing.assert_array_equal(found.visible[0] > 0, np.isfinite(expected))


def test_a_set_is_converted_while_it_is_read():
    pictures = list(in_skeleton(dataset("a", COCO_17, 3, empty={1})))
    assert [picture.people.keypoints.shape for picture in pictures] == [(1, 133, 2), (0, 133, 2), (1, 133, 2)]


def names(stream, count):
    return [str(picture.file) for picture in islice(stream, count)]


def test_mixture_keeps_its_weights_and_is_deterministic():
    sets = [dataset("a", COCO_17, 50), dataset("b", COCO_17, 7)]
    drawn = names(mix(sets, (3, 1), seed=5, buffer=10), 2000)
    share = Counter(name.split("/")[0] for name in drawn)["a"] / 2000
    assert abs(share - 0.75) < 0.03
    assert drawn == names(mix(sets, (3, 1), seed=5, buffer=10), 2000) != names(mix(sets, (3, 1), seed=6, buffer=10), 2000)


def test_workers_share_a_set_without_overlap_and_each_pass_sees_everything():
    one = [dataset("a", COCO_17, 10, empty={4})]
    seen = [Counter(names(mix(one, (1,), worker=i, workers=2, buffer=3), 3 * (4 if i == 0 else 5))) for i in range(2)]
    assert not seen[0].keys() & seen[1].keys() and len(seen[0] | seen[1]) == 9
    assert set(seen[0].values()) == set(seen[1].values()) == {3}


def test_what_can_t_be_mixed():
    with pytest.raises(VitruvianError, match="no annotated people"):
        next(mix([dataset("a", COCO_17, 2, empty={0, 1})], (1,)))
    with pytest.raises(VitruvianError, match="in_skeleton"):
        next(mix([dataset("a", COCO_17, 2), dataset("b", MPII_16, 2)], (1, 1)))
    for weights in ((1,), (1, 0), (1, float("nan"))):
        with pytest.raises(VitruvianError, match="weights"):
            next(mix([dataset("a", COCO_17, 2)] * 2, weights))


@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_shuffling_loses_nothing(count):
    order = list(shuffled(range(count), np.random.default_rng(0), buffer=8))
    assert sorted(order) == list(range(count)) and (count < 100 or order != list(range(count)))


def test_neighbours_stop_at_the_ends_of_the_film(tmp_path):
    for i in range(3):
        (tmp_path / f"{i:06d}.jpg").touch()
    found = [
        [file.stem for file in clip_files(Picture(tmp_path / f"{i:06d}.jpg", 0, (0, 0), Labels.empty(17)), (-2, -1, 0, 1))] for i in (0, 1)
    ]
    assert found == [["000000", "000000", "000000", "000001"], ["000000", "000000", "000001", "000002"]]
    with pytest.raises(VitruvianError, match="no number"):
        clip_files(Picture(tmp_path / "a.jpg", 0, (0, 0), Labels.empty(17)), (1,))


def test_labels_of_other_shapes_are_refused():
    with pytest.raises(VitruvianError, match="one row per person"):
        labels(np.zeros((2, 17, 2)), np.zeros((2, 17)), np.zeros((2, 4)), ids=np.zeros(3))
