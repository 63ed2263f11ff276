"""Fairness between groups: its notions as difference and ratio, with verdicts of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from monitors.fairness.definitions import (
    DEFINITIONS,
    DEMOGRAPHIC_PARITY,
    LABELLED_COLUMNS,
    PREDICTED_COLUMNS,
    Definition,
    Rate,
)
from monitors.fairness.group_bounds import MOST_GROUPS, SMALLEST_GROUP
from monitors.fairness.pooled_groups import Judged, PooledGroups, With
from monitors.fairness.visible import FEW_GROUPS
from monitors.finding import NO_THRESHOLD, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.rows import Corrections, Rows
from monitors.watched import Item, Watched
from monitors.windows.tumbling_window import TumblingWindow

NO_LABELS: Final = "no window of labelled rows is full yet"
INTERSECTION: Final = " & "
"""Joins the names of attributes, and of their groups."""

_OF: Final = {
    labelled: [each for each in DEFINITIONS if each.labelled == labelled]
    for labelled in (False, True)
}
_RATES: Final[Mapping[bool, tuple[Rate, ...]]] = {
    labelled: tuple(dict.fromkeys(rate for each in of for rate in each.figures))
    for labelled, of in _OF.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What is tolerated, by metric: `<definition>_difference`, `<definition>_ratio`."""

    by_metric: Mapping[str, float] = field(default_factory=dict)

    def of(self, definition: Definition) -> tuple[float | None, float | None]:
        """Return the tolerated difference and ratio; None where nobody has set one."""
        name = definition.name
        return self.by_metric.get(f"{name}_difference"), self.by_metric.get(f"{name}_ratio")

    @property
    def judged(self) -> int:
        """How many verdicts there are for an attribute."""
        return len(self.by_metric)


class _Side:
    """Windows and groups of one kind of rows: predicted, or labelled."""

    def __init__(
        self, subjects: Sequence[str], labelled: bool, window: int, rate: float, min_rows: int,
        reference: With,
    ) -> None:  # fmt: skip
        columns = LABELLED_COLUMNS if labelled else PREDICTED_COLUMNS
        self.labelled = labelled
        self.window = TumblingWindow(window)
        self.groups = {
            subject: PooledGroups(_RATES[labelled], columns, rate, min_rows, reference)
            for subject in subjects
        }
        self.last: tuple[float, float] = (math.nan, math.nan)
        self.ident = ""

    def add(
        self,
        codes: Mapping[str, np.ndarray],
        column: np.ndarray,
        time: float,
        positions: np.ndarray | Sequence[int],
        closed: Callable[[], None],
    ) -> None:
        """Count rows in windows; `closed` is called after each that is full."""

        def count(part: slice) -> None:
            for subject, groups in self.groups.items():
                groups.add(time, codes[subject][part], column[part], positions[part])

        def close() -> None:
            self.last, self.ident = self.window.span, self.window.ident
            for groups in self.groups.values():
                groups.close(self.last[1])
            closed()

        self.window.add(len(column), time, count, close)

    def state(self) -> dict[str, Any]:
        return {
            "window": self.window.state(),
            "groups": {subject: groups.state() for subject, groups in self.groups.items()},
            "last": None if math.isnan(self.last[0]) else list(self.last),
            "ident": self.ident,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for subject, groups in self.groups.items():
            groups.restore(state["groups"][subject])
        self.window.restore(state["window"])
        first, last = state["last"] or (math.nan, math.nan)
        self.last, self.ident = (first, last), state["ident"]


class GroupFairnessMonitor:
    """Notions of fairness per sensitive attribute, and for all attributes at once.

    A group's rates are compared as `monitors.fairness.definitions` says, over groups of at least
    `SMALLEST_GROUP` rows. Selection rates are those of all predictions that name their groups, at
    once or with their label; all others are of labelled rows. Each difference and each ratio has an
    interval and, where something is tolerated, a verdict of its own: a breach where for some two
    groups of at least `min_rows` rows the whole interval lies on the wrong side, over some
    lookback; see `PooledGroups` for what it costs. The verdict is None while no breach is shown and
    a group with too few rows, or the lack of a second group, leaves it open.

    Where several attributes are watched their combinations are groups too, of the subject
    "sex & age". Findings name attributes, never a group; their `detail` tells how many groups are
    too small to be compared.

    Args:
        attributes: names of the sensitive attributes.
        favorable_index: class index of the favourable outcome.
        output_name: the output that holds the scores; a state of another one is refused.
        tolerances: what is tolerated.
        window: rows per window, predicted ones and labelled ones each.
        false_alarms: that are expected per quarter from all verdicts together, if the true
            differences are just the tolerated ones all the time.
        min_rows: rows that a group needs for a verdict.
        reference: with whom groups are compared: `each` other, the `largest`, or the `best`.
    """

    def __init__(
        self,
        attributes: Sequence[str],
        favorable_index: int,
        output_name: str,
        tolerances: Tolerances,
        window: int,
        false_alarms: float = 3.0,
        min_rows: int = 100,
        reference: With = "each",
    ) -> None:
        self.needs = Needs(predicted=True, groups=tuple(attributes))
        self._favorable, self._output = favorable_index, output_name
        self._tolerances, self._min_rows = tolerances, min_rows
        self._attributes = tuple(attributes)
        self._subjects = self._attributes
        if len(attributes) > 1:
            self._subjects = (*attributes, INTERSECTION.join(attributes))
        self._reference = reference
        rate = false_alarms / max(len(self._subjects) * tolerances.judged, 1)
        self._window = window
        self._rate, self._budget = rate, false_alarms
        self._sides = self._new_sides()
        self._findings: dict[tuple[str, str], Finding] = {}

    def _new_sides(self) -> dict[bool, _Side]:
        return {
            labelled: _Side(
                self._subjects, labelled, self._window, self._rate, self._min_rows, self._reference
            )
            for labelled in (False, True)
        }

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window of predictions, and how many complete it."""
        window = self._sides[False].window
        return window.rows, window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count rows by group; judge when a window of predictions or of labelled rows is full."""
        if not rows.n:
            return []
        assert rows.predicted is not None
        selected = np.where(rows.predicted >= 0, rows.predicted == self._favorable, -1)
        if rows.labels is None:
            return self._closed(False, self._codes(False, rows.groups, rows.n), selected, rows)
        self._count_late(rows.groups, rows, selected)
        codes = self._codes(True, _merged(rows.groups, rows.request_groups), rows.n)
        return self._closed(True, codes, _cell(selected, rows.labels == self._favorable), rows)

    def _count_late(
        self, told: Mapping[str, np.ndarray], rows: Rows, selected: np.ndarray, amount: float = 1.0
    ) -> None:
        """Count what was predicted for labelled rows whose groups only their labels tell.

        They were counted by the window when they were predicted, and had no group then.
        """
        if not told:
            return
        whole = self._codes(False, _merged(told, rows.request_groups), rows.n)
        known = self._codes(False, rows.request_groups, rows.n)
        for subject, groups in self._sides[False].groups.items():
            late = np.where(known[subject] < 0, whole[subject], -1)
            groups.add(rows.timestamp, late, selected, amount=amount)

    def _closed(
        self, labelled: bool, codes: Mapping[str, np.ndarray], column: np.ndarray, rows: Rows
    ) -> list[Finding]:
        side = self._sides[labelled]
        found: list[Finding] = []

        def closed() -> None:
            found.extend(self._judge(side))

        side.add(codes, column, rows.timestamp, rows.positions, closed)
        if found and not labelled and not self._sides[True].ident:
            found += [self._unknown(each, NO_LABELS) for each in self._of_labels(found[-1])]
        self._findings.update({_what(each): each for each in found})
        return found

    def _of_labels(self, latest: Finding) -> list[Finding]:
        """Return the findings that rest on labels and have a tolerance, before there are any."""
        return [
            replace(latest, metric=metric, subject=subject, threshold=tolerated, since=None)
            for subject in self._subjects
            for metric, tolerated in self._tolerances.by_metric.items()
            if _of_labels(metric)
        ]

    @staticmethod
    def _unknown(finding: Finding, reason: str) -> Finding:
        side: Literal["above", "below"] = "below" if finding.metric.endswith("_ratio") else "above"
        return replace(
            finding, value=math.nan, ci=None, breached=None, n_current=0, reason=reason,
            direction=side, detail={},
        )  # fmt: skip

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Count rows by the labels and groups that they have now; see `RevisesLabels`.

        The pooled past counts as if the new labels alone had come.
        """
        rows, side = corrections.rows, self._sides[True]
        assert rows.predicted is not None
        assert rows.labels is not None
        # A row without a position had its first label before anything was counted here.
        positions = np.asarray(rows.positions, np.int64)
        counted = positions >= 0
        selected = np.where(counted & (rows.predicted >= 0), rows.predicted == self._favorable, -1)
        before = {**rows.groups, **corrections.groups}
        moved = 0
        for told, labels, amount in (
            (before, corrections.labels, -1.0), (rows.groups, rows.labels, 1.0)
        ):  # fmt: skip
            self._count_late(told, rows, selected, amount)
            column = _cell(selected, labels == self._favorable)
            codes = self._codes(True, _merged(told, rows.request_groups), rows.n)
            for subject, of_rows in codes.items():
                side.groups[subject].revise(of_rows, column, positions, amount)
                moved = max(moved, int(((of_rows >= 0) & (column >= 0)).sum()))
        if not moved or not side.ident:
            return []
        found = [
            replace(each, revised=moved + self._findings[_what(each)].revised)
            for each in self._judge(side)
        ]
        self._findings.update({_what(each): each for each in found})
        return found

    def of_labels(self, finding: Finding) -> bool:
        """Whether a finding rests on labelled rows."""
        return _of_labels(finding.metric)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    # -- what is watched ----------------------------------------------------------------

    def watched(self, now: float) -> Watched:
        """Return every disparity of every attribute, and what can be seen of it."""
        items = [
            self._item(side, subject, definition, now, ratio=ratio)
            for side in self._sides.values()
            for subject in self._subjects
            for definition in _OF[side.labelled]
            for ratio in (False, True)
        ]
        rates = [groups.rate(now) for groups in self._sides[False].groups.values()]
        judged = self._tolerances.judged * len(self._subjects)
        return Watched(
            items=tuple(items),
            reference="tolerances, between groups",
            window=self._window,
            interval_s=1 / rates[0] if rates and rates[0] else None,
            false_alarms=self._budget if judged else None,
            streams=judged,
        )

    def _item(
        self, side: _Side, subject: str, definition: Definition, now: float, *, ratio: bool
    ) -> Item:
        tolerated = self._tolerances.of(definition)[ratio]
        name = f"{definition.name}_{'ratio' if ratio else 'difference'}"
        item = Item(
            metric=name, subject=subject, severity="ticket", threshold=tolerated, unit="metric",
            statistic="labelled rows" if side.labelled else "",
        )  # fmt: skip
        if tolerated is None:
            return replace(item, not_judged=NO_THRESHOLD)
        groups = side.groups[subject]
        item = replace(
            item,
            false_alarms=self._rate,
            factor=groups.factor(definition) if side.ident else None,
            basis="windows against the past, without what groups share",
        )
        if not side.ident:
            return replace(item, basis=NO_LABELS if side.labelled else "no window is full yet")
        seen = groups.visible(definition, tolerated, self._window, now, ratio=ratio)
        if seen is None:
            return replace(item, basis=FEW_GROUPS)
        # Of ratios gaps are in logarithms; twice the tolerated disparity is its square.
        gap = -math.log(tolerated) if ratio else tolerated
        needs, sees = seen.needs(gap) if gap > 0 else None, seen.sees()
        if ratio:
            sees = {time: tolerated * -math.expm1(-each) for time, each in sees.items()}
            needs = needs and needs._replace(gap=tolerated * (1 - tolerated))
        return replace(item, level=seen.level(self._window), sees=sees, needs=needs)

    # -- groups -------------------------------------------------------------------------

    def _codes(
        self, labelled: bool, groups: Mapping[str, np.ndarray], n: int
    ) -> dict[str, np.ndarray]:
        """Return the group of each row by subject, int64 [n]; -1 where it is not known."""
        by_row = {name: groups[name].tolist() if name in groups else [None] * n
                  for name in self._attributes}  # fmt: skip
        if len(self._subjects) > len(self._attributes):
            by_row[self._subjects[-1]] = _joined(by_row.values())
        tables = self._sides[labelled].groups
        return {subject: tables[subject].codes(by_row[subject]) for subject in self._subjects}

    # -- verdicts -----------------------------------------------------------------------

    def _judge(self, side: _Side) -> list[Finding]:
        definitions = _OF[side.labelled]
        tolerated = [self._tolerances.of(each) for each in definitions]
        return [
            finding
            for subject in self._subjects
            for definition, judged in zip(
                definitions, side.groups[subject].judge(definitions, tolerated), strict=True
            )
            for finding in self._of(side, subject, definition, judged)
        ]

    def _of(
        self, side: _Side, subject: str, definition: Definition, both: tuple[Judged, Judged]
    ) -> list[Finding]:
        tolerated = self._tolerances.of(definition)
        judged, of_ratio = both
        difference = Finding(
            monitor="fairness",
            metric=f"{definition.name}_difference",
            subject=subject,
            value=judged.difference,
            threshold=tolerated[0],
            direction="above",
            breached=judged.breached,
            n_reference=0,
            n_current=judged.rows,
            window=side.last,
            ci=_interval(judged.low, judged.high),
            reason=self._why(judged, judged.breached, tolerated[0]),
            severity="ticket",
            window_id=side.ident,
            since=judged.since if judged.breached else None,
            detail=_evidence(judged),
        )
        ratio = replace(
            difference,
            metric=f"{definition.name}_ratio",
            value=of_ratio.ratio,
            threshold=tolerated[1],
            direction="below",
            breached=of_ratio.ratio_breached,
            n_current=of_ratio.rows,
            ci=_interval(of_ratio.ratio_low, of_ratio.ratio_high),
            reason=self._why(of_ratio, of_ratio.ratio_breached, tolerated[1]),
            since=of_ratio.since if of_ratio.ratio_breached else None,
            detail=_evidence(of_ratio),
        )
        return [difference, ratio]

    def _why(self, judged: Judged, breached: bool | None, tolerated: float | None) -> str:
        if breached is not None:
            return ""
        if judged.compared < 2:
            return f"fewer than two groups have {SMALLEST_GROUP} rows"
        if tolerated is None:
            return NO_THRESHOLD
        if judged.left_out:
            return f"there are more than {MOST_GROUPS} groups"
        return f"a group has fewer than {self._min_rows} rows"

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return counts by group, windows and last findings as JSON values."""
        return {
            "judges": self._judges(),
            "predicted": self._sides[False].state(),
            "labelled": self._sides[True].state(),
            "findings": findings_to_state(self._findings.values()),
        }

    def restore(self, state: dict[str, Any]) -> list[Finding]:
        """Go on from what `state` returned.

        Raises:
            ValueError: the state is about other attributes, another outcome, tolerance or window.
        """
        if state["judges"] != self._judges():
            raise ValueError("the fairness state is about other attributes, or judged otherwise")
        found = findings_from_state(state["findings"])
        sides = self._new_sides()
        sides[False].restore(state["predicted"])
        sides[True].restore(state["labelled"])
        self._sides = sides
        self._findings = {_what(each): each for each in found}
        return found

    def _judges(self) -> list[Any]:
        return [
            list(self._attributes), self._output, self._favorable,
            dict(sorted(self._tolerances.by_metric.items())), self._window,
            self._rate, self._min_rows, self._reference,
        ]  # fmt: skip


def _cell(selected: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return the column of labelled rows, see `definitions`; -1 where nothing was predicted."""
    column: np.ndarray = np.where(selected < 0, -1, 2 * positive + np.maximum(selected, 0))
    return column


def _merged(
    told: Mapping[str, np.ndarray], request: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return all groups of labelled rows: those that came with requests, or else with labels."""
    merged = dict(told)
    for name, values in request.items():
        merged[name] = _first(values, merged[name]) if name in merged else values
    return merged


def _first(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    chosen = np.empty(len(values), dtype=object)
    chosen[:] = [
        one if one is not None else other
        for one, other in zip(values.tolist(), others.tolist(), strict=True)
    ]
    return chosen


def _joined(values: Iterable[Sequence[str | None]]) -> list[str | None]:
    return [
        None if None in of_row else INTERSECTION.join(of_row)
        for of_row in zip(*values, strict=True)
    ]


def _evidence(judged: Judged) -> dict[str, Any]:
    return {
        "windows": judged.windows,
        "lookback_since": judged.since,
        "factor": round(judged.factor, 3),
        "suppressed": judged.suppressed,
        "left_out": judged.left_out,
    }


def _interval(low: float, high: float) -> tuple[float, float] | None:
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def _of_labels(metric: str) -> bool:
    return not metric.startswith(DEMOGRAPHIC_PARITY.name)


def _what(finding: Finding) -> tuple[str, str]:
    return finding.metric, finding.subject
