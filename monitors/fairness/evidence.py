"""What may be told of groups: nothing that tells of a few people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from monitors.fairness.group_bounds import SMALLEST_GROUP


class Shown(NamedTuple):
    """Groups' rates.

    Attributes:
        rates: by group, with its rows: JSON values.
        suppressed: how many groups are left out.
    """

    rates: dict[str, Any]
    suppressed: int


def groups_shown(names: Sequence[str], hits: np.ndarray, rows: np.ndarray) -> Shown:
    """Return the rates of groups of at least `SMALLEST_GROUP` rows.

    Of one small group alone the counts could be had by subtracting those of the others from all
    rows, so the smallest of the others is left out with it (complementary suppression).

    Args:
        names: of the groups.
        hits, rows: counts by group, [groups].
    """
    large = rows >= SMALLEST_GROUP
    small = ~large & (rows > 0)
    if small.sum() == 1 and large.any():
        smallest = np.flatnonzero(large)[rows[large].argmin()]
        large[smallest], small[smallest] = False, True
    rates = {
        name: {"rate": round(float(hit / row), 6), "rows": int(row)}
        for name, hit, row, shown in zip(names, hits, rows, large, strict=True)
        if shown
    }
    return Shown(rates, int(small.sum()))
