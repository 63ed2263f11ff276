"""One attribute's groups over windows and the pooled past: whether their rates differ too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from monitors.fairness.comparison import Comparisons, Reference, compare
from monitors.fairness.definitions import Definition, Rate
from monitors.fairness.group_bounds import SMALLEST_GROUP
from monitors.fairness.group_table import GroupTable
from monitors.fairness.memory import Lookback, Memory
from monitors.fairness.overdispersion import Overdispersion
from monitors.windows.ageing import quarters
from monitors.windows.spending import levels

_MOST_PAIRS: Final = 1 << 17
"""Pairs of groups times lookbacks that are compared; with many groups fewer lookbacks are."""

With = Literal["each", "largest", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A definition of fairness over the lookback that says most about it.

    Attributes:
        difference, ratio, low, high, ratio_low, ratio_high, rows, compared: see `Comparisons`.
        breached: by the tolerated difference; None: unknown.
        ratio_breached: by the tolerated ratio; None: unknown.
        lookback: what it was found over.
        factor: how many times as much rates vary as those of independent rows.
        suppressed: groups that have some rows, and too few to be compared.
    """

    difference: float
    ratio: float
    low: float
    high: float
    ratio_low: float
    ratio_high: float
    rows: int
    compared: int
    breached: bool | None
    ratio_breached: bool | None
    lookback: Lookback
    factor: float
    suppressed: int


class _Verdicts(NamedTuple):
    """Of n lookbacks: shown to be a breach [n], and whether anything can be said [n]."""

    breached: np.ndarray
    known: np.ndarray

    def at(self, place: int) -> bool | None:
        return bool(self.breached[place]) if self.known[place] else None


class PooledGroups:
    """Counts of one attribute's groups, judged over many lookbacks at once.

    A difference that stands is found over the lookback that its groups need: the latest window
    where they are large, weeks where one is a small minority. What may be spent on false alarms
    is shared over the lookbacks of different octaves, over the looks of a quarter, and over the
    pairs of groups; a long lookback moves slowly, so that a look at it may spend more. A breach
    that the last quarter of its lookback does not show any more is over.

    Args:
        rates: that are compared.
        columns: of the counts; see `definitions`.
        rate: false alarms that are expected per quarter from each judged definition, if the true
            difference is just the tolerated one all the time.
        min_rows: rows that a group needs for a verdict.
        reference: with whom groups are compared.

    Attributes:
        table: all that was counted.
        seen: rows with smaller positions were counted.
    """

    def __init__(
        self,
        rates: Sequence[Rate],
        columns: int,
        rate: float,
        min_rows: int,
        reference: With = "each",
    ) -> None:
        self.table = GroupTable(columns)
        self._memory = Memory()
        self._rates, self._budget = tuple(rates), rate
        self._min_rows, self._reference = min_rows, reference
        self._dispersion = Overdispersion(len(rates))
        self._latest = 0.0
        self.seen = 0

    def revise(
        self,
        codes: np.ndarray,
        column: np.ndarray,
        amount: float,
        positions: np.ndarray | Sequence[int],
    ) -> None:
        """Count rows, of which some may have been counted before; see `Memory.revise`."""
        self.table.add(codes, column, amount)
        at = np.asarray(positions, np.int64)
        if len(at):
            self._memory.revise(codes, column, amount, at, len(self.table.counts))

    def begin(self, time: float) -> None:
        """Take note of when rows came; seconds since the epoch."""
        self._memory.begin(time, self.table.counts.shape[1])

    def close(self, time: float) -> None:
        """End a window, whose last rows came at that time."""
        lookbacks = self._memory.lookbacks(self.table.counts)
        if lookbacks:
            self._disperse(lookbacks[-1])
        self._latest = time
        self._memory.close(time, self.table.counts, self.seen)

    def _disperse(self, longest: Lookback) -> None:
        last_counts = self._memory.open(self.table.counts)
        past = longest.counts - last_counts
        for at, rate in enumerate(self._rates):
            self._dispersion.window(at, *rate.of(last_counts), rate.of(past))

    def judge(
        self,
        definitions: Sequence[Definition],
        tolerated: Sequence[tuple[float | None, float | None]],
    ) -> list[tuple[Judged, Judged]]:
        """Judge the windows that have closed, at least one.

        Args:
            definitions: of fairness.
            tolerated: of each the largest difference and the smallest ratio; None: nobody has set
                one.

        Returns:
            Of each, once for the difference and once for the ratio: what a lookback shows that
            breaches, the shortest one; or else the longest one.
        """
        lookbacks = self._memory.lookbacks(self._memory.closed(len(self.table.counts)))
        step = max(1, -(-len(lookbacks) * len(self.table.counts) ** 2 // _MOST_PAIRS))
        lookbacks = lookbacks[::-step][::-1]
        counts = np.stack([each.counts for each in lookbacks])
        return [
            self._judge(definition, *limits, lookbacks, counts)
            for definition, limits in zip(definitions, tolerated, strict=True)
        ]

    def _judge(
        self,
        definition: Definition,
        difference: float | None,
        ratio: float | None,
        lookbacks: Sequence[Lookback],
        counts: np.ndarray,
    ) -> tuple[Judged, Judged]:
        alpha = self._alpha(lookbacks) / len(definition.rates)
        factor = max(self._dispersion.factor(self._rates.index(r)) for r in definition.rates)
        found = _worst([
            compare(*rate.of(counts), alpha, self._min_rows, factor, self._whom(rate))
            for rate in definition.rates
        ])  # fmt: skip
        whole = (found.compared >= 2) & (found.compared == found.judged)
        quarter = quarters(np.array([each.windows for each in lookbacks]))
        shrunk = found.compared[quarter] < found.compared
        by_difference = by_ratio = _Verdicts(np.zeros(len(whole), np.bool_), whole & False)
        with np.errstate(invalid="ignore"):
            if difference is not None:
                still = shrunk | (found.difference[quarter] > difference)
                shown = found.low > difference
                by_difference = _Verdicts(shown & still, whole | shown)
            if ratio is not None:
                still = shrunk | (found.ratio[quarter] < ratio)
                shown = found.ratio_high < ratio
                by_ratio = _Verdicts(shown & still, whole | shown)

        def at(verdicts: _Verdicts) -> Judged:
            breaches = np.flatnonzero(verdicts.breached)
            place = int(breaches[0]) if len(breaches) else len(lookbacks) - 1
            return _judged(place)

        def _judged(place: int) -> Judged:
            values = dict(zip(Comparisons._fields, found.at(place), strict=True))
            values.pop("judged")
            return Judged(
                **{name: values[name] for name in values if name not in ("rows", "compared")},
                rows=int(values["rows"]),
                compared=int(values["compared"]),
                breached=by_difference.at(place),
                ratio_breached=by_ratio.at(place),
                lookback=lookbacks[place],
                factor=factor,
                suppressed=_small(definition, counts[place]),
            )

        return at(by_difference), at(by_ratio)

    def _whom(self, rate: Rate) -> Reference:
        if self._reference == "best":
            return "highest" if rate.good else "lowest"
        return self._reference

    def _alpha(self, lookbacks: Sequence[Lookback]) -> np.ndarray:
        """What a look at each lookback may be wrong with, [n]."""
        seconds = np.array([self._latest - each.since for each in lookbacks])
        return levels(seconds, self._budget)

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "groups": self.table.state(),
            "memory": self._memory.state(),
            "dispersion": self._dispersion.state(),
            "latest": self._latest,
            "seen": self.seen,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError: it is of other counts.
        """
        self.table.restore(state["groups"])
        self._memory.restore(state["memory"], self.table.counts.shape[1])
        self._dispersion.restore(state["dispersion"])
        self._latest, self.seen = state["latest"], int(state["seen"])


def _small(definition: Definition, counts: np.ndarray) -> int:
    of_rates = (rate.of(counts)[1] for rate in definition.rates)
    return max(int(((rows > 0) & (rows < SMALLEST_GROUP)).sum()) for rows in of_rates)


def _worst(found: Sequence[Comparisons]) -> Comparisons:
    """Return the largest difference and the smallest ratio of several rates, with their bounds.

    Each bound may be wrong with its share of the probability, so that all hold together.
    """
    if len(found) == 1:
        return found[0]
    by_name = {
        name: np.stack([getattr(each, name) for each in found]) for name in Comparisons._fields
    }
    compared = by_name["compared"].min(axis=0)
    return Comparisons(
        difference=np.fmax.reduce(by_name["difference"]),
        ratio=np.fmin.reduce(by_name["ratio"]),
        low=np.fmax.reduce(by_name["low"]),
        high=by_name["high"].max(axis=0),
        ratio_low=by_name["ratio_low"].min(axis=0),
        ratio_high=np.fmin.reduce(by_name["ratio_high"]),
        rows=by_name["rows"].max(axis=0),
        # As many as are compared only where that holds of every rate.
        judged=compared - (by_name["compared"] - by_name["judged"]).max(axis=0),
        compared=compared,
    )
