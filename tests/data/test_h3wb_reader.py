"""H3WB's reader, on a small file in its layout."""

import numpy as np
import pytest

from vitruvian.data.augment import Geometry
from vitruvian.data.crops import cut
from vitruvian.data.h3wb import h3wb
from vitruvian.data.human36m import CAMERAS
from vitruvian.data.mixture import converted
from vitruvian.data.readers import read_dataset
from vitruvian.errors import FormatError
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133

K = 133
HIPS = [11, 12]


def film(frames=2, seed=0):
    """Random points of one action before four cameras."""
    rng = np.random.default_rng(seed)
    views = {c: {"pose_2d": rng.uniform(100, 900, (frames, K, 2)), "camera_3d": rng.normal(4000, 300, (frames, K, 3))} for c in CAMERAS}
    return {"frame_id": np.arange(frames) * 5 + 1, "global_3d": np.zeros((frames, K, 3)), **views}


def write(folder, table):
    np.savez(folder / "h3wb_train.npz", train_data=np.array(table, object), metadata=np.array({"num_joints": K}, object))


def test_every_view_of_every_frame_with_depths_in_metres(tmp_path):
    action = film()
    write(tmp_path, {"S7": {"Directions 1": action}, "S1": {"Eating": film(1)}})
    found = list(h3wb(tmp_path, "test"))
    assert len(found) == 8 and len({picture.id for picture in found}) == 8
    second = found[1]
    assert second.file == tmp_path / f"S7/Images/Directions 1.{CAMERAS[0]}/frame_0006.jpg" and second.frame == 6
    z = action[CAMERAS[0]]["camera_3d"][1, :, 2] / 1000
    np.testing.assert_allclose(second.people.depths[0], z - z[HIPS].mean(), atol=1e-5)
    flat = action[CAMERAS[0]]["pose_2d"][1]
    np.testing.assert_allclose(second.people.boxes[0], [*flat.min(0), *flat.max(0)], rtol=1e-5)
    assert read_dataset("h3wb", tmp_path).name == "h3wb" and (second.people.visible == 2).all()


def test_points_that_are_not_known_have_neither_place_nor_depth(tmp_path):
    action = film(1)
    action[CAMERAS[0]]["pose_2d"][0, 100] = np.nan
    action[CAMERAS[0]]["camera_3d"][0, 101] = np.nan
    write(tmp_path, {"S7": {"Eating": action}})
    people = next(iter(h3wb(tmp_path))).people
    assert people.visible[0, [100, 101]].tolist() == [0, 2] and np.isnan(people.depths[0, [100, 101]]).all()


def test_a_mirror_exchanges_depths_with_their_points(tmp_path):
    write(tmp_path, {"S7": {"Eating": film(1)}})
    people = next(iter(h3wb(tmp_path))).people
    image = np.zeros((1000, 1000, 3), np.uint8)
    plain, mirrored = (cut(image, people, COCO_WHOLEBODY_133, (96, 128), Geometry(flip=f, half_body=0.0)) for f in (0.0, 1.0))
    np.testing.assert_array_equal(mirrored.depths, plain.depths[:, COCO_WHOLEBODY_133.swap])
    assert np.isnan(converted(people, COCO_WHOLEBODY_133, COCO_17).depths).all()


@pytest.mark.parametrize(
    "damage,words",
    [
        (lambda t: t.pop("S7"), "no subject S7"),
        (lambda t: t["S7"]["Eating"].pop(CAMERAS[2]), f"no camera {CAMERAS[2]}"),
        (lambda t: t["S7"]["Eating"].pop("frame_id"), "damaged"),
        (lambda t: t["S7"]["Eating"][CAMERAS[0]].update(pose_2d=np.zeros((1, 17, 2))), "shape"),
        (lambda t: t["S7"]["Eating"][CAMERAS[0]].update(camera_3d=np.full((1, K, 3), np.inf)), "infinite"),
        (lambda t: t["S7"].update({"../../Eating": t["S7"].pop("Eating")}), "does not stay below"),
        (lambda t: t.update(S7=3), "damaged"),
    ],
)
def test_damage_is_told(tmp_path, damage, words):
    table = {"S7": {"Eating": film(1)}}
    damage(table)
    write(tmp_path, table)
    with pytest.raises(FormatError, match=words):
        list(h3wb(tmp_path))


def test_a_folder_without_it(tmp_path):
    with pytest.raises(FormatError, match="h3wb_train.npz"):
        h3wb(tmp_path)
