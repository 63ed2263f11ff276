"""Drift of the inputs: every window of the stream against the reference, column by column."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from monitors.drift.column_codes import ColumnCodes, ColumnSpec
from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.reference.profile import CategoricalColumn, Column, ReferenceProfile
from monitors.rows import Rows
from monitors.statistics.binned_kolmogorov_smirnov import (
    binned_kolmogorov_smirnov,
    kolmogorov_smirnov_bound,
)
from monitors.statistics.chi_square import chi_square
from monitors.statistics.holm import holm
from monitors.statistics.population_stability_index import population_stability_index
from monitors.windows.tumbling_window import TumblingWindow

CERTAIN: Final = 1e-6
"""How far below the level that decides an upper bound of a p-value makes the exact one needless."""


NO_CATEGORIES: Final = "not watched: no text of it is frequent enough to be a category"
NOTHING_WATCHED: Final = "not watched: no input has numbers or categories to compare"


def every_column(reference: ReferenceProfile) -> list[ColumnSpec]:
    """Return all columns of the reference, for batches whose columns are [n]."""
    return [
        ColumnSpec(name, 0, name, categorical=isinstance(column, CategoricalColumn))
        for name, column in reference.columns.items()
    ]


class _Alike(NamedTuple):
    """Columns with as many bins.

    Attributes:
        members: their positions, [k].
        reference: rows per bin, [k, bins].
        places: of these bins in the flat counts, [k, bins].
    """

    members: np.ndarray
    reference: np.ndarray
    places: np.ndarray


def _has_bins(column: Column) -> bool:
    """Whether a change of the column's values can be seen in its counts."""
    return not (isinstance(column, CategoricalColumn) and not column.categories)


class DriftMonitor:
    """PSI and the exact binned Kolmogorov-Smirnov test (chi-square for categories) per column.

    A column has drifted when the test says so, adjusted by Holm over the columns, *and* the
    effect is large enough to matter: p-values shrink with the window, effects do not. The
    probability of any false alarm in one window is at most `false_alarm_rate`, whatever the
    dependence between columns; it holds over references and windows drawn from one population,
    so choose it against the number of windows that will be judged.

    Findings per column: `psi`, with the adjusted p-value and the verdict, and for numeric columns
    `ks`, the gap between the distribution functions, whose threshold is the classical critical
    value for orientation and whose verdict is that of `psi`. One for the model:
    `drifted_features`, the number of columns that drifted. A text column of which the reference
    has no category (each value is rare) cannot be compared: its `psi` is NaN, its verdict None.

    Args:
        reference: bins and counts to compare with.
        columns: which of its columns to watch, and where batches have them.
        window: rows per tumbling window.
        false_alarm_rate: bound on the probability of any false alarm per window.
        min_psi: smallest effect that is worth an alarm.

    Raises:
        ValueError: no columns, or one that the reference lacks or holds as another kind.
    """

    needs: ClassVar[Needs] = Needs(columns=True)

    def __init__(
        self,
        reference: ReferenceProfile,
        columns: Sequence[ColumnSpec],
        window: int,
        false_alarm_rate: float,
        min_psi: float,
    ) -> None:
        if not columns:
            raise ValueError("drift needs at least one column")
        for spec in columns:
            column = reference.columns.get(spec.name)
            if column is None or isinstance(column, CategoricalColumn) != spec.categorical:
                kind = "categorical" if spec.categorical else "numeric"
                raise ValueError(f"the reference has no {kind} column '{spec.name}'")
        self._reference = reference
        compared = [spec for spec in columns if _has_bins(reference.columns[spec.name])]
        self._specs = tuple(compared)
        self._not_watched = tuple(spec.name for spec in columns if spec not in compared)
        self._columns = [reference.columns[spec.name] for spec in compared]
        bins = [column.bins for column in self._columns]
        self._starts = np.concatenate(([0], np.cumsum(bins, dtype=np.int64)))
        self._alike = [self._group(bins, size) for size in sorted(set(bins))]
        self._codes = ColumnCodes(self._specs, self._columns, self._starts)
        self._rate, self._min_psi = false_alarm_rate, min_psi
        self._window = TumblingWindow(window)
        self._counts = np.zeros(self._starts[-1], dtype=np.int64)
        self._findings: list[Finding] = []
        self._fingerprint = self._identity()

    def _group(self, bins: Sequence[int], size: int) -> _Alike:
        members = [at for at, n in enumerate(bins) if n == size]
        places = self._starts[members][:, None] + np.arange(size)
        counts = np.stack([self._columns[at].counts for at in members])
        return _Alike(np.array(members), counts, places)

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count rows; judge each window that they fill."""
        if not rows.n:
            return []
        codes = self._codes.of(rows.columns, rows.n)
        closed: list[Finding] = []

        def count(part: slice) -> None:
            self._counts += np.bincount(codes[:, part].ravel(), minlength=len(self._counts))

        def close() -> None:
            closed.extend(self._judge())
            self._counts[:] = 0

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    def state(self) -> dict[str, Any]:
        """Return counts, position and last findings as JSON values; the size is constant."""
        return {
            "reference": self._fingerprint,
            "window": self._window.state(),
            "counts": self._counts.tolist(),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is of another reference, other columns, another window, or was
                judged by other thresholds.
        """
        if state["reference"] != self._fingerprint:
            raise ValueError("the drift state belongs to another reference, columns or window")
        counts = np.array(state["counts"], dtype=np.int64)
        found = findings_from_state(state["findings"])
        self._window.restore(state["window"])
        self._counts, self._findings = counts, found
        return list(found)

    def _judge(self) -> list[Finding]:
        return [
            *(self._compare() if self._specs else []),
            *(self._unknown("psi", name, NO_CATEGORIES) for name in self._not_watched),
            *([] if self._specs else [self._unknown("drifted_features", "", NOTHING_WATCHED)]),
        ]

    def _compare(self) -> list[Finding]:
        psi, gaps, bounds = self._measure()
        tests = [
            self._test(at, *test)
            for at, test in enumerate(zip(psi.tolist(), gaps, bounds, strict=True))
        ]
        p_values = holm(np.array([p for _, p in tests]))
        drifted = (p_values <= self._rate) & (psi >= self._min_psi)
        findings = []
        critical, finding = self._critical_gap(), self._finding
        verdicts = zip(self._specs, tests, drifted.tolist(), p_values.tolist(), strict=True)
        for value, (spec, (gap, _), verdict, p) in zip(psi.tolist(), verdicts, strict=True):
            subject = spec.name
            findings.append(finding("psi", subject, value, self._min_psi, verdict, p))
            if not spec.categorical:
                findings.append(finding("ks", subject, gap, critical, verdict, p))
        number = float(drifted.sum())
        least = float(p_values.min())
        return [
            *findings,
            finding("drifted_features", "", number, 0.0, bool(number), least),
        ]

    def _measure(self) -> tuple[np.ndarray, list[float], list[float]]:
        """PSI, gap and bound of its p-value of each column; of categories only PSI means anything.

        Columns with as many bins are computed at once.
        """
        psi, gaps, bounds = np.empty((3, len(self._specs)))
        for members, reference, places in self._alike:
            current = self._counts[places]
            psi[members] = population_stability_index(reference, current)
            gaps[members], bounds[members] = kolmogorov_smirnov_bound(reference, current)
        return psi, gaps.tolist(), bounds.tolist()

    def _test(self, at: int, psi: float, gap: float, bound: float) -> tuple[float, float]:
        """Statistic and p-value of one column."""
        categorical = self._specs[at].categorical
        # The exact p-value is worth its time only where it decides. A column whose PSI is too small
        # cannot alarm; one whose bound is far below the strictest level of Holm's procedure alarms
        # whatever the exact value is; and a p-value that is too large is safe for all others.
        certain = bound <= CERTAIN * self._rate / len(self._specs)
        if not categorical and (psi < self._min_psi or certain):
            return gap, bound
        reference = self._columns[at].counts
        current = self._counts[self._starts[at] : self._starts[at + 1]]
        return (chi_square if categorical else binned_kolmogorov_smirnov)(reference, current)

    def _critical_gap(self) -> float:
        """Smirnov's asymptotic critical value at the first level of Holm's procedure."""
        level = self._rate / len(self._specs)
        n, m = self._reference.n, self._window.size
        return math.sqrt(-math.log(level / 2) / 2 * (n + m) / (n * m))

    @property
    def _finding(self) -> Callable[[str, str, float, float, bool, float], Finding]:
        """What makes findings about the current window."""
        of_window = partial(
            Finding,
            monitor="drift",
            direction="above",
            n_reference=self._reference.n,
            n_current=self._window.size,
            window=self._window.span,
            window_id=self._window.ident,
        )
        return lambda metric, subject, value, threshold, verdict, p: of_window(
            metric=metric, subject=subject, value=value, threshold=threshold, breached=verdict,
            p_value=p,
        )  # fmt: skip

    def _unknown(self, metric: str, subject: str, reason: str) -> Finding:
        known = self._finding(metric, subject, math.nan, self._min_psi, False, 1.0)
        return replace(known, threshold=None, breached=None, p_value=None, reason=reason)

    def _identity(self) -> str:
        columns = [(s.input, s.index, s.name) for s in self._specs]
        judged = [self._window.size, self._rate, self._min_psi]
        raw = json.dumps([self._reference.to_dict(), columns, judged])
        return hashlib.sha256(raw.encode()).hexdigest()
