"""Outfits: garments of all cuts, hair, hats, glasses, bags, as classes of the body's and helper surfaces' triangles and their stand-off.

MakeHuman's helper surfaces are cut to a random outfit and pushed outwards by a smooth random amount. Body triangles below a garment
take its class, so nothing pokes through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.synth.classes import (
    BAG,
    BEARD,
    BROW,
    CLASS_NAMES,
    EYE,
    GLASSES,
    GLOVE,
    HAIR,
    HAT,
    INNER,
    IRIS,
    LOWER,
    NOTHING,
    SCARF,
    SHOE,
    SKIN,
    SOCK,
    UPPER,
)  # fmt: skip
from vitruvian.synth.look import Look
from vitruvian.synth.wardrobe import Wardrobe


@dataclass(frozen=True)
class Outfit:
    """What one person wears: a class per face, metres of stand-off per vertex, and what `props.worn` adds.

    Triangles of skin and tights with corners of different matter (`mixed`, a flag per face) are divided within: where `edges`, a smoothed
    membership of every vertex in EDGED classes, changes sides. So hems are smooth curves and not the zigzag of the triangles.
    `vertex_class`: index into EDGED, 255 for other matter.
    """

    face_class: UInt8[np.ndarray, " f"]
    offset: Float[np.ndarray, " v"]
    vertex_class: UInt8[np.ndarray, " v"]
    edges: Float[np.ndarray, "v k"]
    mixed: np.ndarray
    headgear: str = ""
    hair: str = ""
    glasses: bool = False
    backpack: bool = False


def _field(rng: np.random.Generator, points: np.ndarray, frequency: float) -> np.ndarray:
    """A smooth random field in [0, 1] over reference positions: a few random waves."""
    waves = rng.normal(0, frequency, (3, 4)).astype(np.float32)
    return 0.5 + 0.125 * np.sin(points @ waves + rng.uniform(0, 2 * np.pi, 4).astype(np.float32)).sum(1)


def _among(classes: np.ndarray, names: tuple[int, ...]) -> np.ndarray:
    table = np.zeros(len(CLASS_NAMES), bool)
    table[list(names)] = True
    return table[classes]


EDGED = np.array([SKIN, UPPER, LOWER, INNER, SOCK, SHOE, HAIR, HAT, GLOVE, BEARD, SCARF, BAG], np.uint8)


def _edges(w: Wardrobe, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.full(len(CLASS_NAMES), 255, np.uint8)
    table[EDGED] = np.arange(len(EDGED))
    kind = table[classes]
    member = np.zeros((len(classes), len(EDGED)), np.float32)
    known = kind < 255
    member[known, kind[known]] = 1
    corner = kind[w.faces]
    mixed = (w.layer <= 1) & (corner.min(1) != corner.max(1)) & (corner.max(1) < 255)
    return kind, w.neighbours @ (w.neighbours @ member), mixed


@dataclass(frozen=True)
class _Style:
    """The choices behind an outfit that several steps need."""

    man: bool
    adult: bool
    act: str
    look: Look

    @property
    def sporty(self) -> bool:
        return self.act in ("ski", "swing", "racket", "catch", "board")


def dress(
    rng: np.random.Generator, w: Wardrobe, phenotype: np.ndarray | None = None, act: str = "plain", look: Look | None = None
) -> Outfit:
    """Draw an outfit for somebody with these phenotypes (gender, age, ...) who does `act` (see `activities`)."""
    gender, age = (rng.random(), 0.7) if phenotype is None else phenotype[:2]
    style = _Style(bool(rng.random() > gender), bool(age > 0.5), act, look or Look())
    classes = np.full(len(w.rest), SKIN, np.uint8)
    _garments(rng, w, classes, style)
    for name, where in w.face_details.items():
        classes[where] = name
    headgear, hair = _hair_and_hat(rng, w, classes, style)
    classes[w.eyes] = EYE
    classes[w.irises] = IRIS
    skirt = style.look.clothes and not style.sporty and rng.random() < (0.02 if style.man else 0.26)
    gown = skirt and rng.random() < 0.5  # one garment from the shoulders to the hem
    long_hair = style.look.hair and hair != "afro" and rng.random() < (0.1 if style.man else 0.5)
    if gown:
        classes[classes == LOWER] = UPPER
    faces = _face_classes(rng, w, classes, skirt, gown, long_hair)
    objects = style.look.objects
    return Outfit(
        faces, _offsets(rng, w, classes, style, hair), *_edges(w, classes), headgear, hair,
        objects and rng.random() < (0.2 if style.adult else 0.06), objects and rng.random() < (0.25 if act == "ride" else 0.07),
    )  # fmt: skip


def _garments(rng, w: Wardrobe, classes: np.ndarray, style: _Style) -> None:
    """Upper and lower garment, shoes, socks, gloves, jackets, ties, straps; in place."""
    z, y, x = w.rest[:, 2], w.rest[:, 1], w.rest[:, 0]
    trunk = ~(w.arm | w.leg | w.head)
    sleeve = rng.choice([-0.6, rng.uniform(0.2, 0.9), rng.uniform(1.2, 1.8), rng.uniform(1.85, 2.05)], p=[0.12, 0.38, 0.08, 0.42])
    trouser = rng.choice([rng.uniform(0.05, 0.9), rng.uniform(0.9, 1.6), rng.uniform(1.75, 2.0)], p=[0.25, 0.1, 0.65])
    if style.act == "ski":
        sleeve, trouser = 2.0, 2.0
    waist, collar = rng.uniform(-0.08, 0.10), rng.uniform(0.44, 0.54)
    bare_chest = rng.random() < (0.3 if style.act == "board" else 0.05) * style.man
    neckline = collar - np.clip(0.35 * (-y), -0.02, 0.05) + rng.uniform(0.0, 0.5) * np.abs(x)
    if not style.look.clothes:
        sleeve, trouser, waist, bare_chest = 2.0, 2.0, 0.0, False
    upper = ((trunk & (z > waist) & (z < neckline)) | (w.arm & (w.along < sleeve))) & (not bare_chest)
    upper |= (w.leg & (z > waist)) & (not bare_chest)
    lower = (trunk & (z <= waist + (0.12 if bare_chest else 0.01))) | (w.leg & (w.along < trouser) & ~upper)
    classes[w.foot & (w.along > 1.93)] = SHOE if rng.random() < 0.93 else SKIN
    if rng.random() < (0.6 if style.sporty else 0.4):
        classes[w.leg & ~w.foot & (w.along > rng.uniform(1.3 if style.sporty else 1.5, 1.95))] = SOCK
    if rng.random() < 0.08:  # boots
        classes[w.leg & (w.along > rng.uniform(1.3, 1.85))] = SHOE
    classes[lower], classes[upper] = LOWER, UPPER
    if not style.look.clothes:
        return
    front = upper & trunk & (y < 0)
    opening = rng.random()
    if opening < 0.18:  # an open jacket over something else, wider at the top or the bottom
        classes[front & (np.abs(x) < np.maximum(rng.uniform(0.01, 0.07) + rng.normal(0, 0.2) * (z - 0.25), 0.004))] = INNER
    elif opening < 0.25 and style.man:  # a tie
        classes[front & (np.abs(x) < 0.012 + 0.02 * (0.4 - z).clip(0, 1)) & (z > waist + 0.05)] = INNER
    elif opening < 0.35:  # bands across the chest, yokes, bibs
        low = rng.uniform(0.1, 0.35)
        classes[upper & trunk & (z > low) & (z < low + rng.choice([rng.uniform(0.03, 0.1), 1.0]))] = INNER
    elif opening < 0.45:  # sleeves of another cloth
        classes[upper & w.arm & (w.along > rng.uniform(-0.1, 0.9))] = INNER
    if rng.random() < 0.12:  # a belt, or an apron
        classes[(np.abs(z - waist) < 0.018) & ~w.arm & (lower | upper)] = BAG if rng.random() < 0.5 else INNER
    if style.look.objects and rng.random() < 0.08:  # straps
        classes[upper & trunk & (np.abs(np.abs(x) - 0.105) < 0.02) & (z > 0.2)] = BAG
    if rng.random() < {"ski": 0.85, "swing": 0.5, "ride": 0.4}.get(style.act, 0.04):
        classes[w.hand] = GLOVE
    if rng.random() < (0.25 if style.act == "ski" else 0.05):
        classes[~w.arm & (z > 0.47) & (z < 0.535) & (y > -0.12)] = SCARF


def _hair_and_hat(rng, w: Wardrobe, classes: np.ndarray, style: _Style) -> tuple[str, str]:
    """Hair, beard and hat on the head, in place; returns the headgear and the hair style that `props` adds pieces for."""
    z, y = w.rest[:, 2], w.rest[:, 1]
    if not style.look.hair:
        return "", ""
    wave = _field(rng, w.rest, rng.uniform(40, 110)) - 0.5
    scalp = w.scalp(rng.normal(0.0, 0.009) + rng.uniform(0, 0.03) * wave)
    if rng.random() > (0.1 if style.man else 0.01):
        classes[scalp] = HAIR
        if rng.random() < 0.3:  # a fringe
            classes[w.head & w.body & (y < -0.05) & (z > rng.uniform(0.668, 0.71) + 0.02 * wave)] = HAIR
    elif rng.random() < 0.5:  # only a wreath
        classes[scalp & (z < 0.71) & (y > -0.06)] = HAIR
    lower_face = w.head & w.body & (classes == SKIN) & (y < -0.03)
    if style.man and style.adult and rng.random() < 0.35:
        full = rng.random() < 0.6
        line = np.interp(y, [-0.15, -0.11, -0.06, -0.03], [0.603, 0.598, 0.60, 0.64]) if full else np.full(len(y), 0.605)
        beard = lower_face & (z < line + 0.008 * wave) & (z > 0.51)
        classes[beard & (full | (y < -0.115))] = BEARD
    helmet = {"ski": 0.35, "swing": 0.45, "catch": 0.5, "ride": 0.5, "board": 0.2}.get(style.act, 0.03)
    headgear = ""
    if style.look.objects and rng.random() < helmet:
        headgear = "helmet"
    elif rng.random() < (0.5 if style.sporty or style.act == "ride" else 0.2):
        headgear = str(rng.choice(["beanie", "cap", "brim"], p=[0.7, 0.3, 0] if style.act == "ski" else [0.2, 0.6, 0.2]))
    if headgear:
        low = {"beanie": rng.uniform(0.675, 0.715), "helmet": 0.70}.get(headgear, rng.uniform(0.695, 0.72))
        classes[w.scalp(-0.02) & (z > low)] = HAT
        if headgear == "beanie" and rng.random() < 0.15:  # a hood or a headscarf: all but the face
            classes[w.head & ~w.eyes & ((y > -0.085) | (z > 0.7))] = HAT
    if style.act == "ski" and rng.random() < 0.4:
        classes[w.body & w.head & (np.abs(z - w.eye_height) < 0.026) & (y < -0.03)] = GLASSES
    hair = ""
    if headgear in ("", "cap") and (classes == HAIR).any():
        hair = str(rng.choice(["", "bun", "tail", "afro"], p=[0.94, 0.01, 0.01, 0.04] if style.man else [0.58, 0.12, 0.22, 0.08]))
        hair = "" if hair == "afro" and headgear else hair
    return headgear, hair


def _face_classes(rng, w: Wardrobe, classes: np.ndarray, skirt: bool, gown: bool, long_hair: bool) -> np.ndarray:
    """A triangle takes its first corner's class; helper surfaces only where the outfit has something there."""
    corner = classes[w.faces]
    face = corner[:, 0].copy()
    face[(w.layer == 0) & (face == SKIN) & (corner == BROW).any(1)] = BROW
    cloth = _among(corner, (UPPER, LOWER, INNER, SHOE, BAG)).all(1)
    face[(w.layer == 1) & ~cloth] = NOTHING
    longest = rng.choice([rng.uniform(0.25, 1.0), rng.uniform(1.0, 2.0)])
    hem = np.interp(longest, [0, 1, 2], [-0.01, -0.40, -0.80])
    face[w.layer == 2] = np.where(skirt & (w.face_heights[w.layer == 2] > hem), UPPER if gown else LOWER, NOTHING)
    tip = rng.uniform(0.25, 0.62)
    face[w.layer == 3] = np.where(long_hair & ~w.before_face & (w.face_heights[w.layer == 3] > tip), HAIR, NOTHING)
    return face


def _offsets(rng, w: Wardrobe, classes: np.ndarray, style: _Style, hair_style: str) -> np.ndarray:
    """How far each vertex is pushed out along its normal, metres."""
    offset = np.zeros(len(classes))
    if not style.look.clothes:
        offset[_among(classes, (UPPER, LOWER)) & ~w.body] = 0.003
        return offset.astype(np.float32)
    loose = {
        UPPER: rng.choice([0.004, rng.uniform(0.008, 0.05)], p=[0.3, 0.7]),
        LOWER: rng.choice([0.003, rng.uniform(0.006, 0.045)], p=[0.35, 0.65]),
    }
    wave = 0.75 * _field(rng, w.rest, rng.uniform(4, 14)) + 0.25 * _field(rng, w.rest, rng.uniform(30, 70))
    flare = 1 + rng.choice([0, rng.uniform(0, 1.2)]) * np.clip(w.along - 1, 0, 1)  # wide at wrist and ankle
    for name, amount in loose.items():
        garment = (classes == name) | (_among(classes, (INNER, BAG)) & (name == UPPER))
        offset[garment] = 0.003 + amount * (0.35 + 0.65 * wave[garment]) * flare[garment]
    offset[w.body & _among(classes, (UPPER, LOWER, INNER, BAG))] *= 0.6  # the skin mesh stays inside the garment
    offset[(classes == SHOE) & ~w.body] = rng.uniform(0.004, 0.016)
    offset[classes == SCARF] = rng.uniform(0.01, 0.03)
    offset[classes == GLOVE] = rng.uniform(0.001, 0.008)
    offset[(classes == BEARD)] = rng.choice([0.0005, rng.uniform(0.002, 0.02)])
    thickness = rng.choice([rng.uniform(0.003, 0.012), rng.uniform(0.012, 0.05)], p=[0.5, 0.5])
    hair = (classes == HAIR) & w.body
    offset[hair] = thickness * (0.4 + 0.6 * _field(rng, w.rest[hair], rng.uniform(25, 120)))
    offset[classes == HAT] = rng.uniform(0.008, 0.03)
    skirt, long_hair = w.layer_vertices[2], w.layer_vertices[3]
    down = np.clip(-w.rest[skirt, 2] / 0.7, 0, 1)
    offset[skirt] = 0.01 + rng.uniform(-0.01, 0.16) * down + 0.04 * down * _field(rng, w.rest[skirt], rng.uniform(15, 40))
    offset[long_hair] = rng.uniform(-0.004, 0.02) * (0.5 + _field(rng, w.rest[long_hair], 20))
    return offset.astype(np.float32)
