"""Whether groups differ by more than is tolerated, or whether that is not known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from monitors.fairness.group_cells import SMALLEST_GROUP, Cell
from monitors.statistics.newcombe import newcombe


class Verdict(NamedTuple):
    """A verdict.

    Attributes:
        breached: None when it is unknown.
        reason: why it is unknown, in a few words; empty when it is known.
    """

    breached: bool | None
    reason: str = ""


def disparity_verdict(
    cells: Sequence[Cell], tolerance: float, confidence: float, min_rows: int
) -> Verdict:
    """Judge the difference of rates.

    It is a breach if, for some two groups of at least `min_rows`, the whole interval of the
    difference lies above the tolerance. It is unknown while no breach is shown and a group with
    too few rows, or the lack of a second group, leaves it open.

    Args:
        cells: in increasing order of their rate.
        tolerance: largest acceptable difference.
        confidence: of each pair's interval; see `confidence_per_pair`.
        min_rows: rows that a group needs to be judged.
    """
    judged = [cell for cell in cells if cell.rows >= min_rows]
    for low, high in itertools.combinations(judged, 2):
        apart = high.rate - low.rate > tolerance
        if apart and newcombe(*high, *low, confidence)[0] > tolerance:
            return Verdict(True)
    if len(cells) < 2:
        return Verdict(None, f"fewer than two groups have {SMALLEST_GROUP} rows")
    if len(judged) < len(cells):
        return Verdict(None, f"a group has fewer than {min_rows} rows")
    return Verdict(False)
