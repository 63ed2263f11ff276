"""Whether guards flag as many rows as they are stated to: too many, too few, or none at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np

from monitors.finding import NO_RATE, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.performance.metrics.estimate import Estimate, Level, Metric, Outcomes, proportion
from monitors.performance.pooled_metrics import BASIS, Judged, PooledMetrics
from monitors.rows import FLAGGED, UNJUDGED, Rows
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

OFF: Final = 1.5
"""How many times as many rows as stated, or as few, are off the stated rate. A rate that was
calibrated on some hundred rows is not known better."""
NO_ROWS: Final = "the guard judged no row"


class _Counts:
    """Rows that each of k guards flagged, then rows that it judged; see `Counts`."""

    def __init__(self, guards: Sequence[str]) -> None:
        self.signature: list[Any] = ["guards", *guards]
        self.columns = 2 * len(guards)

    def add(self, sums: np.ndarray, outcomes: Outcomes, amount: float = 1.0) -> None:
        """Count rows, whose `predicted` is what became of them in each guard, uint8 [n, k]."""
        became = outcomes.predicted
        hits, judged = (became == FLAGGED).sum(axis=0), (became != UNJUDGED).sum(axis=0)
        sums += amount * np.concatenate((hits, judged))

    def state(self) -> list[Any]:
        """Return nothing: there is nothing to learn."""
        return []

    def restore(self, state: list[Any]) -> None:
        """Do nothing."""


class GuardRateMonitor:
    """Compares the share of rows that each guard flags with the share that is stated of it.

    Verdicts are over lookbacks of up to 256 windows, with exact binomial bounds (Clopper and
    Pearson), rows counted as fewer where windows vary more than independent rows do; see
    `PooledMetrics`. A breach: the share is shown to be above `OFF` times the stated one, or below
    the stated one over `OFF`. A guard that flags nothing where its rate says that it should is
    dead: `detail` says so. Rows that a guard failed to judge do not count. A guard of which no rate
    is stated has no verdict.

    Args:
        rates: stated share of rows by guard; None: nobody has stated one.
        window: rows per window.
        false_alarms: that are expected per quarter from all verdicts together, if every share is
            just at a bound all the time.

    Raises:
        ValueError: there is no guard.
    """

    needs: ClassVar[Needs] = Needs(guards=True)

    def __init__(
        self, rates: Mapping[str, float | None], window: int, false_alarms: float = 3.0
    ) -> None:
        if not rates:
            raise ValueError("there is no guard to judge")
        self._rates, self._budget = dict(rates), false_alarms
        metrics = [
            metric for at, name in enumerate(rates) for metric in _metrics(name, at, len(rates))
        ]
        limits = {
            name: limit
            for guard, rate in rates.items() if rate is not None
            for name, limit in zip(_names(guard), _limits(rate), strict=True)
        }  # fmt: skip
        self._metrics = {each.name: each for each in metrics}
        self._window = TumblingWindow(window)
        self._pooled = PooledMetrics(_Counts(list(rates)), metrics, limits, false_alarms)
        self._findings: list[Finding] = []

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count what became of rows; judge each window that they end."""
        nobody = np.full(rows.n, UNJUDGED, np.uint8)
        became = np.stack([rows.guards.get(name, nobody) for name in self._rates], axis=1)
        closed: list[Finding] = []

        def count(part: slice) -> None:
            self._pooled.add(rows.timestamp, (), Outcomes(became[part], became[part]))

        def close() -> None:
            self._pooled.close(self._window.span[1])
            self._findings = self._judge()
            closed.extend(self._findings)

        self._window.add(rows.n, rows.timestamp, count, close)
        return closed

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    def watched(self, now: float) -> Watched:
        """Return the share of each guard, above and below what is stated."""
        items: list[Item] = []
        for guard, rate in self._rates.items():
            item = Item(metric="flagged_share", subject=guard, severity="ticket", unit="share")
            if rate is None:
                items.append(replace(item, not_judged=NO_RATE))
                continue
            items += [
                self._item(item, name, limit, now)
                for name, limit in zip(_names(guard), _limits(rate), strict=True)
            ]
        rate_of_windows = self._pooled.rate(now)
        unstated = [name for name, rate in self._rates.items() if rate is None]
        return Watched(
            items=tuple(items),
            reference="the rates that are stated",
            window=self._window.size,
            interval_s=1 / rate_of_windows if rate_of_windows else None,
            false_alarms=self._budget,
            streams=2 * (len(self._rates) - len(unstated)),
            not_watched=tuple(f"guard '{name}': {NO_RATE}" for name in unstated),
        )

    def _item(self, item: Item, name: str, limit: float, now: float) -> Item:
        metric = self._metrics[name]
        seen = self._pooled.resolution(metric, self._window.size, now)
        # A share cannot fall by more than all of it.
        room = limit if metric.direction == "below" else 1 - limit
        sees = {} if seen is None else seen.sees()
        return replace(
            item,
            statistic=f"{metric.direction} what is stated",
            threshold=limit,
            level=None if seen is None else seen.level(self._window.size),
            false_alarms=self._budget / (2 * sum(r is not None for r in self._rates.values())),
            factor=self._pooled.factor(name),
            basis=BASIS,
            sees={within: gap for within, gap in sees.items() if gap <= room},
            needs=None if seen is None else seen.needs(room if room == limit else limit),
        )

    def _judge(self) -> list[Finding]:
        judged = {each.metric.name: each for each in self._pooled.judge()}
        return [
            replace(
                _finding(guard, rate, *(judged[name] for name in _names(guard))),
                window=self._window.span,
                window_id=self._window.ident,
            )
            for guard, rate in self._rates.items()
        ]

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "rates": self._rates,
            "window": self._window.state(),
            "pooled": self._pooled.state(),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings of other rates are left out.

        Raises:
            ValueError, KeyError, TypeError: the state is of other guards.
        """
        found, window = findings_from_state(state["findings"]), TumblingWindow(self._window.size)
        same = state["rates"] == self._rates
        window.restore(state["window"])
        self._pooled.restore(state["pooled"])
        self._window = window
        self._findings = found if same else []
        return list(self._findings)


def _names(guard: str) -> tuple[str, str]:
    return f"{guard}/above", f"{guard}/below"


def _limits(rate: float) -> tuple[float, float]:
    # Of a rate above two thirds no share of rows can be off above.
    return 1 - (1 - rate) / OFF if rate * OFF > 1 else rate * OFF, rate / OFF


def _metrics(guard: str, at: int, guards: int) -> tuple[Metric, Metric]:
    def of(sums: np.ndarray, level: Level) -> Estimate:
        return proportion(sums[:, at], sums[:, guards + at], level)

    def why(sums: np.ndarray) -> str:
        return NO_ROWS

    above, below = _names(guard)
    return (
        Metric(name=above, direction="above", of=of, why=why, share=True),
        Metric(name=below, direction="below", of=of, why=why, share=True),
    )


def _finding(guard: str, rate: float | None, above: Judged, below: Judged) -> Finding:
    """Return the finding of a guard: that of the bound that is breached, or else of the upper."""
    judged = below if below.breached else above
    part = judged.lookback if judged.breached and judged.lookback else judged.latest
    bounded = math.isfinite(part.low) and math.isfinite(part.high)
    unknown = judged.reason or (NO_RATE if rate is None else "")
    detail: dict[str, Any] = {}
    if rate is not None and judged.lookback is not None:
        low, high = _limits(rate)[::-1]
        detail = {
            "stated": rate, "fine": [low, high], "dead": bool(below.breached and part.value == 0),
            "factor": round(judged.lookback.factor, 3), "windows": judged.lookback.windows,
        }  # fmt: skip
    return Finding(
        monitor="guard_rate",
        metric="flagged_share",
        subject=guard,
        value=part.value,
        threshold=judged.threshold,
        direction=judged.metric.direction,
        breached=judged.breached,
        n_reference=0,
        n_current=part.rows,
        window=(0.0, 0.0),
        ci=(part.low, part.high) if bounded else None,
        reason=unknown if judged.breached is None else "",
        severity="ticket",
        since=part.since if judged.breached else None,
        detail=detail,
    )
