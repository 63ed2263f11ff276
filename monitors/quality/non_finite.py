"""Answers that can be none: NaN or infinity, and the same one to whatever is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.quality.constant_run import ConstantRun
from monitors.rows import Rows
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

NON_FINITE: Final = "non_finite_rows"
NO_INPUTS: Final = "the inputs are not watched: the same one may have been sent again and again"


class NonFiniteMonitor:
    """Number of rows in which an output is not finite, and constant answers, over windows.

    Beside `non_finite_rows` each window has the finding `constant_rows`: how many rows at its end
    had the same answer, to inputs that differed. It breaches from 1,000 rows on, or from 20 times
    the longest such run before; see `ConstantRun`. Without inputs it is not judged.

    For numbers that are none there is no test: a model that is right never answers so, and one such
    row breaches, at once. That it answers as it should takes a whole window of rows without one. So
    the findings of the current window are returned too, as soon as it has a row that is not finite.

    Args:
        outputs: names of the floating-point outputs; others have no such values.
        window: rows per window.
    """

    needs: ClassVar[Needs] = Needs(columns=True, outputs=True)

    def __init__(self, outputs: Sequence[str], window: int = 100) -> None:
        self._outputs = tuple(outputs)
        self._window = TumblingWindow(window)
        self._counts = dict.fromkeys(self._outputs, 0)
        self._runs = {name: ConstantRun() for name in self._outputs}
        self._findings: list[Finding] = []

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Take in a batch; outputs that it lacks count as finite."""
        bad = {
            name: ~np.isfinite(rows.outputs[name]).reshape(rows.n, -1).all(axis=1)
            for name in self._outputs
            if name in rows.outputs and rows.n
        }
        answers = {name: rows.outputs[name].reshape(rows.n, -1) for name in bad}
        columns = list(rows.columns.values())
        found: list[Finding] = []

        def count(part: slice) -> None:
            for name, flags in bad.items():
                self._counts[name] += int(np.count_nonzero(flags[part]))
                self._runs[name].add(answers[name][part], [each[part] for each in columns])

        def close() -> None:
            found.extend(self._judge(name) for name in self._outputs)
            found.extend(self._constant(name) for name in self._outputs)
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

    def watched(self, now: float) -> Watched:
        """Return both checks of each output."""
        exact = "no chance: one row is enough"
        longer = "runs of equal answers before"
        items = [
            each
            for name in self._outputs
            for each in (
                Item(metric=NON_FINITE, subject=name, severity="page", threshold=0.0, basis=exact),
                Item(
                    metric="constant_rows",
                    subject=name,
                    severity="ticket",
                    threshold=float(self._runs[name].limit),
                    basis=longer,
                ),
            )
        ]
        return Watched(
            items=tuple(items), reference="none is needed", window=self._window.size
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after a restart, as JSON values."""
        return {
            "window": self._window.state(),
            "counts": {
                name: [count, self._runs[name].state()] for name, count in self._counts.items()
            },
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
        counts, runs = {}, {}
        for name, saved in state["counts"].items():
            # Runs were not followed at first.
            counts[name], run = (saved, None) if isinstance(saved, int) else saved
            runs[name] = ConstantRun()
            if run is not None:
                runs[name].restore(run)
        self._window.restore(state["window"])
        self._counts = counts
        self._runs = runs
        self._findings = found
        return list(self._findings)

    def _so_far(self) -> list[Finding]:
        """Judge the current window; a breach of the last one stands until a window is clean."""
        last = {each.subject: each for each in self._findings if each.metric == NON_FINITE}
        constant = [each for each in self._findings if each.metric != NON_FINITE]
        found = []
        for name in self._outputs:
            before = last.get(name)
            stands = before is not None and before.breached and not self._counts[name]
            found.append(before if before and stands else self._judge(name))
        return [*found, *constant]

    def _judge(self, output: str) -> Finding:
        return Finding(
            monitor="quality",
            metric=NON_FINITE,
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

    def _constant(self, output: str) -> Finding:
        run = self._runs[output]
        limit = float(run.limit)
        return Finding(
            monitor="quality",
            metric="constant_rows",
            subject=output,
            value=float(run.rows),
            threshold=limit,
            direction="above",
            breached=run.rows >= limit and run.varied if run.sees_inputs else None,
            reason="" if run.sees_inputs else NO_INPUTS,
            n_reference=0,
            n_current=self._window.rows,
            window=self._window.span,
            severity="ticket",
            window_id=self._window.ident,
        )
