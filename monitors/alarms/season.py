"""What a stream does at each time of day and hour of week, learnt from days that were quiet."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitors.alarms.scales import DAY
from monitors.alarms.standardized import Array, Mask

_BINS: Final = 48
"""Bins of a day: half an hour each."""

_WEEK_BINS: Final = 56
"""Bins of a week: three hours each."""

_PART: Final = _BINS * 7 // _WEEK_BINS

_MEMORY_DAYS: Final = 14.0
_MEMORY_WEEKS: Final = 6.0
_SMOOTH_BELOW_DAYS: Final = 7.0


class _Profile:
    """Means of bins over periods, and how much they differ from period to period."""

    def __init__(self, bins: int, streams: int, memory: float) -> None:
        self.sums: Array = np.zeros((3, bins, streams))  # of 1, of means, of squares of means
        self._decay = 1 - 1 / memory

    def add(self, at: slice, means: Array, seen: Mask) -> None:
        """Count one period's means of some bins [bins, k], where they were seen."""
        part = self.sums[:, at]
        np.multiply(part, self._decay, out=part, where=seen & (part[0] >= 1 / (1 - self._decay)))
        part += np.where(seen, np.stack([np.ones_like(means), means, means**2]), 0.0)

    @property
    def periods(self) -> Array:
        """[k] over how many periods an average bin was seen."""
        mean: Array = self.sums[0].mean(0)
        return mean

    @property
    def means(self) -> Array:
        """[bins, k] 0 where a bin was not seen."""
        n = self.sums[0]
        mean: Array = self.sums[1] / np.where(n > 0, n, 1.0)
        return mean

    def within(self) -> Array:
        """Return the variance [k] of a bin's mean from period to period; 0 if none was twice."""
        n = self.sums[0]
        twice = n > 1.5
        safe = np.where(twice, n, 2.0)
        variance = np.maximum(self.sums[2] / safe - (self.sums[1] / safe) ** 2, 0) * safe
        variance = np.where(twice, variance / (safe - 1), 0.0)
        mean: Array = variance.sum(0) / np.maximum(twice.sum(0), 1)
        return mean

    def shrunk(self, level: Array, within: Array) -> Array:
        """Return how bins differ from a level, as far as periods agree about it [bins, k].

        James and Stein's estimator, with the variance between periods as noise: a stream without
        a season gets none.
        """
        n = self.sums[0]
        seen = n > 1.5
        differences = np.where(seen, self.means - level, 0.0)
        bins = np.maximum(seen.sum(0), 1)
        noise = (np.where(seen, 1 / np.where(seen, n, 1.0), 0.0).sum(0) / bins) * within
        signal = (differences**2).sum(0) / bins
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.where(signal > 0, np.maximum(1 - 1.5 * noise / signal, 0), 0.0)
        shrunk: Array = kept * differences
        return shrunk


class Season:
    """Daily and weekly profile of k streams, in the unit that it is told. Not thread-safe.

    `within` is the variance [k], from period to period, of the mean over `within_seconds`.

    Days are learnt from only when the day after them has ended, too, so that a shift can be told
    before it counts as normal.
    """

    def __init__(self, streams: int) -> None:
        self.days = _Profile(_BINS, streams, _MEMORY_DAYS)
        self.weeks = _Profile(_WEEK_BINS, streams, _MEMORY_WEEKS)
        # Sums of weight and of weight times value: of yesterday, of today.
        self.waiting: Array = np.zeros((2, 2, _BINS, streams))
        self.waiting_day = np.full(2, -1)
        self.day: Array = np.zeros((_BINS, streams))
        self.week: Array = np.zeros((_WEEK_BINS, streams))
        self.level: Array = np.zeros(streams)
        self.within: Array = np.zeros(streams)
        self.within_seconds: Array = np.full(streams, DAY / _BINS)

    def add(self, first: float, last: float, value: Array, weight: Array) -> None:
        """Take in a window; `weight` 0 leaves a stream out.

        A window that is longer than the bins counts in each that it reaches over, of one day.
        """
        at = (first + last) / 2
        day = int(at // DAY)
        self.waiting_day[1] = day
        width = DAY / _BINS
        place = int(at % DAY / width)
        # Bins whose middles it has.
        low = int(np.ceil((first - day * DAY) / width - 0.5))
        high = int(np.floor((last - day * DAY) / width - 0.5))
        reached = slice(max(min(low, place), 0), min(max(high, place), _BINS - 1) + 1)
        today = self.waiting[1, :, reached]
        today[0] += weight
        today[1] += weight * value

    def drop(self, streams: Mask, yesterday: bool) -> None:
        """Forget the days of some streams that have not been learnt from yet."""
        self.waiting[0 if yesterday else 1 :, :, :, streams] = 0

    def turn(self) -> None:
        """End a day: learn from the day before."""
        day = int(self.waiting_day[0])
        weight, sums = self.waiting[0]
        if day >= 0:
            seen = weight > 0
            self.days.add(slice(None), sums / np.where(seen, weight, 1.0), seen)
            weight, sums = (
                each.reshape(-1, _PART, each.shape[1]).sum(1) for each in (weight, sums)
            )
            # The epoch began on a Thursday.
            first = (day + 3) % 7 * (_WEEK_BINS // 7)
            seen = weight > 0
            means = sums / np.where(seen, weight, 1.0)
            self.weeks.add(slice(first, first + _WEEK_BINS // 7), means, seen)
        self.waiting[0], self.waiting_day[0] = self.waiting[1], self.waiting_day[1]
        self.waiting[1] = 0
        if (self.days.periods > 1.5).any():
            self._learn()

    def _learn(self) -> None:
        known = self.days.sums[0] > 0
        self.level = self.days.means.sum(0) / np.maximum(known.sum(0), 1)
        within = self.days.within()
        day = self.days.shrunk(self.level, within)
        young = self.days.periods < _SMOOTH_BELOW_DAYS
        smooth = (np.roll(day, 1, 0) + 2 * day + np.roll(day, -1, 0)) / 4
        self.day = np.where(young, smooth, day)
        self._learn_week(within)

    def _learn_week(self, within: Array) -> None:
        fortnight = self.weeks.periods > 1.9
        if not fortnight.any():
            self.within = within + self._unsure()
            return
        # What is left of the week's bins when the time of day is known.
        daily = self.day.reshape(-1, _PART, self.day.shape[1]).mean(1)
        own = self.weeks.within()
        week = self.weeks.shrunk(self.level + np.tile(daily, (7, 1)), own)
        self.week = np.where(fortnight, week, 0.0)
        weekly = self.seasons()[1]
        self.within = np.where(weekly, own, within) + self._unsure()
        self.within_seconds = np.where(weekly, 7 * DAY / _WEEK_BINS, DAY / _BINS)

    def _unsure(self) -> Array:
        """Variance [k] by which a season may be wrong for all that is known: a tenth of its sd."""
        unsure: Array = 0.01 * ((self.day**2).mean(0) + (self.week**2).mean(0))
        return unsure

    @property
    def swing(self) -> Array:
        """[k] largest difference of a time of day to the level."""
        largest: Array = np.abs(self.day).max(0)
        return largest

    def seasons(self) -> tuple[Mask, Mask]:
        """Return which streams [k] have a daily and which a weekly profile."""
        return self.swing > 0, np.abs(self.week).max(0) > 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that is stored, by name."""
        return {
            "days": self.days.sums,
            "weeks": self.weeks.sums,
            "waiting": self.waiting,
            "waiting_day": self.waiting_day,
            "day": self.day,
            "week": self.week,
            "level": self.level,
            "within": self.within,
            "within_seconds": self.within_seconds,
        }

    def at(self, at: float) -> Array:
        """Return what is expected [k] at a time, besides the level."""
        expected: Array = _between(self.day, at % DAY / DAY)
        if self.week.any():
            expected = expected + _between(self.week, (at / DAY + 3) % 7 / 7)
        return expected


def _between(bins: Array, share: float) -> Array:
    """Return the value at a share of the period, linear between the middles of bins."""
    place = share * len(bins) - 0.5
    low = int(np.floor(place))
    part = place - low
    value: Array = (1 - part) * bins[low % len(bins)] + part * bins[(low + 1) % len(bins)]
    return value
