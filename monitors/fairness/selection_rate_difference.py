"""Demographic parity: whether groups are selected at the same rate, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from monitors.fairness.disparity import confidence_per_pair, disparity
from monitors.fairness.disparity_verdict import disparity_verdict
from monitors.fairness.group_cells import GroupCells
from monitors.finding import Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.rows import Corrections, Rows
from monitors.windows.tumbling_window import TumblingWindow


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

    Rows whose sensitive values came with the label count in the current window. Findings name
    the attribute, never a group.

    Args:
        attributes: names of the sensitive attributes.
        favorable_index: class index of the favourable outcome.
        output_name: the output that holds the scores; a state of another one is refused.
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
        self.needs = Needs(predicted=True, groups=tuple(attributes))
        self._favorable, self._output = favorable_index, output_name
        self._tolerance, self._confidence, self._min_rows = tolerance, confidence, min_rows
        self._window = TumblingWindow(window)
        self._cells = {name: GroupCells() for name in attributes}
        self._latest: dict[str, GroupCells] = {}
        self._findings: list[Finding] = []

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count rows by group; judge each window that predictions fill."""
        if not rows.n:
            return []
        assert rows.predicted is not None
        known = rows.predicted >= 0
        selected = rows.predicted == self._favorable
        closed: list[Finding] = []

        def count(part: slice) -> None:
            counted = known[part]
            hits = selected[part][counted].tolist()
            for name, cells in self._cells.items():
                if name in rows.groups:
                    cells.add(rows.groups[name][part][counted].tolist(), hits)

        def close() -> None:
            closed.extend(self._judge())

        if rows.labels is not None:
            # They were counted by the window when they were predicted.
            count(slice(None))
            self._window.labelled(rows.positions)
            return []
        self._window.add(rows.n, rows.timestamp, count, close)
        self._findings = closed or self._findings
        return closed

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Count rows in the groups that their new labels name; see `RevisesLabels`."""
        positions = np.asarray(corrections.rows.positions)
        self._recount(self._cells, corrections, self._window.in_current(positions))
        revised = self._recount(self._latest, corrections, self._window.in_latest(positions))
        if not any(revised.values()):
            return []
        last = {(found.metric, found.subject): found for found in self._findings}
        found = [
            replace(each, revised=last[each.metric, name].revised + revised[name])
            for name, cells in self._latest.items()
            for each in self._compare(name, cells, self._findings[-1])
        ]
        self._findings = found
        return list(found)

    def _recount(
        self, cells: Mapping[str, GroupCells], corrections: Corrections, which: np.ndarray
    ) -> dict[str, int]:
        """Count some rows in other groups; returns how many by attribute."""
        rows = corrections.rows
        assert rows.predicted is not None
        moved = dict.fromkeys(cells, 0)
        which = which & (rows.predicted >= 0)
        hits = (rows.predicted == self._favorable)[which].tolist()
        for name, counted in cells.items():
            if name in rows.groups:
                old, new = corrections.groups[name][which], rows.groups[name][which]
                counted.remove(old.tolist(), hits)
                counted.add(new.tolist(), hits)
                moved[name] = int((old != new).sum())
        return moved

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window, and how many complete it."""
        return self._window.rows, self._window.size

    def state(self) -> dict[str, Any]:
        """Return counts by group, position and last findings as JSON values."""
        return {
            "judges": self._judges(),
            "window": {
                **self._window.state(),
                "latest": {name: cells.state() for name, cells in self._latest.items()},
            },
            "cells": {name: cells.state() for name, cells in self._cells.items()},
            "findings": findings_to_state(self._findings),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is about other attributes, another outcome, tolerance or window.
        """
        if state["judges"] != self._judges() or state["cells"].keys() != self._cells.keys():
            raise ValueError("the fairness state is about other attributes, or judged otherwise")
        cells = {name: GroupCells.from_state(state["cells"][name]) for name in self._cells}
        found = findings_from_state(state["findings"])
        saved = state["window"].get("latest", {})  # which was not saved at first
        latest = {name: GroupCells.from_state(saved[name]) for name in saved}
        self._window.restore(state["window"])
        self._cells, self._latest, self._findings = cells, latest, found
        return list(found)

    def _judges(self) -> list[Any]:
        return [self._output, self._favorable, self._tolerance, self._window.size]

    def _judge(self) -> list[Finding]:
        found = [each for name, cells in self._cells.items() for each in self._compare(name, cells)]
        self._latest = self._cells
        self._cells = {name: GroupCells() for name in self._latest}
        return found

    def _compare(
        self, attribute: str, cells: GroupCells, before: Finding | None = None
    ) -> list[Finding]:
        """Judge one attribute of the current window, or of the one that was judged `before`."""
        span, ident = self._window.span, self._window.ident
        if before is not None:
            span, ident = before.window, before.window_id
        shown = cells.shown()
        level = confidence_per_pair(self._confidence, len(shown), len(self._cells))
        apart = disparity(shown, level)
        verdict = disparity_verdict(shown, self._tolerance, level, self._min_rows)
        found = Finding(
            monitor="fairness",
            metric="demographic_parity_difference",
            subject=attribute,
            value=apart.difference,
            threshold=self._tolerance,
            direction="above",
            breached=verdict.breached,
            n_reference=0,
            n_current=apart.rows,
            window=span,
            ci=apart.interval,
            reason=verdict.reason,
            severity="ticket",
            window_id=ident,
        )
        # Four fifths is the usual orientation; the tolerance that counts is the difference's.
        as_ratio = replace(
            found,
            metric="demographic_parity_ratio",
            value=apart.ratio,
            threshold=0.8,
            direction="below",
            ci=None,
        )
        return [found, as_ratio]
