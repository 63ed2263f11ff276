"""Which counts of groups are not shown, because they could say something about a person."""

from __future__ import annotations

import numpy as np

from monitors.fairness.group_bounds import SMALLEST_GROUP


def suppressed(counts: np.ndarray) -> np.ndarray:
    """Return which counts are not shown, bool [groups].

    Those from 1 to 19 are not. Where these together are still fewer than 20, the smallest other one
    is not shown either: the total minus what is shown would tell them (complementary suppression).
    """
    hidden: np.ndarray = (counts > 0) & (counts < SMALLEST_GROUP)
    if hidden.any() and counts[hidden].sum() < SMALLEST_GROUP:
        others = np.where(hidden | (counts == 0), np.iinfo(np.int64).max, counts)
        at = int(others.argmin())
        if not hidden[at] and counts[at]:
            hidden[at] = True
    return hidden
