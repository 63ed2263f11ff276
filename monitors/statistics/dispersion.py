"""How much more something varies between windows than independent rows would make it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_FADING: Final = 1 - 1 / 200
"""What is left of a window's weight after the next one."""
_AS_IF: Final = 20.0
"""Degrees of freedom of independent rows that are taken for seen before any window."""
_MOST: Final = 4.0
"""Square of a standardised deviation, over the factor, that a window counts for at most."""


class Dispersion:
    """The factor of Laney's charts: variance of windows over that of independent rows.

    Source: Laney (2002), "Improved control charts for attributes", Quality Engineering 14(4).

    Args:
        series: how many things have a factor each.
    """

    def __init__(self, series: int) -> None:
        self._squares = np.zeros(series)
        self._freedom = np.zeros(series)

    def factor(self, at: int, expected: float = 1.0) -> float:
        """Return the factor of one of them, 1 or more.

        Args:
            at: which one.
            expected: what is taken for its factor before any window.
        """
        seen = self._squares[at] + _AS_IF * expected
        return max(float(seen / (self._freedom[at] + _AS_IF)), 1.0)

    def add(self, at: int, square: float, freedom: int, expected: float = 1.0) -> None:
        """Take note of a window.

        Args:
            at: of which one.
            square: mean square of deviations over what independent rows would give.
            freedom: degrees of freedom; 0: the window says nothing.
            expected: see `factor`.
        """
        self._squares[at] *= _FADING
        self._freedom[at] *= _FADING
        if freedom:
            # A change that begins is no natural variation: a window cannot say much more than
            # others.
            square = min(square, _MOST * self.factor(at, expected))
            self._squares[at] += square * freedom
            self._freedom[at] += freedom

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"squares": self._squares.tolist(), "freedom": self._freedom.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        squares, freedom = np.array(state["squares"]), np.array(state["freedom"])
        if len(squares) != len(self._squares) or len(freedom) != len(squares):
            raise ValueError("the factors are of other things")
        self._squares, self._freedom = squares, freedom
