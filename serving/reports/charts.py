"""Pictures of reports as SVG, which a browser draws without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from serving.backtest.chart import LEFT, WIDTH, svg
from serving.reports.answers import Bin, Histogram

_SIDE: Final = 400
_EDGE: Final = 44
_BARS: Final = 160


def calibration(bins: Sequence[Bin], of_what: str) -> str:
    """Return what was true on average by what the model has answered, with intervals of 95 %."""
    ends = [end for each in bins for end in (each.predicted, each.low, each.high)]
    low, high = min(ends), max(ends)
    if low >= 0 and high <= 1 and of_what.startswith("probability"):
        low, high = 0.0, 1.0
    room = (high - low) or 1.0

    def x(value: float) -> float:
        return _EDGE + (_SIDE - _EDGE - LEFT) * (value - low) / room

    def y(value: float) -> float:
        return LEFT + (_SIDE - _EDGE - LEFT) * (high - value) / room

    drawn = [
        _line("tick", x(low), y(low), x(low), y(high)),
        _line("tick", x(low), y(low), x(high), y(low)),
        _line("even", x(low), y(low), x(high), y(high)),
        _text((_EDGE + _SIDE) / 2, _SIDE - 8, of_what),
    ]
    for share in (0.0, 0.5, 1.0):
        value = low + share * room
        drawn.append(_text(x(value), _SIDE - _EDGE + 16, f"{value:.3g}"))
        drawn.append(_text(_EDGE - 5, y(value) + 4, f"{value:.3g}", "end"))
    points = " ".join(f"{x(each.predicted):.1f},{y(each.true):.1f}" for each in bins)
    drawn.append(f'<polyline points="{points}"/>')
    for each in bins:
        at = x(each.predicted)
        drawn.append(_line("whisker", at, y(each.low), at, y(each.high)))
        place = f'cx="{at:.1f}" cy="{y(each.true):.1f}" r="3"'
        title = f"<title>{each.rows} rows</title>"
        drawn.append(f'<circle class="dot" {place}>{title}</circle>')
    return (
        f'<svg class="square" viewBox="0 0 {_SIDE} {_SIDE}" role="img" '
        f'aria-label="calibration">{"".join(drawn)}</svg>'
    )


def bars(histogram: Histogram) -> str:
    """Return a histogram."""
    edges, counts = histogram.edges, histogram.counts
    most, width = max(counts) or 1, (WIDTH - 2 * LEFT) / len(counts)
    drawn = [
        f'<rect class="bar" x="{LEFT + at * width:.1f}" width="{max(width - 1, 0.5):.1f}" '
        f'y="{_BARS * (1 - count / most):.1f}" height="{_BARS * count / most:.1f}">'
        f"<title>{count} rows from {edges[at]:.4g} to {edges[at + 1]:.4g}</title></rect>"
        for at, count in enumerate(counts)
    ]
    span = (edges[-1] - edges[0]) or 1.0
    for share, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"),
                          (1.0, "end")):  # fmt: skip
        at = LEFT + (WIDTH - 2 * LEFT) * share
        drawn.append(_text(at, _BARS + 14, f"{edges[0] + share * span:.3g}", anchor))
    if edges[0] < 0 < edges[-1]:
        at = LEFT + (WIDTH - 2 * LEFT) * (0 - edges[0]) / span
        drawn.append(_line("even", at, 0, at, _BARS))
    return svg(_BARS, "".join(drawn), "histogram of errors")


def _line(what: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{what}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
