"""Line plots without a plotting library: SVG inside one HTML page, and PNG through OpenCV. Units are on every axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.biomechanics.table import Angles
from vitruvian.errors import FormatError

# Okabe and Ito's colours, which the colour-blind can tell apart; right is orange and left blue throughout.
COLORS = {"right": (213, 94, 0), "left": (0, 114, 178), "": (60, 60, 60)}
_OTHERS = ((0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (60, 60, 60))
_WIDTH, _HEIGHT, _MARGIN = 360, 200, (52, 30, 12, 34)  # pixels; margin left, top, right, bottom
_COLUMNS = 3
_POINTS = 1500  # of a line; more than there are pixels is of no use


@dataclass(frozen=True, eq=False)
class Line:
    """values: (f,) at times (f,), NaN breaks it."""

    label: str
    times: Float[np.ndarray, " f"]
    values: Float[np.ndarray, " f"]


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot. unit: of the values; times are seconds. marks: times of vertical lines."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    marks: tuple[float, ...] = ()


def panels_of_angles(angles: Angles, marks: Sequence[float] = ()) -> tuple[Panel, ...]:
    """A panel per joint, right and left together, in degrees."""
    stems: dict[str, list[Line]] = {}
    for name, values in zip(angles.names, angles.degrees.T, strict=True):
        stem, side = _stem(name)
        stems.setdefault(stem, []).append(Line(side, angles.times, values))
    return tuple(Panel(stem.replace("_", " "), "deg", tuple(lines), tuple(marks)) for stem, lines in stems.items())


def _stem(name: str) -> tuple[str, str]:
    for side in ("right", "left"):
        if f"_{side}" in name:
            return name.replace(f"_{side}", ""), side
    for end, side in (("_r", "right"), ("_l", "left")):
        if name.endswith(end):
            return name[:-2], side
    return name, ""


def _color(line: Line, index: int) -> tuple[int, int, int]:
    return COLORS[line.label] if line.label in COLORS else _OTHERS[index % len(_OTHERS)]


def _ranges(panel: Panel) -> tuple[float, float, float, float]:
    """First and last time, lowest and highest value, with some air."""
    times = [line.times[[0, -1]] for line in panel.lines if len(line.times)]
    values = np.concatenate([line.values[np.isfinite(line.values)] for line in panel.lines] or [np.zeros(0)])
    start, end = (float(np.min(times)), float(np.max(times))) if times else (0.0, 1.0)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    air = max(0.05 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-6)
    return start, end if end > start else start + 1, low - air, high + air


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers between low and high."""
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [round(float(i * step), 10) for i in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _placed(panel: Panel, line: Line) -> list[Float[np.ndarray, "n 2"]]:
    """The line's unbroken pieces in pixels of the panel."""
    start, end, low, high = _ranges(panel)
    left, top, right, bottom = _MARGIN
    step = max(1, len(line.times) // _POINTS)
    times, values = line.times[::step], line.values[::step]
    x = left + (times - start) / (end - start) * (_WIDTH - left - right)
    y = top + (high - values) / (high - low) * (_HEIGHT - top - bottom)
    seen = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.r_[False, seen, False].astype(np.int8)))
    return [np.stack([x[a:b], y[a:b]], -1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _axes(panel: Panel) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Pixels and labels of the ticks along x, and along y."""
    start, end, low, high = _ranges(panel)
    left, top, right, bottom = _MARGIN
    across = [(left + (t - start) / (end - start) * (_WIDTH - left - right), f"{t:g}") for t in ticks(start, end)]
    up = [(top + (high - v) / (high - low) * (_HEIGHT - top - bottom), f"{v:g}") for v in ticks(low, high)]
    return across, up


def svg(panel: Panel) -> str:
    """One panel as an SVG element."""
    left, top, right, bottom = _MARGIN
    foot, edge = _HEIGHT - bottom, _WIDTH - right
    across, up = _axes(panel)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(panel.title, True)}">'
    ]
    parts.append(f'<text x="{left}" y="16" class="title">{escape(panel.title)} [{escape(panel.unit)}]</text>')
    for x, label in across:
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{foot}"/><text x="{x:.1f}" y="{foot + 13}" text-anchor="middle">{label}</text>')
    for y, label in up:
        parts.append(
            f'<path class="grid" d="M{left} {y:.1f}H{edge}"/><text x="{left - 5}" y="{y + 3:.1f}" text-anchor="end">{label}</text>'
        )
    start, end, _, _ = _ranges(panel)
    for mark in panel.marks:
        x = left + (mark - start) / (end - start) * (edge - left)
        if left <= x <= edge:
            parts.append(f'<path class="mark" d="M{x:.1f} {top}V{foot}"/>')
    for i, line in enumerate(panel.lines):
        color = "#{:02x}{:02x}{:02x}".format(*_color(line, i))
        for piece in _placed(panel, line):
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in piece)
            parts.append(f'<path class="line" stroke="{color}" d="M{path}{"h.1" if len(piece) == 1 else ""}"/>')
        if line.label:
            x = edge - 62 * (len(panel.lines) - i)
            parts.append(f'<text x="{x}" y="16" fill="{color}">{escape(line.label)}</text>')
    parts.append(f'<text x="{edge}" y="{_HEIGHT - 6}" text-anchor="end">time [s]</text></svg>')
    return "".join(parts)


_STYLE = (
    "body{font:14px sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222}"
    "svg{font:10px sans-serif;margin:2px}svg .title{font-weight:bold;font-size:11px}"
    ".grid{stroke:#ddd;stroke-width:.6}.mark{stroke:#999;stroke-dasharray:3 3}.line{fill:none;stroke-width:1.3;stroke-linecap:round}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}.tables{display:flex;flex-wrap:wrap;gap:0 4em}"
)


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first column is text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def page(title: str, panels: Sequence[Panel], notes: Sequence[str] = (), tables: Sequence[Table] = ()) -> str:
    """A whole HTML page that loads nothing."""
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    parts = [f"<h1>{escape(title)}</h1>", f"<ul>{listed}</ul>" if listed else ""]
    parts += ['<div class="tables">'] * bool(tables)
    for table in tables:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
        parts.append(f"<div><h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table></div>")
    parts += ["</div>"] * bool(tables)
    parts.append("<div>" + "".join(svg(panel) for panel in panels) + "</div>" if panels else "<p>There is nothing to plot.</p>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def write_page(text: str, path: str | Path) -> None:
    """Write a page, whole or not at all. Raises FormatError if it can't be written."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_png(panels: Sequence[Panel], path: str | Path, scale: int = 2) -> None:
    """Draw the panels, three in a row, and write the picture. Raises FormatError if it can't be written."""
    import cv2

    picture = draw(panels, scale)
    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise FormatError(f"can't draw {path}: the picture is too large; plot fewer angles")
    with written_whole(path) as temporary:
        temporary.write_bytes(data.tobytes())


def draw(panels: Sequence[Panel], scale: int = 2) -> np.ndarray:
    """The panels as an RGB picture (H, W, 3) uint8; an empty list gives a white one."""
    import cv2

    rows = max(1, -(-len(panels) // _COLUMNS))
    picture = np.full((rows * _HEIGHT * scale, min(_COLUMNS, max(len(panels), 1)) * _WIDTH * scale, 3), 255, np.uint8)
    left, top, right, bottom = _MARGIN

    def text(words: str, x: float, y: float, color: tuple[int, int, int] = (34, 34, 34), anchor: float = 0.0) -> None:
        size = 0.33 * scale
        (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        at = (round((ox + x) * scale - anchor * width), round((oy + y) * scale))
        cv2.putText(picture, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)

    def stroke(points: np.ndarray, color: tuple[int, int, int], thickness: int) -> None:
        # Four bits below the pixel: steps of whole pixels show as stairs.
        fixed = np.round((points + (ox, oy)) * scale * 16).astype(np.int32)
        cv2.polylines(picture, [fixed], False, color, thickness, cv2.LINE_AA, 4)

    for i, panel in enumerate(panels):
        ox, oy = i % _COLUMNS * _WIDTH, i // _COLUMNS * _HEIGHT
        across, up = _axes(panel)
        for x, label in across:
            stroke(np.array([[x, top], [x, _HEIGHT - bottom]]), (221, 221, 221), 1)
            text(label, x, _HEIGHT - bottom + 12, anchor=0.5)
        for y, label in up:
            stroke(np.array([[left, y], [_WIDTH - right, y]]), (221, 221, 221), 1)
            text(label, left - 4, y + 3, anchor=1.0)
        for n, line in enumerate(panel.lines):
            for piece in _placed(panel, line):
                stroke(piece, _color(line, n), scale)
            if line.label:
                text(line.label, _WIDTH - right - 50 * (len(panel.lines) - n), 16, _color(line, n))
        text(f"{panel.title} [{panel.unit}]".encode("ascii", "replace").decode(), left, 16)
        text("time [s]", _WIDTH - right, _HEIGHT - 6, anchor=1.0)
    return picture
