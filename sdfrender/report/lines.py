"""Lines over a logarithmic scale, drawn as SVG without a library: a page has one or two of them.

Text and axes have the page's own colour. For other plots there is `sdfrender.report.plot`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import escape

from sdfrender.report.plot import COLORS, INK

WIDTH, HEIGHT = 900, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 26, 48  # of what is around the lines
DASHES = {"-": "", "--": "7 4", ":": "2 4", "-.": "8 3 2 3"}
STYLES = ("-", "-", "-", "--", "-.", ":", "--", ":")
STEPS = (1, 2, 5)  # of a scale, and their multiples by powers of ten
MOST_TICKS = 9
FEW_DECADES = 2.5  # a scale of fewer has numbers at 2 and 5, too


@dataclass(frozen=True)
class Line:
    """Values over x; those that are not above zero are left out, and break the line."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def log_plot(
    lines: Sequence[Line], marks: Sequence[tuple[float, str]], x_label: str, y_label: str
) -> str:
    """Draw lines, with a legend beside them.

    Args:
        lines: what to draw; none without a value above zero has a place in the legend.
        marks: places of x at which something begins, with its name above; the first has no rule.
        x_label: what x is.
        y_label: what the values are.

    Returns:
        An `<svg>` element.
    """
    shown = [line for line in lines if any(value > 0 for value in line.y)]
    values = [v for line in shown for v in line.y if v > 0 and math.isfinite(v)]
    places = [x for line in lines for x in line.x]
    at = _Frame(_widened(places or [0.0, 1.0]), _log_range(values or [1.0]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="currentColor">',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" '
        f'stroke="currentColor"/>',
        *_x_ticks(at),
        *_y_ticks(at),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"),
        f'<g transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">'
        f"{_text(0, 0, y_label, 'middle')}</g>",
    ]
    for n, (x, name) in enumerate(marks):
        if n:
            parts.append(
                f'<path d="M{at.x(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#999" '
                'stroke-width="0.8"/>'
            )
        parts.append(_text(at.x(x) + 3, TOP - 6, name, "start", 11))
    for n, line in enumerate(lines):
        if line not in shown:
            continue
        color, dash = COLORS[n % len(COLORS)], DASHES[STYLES[n % len(STYLES)]]
        parts += _drawn(at, line, color.replace(INK, "currentColor"), dash, shown.index(line))
    return "\n".join((*parts, "</svg>"))


@dataclass(frozen=True)
class _Frame:
    """Where x, and the logarithm of y, from the least to the most, are on the page."""

    over: tuple[float, float]
    logs: tuple[float, float]

    def x(self, x: float) -> float:
        low, high = self.over
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - low) / (high - low)

    def y(self, y: float) -> float:
        low, high = self.logs
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(y) - low) / (high - low)


def _widened(x: Sequence[float]) -> tuple[float, float]:
    """From the least to the most, with a margin."""
    low, high = min(x), max(x)
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = 0.05 * (high - low) or 0.3
    return low - margin, high + margin


def _x_ticks(at: _Frame) -> list[str]:
    low, high = at.over
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    wanted = (high - low) / MOST_TICKS
    step = next(s * power for s in (*STEPS, 10) if s * power >= wanted)
    step = max(step, 1.0)  # what is counted has no halves
    ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    bottom = HEIGHT - BOTTOM
    return [
        f'<path d="M{at.x(x):.1f} {bottom}v5" stroke="currentColor"/>'
        + _text(at.x(x), bottom + 18, f"{x:g}", "middle")
        for x in ticks
        if x >= 0
    ]


def _y_ticks(at: _Frame) -> list[str]:
    low, high = at.logs
    parts = []
    every = max(1, round((high - low) / MOST_TICKS))
    for decade in range(math.floor(low), math.ceil(high) + 1):
        for digit in range(1, 10):
            value = digit * 10.0**decade
            if not low <= math.log10(value) <= high:
                continue
            told = digit == 1 or (digit in STEPS and high - low < FEW_DECADES)
            told = told and decade % every == 0
            y = at.y(value)
            length = 6 if told else 3
            parts.append(f'<path d="M{LEFT} {y:.1f}h-{length}" stroke="currentColor"/>')
            if told:
                parts.append(_text(LEFT - 9, y + 4, f"{value:g}", "end"))
    return parts


def _drawn(at: _Frame, line: Line, color: str, dash: str, row: int) -> list[str]:
    """One line, and its row of the legend."""
    points = [
        (at.x(x), at.y(y)) if y > 0 and math.isfinite(y) else None
        for x, y in zip(line.x, line.y, strict=True)
    ]
    style = f'fill="none" stroke="{color}" stroke-width="1.6"'
    if dash:
        style += f' stroke-dasharray="{dash}"'
    parts, path = [], ""
    for before, point in pairwise([None, *points]):
        if point is not None:
            path += f"{'L' if before else 'M'}{point[0]:.1f} {point[1]:.1f}"
    parts.append(f'<path d="{path}" {style} stroke-linejoin="round"/>')
    for n, point in enumerate(points):  # one that has no neighbour would not be seen
        alone = all(points[k] is None for k in (n - 1, n + 1) if 0 <= k < len(points))
        if point is not None and alone:
            parts.append(f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3" fill="{color}"/>')
    left, y = WIDTH - RIGHT + 14, TOP + 12 + 20 * row
    parts.append(f'<path d="M{left} {y}h26" {style}/>')
    parts.append(_text(left + 32, y + 4, line.name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(text)}</text>"
    )
