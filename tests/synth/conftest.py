"""One Anny with wardrobe for all tests of synthetic people; its first build on a machine takes about a minute."""

import pytest


@pytest.fixture(scope="session")
def wardrobe():
    pytest.importorskip("anny")
    from vitruvian.synth.wardrobe import Wardrobe

    return Wardrobe()
