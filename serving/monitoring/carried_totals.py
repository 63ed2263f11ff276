"""Counts of a monitor over its processes: what a restart counts again is told only once.

The control plane adds up what processes have told. One that was killed had told a part of what
its successor takes in again; the successor leaves that part out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from serving.telemetry.series import Series

Key = tuple[str, tuple[tuple[str, str], ...]]
Totals = dict[Key, float]


class Total(msgspec.Struct, array_like=True, frozen=True):
    """A sum over all processes so far."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    value: float


class CarriedTotals:
    """What sums were before this process, and what of that was told."""

    def __init__(self) -> None:
        self._before: Totals = {}
        self._told_before: Totals = {}
        self._told: Totals = {}

    def to_tell(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """Return series with the sums that this process has to tell.

        Args:
            series: as this process has counted them, what it took in again among them.
        """
        made = []
        known = set()
        for each in series:
            if each.kind == "sum":
                known.add(_key(each))
                each = msgspec.structs.replace(each, value=self._value(_key(each), each.value))
            made.append(each)
        return tuple(made)

    def _value(self, key: Key, counted: float) -> float:
        return max(self._before.get(key, 0.0) + counted - self._told_before.get(key, 0.0), 0.0)

    def over_all(self, series: Iterable[Series]) -> list[Total]:
        """Return the sums over all processes so far, of those that this one has."""
        now = self._now(series)
        return [Total(*key, value) for key, value in now.items()]

    def tell(self, series: Iterable[Series]) -> list[Total]:
        """Take note that the sums are told; returns them over all processes, empty: as before."""
        now = self._now(series)
        if now == self._told:
            return []
        self._told = now
        return [Total(*key, value) for key, value in now.items()]

    def _now(self, series: Iterable[Series]) -> Totals:
        counted = {_key(each): each.value for each in series if each.kind == "sum"}
        keys = {**self._before, **counted}
        return {key: self._before.get(key, 0.0) + counted.get(key, 0.0) for key in keys}

    def told(self, totals: Iterable[Total]) -> None:
        """Take note of what a process before this one has told."""
        self._told_before = {(each.name, each.attributes): each.value for each in totals}
        self._told = dict(self._told_before)

    def state(self, series: Iterable[Series]) -> dict[str, Any]:
        """Return what a restart must know, as JSON-serialisable values."""
        told = [Total(*key, value) for key, value in self._told.items()]
        plain: dict[str, Any] = msgspec.to_builtins(
            {"counted": self.over_all(series), "told": told}
        )
        return plain

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        counted = msgspec.convert(state["counted"], list[Total])
        self._before = {(each.name, each.attributes): each.value for each in counted}
        self.told(msgspec.convert(state["told"], list[Total]))


def _key(series: Series) -> Key:
    return series.name, series.attributes
