"""Things that are held, worn, ridden and sat on, as simple solids placed by the posed skeleton: what hides people in photographs.

A thing is a list of pieces; a piece is a mesh in the world with one class. Sizes are in metres, everyday measures guessed by us.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vitruvian.synth.classes import BAG, GLASSES, HAIR, HAT, SEAT, TOOL, TRIM

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Piece:
    """A mesh of one class: vertices in the world (v, 3), triangles (f, 3), places on a reference (v, 3) for patterns to stick to."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    name: int
    places: Float[np.ndarray, "v 3"]


@dataclass(frozen=True)
class Posed:
    """Where a posed body's bones are: heads (k, 3), turns (k, 3, 3) from the reference pose, and the lowest point of the body."""

    names: tuple[str, ...]
    heads: Float[np.ndarray, "k 3"]
    turns: Float[np.ndarray, "k 3 3"]
    floor: float
    scale: float  # of the body against the reference of 1.7 m

    def at(self, bone: str) -> np.ndarray:
        return self.heads[self.names.index(bone)]

    def turn(self, bone: str) -> np.ndarray:
        return self.turns[self.names.index(bone)]

    def grip(self, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where a hand holds: the middle of the fist, the direction of a stick in it (out at the thumb), and the way the knuckles look."""
        wrist, index, middle, little = (self.at(f"{b}.{side}") for b in ("wrist", "finger2-1", "finger3-1", "finger5-1"))
        forward = unit(middle - wrist)
        across = unit(index - little)
        palm = np.cross(forward, across) * (1 if side == "L" else -1)
        return middle - 0.02 * forward + 0.035 * palm * self.scale, across, forward


def unit(v: np.ndarray) -> np.ndarray:
    """A vector of length 1 in the same direction."""
    return v / (np.linalg.norm(v) + 1e-9)


def axes(along: np.ndarray, towards: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Columns: a right-handed frame whose z is `along` and whose x is as near to `towards` as can be."""
    z = unit(along)
    x = towards - (towards @ z) * z
    if np.linalg.norm(x) < 1e-6:
        x = np.cross(z, [0.3, 0.8, 0.5])
    x = unit(x)
    return np.stack([x, np.cross(z, x), z], 1)


def _grid_faces(rows: int, columns: int) -> Int[np.ndarray, "f 3"]:
    """Triangles of a grid of (rows + 1) x columns vertices, closed across."""
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    return np.concatenate(
        [np.stack([a, b, b + columns], -1).reshape(-1, 3), np.stack([a, b + columns, a + columns], -1).reshape(-1, 3)]
    ).astype(np.int32)


def tube(name: int, start: np.ndarray, end: np.ndarray, radii: list[float], sides: int = 8, squash: float = 1.0) -> Piece:
    """A turned solid from `start` to `end` with radii at even steps; `squash` flattens it across."""
    frame = axes(end - start, UP + 0.01)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), squash * np.sin(angle), np.zeros(sides)], 1)
    steps = np.linspace(0, 1, len(radii))
    vertices = np.concatenate([start + t * (end - start) + (r * ring) @ frame.T for t, r in zip(steps, radii, strict=True)])
    places = np.concatenate([np.stack([0.1 * np.cos(angle), 0.1 * np.sin(angle), np.full(sides, t * 0.6 - 0.3)], 1) for t in steps])
    return Piece(vertices, _grid_faces(len(radii) - 1, sides), name, places)


def ball(
    name: int, centre: np.ndarray, radii: np.ndarray, frame: np.ndarray | None = None, upper: float = 1.0, lower: float = -1.0
) -> Piece:
    """An ellipsoid, or the part of it between two heights in [-1, 1] along its z."""
    rows, columns = 8, 14
    height = np.sin(np.linspace(np.arcsin(lower), np.arcsin(upper), rows + 1))
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.sqrt(np.clip(1 - height**2, 0, 1))
    local = np.stack([ring[:, None] * np.cos(angle), ring[:, None] * np.sin(angle), np.repeat(height[:, None], columns, 1)], -1).reshape(
        -1, 3
    )
    return Piece(centre + (local * radii) @ (np.eye(3) if frame is None else frame).T, _grid_faces(rows, columns), name, local * 0.3)


_BOX_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_BOX_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def box(name: int, centre: np.ndarray, size: np.ndarray, frame: np.ndarray | None = None) -> Piece:
    """A box with sharp edges; `size` along the columns of `frame`."""
    local = np.concatenate([_BOX_CORNERS[list(side)] for side in _BOX_SIDES])
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(6)]).astype(np.int32)
    return Piece(centre + (local * np.asarray(size) / 2) @ (np.eye(3) if frame is None else frame).T, faces, name, local * 0.25)


def ring(name: int, centre: np.ndarray, frame: np.ndarray, radii: tuple[float, float], thickness: float, sides: int = 18) -> Piece:
    """A ring in the xy-plane of `frame`, its radii along x and y."""
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    b = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    circle = np.stack([radii[0] * np.cos(a), radii[1] * np.sin(a), np.zeros(sides)], 1)
    outward = np.stack([np.cos(a), np.sin(a), np.zeros(sides)], 1)
    local = (circle[None] + thickness * (np.cos(b)[:, None, None] * outward + np.sin(b)[:, None, None] * UP)).reshape(-1, 3)
    faces = _grid_faces(5, sides)
    last = _grid_faces(1, sides)
    seam = np.where(last < sides, last + 5 * sides, last - sides).astype(np.int32)
    return Piece(centre + local @ frame.T, np.concatenate([faces, seam]), name, local)


def held(rng: np.random.Generator, body: Posed, thing: str, side: str) -> list[Piece]:
    """What one hand holds."""
    place, across, forward = body.grip(side)
    frame = axes(across, forward)
    u = rng.uniform
    if thing in ("bat", "club"):
        length = u(0.65, 1.0)
        radii = (
            [0.014, 0.013, 0.016, u(0.02, 0.034), u(0.024, 0.036), 0.02] if thing == "bat" else [0.012, 0.007, 0.007, 0.007, 0.012, 0.05]
        )
        return [tube(TOOL, place - 0.12 * across, place + length * across, radii)]
    if thing == "racket":
        reach, width = u(0.3, 0.4), u(0.09, 0.13)
        head = place + (reach + width) * across
        return [
            tube(TRIM, place - 0.1 * across, place + reach * across, [0.016, 0.014, 0.01, 0.01]),
            ring(TOOL, head, axes(np.cross(across, frame[:, 1]), across), (1.3 * width, width), 0.009),
        ]
    if thing == "skis":  # the poles; skis are under the feet
        down = unit(-across + u(-0.1, 0.35) * -forward)
        end = place + u(0.8, 1.05) * down
        pieces = [tube(TOOL, place - 0.08 * down, end, [0.013, 0.008, 0.008, 0.006])]
        return [*pieces, ball(TRIM, end - 0.07 * down, np.array([0.04, 0.04, 0.01]), axes(down, forward))]
    if thing == "umbrella":
        top = place + 0.75 * UP + 0.1 * forward
        size = u(0.4, 0.65)
        return [tube(TRIM, place - 0.1 * UP, top, [0.01] * 4), ball(TOOL, top - 0.25 * UP, np.array([size, size, 0.28]), None, 1.0, 0.05)]
    if thing in ("bag", "suitcase"):
        size = np.array([u(0.1, 0.2), u(0.2, 0.4), u(0.2, 0.4)]) if thing == "bag" else np.array([u(0.18, 0.28), u(0.35, 0.5), u(0.5, 0.7)])
        centre = place - UP * (size[2] / 2 + u(0.1, 0.2))
        return [box(BAG, centre, size, axes(UP, np.array([u(-1, 1), u(-1, 1), 0]))), tube(TRIM, place, centre, [0.008] * 4)]
    if thing in ("ball", "frisbee"):
        radius = rng.choice([0.036, u(0.05, 0.08), u(0.1, 0.13)])
        centre = place + (0.4 * forward + 0.6 * np.cross(across, forward) * (-1 if side == "L" else 1)) * radius
        radii = np.array([0.13, 0.13, 0.012]) if thing == "frisbee" else np.full(3, radius)
        return [ball(TOOL, centre, radii, frame)]
    if thing in ("cup", "remote", "phone"):
        if thing == "cup":
            upwards = unit(across + 0.8 * UP)
            return [tube(TOOL, place - 0.06 * upwards, place + u(0.05, 0.18) * upwards, [u(0.026, 0.04)] * 2 + [u(0.02, 0.042)], 10)]
        size = [0.075, 0.009, 0.15] if thing == "phone" else [0.035, 0.03, u(0.12, 0.2)]
        return [box(TOOL if rng.random() < 0.5 else TRIM, place + 0.04 * across, np.array(size), frame)]
    if thing in ("book", "laptop"):
        return [box(TOOL, place + 0.08 * across, np.array([u(0.12, 0.3), u(0.005, 0.04), u(0.16, 0.34)]), frame)]
    if thing == "mitt":
        return [ball(TOOL, place + 0.03 * forward, np.array([0.15, 0.07, 0.15]) * u(0.8, 1.1), axes(forward, across))]
    return []


def underfoot(rng: np.random.Generator, body: Posed, thing: str) -> list[Piece]:
    """Skis and boards."""
    pieces = []
    soles, ways = [], []
    for side in "LR":
        heel, toe = body.at(f"foot.{side}"), body.at(f"toe3-1.{side}")
        turn = body.turn(f"foot.{side}")
        way, down = unit(turn @ np.array([0, -1.0, 0])), turn @ np.array([0, 0, -1.0])
        soles.append((0.6 * heel + 0.4 * toe) + 0.06 * body.scale * down)
        ways.append((way, down))
    if thing == "skis":
        length, width = rng.uniform(1.3, 1.9), rng.uniform(0.05, 0.11)
        for sole, (way, down) in zip(soles, ways, strict=True):
            frame = axes(-down, way)
            pieces.append(box(TOOL, sole + 0.05 * length * way + 0.02 * down, np.array([length, width, 0.02]), frame))
            pieces.append(
                box(TRIM, sole + (0.52 * length) * way + 0.0 * down, np.array([0.14, 0.8 * width, 0.02]), axes(-down - 0.5 * way, way))
            )
        return pieces
    middle, along = (soles[0] + soles[1]) / 2, unit(soles[0] - soles[1] + 1e-6)
    down = unit(ways[0][1] + ways[1][1])
    if thing == "surfboard":
        return [ball(TOOL, middle + 0.05 * down, np.array([rng.uniform(0.9, 1.3), 0.27, 0.04]), axes(-down, along))]
    size = [0.8, 0.2, 0.02] if thing == "skateboard" else [1.5, 0.28, 0.02]
    pieces = [box(TOOL, middle + 0.03 * down, np.array(size), axes(-down, along))]
    if thing == "skateboard":
        across = np.cross(along, down)
        for s in (-1, 1):
            axle = middle + s * 0.28 * along + 0.07 * down
            pieces.append(tube(TRIM, axle - 0.09 * across, axle + 0.09 * across, [0.028] * 2))
    return pieces


def mount(rng: np.random.Generator, body: Posed, thing: str) -> list[Piece]:
    """What is ridden, below and before the body."""
    pelvis = body.at("root")
    ahead = body.turn("root") @ np.array([0, -1.0, 0])
    ahead = unit(np.array([ahead[0], ahead[1], 0.0]))
    aside = np.cross(UP, ahead)
    u = rng.uniform
    if thing == "horse":
        middle = pelvis - 0.42 * UP + 0.1 * ahead
        neck = middle + 0.65 * ahead + 0.15 * UP
        hips = [middle + a * ahead + b * aside for a in (-0.5, 0.6) for b in (-0.15, 0.15)]
        legs = [tube(TOOL, hip, hip - 1.1 * UP, [0.12, 0.07, 0.05, 0.06]) for hip in hips]
        return [
            ball(TOOL, middle, np.array([0.85, 0.3, 0.36]), axes(UP, ahead)),
            tube(TOOL, neck - 0.1 * UP, neck + 0.4 * ahead + 0.55 * UP, [0.2, 0.15, 0.12, 0.1]),
            tube(TOOL, neck + 0.3 * ahead + 0.6 * UP, neck + 0.8 * ahead + 0.35 * UP, [0.1, 0.12, 0.09, 0.07]), *legs,
        ]  # fmt: skip
    radius = u(0.27, 0.36)
    ground = min(body.at("foot.L")[2], body.at("foot.R")[2]) - 0.25
    wheels = [np.array([*(pelvis + a * ahead)[:2], ground + radius]) for a in (-0.45, 0.75)]
    frame = axes(aside, ahead)
    heavy = thing == "motorbike"
    pieces = [ring(TRIM, w, frame, (radius, radius), 0.06 if heavy else 0.018) for w in wheels]
    bar = (body.grip("L")[0] + body.grip("R")[0]) / 2
    seat, crank = pelvis - 0.12 * UP, (wheels[0] + wheels[1]) / 2
    thickness = [0.09 if heavy else 0.017] * 2
    pieces += [tube(TOOL, a, b, thickness) for a, b in ((seat, crank), (seat, bar), (bar, crank), (bar, wheels[1]), (seat, wheels[0]))]
    pieces.append(tube(TRIM, body.grip("L")[0], body.grip("R")[0], [0.015] * 3))
    if heavy:
        pieces.append(ball(TOOL, seat + 0.35 * ahead, np.array([0.35, 0.16, 0.15]), axes(UP, ahead)))
        pieces.append(ball(TOOL, bar - 0.15 * UP + 0.2 * ahead, np.array([0.2, 0.2, 0.25])))
    return pieces


def _legs(top: np.ndarray, ahead: np.ndarray, aside: np.ndarray, length: float, radius: float) -> list[Piece]:
    feet = [top + a * ahead + b * aside for a in (-1, 1) for b in (-1, 1)]
    return [tube(TRIM, foot, foot - length * UP, [radius] * 2) for foot in feet]


def furniture(rng: np.random.Generator, body: Posed, with_table: bool) -> list[Piece]:
    """A seat under somebody who sits, and now and then a table before them."""
    pelvis = body.at("root")
    ahead = body.turn("root") @ np.array([0, -1.0, 0])
    ahead = unit(np.array([ahead[0], ahead[1], 0.0]) + 1e-6)
    u, pieces = rng.uniform, []
    frame = axes(UP, ahead)
    kind = rng.choice(["chair", "bench", "sofa", "stool", "none"], p=[0.4, 0.15, 0.2, 0.1, 0.15])
    top = pelvis - (0.12 * body.scale + 0.02) * UP
    width = {"chair": u(0.4, 0.5), "bench": u(1.2, 2.0), "sofa": u(1.2, 2.2), "stool": 0.33, "none": 0.0}[kind]
    if kind != "none":
        thick = u(0.2, 0.35) if kind == "sofa" else u(0.03, 0.08)
        pieces.append(box(SEAT, top - thick / 2 * UP + 0.12 * ahead, np.array([u(0.4, 0.5), width, thick]), frame))
        if kind in ("chair", "sofa"):
            back = np.array([0.18 if kind == "sofa" else 0.03, width, u(0.45, 0.6)])
            pieces.append(box(SEAT, top + u(0.2, 0.3) * UP - 0.17 * ahead, back, axes(UP - 0.15 * ahead, ahead)))
        if kind == "sofa":
            pieces += [
                box(SEAT, top + 0.12 * UP + s * width / 2 * frame[:, 1] + 0.1 * ahead, np.array([0.5, 0.15, 0.3]), frame) for s in (-1, 1)
            ]
        else:
            pieces += _legs(top + 0.12 * ahead, 0.18 * ahead, 0.45 * width * frame[:, 1], 0.45, 0.015)
    if with_table:
        height = u(0.18, 0.34) * body.scale
        centre = pelvis + height * UP + u(0.45, 0.6) * ahead
        size = np.array([u(0.5, 0.9), u(0.7, 1.8), 0.04])
        pieces.append(box(TOOL, centre, size, frame))
        pieces += _legs(centre, 0.45 * size[0] * ahead, 0.45 * size[1] * frame[:, 1], 0.72, 0.02)
        if rng.random() < 0.6:
            pieces.append(box(SEAT, centre + 0.12 * UP, np.array([0.02, 0.33, 0.22]), axes(UP + 0.2 * ahead, ahead)))
    return pieces


def worn(rng: np.random.Generator, body: Posed, headgear: str, hair: str, glasses: bool, backpack: bool) -> list[Piece]:
    """Brims, buns and tails, glasses and backpacks, fixed to head and back; lengths for the reference body, scaled to this one."""
    head, s, u, pieces = body.turn("head"), body.scale, rng.uniform, []
    eyes = (body.at("eye.L") + body.at("eye.R")) / 2
    ahead, up, aside = head @ np.array([0, -1.0, 0]), head @ UP, head @ np.array([1.0, 0, 0])
    crown = eyes + s * (0.055 * up - 0.075 * ahead)
    if headgear == "cap":
        way = ahead if rng.random() < 0.85 else -ahead
        pieces.append(
            ball(HAT, crown + s * (0.075 * way - 0.005 * up), s * np.array([0.115, 0.075, 0.02]), axes(up - 0.25 * way, way), 1.0, -0.2)
        )
    elif headgear == "brim":
        brim = u(0.14, 0.24) * s
        pieces.append(ball(HAT, crown + 0.005 * s * up, np.array([brim, brim * 0.85, 0.02 * s]), axes(up, ahead)))
    elif headgear == "helmet":
        shell = s * np.array([u(0.115, 0.14), u(0.1, 0.115), u(0.11, 0.13)])
        pieces.append(ball(HAT, crown + s * 0.01 * (up + ahead), shell, axes(up, ahead), 1.0, u(-0.45, 0.1)))
        if rng.random() < 0.4:
            pieces.append(ball(HAT, crown + s * (0.09 * ahead - 0.01 * up), s * np.array([0.09, 0.07, 0.012]), axes(up, ahead)))
    if hair == "bun":
        pieces.append(ball(HAIR, crown + s * (u(0.0, 0.08) * up - u(0.08, 0.11) * ahead), np.full(3, u(0.03, 0.055) * s)))
    elif hair == "tail":
        root, length = crown - s * 0.1 * ahead + s * u(-0.03, 0.06) * up, u(0.12, 0.4) * s
        pieces.append(
            tube(HAIR, root, root - length * (UP * 0.9 + ahead * u(0.1, 0.5)), [0.02 * s, 0.035 * s, 0.035 * s, 0.025 * s, 0.008 * s])
        )
    elif hair == "afro":
        pieces.append(
            ball(HAIR, crown + s * (0.01 * up - 0.012 * ahead), s * u(0.115, 0.17) * np.array([1, 1, 0.95]), axes(up, ahead), 1.0, -0.75)
        )
    if glasses:
        dark, radii = rng.random() < 0.35, (s * u(0.022, 0.028), s * u(0.017, 0.026))
        for side in (-1, 1):
            centre = eyes + s * (0.032 * side * aside + 0.028 * ahead - 0.003 * up)
            if dark:
                pieces.append(ball(GLASSES, centre, np.array([radii[0], radii[1], 0.003]), axes(ahead, aside)))
            pieces.append(ring(GLASSES, centre, axes(ahead, aside), radii, 0.0025 * s, 14))
            pieces.append(
                tube(GLASSES, centre + s * 0.026 * side * aside, centre + s * (0.04 * side * aside - 0.1 * ahead), [0.0025 * s] * 2, 4)
            )
    if backpack:
        chest = body.turn("spine02")
        back = chest @ np.array([0, 1.0, 0])
        size = s * np.array([u(0.09, 0.14), u(0.14, 0.18), u(0.2, 0.3)])
        pieces.append(ball(BAG, body.at("spine01") + s * (0.15 * back - 0.05 * chest @ UP), size, axes(chest @ UP, back)))
    return pieces
