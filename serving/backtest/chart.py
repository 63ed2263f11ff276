"""Lines and bars over time as SVG: text that a browser draws, without a library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from serving.backtest.outcome import Figure, Point
from serving.channel.messages.incidents import Incident

WIDTH: Final = 960
LEFT: Final = 8
"""Room at both sides, in pixels."""
_LANE: Final = 22
_HEIGHT: Final = 120
_AXIS: Final = 20
_LABEL: Final = 30
"""Half of what a label is wide: nearer to an end it would be cut off."""
_STEPS_S: Final = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400,
                   7 * 86_400, 14 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400)  # fmt: skip
_MOST_TICKS: Final = 9


class Axis:
    """Where times lie, from left to right.

    Args:
        first, last: of what is shown, in seconds since the epoch.
    """

    def __init__(self, first: float, last: float) -> None:
        self.first, self.last = first, max(last, first + 1.0)

    def x(self, time: float) -> float:
        """Return where a time lies, in pixels; those beyond the ends lie at the ends."""
        share = (time - self.first) / (self.last - self.first)
        return LEFT + (WIDTH - 2 * LEFT) * min(max(share, 0.0), 1.0)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield where marks lie, and what is written at them."""
        span = self.last - self.first
        step = next((each for each in _STEPS_S if span / each <= _MOST_TICKS), span / _MOST_TICKS)
        form = "%Y-%m-%d" if step >= 86_400 else "%m-%d %H:%M" if step >= 60 else "%H:%M:%S"
        time = (self.first // step + 1) * step
        while time < self.last:
            x = self.x(time)
            if _LABEL < x < WIDTH - _LABEL:
                yield x, datetime.fromtimestamp(time, UTC).strftime(form)
            time += step

    def marks(self, height: float) -> str:
        """Return the marks, for a picture that is so high without them."""
        return "".join(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height:.0f}"/>'
            f'<text x="{x:.1f}" y="{height + 14:.0f}" text-anchor="middle">{label}</text>'
            for x, label in self.ticks()
        )


def lanes(incidents: Sequence[Incident], axis: Axis) -> str:
    """Return a bar for each incident, in a lane for each cause."""
    causes = list(dict.fromkeys(each.cause for each in incidents))
    height = _LANE * len(causes)
    drawn = []
    for each in incidents:
        y = _LANE * causes.index(each.cause)
        x = axis.x(each.opened_at)
        wide = max(axis.x(each.closed_at or axis.last) - x, 3.0)
        since = axis.x(each.first.since)
        drawn.append(
            f'<a href="#incident-{each.id}">'
            f'<line class="since" x1="{since:.1f}" x2="{x:.1f}" y1="{y + 11}" y2="{y + 11}"/>'
            f'<rect class="{each.severity}" x="{x:.1f}" y="{y + 4}" width="{wide:.1f}" '
            f'height="14" rx="3"><title>{escape(each.summary)}</title></rect></a>'
        )
    names = "".join(
        f'<text class="lane" x="{LEFT}" y="{_LANE * at + 15}">{escape(cause)}</text>'
        for at, cause in enumerate(causes)
    )
    return svg(height, axis.marks(height) + "".join(drawn) + names, "incidents over time")


def line(figure: Figure, axis: Axis) -> str:
    """Return a figure over time with its interval and its threshold; dots where it was off."""
    points = [each for each in figure.points if each.value is not None]
    values = [
        value for each in points for value in (each.value, each.low, each.high) if value is not None
    ]
    if figure.threshold is not None:
        values.append(figure.threshold)
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def y(value: float) -> float:
        return _HEIGHT * (high - value) / (high - low)

    def where(point: Point, value: float | None) -> str:
        return f"{axis.x(point.time):.1f},{y(value or 0.0):.1f}"

    banded = [each for each in points if each.low is not None and each.high is not None]
    band = ""
    if len(banded) > 1:
        upper = [where(each, each.high) for each in banded]
        lower = [where(each, each.low) for each in reversed(banded)]
        band = f'<polygon class="band" points="{" ".join((*upper, *lower))}"/>'
    limit = ""
    if figure.threshold is not None:
        at = y(figure.threshold)
        limit = (
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="limit" x="{WIDTH - LEFT}" y="{at - 3:.1f}" text-anchor="end">'
            f"{figure.threshold:.4g}</text>"
        )
    path = f'<polyline points="{" ".join(where(each, each.value) for each in points)}"/>'
    if len(points) == 1:  # no line
        [only] = points
        x, _, at_value = where(only, only.value).partition(",")
        path = f'<circle class="dot" cx="{x}" cy="{at_value}" r="2.5"/>'
        if banded:
            path += f'<polyline points="{where(only, only.low)} {where(only, only.high)}"/>'
    dots = "".join(
        f'<circle cx="{axis.x(each.time):.1f}" cy="{y(each.value or 0.0):.1f}" r="2.5"/>'
        for each in points
        if each.breached
    )
    ends = (
        f'<text x="{LEFT}" y="11">{high - room:.4g}</text>'
        f'<text x="{LEFT}" y="{_HEIGHT - 3}">{low + room:.4g}</text>'
    )
    return svg(_HEIGHT, axis.marks(_HEIGHT) + band + limit + path + dots + ends, figure.metric)


def svg(height: float, content: str, label: str) -> str:
    """Return a picture so high, and an axis below it.

    Args:
        height: in pixels of a picture `WIDTH` wide.
        content: SVG.
        label: for those who do not see it; plain text.
    """
    whole = height + _AXIS
    return (
        f'<svg viewBox="0 0 {WIDTH} {whole:.0f}" role="img" aria-label="{escape(label)}">'
        f"{content}</svg>"
    )
