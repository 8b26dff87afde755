"""One Anny with wardrobe for all tests of synthetic people; its first build on a machine takes about a minute."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def wardrobe():
    pytest.importorskip("anny")
    from vitruvian.synth.wardrobe import Wardrobe

    return Wardrobe()


@pytest.fixture(scope="session")
def people_folder(wardrobe, tmp_path_factory):
    """A store of 10 people, each 25 times; tests that write into it take a copy."""
    from vitruvian.synth.look import Look
    from vitruvian.synth.person import render_person, sample_bodies
    from vitruvian.synth.store import write_look, write_shard

    rng = np.random.default_rng(0)
    bodies = sample_bodies(rng, wardrobe, 10)
    people = [render_person(rng, wardrobe, bodies, i) for i in range(10)]
    folder = tmp_path_factory.mktemp("store")
    write_look(folder, Look(), 0)
    write_shard(folder, 0, [people[i % 10] for i in range(250)])
    return folder
