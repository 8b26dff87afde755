"""Synthetic surfaces as dense correspondence: which part, which side, places that tell one spot from another, what is hidden."""

import numpy as np
import pytest
import torch

from vitruvian.body.compact import load_compact
from vitruvian.errors import VitruvianError
from vitruvian.nn.iuv import IUV, PARTS, UNTOLD, IUVLabels, map_losses
from vitruvian.synth.classes import OTHER_SIDE, SEGMENTS
from vitruvian.synth.classes import UNTOLD as HIDDEN
from vitruvian.synth.person import PLACES
from vitruvian.systems.mesh.danet_loss import partial_labels
from vitruvian.systems.mesh.dense_labels import dense_labels

LIMBS = ("upper_arm", "forearm", "hand", "thigh", "shin", "foot")
NUMBERS = {  # published: right is the odd one of each pair from 7 to 14, left from 15 to 22
    "left_upper_arm": {15, 17}, "right_upper_arm": {16, 18}, "left_forearm": {19, 21}, "right_forearm": {20, 22}, "left_hand": {4},
    "right_hand": {3}, "left_thigh": {8, 10}, "right_thigh": {7, 9}, "left_shin": {12, 14}, "right_shin": {11, 13}, "left_foot": {5},
    "right_foot": {6}, "hips": {1, 2}, "chest": {1, 2}, "neck": {23, 24}, "head": {23, 24},
}  # fmt: skip


def surface_of(points, segment):
    """Places on the compact body at rest, all of one segment, as a row of pixels."""
    anny = np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1)
    places = np.rint((anny - PLACES[:, 0]) / np.ptp(PLACES, axis=1) * 255)
    planes = np.concatenate([np.full((1, len(points)), SEGMENTS.index(segment)), places.T]).astype(np.uint8)
    return torch.from_numpy(planes)[None, :, None]


def labels_of(points, segment):
    points = np.asarray(points, np.float64)
    return IUVLabels(*(x[0, 0] for x in dense_labels(surface_of(points, segment), (1, len(points)))))


def skin(joint):
    """The vertices that a joint of the compact body moves most."""
    body = load_compact()
    return body.template[body.weights.argmax(1) == body.joint_names.index(joint)]


@pytest.mark.parametrize("segment", NUMBERS)
def test_segments_have_the_published_numbers(segment):
    side = segment.partition("_")[0]
    joints = {"hips": "pelvis", "chest": "spine4", "neck": "neck2", "head": "head"}
    joints |= {
        f"{side}_{limb}": f"{side}_{own}"
        for limb, own in zip(LIMBS, ("upper_arm", "forearm", "wrist", "thigh", "shin", "ankle"), strict=True)
    }
    assert set(labels_of(skin(joints[segment]), segment).index.tolist()) == NUMBERS[segment]


def test_front_and_back_left_and_right():
    chest, head = skin("spine4"), skin("head")
    assert labels_of([chest[chest[:, 2].argmax()], chest[chest[:, 2].argmin()]], "chest").index.tolist() == [2, 1]
    assert labels_of([head[head[:, 0].argmax()], head[head[:, 0].argmin()]], "head").index.tolist() == [24, 23]


@pytest.mark.parametrize(
    ("joint", "segment"), [("left_thigh", "left_thigh"), ("right_wrist", "right_hand"), ("left_ankle", "left_foot"), ("spine4", "chest")]
)
def test_spots_that_are_apart_have_places_that_are_apart(joint, segment):
    points = skin(joint)
    found = labels_of(points, segment)
    code = np.stack([found.index.numpy() * 10.0, found.u.numpy(), found.v.numpy()], 1)
    assert (code[:, 1:] >= 0).all() and (code[:, 1:] <= 1).all()
    rows = np.random.default_rng(0).choice(len(points), 60)
    apart = np.linalg.norm(points[rows, None] - points[None], axis=-1) > 0.04
    assert (np.abs(code[rows, None] - code[None]).max(-1)[apart] > 0.01).mean() > 0.98


def test_the_mirror_exchanges_sides_and_keeps_heights():
    surface = surface_of(skin("left_forearm"), "left_forearm")
    mirrored = surface.clone()
    mirrored[:, 0], mirrored[:, 1] = OTHER_SIDE[SEGMENTS.index("left_forearm")], 255 - surface[:, 1]
    here, there = (dense_labels(x, x.shape[2:]) for x in (surface, mirrored))
    same = there.index == here.index + 1  # but for spots on the cut
    assert same.float().mean() > 0.9
    assert torch.allclose(there.v[same], here.v[same], atol=0.03) and torch.allclose(there.u[same], 1 - here.u[same], atol=0.03)


def test_what_is_hidden_counts_for_nothing_and_nobody_is_background():
    surface = surface_of(skin("head")[:4], "head")
    surface[0, 0, 0, 1], surface[0, 0, 0, 2] = HIDDEN, 0
    labels = dense_labels(surface, (1, 4))
    assert labels.index[0, 0, 1:3].tolist() == [UNTOLD, 0] and not labels.u[0, 0, 1:3].any() and not labels.v[0, 0, 1:3].any()
    maps = IUV(*torch.randn(3, 1, PARTS + 1, 1, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 15, 1, 4))
    other = IUV(*(x.clone() for x in maps))
    for x in other:
        x[..., 1] = 9.0 * torch.arange(x.shape[1])[:, None]
    here, there = (map_losses(x, labels) for x in (maps, other))
    assert all(torch.equal(here[name], there[name]) for name in here) and here["index"] > 0
    partial = partial_labels(labels, torch.zeros(1, 24, 2), torch.ones(1, 24))
    assert (partial.index[..., 1] == UNTOLD).all() and (partial.index[..., 2] == 0).all()


def test_maps_of_another_size_take_the_nearest_pixel_and_no_surface_is_fine():
    surface = surface_of(skin("head")[:2], "head")
    surface[0, 0, 0, 1] = 0
    assert (dense_labels(surface, (2, 4)).index > 0).tolist() == [[[True, True, False, False]] * 2]
    assert dense_labels(torch.zeros(0, 4, 8, 6, dtype=torch.uint8), (16, 12)).index.shape == (0, 16, 12)
    with pytest.raises(VitruvianError, match="bytes"):
        dense_labels(torch.zeros(1, 3, 8, 6), (8, 6))
