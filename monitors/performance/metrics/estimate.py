"""A metric of counts: its value, how sure it is, and bounds that hold at any level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from scipy.special import stdtrit

from monitors.statistics.clopper_pearson import clopper_pearson


class Level(NamedTuple):
    """How sure bounds have to be.

    Attributes:
        alpha: probability with which each bound may be wrong, [m].
        factor: variance of the counts over that of independent rows, 1 or more, [m].
    """

    alpha: np.ndarray
    factor: np.ndarray


class Estimate(NamedTuple):
    """A metric over m lookbacks; NaN where there is nothing to measure.

    Attributes:
        value: as scikit-learn defines it, [m].
        error: standard error if rows are independent, [m].
        low, high: bounds, [m].
        rows: that it is of, [m].
    """

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray


class Outcomes(NamedTuple):
    """What n labelled rows are measured by; see `Rows`."""

    predicted: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None

    def some(self, which: np.ndarray | slice) -> Outcomes:
        """Return some of the rows."""
        scores = None if self.scores is None else self.scores[which]
        return Outcomes(self.predicted[which], self.labels[which], scores)


class Counts(Protocol):
    """What is added up of labelled rows, as one vector."""

    @property
    def columns(self) -> int:
        """Length of the vector."""

    @property
    def signature(self) -> list[Any]:
        """Tells it from counts of other things; JSON values."""

    def add(self, sums: np.ndarray, outcomes: Outcomes, amount: float = 1.0) -> None:
        """Count rows in a vector, one after the other: batches do not matter.

        Args:
            sums: float64 [columns]; changed.
            outcomes: of the rows.
            amount: -1 takes rows away.
        """

    def state(self) -> list[Any]:
        """Return what counting has learnt of the first rows, as JSON values."""

    def restore(self, state: list[Any]) -> None:
        """Go on from what `state` returned."""


def _nothing(counts: np.ndarray) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of counts.

    Attributes:
        name: as findings have it.
        direction: on which side of a threshold it is bad.
        of: takes counts [m, columns] and a level.
        why: takes counts [columns] of which there is no value; says why in a few words.
        more: takes counts [columns]; returns evidence as JSON values.
        share: whether it is a share of rows.
    """

    name: str
    direction: Literal["above", "below"]
    of: Callable[[np.ndarray, Level], Estimate]
    why: Callable[[np.ndarray], str]
    more: Callable[[np.ndarray], Mapping[str, Any]] = field(default=_nothing)
    share: bool = False


def proportion(hits: np.ndarray, rows: np.ndarray, level: Level) -> Estimate:
    """Return the share of hits with exact bounds, [m]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / rows
        error = np.sqrt(share * (1 - share) / rows)
    low, high = clopper_pearson(hits / level.factor, rows / level.factor, level.alpha)
    return Estimate(share, error, low, high, rows)


def bounds_of_share(
    share: np.ndarray, rows: np.ndarray, level: Level
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of a figure that is as sure as a share of so many rows, [...]."""
    known = np.where(np.isnan(share), 0.0, np.clip(share, 0, 1))
    size = np.where(np.isnan(share), 0.0, rows) / _as(level.factor, known)
    return clopper_pearson(known * size, size, _as(level.alpha, known))


def mean(total: np.ndarray, squares: np.ndarray, rows: np.ndarray, level: Level) -> Estimate:
    """Return the mean of numbers with bounds by Student's t.

    Scores that are bounded or skewed on their bad side make the bound of that side raise fewer
    false alarms than `alpha`, not more: errors are skewed to the right and judged for being too
    large, ranks are skewed to the left and judged for being too small.

    Args:
        total, squares: sums of the numbers, and of their squares, [m].
        rows: how many there are, [m].
        level: of the bounds.
    """
    with np.errstate(all="ignore"):
        average = total / rows
        variance = np.maximum(squares - average * total, 0.0) / (rows - 1)
        # What is left of numbers that are all alike is rounding.
        variance = np.where(variance <= 1e-13 * squares / rows, 0.0, variance)
        error = np.sqrt(variance / rows)
        freedom = np.maximum(rows / level.factor - 1, 1.0)
        reach = -stdtrit(freedom, level.alpha) * error * np.sqrt(level.factor)
    few = rows < 2
    average, reach = np.where(few, np.nan, average), np.where(few, np.nan, reach)
    return Estimate(average, error, average - reach, average + reach, rows)


def root(of: Estimate) -> Estimate:
    """Return the square root of a mean."""
    with np.errstate(all="ignore"):
        value, low, high = (np.sqrt(np.maximum(x, 0.0)) for x in (of.value, of.low, of.high))
        error = np.where(value > 0, of.error / (2 * value), 0.0)
    return Estimate(value, error, low, high, of.rows)


def averaged(value: np.ndarray, error: np.ndarray, low: np.ndarray, high: np.ndarray,
             rows: np.ndarray) -> Estimate:  # fmt: skip
    """Return the mean over classes or outputs, [m], of figures [m, k]; NaN: there is none.

    They may depend on each other in any way: their errors are added up, not their squares, and the
    bounds of the mean are the means of the bounds.

    Args:
        value, error, low, high: of each, [m, k].
        rows: of the mean, [m].
    """
    there = ~np.isnan(value)
    count = there.sum(axis=-1)

    def over_all(each: np.ndarray) -> np.ndarray:
        mean: np.ndarray = np.where(there, each, 0.0).sum(axis=-1) / count
        return mean

    with np.errstate(divide="ignore", invalid="ignore"):
        return Estimate(over_all(value), over_all(error), over_all(low), over_all(high), rows)


def _as(of_lookbacks: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return [m] so that it broadcasts with [m, ...]."""
    return np.asarray(of_lookbacks).reshape(-1, *[1] * (like.ndim - 1))
