"""What the monitor watches of a model, how strictly, and what it can see, as JSON for clients.

Kind `monitors` (gateway to monitor): `MonitorsMeta`, answered with a `WatchedModel` as JSON in
bytes.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

MONITORS: Final = "monitors"


class MonitorsMeta(msgspec.Struct, array_like=True, frozen=True):
    """Asks what is watched of a model; an empty version means all of them."""

    model: str
    version: str = ""


class Sight(msgspec.Struct, frozen=True):
    """The smallest lasting change that is found within a time with a probability of 90 %.

    Attributes:
        within_s: seconds since it began.
        change: in the item's unit; None: none is sure to be found.
    """

    within_s: float
    change: float | None


class Needed(msgspec.Struct, frozen=True):
    """What it takes to show a difference that matters; see `monitors.watched.Gap`."""

    gap: float
    rows: float
    seconds: float | None


class WatchedItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is watched; see `monitors.watched.Item`."""

    metric: str
    subject: str
    segment: str
    statistic: str
    severity: Literal["info", "ticket", "page"]
    threshold: float | None
    not_judged: str
    level: float | None
    false_alarms_per_quarter: float | None
    factor: float | None
    basis: str
    unit: str
    sees: tuple[Sight, ...]
    needs: Needed | None


class WatchedMonitor(msgspec.Struct, frozen=True, kw_only=True):
    """One monitor of one version; see `monitors.watched.Watched`.

    Attributes:
        title: what people call what it judges.
        filled: rows in the window that is open.
    """

    version: str
    monitor: str
    title: str
    reference: str
    counts: str
    window: int
    window_s: float | None
    interval_s: float | None
    filled: int
    false_alarms_per_quarter: float | None
    streams: int
    items: tuple[WatchedItem, ...]
    not_watched: tuple[str, ...]


class WatchedModel(msgspec.Struct, frozen=True):
    """All that is watched of a model.

    Attributes:
        false_pages_per_quarter: the one number from which all levels follow.
        not_watched: what is not, and why; a sentence each.
    """

    model: str
    false_pages_per_quarter: float
    monitors: tuple[WatchedMonitor, ...]
    not_watched: tuple[str, ...]
