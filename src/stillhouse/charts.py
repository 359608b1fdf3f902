"""Plots as SVG text, without a plotting library: points with intervals over a logarithmic axis, and levels to compare them with.

Pure: numbers in, one SVG document out. Panels stand side by side, each with its own axis and the one legend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from stillhouse.records import Record

_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 300, 220, 52, 34, 46
_COLOURS = ("#1f5fa8", "#c25b12", "#2f7d4f", "#8a3f8f", "#5b5b5b", "#a3292f")
"""Told apart by people who see few colours, with the marks' shapes beside them."""
_DASHES = ("6 3", "2 3", "9 3 2 3", "1 2", "4 4")


class Point(Record):
    x: float
    """Above 0: the axis is logarithmic."""
    y: float
    """0 to 1."""
    low: float
    high: float


class Line(Record):
    """Points that belong together; one alone, without an `x` of its own, is a `Level`."""

    name: str
    points: tuple[Point, ...]


class Level(Record):
    """A horizontal line: what does not depend on `x`."""

    name: str
    y: float


class Panel(Record):
    title: str
    x_label: str
    lines: tuple[Line, ...] = ()
    levels: tuple[Level, ...] = ()


def svg(panels: Sequence[Panel], *, y_label: str = "accuracy, %") -> str:
    """A document with the panels in one row. Raises ValueError where there is none, or a point at x <= 0."""
    if not panels:
        raise ValueError("a plot needs a panel")
    named = [[*(line.name for line in panel.lines), *(level.name for level in panel.levels)] for panel in panels]
    names = list(dict.fromkeys(name for its in named for name in its))
    width, height = len(panels) * (_WIDTH + _LEFT) + 20, _TOP + _HEIGHT + _BELOW + 18 * len(names) + 8
    parts = [_panel(panel, number * (_WIDTH + _LEFT) + _LEFT, names) for number, panel in enumerate(panels)]
    middle = _TOP + _HEIGHT / 2
    label = f'<text x="14" y="{middle}" transform="rotate(-90 14 {middle})" {_MIDDLE}>{escape(y_label)}</text>'
    legend = [_key(name, number, names, panels) for number, name in enumerate(names)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="11">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            label,
            *parts,
            *legend,
            "</svg>\n",
        ]
    )


_MIDDLE = 'text-anchor="middle"'


def _panel(panel: Panel, left: float, names: Sequence[str]) -> str:
    xs = sorted({point.x for line in panel.lines for point in line.points})
    if any(x <= 0 for x in xs):
        raise ValueError("a logarithmic axis has no place for numbers that are not above 0")
    found = [f'<text x="{left + _WIDTH / 2}" y="{_TOP - 14}" font-weight="bold" {_MIDDLE}>{escape(panel.title)}</text>']
    found.append(f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>')
    for share in range(0, 101, 25):
        y = _y(share / 100)
        found.append(f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        found.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share}</text>')
    for x in xs:
        found.append(f'<text x="{_x(x, xs, left):.1f}" y="{_TOP + _HEIGHT + 16}" {_MIDDLE}>{_written(x)}</text>')
    found.append(f'<text x="{left + _WIDTH / 2}" y="{_TOP + _HEIGHT + 34}" {_MIDDLE}>{escape(panel.x_label)}</text>')
    for level in panel.levels:
        colour, y = _colour(level.name, names), _y(level.y)
        dash = _DASHES[names.index(level.name) % len(_DASHES)]
        ends = f'x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"'
        found.append(f'<line {ends} stroke="{colour}" stroke-dasharray="{dash}"/>')
    return "\n".join([*found, *(_line(line, xs, left, _colour(line.name, names)) for line in panel.lines)])


def _line(line: Line, xs: Sequence[float], left: float, colour: str) -> str:
    points = sorted(line.points, key=lambda point: point.x)
    path = " ".join(f"{_x(point.x, xs, left):.1f},{_y(point.y):.1f}" for point in points)
    found = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for point in points:
        x = _x(point.x, xs, left)
        whisker = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_y(point.low):.1f}" y2="{_y(point.high):.1f}"'
        found.append(f'<line {whisker} stroke="{colour}"/>')
        title = f"{line.name}: {100 * point.y:.1f} % ({100 * point.low:.1f} to {100 * point.high:.1f})"
        found.append(
            f'<circle cx="{x:.1f}" cy="{_y(point.y):.1f}" r="3.2" fill="{colour}"><title>{escape(title)}</title></circle>'
        )
    return "\n".join(found)


def _key(name: str, number: int, names: Sequence[str], panels: Sequence[Panel]) -> str:
    y, colour = _TOP + _HEIGHT + _BELOW + 18 * number, _colour(name, names)
    level = any(each.name == name for panel in panels for each in panel.levels)
    dash = f' stroke-dasharray="{_DASHES[number % len(_DASHES)]}"' if level else ""
    mark = f'<line x1="{_LEFT}" x2="{_LEFT + 28}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="1.5"{dash}/>'
    return f'{mark}<text x="{_LEFT + 36}" y="{y + 4}">{escape(name)}</text>'


def _colour(name: str, names: Sequence[str]) -> str:
    return _COLOURS[names.index(name) % len(_COLOURS)]


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - min(max(share, 0.0), 1.0))


def _x(x: float, xs: Sequence[float], left: float) -> float:
    """A tenth of the width is left free at both ends; a single place is the middle."""
    low, high = math.log(xs[0]), math.log(xs[-1])
    return left + _WIDTH * (0.5 if high == low else 0.1 + 0.8 * (math.log(x) - low) / (high - low))


def _written(x: float) -> str:
    """`8`, `124M`, `1.3B`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.3g}{unit}"
    return f"{x:g}"
