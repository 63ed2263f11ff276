"""What is compared between groups: rates of counts, as fairlearn defines them, and means.

Source of the rates: fairlearn.metrics 0.15, `MetricFrame.difference` and `.ratio` with
`method="between_groups"`, of `selection_rate`, `true_positive_rate`, `false_positive_rate`, and of
scikit-learn's `precision_score` and `accuracy_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from monitors.fairness.comparison import (
    Comparisons,
    Moments,
    Reference,
    compare,
    compare_bounded_means,
)
from monitors.fairness.overdispersion import means_apart, rates_apart
from monitors.statistics.empirical_bernstein import typical_reach
from monitors.windows.resolution import normal_bound

PREDICTED_COLUMNS: Final = 2
"""Of rows that were predicted: other outcomes, favourable ones."""
TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE = range(4)
"""Columns of labelled rows: 2 * (the truth is favourable) + (the prediction is)."""
LABELLED_COLUMNS: Final = 4


ROWS, CAPPED, SECOND, FOURTH, FIRST, THIRD, FIRST_OF_SIZES, THIRD_OF_SIZES = range(8)
"""Columns of rows that have a number: rows, those whose number was too large to count whole, and
sums of powers of numbers; of sizes only where they are others."""
MEAN_COLUMNS: Final = 8


class Figure(Protocol):
    """A number of every group that groups are compared by, made of sums over its rows."""

    @property
    def name(self) -> str:
        """As people know it."""

    @property
    def signed(self) -> bool:
        """Whether it may be negative; then there are no ratios."""

    @property
    def best(self) -> Reference:
        """Which groups are compared where that is done with the best one."""

    def rows(self, sums: np.ndarray) -> np.ndarray:
        """Return the rows of sums [..., columns], [...]."""

    def compare(
        self,
        sums: np.ndarray,
        alpha: np.ndarray,
        min_rows: int,
        factor: float,
        reference: Reference,
    ) -> Comparisons:
        """Compare groups over n lookbacks; see `monitors.fairness.comparison.compare`.

        Args:
            sums: by group, [n, groups, columns].
            alpha, min_rows, factor, reference: see there.
        """

    def apart(self, window: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Return how far groups' windows are from their past, for `Overdispersion`.

        Args:
            window, past: sums by group, [groups, columns].
        """

    def spread(self, sums: np.ndarray) -> Spread:
        """Return what is known of one row of a group, of sums [columns]."""

    def bound(self, alpha: float) -> tuple[float, float]:
        """Return how far a bound of a group reaches; see `Resolution.bound`."""


class Spread(NamedTuple):
    """What is known of one row of a group.

    Attributes:
        value: the group's figure.
        variance: of one row around it; None: as the figure is a share, that of a share.
        signed: whether it may be negative; sizes that are larger vary more.
    """

    value: float
    variance: float | None
    signed: bool = True

    def at(self, value: float) -> tuple[float, float]:
        """Return a value that a group may have and the variance of a row there."""
        if self.variance is not None and self.signed:
            return value, self.variance
        if self.variance is not None:
            value = max(value, self.value / 100)
            return value, self.variance * (value / self.value) ** 2 if self.value else 0.0
        value = min(max(value, 0.02), 0.98)
        return value, value * (1 - value)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of rows, by group.

    Attributes:
        name: as people know it.
        hits: columns whose sum is the hits.
        of_rows: columns whose sum is the rows.
        labelled: whether the columns are those of labelled rows.
        good: whether a high rate is good for a group.
    """

    name: str
    hits: tuple[int, ...]
    of_rows: tuple[int, ...]
    labelled: bool = True
    good: bool = True

    def of(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return hits and rows by group, [..., groups] each, of counts [..., groups, columns]."""
        # A group that only a label tells may be taken back where it was not counted.
        counts = np.maximum(counts, 0)
        return counts[..., self.hits].sum(axis=-1), counts[..., self.of_rows].sum(axis=-1)

    @property
    def signed(self) -> bool:
        """Whether it may be negative."""
        return False

    @property
    def best(self) -> Reference:
        """The group that is treated best."""
        return "highest" if self.good else "lowest"

    def rows(self, sums: np.ndarray) -> np.ndarray:
        """Return the rows, see `Figure`."""
        return self.of(sums)[1]

    def compare(
        self,
        sums: np.ndarray,
        alpha: np.ndarray,
        min_rows: int,
        factor: float,
        reference: Reference,
    ) -> Comparisons:
        """Compare groups, see `Figure`."""
        return compare(*self.of(sums), alpha, min_rows, factor, reference)

    def apart(self, window: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Return how far windows are from their past, see `Figure`."""
        return rates_apart(*self.of(window), *self.of(past))

    def spread(self, sums: np.ndarray) -> Spread:
        """Return what is known of a row, see `Figure`."""
        hits, rows = self.of(sums)
        return Spread(float((hits + 0.5) / (rows + 1)), None)

    def bound(self, alpha: float) -> tuple[float, float]:
        """Return how far a bound reaches: nearly as a normal one."""
        return normal_bound(alpha)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of numbers from 0 to 1, or from -1 to 1, by group.

    Attributes:
        name: as people know it.
        signed: whether it is of the numbers themselves, and not of their sizes.
    """

    name: str
    signed: bool

    @property
    def best(self) -> Reference:
        """All groups: a mean that is high or low is not good or bad."""
        return "each"

    def of(self, sums: np.ndarray) -> Moments:
        """Return moments, [...] each, of sums [..., columns]."""
        odd = (FIRST, THIRD) if self.signed else (FIRST_OF_SIZES, THIRD_OF_SIZES)
        rows = sums[..., ROWS]
        # What was taken back where it was not counted leaves no rows.
        known = np.where((rows > 0)[..., None], sums, 0.0)
        first, second, third, fourth = (known[..., at] for at in (odd[0], SECOND, odd[1], FOURTH))
        return Moments(known[..., ROWS], first, second, third, fourth)

    def rows(self, sums: np.ndarray) -> np.ndarray:
        """Return the rows, see `Figure`."""
        return self.of(sums).rows

    def compare(
        self,
        sums: np.ndarray,
        alpha: np.ndarray,
        min_rows: int,
        factor: float,
        reference: Reference,
    ) -> Comparisons:
        """Compare groups, see `Figure`."""
        return compare_bounded_means(
            self.of(sums), alpha, min_rows, signed=self.signed, factor=factor, reference=reference
        )

    def apart(self, window: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Return how far windows are from their past, see `Figure`."""
        now, before = self.of(window), self.of(past)
        return means_apart(now.first, now.rows, before.first, before.second, before.rows)

    def spread(self, sums: np.ndarray) -> Spread:
        """Return what is known of a row, see `Figure`."""
        rows, total, squares, *_ = (float(each) for each in self.of(sums))
        mean = total / max(rows, 1.0)
        variance = max(squares - mean * total, 0.0) / max(rows - 1, 1.0)
        return Spread(mean, variance, self.signed)

    def bound(self, alpha: float) -> tuple[float, float]:
        """Return how far a bound reaches, about."""
        return typical_reach(2.0 if self.signed else 1.0, alpha)


SELECTION_RATE: Final = Rate("selection_rate", (1,), (0, 1), labelled=False)
TRUE_POSITIVE_RATE: Final = Rate(
    "true_positive_rate", (TRUE_POSITIVE,), (TRUE_POSITIVE, FALSE_NEGATIVE)
)
FALSE_POSITIVE_RATE: Final = Rate(
    "false_positive_rate", (FALSE_POSITIVE,), (FALSE_POSITIVE, TRUE_NEGATIVE), good=False
)
PRECISION: Final = Rate("precision", (TRUE_POSITIVE,), (TRUE_POSITIVE, FALSE_POSITIVE))
FALSE_DISCOVERY_RATE: Final = Rate(
    "false_discovery_rate", (FALSE_POSITIVE,), (TRUE_POSITIVE, FALSE_POSITIVE), good=False
)
FALSE_OMISSION_RATE: Final = Rate(
    "false_omission_rate", (FALSE_NEGATIVE,), (FALSE_NEGATIVE, TRUE_NEGATIVE), good=False
)
ACCURACY: Final = Rate(
    "accuracy",
    (TRUE_POSITIVE, TRUE_NEGATIVE),
    (TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE),
)


CALIBRATION_GAP: Final = Mean("calibration_gap", signed=True)
"""Of what is true, 1 or 0, minus its probability."""
ABSOLUTE_ERROR: Final = Mean("mean_absolute_error", signed=False)
ERROR: Final = Mean("mean_error", signed=True)

Some = TypeVar("Some", bound=Figure, covariant=True)


@dataclass(frozen=True, slots=True)
class Definition(Generic[Some]):
    """A notion of fairness: groups have the same figures.

    Attributes:
        name: findings are of `<name>_difference` and, but for figures with a sign, `<name>_ratio`.
        figures: of several the difference is the largest, the ratio the smallest.
        labelled: whether it needs labels.
    """

    name: str
    figures: tuple[Some, ...]
    labelled: bool = True

    @property
    def signed(self) -> bool:
        """Whether there is no ratio."""
        return self.figures[0].signed


DEMOGRAPHIC_PARITY: Final = Definition("demographic_parity", (SELECTION_RATE,), labelled=False)
DEFINITIONS: Final[Sequence[Definition[Rate]]] = (
    DEMOGRAPHIC_PARITY,
    Definition("equal_opportunity", (TRUE_POSITIVE_RATE,)),
    Definition("equalized_odds", (TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE)),
    Definition("predictive_parity", (PRECISION,)),
    Definition("false_discovery_rate", (FALSE_DISCOVERY_RATE,)),
    Definition("false_omission_rate", (FALSE_OMISSION_RATE,)),
    Definition("accuracy", (ACCURACY,)),
)
"""Those of rates, in the order in which they are told of."""
CALIBRATION: Final = Definition("calibration", (CALIBRATION_GAP,))
MAE: Final = Definition("mae", (ABSOLUTE_ERROR,))
MEAN_ERROR: Final = Definition("mean_error", (ERROR,))
DIFFERENCES: Final = tuple(f"{each.name}_difference" for each in DEFINITIONS)
RATIOS: Final = tuple(f"{each.name}_ratio" for each in DEFINITIONS)
