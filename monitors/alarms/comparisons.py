"""How far each look is from its forecast, and how far it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from monitors.alarms.forecasts import Forecasts
from monitors.alarms.level import Level
from monitors.alarms.scales import DAY, Look, Scales
from monitors.alarms.sensitivity import Sensitivity, Shares, smallest_shift
from monitors.alarms.shift_estimates import LONGEST, ShiftEstimates
from monitors.alarms.standardized import Array, Mask, standardized
from monitors.alarms.sudden import gross_shift
from monitors.alarms.units import Units
from monitors.alarms.volatility import Volatility

_BOUND: Final = 5.0
"""Standard deviations beyond which a window counts as if it were that far off, except on the scale
of one window: one outlier is no shift of an hour or a day."""

_FIRST_BOUND: Final = 12.0
"""The same while a window is allowed to be further off than it will be once days are known."""

_FIRST_SD: Final = 0.5
"""How far, in standard deviations of a row, a stream may be from its reference when it begins, for
all that is known."""

_VOLATILE: Final = 7200.0
"""Seconds from one look to the next up to which hours of the day may differ in variance."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A look against its forecast, in standard deviations of a row; arrays are [k].

    Attributes:
        error: of the forecast; of longer scales the estimated shift.
        bounded: the same without outliers.
        sampling: variance of the error if rows were independent.
        variance: that it is expected to have.
        z: the error in its standard deviations, of shares after their transformation.
        usual: times the standard deviation of other hours that this one has.
        seen: streams that the look has rows of.
    """

    error: Array
    bounded: Array
    sampling: Array
    variance: Array
    z: Array
    usual: Array
    seen: Mask


class Comparisons:
    """Forecasts of k streams on every scale, and how wrong they may be. Not thread-safe.

    Args:
        scales: where looks come from.
        units: of the statistics.
        level: of the streams.
        streams: k.
        interval: seconds between two windows.
    """

    def __init__(
        self, scales: Scales, units: Units, level: Level, streams: int, interval: float
    ) -> None:
        self._scales, self._units, self._level = scales, units, level
        self._none: Array = np.ones(streams)
        self.forecasts = Forecasts(scales, streams, interval, units.constant)
        self.shifts = ShiftEstimates(scales.spans, streams)
        volatile = sum(stride * interval <= _VOLATILE for stride in scales.strides)
        self.volatility = Volatility(volatile, streams)
        self.refresh()

    def refresh(self) -> None:
        """Make coefficients and variances from what was counted."""
        self.forecasts.refresh()
        self.derive()

    def derive(self) -> None:
        """Make what follows from the forecasts' coefficients."""
        coefficients = self.forecasts.coefficients
        self.shifts.set(coefficients[0])
        # What of a forecast's variance comes from not knowing the level, [scales, k].
        self._open: Array = self._level.open * (1 - coefficients.sum(1)) ** 2

    def turn(self) -> None:
        """End a day; `refresh` is to follow."""
        self.forecasts.turn()
        self.volatility.turn()

    def bounded(self, residual: Array, sampling: Array, alarm: Mask) -> Array:
        """Return a window's residuals without outliers; those of streams in alarm as they are.

        Args:
            residual: [k].
            sampling: [k] variance of it if rows were independent.
            alarm: [k] streams in alarm.
        """
        if self._scales.windows == 0:
            return residual
        expected = self.forecasts.forecast(0, self._scales.averages)
        bound = np.where(self.forecasts.known, _BOUND, _FIRST_BOUND)
        reach = bound * np.sqrt(self.forecasts.variance(0, sampling) + self._open[0])
        bounded = np.clip(residual, expected - reach, expected + reach)
        return np.where(alarm, residual, bounded)

    def of(self, look: Look, mean: Array, last: float, accepted: Array, alarm: Mask) -> Compared:
        """Return a look against its forecast.

        Args:
            look: to compare.
            mean: [k] of its residuals, outliers included where it is of one window.
            last: when its last window ended.
            accepted: [k] shifts that are taken as normal.
            alarm: [k] streams in alarm.
        """
        index, forecasts, unit = look.index, self.forecasts, self._units.sd
        error = mean - forecasts.forecast(index, look.before)
        bounded = look.mean - mean + error
        hour = int(last % DAY * 24 / DAY)
        times = self.volatility.at(index, hour)
        usual = np.sqrt(times) if times is not None else self._none
        sampling = look.sampling
        length = self._scales.lengths[index]
        if index == 0:
            self.shifts.push(np.where(alarm, error, bounded), 1 / usual**2)
        elif length <= LONGEST:
            known = forecasts.known
            estimate, information = self.shifts.estimate(length)
            error = np.where(known, estimate, error)
            bounded = error
            sampling = np.where(known, sampling * length / information, sampling)
        variance = forecasts.variance(index, sampling) + self._open[index]
        if self._scales.windows == 1:
            variance = variance + _FIRST_SD**2
        variance = variance * usual**2
        centre = self._units.centre + unit * (look.expected + accepted + mean)
        z = standardized(
            centre, centre - unit * error, unit * np.sqrt(variance), self._units.shares
        )
        seen = look.weight > 0
        if self._scales.windows > 1:
            self.volatility.add(index, hour, z * usual, seen & ~alarm)
        return Compared(error, bounded, sampling, variance, z, usual, seen)

    def learn(self, look: Look, one: Compared, alarm: Mask) -> None:
        """Count how wrong the forecast of a look was, of streams without an alarm."""
        # Tails are those of what is compared, which for shares is transformed.
        raw = one.z * np.sqrt(one.variance)
        self.forecasts.learn(
            look, one.sampling, one.bounded / one.usual, raw / one.usual, one.seen & ~alarm
        )

    def sensitivity(
        self, rows: Array, critical: Array, interval: float, power: float
    ) -> Sensitivity:
        """Return the smallest shift that is found in an hour, a day, a week.

        Args:
            rows: [k] of a window.
            critical: [scales] normal scores of an alarm.
            interval: seconds between two windows.
            power: probability of finding it.
        """
        forecasts, shifts = self.forecasts, self.shifts
        lengths = self._scales.lengths
        none: Array = np.zeros(len(rows))
        known = [1 < length <= LONGEST for length in lengths]
        information = np.stack([
            shifts.information(length) if found else none + length
            for length, found in zip(lengths, known, strict=True)
        ])  # fmt: skip
        sampling = 1 / (np.maximum(rows, 1) * information)
        variance = np.stack(
            [
                forecasts.variance(index, sampling[index]) + self._open[index]
                for index in range(len(lengths))
            ]
        )
        bound = np.where(forecasts.known, _BOUND, _FIRST_BOUND)
        told = gross_shift(rows, self._units, float(critical[0]), float(ndtri(power)))
        return smallest_shift(
            variance=variance,
            threshold=forecasts.tails.thresholds(critical[:, None]),
            duration=np.array(lengths, float) * interval,
            unit=self._units.sd,
            shares=Shares(self._units.shares, self._units.centre),
            reach=bound * np.sqrt(variance[0]),
            followed=np.stack([
                shifts.followed(length) if length <= LONGEST else none for length in lengths
            ]),
            gross=told,
            power=power,
        )  # fmt: skip
