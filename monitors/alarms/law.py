"""The law of alarms: which of many streams differ from what is normal, under one error budget."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from monitors.alarms.basis import NO_HISTORY, basis_texts
from monitors.alarms.budget import level
from monitors.alarms.cell import Cell
from monitors.alarms.clock import Clock
from monitors.alarms.comparisons import Compared, Comparisons
from monitors.alarms.decisions import Decisions
from monitors.alarms.evidence import Evidence
from monitors.alarms.level import Level
from monitors.alarms.recording import Recording, read
from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.runs import Runs
from monitors.alarms.scales import DAY, Look, Scales, lengths_for
from monitors.alarms.season import Season
from monitors.alarms.sensitivity import Sensitivity
from monitors.alarms.standardized import Array, Mask
from monitors.alarms.standing import Standing
from monitors.alarms.stored_arrays import fill, packed
from monitors.alarms.sudden import Sudden
from monitors.alarms.units import Units

_DAYS: Final = 1.9
"""Days that are known, about, from which on they are history: two, of which one may be short."""

_EARLY: Final = 6
"""Windows from one look at the variance to the next before there is history."""

_ORDERED: Final = 24
"""Cells from which on a reference's order is learnt from."""

_APART: Final = 3600.0
"""Seconds between cells of a reference beyond which its order is too coarse to learn from."""

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
        self.adapt_after = adapt_after
        self._units = Units(reference)
        self._scales = Scales(lengths_for(interval), streams)
        self._season = Season(streams)
        self._runs = Runs(streams)
        self._sudden = Sudden(self._units)
        self._standing = Standing(streams)
        self._typical: Array = np.zeros(streams)
        self._accepted: Array = np.zeros(streams)
        self._level = Level(self._units.sampling)
        self._clock = Clock(interval)
        self._comparisons = Comparisons(self._scales, self._units, self._level, streams, interval)
        self._forecasts = self._comparisons.forecasts
        self._evidence = Evidence(self._scales.lengths, streams)
        self._basis = (NO_HISTORY,) * streams
        self._live_days = 0
        self._profile_days = 0
        self._replaying = False
        self._thresholds()
        if len(reference.cells) >= _ORDERED:
            self._replay(reference.cells)
        self._recording = Recording()
        self._record()

    @property
    def interval(self) -> float:
        """Seconds from a window to the next, about."""
        return self._clock.interval

    def _replay(self, cells: tuple[Cell, ...]) -> None:
        """Learn from the reference in its own order, as if it had been watched."""
        apart = float(np.median(np.diff([cell.last for cell in cells])))
        if not self.interval / 1.5 < apart <= max(self.interval * 1.5, _APART):
            return
        self._replaying = True
        latest = cells[-1].last - _REPLAYED_DAYS * DAY
        interval = self.interval
        self._clock = Clock(apart)
        for cell in cells:
            if cell.last >= latest:
                self._observe(cell, cell.last)
        # Nothing of a reference has to wait until it is told.
        self._turn()
        self._turn()
        self._replaying = False
        if apart > interval * 1.5:
            self._forecasts.shorten(apart / interval)
        self._profile_days = int(self._season.days.periods.max())
        self._live_days, self._clock = 0, Clock(interval)
        self._settle(np.ones(self.streams, bool), np.zeros(self.streams))
        self._comparisons.refresh()
        self._thresholds()
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
        before = self._clock.day
        decisions = self._observe(cell, now)
        self._recording.add(cell, now)
        # Days change much at once, which costs as much to do again as to keep.
        if self._recording.full or 0 <= before < self._clock.day:
            self._record()
        return decisions

    def _observe(self, cell: Cell, now: float) -> Decisions:
        self._follow(cell)
        counts = cell.counts
        defined: Mask = counts > 0
        n = np.where(defined, counts, 1.0)
        normal = self._level.offset + self._season.at(cell.middle)
        raw = (cell.sums / n - self._units.mean) / self._units.sd - self._accepted
        residual = np.where(defined, raw - normal, 0.0)
        self._typical += (counts - self._typical) * (0.01 if self._typical.any() else 1.0)
        weight = counts / (n + self._typical)
        bounded = self._comparisons.bounded(residual, 1 / n, self._standing.alarm)
        block = np.stack([weight, weight * bounded, weight**2 / n, weight * normal])
        ended = self._standing.follow(residual, defined)
        if ended.any():
            self._forecasts.remember(ended, self._standing.scale, self._standing.told)
            self._settle(ended, self._standing.calm)
        critical = float(self._critical[0])
        self._sudden.look(raw, residual, counts, self._accepted, critical)
        for look in self._scales.push(block, cell.first):
            self._look(look, residual if look.index == 0 else look.mean, cell)
        self._gross(residual, counts)
        learnt = weight * ~self._standing.alarm
        self._season.add(cell.first, cell.last, bounded + normal, learnt)
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

    def _look(self, look: Look, mean: Array, cell: Cell) -> None:
        index, standing = look.index, self._standing
        compared = self._comparisons.of(look, mean, cell.last, self._accepted, standing.alarm)
        score = np.where(compared.seen, self._forecasts.tails.scores(compared.z, index), 0.0)
        since: float | Array = look.since
        if index == 0:
            score = np.maximum(score, self._run(compared, look))
            since = np.where(self._runs.length > 1, self._runs.since, since)
        evidence = self._evidence
        evidence.score[index], evidence.mean[index] = score, look.expected + mean
        evidence.error[index], evidence.variance[index] = compared.error, compared.variance
        standing.strengthen(score)
        new = score > self._critical[index]
        if index == 0:
            days = self._season.days.periods
            new = self._sudden.windows(new, mean, compared.seen, standing, days, look.since)
        elif index == 1:
            new = self._sudden.pairs(new)
        new &= ~standing.alarm
        if new.any() and not self._replaying:
            standing.begin(
                new,
                scale=index,
                length=self._scales.lengths[index],
                since=since,
                score=score,
                expected=mean - compared.error,
                mean=mean,
            )
            yesterday = look.since < self._clock.day * DAY
            for part in (self._season, self._runs, self._forecasts):
                part.drop(new, yesterday)
        self._comparisons.learn(look, compared, standing.alarm)

    def _gross(self, residual: Array, counts: Array) -> None:
        """Tell changes that no natural cycle would explain, whether there is history or not.

        Args:
            residual: [k] differences to what was expected at this time.
            counts: [k] rows.
        """
        standing = self._standing
        new = self._sudden.gross(standing.alarm)
        if new.any() and not self._replaying:
            standing.begin(
                new,
                scale=0,
                length=1,
                since=self._sudden.since,
                score=np.maximum(np.abs(residual) * np.sqrt(counts), self._critical[0]),
                expected=np.zeros(self.streams),
                mean=residual,
            )

    def _run(self, compared: Compared, look: Look) -> Array:
        """Return how improbable runs are [k], once the variance of windows is known."""
        learnt = compared.seen & ~self._standing.alarm
        score = self._runs.score(np.where(compared.seen, compared.z, 0.0), look.since, learnt)
        return np.where(self._forecasts.known, score, 0.0)

    def _follow(self, cell: Cell) -> None:
        for _ in range(self._clock.follow(cell)):
            self._turn()
        if self._scales.windows % _EARLY == 0 and not self._forecasts.known.all():
            self._comparisons.refresh()

    def _turn(self) -> None:
        season, forecasts = self._season, self._forecasts
        self._live_days += 1
        self._comparisons.turn()
        self._runs.turn()
        before, day, week = (
            self._level.offset + season.at(self._clock.last),
            season.day,
            season.week,
        )
        season.turn()
        days = season.days.periods
        ready = days > _DAYS
        self._level.learn(
            ready,
            season.level,
            between=np.where(forecasts.known, forecasts.between, season.within),
            factor=forecasts.factor[0],
            rows=self._typical,
            days=days,
        )
        change = ((season.day - day) ** 2).mean(0) + ((season.week - week) ** 2).mean(0)
        sampling = 1 / np.maximum(self._typical, 1)
        moved = ready & (change > sampling * forecasts.factor[0])
        if ready.any():
            windows = np.maximum(season.within_seconds / self.interval, 1)
            forecasts.begin(ready, moved, season.within, sampling / windows, days, season.swing)
        self._rebase(moved, before)
        self._comparisons.refresh()
        self._thresholds()
        self._describe()

    def _rebase(self, moved: Mask, before: Array) -> None:
        """Make past residuals those of the season that was learnt just now."""
        change = self._level.offset + self._season.at(self._clock.last) - before
        self._scales.shift(change)
        standing = self._standing
        standing.recent -= change
        standing.expected -= change
        # Long averages began at other times of day.
        calm = moved & ~standing.alarm
        if calm.any():
            self._settle(calm, np.zeros(self.streams))

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
        self._comparisons.shifts.settle(streams)
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
        return self._comparisons.sensitivity(
            self._typical, self._critical, interval or self.interval, power
        )

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
            "shifts": self._comparisons.shifts.arrays(),
            "season": self._season.arrays(),
            "volatility": self._comparisons.volatility.arrays(),
            "runs": self._runs.arrays(),
            "sudden": self._sudden.arrays(),
            "level": self._level.arrays(),
            "standing": self._standing.arrays(),
            "evidence": self._evidence.arrays(),
            "law": {
                "typical": self._typical,
                "accepted": self._accepted,
                "levels": self._levels,
            },
        }
        return {f"{part}.{name}": a for part, arrays in parts.items() for name, a in arrays.items()}

    def _record(self) -> None:
        """Keep all that is known, so that the cells until now need not be shown again."""
        known = {
            "counts": [self._scales.windows, self._live_days, self._profile_days],
            "clock": self._clock.state(),
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
        windows, live_days, profile_days = map(int, known["counts"])
        clock = Clock.read(known["clock"])
        fill(self._arrays(), found.arrays)
        self._clock, self._scales.windows = clock, windows
        self._live_days, self._profile_days = live_days, profile_days
        self._comparisons.derive()
        self._comparisons.volatility.refresh()
        self._critical = -ndtri(self._levels / 2)
        self._describe()
        self._record()
        for cell, now in found.cells:
            self.observe(cell, now)
