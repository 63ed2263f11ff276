"""Drift: every window of a stream against a reference, by one law over all statistics of a row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from monitors.alarms.law import StreamLaw
from monitors.alarms.law_windows import LawWindows, WindowSettings
from monitors.drift.column_findings import NO_CATEGORIES, ColumnFindings, Window
from monitors.drift.features.vector import FeatureVector, Stream, Tally
from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.reference.profile import ReferenceProfile
from monitors.rows import Rows
from monitors.watched import Item, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings(WindowSettings):
    """How windows are cut and judged.

    Attributes:
        min_psi: smallest PSI of a column that is worth an alarm; 0: the law alone decides.
    """

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
        law = StreamLaw(len(self._features.streams), self._features.moments(), settings.rate)
        self._windows = LawWindows(law, settings)
        self._tally = Tally(self._features.codes, paired=self._features.paired)
        self._judge = ColumnFindings(reference, self._features, settings.min_psi, monitor, total)
        self._findings: list[Finding] = []
        self._judged_by = [settings.rate, settings.min_psi]
        self._fingerprint = _identity(reference, settings)

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._windows.filled

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

        self._windows.current.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows end with rows."""
        return []

    def watched(self, now: float) -> Watched:
        """Return every statistic of every column, and the buckets of pairs of columns."""
        items = self._windows.items([_item(each) for each in self._features.streams])
        # A bucket's statistic is a sum over its pairs, over the root of their number.
        sizes = self._features.codes.sketch.sizes
        items = tuple(
            each
            if stream.bucket is None
            else replace(each, sees={
                horizon: shift * math.sqrt(sizes[stream.bucket])
                for horizon, shift in each.sees.items()
            })
            for each, stream in zip(items, self._features.streams, strict=True)
        )  # fmt: skip
        not_watched = [f"column '{name}': {NO_CATEGORIES}" for name in self._judge.not_watched]
        found = self._windows.watched(items, f"{self._judge.n_reference} rows of the reference")
        return replace(found, not_watched=tuple(not_watched))

    def state(self) -> dict[str, Any]:
        """Return counts, position, law and last findings as JSON values; the size is constant."""
        return {
            "reference": self._fingerprint,
            "judged_by": self._judged_by,
            "tally": self._tally.state(),
            **self._windows.state(),
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
        tally = Tally(self._features.codes, paired=self._features.paired)
        tally.restore(state["tally"])
        self._windows.restore(state)
        self._tally = tally
        self._findings = found if same else []
        return list(self._findings)

    def _close(self) -> Sequence[Finding]:
        tally, current = self._tally, self._windows.current
        decisions = self._windows.decide(lambda span, rows: self._features.cell(span, rows, tally))
        window = Window(current.span, current.ident, current.rows)
        return self._judge.found(window, tally, decisions)


def _item(stream: Stream) -> Item:
    if stream.bucket is not None:
        what = f"{stream.statistic} of pairs, bucket {stream.bucket}"
        return Item(metric="correlations", statistic=what, unit="correlation")
    return Item(metric="psi", subject=stream.column, statistic=stream.statistic)


def _identity(reference: ReferenceProfile, settings: DriftSettings) -> str:
    window = [settings.window, str(settings.window_s)]
    raw = json.dumps([reference.to_dict(), window])
    return hashlib.sha256(raw.encode()).hexdigest()
