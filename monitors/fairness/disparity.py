"""How far apart the rates of groups are: difference, ratio and interval, as fairlearn defines them.

Source of the definitions: fairlearn.metrics, `MetricFrame.difference` and `.ratio` with
`method="between_groups"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from monitors.fairness.group_cells import Cell
from monitors.statistics.newcombe import newcombe


@dataclass(frozen=True, slots=True)
class Disparity:
    """What two or more groups differ by.

    Attributes:
        difference: largest rate minus smallest; NaN with fewer than two groups.
        ratio: smallest rate over largest; NaN with fewer than two groups, or if no row is a hit.
        interval: Newcombe's, of the difference of the two extreme groups; None with fewer.
        rows: rows of all groups together.
    """

    difference: float
    ratio: float
    interval: tuple[float, float] | None
    rows: int


def disparity(cells: Sequence[Cell], confidence: float) -> Disparity:
    """Compare groups.

    Args:
        cells: in increasing order of their rate.
        confidence: of the interval; see `confidence_per_pair`.
    """
    rows = sum(cell.rows for cell in cells)
    if len(cells) < 2:
        return Disparity(math.nan, math.nan, None, rows)
    low, high = cells[0], cells[-1]
    return Disparity(
        difference=high.rate - low.rate,
        ratio=low.rate / high.rate if high.hits else math.nan,
        interval=newcombe(high.hits, high.rows, low.hits, low.rows, confidence),
        rows=rows,
    )


def confidence_per_pair(confidence: float, groups: int, attributes: int = 1) -> float:
    """Return the confidence at which intervals of all pairs hold together (Bonferroni).

    Args:
        confidence: that all of them together are to have.
        groups: groups that are compared, each with each.
        attributes: attributes that are judged at the same time.
    """
    pairs = max(math.comb(groups, 2), 1) * attributes
    return 1 - (1 - confidence) / pairs
