"""Streams of window means whose dependence is known exactly, and what an oracle makes of it.

A window is ten minutes. Means are in standard deviations of a row. Streams are simulated at the
level of windows: exact, because a law of alarms sees nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats
from scipy.signal import lfilter

Array = npt.NDArray[np.float64]

DAY: Final = 144
"""Windows of a day."""

ROWS: Final = 1000
"""Rows of a window, where traffic does not grow."""

_PAST: Final = 3 * DAY
"""Windows before the change that the oracle looks at, too."""

Means = Callable[[np.random.Generator, int, int], Array]
Covariance = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream.

    Attributes:
        name: what the tables call it.
        means: natural variation [windows, k] of (random generator, windows, k), without sampling.
        inflation: how many times the variance of independent rows a window's sampling error has.
        covariance: [m, m] of the natural variation that no season explains, of window numbers [m].
        tail: scale of Student's t with 3 degrees of freedom that every window has besides.
        burst: standard deviation, and share, of windows that have a burst.
        growth: how many times as many rows the last window of 90 days has as the first.
    """

    name: str
    means: Means
    inflation: float = 1.0
    covariance: Covariance | None = None
    tail: float = 0.0
    burst: tuple[float, float] = (0.0, 0.0)
    growth: float = 1.0

    def rows(self, windows: int) -> Array:
        """Return how many rows each window has."""
        return np.rint(ROWS * self.growth ** (np.arange(windows) / (90 * DAY)))

    def draw(self, rng: np.random.Generator, windows: int, k: int) -> Array:
        """Return window means [windows, k]."""
        drawn = self.means(rng, windows, k)
        drawn = (
            drawn
            + rng.normal(0, 1, (windows, k)) * np.sqrt(self.inflation / self.rows(windows))[:, None]
        )
        if self.tail:
            drawn += self.tail * rng.standard_t(3, (windows, k))
        if self.burst[1]:
            drawn += rng.normal(0, self.burst[0], (windows, k)) * (
                rng.random((windows, k)) < self.burst[1]
            )
        return drawn

    def information(self, start: int, windows: int, shift: float) -> Array:
        """Return how much an oracle knows of a shift after 1, 2, ... windows [windows].

        It knows season and level, the natural variation's covariance and the distribution of
        outliers; the square of the most powerful test's noncentrality: its effective sample size
        times the squared shift.
        """
        rows = self.rows(start + windows)[start - _PAST :]
        noise = self.inflation / rows
        if self.tail or self.burst[1]:
            each = np.array([self._divergence(shift, each) for each in np.unique(noise)])
            return np.cumsum(each[np.searchsorted(np.unique(noise), noise[_PAST:])])
        at = np.arange(start - _PAST, start + windows).astype(float)
        covariance = np.diag(noise)
        if self.covariance is not None:
            covariance = covariance + self.covariance(at)
        shifted = np.where(np.arange(len(at)) >= _PAST, shift, 0.0)
        white = linalg.solve_triangular(
            linalg.cholesky(covariance, lower=True), shifted, lower=True
        )
        return np.cumsum(white[_PAST:] ** 2)

    def _divergence(self, shift: float, noise: float) -> float:
        """Return twice the divergence between windows with and without a shift."""
        grid = np.linspace(-6, 6, 24_001)
        step = grid[1] - grid[0]
        density = stats.norm.pdf(grid, 0, np.sqrt(noise))
        if self.tail:
            heavy = stats.t.pdf(grid / self.tail, 3) / self.tail
            density = np.convolve(heavy, density, "same") * step
        if self.burst[1]:
            wide = stats.norm.pdf(grid, 0, np.sqrt(noise + self.burst[0] ** 2))
            density = (1 - self.burst[1]) * density + self.burst[1] * wide
        density = np.maximum(density, 1e-300)
        moved = np.interp(grid - shift, grid, density)
        return float(2 * np.sum(moved * np.log(moved / density)) * step)


def _none(_rng: np.random.Generator, windows: int, k: int) -> Array:
    return np.zeros((windows, k))


def _wave(period: float, low: float, high: float) -> Means:
    def means(rng: np.random.Generator, windows: int, k: int) -> Array:
        amplitude, phase = rng.uniform(low, high, k), rng.uniform(0, 2 * np.pi, k)
        wave: Array = amplitude * np.sin(2 * np.pi * np.arange(windows)[:, None] / period + phase)
        return wave

    return means


def _autoregression(phi: float, sd: float) -> Means:
    def means(rng: np.random.Generator, windows: int, k: int) -> Array:
        steps = rng.normal(0, sd * np.sqrt(1 - phi**2), (windows, k))
        steps[0] /= np.sqrt(1 - phi**2)
        return np.asarray(lfilter([1], [1, -phi], steps, axis=0))

    return means


def _days(sd: float) -> Means:
    def means(rng: np.random.Generator, windows: int, k: int) -> Array:
        return np.repeat(rng.normal(0, sd, (windows // DAY + 1, k)), DAY, axis=0)[:windows]

    return means


def _sum(*parts: Means) -> Means:
    def means(rng: np.random.Generator, windows: int, k: int) -> Array:
        return np.sum([part(rng, windows, k) for part in parts], axis=0)

    return means


def _decaying(phi: float, sd: float) -> Covariance:
    return lambda at: sd**2 * phi ** np.abs(at[:, None] - at)


def _same_day(sd: float) -> Covariance:
    return lambda at: sd**2 * (at[:, None] // DAY == at // DAY)


_HOURS_6: Final = float(np.exp(-1 / 36))

STREAMS: Final = (
    Stream("independent", _none),
    Stream("daily cycle .1-.5 sd", _wave(DAY, 0.1, 0.5)),
    Stream("weekly .1-.5 and daily .1 sd", _sum(_wave(7 * DAY, 0.1, 0.5), _wave(DAY, 0.1, 0.1))),
    Stream("AR(1) .8, rows", _none, inflation=9.0),
    Stream("AR(1) .5, windows, .1 sd", _autoregression(0.5, 0.1), covariance=_decaying(0.5, 0.1)),
    Stream("AR(1) .8, windows, .1 sd", _autoregression(0.8, 0.1), covariance=_decaying(0.8, 0.1)),
    Stream("each row twice", _none, inflation=2.0),
    Stream("each row 3 times", _none, inflation=3.0),
    Stream("each row 5 times", _none, inflation=5.0),
    Stream("bursts: 1 % of windows, .3 sd", _none, burst=(0.3, 0.01)),
    Stream("traffic grows tenfold, rows 3 times", _none, inflation=3.0, growth=10.0),
    Stream("heavy tails: t3, .05 sd", _none, tail=0.05),
    Stream(
        "wander .1 sd, 6 h", _autoregression(_HOURS_6, 0.1), covariance=_decaying(_HOURS_6, 0.1)
    ),
    Stream("day effects .1 sd", _days(0.1), covariance=_same_day(0.1)),
    Stream(
        "daily .3, day .05, wander .05 sd",
        _sum(_wave(DAY, 0.3, 0.3), _days(0.05), _autoregression(_HOURS_6, 0.05)),
        covariance=lambda at: _same_day(0.05)(at) + _decaying(_HOURS_6, 0.05)(at),
    ),
)
