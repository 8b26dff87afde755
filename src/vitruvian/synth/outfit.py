"""Outfits: garments of all cuts, hair, hats, glasses, bags, as classes of the body's and helper surfaces' triangles and their stand-off.

MakeHuman's helper surfaces are cut to a random outfit and pushed outwards by a smooth random amount. Body triangles below a garment
take its class, so nothing pokes through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from .classes import (
    BAG, BEARD, BROW, EYE, GLASSES, GLOVE, HAIR, HAT, INNER, IRIS, LOWER, NOTHING, SCARF, SHOE, SKIN, SOCK, UPPER,
)  # fmt: skip
from .look import Look
from .wardrobe import Wardrobe


@dataclass(frozen=True)
class Outfit:
    """What one person wears: a class per face, metres of stand-off per vertex, and what `props.worn` adds."""

    face_class: UInt8[np.ndarray, " f"]
    offset: Float[np.ndarray, " v"]
    headgear: str = ""
    hair: str = ""
    glasses: bool = False
    backpack: bool = False


def _field(rng: np.random.Generator, points: np.ndarray, frequency: float) -> np.ndarray:
    """A smooth random field in [0, 1] over reference positions: a few random waves."""
    waves = rng.normal(0, frequency, (4, 3))
    return 0.5 + 0.5 * np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 4)).mean(1)


def dress(rng: np.random.Generator, w: Wardrobe) -> Outfit:
    """Draw an outfit: garments, their lengths and looseness, hair or hat, shoes, gloves."""
    z, y, x = w.rest[:, 2], w.rest[:, 1], w.rest[:, 0]
    trunk = ~(w.arm | w.leg | w.head)
    sleeve = rng.choice([-0.6, rng.uniform(0.2, 0.9), rng.uniform(1.2, 1.8), rng.uniform(1.85, 2.05)], p=[0.12, 0.38, 0.08, 0.42])
    trouser = rng.choice([rng.uniform(0.05, 0.9), rng.uniform(0.9, 1.6), rng.uniform(1.75, 2.0)], p=[0.25, 0.1, 0.65])
    waist = rng.uniform(-0.08, 0.10)
    collar = rng.uniform(0.44, 0.54)
    bare_chest, skirt = rng.random() < 0.04, rng.random() < 0.14
    neckline = collar - np.clip(0.35 * (-y), -0.02, 0.05) + 0.25 * np.abs(x)
    upper = ((trunk & (z > waist) & (z < neckline)) | (w.arm & (w.along < sleeve))) & (not bare_chest)
    upper |= (w.leg & (z > waist)) & (not bare_chest)
    lower = (trunk & (z <= waist + (0.12 if bare_chest else 0.01))) | (w.leg & (w.along < trouser) & ~upper)
    classes = np.full(len(z), SKIN, np.uint8)
    classes[w.foot & (w.along > 1.93)] = SHOE if rng.random() < 0.93 else SKIN
    socks = w.leg & ~w.foot & (w.along > rng.uniform(1.5, 1.95)) if rng.random() < 0.4 else np.zeros(len(z), bool)
    classes[socks] = SOCK
    classes[lower], classes[upper] = LOWER, UPPER
    if rng.random() < 0.25:  # an open jacket over something else
        classes[upper & trunk & (y < 0) & (np.abs(x) < rng.uniform(0.02, 0.07))] = INNER
    if rng.random() < 0.05:
        classes[w.hand] = GLOVE
    for name, where in w.face_details.items():
        classes[where] = name
    if rng.random() < 0.06:
        eyes = w.rest[w.base_index[w.landmarks.face_vertices[36:48]]].mean(0)
        classes[w.body & w.head & (np.abs(z - eyes[2]) < 0.016) & (y < -0.07)] = GLASSES
    bald = rng.random() < 0.06
    scalp = w.scalp(rng.normal(0.0, 0.008))
    hat = rng.random() < 0.16
    if not bald:
        classes[scalp] = HAIR
    if hat:
        classes[w.scalp(0.0) & (z > rng.uniform(0.69, 0.72))] = HAT
    classes[w.eyes] = EYE
    front = w.eyes & (y < np.percentile(y[w.eyes], 12))
    classes[front] = IRIS
    return Outfit(_face_classes(rng, w, classes, skirt, hat or bald), _offsets(rng, w, classes))


def _face_classes(rng, w: Wardrobe, classes: np.ndarray, skirt: bool, bare_head: bool) -> np.ndarray:
    """A triangle takes its first corner's class; helper surfaces only where the outfit has something there."""
    corner = classes[w.faces]
    face = corner[:, 0].copy()
    face[(w.layer == 0) & (face == SKIN) & (corner == BROW).any(1)] = BROW
    cloth = np.isin(corner, (UPPER, LOWER, INNER, SHOE)).all(1)
    face[(w.layer == 1) & ~cloth] = NOTHING
    z = w.rest[:, 2][w.faces]
    longest = rng.choice([rng.uniform(0.25, 1.0), rng.uniform(1.0, 2.0)])
    hem = np.interp(longest, [0, 1, 2], [-0.01, -0.40, -0.80])
    face[w.layer == 2] = np.where(skirt & (z[w.layer == 2].min(1) > hem), LOWER, NOTHING)
    long_hair = (not bare_head or rng.random() < 0.3) and rng.random() < 0.42
    tip = rng.uniform(0.25, 0.62)
    strands = w.rest[w.faces[w.layer == 3]]
    before_face = (strands[..., 1].min(1) < -0.075) & (strands[..., 2].min(1) < 0.72)
    face[w.layer == 3] = np.where(long_hair & ~before_face & (strands[..., 2].min(1) > tip), HAIR, NOTHING)
    return face


def _offsets(rng, w: Wardrobe, classes: np.ndarray) -> np.ndarray:
    """How far each vertex is pushed out along its normal, metres."""
    offset = np.zeros(len(classes))
    loose = {
        UPPER: rng.choice([0.004, rng.uniform(0.008, 0.05)], p=[0.3, 0.7]),
        LOWER: rng.choice([0.003, rng.uniform(0.006, 0.045)], p=[0.35, 0.65]),
    }
    wave = _field(rng, w.rest, rng.uniform(4, 14))
    for name, amount in loose.items():
        garment = (classes == name) | ((classes == INNER) & (name == UPPER))
        offset[garment] = 0.003 + amount * (0.35 + 0.65 * wave[garment])
    covered = np.isin(classes[w.body.nonzero()[0]], (UPPER, LOWER, INNER))
    offset[w.body.nonzero()[0][covered]] *= 0.6  # the skin mesh stays inside the garment
    offset[(classes == SHOE) & ~w.body] = rng.uniform(0.004, 0.016)
    thickness = rng.choice([rng.uniform(0.003, 0.012), rng.uniform(0.012, 0.05)], p=[0.5, 0.5])
    hair = classes == HAIR
    offset[hair & w.body] = thickness * (0.4 + 0.6 * _field(rng, w.rest[hair & w.body], 40))
    offset[classes == HAT] = rng.uniform(0.012, 0.04)
    skirt, long_hair = w.layer_vertices[2], w.layer_vertices[3]
    down = np.clip(-w.rest[skirt, 2] / 0.7, 0, 1)
    offset[skirt] = 0.01 + rng.uniform(-0.01, 0.12) * down + 0.03 * down * _field(rng, w.rest[skirt], 25)
    offset[long_hair] = rng.uniform(-0.004, 0.02) * (0.5 + _field(rng, w.rest[long_hair], 20))
    return offset.astype(np.float32)


