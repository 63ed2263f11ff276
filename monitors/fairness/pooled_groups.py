"""One attribute's groups over windows and the pooled past: whether their rates differ too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from monitors.fairness.comparison import NOTHING, Comparison, Reference, compare
from monitors.fairness.definitions import Definition, Rate
from monitors.fairness.group_table import GroupTable
from monitors.fairness.memory import PER_OCTAVE, Lookback, Memory
from monitors.fairness.overdispersion import Overdispersion

QUARTER_S: Final = 90 * 86400.0
_OCTAVES: Final = 7
_LOOKS: Final = 4
"""Looks at a lookback, as it moves on, that are as good as independent, per length of it."""
_LEVELS: Final = (1e-12, 0.01)
"""Bounds of what a single look may spend."""

With = Literal["each", "largest", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A definition of fairness over the lookback that says most about it.

    Attributes:
        found: the comparison.
        breached: by the tolerated difference and ratio; None: unknown.
        ratio_breached: by the tolerated ratio.
        windows: length of the lookback.
        since: seconds since the epoch when it began.
        factor: how many times as much rates vary as those of independent rows.
        alpha: what the bounds may be wrong with.
    """

    found: Comparison
    breached: bool | None
    ratio_breached: bool | None
    windows: int
    since: float
    factor: float
    alpha: float


class PooledGroups:
    """Counts of one attribute's groups, judged over many lookbacks at once.

    A difference that stands is found over the lookback that its groups need: the latest window
    where they are large, weeks where one is a small minority. What may be spent on false alarms
    is shared over the lookbacks of different octaves, over the looks of a quarter, and over the
    pairs of groups; a long lookback moves slowly, so that a look at it may spend more.

    Args:
        rates: that are compared.
        columns: of the counts; see `definitions`.
        rate: false alarms that are expected per quarter from each judged definition, if the true
            difference is just the tolerated one all the time.
        min_rows: rows that a group needs for a verdict.
        reference: with whom groups are compared.
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
        self._first = 0.0

    def begin(self, time: float) -> None:
        """Take note of when rows came; seconds since the epoch."""
        if not self._memory.windows:
            self._first = self._first or time
            self._memory.begin(time, self.table.counts)

    def close(self, time: float) -> None:
        """End a window, whose last rows came at that time."""
        lookbacks = self._memory.lookbacks(self.table.counts)
        if lookbacks:
            self._disperse(lookbacks[0], lookbacks[-1])
        self._latest = time
        self._memory.close(time, self.table.counts)

    def _disperse(self, last: Lookback, longest: Lookback) -> None:
        past = longest.counts - last.counts
        for at, rate in enumerate(self._rates):
            self._dispersion.window(at, *rate.of(last.counts), rate.of(past))

    def judge(self, definition: Definition, difference: float | None, ratio: float | None) -> Judged:
        """Judge the windows that have closed.

        Args:
            definition: of fairness.
            difference: largest tolerated difference; None: nobody has set one.
            ratio: smallest tolerated ratio; None: nobody has set one.

        Returns:
            What a lookback shows that breaches, the shortest one; or else the longest one.
        """
        lookbacks = self._memory.lookbacks(self.table.counts)
        if not lookbacks:
            nothing = NOTHING
            return Judged(
                found=nothing, breached=None, ratio_breached=None, windows=0, since=self._first,
                factor=1.0, alpha=0.0,
            )  # fmt: skip
        judged = [self._over(each, definition, difference, ratio) for each in lookbacks]
        judged = [_still_so(each, judged, difference, ratio) for each in judged]
        for each in judged:
            if each.breached:
                return each
        for each in judged:
            if each.ratio_breached:
                return each
        return judged[-1]

    def counts_since(self, windows: int) -> np.ndarray:
        """Return what a lookback has counted, [groups, columns]."""
        found = self._memory.lookbacks(self.table.counts)
        whole = [each.counts for each in found if each.windows == windows]
        return whole[0] if whole else self.table.counts

    def _over(
        self, lookback: Lookback, definition: Definition, difference: float | None,
        ratio: float | None,
    ) -> Judged:  # fmt: skip
        alpha = self._alpha(lookback) / len(definition.rates)
        factor = max(self._dispersion.factor(self._rates.index(r)) for r in definition.rates)
        found = [
            compare(*rate.of(lookback.counts), alpha, self._min_rows, factor, self._whom(rate))
            for rate in definition.rates
        ]
        worst = _worst(found)
        return Judged(
            found=worst,
            breached=_above(worst, difference),
            ratio_breached=_below(worst, ratio),
            windows=lookback.windows,
            since=lookback.since,
            factor=factor,
            alpha=alpha,
        )

    def _whom(self, rate: Rate) -> Reference:
        if self._reference == "best":
            return "highest" if rate.good else "lowest"
        return self._reference

    def _alpha(self, lookback: Lookback) -> float:
        """What a look at a lookback may be wrong with."""
        seconds = max(self._latest - lookback.since, 1e-3)
        share = self._budget * seconds / QUARTER_S / (_LOOKS * _OCTAVES * PER_OCTAVE)
        least, most = _LEVELS
        return min(max(share, least), most)

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "groups": self.table.state(),
            "memory": self._memory.state(),
            "dispersion": self._dispersion.state(),
            "times": [self._first, self._latest],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError: it is of other counts.
        """
        self.table.restore(state["groups"])
        self._memory.restore(state["memory"], self.table.counts.shape[1])
        self._dispersion.restore(state["dispersion"])
        self._first, self._latest = state["times"]


def _worst(found: Sequence[Comparison]) -> Comparison:
    """Return the largest difference and the smallest ratio of several rates, with their bounds.

    Each bound may be wrong with its share of the probability, so that all hold together.
    """
    if len(found) == 1:
        return found[0]
    known = [each for each in found if each.compared >= 2]
    if not known:
        return found[0]
    ratios = [each.ratio for each in known if each.ratio == each.ratio]
    return Comparison(
        difference=max(each.difference for each in known),
        ratio=min(ratios, default=float("nan")),
        low=float(np.fmax.reduce([each.low for each in known])),
        high=float(np.max([each.high for each in known])),
        ratio_low=float(np.min([each.ratio_low for each in known])),
        ratio_high=float(np.fmin.reduce([each.ratio_high for each in known])),
        rows=max(each.rows for each in known),
        judged=min(each.judged for each in found),
        compared=min(each.compared for each in found),
    )


def _still_so(
    judged: Judged, others: Sequence[Judged], difference: float | None, ratio: float | None
) -> Judged:
    """Take a breach back that the last quarter of its lookback does not show any more."""
    recent = [each.found for each in others if each.windows <= max(judged.windows // 4, 1)]
    if not recent or recent[-1].compared < judged.found.compared:
        return judged
    last = recent[-1]
    if judged.breached and difference is not None and last.difference <= difference:
        judged = replace(judged, breached=False)
    if judged.ratio_breached and ratio is not None and last.ratio >= ratio:
        judged = replace(judged, ratio_breached=False)
    return judged


def _above(found: Comparison, tolerated: float | None) -> bool | None:
    """Whether the difference is shown to be above what is tolerated; None: nobody can say."""
    if tolerated is None:
        return None
    if found.low > tolerated:
        return True
    return False if 2 <= found.compared == found.judged else None


def _below(found: Comparison, tolerated: float | None) -> bool | None:
    if tolerated is None:
        return None
    if found.ratio_high < tolerated:
        return True
    return False if 2 <= found.compared == found.judged else None
