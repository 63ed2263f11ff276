"""Live accuracy of a classifier on the rows whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
from scipy.special import bdtr

from monitors.finding import NO_THRESHOLD, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.performance.mean_score import Measure
from monitors.rows import Corrections, Rows
from monitors.statistics.wilson import wilson
from monitors.windows.tumbling_window import TumblingWindow

CLASS_SCORES: Final = (Measure("accuracy", lambda predicted, truth: predicted == truth),)


class AccuracyMonitor:
    """Accuracy over tumbling windows of labelled rows, with its Wilson interval.

    The verdict is an exact binomial test, because one end of Wilson's interval alone misses its
    level when nearly all answers are right: a model that is at least as good as the minimum has
    a false alarm in at most `false_alarm_rate` of its windows. Without a minimum there is nothing
    to test, so the accuracy is reported and the verdict is unknown.

    Args:
        minimum: accuracy below which the model is not good enough; None: not known.
        window: labelled rows per window.
        false_alarm_rate: bound on the probability of a false alarm per window.
        confidence: of the interval that is reported.
    """

    needs: ClassVar[Needs] = Needs(predicted=True, labels=True)

    def __init__(
        self,
        minimum: float | None,
        window: int,
        false_alarm_rate: float = 0.001,
        confidence: float = 0.95,
    ) -> None:
        self._minimum, self._rate, self._confidence = minimum, false_alarm_rate, confidence
        self._window = TumblingWindow(window)
        self._correct = 0
        self._findings: list[Finding] = []

    @property
    def filled(self) -> tuple[int, int]:
        """Labelled rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count labelled rows that were right; judge each window that they fill."""
        assert rows.predicted is not None
        right = rows.predicted == rows.labels
        closed: list[Finding] = []

        def count(part: slice) -> None:
            self._correct += int(right[part].sum())
            self._window.labelled(rows.positions[part])

        def close() -> None:
            closed.append(self._judge(self._correct, self._window.span, self._window.ident))
            self._correct = 0

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Count rows that are right or wrong only now; see `RevisesLabels`."""
        rows, before = corrections.rows, corrections.labels
        assert rows.predicted is not None
        assert rows.labels is not None
        changes = (rows.predicted == rows.labels).astype(int) - (rows.predicted == before)
        positions = np.asarray(rows.positions)
        self._correct += int(changes[self._window.in_current(positions)].sum())
        revised = self._window.in_latest(positions) & (rows.labels != before)
        if not self._findings or not revised.any():
            return []
        last = self._findings[-1]
        correct = round(last.value * last.n_current) + int(changes[revised].sum())
        found = self._judge(correct, last.window, last.window_id)
        self._findings = [replace(found, revised=last.revised + int(revised.sum()))]
        return list(self._findings)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in labelled rows."""
        return []

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "window": self._window.state(),
            "correct": self._correct,
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings that another minimum judged are left out."""
        correct, found = state["correct"], findings_from_state(state["findings"])
        self._window.restore(state["window"])
        self._correct = correct
        self._findings = [each for each in found if each.threshold == self._minimum]
        return list(self._findings)

    def _judge(self, correct: int, span: tuple[float, float], ident: str) -> Finding:
        rows = self._window.size
        p_value = None
        if self._minimum is not None:
            p_value = float(bdtr(correct, rows, self._minimum))
        return Finding(
            monitor="performance",
            metric="accuracy",
            subject="",
            value=correct / rows,
            threshold=self._minimum,
            direction="below",
            breached=None if p_value is None else p_value <= self._rate,
            n_reference=0,
            n_current=rows,
            window=span,
            p_value=p_value,
            ci=wilson(correct, rows, self._confidence),
            reason=NO_THRESHOLD if p_value is None else "",
            severity="page",
            window_id=ident,
        )
