"""The unit of each statistic: the standard deviation of a row of the reference."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.alarms.reference import ReferenceMoments
from monitors.alarms.standardized import Array, Mask

_CONSTANT_ROWS: Final = 1000.0
"""Rows of one value from which on a statistic is taken to be a constant."""


class Units:
    """What is made of a reference once.

    Attributes:
        sd: [k] standard deviation of a row, positive.
        mean: [k] of the reference.
        centre: [k] the mean; of a share that was never seen, how rare it is for all that is known.
        shares: [k] statistics that are 0 or 1.
        constant: [k] statistics that were always the same.
        sampling: [k] variance of the reference's mean, in squared units, if rows are independent.
    """

    def __init__(self, reference: ReferenceMoments) -> None:
        mean, variance = reference.mean, reference.variance
        unseen = 1 / (reference.n + 2)
        least = np.maximum(mean**2, 1.0) * unseen * (1 - unseen)
        self.mean: Array = mean
        self.sd: Array = np.sqrt(np.maximum(variance, least))
        share = mean * (1 - mean)
        self.shares: Mask = (share >= 0) & (np.abs(variance - share) < 1e-6 * share + 1e-9)
        self.centre: Array = np.where(self.shares, np.clip(mean, unseen, 1 - unseen), mean)
        self.constant: Mask = (variance == 0) & (reference.n >= _CONSTANT_ROWS)
        self.sampling: Array = 1 / np.maximum(reference.n, 1)
