"""Keeps what was measured over time, bounded: for the lines of the page."""

from __future__ import annotations

from typing import Final

from serving.backtest.outcome import Figure, Point
from serving.channel.messages.findings import FindingRecord, FindingsChanged

MOST_POINTS: Final = 600
"""Per figure; beyond it every second one goes."""
MOST_FIGURES: Final = 2000
ROWS: Final = "rows"
_HOUR: Final = 3600.0

Key = tuple[str, str, str, str, str]


class Figures:
    """What each metric was, look by look."""

    def __init__(self) -> None:
        self._points: dict[Key, list[Point]] = {}
        self._threshold: dict[Key, float | None] = {}
        self._breaches: dict[Key, int] = {}
        self._hours: dict[int, int] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._judged: set[tuple[str, str]] = set()

    def rows(self, count: int, time: float) -> None:
        """Count rows of an event."""
        hour = int(time // _HOUR)
        self._hours[hour] = self._hours.get(hour, 0) + count

    def told(self, changed: FindingsChanged, now: float) -> None:
        """Take in what monitors have found."""
        for found in (*changed.passed, *changed.findings):
            key = (found.version, found.monitor, found.metric, found.subject, found.segment)
            points = self._points.get(key)
            if points is None:
                if len(self._points) >= MOST_FIGURES:
                    continue
                points = self._points[key] = []
            self._add(key, points, found, now)
            if found.breached is None:
                self._reasons.setdefault((found.version, found.monitor), found.reason)
            else:
                self._judged.add((found.version, found.monitor))

    def no_verdicts(self) -> list[str]:
        """Return which monitors measure and never judge, one sentence each."""
        return [
            f"{monitor} of version {version} has no verdict at any time: {reason}"
            for (version, monitor), reason in self._reasons.items()
            if (version, monitor) not in self._judged
        ]

    def _add(self, key: Key, points: list[Point], found: FindingRecord, now: float) -> None:
        time = found.window[1]
        low, high = found.ci or (None, None)
        point = Point(now if time is None else time, found.value, low, high, found.breached)
        last = points[-1] if points else None
        if last is not None and last.time == point.time and last.breached == point.breached:
            return
        self._threshold[key] = found.threshold
        self._breaches[key] = self._breaches.get(key, 0) + bool(found.breached)
        points.append(point)
        if len(points) > MOST_POINTS:
            del points[1:-1:2]

    def all(self) -> tuple[Figure, ...]:
        """Return all of them; the first one is how many rows came in each hour."""
        hours = [
            Point((hour + 0.5) * _HOUR, float(count), None, None, False)
            for hour, count in sorted(self._hours.items())
        ]
        rows = Figure("", "", ROWS, "", "", None, tuple(hours), 0)
        found = [
            Figure(*key, self._threshold[key], tuple(points), self._breaches[key])
            for key, points in self._points.items()
            if any(each.value is not None for each in points)
        ]
        return (rows, *found)
