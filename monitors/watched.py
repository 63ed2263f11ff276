"""What a monitor watches, how strictly, and what it can see: how far its silence can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from monitors.finding import Severity

HORIZONS: Final = (3600.0, 86400.0, 7 * 86400.0)
"""An hour, a day, a week, in seconds: times within which changes are to be seen."""

Unit = Literal["sd", "share", "correlation", "metric", ""]
"""What shifts are stated in: standard deviations of a row, a share of rows, the correlation of one
pair of columns, or the metric itself."""


class Gap(NamedTuple):
    """How much it takes to see a difference that matters.

    Attributes:
        gap: beyond the threshold, in the metric's own unit.
        rows: that are needed to show it with 90 % power.
        seconds: how long that many take at the present rate; None: nobody knows the rate.
    """

    gap: float
    rows: float
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that a monitor watches.

    Attributes:
        metric, subject, segment: as in its findings.
        statistic: what of the subject is watched; empty: the metric itself.
        severity: what a breach is worth, at least.
        threshold: what the metric is compared with; None: a test decides.
        not_judged: why it has no verdict; empty: it has one.
        level: probability with which one look of one window alarms by chance; None: chance has no
            part in it, or there is no verdict.
        false_alarms: expected in 90 days by chance, at most; None as `level`.
        factor: how many times as much windows vary as independent rows would; None: not known yet.
        basis: what that is known from.
        unit: what `sees` is in.
        sees: smallest lasting change that is found with a probability of 90 %, by the seconds since
            it began. A time within which nothing is found for sure is missing.
        needs: what a difference that matters needs; None where that cannot be said.
    """

    metric: str
    subject: str = ""
    segment: str = ""
    statistic: str = ""
    severity: Severity = "info"
    threshold: float | None = None
    not_judged: str = ""
    level: float | None = None
    false_alarms: float | None = None
    factor: float | None = None
    basis: str = ""
    unit: Unit = ""
    sees: Mapping[float, float] = field(default_factory=dict)
    needs: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one monitor watches.

    Attributes:
        items: all of it.
        reference: what windows are compared with, in words.
        counts: what windows are made of: `rows`, or `labelled rows`.
        window: rows of a window.
        window_s: seconds after which one ends with fewer rows; None: never.
        interval_s: seconds from one window to the next, lately; None: not known yet.
        false_alarms: expected in 90 days by chance from all items together, at most; None: chance
            has no part in it.
        streams: statistics that share them.
        not_watched: what is not, and why; a sentence each.
    """

    items: tuple[Item, ...]
    reference: str
    window: int
    window_s: float | None = None
    interval_s: float | None = None
    counts: Literal["rows", "labelled rows"] = "rows"
    false_alarms: float | None = None
    streams: int = 0
    not_watched: tuple[str, ...] = ()
