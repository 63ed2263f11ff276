"""Metrics of labelled rows, judged over many lookbacks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitors.performance.metrics.estimate import Counts, Estimate, Level, Metric, Outcomes
from monitors.performance.scale_dispersion import ScaleDispersion
from monitors.windows.aged_blocks import AgedBlocks
from monitors.windows.ageing import quarters
from monitors.windows.resolution import Resolution
from monitors.windows.spending import levels

BASIS: Final = "neighbouring stretches of 1, 4, 16 and 64 windows"
"""What the factors of `PooledMetrics` are known from."""
_SHOWN: Final = 0.025
"""Probability with which each end of the interval of a single window may be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A metric over some windows.

    Attributes:
        windows: how many.
        since: seconds since the epoch when they began.
        value, low, high: of the metric; NaN: there is nothing to measure.
        rows: that it is of.
        factor: how many times as much the metric varies as that of independent rows.
    """

    windows: int
    since: float
    value: float
    low: float
    high: float
    rows: int
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A metric of the windows that have closed.

    Attributes:
        metric: which one.
        threshold: what it is compared with; None: nobody has set one.
        latest: over the latest window, with an interval of 95 % as if rows were independent.
        lookback: what shows a breach most clearly, or else the longest one, with bounds that hold
            at the level of the look; None without a threshold.
        breached: None: unknown.
        reason: why there is no value; empty: there is one.
        more: evidence as JSON values.
    """

    metric: Metric
    threshold: float | None
    latest: Part
    lookback: Part | None
    breached: bool | None
    reason: str
    more: Mapping[str, Any]


class PooledMetrics:
    """Counts of labelled rows over the past 256 windows, and verdicts from them.

    A loss is found over the lookback that it needs: a large one in a window, a small one in weeks.
    What may be spent on false alarms is shared over metrics, lookbacks and the looks of a quarter;
    see `levels`. A breach that the last quarter of its lookback does not show any more is over.

    Args:
        counts: what is added up of rows.
        metrics: that are told of it.
        thresholds: by metric.
        budget: false alarms that are expected per quarter from all of them, if metrics are just at
            their thresholds all the time.
    """

    def __init__(
        self,
        counts: Counts,
        metrics: Sequence[Metric],
        thresholds: Mapping[str, float],
        budget: float,
    ) -> None:
        self._counts, self._metrics, self._thresholds = counts, metrics, thresholds
        self._budget = budget / max(len(thresholds), 1)
        self._blocks = AgedBlocks(counts.columns)
        self._judged = [each for each in metrics if each.name in thresholds]
        self._dispersion = ScaleDispersion(self._judged)
        self._latest = 0.0

    def add(
        self,
        time: float,
        positions: np.ndarray | Sequence[int],
        outcomes: Outcomes,
    ) -> None:
        """Count rows in the open window.

        Args:
            time: seconds since the epoch when their truth became known.
            positions: see `Rows`.
            outcomes: of the rows.
        """
        self._counts.add(self._blocks.open(time, positions), outcomes)

    def revise(self, positions: np.ndarray, before: Outcomes, now: Outcomes) -> bool:
        """Count rows by the label that they have now, wherever they were counted.

        Args:
            positions: see `Rows`.
            before, now: by which they were counted, and are.

        Returns:
            Whether a window that has closed has changed.
        """
        changed = False
        for block, at in self._blocks.places(positions):
            self._counts.add(block.sums, before.some(at), -1.0)
            self._counts.add(block.sums, now.some(at))
            changed |= block.number < self._blocks.windows
        return changed

    def close(self, time: float) -> None:
        """End a window, whose last rows came at that time."""
        self._blocks.close()
        self._latest = time
        self._dispersion.closed(self._blocks)

    # -- verdicts -----------------------------------------------------------------------

    def judge(self) -> list[Judged]:
        """Judge the windows that have closed, at least one; one verdict for each metric."""
        windows, since, sums = self._blocks.lookbacks()
        level = levels(self._latest - since, self._budget)
        return [self._judge(metric, windows, since, sums, level) for metric in self._metrics]

    def _judge(
        self,
        metric: Metric,
        windows: np.ndarray,
        since: np.ndarray,
        sums: np.ndarray,
        alpha: np.ndarray,
    ) -> Judged:
        threshold = self._thresholds.get(metric.name)
        shown = metric.of(sums[:1], Level(np.full(1, _SHOWN), np.ones(1)))
        latest = _part(shown, 0, windows, since, np.ones(1))
        reason = metric.why(sums[0]) if np.isnan(latest.value) else ""
        lookback, breached, place = None, None, 0
        if threshold is not None:
            factors = self._dispersion.factors(metric.name, windows)
            found = metric.of(sums, Level(alpha, factors))
            breaches = _breaches(found, metric, threshold, windows, factors)
            place = int(breaches.argmax()) if breaches.max() > 0 else len(windows) - 1
            lookback = _part(found, place, windows, since, factors)
            breached = True if breaches.max() > 0 else (None if reason else False)
        return Judged(
            metric=metric,
            threshold=threshold,
            latest=latest,
            lookback=lookback,
            breached=breached,
            reason="" if breached else reason,
            more={} if reason else metric.more(sums[place if breached else 0]),
        )

    def factor(self, metric: str) -> float | None:
        """Return how many times as much a metric of windows varies as that of independent rows.

        None before two windows, and for a metric without a threshold.
        """
        if metric not in self._thresholds or self._blocks.windows < 2:
            return None
        return float(self._dispersion.factors(metric, np.ones(1))[0])

    def rate(self, now: float) -> float | None:
        """Return windows per second over all that is remembered; None before there is one.

        Args:
            now: seconds since the epoch.
        """
        windows, since, _ = self._blocks.lookbacks()
        seconds = now - since[-1] if len(since) else 0.0
        return float(windows[-1] / seconds) if seconds > 0 else None

    def resolution(self, metric: Metric, window: int, now: float) -> Resolution | None:
        """Return what a judged metric can show at the present rate; None: that is not known yet.

        Args:
            metric: which one; it has a threshold.
            window: rows of a window.
            now: seconds since the epoch.
        """
        rate = self.rate(now)
        if rate is None:
            return None
        sums = self._blocks.lookbacks()[2][-1:]
        found = metric.of(sums, Level(np.full(1, _SHOWN), np.ones(1)))
        row = float(found.error[0] * np.sqrt(found.rows[0]))
        threshold = self._thresholds[metric.name]

        def sd(gap: float) -> float:
            if not metric.share:
                return row
            # A share varies as it does once it is so far off.
            off = gap if metric.direction == "above" else -gap
            share = min(max(threshold + off, 0.0), 1.0)
            return float(np.sqrt(share * (1 - share)))

        if not metric.share and not row > 0:
            return None
        return Resolution(
            sd=sd,
            factor=lambda windows: float(
                self._dispersion.factors(metric.name, np.array([windows]))[0]
            ),
            budget=self._budget,
            window=window,
            rate=rate * window,
        )

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "of": self._counts.signature,
            "counts": self._counts.state(),
            "blocks": self._blocks.state(),
            "dispersion": self._dispersion.state(),
            "latest": self._latest,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError, TypeError: it is of other counts; then nothing was taken from it.
        """
        if state["of"] != self._counts.signature:
            raise ValueError("the state is of other labels or classes")
        blocks, dispersion = AgedBlocks(self._counts.columns), ScaleDispersion(self._judged)
        blocks.restore(state["blocks"])
        dispersion.restore(state["dispersion"])
        latest = float(state["latest"])
        self._counts.restore(state["counts"])
        self._blocks, self._dispersion, self._latest = blocks, dispersion, latest


def _breaches(
    found: Estimate, metric: Metric, threshold: float, windows: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Return by how many standard errors each lookback is beyond the threshold; 0: no breach."""
    sign = 1.0 if metric.direction == "above" else -1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = sign * (found.value - threshold)
        bound = sign * ((found.low if sign > 0 else found.high) - threshold)
        recent = beyond[quarters(windows)]
        shown = (bound > 0) & ((recent > 0) | np.isnan(recent))
        evidence = beyond / (found.error * np.sqrt(factors))
    most = np.where(np.isfinite(evidence), evidence, np.finfo(np.float64).max)
    breaches: np.ndarray = np.where(shown, most, 0.0)
    return breaches


def _part(
    found: Estimate, at: int, windows: np.ndarray, since: np.ndarray, factors: np.ndarray
) -> Part:
    return Part(
        windows=int(windows[at]),
        since=float(since[at]),
        value=float(found.value[at]),
        low=float(found.low[at]),
        high=float(found.high[at]),
        rows=int(found.rows[at]),
        factor=float(factors[at]),
    )
