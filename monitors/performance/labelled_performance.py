"""How good a model is on the rows whose truth is known: all metrics of its kind of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np

from monitors.finding import NO_THRESHOLD, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.performance.metrics.estimate import Counts, Metric, Outcomes
from monitors.performance.pooled_metrics import BASIS, Judged, Part, PooledMetrics
from monitors.rows import Corrections, Rows
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

_WORSE: Final = 0.1
"""Share of a threshold by which a metric misses it where it is asked how soon that is seen."""


class LabelledPerformanceMonitor:
    """Metrics over tumbling windows of labelled rows, with verdicts over a pooled past.

    Each metric has a finding per window. Its value and its interval of 95 % are of that window,
    unless a breach is shown: then value, interval and rows are those of the lookback that shows it
    most clearly, `since` is when that began, and the interval holds at the level of the look. See
    `PooledMetrics` for what verdicts cost. Figures are exact, but those from histograms of scores
    (AUROC, average precision): their `detail` has `binning_error`, how far they may be off.

    Args:
        counts: what is added up of rows.
        metrics: that are told of it.
        thresholds: by name of a metric: what it is compared with. Others have no verdict.
        window: labelled rows per window.
        false_alarms: that are expected per quarter from all verdicts together, if the metrics are
            just at their thresholds all the time.

    Raises:
        ValueError: a threshold is of a metric that is not measured.
    """

    needs: ClassVar[Needs] = Needs(predicted=True, labels=True, scores=True)

    def __init__(
        self,
        counts: Counts,
        metrics: Sequence[Metric],
        thresholds: Mapping[str, float],
        window: int,
        false_alarms: float = 1.0,
    ) -> None:
        names = [each.name for each in metrics]
        for name in thresholds:
            if name not in names:
                raise ValueError(f"there is a threshold of {name}; measured are {', '.join(names)}")
        self._thresholds = thresholds
        self._metrics, self._budget = tuple(metrics), false_alarms
        self._window = TumblingWindow(window)
        self._pooled = PooledMetrics(counts, metrics, thresholds, false_alarms)
        self._findings: list[Finding] = []

    @property
    def filled(self) -> tuple[int, int]:
        """Labelled rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count labelled rows; judge when a window is full."""
        assert rows.predicted is not None
        assert rows.labels is not None
        outcomes = Outcomes(rows.predicted, rows.labels, rows.scores)
        closed: list[Finding] = []

        def count(part: slice) -> None:
            positions = rows.positions[part]
            self._pooled.add(rows.timestamp, positions, outcomes.some(part))
            self._window.labelled(positions)

        def close() -> None:
            self._pooled.close(self._window.span[1])
            self._findings = self._judge(self._window.span, self._window.ident, 0)
            closed.extend(self._findings)

        self._window.add(rows.n, rows.timestamp, count, close)
        return closed

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Count rows by the labels that they have now; see `RevisesLabels`.

        Older windows stay as they were judged, but lookbacks count what is true now.
        """
        rows, before = corrections.rows, corrections.labels
        assert rows.predicted is not None
        assert rows.labels is not None
        differ = rows.labels != before
        differ = differ.any(axis=tuple(range(1, differ.ndim)))
        positions = np.asarray(rows.positions, np.int64)[differ]
        now_known = Outcomes(rows.predicted, rows.labels, rows.scores).some(differ)
        changed = self._pooled.revise(
            positions, now_known._replace(labels=before[differ]), now_known
        )
        if not changed or not self._findings:
            return []
        revised = int(self._window.in_latest(positions).sum())
        last = self._findings[-1]
        found = self._judge(last.window, last.window_id, last.revised + revised)
        if not revised and repr(found) == repr(self._findings):
            return []
        self._findings = found
        return list(found)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in labelled rows."""
        return []

    def watched(self, now: float) -> Watched:
        """Return the metrics, and what losses can be seen at the present rate of labels."""
        rate = self._pooled.rate(now)
        return Watched(
            items=tuple(self._item(each, now) for each in self._metrics),
            reference="thresholds",
            counts="labelled rows",
            window=self._window.size,
            interval_s=None if rate is None else 1 / rate,
            false_alarms=self._budget if self._thresholds else None,
            streams=len(self._thresholds),
        )

    def _item(self, metric: Metric, now: float) -> Item:
        threshold = self._thresholds.get(metric.name)
        item = Item(metric=metric.name, severity="page", threshold=threshold, unit="metric")
        if threshold is None:
            return replace(item, not_judged=NO_THRESHOLD)
        seen = self._pooled.resolution(metric, self._window.size, now)
        gap = abs(threshold) * _WORSE
        return replace(
            item,
            level=None if seen is None else seen.level(self._window.size),
            false_alarms=self._budget / len(self._thresholds),
            factor=self._pooled.factor(metric.name),
            basis=BASIS,
            sees={} if seen is None else seen.sees(),
            needs=None if seen is None or not gap else seen.needs(gap),
        )

    def _judge(self, span: tuple[float, float], ident: str, revised: int) -> list[Finding]:
        return [
            replace(_finding(judged), window=span, window_id=ident, revised=revised)
            for judged in self._pooled.judge()
        ]

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "window": self._window.state(),
            "pooled": self._pooled.state(),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings of other thresholds are left out.

        Raises:
            ValueError, KeyError, TypeError: the state is of other labels or classes.
        """
        found, window = findings_from_state(state["findings"]), TumblingWindow(self._window.size)
        window.restore(state["window"])
        self._pooled.restore(state["pooled"])
        self._window = window
        same = all(each.threshold == self._thresholds.get(each.metric) for each in found)
        self._findings = found if same else []
        return list(self._findings)


def _finding(judged: Judged) -> Finding:
    part = judged.lookback if judged.breached and judged.lookback else judged.latest
    bounded = math.isfinite(part.low) and math.isfinite(part.high)
    unknown = judged.reason or (NO_THRESHOLD if judged.threshold is None else "")
    return Finding(
        monitor="performance",
        metric=judged.metric.name,
        subject="",
        value=part.value,
        threshold=judged.threshold,
        direction=judged.metric.direction,
        breached=judged.breached,
        n_reference=0,
        n_current=part.rows,
        window=(0.0, 0.0),
        ci=(part.low, part.high) if bounded else None,
        reason=unknown if judged.breached is None else "",
        severity="page",
        since=part.since if judged.breached else None,
        detail={**_evidence(judged), **judged.more},
    )


def _evidence(judged: Judged) -> dict[str, Any]:
    """Return what the verdict rests on."""
    latest, lookback = judged.latest, judged.lookback
    found: dict[str, Any] = {}
    if lookback is not None and not math.isnan(lookback.value):
        found = {
            "factor": round(lookback.factor, 3),
            "windows": lookback.windows,
            "lookback_since": lookback.since,
            "lookback_rows": lookback.rows,
            **_figures("lookback", lookback),
        }
    if judged.breached and not math.isnan(latest.value):
        found |= _figures("window", latest)
    return found


def _figures(of_what: str, part: Part) -> dict[str, float]:
    figures = {"value": part.value, "low": part.low, "high": part.high}
    return {
        f"{of_what}_{name}": figure for name, figure in figures.items() if math.isfinite(figure)
    }
