"""Drift: every window of a stream against a reference, by one law over all statistics of a row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from monitors.alarms.law import StreamLaw
from monitors.drift.column_findings import ColumnFindings, Window
from monitors.drift.features.vector import FeatureVector, Tally
from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from monitors.windows.tumbling_window import TumblingWindow

LEAST_ROWS: Final = 50
"""Rows that a window needs which ends with its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """How windows are cut and judged.

    Attributes:
        window: rows per window.
        window_s: seconds after which a window ends with fewer rows, but at least `LEAST_ROWS`.
        rate: expected false alarms per 90 days, over all columns, statistics and windows.
        min_psi: smallest PSI of a column that is worth an alarm; 0: the law alone decides.
    """

    window: int = 1000
    window_s: float = math.inf
    rate: float = 12.0
    min_psi: float = 0.0


class DistributionDriftMonitor:
    """Whether the distribution of columns has changed: each by itself, and in pairs.

    Of every row bounded statistics are taken (`monitors.drift.features`); their sums over a window
    go to one law (`monitors.alarms.law`), which decides for all of them under one budget of false
    alarms. A column has drifted when one of its statistics has an alarm, and its finding says
    which one.

    Findings per column: `psi`, less what chance adds to it, with an interval and the verdict, and
    of numeric columns `ks`, the gap between the distribution functions, with the same verdict. For
    all of them: `drifted_features` (or what `total` says), the number of columns that have
    drifted, and `correlations`, the number of buckets of pairs of numeric columns in which some go
    together in another way than before; the pair that moved most in each is named. p-values are
    adjusted for the number of statistics.

    Args:
        reference: bins and counts to compare with.
        settings: how windows are cut and judged.
        values: what of rows is watched, by name of the reference's columns.
        needs: what must be in the rows for that.
        monitor: its name in findings.
        total: metric of the number of columns that have drifted.

    Raises:
        ValueError: the reference has no column.
    """

    needs: Needs
    inputs: ClassVar[Needs] = Needs(columns=True)

    def __init__(
        self,
        reference: ReferenceProfile,
        settings: DriftSettings,
        *,
        values: Callable[[Rows], Mapping[str, np.ndarray]] = lambda rows: rows.columns,
        needs: Needs = inputs,
        monitor: str = "drift",
        total: str = "drifted_features",
    ) -> None:
        if not reference.columns:
            raise ValueError("drift needs at least one column")
        self.needs = needs
        self._values = values
        self._features = FeatureVector(reference)
        self._law = StreamLaw(len(self._features.streams), self._features.moments(), settings.rate)
        least = min(LEAST_ROWS, settings.window)
        self._window = TumblingWindow(settings.window, settings.window_s, least)
        self._tally = Tally(self._features.codes, paired=self._features.paired)
        self._judge = ColumnFindings(reference, self._features, settings.min_psi, monitor, total)
        self._latest = -math.inf
        self._findings: list[Finding] = []
        self._judged_by = [settings.rate, settings.min_psi]
        self._fingerprint = _identity(reference, settings)

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count rows; judge each window that they end."""
        if not rows.n:
            return []
        codes = self._features.codes.codes(self._values(rows), rows.n)
        closed: list[Finding] = []

        def count(part: slice) -> None:
            self._tally.add(codes[:, part])

        def close() -> None:
            closed.extend(self._close())
            self._tally.clear()

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows end with rows."""
        return []

    def state(self) -> dict[str, Any]:
        """Return counts, position, law and last findings as JSON values; the size is constant."""
        return {
            "reference": self._fingerprint,
            "judged_by": self._judged_by,
            "window": self._window.state(),
            "tally": self._tally.state(),
            "latest": None if math.isinf(self._latest) else self._latest,
            "law": self._law.state(),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings of another budget are left out.

        Raises:
            ValueError: the state is of another reference or another window.
        """
        if state["reference"] != self._fingerprint:
            raise ValueError("the drift state belongs to another reference, columns or window")
        found = findings_from_state(state["findings"])
        same = state["judged_by"] == self._judged_by
        latest, window = state["latest"], state["window"]
        tally = Tally(self._features.codes, paired=self._features.paired)
        tally.restore(state["tally"])
        self._law.restore(state["law"])
        self._window.restore(window)
        self._tally = tally
        self._latest = -math.inf if latest is None else float(latest)
        self._findings = found if same else []
        return list(self._findings)

    def _close(self) -> Sequence[Finding]:
        window = Window(self._window.span, self._window.ident, self._window.rows)
        first, last = window.span
        # Events may be out of order; the law is shown windows in the order in which they ended.
        self._latest = last = max(last, self._latest)
        cell = self._features.cell((min(first, last), last), window.rows, self._tally)
        decisions = self._law.observe(cell, last)
        return self._judge.found(window, self._tally, decisions)


def _identity(reference: ReferenceProfile, settings: DriftSettings) -> str:
    window = [settings.window, str(settings.window_s)]
    raw = json.dumps([reference.to_dict(), window])
    return hashlib.sha256(raw.encode()).hexdigest()
