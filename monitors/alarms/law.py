"""The law of alarms: which of many streams differ from what is normal, under one error budget."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy.special import ndtr, ndtri

from monitors.alarms.cell import Cell
from monitors.alarms.decisions import Decisions
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.standardized import Array, standardized

QUARTER: Final = 90 * 86400.0
"""Seconds of the period that error budgets are stated for."""

INDEPENDENT: Final = "independent rows"


class StreamLaw:
    """Decides for k streams, window by window, whether they differ from their reference.

    Not thread-safe. Its memory does not grow with the stream.

    Args:
        streams: how many statistics each cell has, k.
        reference: what is normal at first.
        rate: expected number of false alarms per 90 days, of all streams together.
        interval: seconds between two cells, until enough of them came to measure it.

    Raises:
        ValueError: the reference has another number of streams, or rate or interval is not
            positive.
    """

    def __init__(
        self, streams: int, reference: ReferenceMoments, rate: float, *, interval: float = 600.0
    ) -> None:
        if reference.streams != streams:
            raise ValueError(
                f"the reference has {reference.streams} statistics and the law {streams} streams"
            )
        if not rate > 0 or not interval > 0:
            raise ValueError("rate and interval of a law must be positive")
        self.streams = streams
        self.rate = rate
        self.interval = interval
        self._reference = reference
        share = reference.mean * (1 - reference.mean)
        self._shares = np.abs(reference.variance - share) < 1e-6 * share + 1e-9
        self._alarm = np.zeros(streams, bool)
        self._since = np.full(streams, np.nan)
        self._basis = (INDEPENDENT,) * streams

    @property
    def level(self) -> float:
        """Share of the budget for one stream and look: what a p-value is held against."""
        looks = max(QUARTER / self.interval, 1.0)
        return min(self.rate / (looks * self.streams), 0.05)

    def observe(self, cell: Cell, now: float) -> Decisions:
        """Take in the next cell and decide.

        Args:
            cell: the next window of the streams; cells must come in the order of their times.
            now: seconds since the epoch.

        Raises:
            ValueError: the cell has another number of streams.
        """
        if cell.streams != self.streams:
            raise ValueError(f"the cell has {cell.streams} statistics and the law {self.streams}")
        reference = self._reference
        defined = cell.counts > 0
        value = np.where(defined, cell.sums / np.maximum(cell.counts, 1), np.nan)
        sd = np.sqrt(_row_variance(reference) * self._weights(cell))
        effect = value - reference.mean
        z = standardized(value, reference.mean, sd, self._shares)
        p = np.where(defined, 2 * ndtr(-np.abs(z)), 1.0)
        self._alarm = defined & (p < self.level)
        self._since = np.where(self._alarm, np.fmin(self._since, cell.first), np.nan)
        reach = -ndtri(0.025) * sd
        return Decisions(
            value=value,
            effect=effect,
            low=effect - reach,
            high=effect + reach,
            p=p,
            level=self.level,
            alarm=self._alarm.copy(),
            since=self._since.copy(),
            scale=np.ones(self.streams, np.int64),
            factor=np.ones(self.streams),
            basis=self._basis,
        )

    def _weights(self, cell: Cell) -> Array:
        weights: Array = 1 / np.maximum(cell.counts, 1) + 1 / np.maximum(self._reference.n, 1)
        return weights

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "streams": self.streams,
            "alarm": self._alarm.tolist(),
            "since": [None if np.isnan(since) else since for since in self._since.tolist()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: the state is of another law; then nothing was taken.
        """
        if state["streams"] != self.streams:
            raise ValueError("the state is of a law with another number of streams")
        alarm = np.array(state["alarm"], bool)
        since = np.array([np.nan if at is None else at for at in state["since"]], float)
        if alarm.shape != since.shape or alarm.shape != (self.streams,):
            raise ValueError("the state of a law must have one entry per stream")
        self._alarm, self._since = alarm, since


def _row_variance(reference: ReferenceMoments) -> Array:
    """Variance of a row [k]; of a constant, what rows that were not seen yet leave open."""
    open_share = 1 / (reference.n + 2)
    floor: Array = np.maximum(reference.mean**2, 1.0) * open_share * (1 - open_share)
    return np.maximum(reference.variance, floor)
