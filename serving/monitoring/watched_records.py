"""What monitors watch, as the records that clients are given."""

from __future__ import annotations

import math
from typing import Final

from monitors.watched import HORIZONS, Item, Watched
from serving.channel.messages.watched import Needed, Sight, WatchedItem, WatchedMonitor

SAYS_NOTHING: Final = "it runs, and does not say what it watches"


def watched_record(
    found: Watched, *, version: str, monitor: str, title: str, filled: int
) -> WatchedMonitor:
    """Return what a monitor watches as it travels; what is no finite number becomes None.

    Args:
        found: what it said.
        version: that it judges.
        monitor, title: its name, and what people call what it judges.
        filled: rows in its window that is open.
    """
    return WatchedMonitor(
        version=version,
        monitor=monitor,
        title=title,
        reference=found.reference,
        counts=found.counts,
        window=found.window,
        window_s=found.window_s,
        interval_s=_number(found.interval_s),
        filled=filled,
        false_alarms_per_quarter=found.false_alarms,
        streams=found.streams,
        items=tuple(map(_item, found.items)),
        not_watched=found.not_watched,
    )


def _item(item: Item) -> WatchedItem:
    needs = item.needs
    return WatchedItem(
        metric=item.metric,
        subject=item.subject,
        segment=item.segment,
        statistic=item.statistic,
        severity=item.severity,
        threshold=_number(item.threshold),
        not_judged=item.not_judged,
        level=_number(item.level),
        false_alarms_per_quarter=_number(item.false_alarms),
        factor=_number(item.factor),
        basis=item.basis,
        unit=item.unit,
        sees=tuple(Sight(within, _number(item.sees.get(within))) for within in HORIZONS)
        if item.unit
        else (),
        needs=needs and Needed(needs.gap, needs.rows, _number(needs.seconds)),
    )


def _number(value: float | None) -> float | None:
    """Return a number with few digits; None where it is no finite one."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")
