"""Demographic parity: whether groups are selected at the same rate, window by window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from monitors.events import PredictionEvent
from monitors.finding import Finding
from monitors.finding_state import findings_from_state, findings_to_state
from monitors.label_join import JoinedRow
from monitors.newcombe import newcombe
from monitors.predicted_class import predicted_class
from monitors.tumbling_window import TumblingWindow

SMALLEST_GROUP = 20
"""Groups with fewer rows take no part in any figure: it could say something about a person."""

MOST_GROUPS = 256
"""Groups counted per attribute and window, whatever text clients send."""

Cells = dict[str, list[int]]
"""By group: [selected, rows]."""


class SelectionRateMonitor:
    """Demographic parity difference and ratio per sensitive attribute over tumbling windows.

    The selection rate of a group is the share of its rows whose predicted class is the
    favourable one; the difference is the largest rate minus the smallest, the ratio the smallest
    over the largest, as fairlearn defines them, over the groups of at least `SMALLEST_GROUP`
    rows. The interval of the difference is Newcombe's for the two extreme groups.

    A window is a breach if, for some two groups of at least `min_rows`, the whole interval lies
    above the tolerance. The intervals hold together for all pairs of groups and all attributes
    (Bonferroni), so a window in which no true difference is above the tolerance is called a
    breach with probability 1 - confidence or less (Newcombe's interval is approximate: enumerated
    for groups of 100 and 400 rows it stays within a fifth of that). That is the price of one
    look: the default is one false alarm in a thousand windows, as for drift. The verdict is None
    while no breach is shown and a group with too few rows, or the lack of a second group, leaves
    it open.

    Findings name the attribute, never a group.

    Args:
        attributes: names of the sensitive attributes.
        favorable_index: class index of the favourable outcome.
        output_name: the output that holds the scores.
        tolerance: largest acceptable difference.
        window: predicted rows per window, whether or not they name their groups.
        confidence: joint confidence of the intervals of one window.
        min_rows: rows that a group needs for a verdict.
    """

    def __init__(
        self,
        attributes: Sequence[str],
        favorable_index: int,
        output_name: str,
        tolerance: float,
        window: int,
        confidence: float = 0.999,
        min_rows: int = 100,
    ) -> None:
        self._favorable, self._output = favorable_index, output_name
        self._tolerance, self._confidence, self._min_rows = tolerance, confidence, min_rows
        self._window = TumblingWindow(window)
        self._cells: dict[str, Cells] = {name: {} for name in attributes}
        self._findings: list[Finding] = []

    def update(self, event: PredictionEvent) -> None:
        """Count the event's rows by group; judge each window that they fill."""
        if not event.rows:
            return
        predicted = predicted_class(event.outputs[self._output])
        selected = predicted == self._favorable
        completed: list[Finding] = []

        def count(part: slice) -> None:
            known = predicted[part] >= 0
            for name, cells in self._cells.items():
                if name in event.sensitive_features:
                    groups = event.sensitive_features[name][part][known].tolist()
                    _count(cells, zip(groups, selected[part][known].tolist(), strict=True))

        def close() -> None:
            completed.extend(self._judge())
            for cells in self._cells.values():
                cells.clear()

        self._window.add(event.rows, event.timestamp, count, close)
        self._findings = completed or self._findings

    def update_joined(self, rows: Sequence[JoinedRow]) -> None:
        """Count rows whose sensitive values came with the label, in the current window."""
        for row in rows:
            for name, value in row.sensitive_features.items():
                if name in self._cells and row.predicted >= 0:
                    _count(self._cells[name], [(value, row.predicted == self._favorable)])

    def evaluate(self) -> list[Finding]:
        """Return the findings of the last window, or of all windows that one event filled."""
        return list(self._findings)

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def state(self) -> dict[str, Any]:
        """Return counts by group, position and last findings as JSON values."""
        cells = {
            name: {g: list(c) for g, c in cells.items()} for name, cells in self._cells.items()
        }
        return {
            "judges": self._judges(),
            "window": self._window.state(),
            "cells": cells,
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is about other attributes, another outcome, tolerance or window.
        """
        if state["judges"] != self._judges() or state["cells"].keys() != self._cells.keys():
            raise ValueError("the fairness state is about other attributes, or judged otherwise")
        self._window.restore(state["window"])
        for name, cells in state["cells"].items():
            self._cells[name] = {group: list(cell) for group, cell in cells.items()}
        self._findings = findings_from_state(state["findings"])

    def _judges(self) -> list[Any]:
        return [self._output, self._favorable, self._tolerance, self._window.size]

    def _judge(self) -> list[Finding]:
        return [
            finding for name, cells in self._cells.items() for finding in self._compare(name, cells)
        ]

    def _compare(self, attribute: str, cells: Cells) -> list[Finding]:
        shown = sorted(
            (cell for cell in cells.values() if cell[1] >= SMALLEST_GROUP),
            key=lambda cell: cell[0] / cell[1],
        )
        difference = ratio = math.nan
        interval = None
        if len(shown) > 1:
            (k0, n0), (k1, n1) = shown[0], shown[-1]
            difference = k1 / n1 - k0 / n0
            ratio = (k0 / n0) / (k1 / n1) if k1 else math.nan
            interval = newcombe(k1, n1, k0, n0, self._per_pair(len(shown)))
        breached = self._verdict(shown)
        found = Finding(
            monitor="fairness",
            metric="demographic_parity_difference",
            subject=attribute,
            value=difference,
            threshold=self._tolerance,
            direction="above",
            breached=breached,
            n_reference=0,
            n_current=sum(cell[1] for cell in shown),
            window=self._window.span,
            ci=interval,
            reason=self._unknown(shown) if breached is None else "",
        )
        # Four fifths is the usual orientation; the tolerance that counts is the difference's.
        as_ratio = replace(
            found,
            metric="demographic_parity_ratio",
            value=ratio,
            threshold=0.8,
            direction="below",
            ci=None,
        )
        return [found, as_ratio]

    def _verdict(self, shown: list[list[int]]) -> bool | None:
        """Judge groups in increasing order of their rate."""
        judged = [cell for cell in shown if cell[1] >= self._min_rows]
        level = self._per_pair(len(shown))
        for (k0, n0), (k1, n1) in itertools.combinations(judged, 2):
            apart = k1 / n1 - k0 / n0 > self._tolerance
            if apart and newcombe(k1, n1, k0, n0, level)[0] > self._tolerance:
                return True
        return False if len(judged) == len(shown) > 1 else None

    def _unknown(self, shown: list[list[int]]) -> str:
        if len(shown) < 2:
            return f"fewer than two groups have {SMALLEST_GROUP} rows"
        return f"a group has fewer than {self._min_rows} rows"

    def _per_pair(self, groups: int) -> float:
        pairs = max(math.comb(groups, 2), 1) * len(self._cells)
        return 1 - (1 - self._confidence) / pairs


def _count(cells: Cells, rows: Iterable[tuple[str | None, bool]]) -> None:
    for group, selected in rows:
        if group is None or (group not in cells and len(cells) >= MOST_GROUPS):
            continue
        cell = cells.setdefault(group, [0, 0])
        cell[0] += selected
        cell[1] += 1
