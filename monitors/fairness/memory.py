"""Counts of the past at moments that grow rarer with their age: so many lookbacks cost little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from monitors.windows.ageing import kept


class Lookback(NamedTuple):
    """What was counted since a moment.

    Attributes:
        windows: how many have closed since.
        since: seconds since the epoch when it began.
        counts: [groups, columns].
    """

    windows: int
    since: float
    counts: np.ndarray


class _Moment(NamedTuple):
    number: int
    time: float
    counts: np.ndarray
    labelled: int = -1
    """Rows with smaller positions had been counted; -1: not known."""


class Memory:
    """Moments at which windows closed, with what had been counted until then.

    `kept` says which are remembered.
    """

    def __init__(self) -> None:
        self._moments: list[_Moment] = []
        self._number = 0

    @property
    def windows(self) -> int:
        """How many windows have closed."""
        return self._number

    def begin(self, time: float, columns: int) -> None:
        """Take note when the first window begins, before anything is counted.

        Later calls do nothing.

        Args:
            time: seconds since the epoch.
            columns: of the counts.
        """
        if not self._moments:
            self._moments.append(_Moment(0, time, np.zeros((0, columns))))

    def close(self, time: float, counts: np.ndarray, labelled: int = -1) -> None:
        """Take note that a window has closed.

        Args:
            time: its last event time, seconds since the epoch.
            counts: all that was counted until now, [groups, columns].
            labelled: labelled rows with smaller positions are in it.
        """
        self._number += 1
        self._moments.append(_Moment(self._number, time, counts.copy(), labelled))
        self._moments = [each for each in self._moments if kept(each.number, self._number)]

    def revise(
        self,
        codes: np.ndarray,
        column: np.ndarray,
        amount: float,
        positions: np.ndarray,
        groups: int,
    ) -> None:
        """Change what had been counted at each moment by rows that were in it.

        Args:
            codes, column, amount: see `GroupTable.add`.
            positions: see `Rows.positions`.
            groups: how many there are now.
        """
        counted = (codes >= 0) & (column >= 0) & (positions >= 0)
        for at, moment in enumerate(self._moments):
            then = counted & (positions < moment.labelled)
            if then.any():
                counts = np.pad(moment.counts, ((0, groups - len(moment.counts)), (0, 0)))
                np.add.at(counts, (codes[then], column[then]), amount)
                self._moments[at] = moment._replace(counts=counts)

    def closed(self, groups: int) -> np.ndarray:
        """Return what had been counted when the last window closed, [groups, columns]."""
        last = self._moments[-1].counts
        return np.pad(last, ((0, groups - len(last)), (0, 0)))

    def open(self, counts: np.ndarray) -> np.ndarray:
        """Return what was counted since the last moment, [groups, columns]."""
        last = self._moments[-1].counts if self._moments else counts[:0]
        since = counts.copy()
        since[: len(last)] -= last
        opened: np.ndarray = np.maximum(since, 0)
        return opened

    def lookbacks(self, counts: np.ndarray) -> list[Lookback]:
        """Return what was counted since each moment but the last, the shortest first.

        Args:
            counts: all that was counted until now; groups may have come since.
        """
        found = []
        for moment in reversed(self._moments):
            if moment.number == self._number:
                continue
            known = len(moment.counts)
            since = counts.copy()
            since[:known] -= moment.counts
            # A corrected label moves a row that an earlier window had counted.
            np.maximum(since, 0, out=since)
            found.append(Lookback(self._number - moment.number, moment.time, since))
        return found

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        moments = [
            [each.number, each.time, each.counts.tolist(), each.labelled] for each in self._moments
        ]
        return {"number": self._number, "moments": moments}

    def restore(self, state: dict[str, Any], columns: int) -> None:
        """Go on from what `state` returned."""
        self._number = int(state["number"])
        self._moments = [
            _Moment(int(number), float(time), _array(counts, columns), *map(int, labelled))
            for number, time, counts, *labelled in state["moments"]
        ]


def _array(counts: Sequence[Sequence[float]], columns: int) -> np.ndarray:
    return np.array(counts, dtype=np.float64).reshape(-1, columns)
