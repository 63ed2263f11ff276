"""Which counts of groups are not shown, because they could say something about a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitors.fairness.group_bounds import SMALLEST_GROUP


def suppressed(counts: np.ndarray, totals: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return which counts are not shown, bool [groups].

    Those from 1 to 19 are not. A total minus what is shown of it would tell a count that is hidden
    alone, and says too much of some that are together still fewer than 20. So the smallest other
    one is not shown either (complementary suppression).

    Args:
        counts: int64 [groups].
        totals: places of the groups of which a sum is shown elsewhere, int64 [any] each; that of
            all groups always is.
    """
    hidden: np.ndarray = (counts > 0) & (counts < SMALLEST_GROUP)
    sums = [np.arange(len(counts)), *totals]
    again = True
    while again:  # what is hidden for one total may stand alone in another
        again = False
        for places in sums:
            again |= _hide_one_more(counts, hidden, places)
    return hidden


def _hide_one_more(counts: np.ndarray, hidden: np.ndarray, places: np.ndarray) -> bool:
    """Hide the smallest of these places if the total tells too much; say whether it was done."""
    secret = places[hidden[places]]
    shown = places[~hidden[places] & (counts[places] > 0)]
    if not len(secret) or not len(shown):
        return False
    if len(secret) > 1 and counts[secret].sum() >= SMALLEST_GROUP:
        return False
    hidden[shown[counts[shown].argmin()]] = True
    return True
