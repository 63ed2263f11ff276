"""Fairness between groups: its notions as difference and ratio, with verdicts of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from monitors.fairness.counting import Counting
from monitors.fairness.definitions import DEMOGRAPHIC_PARITY, Definition, Figure
from monitors.fairness.group_bounds import MOST_GROUPS, SMALLEST_GROUP
from monitors.fairness.pooled_groups import Judged, With
from monitors.fairness.side import LEARNING, Side
from monitors.fairness.visible import FEW_GROUPS
from monitors.finding import NO_THRESHOLD, Finding, findings_from_state, findings_to_state
from monitors.monitor import Needs
from monitors.rows import Corrections, Rows
from monitors.watched import Item, Watched

NO_LABELS: Final = "no window of labelled rows is full yet"
INTERSECTION: Final = " & "
"""Joins the names of attributes, and of their groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What is tolerated, by metric: `<definition>_difference`, `<definition>_ratio`."""

    by_metric: Mapping[str, float] = field(default_factory=dict)

    def of(self, definition: Definition[Figure]) -> tuple[float | None, float | None]:
        """Return the tolerated difference and ratio; None where nobody has set one."""
        name = definition.name
        return self.by_metric.get(f"{name}_difference"), self.by_metric.get(f"{name}_ratio")

    @property
    def judged(self) -> int:
        """How many verdicts there are for an attribute."""
        return len(self.by_metric)


class GroupFairnessMonitor:
    """Notions of fairness per sensitive attribute, and for all attributes at once.

    A group's figures are compared as `monitors.fairness.definitions` says, over groups of at least
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
        counting: what is counted of the rows.
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
        counting: Counting,
        tolerances: Tolerances,
        window: int,
        false_alarms: float = 3.0,
        min_rows: int = 100,
        reference: With = "each",
    ) -> None:
        self.needs = Needs(predicted=True, groups=tuple(attributes), scores=counting.scores)
        self._counting = counting
        self._tolerances, self._min_rows = tolerances, min_rows
        self._attributes = tuple(attributes)
        self._subjects = self._attributes
        if len(attributes) > 1:
            self._subjects = (*attributes, INTERSECTION.join(attributes))
        self._reference = reference
        rate = false_alarms / max(len(self._subjects) * tolerances.judged, 1)
        self._window = window
        self._rate, self._budget = rate, false_alarms
        self._predicted, *self._labelled = self._new_sides()
        self._findings: dict[tuple[str, str], Finding] = {}

    def _new_sides(self) -> list[Side]:
        return [
            Side(way, self._subjects, self._window, self._rate, self._min_rows, self._reference)
            for way in self._counting.ways
        ]

    @property
    def _sides(self) -> list[Side]:
        return [self._predicted, *self._labelled]

    @property
    def filled(self) -> tuple[int, int]:
        """Rows in the current window of predictions, and how many complete it."""
        window = self._predicted.window
        return window.rows, window.size

    def update(self, rows: Rows, now: float) -> list[Finding]:
        """Count rows by group; judge when a window of predictions or of labelled rows is full."""
        if not rows.n:
            return []
        if rows.labels is None:
            return self._closed(self._predicted, rows.groups, rows)
        self._count_late(rows.groups, rows, np.ones(rows.n, np.bool_))
        told = _merged(rows.groups, rows.request_groups)
        return [each for side in self._labelled for each in self._closed(side, told, rows)]

    def _count_late(
        self, told: Mapping[str, np.ndarray], rows: Rows, which: np.ndarray, amount: float = 1.0
    ) -> None:
        """Count what was predicted for labelled rows whose groups only their labels tell.

        They were counted by the window when they were predicted, and had no group then.
        """
        if not told:
            return
        side = self._predicted
        selected = self._counting.of(side.way, rows, None)
        whole = self._codes(side, _merged(told, rows.request_groups), rows.n)
        known = self._codes(side, rows.request_groups, rows.n)
        for subject, groups in side.groups.items():
            late = np.where(which & (known[subject] < 0), whole[subject], -1)
            groups.add(rows.timestamp, late, selected, amount=amount)

    def _closed(self, side: Side, told: Mapping[str, np.ndarray], rows: Rows) -> list[Finding]:
        what = self._counting.of(side.way, rows, rows.labels)
        codes = self._codes(side, told, rows.n)
        found: list[Finding] = []

        def closed() -> None:
            found.extend(self._judge(side))
            if not side.way.labelled:
                for waiting in self._labelled:
                    if not waiting.ident:
                        found.extend(self._unknown(waiting, side, NO_LABELS))

        side.add(codes, what, rows.timestamp, rows.positions, closed)
        self._findings.update({_what(each): each for each in found})
        return found

    def revise(self, corrections: Corrections, now: float) -> list[Finding]:
        """Count rows by the labels and groups that they have now; see `RevisesLabels`.

        The pooled past counts as if the new labels alone had come.
        """
        rows = corrections.rows
        assert rows.labels is not None
        positions = np.asarray(rows.positions, np.int64)
        before = {**rows.groups, **corrections.groups}
        moved = dict.fromkeys((side.way.name for side in self._labelled), 0)
        for told, labels, amount in (
            (before, corrections.labels, -1.0), (rows.groups, rows.labels, 1.0)
        ):  # fmt: skip
            # A row without a position had its first label before anything was counted here.
            self._count_late(told, rows, positions >= 0, amount)
            merged = _merged(told, rows.request_groups)
            for side in self._labelled:
                what = self._counting.of(side.way, rows, labels)
                counts = side.recount(self._codes(side, merged, rows.n), what, positions, amount)
                moved[side.way.name] = max(moved[side.way.name], counts)
        found = [
            replace(each, revised=moved[side.way.name] + self._findings[_what(each)].revised)
            for side in self._labelled
            if moved[side.way.name] and side.judged
            for each in self._judge(side)
        ]
        self._findings.update({_what(each): each for each in found})
        return found

    def of_labels(self, finding: Finding) -> bool:
        """Whether a finding rests on labelled rows."""
        return not finding.metric.startswith(DEMOGRAPHIC_PARITY.name)

    def tick(self, now: float) -> list[Finding]:
        """Return nothing: windows are counted in rows."""
        return []

    # -- what is watched ----------------------------------------------------------------

    def watched(self, now: float) -> Watched:
        """Return every disparity of every attribute, and what can be seen of it."""
        items = [
            self._item(side, subject, definition, now, ratio=ratio)
            for side in self._sides
            for subject in self._subjects
            for definition in side.way.definitions
            for ratio in ((False,) if definition.signed else (False, True))
        ]
        rates = [groups.rate(now) for groups in self._predicted.groups.values()]
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
        self, side: Side, subject: str, definition: Definition[Figure], now: float, *, ratio: bool
    ) -> Item:
        tolerated = self._tolerances.of(definition)[ratio]
        name = f"{definition.name}_{'ratio' if ratio else 'difference'}"
        item = Item(
            metric=name, subject=subject, severity="ticket", threshold=tolerated, unit="metric",
            statistic="labelled rows" if side.way.labelled else "",
        )  # fmt: skip
        if tolerated is None:
            return replace(item, not_judged=NO_THRESHOLD)
        item = replace(
            item,
            false_alarms=self._rate,
            factor=side.groups[subject].factor(definition) if side.ident else None,
            basis="windows against the past, without what groups share",
        )
        if not side.ident:
            return replace(item, basis=NO_LABELS if side.way.labelled else "no window is full yet")
        if not side.judged or side.scale is None:
            return replace(item, basis=LEARNING)
        limit = tolerated if ratio else tolerated / side.scale
        seen = side.groups[subject].visible(definition, limit, self._window, now, ratio=ratio)
        if seen is None:
            return replace(item, basis=FEW_GROUPS)
        # Of ratios gaps are in logarithms; twice the tolerated disparity is its square.
        gap = -math.log(tolerated) if ratio else limit
        needs, sees = seen.needs(gap) if gap > 0 else None, seen.sees()
        if ratio:
            sees = {time: tolerated * -math.expm1(-each) for time, each in sees.items()}
            needs = needs and needs._replace(gap=tolerated * (1 - tolerated))
        else:
            sees = {time: each * side.scale for time, each in sees.items()}
            needs = needs and needs._replace(gap=tolerated)
        return replace(item, level=seen.level(self._window), sees=sees, needs=needs)

    # -- groups -------------------------------------------------------------------------

    def _codes(self, side: Side, groups: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        """Return the group of each row by subject, int64 [n]; -1 where it is not known."""
        by_row = {name: groups[name].tolist() if name in groups else [None] * n
                  for name in self._attributes}  # fmt: skip
        if len(self._subjects) > len(self._attributes):
            by_row[self._subjects[-1]] = _joined(by_row.values())
        return {
            subject: groups_of.codes(by_row[subject]) for subject, groups_of in side.groups.items()
        }

    # -- verdicts -----------------------------------------------------------------------

    def _judge(self, side: Side) -> list[Finding]:
        if not side.judged:
            return self._unknown(side, side, LEARNING)
        definitions = side.way.definitions
        tolerated = [self._tolerances.of(each) for each in definitions]
        return [
            finding
            for subject in self._subjects
            for definition, judged in zip(
                definitions, side.judge(subject, tolerated), strict=True
            )
            for finding in self._of(side, subject, definition, judged)
        ]  # fmt: skip

    def _unknown(self, side: Side, when: Side, reason: str) -> list[Finding]:
        """Return what has a tolerance as unknown, at the latest window of a side."""
        found: list[Finding] = []
        for subject in self._subjects:
            for definition in side.way.definitions:
                both = zip(("difference", "ratio"), self._tolerances.of(definition), strict=True)
                found += [
                    Finding(
                        monitor="fairness",
                        metric=f"{definition.name}_{kind}",
                        subject=subject,
                        value=math.nan,
                        threshold=tolerated,
                        direction="below" if kind == "ratio" else "above",
                        breached=None,
                        n_reference=0,
                        n_current=0,
                        window=when.last,
                        reason=reason,
                        severity="ticket",
                        window_id=when.ident,
                    )
                    for kind, tolerated in both
                    if tolerated is not None
                ]
        return found

    def _of(
        self,
        side: Side,
        subject: str,
        definition: Definition[Figure],
        both: tuple[Judged, Judged],
    ) -> list[Finding]:
        tolerated = self._tolerances.of(definition)
        scale = side.scale or math.nan
        judged, of_ratio = both
        difference = Finding(
            monitor="fairness",
            metric=f"{definition.name}_difference",
            subject=subject,
            value=judged.difference * scale,
            threshold=tolerated[0],
            direction="above",
            breached=judged.breached,
            n_reference=0,
            n_current=judged.rows,
            window=side.last,
            ci=_interval(judged.low * scale, judged.high * scale),
            reason=self._why(judged, judged.breached, tolerated[0]),
            severity="ticket",
            window_id=side.ident,
            since=judged.since if judged.breached else None,
            detail={**_evidence(judged), **side.evidence()},
        )
        if definition.signed:
            return [difference]
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
            detail={**_evidence(of_ratio), **side.evidence()},
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
            **{side.way.name: side.state() for side in self._sides},
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
        for side in sides:
            side.restore(state[side.way.name])
        self._predicted, *self._labelled = sides
        self._findings = {_what(each): each for each in found}
        return found

    def _judges(self) -> list[Any]:
        return [
            list(self._attributes), *self._counting.about,
            dict(sorted(self._tolerances.by_metric.items())), self._window,
            self._rate, self._min_rows, self._reference,
        ]  # fmt: skip


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


def _what(finding: Finding) -> tuple[str, str]:
    return finding.metric, finding.subject
