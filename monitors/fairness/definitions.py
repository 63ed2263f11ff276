"""What is compared between groups, as fairlearn defines it: each a rate of counts.

Source: fairlearn.metrics 0.15, `MetricFrame.difference` and `.ratio` with
`method="between_groups"`, of `selection_rate`, `true_positive_rate`, `false_positive_rate`, and of
scikit-learn's `precision_score` and `accuracy_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

PREDICTED_COLUMNS: Final = 2
"""Of rows that were predicted: other outcomes, favourable ones."""
TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE = range(4)
"""Columns of labelled rows: 2 * (the truth is favourable) + (the prediction is)."""
LABELLED_COLUMNS: Final = 4


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of rows, by group.

    Attributes:
        name: as people know it.
        hits: columns whose sum is the hits.
        rows: columns whose sum is the rows.
        labelled: whether the columns are those of labelled rows.
        good: whether a high rate is good for a group.
    """

    name: str
    hits: tuple[int, ...]
    rows: tuple[int, ...]
    labelled: bool = True
    good: bool = True

    def of(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return hits and rows by group, [..., groups] each, of counts [..., groups, columns]."""
        return counts[..., self.hits].sum(axis=-1), counts[..., self.rows].sum(axis=-1)


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


@dataclass(frozen=True, slots=True)
class Definition:
    """A notion of fairness: groups have the same rates.

    Attributes:
        name: findings are of `<name>_difference` and `<name>_ratio`.
        rates: of several the difference is the largest, the ratio the smallest.
    """

    name: str
    rates: tuple[Rate, ...]

    @property
    def labelled(self) -> bool:
        """Whether it needs labels."""
        return self.rates[0].labelled


DEMOGRAPHIC_PARITY: Final = Definition("demographic_parity", (SELECTION_RATE,))
DEFINITIONS: Final[Sequence[Definition]] = (
    DEMOGRAPHIC_PARITY,
    Definition("equal_opportunity", (TRUE_POSITIVE_RATE,)),
    Definition("equalized_odds", (TRUE_POSITIVE_RATE, FALSE_POSITIVE_RATE)),
    Definition("predictive_parity", (PRECISION,)),
    Definition("false_discovery_rate", (FALSE_DISCOVERY_RATE,)),
    Definition("false_omission_rate", (FALSE_OMISSION_RATE,)),
    Definition("accuracy", (ACCURACY,)),
)
"""All of them, in the order in which they are told of."""
DIFFERENCES: Final = tuple(f"{each.name}_difference" for each in DEFINITIONS)
RATIOS: Final = tuple(f"{each.name}_ratio" for each in DEFINITIONS)
