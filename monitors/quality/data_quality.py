"""Quality of the inputs: complete, of the right type, in range, with the columns that they had."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np

from monitors.alarms.cell import Cell
from monitors.alarms.decisions import Decisions
from monitors.alarms.law import StreamLaw
from monitors.alarms.law_windows import LawWindows, WindowSettings
from monitors.alarms.reference import ReferenceMoments
from monitors.finding import Finding, Severity, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.quality.checks import CHECKS, Expected, NumberChecks, violations
from monitors.rows import Rows
from monitors.watched import Item, Watched

HARD: Final = 0.5
"""Share of rows from which on a check that rows used to pass is broken hard."""
MOST_NAMED: Final = 50
"""Columns that are counted as missing or extra, and named."""

UNCHECKED: Final = "no row of the window had a value to check"

_PRIOR: Final = 0.5


class DataQualityMonitor:
    """Whether inputs are as good as those of the reference, over windows.

    One finding per check, about all columns: its value is the number of columns that fail it,
    which `detail` names. `completeness`, `data_type`, `categorical_values` and `range` compare the
    share of rows that violate the check with that of the reference, by the law of alarms.
    `missing_columns` and `extra_columns` need no test: a row without a column of the reference, or
    with one that it did not have, is a violation. The names are those of Amazon SageMaker Model
    Monitor's constraint violations; its baseline drift is what the drift monitor finds.

    A breach is worth a page where half the rows violate what the reference's rows met, and a
    ticket elsewhere.

    Args:
        expected: what the reference's columns are like, by name.
        settings: how windows are cut and judged.

    Raises:
        ValueError: there is no column.
    """

    needs: ClassVar[Needs] = Needs(columns=True)

    def __init__(self, expected: Mapping[str, Expected], settings: WindowSettings) -> None:
        if not expected:
            raise ValueError("data quality needs at least one column")
        self._expected = dict(expected)
        self._names = list(expected)
        self._n_reference = max(each.rows for each in expected.values())
        streams = [(check, name) for name, each in expected.items() for check in each.checks]
        self._streams = {stream: at for at, stream in enumerate(streams)}
        self._numbers = NumberChecks(expected)
        made = [self._streams[c, n] for c in NumberChecks.checks for n in self._numbers.names]
        shape = len(NumberChecks.checks), len(self._numbers.names)
        self._of_numbers = np.array(made, np.int64).reshape(shape)
        self._reference = self._moments()
        law = StreamLaw(len(streams), self._reference, settings.rate)
        self._windows = LawWindows(law, settings)
        self._window = self._windows.current
        self._rate = settings.rate
        self._findings: list[Finding] = []
        self._clear()
        raw = [{name: each.to_dict() for name, each in expected.items()}, settings.window,
               str(settings.window_s)]  # fmt: skip
        self._fingerprint = hashlib.sha256(json.dumps(raw).encode()).hexdigest()

    def _clear(self) -> None:
        self._defined = np.zeros(len(self._streams), np.int64)
        self._violated = np.zeros(len(self._streams), np.int64)
        self._absent: dict[str, int] = {}
        self._extra: dict[str, int] = {}

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._windows.filled

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Check rows; judge each window that they end."""
        if not rows.n:
            return []
        columns = rows.columns
        absent = [name for name in self._names if name not in columns]
        extra = [name for name in columns if name not in self._expected]
        numbers = {
            name: columns[name]
            for name in self._numbers.names
            if name in columns and columns[name].dtype.kind in "biuf"
        }
        violated = self._numbers.violations(numbers, rows.n)
        here = np.array([name in numbers for name in self._numbers.names], np.int64)
        others = {
            self._streams[check, name]: found
            for name in self._names
            if name in columns and name not in numbers
            for check, found in violations(self._expected[name], columns[name]).items()
        }
        closed: list[Finding] = []

        def count(part: slice) -> None:
            n = part.stop - part.start
            bad = np.count_nonzero(violated[:, :, part], axis=2)
            # A type and a range are those of values that are there.
            defined = np.stack([here * n, here * n - bad[0], here * n - bad[0]])
            self._violated[self._of_numbers] += bad
            self._defined[self._of_numbers] += defined
            for at, (made, failed) in others.items():
                self._defined[at] += np.count_nonzero(made[part])
                self._violated[at] += np.count_nonzero(failed[part])
            for names, counted in ((absent, self._absent), (extra, self._extra)):
                for name in names[:MOST_NAMED]:
                    counted[name] = counted.get(name, 0) + n

        def close() -> None:
            closed.extend(self._close())
            self._clear()

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows end with rows."""
        return []

    def watched(self, now: float) -> Watched:
        """Return each check of each column, and the columns themselves."""
        named = [
            Item(metric=check, subject=name, severity="ticket", unit="share")
            for check, name in self._streams
        ]
        exact = "no chance: one row is enough"
        columns = (
            Item(metric="missing_columns", severity="page", threshold=0.0, basis=exact),
            Item(metric="extra_columns", severity="ticket", threshold=0.0, basis=exact),
        )
        items = (*columns, *self._windows.items(named))
        return self._windows.watched(items, f"{self._n_reference} rows of the reference")

    def state(self) -> dict[str, Any]:
        """Return counts, position, law and last findings as JSON values; the size is constant."""
        return {
            "expected": self._fingerprint,
            "rate": self._rate,
            "defined": self._defined.tolist(),
            "violated": self._violated.tolist(),
            "absent": dict(self._absent),
            "extra": dict(self._extra),
            **self._windows.state(),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned; findings of another budget are left out.

        Raises:
            ValueError: the state is of other columns or another window.
        """
        if state["expected"] != self._fingerprint:
            raise ValueError("the quality state belongs to another reference, columns or window")
        found = findings_from_state(state["findings"]) if state["rate"] == self._rate else []
        defined = np.array(state["defined"], np.int64)
        violated = np.array(state["violated"], np.int64)
        absent, extra = dict(state["absent"]), dict(state["extra"])
        self._windows.restore(state)
        self._defined, self._violated = defined, violated
        self._absent, self._extra = absent, extra
        self._findings = found
        return list(found)

    def _moments(self) -> ReferenceMoments:
        """Return the shares of the reference's rows that violate each check."""
        found = [self._expected[name].violated(check) for check, name in self._streams]
        n = np.array([rows for rows, _ in found], np.float64)
        violated = np.array([bad for _, bad in found], np.float64)
        mean = (violated + _PRIOR) / (n + 2 * _PRIOR)
        return ReferenceMoments(mean=mean, variance=mean * (1 - mean), n=n)

    def _cell(self, span: tuple[float, float], rows: int) -> Cell:
        sums, counts = self._violated.astype(np.float64), self._defined.astype(np.float64)
        return Cell(
            first=span[0], last=span[1], n=rows, counts=counts, sums=sums, squares=sums
        )  # fmt: skip

    def _close(self) -> Sequence[Finding]:
        decisions = self._windows.decide(self._cell)
        tested = [self._tested(check, decisions) for check in CHECKS]
        columns = [
            self._counted("missing_columns", self._absent, "page"),
            self._counted("extra_columns", self._extra, "ticket"),
        ]
        return [*columns, *(each for each in tested if each is not None)]

    def _tested(self, check: str, decisions: Decisions) -> Finding | None:
        """Judge a check of all columns that have it; None where no column has."""
        streams = {name: at for (of, name), at in self._streams.items() if of == check}
        if not streams:
            return None
        failed = {name: at for name, at in streams.items() if decisions.alarm[at]
                  and decisions.effect[at] > 0}  # fmt: skip
        worst = sorted(failed, key=lambda name: -decisions.value[failed[name]])
        hard = any(
            decisions.value[at] >= HARD > 2 * self._reference.mean[at] for at in failed.values()
        )
        if not failed and not any(self._defined[at] for at in streams.values()):
            return self._unchecked(check)
        since = [float(decisions.since[at]) for at in failed.values()]
        p = min(float(decisions.p[at]) for at in streams.values()) * decisions.streams
        return self._finding(
            check,
            [self._column(name, failed[name], decisions) for name in worst],
            "page" if hard else "ticket",
            p_value=min(p, 1.0),
            since=min((at for at in since if not math.isnan(at)), default=None),
        )

    def _column(self, name: str, at: int, decisions: Decisions) -> dict[str, Any]:
        return {
            "column": name,
            "share": round(float(decisions.value[at]), 6),
            "expected": round(float(decisions.value[at] - decisions.effect[at]), 6),
            "data_type": self._expected[name].quality.data_type,
        }

    def _unchecked(self, check: str) -> Finding:
        """Return that nobody knows: no row of the window had a value that could be checked."""
        found = self._finding(check, [], "ticket", p_value=None, since=None)
        return replace(found, value=math.nan, breached=None, reason=UNCHECKED)

    def _counted(self, check: str, rows: Mapping[str, int], severity: Severity) -> Finding:
        n = self._window.rows
        columns = [{"column": name, "share": count / n} for name, count in sorted(rows.items())]
        return self._finding(check, columns, severity, p_value=None, since=None)

    def _finding(
        self,
        check: str,
        columns: list[dict[str, Any]],
        severity: Severity,
        *,
        p_value: float | None,
        since: float | None,
    ) -> Finding:
        first, _ = self._window.span
        return Finding(
            monitor="data_quality",
            metric=check,
            subject="",
            value=float(len(columns)),
            threshold=0.0,
            direction="above",
            breached=bool(columns),
            n_reference=self._n_reference,
            n_current=self._window.rows,
            window=self._window.span,
            p_value=p_value,
            severity=severity,
            window_id=self._window.ident,
            since=(since if since is not None else first) if columns else None,
            detail={"columns": columns[:MOST_NAMED]} if columns else {},
        )
