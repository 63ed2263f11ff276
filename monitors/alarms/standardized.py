"""Differences in units of their standard deviation, also where shares are too small for Gauss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def standardized(value: Array, expected: Array, sd: Array, shares: Mask) -> Array:
    """Return how many standard deviations `value` is off; all arguments of one shape.

    Shares (means of statistics that are 0 or 1) are compared after Anscombe's arcsine
    transformation, whose variance hardly depends on the share: the plain difference would give a
    rare event that came twice six standard deviations. Towards zero and one the transformation
    exaggerates and the plain difference does not; the smaller of both is returned. Anscombe
    (1948), "The transformation of Poisson, binomial and negative-binomial data", Biometrika 35.

    Args:
        value: observed means.
        expected: what they were expected to be.
        sd: standard deviation of the difference, positive.
        shares: where the statistic is 0 or 1.
    """
    z: Array = (value - expected) / sd
    if not shares.any():
        return z
    p = np.clip(expected[shares], 1e-9, 1 - 1e-9)
    # The sample size whose share would vary as this one does, dependence included.
    n = np.maximum(p * (1 - p) / sd[shares] ** 2, 1e-3)
    seen = np.arcsin(np.sqrt((np.clip(value[shares], 0, 1) * n + 0.375) / (n + 0.75)))
    awaited = np.arcsin(np.sqrt((p * n + 0.375) / (n + 0.75)))
    transformed = 2 * np.sqrt(n + 0.5) * (seen - awaited)
    z[shares] = np.copysign(np.minimum(np.abs(transformed), np.abs(z[shares])), transformed)
    return z
