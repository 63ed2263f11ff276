"""The mean of a score per labelled row, window by window: errors of numbers, ranks of items."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from monitors.finding import NO_THRESHOLD, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.rows import Corrections, Rows
from monitors.windows.tumbling_window import TumblingWindow

NO_NUMBERS: Final = "too few answers of the window were numbers"


@dataclass(frozen=True, slots=True)
class Measure:
    """A score of a labelled row, and what is told of its mean.

    Attributes:
        name: the metric.
        of: takes what was predicted and what was true, float64 [n] or [n, k]; returns [n].
        root: whether the metric is the square root of the mean.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    root: bool = False

    def shown(self, mean: float) -> float:
        """Return the metric of a mean."""
        return math.sqrt(max(mean, 0.0)) if self.root else mean


Scores = tuple[int, list[float]]
"""A row's position among those with a label, and its score by measure; empty: no number."""


class MeanScoreMonitor:
    """Means of scores over tumbling windows of labelled rows, with Student's t interval.

    The verdict is a one-sided t-test of the mean against the threshold. Errors are skewed to the
    right and tested for being too large, ranks are skewed to the left and tested for being too
    small: skewness on that side makes the test raise fewer false alarms than `false_alarm_rate`,
    not more. Rows whose answer is no number have no score, and are in no mean; the monitor of
    quality counts them.

    Args:
        measures: what is told of each row.
        judged: name of the measure that the threshold is for.
        threshold: what its metric is compared with; None: not known.
        direction: on which side of it a metric is bad.
        window: labelled rows per window.
        false_alarm_rate: bound on the probability of a false alarm per window.
        confidence: of the intervals that are reported.
    """

    needs: ClassVar[Needs] = Needs(predicted=True, labels=True)

    def __init__(
        self,
        measures: Sequence[Measure],
        judged: str,
        threshold: float | None,
        direction: Literal["above", "below"],
        window: int,
        false_alarm_rate: float = 0.001,
        confidence: float = 0.95,
    ) -> None:
        self._measures, self._judged = measures, judged
        self._threshold, self._direction = threshold, direction
        self._rate, self._confidence = false_alarm_rate, confidence
        self._window = TumblingWindow(window)
        self._current: list[Scores] = []
        self._latest: list[Scores] = []
        self._findings: list[Finding] = []

    @property
    def filled(self) -> tuple[int, int]:
        """Labelled rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Score labelled rows; judge each window that they fill."""
        scores = self._scores(rows)
        closed: list[Finding] = []

        def count(part: slice) -> None:
            self._current += scores[part]
            self._window.labelled(rows.positions[part])

        def close() -> None:
            self._latest, self._current = self._current, []
            closed.extend(self._judge(self._window.span, self._window.ident, 0))

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Score rows anew whose label was replaced; see `RevisesLabels`."""
        rows = corrections.rows
        assert rows.labels is not None
        new = dict(self._scores(rows))
        positions = np.asarray(rows.positions)
        if self._window.in_current(positions).any():
            self._current = [(at, new.get(at, old)) for at, old in self._current]
        differ = rows.labels != corrections.labels
        differ = differ.any(axis=tuple(range(1, differ.ndim)))
        revised = int((self._window.in_latest(positions) & differ).sum())
        if not revised or not self._findings:
            return []
        self._latest = [(at, new.get(at, old)) for at, old in self._latest]
        last = self._findings[-1]
        self._findings = self._judge(last.window, last.window_id, last.revised + revised)
        return list(self._findings)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in labelled rows."""
        return []

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "measures": [measure.name for measure in self._measures],
            "window": self._window.state(),
            "current": [list(scores) for scores in self._current],
            "latest": [list(scores) for scores in self._latest],
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings that another threshold judged are left out.

        Raises:
            ValueError: the state is of other measures.
        """
        if state["measures"] != [measure.name for measure in self._measures]:
            raise ValueError("the state is of other measures")
        current, latest = ([(at, of) for at, of in state[which]] for which in ("current", "latest"))
        found = findings_from_state(state["findings"])
        self._window.restore(state["window"])
        self._current, self._latest = current, latest
        same = all(each.threshold == self._limit(each.metric) for each in found)
        self._findings = found if same else []
        return list(self._findings)

    def _scores(self, rows: Rows) -> list[Scores]:
        assert rows.predicted is not None
        assert rows.labels is not None
        predicted = np.asarray(rows.predicted, np.float64)
        known = numbers(predicted)
        by_measure = [each.of(predicted, rows.labels) for each in self._measures]
        columns = zip(*(each.tolist() for each in by_measure), strict=True)
        positions = np.asarray(rows.positions, np.int64).tolist() or [-1] * rows.n
        return [
            (at, list(of) if fine else [])
            for at, of, fine in zip(positions, columns, known.tolist(), strict=True)
        ]

    def _limit(self, metric: str) -> float | None:
        return self._threshold if metric == self._judged else None

    def _judge(self, span: tuple[float, float], ident: str, revised: int) -> list[Finding]:
        """Judge the latest window."""
        scores = [of for _, of in self._latest if of]
        empty = Finding(
            monitor="performance", metric="", subject="", value=math.nan,
            direction=self._direction, n_reference=0, n_current=len(scores), window=span,
            severity="page", window_id=ident, revised=revised,
        )  # fmt: skip
        return [
            self._of_measure(measure, [of[at] for of in scores], empty)
            for at, measure in enumerate(self._measures)
        ]

    def _of_measure(self, measure: Measure, scores: list[float], empty: Finding) -> Finding:
        limit, n = self._limit(measure.name), len(scores)
        found = replace(empty, metric=measure.name, threshold=limit)
        if n < 2:
            return replace(found, reason=NO_NUMBERS)
        # Sums that do not depend on the order: a correction gives what the label alone would have.
        mean = math.fsum(scores) / n
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in scores) / (n - 1) / n)
        reach = float(stdtrit(n - 1, (1 + self._confidence) / 2)) * deviation
        found = replace(
            found,
            value=measure.shown(mean),
            ci=(measure.shown(mean - reach), measure.shown(mean + reach)),
        )
        if limit is None:
            return replace(found, reason=NO_THRESHOLD)
        p_value = self._p_value(mean - (limit**2 if measure.root else limit), deviation, n)
        return replace(found, p_value=p_value, breached=p_value <= self._rate)

    def _p_value(self, apart: float, deviation: float, n: int) -> float:
        """Return the probability of a mean so far on the bad side."""
        worse = apart if self._direction == "above" else -apart
        if not deviation:
            return 0.0 if worse > 0 else 1.0
        return float(stdtr(n - 1, -worse / deviation))


def numbers(predicted: np.ndarray) -> np.ndarray:
    """Return which rows are numbers, bool [n]; of [n, k] those that are all numbers."""
    finite = np.isfinite(predicted).reshape(len(predicted), math.prod(predicted.shape[1:]))
    fine: np.ndarray = finite.all(axis=1)
    return fine
