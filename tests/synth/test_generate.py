"""A store grows shard by shard, goes on after a stop, and depends on its seed alone."""

import numpy as np
import pytest

pytest.importorskip("anny")
from vitruvian.cli import main
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.synth.look import Look
from vitruvian.synth.store import Store, make_shard, write_look


def test_command_makes_a_store_and_leaves_whole_shards_alone(tmp_path, wardrobe, capsys):
    write_look(tmp_path, Look(), 5)
    make_shard(tmp_path, 0, 5, wardrobe)
    before = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    (tmp_path / "shard-00001.bin").write_bytes(b"a killed run's half shard")
    assert main(["synth", str(tmp_path), "-n", "400", "--seed", "5", "--processes", "1"]) == 0
    assert "500 people" in capsys.readouterr().out
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == before
    store = Store.open(tmp_path)
    assert len(store) == 500 and (store.image(300)[0] > 0).any()

    again = tmp_path / "again"
    again.mkdir()
    make_shard(again, 1, 5, wardrobe)
    np.testing.assert_array_equal(Store.open(again).keypoints, store.keypoints[250:])


def test_no_people_is_a_wrong_number(tmp_path, capsys):
    assert main(["synth", str(tmp_path), "-n", "0"]) == 2
    assert "at least one" in capsys.readouterr().err


def test_a_store_keeps_to_its_seed_and_look(tmp_path):
    write_look(tmp_path, Look().without(["hair"]), 5)
    write_look(tmp_path, Look().without(["hair"]), 5)
    with pytest.raises(FormatError, match="another folder"):
        write_look(tmp_path, Look(), 5)


def test_an_unknown_ingredient_is_named(tmp_path):
    with pytest.raises(VitruvianError, match="'wings'"):
        Look().without(["wings"])


def test_a_store_keeps_to_its_motions(tmp_path):
    write_look(tmp_path, Look(), 5, {"sha256": ["ab"], "share": 0.5})
    write_look(tmp_path, Look(), 5, {"sha256": ["ab"], "share": 0.5})
    with pytest.raises(FormatError, match="motion"):
        write_look(tmp_path, Look(), 5)


def test_a_motion_that_cannot_be_followed_is_refused_before_anything_is_drawn(tmp_path, capsys):
    (tmp_path / "no.bvh").write_text("no motion")
    assert main(["synth", str(tmp_path / "store"), "--motion", str(tmp_path / "no.bvh")]) == 2
    assert "no.bvh" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
