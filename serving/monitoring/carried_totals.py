"""Counts of a monitor over its processes: what a restart counts again is told only once.

The control plane adds up what processes have told. One that was killed had told a part of what
its successor takes in again; the successor leaves that part out. What it had noted as told and
what never arrived, the control plane makes up for (`FleetTotals`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from serving.telemetry.aggregate import SeriesKey, less, merge, series_key
from serving.telemetry.series import Series

Totals = dict[SeriesKey, Series]


class CarriedTotals:
    """What sums and histograms were before this process, and what of that was told."""

    def __init__(self) -> None:
        self._before: Totals = {}
        self._told_before: Totals = {}
        self._told: Totals = {}

    def to_tell(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """Return series as this process has to tell them.

        Args:
            series: as this process has counted them, what it took in again among them.
        """
        return self._beside_told_before(series, self._over_all(series))

    def told_already(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """Return the same series with no more than what is noted as told."""
        return self._beside_told_before(series, dict(self._told))

    def _beside_told_before(self, series: Sequence[Series], over_all: Totals) -> tuple[Series, ...]:
        made = []
        for each in series:
            now = over_all.pop(series_key(each), None)
            if now is not None:
                made.append(self._untold(now))
            elif each.kind == "gauge":
                made.append(each)
        # Of versions that are not served any more there may be something that was never told.
        others = (self._untold(now) for now in over_all.values())
        return (*made, *(each for each in others if each.value or any(each.counts)))

    def _untold(self, now: Series) -> Series:
        return less(now, self._told_before.get(series_key(now)))

    def _over_all(self, series: Iterable[Series]) -> Totals:
        """Return what all processes so far have counted."""
        counted = (each for each in series if each.kind != "gauge")
        return _by_key(merge([*self._before.values(), *counted]))

    def tell(self, series: Iterable[Series]) -> list[Series]:
        """Take note that series are told; returns those that have changed, over all processes."""
        now = self._over_all(series)
        changed = [each for key, each in now.items() if self._told.get(key) != each]
        self._told = now
        return changed

    def told(self, totals: Iterable[Series]) -> None:
        """Take note of what a process before this one has told."""
        self._told_before.update(_by_key(totals))
        self._told = dict(self._told_before)

    @property
    def told_before(self) -> tuple[Series, ...]:
        """What the processes before this one have told together."""
        return tuple(self._told_before.values())

    def state(self, series: Iterable[Series]) -> dict[str, Any]:
        """Return what a restart must know, as JSON-serialisable values."""
        counted, told = self._over_all(series).values(), self._told.values()
        plain: dict[str, Any] = msgspec.to_builtins({"series": [*counted], "told_series": [*told]})
        return plain

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            KeyError, ValueError: it did not return this.
        """
        if "series" not in state:  # it knew of sums alone, and its histograms cannot be told apart
            return
        self._before = _by_key(msgspec.convert(state["series"], list[Series]))
        self._told_before = {}
        self.told(msgspec.convert(state["told_series"], list[Series]))


def _by_key(series: Iterable[Series]) -> Totals:
    return {series_key(each): each for each in series}
