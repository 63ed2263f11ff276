"""The law of alarms: which of many streams differ from what is normal, under one error budget."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from monitors.alarms.basis import NO_HISTORY, basis_texts
from monitors.alarms.budget import level
from monitors.alarms.cell import Cell
from monitors.alarms.decisions import Decisions
from monitors.alarms.evidence import Evidence
from monitors.alarms.forecasts import Forecasts
from monitors.alarms.gross import gross, gross_shift
from monitors.alarms.recording import Recording, read
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.runs import Runs
from monitors.alarms.scales import DAY, Look, Scales, lengths_for
from monitors.alarms.season import Season
from monitors.alarms.sensitivity import Sensitivity, Shares, smallest_shift
from monitors.alarms.shift_estimates import LONGEST, ShiftEstimates
from monitors.alarms.standardized import Array, Mask, standardized
from monitors.alarms.standing import Standing
from monitors.alarms.stored_arrays import fill, packed
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

_LEVEL_BOUND: Final = 2.5
"""Standard errors of the reference's mean within which the level is learnt from the stream."""

_DAYS: Final = 1.9
"""Days that are known, about, from which on they are history: two, of which one may be short."""

_EARLY: Final = 6
"""Windows from one look at the variance to the next before there is history."""

_ORDERED: Final = 24
"""Cells from which on a reference's order is learnt from."""

_REPLAYED_DAYS: Final = 28
"""Days of the reference's order that are learnt from, the latest ones."""


class StreamLaw:
    """Decides for k streams, window by window, whether they differ from what is normal.

    Not thread-safe. Its memory does not grow with the stream.

    Args:
        streams: how many statistics each cell has, k.
        reference: what is normal at first.
        rate: expected number of false alarms per 90 days, of all streams together.
        interval: seconds between two cells; fixes the time scales.
        adapt_after: seconds after which a standing alarm's level is taken as normal; `basis` says
            so from then on. None: never.

    Raises:
        ValueError: the reference has another number of streams, or rate or interval is not
            positive.
    """

    def __init__(
        self,
        streams: int,
        reference: ReferenceMoments,
        rate: float,
        *,
        interval: float = 600.0,
        adapt_after: float | None = 28 * DAY,
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
        self.adapt_after = adapt_after
        self._units = Units(reference)
        self._scales = Scales(lengths_for(interval), streams)
        self._forecasts = Forecasts(self._scales, streams, interval, self._units.constant)
        self._shifts = ShiftEstimates(self._scales.spans, streams)
        self._season = Season(streams)
        self._volatility = Volatility(
            sum(s * interval <= 7200 for s in self._scales.strides), streams
        )
        self._runs = Runs(streams)
        self._standing = Standing(streams)
        self._typical: Array = np.zeros(streams)
        self._offset: Array = np.zeros(streams)
        self._accepted: Array = np.zeros(streams)
        self._open: Array = self._units.sampling.copy()
        self._day = -1
        self._last = -np.inf
        self._evidence = Evidence(self._scales.lengths, streams)
        self._basis = (NO_HISTORY,) * streams
        self._refresh()
        self._live_days = 0
        self._profile_days = 0
        self._replaying = False
        self._thresholds()
        if len(reference.cells) >= _ORDERED:
            self._replay(reference.cells)
        self._recording = Recording()
        self._record()

    def _replay(self, cells: tuple[Cell, ...]) -> None:
        """Learn from the reference in its own order, as if it had been watched."""
        apart = float(np.median(np.diff([cell.last for cell in cells])))
        if not self.interval / 1.5 < apart < self.interval * 1.5:
            return
        self._replaying = True
        latest = cells[-1].last - _REPLAYED_DAYS * DAY
        interval = self.interval
        for cell in cells:
            if cell.last >= latest:
                self._observe(cell, cell.last)
        # Nothing of a reference has to wait until it is told.
        self._turn()
        self._turn()
        self._replaying = False
        self._profile_days = int(self._season.days.periods.max())
        self._live_days, self._day, self._last, self.interval = 0, -1, -np.inf, interval
        self._settle(np.ones(self.streams, bool), np.zeros(self.streams))
        self._describe()

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
        before = self._day
        decisions = self._observe(cell, now)
        self._recording.add(cell, now)
        # Days change much at once, which costs as much to do again as to keep.
        if self._recording.full or 0 <= before < self._day:
            self._record()
        return decisions

    def _observe(self, cell: Cell, now: float) -> Decisions:
        self._clock(cell)
        counts = cell.counts
        defined: Mask = counts > 0
        n = np.where(defined, counts, 1.0)
        normal = self._offset + self._season.at(cell.middle)
        raw = (cell.sums / n - self._units.mean) / self._units.sd - self._accepted
        residual = np.where(defined, raw - normal, 0.0)
        self._typical += (counts - self._typical) * (0.01 if self._typical.any() else 1.0)
        weight = counts / (n + self._typical)
        bounded = self._bounded(residual, 1 / n)
        block = np.stack([weight, weight * bounded, weight**2 / n, weight * normal])
        ended = self._standing.follow(residual, defined)
        if ended.any():
            self._forecasts.remember(ended, self._standing.scale, self._standing.told)
            self._settle(ended, self._standing.calm)
        for look in self._scales.push(block, cell.first):
            self._look(look, residual if look.index == 0 else look.mean, cell)
        if not self._replaying:
            self._gross(raw, counts, cell)
        learnt = weight * ~self._standing.alarm
        self._season.add(cell.middle, bounded + normal, learnt)
        self._adapt(now)
        return self._evidence.decide(
            standing=self._standing,
            units=self._units,
            value=np.where(defined, cell.sums / n, np.nan),
            accepted=self._accepted,
            levels=self._levels,
            critical=self._critical,
            measured=self._forecasts.measured,
            basis=self._basis,
        )

    def _bounded(self, residual: Array, sampling: Array) -> Array:
        """Return residuals without outliers; those of streams in alarm as they are."""
        expected = self._forecasts.forecast(0, self._scales.averages)
        if self._scales.windows == 0:
            return residual
        bound = np.where(self._forecasts.known, _BOUND, _FIRST_BOUND)
        reach = bound * np.sqrt(self._forecasts.variance(0, sampling) + self._open_level[0])
        bounded = np.clip(residual, expected - reach, expected + reach)
        return np.where(self._standing.alarm, residual, bounded)

    def _look(self, look: Look, mean: Array, cell: Cell) -> None:
        index = look.index
        forecasts, standing = self._forecasts, self._standing
        error = mean - forecasts.forecast(index, look.before)
        bounded = look.mean - mean + error
        hour = int(cell.last % DAY * 24 / DAY)
        times = self._volatility.at(index, hour)
        usual = np.sqrt(times) if times is not None else np.ones(self.streams)
        sampling = look.sampling
        length = self._scales.lengths[index]
        if index == 0:
            self._shifts.push(np.where(standing.alarm, error, bounded), 1 / usual**2)
        elif length <= LONGEST:
            known = forecasts.known
            estimate, information = self._shifts.estimate(length)
            error = np.where(known, estimate, error)
            bounded = error
            sampling = np.where(known, sampling * length / information, sampling)
        variance = forecasts.variance(index, sampling) + self._open_level[index]
        if self._scales.windows == 1:
            variance = variance + _FIRST_SD**2
        variance = variance * usual**2
        unit = self._units.sd
        centre = self._units.centre + unit * (look.expected + self._accepted + mean)
        z = standardized(
            centre, centre - unit * error, unit * np.sqrt(variance), self._units.shares
        )
        seen = look.weight > 0
        score = np.where(seen, forecasts.tails.scores(z, index), 0.0)
        since: float | Array = look.since
        if index == 0:
            score = np.maximum(score, self._run(z, look, seen & ~standing.alarm))
            since = np.where(self._runs.length > 1, self._runs.since, since)
        if self._scales.windows > 1:
            self._volatility.add(index, hour, z * usual, seen & ~standing.alarm)
        evidence = self._evidence
        evidence.score[index], evidence.mean[index] = score, look.expected + mean
        evidence.error[index], evidence.variance[index] = error, variance
        standing.strengthen(score)
        new = (score > self._critical[index]) & ~standing.alarm
        if new.any() and not self._replaying:
            standing.begin(
                new,
                scale=index,
                length=self._scales.lengths[index],
                since=since,
                score=score,
                expected=mean - error,
                mean=mean,
            )
            yesterday = look.since < self._day * DAY
            self._season.drop(new, yesterday)
            self._runs.drop(new, yesterday)
            forecasts.drop(new, yesterday)
        forecasts.learn(look, sampling, bounded / usual, error / usual, seen & ~standing.alarm)

    def _gross(self, raw: Array, counts: Array, cell: Cell) -> None:
        """Tell changes that no natural cycle would explain, while the stream has no history.

        Args:
            raw: [k] differences to the reference, in standard deviations of a row.
            counts: [k] rows.
            cell: the window.
        """
        standing = self._standing
        young = ~self._forecasts.known & ~standing.alarm & (counts > 0)
        new = young & gross(raw, counts, self._accepted, self._units, float(self._critical[0]))
        if new.any():
            standing.begin(
                new,
                scale=0,
                length=1,
                since=cell.first,
                score=np.maximum(np.abs(raw) * np.sqrt(counts), self._critical[0]),
                expected=np.zeros(self.streams),
                mean=raw,
            )

    def _run(self, z: Array, look: Look, learnt: Mask) -> Array:
        """Return how improbable runs are [k], once the variance of windows is known."""
        score = self._runs.score(np.where(look.weight > 0, z, 0.0), look.since, learnt)
        return np.where(self._forecasts.known, score, 0.0)

    def _clock(self, cell: Cell) -> None:
        if np.isfinite(self._last):
            passed = cell.last - self._last
            if passed > 0:
                self.interval += 0.01 * (min(passed, 10 * self.interval) - self.interval)
        self._last = max(self._last, cell.last)
        day = int(cell.middle // DAY)
        if self._day < 0:
            self._day = day
        turns = min(day - self._day, 3)
        self._day = max(day, self._day)
        for _ in range(turns):
            self._turn()
        if self._scales.windows % _EARLY == 0 and not self._forecasts.known.all():
            self._refresh()

    def _refresh(self) -> None:
        self._forecasts.refresh()
        self._derive()

    def _derive(self) -> None:
        """Make what follows from the forecasts' coefficients."""
        self._shifts.set(self._forecasts.coefficients[0])
        # What of a forecast's variance comes from not knowing the level, [scales, k].
        anchored = 1 - self._forecasts.coefficients.sum(1)
        self._open_level: Array = self._open * anchored**2

    def _turn(self) -> None:
        season, forecasts = self._season, self._forecasts
        self._live_days += 1
        forecasts.turn()
        self._volatility.turn()
        self._runs.turn()
        before, day, week = self._offset + season.at(self._last), season.day, season.week
        season.turn()
        days = season.days.periods
        ready = days > _DAYS
        self._offset = np.where(ready, self._level(days), self._offset)
        change = ((season.day - day) ** 2).mean(0) + ((season.week - week) ** 2).mean(0)
        sampling = 1 / np.maximum(self._typical, 1)
        moved = ready & (change > sampling * forecasts.factor[0])
        if ready.any():
            windows = np.maximum(season.within_seconds / self.interval, 1)
            forecasts.begin(ready, moved, season.within, sampling / windows, days)
        self._rebase(moved, before)
        self._refresh()
        self._thresholds()
        self._describe()

    def _rebase(self, moved: Mask, before: Array) -> None:
        """Make past residuals those of the season that was learnt just now."""
        change = self._offset + self._season.at(self._last) - before
        self._scales.shift(change)
        standing = self._standing
        standing.recent -= change
        standing.expected -= change
        # Long averages began at other times of day.
        calm = moved & ~standing.alarm
        if calm.any():
            self._settle(calm, np.zeros(self.streams))

    def _level(self, days: Array) -> Array:
        """Return where the stream's level is [k], as far as the reference leaves it open."""
        season, forecasts = self._season, self._forecasts
        between = np.where(forecasts.known, forecasts.between, season.within)
        reference = self._units.sampling * forecasts.factor[0] + between
        own = between / np.maximum(days, 1) + 1e-12
        own = own + forecasts.factor[0] / np.maximum(self._typical * 144 * days, 1)
        self._open = reference * own / (reference + own)
        learnt = season.level * reference / (reference + own)
        bound = _LEVEL_BOUND * np.sqrt(reference)
        level_: Array = np.clip(learnt, -bound, bound)
        return level_

    def _describe(self) -> None:
        self._basis = basis_texts(
            self._season,
            self._forecasts.known,
            self._accepted != 0,
            of_profile=self._profile_days > self._live_days,
        )

    def _thresholds(self) -> None:
        scales = self._scales
        self._levels = np.array(
            [
                level(self.rate, self.streams, len(scales.lengths) + 1, self.interval, stride)
                for stride in scales.strides
            ]
        )
        self._critical = -ndtri(self._levels / 2)

    def _settle(self, streams: Mask, at: Array) -> None:
        self._shifts.settle(streams)
        self._scales.settle(streams, at)
        self._evidence.forget(streams)

    @property
    def level(self) -> float:
        """What a p-value of one stream and one look at a window is held against."""
        return float(self._levels[0])

    @property
    def basis(self) -> tuple[str, ...]:
        """What the variation of each stream is known from, in words."""
        return self._basis

    @property
    def variation(self) -> Array:
        """How many times as much windows vary as those of independent rows [k], at least 1."""
        variation: Array = self._forecasts.measured[0].copy()
        return variation

    @property
    def shares(self) -> Mask:
        """Which streams are shares of rows [k]."""
        return self._units.shares

    def sensitivity(self, power: float = 0.9, interval: float | None = None) -> Sensitivity:
        """Return the smallest shift found in an hour, a day, a week, at this traffic and level.

        Args:
            power: probability of finding it.
            interval: seconds between two windows; None: those that the law has learnt, which
                follow a new traffic within a day.
        """
        forecasts, shifts = self._forecasts, self._shifts
        lengths = self._scales.lengths
        none: Array = np.zeros(self.streams)
        known = [1 < length <= LONGEST for length in lengths]
        information = np.stack([
            shifts.information(length) if found else none + length
            for length, found in zip(lengths, known, strict=True)
        ])  # fmt: skip
        sampling = 1 / (np.maximum(self._typical, 1) * information)
        variance = np.stack(
            [
                forecasts.variance(index, sampling[index]) + self._open_level[index]
                for index in range(len(lengths))
            ]
        )
        bound = np.where(forecasts.known, _BOUND, _FIRST_BOUND)
        told = gross_shift(
            self._typical, self._units, float(self._critical[0]), float(ndtri(power))
        )
        return smallest_shift(
            variance=variance,
            threshold=forecasts.tails.thresholds(self._critical[:, None]),
            duration=np.array(lengths, float) * (interval or self.interval),
            unit=self._units.sd,
            shares=Shares(self._units.shares, self._units.centre),
            reach=bound * np.sqrt(variance[0]),
            followed=np.stack([
                shifts.followed(length) if length <= LONGEST else none for length in lengths
            ]),
            gross=np.where(forecasts.known, np.inf, told),
            power=power,
        )  # fmt: skip

    def accept(self, streams: Mask) -> None:
        """Take the present level of some streams in alarm as normal, and end their alarms.

        Args:
            streams: [k] bool; those without an alarm are left alone.
        """
        self._accept(streams)
        self._record()

    def _accept(self, streams: Mask) -> None:
        standing = self._standing
        accepted = streams & standing.alarm
        by = np.where(accepted, standing.recent - standing.expected, 0.0)
        self._accepted += by
        self._settle(accepted, standing.expected)
        standing.end(accepted)
        self._describe()

    def _adapt(self, now: float) -> None:
        if self.adapt_after is None or not self._standing.alarm.any():
            return
        with np.errstate(invalid="ignore"):
            old = self._standing.alarm & (now - self._standing.since > self.adapt_after)
        if old.any():
            self._accept(old)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        parts = {
            "scales": self._scales.arrays(),
            "forecasts": self._forecasts.arrays(),
            "shifts": self._shifts.arrays(),
            "season": self._season.arrays(),
            "volatility": self._volatility.arrays(),
            "runs": self._runs.arrays(),
            "standing": self._standing.arrays(),
            "evidence": self._evidence.arrays(),
            "law": {
                "typical": self._typical,
                "offset": self._offset,
                "accepted": self._accepted,
                "open": self._open,
                "levels": self._levels,
            },
        }
        return {f"{part}.{name}": a for part, arrays in parts.items() for name, a in arrays.items()}

    def _record(self) -> None:
        """Keep all that is known, so that the cells until now need not be shown again."""
        known = {
            "counts": [self._scales.windows, self._day, self._live_days, self._profile_days],
            "last": self._last if np.isfinite(self._last) else None,
            "interval": self.interval,
        }
        self._recording.begin(known, packed(self._arrays()))

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values.

        Its long texts stay the same objects from one call to the next, as far as they can.
        """
        lengths = list(self._scales.lengths)
        return {"streams": self.streams, "lengths": lengths, **self._recording.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: the state is of another law; then nothing was taken.
        """
        if state["streams"] != self.streams:
            raise ValueError("the state is of a law with another number of streams")
        if tuple(state["lengths"]) != self._scales.lengths:
            raise ValueError("the state is of a law with other time scales")
        found = read(state, self.streams)
        known = found.known
        windows, day, live_days, profile_days = map(int, known["counts"])
        last = -np.inf if known["last"] is None else float(known["last"])
        interval = float(known["interval"])
        fill(self._arrays(), found.arrays)
        self._scales.windows, self._day, self._live_days = windows, day, live_days
        self._last, self.interval, self._profile_days = last, interval, profile_days
        self._derive()
        self._volatility.refresh()
        self._critical = -ndtri(self._levels / 2)
        self._describe()
        self._record()
        for cell, now in found.cells:
            self.observe(cell, now)
