"""The mean loss of many rows from estimates of all of them and labels of a few."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

_GRID: Final = np.linspace(0, 1, 1001)
_BET: Final = 0.5
"""Share of the capital that is staked at most."""


class Interval(NamedTuple):
    """A mean loss of a pool.

    Attributes:
        value: prediction-powered estimate.
        low, high: of the confidence sequence.
        labels: that it rests on.
    """

    value: float
    low: float
    high: float
    labels: int


class PredictionPoweredMean:
    """A confidence sequence of the mean loss of a pool of rows, of which some get labels.

    An estimate of the loss is known of every row of the pool (the proxy). Labels correct it: the
    rectifier is the mean of loss - proxy of the rows with a label. How much the proxy counts is
    learnt from earlier labels, so that a useless proxy costs nothing. The interval holds at all
    times at once, whatever the proxies are worth, provided that rows with a label are drawn from
    the pool at random and without replacement: not those that look worst.

    Sources: Angelopoulos et al. (2023), arXiv:2301.09633 (prediction-powered inference);
    arXiv:2311.01453 (its tuning); Zhang et al. (2026), arXiv:2602.02229 (risk monitoring);
    Waudby-Smith and Ramdas, arXiv:2010.09686 (betting; sections 4 and 5 of sampling without
    replacement).

    Args:
        proxies: estimated losses of all rows of the pool, [n], in [0, 1].
        alpha: probability that the mean is ever outside the interval; half of it on either side.

    Raises:
        ValueError: the pool is empty, a proxy is outside [0, 1], or alpha out of range.
    """

    def __init__(self, proxies: np.ndarray, alpha: float = 0.05) -> None:
        if not len(proxies):
            raise ValueError("proxies are empty; the pool needs at least one row")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha:g}; it must be between 0 and 1")
        _check_unit("proxies", proxies)
        self._rows, self._alpha = len(proxies), alpha
        self._sum = float(proxies.sum())
        self._mean = self._sum / self._rows
        self._wealth = np.zeros((2, len(_GRID)))
        self._best = np.zeros((2, len(_GRID)))
        self._losses: list[float] = []
        self._proxies: list[float] = []
        self._seen_loss = self._seen_proxy = 0.0
        self._deviations = 0.25

    def add(self, losses: np.ndarray, proxies: np.ndarray) -> None:
        """Take note of rows of the pool whose labels have come.

        Args:
            losses: of the rows, [m], in [0, 1].
            proxies: of the same rows, as they are in the pool, [m].

        Raises:
            ValueError: a value is outside [0, 1], lengths differ, or there are more labels than
                rows.
        """
        if np.shape(losses) != np.shape(proxies):
            raise ValueError(
                f"losses have shape {list(np.shape(losses))} and proxies "
                f"{list(np.shape(proxies))}; they must be alike"
            )
        _check_unit("losses", losses)
        _check_unit("proxies", proxies)
        if len(self._losses) + len(losses) > self._rows:
            raise ValueError(f"losses are of more rows than the pool's {self._rows}")
        for loss, proxy in zip(losses.tolist(), proxies.tolist(), strict=True):
            self._add(loss, proxy)

    def interval(self) -> Interval:
        """Return the estimate with the confidence sequence; [0, 1] without a label."""
        count = len(self._losses)
        share = self._share()
        value = self._mean
        if count:
            rectifier = (self._seen_loss - share * self._seen_proxy) / count
            value = share * self._mean + rectifier
        limit = math.log(2 / self._alpha)
        # Capital of a bet on a larger mean falls with the mean that is tested, and the other way
        # round; a bound is the last point of the grid that is refuted.
        below, above = self._best[0] >= limit, self._best[1] >= limit
        low = float(_GRID[below].max()) if below.any() else 0.0
        high = float(_GRID[above].min()) if above.any() else 1.0
        # What is known of the rows with labels bounds the mean of the pool as well.
        low = max(low, self._seen_loss / self._rows)
        high = min(high, 1 - (count - self._seen_loss) / self._rows)
        return Interval(min(max(value, low), high), low, high, count)

    def _share(self) -> float:
        """Return how much of the proxy is used, in [0, 1], from the labels so far."""
        if len(self._losses) < 10:
            return 1.0
        proxies, losses = np.array(self._proxies), np.array(self._losses)
        variance = float(proxies.var())
        if variance < 1e-12:
            return 0.0
        centred = (proxies - proxies.mean()) * (losses - losses.mean())
        return min(max(float(centred.mean()) / variance, 0.0), 1.0)

    def _add(self, loss: float, proxy: float) -> None:
        count = len(self._losses)
        left, share = self._rows - count, self._share()
        # Of the rows that are left the mean is known up to that of the pool.
        mean = np.clip((self._rows * _GRID - self._seen_loss) / left, 0.0, 1.0)
        proxies_left = (self._sum - self._seen_proxy) / left
        value = share * (proxies_left - proxy) + loss
        least, most = share * (proxies_left - 1), share * proxies_left + 1
        variance = self._deviations / (count + 1)
        stake = math.sqrt(
            2 * math.log(2 / self._alpha) / (variance * (count + 1) * math.log(count + 2))
        )
        up = np.minimum(stake, _BET / np.maximum(mean - least, 1e-9))
        down = np.minimum(stake, _BET / np.maximum(most - mean, 1e-9))
        self._wealth[0] += np.log1p(up * (value - mean))
        self._wealth[1] += np.log1p(-down * (value - mean))
        np.maximum(self._best, self._wealth, out=self._best)
        self._losses.append(loss)
        self._proxies.append(proxy)
        self._seen_loss += loss
        self._seen_proxy += proxy
        centre = share * self._mean + (self._seen_loss - share * self._seen_proxy) / (count + 1)
        self._deviations += (value - centre) ** 2


def _check_unit(name: str, values: np.ndarray) -> None:
    if values.ndim != 1 or not (
        np.isfinite(values).all() and ((values >= 0) & (values <= 1)).all()
    ):
        raise ValueError(f"{name} must be numbers [n] from 0 to 1, without NaN")
