"""What a backtest has found, and what it says of false pages."""

from __future__ import annotations

from typing import Final

import msgspec
from scipy import stats

from serving.channel.messages.incidents import Incident, Severity, Unknown

QUARTER_S: Final = 90 * 86_400.0


class Point(msgspec.Struct, frozen=True):
    """A figure at a time.

    Attributes:
        time: end of its window, in seconds since the epoch.
        value, low, high: the figure and its interval; None where there is none.
        breached: whether it was off; None where nobody knows.
    """

    time: float
    value: float | None
    low: float | None
    high: float | None
    breached: bool | None


class Figure(msgspec.Struct, frozen=True):
    """A metric over time.

    Attributes:
        threshold: the last one.
        points: in the order of their times.
        breaches: how many looks have found it off.
    """

    version: str
    monitor: str
    metric: str
    subject: str
    segment: str
    threshold: float | None
    points: tuple[Point, ...]
    breaches: int


class FalsePages(msgspec.Struct, frozen=True):
    """Pages per 90 days if every page of the period had been false.

    Attributes:
        pages: how many there were.
        days: length of the period.
        per_quarter, low, high: the rate, and its exact 95 % interval for a Poisson count
            (Garwood 1936, "Fiducial limits for the Poisson distribution", Biometrika 28).
        stated: what `monitors.false_pages_per_quarter` allows.
    """

    pages: int
    days: float
    per_quarter: float
    low: float
    high: float
    stated: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitors of a model would have told.

    Attributes:
        first, last: times of the first and the last row, in seconds since the epoch.
        incidents: in the order in which they were opened.
        figures: what was measured.
        notes: what was not judged, one sentence each.
        unknown: verdicts that are not known at the end.
    """

    model: str
    versions: tuple[str, ...]
    rows: int
    labels: int
    first: float
    last: float
    incidents: tuple[Incident, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    unknown: tuple[Unknown, ...] = ()

    def count(self, severity: Severity) -> int:
        """Return how many incidents were as bad as that at their worst."""
        return sum(each.severity == severity for each in self.incidents)

    def false_pages(self, stated: float) -> FalsePages:
        """Return what the pages of a period without a fault say of false ones.

        Args:
            stated: how many false pages per 90 days are allowed.
        """
        pages = self.count("page")
        seconds = max(self.last - self.first, 1.0)
        quarters = seconds / QUARTER_S
        low = float(stats.chi2.ppf(0.025, 2 * pages)) / 2 if pages else 0.0
        high = float(stats.chi2.ppf(0.975, 2 * (pages + 1))) / 2
        return FalsePages(
            pages, seconds / 86_400, pages / quarters, low / quarters, high / quarters, stated
        )
