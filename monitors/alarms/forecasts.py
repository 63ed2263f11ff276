"""Forecasts of a stream's next windows from its past, and how wrong they were, on each time scale.

A mean over L windows is forecast from averages over the past (the heterogeneous autoregression of
Corsi 2009, "A simple approximate long-memory model of realized volatility", Journal of Financial
Econometrics 7(2)). Independent windows are forecast by their long-run level, a slow wander by where
it is now. The errors' own variance, learnt per scale, decides what is improbable: natural variation
between windows is added to the sampling error, as in Laney (2002), "Improved control charts for
attributes", Quality Engineering 14(4), but never from moving ranges.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitors.alarms.scales import Look, Scales
from monitors.alarms.standardized import Array, Mask
from monitors.alarms.tails import EXCEEDED, Tails

N, SQUARED, SAMPLED, ALL, FOURTH, SECOND, COUNT, LOGS = range(8)
"""Rows of the sums of errors: how many, squared errors, sampling variances; and of standardised
errors, which outlive a change of the season: how many, fourth and second powers, how many exceed
`EXCEEDED`, and the logarithms of these."""

HISTORY, YESTERDAY, TODAY = range(3)

_MEMORY_DAYS: Final = 28.0
_PRIOR_SD: Final = 0.2
"""Of a coefficient, before anything is known."""

_PRIOR_SD_LOCAL: Final = 1.0
"""Of the coefficient that is 1 before anything is known."""

_PRIOR_ERRORS: Final = 4.0
"""Errors that the first guess of the variance counts for."""

_FACTOR_ERRORS: Final = 20.0
"""Errors from which on they say how many times as much windows vary as independent rows do."""

_YOUNG: Final = 432.0
"""Errors below which those of today and yesterday, too, say how heavy tails are."""

_MEASURED: Final = 8.0
"""Errors from which on their variance is a unit for those that follow."""

_TOGETHER: Final = 12
"""Looks that are summed up together."""

_CYCLE: Final = 0.5
"""Amplitude, in standard deviations of a row, of the daily cycle that a stream may have for all
that is known before two days of it."""

_SHORT: Final = 7200.0
"""Seconds of the longest scale on which another day's cycle is expected to be like that of the days
before: a week's has seven times as long for the same swing."""

_SUDDEN: Final = 2
"""Windows of the longest scale that a jump at midnight shows on at once, which a cycle may have."""

_LEAST_CYCLE: Final = 0.3
"""Amplitude that is expected on short scales where days had none."""


class Forecasts:
    """Coefficients and error variances of k streams on every scale. Not thread-safe.

    `between` is the variance [k] from day to day of the mean at one time, beyond that of rows.

    What happens today and happened yesterday is kept apart from the history that forecasts are
    made from: a shift must be told before it counts as normal.

    Args:
        scales: where looks come from.
        streams: k.
        interval: seconds between two windows.
        constant: [k] those always the same: neither cycles nor outliers are expected of them.
    """

    def __init__(self, scales: Scales, streams: int, interval: float, constant: Mask) -> None:
        many, spans = len(scales.lengths), len(scales.spans)
        self._blocks = [
            length / stride for length, stride in zip(scales.lengths, scales.strides, strict=True)
        ]
        self._waiting: list[list[tuple[Array, Array, Array, Array, Array, Mask]]] = [
            [] for _ in scales.lengths
        ]
        self.gram: Array = np.zeros((3, many, spans, spans, streams))
        self.cross: Array = np.zeros((3, many, spans, streams))
        self.errors: Array = np.zeros((3, many, 8, streams))
        # Independent errors of a day on each scale, about.
        self._a_day: Array = 2 * 86400 / (interval * np.array(scales.lengths))
        # Until more is known, a window is expected to be as the hour before it.
        local: Array = np.zeros((many, spans, 1))
        for index, length in enumerate(scales.lengths):
            local[index, next(i for i, s in enumerate(scales.spans) if s >= max(length, 6))] = 1
        self._local = local
        widths = np.array(scales.spans, float)[:, None]
        self._estimated: Array = 1 + np.array(scales.lengths)[:, None] / (local * widths).sum(1)
        self._season_error: Array = np.ones(streams)
        self.known: Mask = np.zeros(streams, bool)
        self.prior_errors: Array = np.full((many, streams), _PRIOR_ERRORS)
        distance = np.array([length / 2 + 3 for length in scales.lengths]) * interval / 86400
        swing = np.minimum(_CYCLE * 2 * np.pi * distance, _CYCLE)[:, None]
        self._cycle: Array = swing**2 * ~constant
        widths_s = np.array(scales.lengths) * interval
        self._short = (widths_s <= _SHORT) & (np.array(scales.lengths) > _SUDDEN)
        self.prior: Array = self._cycle.copy()
        self.prior_factor: Array = np.ones(streams)
        self.between: Array = np.zeros(streams)
        self.coefficients: Array = np.broadcast_to(local, (many, spans, streams)).copy()
        self.excess: Array = self.prior.copy()
        self.factor: Array = np.ones((many, streams))
        # A window may be an outlier; a mean of several bounded ones hardly.
        kurtosis = np.array([9.0, 5.0] + [3.3] * (many - 2))[:, None]
        self._kurtosis: Array = np.where(constant, np.minimum(kurtosis, 3.0), kurtosis)
        self.tails = Tails.of(*np.zeros((5, many, streams)), prior=self._kurtosis)
        self.refresh()

    @property
    def measured(self) -> Array:
        """How many times as much errors vary as those of independent rows [scales, k], at least 1;
        1 until some were seen."""
        return np.where(self._measured, self._own, 1.0)

    def forecast(self, index: int, before: Array) -> Array:
        """Return the expected mean residual [k] of a scale, from averages before [spans, k]."""
        expected: Array = (self.coefficients[index] * before).sum(0)
        return expected

    def variance(self, index: int, sampling: Array) -> Array:
        """Return the variance [k] of the forecast's error, of which rows explain `sampling`.

        Rows of which each is there twice vary twice as much whatever their number is, and a
        wander varies by as much however many rows show it. What was learnt at one traffic is
        taken as either, whichever is more.
        """
        variance: Array = np.maximum(sampling * self.factor[index], sampling + self.excess[index])
        return variance

    def learn(self, look: Look, sampling: Array, error: Array, raw: Array, streams: Mask) -> None:
        """Count how wrong the forecast of a look was; `flush` sums up what was counted.

        Args:
            look: what was forecast.
            sampling: [k] variance of the error if rows were independent.
            error: [k] of the forecast, bounded where it is an outlier.
            raw: [k] the same as it was.
            streams: those to count.
        """
        waiting = self._waiting[look.index]
        waiting.append((look.before, look.mean, sampling, error, raw, streams))
        if len(waiting) >= _TOGETHER:
            self._sum_up(look.index)

    def remember(self, streams: Mask, scale: npt.NDArray[np.int64], told: Array) -> None:
        """Count alarms that ended by themselves as natural variation of the scale [k] they told."""
        at = np.flatnonzero(streams)
        self.errors[HISTORY, scale[at], N, at] += 1
        self.errors[HISTORY, scale[at], SQUARED, at] += told[at] ** 2

    def flush(self) -> None:
        """Sum up all errors that wait for others: many together cost hardly more than one."""
        for index in range(len(self._waiting)):
            self._sum_up(index)

    def _sum_up(self, index: int) -> None:
        if not self._waiting[index]:
            return
        before, mean, sampling, error, raw, streams = map(
            np.array, zip(*self._waiting[index], strict=True)
        )
        self._waiting[index].clear()
        # Looks overlap: those of one scale's length together know about as much as two.
        weight = streams * min(1.0, 2 / self._blocks[index])
        weighted = before * weight[:, None]
        self.gram[TODAY, index] += np.einsum("wfk,wgk->fgk", weighted, before)
        self.cross[TODAY, index] += (weighted * mean[:, None]).sum(0)
        sums = self.errors[TODAY, index]
        sums[N] += weight.sum(0)
        sums[SQUARED] += (weight * error * error).sum(0)
        sums[SAMPLED] += (weight * sampling).sum(0)
        # In units of what errors are by themselves: what is allowed for besides shrinks with time,
        # and would make the first errors small and later ones look like outliers.
        weight = weight * self._measured[index]
        own = np.maximum(self._own[index] * sampling, 1e-300)
        squared = np.minimum(raw * raw / own, 1e6)
        beyond = squared > EXCEEDED**2
        sums[ALL] += weight.sum(0)
        sums[FOURTH] += (weight * squared * squared).sum(0)
        sums[SECOND] += (weight * squared).sum(0)
        if beyond.any():
            sums[COUNT] += (weight * beyond).sum(0)
            logs = np.log(np.maximum(squared, EXCEEDED**2) / EXCEEDED**2) / 2
            sums[LOGS] += (weight * logs).sum(0)

    def drop(self, streams: Mask, yesterday: bool) -> None:
        """Forget what was counted of some streams and is not history yet."""
        self.flush()
        for sums in (self.gram, self.cross, self.errors):
            sums[YESTERDAY if yesterday else TODAY :, ..., streams] = 0

    def turn(self) -> None:
        """End a day: yesterday becomes history."""
        self.flush()
        for sums in (self.gram, self.cross, self.errors):
            sums[HISTORY] *= 1 - 1 / _MEMORY_DAYS
            sums[HISTORY] += sums[YESTERDAY]
            sums[YESTERDAY] = sums[TODAY]
            sums[TODAY] = 0

    def begin(
        self,
        ready: Mask,
        moved: Mask,
        within: Array,
        by_rows: Array,
        days: Array,
        swing: Array,
    ) -> None:
        """Let some streams' history count, and what their same times of day differ by.

        Args:
            ready: those whose days are known.
            moved: those whose season changed: errors without it say nothing any more.
            within: [k] variance from day to day, or week to week, of the mean at one time.
            by_rows: [k] the same if rows were independent.
            days: [k] how many days are known.
            swing: [k] amplitude of their cycle, in standard deviations of a row.
        """
        fresh = ready & (moved | ~self.known)
        if fresh.any():
            recent = self.errors[:, 0].sum(0)
            factor = np.maximum(recent[SQUARED] / np.maximum(recent[SAMPLED], 1e-300), 1.0)
            factor = np.where(recent[N] > _FACTOR_ERRORS, np.minimum(factor, 1e3), 1.0)
            self.prior_factor[fresh] = factor[fresh]
            self._season_error[fresh] = 1.5
        bins = np.maximum(48 * (days - 1), 12)
        by_rows = self.prior_factor * by_rows * (1 + 2 * np.sqrt(2 / bins))
        between = np.maximum(within - by_rows, 0.0)
        self.between[ready] = between[ready]
        # Two days that were alike by chance are no proof: what could be before still may be.
        usual = np.clip(2 * swing / _CYCLE, _LEAST_CYCLE / _CYCLE, 1.0)
        cycle = self._cycle * np.where(self._short[:, None], usual**2, 1.0)
        prior = between + cycle * 0.5 ** (days - 2)
        self.prior[:, ready] = prior[:, ready]
        a_day = np.minimum(self._a_day, 12)[:, None]
        self.prior_errors[:, fresh] = (a_day * np.maximum(days - 1, 1))[:, fresh]
        begun = ready & ~self.known
        self.known |= ready
        for sums in (self.gram, self.cross, self.errors[:, :, :ALL]):
            sums[..., moved] = 0
        # From now on these are errors of another estimate.
        self.errors[:, 1:, :ALL, begun] = 0

    def shorten(self, times: float) -> None:
        """Take all that is known as known of windows that were so many times as long.

        The mean of a part varies at most so many times as much as that of the whole, unless the
        parts of a window go against each other.
        """
        self.flush()
        squared, sampled = self.errors[:, :, SQUARED], self.errors[:, :, SAMPLED]
        squared[...] = sampled + times * np.maximum(squared - sampled, 0.0)
        # What it was at first says what a cycle does to a long window.
        n, ratio = (
            self.errors[HISTORY, 0, N],
            squared[HISTORY, 0] / np.maximum(sampled[HISTORY, 0], 1e-300),
        )
        self.prior_factor = np.where(n > _FACTOR_ERRORS, np.maximum(ratio, 1.0), self.prior_factor)

    def refresh(self) -> None:
        """Make coefficients, variances and tails from the sums."""
        self.flush()
        known = self.known
        # Before there is history, what was seen so far can only widen.
        part = np.where(known, self.errors[HISTORY], self.errors.sum(0))
        n, squared, sampled = part[:, N], part[:, SQUARED], part[:, SAMPLED]
        own = np.maximum(squared - sampled, 0) / np.maximum(n, 1e-9)
        own = np.where(n > 2, own, 0.0)
        # What days differ by may come at any time of day, and counts for one day.
        a_day = np.maximum(self._a_day, _PRIOR_ERRORS)[:, None]
        blended = (a_day * self.prior + np.maximum(squared - sampled, 0)) / (a_day + n)
        self.excess = np.where(known, blended, np.maximum(self.prior, own))
        ratio = np.where(n > 2, squared / np.maximum(sampled, 1e-300), 1.0)
        # What a forecast is made from, and the season, were estimated from rows, too.
        prior = self.prior_factor * self._estimated * self._season_error
        blended = (a_day * prior + n * ratio) / (a_day + n)
        self.factor = np.maximum(np.where(known, blended, ratio), 1.0)
        counted = np.where(known, n + self.prior_errors, np.minimum(n + 12, 40))
        whole = self.errors.sum(0)
        self._measured = whole[:, N] > _MEASURED
        self._own = np.maximum(whole[:, SQUARED] / np.maximum(whole[:, SAMPLED], 1e-300), 1.0)
        young = self.errors[HISTORY, :, ALL] < _YOUNG
        tails = np.where(young[:, None], self.errors.sum(0), self.errors[HISTORY])[:, ALL:]
        self.tails = Tails.of(*np.moveaxis(tails, 1, 0), prior=self._kurtosis).paying(counted)
        self._solve(n, squared)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that is stored, by name.

        What `refresh` made is among it: it was made from sums that have grown since.
        """
        self.flush()
        return {
            "gram": self.gram,
            "cross": self.cross,
            "errors": self.errors,
            "known": self.known,
            "prior": self.prior,
            "prior_errors": self.prior_errors,
            "prior_factor": self.prior_factor,
            "between": self.between,
            "season_error": self._season_error,
            "coefficients": self.coefficients,
            "excess": self.excess,
            "factor": self.factor,
            "measured": self._measured,
            "own": self._own,
            "tails.df": self.tails.df,
            "tails.index": self.tails.index,
            "tails.beyond": self.tails.beyond,
        }

    def _solve(self, n: Array, squared: Array) -> None:
        """Ridge regression towards the local level."""
        if not self.known.any():
            return
        noise = np.where(n > 2, squared / np.maximum(n, 1e-9), self.prior + 1e-6)
        sd = np.where(self._local > 0, _PRIOR_SD_LOCAL, _PRIOR_SD)
        ridge = np.maximum(noise, 1e-12)[:, None] / sd**2
        gram = np.moveaxis(self.gram[HISTORY], -1, 1) + np.moveaxis(ridge, -1, 1)[
            ..., None
        ] * np.eye(sd.shape[1])
        cross = np.moveaxis(self.cross[HISTORY] + ridge * self._local, -1, 1)
        solved = np.linalg.solve(gram, cross[..., None])[..., 0]
        self.coefficients = np.where(self.known, np.moveaxis(solved, 1, -1), self._local)
