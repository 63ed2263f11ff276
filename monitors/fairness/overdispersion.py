"""How much more the groups' rates vary from window to window than independent rows would."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_FADING: Final = 1 - 1 / 200
"""What is left of a window's weight after the next one."""
_AS_IF: Final = 20.0
"""Degrees of freedom of independent rows that are taken for seen before any window."""
_MOST: Final = 4.0
"""Square of a standardised deviation, over the factor, that a window counts for at most."""
_FEWEST: Final = 5.0
"""Expected hits, and expected others, that a group's window needs to say anything."""


class Overdispersion:
    """The factor of Laney's charts by rate: variance of windows over that of independent rows.

    What all groups share, as the hour of the day, makes no difference between them, so it is taken
    out of every window first.

    Source: Laney (2002), "Improved control charts for attributes", Quality Engineering 14(4).

    Args:
        rates: how many rates there are.
    """

    def __init__(self, rates: int) -> None:
        self._squares = np.zeros(rates)
        self._freedom = np.zeros(rates)

    def factor(self, rate: int) -> float:
        """Return the factor of a rate, 1 or more."""
        seen = self._squares[rate] + _AS_IF
        return max(float(seen / (self._freedom[rate] + _AS_IF)), 1.0)

    def window(
        self, rate: int, hits: np.ndarray, rows: np.ndarray, before: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Take note of a window.

        Args:
            rate: of which rate.
            hits, rows: counts by group of the window.
            before: those of a longer past, the window left out.
        """
        past_hits, past_rows = before
        known = np.minimum(past_hits, past_rows - past_hits) >= _FEWEST
        share = np.where(known, past_hits / np.maximum(past_rows, 1), 0.5)
        expected = np.minimum(share, 1 - share) * rows
        counted = known & (expected >= _FEWEST)
        self._squares[rate] *= _FADING
        self._freedom[rate] *= _FADING
        groups = int(counted.sum())
        if groups < 2:
            return
        hits, rows, share = hits[counted], rows[counted], share[counted]
        # The past is not known exactly either.
        variance = share * (1 - share) * rows * (1 + rows / past_rows[counted])
        apart = (hits - share * rows) / np.sqrt(variance)
        square = float(((apart - apart.mean()) ** 2).sum()) / (groups - 1)
        # A gap that begins is no natural variation: one window cannot say much more than others.
        square = min(square, _MOST * self.factor(rate))
        self._squares[rate] += square * (groups - 1)
        self._freedom[rate] += groups - 1

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"squares": self._squares.tolist(), "freedom": self._freedom.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._squares, self._freedom = np.array(state["squares"]), np.array(state["freedom"])
