"""Shapley values by their definition, to hold estimates of them against."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import comb

import numpy as np


def exact(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return the Shapley values [rows, features] of `f`, which is asked for each coalition.

    Shapley, "A value for n-person games" (1953): the mean, over the sizes of coalitions and over
    all coalitions of a size, of what a feature adds to a coalition without it.

    Args:
        f: returns a number for each row of [rows, features].
        x: rows that are explained.
        base: one row; what stands for a feature that is in no coalition.
    """
    n = x.shape[1]
    worth = {
        members: f(np.where(np.array(members), x, base)) for members in product((0, 1), repeat=n)
    }
    values = np.zeros(x.shape)
    for members, without in worth.items():
        for feature in np.flatnonzero(np.array(members) == 0):
            joined = (*members[:feature], 1, *members[feature + 1 :])
            share = n * comb(n - 1, sum(members))
            values[:, feature] += (worth[joined] - without) / share
    return values
