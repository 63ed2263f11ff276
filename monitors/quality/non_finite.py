"""Answers that are no numbers: how many rows have NaN or infinity, for each output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.rows import Rows
from monitors.windows.tumbling_window import TumblingWindow


class NonFiniteMonitor:
    """Number of rows in which an output is not finite, over tumbling windows.

    There is no test: a model that is right never answers so, and one such row breaches, at once.
    That it answers as it should takes a whole window of rows without one. So the findings of the
    current window are returned too, as soon as it has a row that is not finite.

    Args:
        outputs: names of the floating-point outputs; others have no such values.
        window: rows per window.
    """

    needs: ClassVar[Needs] = Needs(outputs=True)

    def __init__(self, outputs: Sequence[str], window: int = 100) -> None:
        self._outputs = tuple(outputs)
        self._window = TumblingWindow(window)
        self._counts = dict.fromkeys(self._outputs, 0)
        self._findings: list[Finding] = []

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Take in a batch; outputs that it lacks count as finite."""
        bad = {
            name: ~np.isfinite(rows.outputs[name]).reshape(rows.n, -1).all(axis=1)
            for name in self._outputs
            if name in rows.outputs and rows.n
        }
        found: list[Finding] = []

        def count(part: slice) -> None:
            for name, flags in bad.items():
                self._counts[name] += int(flags[part].sum())

        def close() -> None:
            found.extend(self._judge(name) for name in self._outputs)
            self._counts = dict.fromkeys(self._outputs, 0)

        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = found or self._findings
        if rows.n and any(self._counts.values()):
            found += self._so_far()
            self._findings = found
        return found

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "window": self._window.state(),
            "counts": dict(self._counts),
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned.

        Raises:
            ValueError: it is of other outputs.
        """
        if state["counts"].keys() != self._counts.keys():
            raise ValueError("the state is of other outputs")
        found = findings_from_state(state["findings"])
        self._window.restore(state["window"])
        self._counts = dict(state["counts"])
        self._findings = found
        return list(self._findings)

    def _so_far(self) -> list[Finding]:
        """Judge the current window; a breach of the last one stands until a window is clean."""
        last = {finding.subject: finding for finding in self._findings}
        found = []
        for name in self._outputs:
            before = last.get(name)
            stands = before is not None and before.breached and not self._counts[name]
            found.append(before if before and stands else self._judge(name))
        return found

    def _judge(self, output: str) -> Finding:
        return Finding(
            monitor="quality",
            metric="non_finite_rows",
            subject=output,
            value=float(self._counts[output]),
            threshold=0.0,
            direction="above",
            breached=self._counts[output] > 0,
            n_reference=0,
            n_current=self._window.rows,
            window=self._window.span,
            severity="page",
            window_id=self._window.ident,
        )
