"""What errors of numbers are divided by, so that bounds hold for their means: learnt from some."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from monitors.fairness.definitions import (
    CAPPED,
    FIRST,
    FIRST_OF_SIZES,
    FOURTH,
    MEAN_COLUMNS,
    ROWS,
    SECOND,
    THIRD,
    THIRD_OF_SIZES,
)
from monitors.fairness.group_bounds import SMALLEST_GROUP

_QUANTILE: Final = 0.99
_TIMES: Final = 1.25
_MOST_CAPPED: Final = 0.05
"""Share of a window's rows above which errors have outgrown their scale."""
_LEAST_SIZE: Final = 0.01
"""Mean size of a window's errors, of the scale, below which bounds are far too wide."""


class ErrorScale:
    """The size of errors above which one counts as no larger.

    Numbers without a bound have no interval that holds: one wild row could be any group's mean. So
    the size of an error counts up to 1.25 times the 99 % quantile of a first window's. Where later
    errors are often larger, or nearly all much smaller, it is learnt anew.

    Attributes:
        value: the scale, in the units of the errors; None while it is learnt.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._learnt: list[float] = []

    def learn(self, errors: np.ndarray) -> None:
        """Take in errors, float64 [n]; NaN: none. Infinite ones say nothing of the others' size."""
        self._learnt += np.abs(errors[np.isfinite(errors)]).tolist()

    def settle(self) -> None:
        """Take what was learnt for the scale, if it is enough to tell one."""
        if len(self._learnt) < SMALLEST_GROUP:
            return
        sizes = np.array(self._learnt)
        # Where hardly any answer is wrong, what is wrong tells.
        scale = _TIMES * float(np.quantile(sizes, _QUANTILE)) or float(sizes.max())
        if scale > 0 and np.isfinite(scale):
            self.value = scale
        self._learnt = []

    def unfit(self, sums: np.ndarray) -> bool:
        """Whether a window's errors show that the scale is none for them.

        Args:
            sums: as `amounts` returned, of all rows, float64 [MEAN_COLUMNS].
        """
        rows = float(sums[ROWS])
        if rows < SMALLEST_GROUP:
            return False
        outgrown = float(sums[CAPPED]) > _MOST_CAPPED * rows
        return outgrown or float(sums[FIRST_OF_SIZES]) < _LEAST_SIZE * rows

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"value": self.value, "learnt": self._learnt}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.value = state["value"]
        self._learnt = [float(each) for each in state["learnt"]]


def amounts(errors: np.ndarray, scale: float) -> np.ndarray:
    """Return what rows add to the sums of means, see `definitions`; float64 [n, MEAN_COLUMNS].

    Args:
        errors: float64 [n]; NaN: none.
        scale: above which an error counts as no larger.
    """
    found = np.full((len(errors), MEAN_COLUMNS), np.nan)
    known = ~np.isnan(errors)
    of_scale = errors[known] / scale
    bounded = np.clip(of_scale, -1.0, 1.0)
    sizes, squares = np.abs(bounded), bounded**2
    columns = {
        ROWS: 1.0, CAPPED: np.abs(of_scale) > 1, SECOND: squares, FOURTH: squares**2,
        FIRST: bounded, THIRD: bounded * squares,
        FIRST_OF_SIZES: sizes, THIRD_OF_SIZES: sizes * squares,
    }  # fmt: skip
    for column, values in columns.items():
        found[known, column] = values
    return found
