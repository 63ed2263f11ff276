"""The books over every process's series: totals never go backwards when a process dies."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from serving.telemetry.aggregate import (
    SeriesKey,
    is_cumulative,
    less,
    merge,
    series_key,
    went_back,
)
from serving.telemetry.metrics.process import PROCESS_START_TIME
from serving.telemetry.series import Series

CLOCK_S: Final = 2.0
"""A process that began less than this before the counting is taken for one that began after it:
the kernel tells the machine's start in whole seconds, and processes' starts relative to it."""
MAX_DEPARTED: Final = 256
"""Dead members whose last report is kept apart, in case the same process comes back."""


class FleetTotals:
    """Latest series by member, and what the dead have left behind.

    A member is a unique id and a process. When it leaves, its sums and histograms stay and its
    gauges vanish. If the *same* process returns (only its connection broke), its new report
    replaces the old one; if it is a new process, the old report goes into the retired base and
    counting continues on top of it.

    A member that outlives its processes leaves out what the process before had noted as told. That
    may have died with it, between the note and its way here; so the new one says what was noted,
    and what never came is added.

    Args:
        since: when this counting begins, Unix seconds; see `inherited`.
    """

    def __init__(self, since: float = 0.0) -> None:
        self._since = since
        self._inherited: dict[str, tuple[Series, ...]] = {}
        self._live: dict[str, tuple[Series, ...]] = {}
        self._departed: dict[str, tuple[int, tuple[Series, ...]]] = {}
        self._base: list[Series] = []
        self._carried: dict[str, tuple[tuple[Series, ...], tuple[Series, ...]]] = {}
        """What those who outlive their processes had told before, and what the last one told."""

    def join(self, member: str, pid: int) -> bool:
        """Note that `member` registered; returns whether it is a new process of a known id."""
        known = self._departed.get(member)
        if known is None or known[0] == pid:
            return False
        self._retire(member)
        return True

    def report(
        self,
        member: str,
        series: tuple[Series, ...],
        told_before: tuple[Series, ...] | None = None,
    ) -> bool:
        """Replace the series of a live member.

        Args:
            member: who reports.
            series: all its series.
            told_before: what the processes before this one had noted as told, if it says so now.

        Returns:
            Whether the numbers show a new process although the pid did not (containers like to
            start with the same pid).
        """
        reborn = False
        first = member not in self._live and member not in self._departed
        if first and member not in self._inherited and _began(series) < self._since - CLOCK_S:
            self._inherited[member] = tuple(item for item in series if is_cumulative(item))
        if member in self._departed:
            reborn = _contradicts(self._departed[member][1], series) or (
                told_before is not None
                and member in self._carried
                and told_before != self._carried[member][0]
            )
            if reborn:
                self._retire(member)
            else:
                del self._departed[member]
        self._live[member] = series
        if told_before is not None:
            self._make_up(member, told_before)
        if member in self._carried:
            self._carried[member] = self._carried[member][0], series
        return reborn

    def _make_up(self, member: str, told_before: tuple[Series, ...]) -> None:
        """Count what a process before this one had noted as told and what has not come here."""
        if member in self._carried:  # else it was told to a control plane before this one
            before, last = self._carried[member]
            came = {series_key(item): item for item in merge([*before, *last])}
            lost = (less(item, came.get(series_key(item))) for item in told_before)
            self._base = merge(
                [*self._base, *(one for one in lost if one.value or any(one.counts))]
            )
        self._carried[member] = told_before, ()

    def leave(self, member: str, pid: int) -> None:
        """Note that `member` is gone."""
        left = tuple(item for item in self._live.pop(member, ()) if is_cumulative(item))
        # One that leaves again before its first report must not wipe out what it left before.
        if left or member not in self._departed:
            self._departed[member] = (pid, left)
        if len(self._departed) > MAX_DEPARTED:
            self._retire(next(iter(self._departed)))

    def aggregate(self, more: Iterable[Series] = ()) -> list[Series]:
        """Return one series per name and attributes over everybody, dead or alive."""
        everything = list(self._base)
        for _pid, left in self._departed.values():
            everything += left
        for series in self._live.values():
            everything += series
        everything += more
        return merge(everything)

    def inherited(self) -> list[Series]:
        """Return what members had counted before they reported here for the first time.

        They are older than this counting: the control plane that they had reported to is gone,
        and what it counted is in these totals once more.
        """
        return merge(item for series in self._inherited.values() for item in series)

    def _retire(self, member: str) -> None:
        _pid, left = self._departed.pop(member)
        self._base = merge([*self._base, *left])


def _began(series: tuple[Series, ...]) -> float:
    """Return when the process began that reports these, Unix seconds; now, if it does not say."""
    starts = (item.value for item in series if item.name == PROCESS_START_TIME.name)
    return min((start for start in starts if start), default=inf)


def _contradicts(old: tuple[Series, ...], new: tuple[Series, ...]) -> bool:
    now: dict[SeriesKey, Series] = {series_key(item): item for item in new}
    for item in old:
        current = now.get(series_key(item))
        if current is None or went_back(item, current):
            return True
    return False
