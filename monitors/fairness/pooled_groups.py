"""One attribute's groups over windows and the past: whether their figures differ too much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from monitors.fairness.comparison import Comparisons, Reference, worst
from monitors.fairness.definitions import Definition, Figure
from monitors.fairness.group_bounds import MOST_GROUPS, SMALLEST_GROUP
from monitors.fairness.overdispersion import Overdispersion
from monitors.fairness.visible import Strictness, Traffic, resolution
from monitors.windows.aged_blocks import AgedBlocks
from monitors.windows.ageing import quarters
from monitors.windows.resolution import Resolution
from monitors.windows.spending import levels

_FIGURES: Final = ("difference", "ratio", "low", "high", "ratio_low", "ratio_high")
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
        windows: length of the lookback.
        since: seconds since the epoch when that began.
        factor: how many times as much figures vary as those of independent rows.
        suppressed: groups that have some rows, and too few to be compared.
        left_out: rows of groups for which there was no room.
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
    windows: int
    since: float
    factor: float
    suppressed: int
    left_out: int


class _Past(NamedTuple):
    """Of n lookbacks, the shortest first: see `AgedBlocks.lookbacks`; counts by group."""

    windows: np.ndarray
    since: np.ndarray
    counts: np.ndarray


class _Verdicts(NamedTuple):
    """Of n lookbacks: shown to be a breach [n], and whether anything can be said [n]."""

    breached: np.ndarray
    known: np.ndarray

    @property
    def place(self) -> int:
        """The shortest lookback that is a breach, or else the longest one."""
        return int(self.breached.argmax()) if self.breached.any() else len(self.breached) - 1

    def at(self, place: int) -> bool | None:
        return bool(self.breached[place]) if self.known[place] else None


class PooledGroups:
    """Counts, or sums of numbers, of one attribute's groups, judged over many lookbacks at once.

    A difference that stands is found over the lookback that its groups need: the latest window
    where they are large, weeks where one is a small minority. What may be spent on false alarms
    is shared over the lookbacks of different octaves, over the looks of a quarter, and over the
    pairs of groups; a long lookback moves slowly, so that a look at it may spend more. A breach
    that the last quarter of its lookback does not show any more is over.

    At most `MOST_GROUPS` groups are counted at a time, whatever text clients send. Rows of others
    are counted as left out, and with them no lookback is fine. A group that has no row in any
    lookback makes room.

    Args:
        figures: that are compared.
        columns: of the sums; see `definitions`.
        rate: false alarms that are expected per quarter from each judged definition, if the true
            difference is just the tolerated one all the time.
        min_rows: rows that a group needs for a verdict.
        reference: with whom groups are compared.
    """

    def __init__(
        self,
        figures: Sequence[Figure],
        columns: int,
        rate: float,
        min_rows: int,
        reference: With = "each",
    ) -> None:
        self._shape = MOST_GROUPS + 1, columns
        self._places: dict[str, int] = {}
        self._full = False
        self._blocks = AgedBlocks(math.prod(self._shape))
        self._figures, self._budget = tuple(figures), rate
        self._min_rows, self._reference = min_rows, reference
        self._dispersion = Overdispersion(len(figures))
        self._latest = 0.0

    @property
    def windows(self) -> int:
        """How many windows have closed."""
        return self._blocks.windows

    def clear(self) -> None:
        """Forget everything but which group is counted where."""
        self._blocks = AgedBlocks(math.prod(self._shape))
        self._dispersion = Overdispersion(len(self._figures))

    # -- counts -------------------------------------------------------------------------

    def codes(self, values: Sequence[str | None]) -> np.ndarray:
        """Return where the groups of n rows are counted, int64 [n]; -1: a group is not known.

        Args:
            values: the group of each row.
        """
        places = self._places
        for value in dict.fromkeys(values):
            if value is not None and value not in places:
                self._give_place(value)
        found = [-1 if value is None else places.get(value, MOST_GROUPS) for value in values]
        return np.array(found, dtype=np.int64)

    def _give_place(self, group: str) -> None:
        places = self._places
        if len(places) == MOST_GROUPS and not self._full:
            total = self._blocks.total().reshape(self._shape)
            for name in [name for name, at in places.items() if not total[at].any()]:
                del places[name]
            self._full = len(places) == MOST_GROUPS
        if len(places) < MOST_GROUPS:
            taken = set(places.values())
            places[group] = next(at for at in range(MOST_GROUPS) if at not in taken)

    def add(
        self,
        time: float,
        codes: np.ndarray,
        what: np.ndarray,
        positions: np.ndarray | Sequence[int] = (),
        amount: float = 1.0,
    ) -> None:
        """Count rows in the open window.

        Args:
            time: seconds since the epoch when they came.
            codes: what `codes` returned.
            what: the column that each row counts in, int64 [n], -1: none; or what it adds to every
                column, float64 [n, columns], NaN: it does not count.
            positions: see `Rows.positions`.
            amount: how often a row counts.
        """
        self._count(self._blocks.open(time, positions), codes, what, amount)

    def revise(
        self, codes: np.ndarray, what: np.ndarray, positions: np.ndarray, amount: float
    ) -> None:
        """Count rows wherever they were counted before; those that are long forgotten are not."""
        for block, at in self._blocks.places(positions):
            self._count(block.sums, codes[at], what[at], amount)

    def _count(self, sums: np.ndarray, codes: np.ndarray, what: np.ndarray, amount: float) -> None:
        by_group = sums.reshape(self._shape)
        which = (codes >= 0) & counted(what)
        if what.ndim == 1:
            np.add.at(by_group, (codes[which], what[which]), amount)
        else:
            np.add.at(by_group, codes[which], amount * what[which])

    def close(self, time: float) -> None:
        """End the open window, whose last rows came at that time."""
        last = self._blocks.open(time, ()).reshape(self._shape)
        if self._blocks.windows:
            past = self._blocks.lookbacks()[2][-1].reshape(self._shape)
            for at, figure in enumerate(self._figures):
                self._dispersion.window(at, figure.apart(last, past))
        self._latest, self._full = time, False
        self._blocks.close()

    # -- verdicts -----------------------------------------------------------------------

    def judge(
        self,
        definitions: Sequence[Definition[Figure]],
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
        if not definitions:
            return []
        windows, since, sums = self._blocks.lookbacks()
        counts = sums.reshape(-1, *self._shape)
        groups = (self._rows(counts[-1]) >= SMALLEST_GROUP).sum()
        step = max(1, -(-len(windows) * int(groups) ** 2 // _MOST_PAIRS))
        some = slice(len(windows) - 1 - (len(windows) - 1) // step * step, None, step)
        past = _Past(windows[some], since[some], counts[some])
        return [
            self._judge(definition, *limits, past)
            for definition, limits in zip(definitions, tolerated, strict=True)
        ]

    def _rows(self, sums: np.ndarray) -> np.ndarray:
        """Return the rows that count for any figure, [...] of sums [..., columns]."""
        found: np.ndarray = np.max([each.rows(sums) for each in self._figures], axis=0)
        return found

    def _judge(
        self,
        definition: Definition[Figure],
        difference: float | None,
        ratio: float | None,
        past: _Past,
    ) -> tuple[Judged, Judged]:
        alpha = levels(self._latest - past.since, self._budget) / len(definition.figures)
        factor = self.factor(definition)
        groups = past.counts[:, :MOST_GROUPS]
        left_out = self._rows(past.counts[:, MOST_GROUPS])
        found = worst([
            figure.compare(groups, alpha, self._min_rows, factor, self._whom(figure))
            for figure in definition.figures
        ])  # fmt: skip
        whole = (found.compared >= 2) & (found.compared == found.judged) & (left_out == 0)
        quarter = quarters(past.windows)
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

        def judged(verdicts: _Verdicts) -> Judged:
            place = verdicts.place
            values = dict(zip(Comparisons._fields, found.at(place), strict=True))
            return Judged(
                **{name: values[name] for name in _FIGURES},
                rows=int(values["rows"]),
                compared=int(values["compared"]),
                breached=by_difference.at(place),
                ratio_breached=by_ratio.at(place),
                windows=int(past.windows[place]),
                since=float(past.since[place]),
                factor=factor,
                suppressed=_small(definition, groups[place]),
                left_out=int(left_out[place]),
            )

        return judged(by_difference), judged(by_ratio)

    def _whom(self, figure: Figure) -> Reference:
        return figure.best if self._reference == "best" else self._reference

    def factor(self, definition: Definition[Figure]) -> float:
        """Return how many times as much its figures vary as those of independent rows."""
        places = (self._figures.index(each) for each in definition.figures)
        return max(self._dispersion.factor(each) for each in places)

    def rate(self, now: float) -> float | None:
        """Return windows per second over all that is remembered; None before there is one."""
        windows, since, _ = self._blocks.lookbacks()
        seconds = now - since[-1] if len(since) else 0.0
        return float(windows[-1] / seconds) if seconds > 0 else None

    def visible(
        self,
        definition: Definition[Figure],
        tolerated: float,
        window: int,
        now: float,
        *,
        ratio: bool,
    ) -> Resolution | None:
        """Return what can be seen of a definition at the present traffic; None: not known.

        Of several figures, the one that is seen worst.

        Args:
            definition: of fairness.
            tolerated: difference or ratio.
            window: rows of a window.
            now: seconds since the epoch.
            ratio: which of them.
        """
        rate = self.rate(now)
        if rate is None:
            return None
        windows, _, sums = self._blocks.lookbacks()
        counts = sums[-1].reshape(self._shape)[:MOST_GROUPS]
        rows = int(windows[-1]) * window
        traffic = Traffic(counts=counts, rows=rows, window=window, rate=rate * window)
        found = [
            resolution(
                each,
                traffic,
                Strictness(
                    budget=self._budget, figures=len(definition.figures), min_rows=self._min_rows,
                    factor=self.factor(definition), whom=self._whom(each),
                ),
                tolerated,
                ratio=ratio,
            )
            for each in definition.figures
        ]  # fmt: skip
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return None
        return max(known, key=lambda each: (each.sd(0.0), each.least))

    # -- what is saved ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "places": self._places,
            "blocks": self._blocks.state(),
            "dispersion": self._dispersion.state(),
            "latest": self._latest,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError, KeyError: it is of other counts.
        """
        self._blocks.restore(state["blocks"])
        self._dispersion.restore(state["dispersion"])
        self._places = {name: int(at) for name, at in state["places"].items()}
        self._latest = state["latest"]


def counted(what: np.ndarray) -> np.ndarray:
    """Return which rows count anywhere, bool [n]; see `PooledGroups.add`."""
    which: np.ndarray = what >= 0 if what.ndim == 1 else ~np.isnan(what).any(axis=1)
    return which


def _small(definition: Definition[Figure], counts: np.ndarray) -> int:
    of_figures = (each.rows(counts) for each in definition.figures)
    return max(int(((rows > 0) & (rows < SMALLEST_GROUP)).sum()) for rows in of_figures)
