"""A played day as a picture: what was sent, what was planted in it, and which incidents opened."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from serving.channel.messages.incidents import Severity
from serving.demo.traffic.record import Record, Seen, Sent
from serving.demo.traffic.schedule import Day, clock

WIDTH: Final = 1000
_LEFT, _RIGHT = 168, 24
_TOP: Final = 104
_PANEL: Final = 58
_GAP: Final = 22
_LANE: Final = 40
"""Height of what an incident says, without its lines."""
_LINE: Final = 16
_BIN_H: Final = 0.5
_LETTERS: Final = 148
"""That fit into a line of what an incident says."""
_BANDS: Final = ("#dbeafe", "#fef3c7", "#fde2e4")
_COLOURS: Final[dict[Severity, str]] = {"info": "#2563eb", "ticket": "#d97706", "page": "#dc2626"}
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2937 }
.title { font-size: 19px; font-weight: 600 }
.quiet { fill: #6b7280; font-size: 12px }
.head { font-weight: 600 }
.axis { stroke: #e5e7eb }
.line { fill: none; stroke-width: 2 }
"""


class _Line(NamedTuple):
    """A line of a panel: its colour, and what it shows of some requests; None: nothing."""

    colour: str
    value: Callable[[Sequence[Sent]], float | None]


class _Panel(NamedTuple):
    """What is drawn over the hours: words on its left, lines, and the ends of its scale."""

    words: tuple[str, ...]
    lines: tuple[_Line, ...]
    low: float
    high: float
    filled: bool = False


def picture(record: Record) -> str:
    """Return a played day as SVG."""
    day = record.day
    bins = list(_bins(record))
    panels = _panels(day)
    hours_at = _TOP + len(panels) * (_PANEL + _GAP) - 2
    lanes_at = hours_at + 46
    lanes, height = _lanes(record, lanes_at, hours_at)
    drawn = [
        *_bands(day, hours_at - 14),
        *_heads(record),
        *(_panel(panel, at, bins, day) for at, panel in enumerate(panels)),
        *_hours(day, hours_at),
        *lanes,
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>A day of traffic, what was planted in it, and what Vigil said</title>"
        f'<style>{_STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        f"{''.join(drawn)}</svg>\n"
    )


def _x(day: Day, hour: float) -> float:
    share = (hour - day.begins) / (day.last_push - day.begins)
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(share, 0.0), 1.0)


def _bins(record: Record) -> Iterator[tuple[float, list[Sent]]]:
    """Yield the middle of each half hour of the day, and what was sent in it."""
    day = record.day
    start = day.begins
    while start < day.ends:
        end = min(start + _BIN_H, day.ends)
        yield (start + end) / 2, [each for each in record.sent if start <= each.hour < end]
        start = end


def _panels(day: Day) -> tuple[_Panel, ...]:
    rows_per_h = day.rows_per_s * day.seconds / 24
    return (
        _Panel(
            ("applicants", "an hour"),
            (_Line("#64748b", lambda sent: _share(sum(e.rows for e in sent), _BIN_H)),),
            0.0,
            rows_per_h * 1.7,
            filled=True,
        ),
        _Panel(
            ("want a loan", "for 60 months"),
            (_Line("#2563eb", lambda sent: _of(sent, "long_terms", "rows")),),
            0.0,
            1.0,
        ),
        _Panel(
            ("are approved:",),
            (
                _Line("#b45309", lambda sent: _of(sent, "women_approved", "women")),
                _Line("#0f766e", lambda sent: _of(sent, "men_approved", "men")),
            ),
            0.2,
            0.8,
        ),
        _Panel(
            ("answers are right", f"(known {day.label_delay_h:g} h later)"),
            (_Line("#dc2626", lambda sent: _of(sent, "right", "rows")),),
            0.6,
            1.0,
        ),
    )


def _of(sent: Sequence[Sent], part: str, whole: str) -> float | None:
    return _share(sum(getattr(e, part) for e in sent), sum(getattr(e, whole) for e in sent))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _panel(panel: _Panel, at: int, bins: Sequence[tuple[float, Sequence[Sent]]], day: Day) -> str:
    top = _TOP + at * (_PANEL + _GAP)
    bottom = top + _PANEL

    def y(value: float) -> float:
        share = (value - panel.low) / (panel.high - panel.low)
        return bottom - _PANEL * min(max(share, 0.0), 1.0)

    drawn = [
        f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{each}" y2="{each}"/>'
        for each in (top, bottom)
    ]
    for line in panel.lines:
        found = [(_x(day, hour), line.value(sent)) for hour, sent in bins]
        points = [f"{x:.1f},{y(value):.1f}" for x, value in found if value is not None]
        if not points:
            continue
        if panel.filled:
            first, last = points[0].split(",")[0], points[-1].split(",")[0]
            closed = f"{first},{bottom} {' '.join(points)} {last},{bottom}"
            drawn.append(f'<polygon points="{closed}" fill="{line.colour}" opacity="0.25"/>')
        joined = " ".join(points)
        drawn.append(f'<polyline class="line" stroke="{line.colour}" points="{joined}"/>')
    words = list(panel.words)
    drawn += [
        f'<text x="14" y="{top + 24 + 17 * row}">{escape(text)}</text>'
        for row, text in enumerate(words)
    ]
    if len(panel.lines) > 1:
        drawn.append(
            f'<text x="14" y="{top + 41}"><tspan fill="{panel.lines[0].colour}">women</tspan>, '
            f'<tspan fill="{panel.lines[1].colour}">men</tspan></text>'
        )
    if not panel.filled:
        drawn += [
            f'<text class="quiet" x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{value:.0%}</text>"
            for value in (panel.low, panel.high)
        ]
    return "".join(drawn)


def _bands(day: Day, bottom: float) -> Iterator[str]:
    for planted, colour in zip(day.planted, _colours(day), strict=True):
        x, end = _x(day, planted.begins), _x(day, planted.ends)
        yield (
            f'<rect x="{x:.1f}" y="62" width="{end - x:.1f}" height="{bottom - 62:.0f}" '
            f'fill="{colour}" opacity="0.6"/>'
            f'<text class="head" x="{x + 8:.1f}" y="81">{planted.change}</text>'
        )


def _colours(day: Day) -> Iterator[str]:
    for at, _ in enumerate(day.planted):
        yield _BANDS[at % len(_BANDS)]


def _heads(record: Record) -> Iterator[str]:
    day = record.day
    yield '<text class="head" x="14" y="81">planted</text>'
    yield '<text class="title" x="14" y="30">What was planted, and what Vigil said</text>'
    yield (
        f'<text class="quiet" x="14" y="50">vigil demo traffic --seed {record.seed}: a day in '
        f"{day.seconds:.0f} s, {sum(each.rows for each in record.sent):,} applicants</text>"
    )


def _hours(day: Day, y: float) -> Iterator[str]:
    hour = day.begins
    while hour <= day.last_push:
        x = _x(day, hour)
        at = f'x="{x:.1f}" y="{y:.0f}" text-anchor="middle"'
        yield f'<text class="quiet" {at}>{clock(hour)}</text>'
        hour += 4


def _lanes(record: Record, top: float, hours_at: float) -> tuple[list[str], float]:
    """Return what the incidents look like, and where the last of them ends."""
    drawn = [f'<text class="head" x="14" y="{top - 14:.0f}">Vigil said</text>']
    if not record.seen:
        drawn.append(f'<text x="14" y="{top + 14:.0f}">nothing</text>')
    bars, y = [], top
    for seen in record.seen:
        said = _said(seen)
        drawn.append(_opened(seen, y, hours_at, record.day))
        bars.append(_lane(seen, said, y, record.day))
        y += _LANE + _LINE * len(said)
    return [*drawn, *bars], max(y, top + _LANE)  # bars lie above the lines that cross them


def _said(seen: Seen) -> list[str]:
    """Return what is written below the bar of an incident, line by line."""
    incident = seen.incident
    told = [incident.summary.partition(": ")[2] or incident.summary]
    if incident.evidence.cause is not None:
        told.append(f"why: {incident.evidence.cause.summary}")
    return [line for text in told for line in textwrap.wrap(text, _LETTERS)[:3]]


def _lane(seen: Seen, said: Sequence[str], y: float, day: Day) -> str:
    incident = seen.incident
    colour = _COLOURS[incident.severity]
    x, end = _x(day, seen.hour), WIDTH - _RIGHT
    lines = "".join(
        f'<text class="quiet" x="14" y="{y + 34 + _LINE * row:.0f}">{escape(text)}</text>'
        for row, text in enumerate(said)
    )
    return (
        f'<text class="head" x="14" y="{y + 14:.0f}">{escape(incident.cause)}</text>'
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{end - x:.1f}" height="18" rx="3" fill="{colour}"/>'
        f'<text x="{x - 6:.1f}" y="{y + 14:.0f}" text-anchor="end" '
        f'style="fill: {colour}">{incident.severity} at {clock(seen.hour)}</text>{lines}'
    )


def _opened(seen: Seen, y: float, hours_at: float, day: Day) -> str:
    """Return the line that leads from an incident up to what was played when it opened."""
    x, colour = _x(day, seen.hour), _COLOURS[seen.incident.severity]
    ends = ((_TOP, hours_at - 14), (hours_at + 6, y))
    return "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{above:.0f}" y2="{below:.0f}" stroke="{colour}" '
        f'stroke-dasharray="3 3"/>'
        for above, below in ends
    )
