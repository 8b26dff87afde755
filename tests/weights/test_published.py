import re

import pytest

from vitruvian.skeletons import SKELETONS, by_name
from vitruvian.weights import store
from vitruvian.weights.licences import allows, is_permissive
from vitruvian.weights.published import PUBLISHED

CARDS = pytest.mark.parametrize("card", PUBLISHED.values(), ids=PUBLISHED)


@CARDS
def test_a_card_can_be_stored_and_says_what_it_is(card):
    assert store.ID.fullmatch(card.id) and card.file == f"{card.id}.onnx" and card.family and card.source
    assert card.licence_code and card.licence_weights and card.licence_data


@CARDS
def test_a_network_has_an_address_or_a_sum(card):
    assert card.urls or card.sha256
    assert all(re.fullmatch(r"https://[\w./-]+\.(zip|onnx)", url) for url in card.urls)
    assert len(store.download_names(card)) == min(len(card.urls), 1)  # mirrors of one file bear one name


@CARDS
def test_what_its_name_says_is_on_the_card(card):
    size = re.search(r"-(\d+)x(\d+)", card.urls[0]) if card.urls else None
    if size:
        assert card.input_size == (int(size[2]), int(size[1]))
    assert card.id.endswith("-384") == (card.input_size == (288, 384)) or card.task == "pose3d"
    assert ("wholebody" in card.id or card.family in ("DWPose", "RTMW", "RTMW3D")) == (card.skeleton == "coco-wholebody-133")


@CARDS
def test_every_network_can_be_decoded_into_a_known_skeleton(card):
    if card.task == "augmenter":
        return
    assert card.codec
    if card.subject == "animal" and card.skeleton not in SKELETONS:
        pytest.skip("no keypoint set for animals yet")
    if card.skeleton:
        assert len(by_name(card.skeleton)) == int(re.search(r"\d+$", card.skeleton)[0])


def test_every_file_has_a_name_of_its_own():
    names = [name for card in PUBLISHED.values() for name in store.download_names(card)]
    assert len(names) == len(set(names))


def test_every_kind_that_such_tools_use_is_there():
    found = {(card.task, card.subject) for card in PUBLISHED.values()}
    assert found >= {("pose2d", part) for part in ("whole-body", "body", "hand", "face", "animal")}
    assert found >= {("detection", "body"), ("detection", "hand"), ("one-stage", "body"), ("pose3d", "whole-body"), ("augmenter", "body")}


def test_no_published_network_is_free_of_restricted_data():
    assert [card.id for card in PUBLISHED.values() if allows(card, "permissive")] == []
    assert "rtmdet-m-person" in [card.id for card in PUBLISHED.values() if allows(card, "code-and-weights")]


@pytest.mark.parametrize(
    "text",
    [
        "Apache-2.0",
        "mit",
        "BSD-3-Clause and CC-BY-4.0",
        "Apache-2.0 (the repository's)",
        "synthetic: Anny bodies (CC0 assets)",
        "CC0-1.0, MIT; ours",
    ],
)
def test_permissive_licences_are_known(text):
    assert is_permissive(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "AGPL-3.0",
        "GPL-2.0 and MIT",
        "CC-BY-NC-4.0",
        "CC-BY-SA-4.0",
        "unknown",
        "COCO: annotations CC-BY-4.0, pictures under their Flickr terms",
        "CC-BY-4.0: for research only",
        "Apache-2.0 [mem]",
        "MIT, and something",
        "Apache-2.0 (copy not checked)",
        "synthetic: SMPL bodies, non-commercial",
    ],
)
def test_other_licences_are_not_called_permissive(text):
    assert not is_permissive(text)
