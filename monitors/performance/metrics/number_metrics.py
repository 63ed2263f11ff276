"""Metrics of models that answer numbers, as scikit-learn defines them.

Of several numbers a row a metric is the mean over them (`multioutput="uniform_average"`); the root
is taken of the mean squared error over rows and numbers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy.special import ndtri

from monitors.performance.metrics.estimate import (
    Estimate,
    Level,
    Metric,
    Outcomes,
    averaged,
    mean,
    root,
)
from monitors.performance.metrics.sums import add_in_order
from monitors.performance.regression_error import (
    absolute_error,
    quantile_loss,
    squared_error,
)
from monitors.performance.row_scores import numbers

NO_NUMBERS: Final = "too few answers of the window were numbers"
ALIKE: Final = "all labels are alike, so there is no variance to explain"
_MOMENTS: Final = 6
"""Of each number: square and fourth power of its error; first to fourth power of its label."""


class NumberCounts:
    """Sums over rows with numbers, and what can be told of them; see `Counts`.

    Rows whose answer is no number are in no sum; the monitor of quality counts them.

    Args:
        width: numbers a row.
        quantile: that the model answers; None: no quantile loss is measured.
    """

    def __init__(self, width: int, quantile: float | None = None) -> None:
        self._width, self._quantile = width, quantile
        self._moments = slice(7, 7 + _MOMENTS * width)
        self._origin: np.ndarray | None = None
        self.columns = self._moments.stop
        self.signature: list[Any] = ["numbers", width, quantile]
        self.metrics = self._metrics()

    def add(self, sums: np.ndarray, outcomes: Outcomes, amount: float = 1.0) -> None:
        """Count rows; see `Counts`."""
        predicted, labels, _ = outcomes
        known = numbers(np.asarray(predicted, np.float64))
        predicted, labels = predicted[known], np.asarray(labels[known], np.float64)
        if not len(labels):
            return
        sums[0] += amount * len(labels)
        losses = [absolute_error(predicted, labels), squared_error(predicted, labels)]
        if self._quantile is not None:
            losses.append(quantile_loss(predicted, labels, self._quantile))
        self._add_means(sums, losses, amount)
        truth = labels.reshape(len(labels), -1)
        if self._origin is None:
            # Powers of what is left after subtracting one label keep their digits.
            self._origin = truth[0].copy()
        apart, error = truth - self._origin, predicted.reshape(truth.shape) - truth
        with np.errstate(over="ignore"):
            powers = [error**2, error**4, apart, apart**2, apart**3, apart**4]
        add_in_order(sums, self._moments, np.concatenate(powers, axis=1), amount)

    def _add_means(self, sums: np.ndarray, losses: list[np.ndarray], amount: float) -> None:
        for at, loss in enumerate(losses):
            with np.errstate(over="ignore"):
                both = np.stack([loss, loss**2], axis=1)
            add_in_order(sums, slice(1 + 2 * at, 3 + 2 * at), both, amount)

    def _metrics(self) -> tuple[Metric, ...]:
        def of_mean(at: int, name: str) -> Metric:
            def estimate(sums: np.ndarray, level: Level) -> Estimate:
                found = mean(sums[:, at], sums[:, at + 1], sums[:, 0], level)
                return root(found) if name == "rmse" else found

            return Metric(name=name, direction="above", of=estimate, why=_no_numbers)

        found = [of_mean(1, "mae"), of_mean(3, "rmse")]
        if self._quantile is not None:
            found.append(of_mean(5, "quantile_loss"))
        determination = Metric(name="r2", direction="below", of=self._determination, why=self._why)
        return (*found, determination)

    def _determination(self, sums: np.ndarray, level: Level) -> Estimate:
        """Return R²; its bounds are those of a ratio of two means, by the logarithm."""
        rows = sums[:, :1]
        shape = (len(sums), _MOMENTS, self._width)
        with np.errstate(all="ignore"):
            moments = sums[:, self._moments].reshape(shape) / rows[:, :, None]
            squared, fourth, m1, m2, m3, m4 = (moments[:, at] for at in range(_MOMENTS))
            variance = m2 - m1**2
            kurtosis = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
            variance = np.where(variance > 1e-13 * np.maximum(m2, 1e-300), variance, np.nan)
            left = squared / variance
            spread = (
                np.maximum(fourth / squared**2 - 1, 0) + np.maximum(kurtosis / variance**2 - 1, 0)
            ) / rows
            error = np.where(squared > 0, np.sqrt(spread), 0.0)
            reach = np.exp((-ndtri(level.alpha) * np.sqrt(level.factor))[:, None] * error)
            found = averaged(1 - left, left * error, 1 - left * reach, 1 - left / reach, rows[:, 0])
        few = rows[:, 0] < 2
        return found._replace(value=np.where(few, np.nan, found.value))

    def _why(self, sums: np.ndarray) -> str:
        return ALIKE if sums[0] >= 2 else NO_NUMBERS

    def state(self) -> list[Any]:
        """Return the label that others are compared with."""
        return [] if self._origin is None else self._origin.tolist()

    def restore(self, state: list[Any]) -> None:
        """Go on from what `state` returned."""
        self._origin = np.array(state, np.float64) if state else None


def _no_numbers(sums: np.ndarray) -> str:
    return NO_NUMBERS
