"""How much more the groups' figures vary from window to window than independent rows would."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from monitors.statistics.dispersion import Dispersion

_LATER: Final = 32
"""Windows after which one counts."""
_FEWEST: Final = 5.0
"""Expected hits, and expected others, that a group's window needs to say anything."""


_FEWEST_ROWS: Final = 10.0
"""Rows of which a group's window of numbers has to be, to say anything."""


def rates_apart(
    hits: np.ndarray, rows: np.ndarray, past_hits: np.ndarray, past_rows: np.ndarray
) -> np.ndarray:
    """Return how far groups' rates in a window are from their past, float64 [groups that count].

    Args:
        hits, rows: counts by group of the window.
        past_hits, past_rows: those of a longer past, the window left out.
    """
    known = np.minimum(past_hits, past_rows - past_hits) >= _FEWEST
    share = np.where(known, past_hits / np.maximum(past_rows, 1), 0.5)
    expected = np.minimum(share, 1 - share) * rows
    counted = known & (expected >= _FEWEST)
    hits, rows, share = hits[counted], rows[counted], share[counted]
    # The past is not known exactly either.
    variance = share * (1 - share) * rows * (1 + rows / past_rows[counted])
    apart: np.ndarray = (hits - share * rows) / np.sqrt(variance)
    return apart


def means_apart(
    total: np.ndarray,
    rows: np.ndarray,
    past_total: np.ndarray,
    past_squares: np.ndarray,
    past_rows: np.ndarray,
) -> np.ndarray:
    """Return how far groups' means in a window are from their past, float64 [groups that count].

    Args:
        total, rows: sums by group of the window.
        past_total, past_squares, past_rows: those of a longer past, the window left out.
    """
    mean = past_total / np.maximum(past_rows, 1)
    of_row = (past_squares - mean * past_total) / np.maximum(past_rows - 1, 1)
    counted = (np.minimum(rows, past_rows) >= _FEWEST_ROWS) & (of_row > 0)
    total, rows = total[counted], rows[counted]
    variance = of_row[counted] * rows * (1 + rows / past_rows[counted])
    apart: np.ndarray = (total - mean[counted] * rows) / np.sqrt(variance)
    return apart


class Overdispersion:
    """The factor of each figure; see `Dispersion`.

    What all groups share, as the hour of the day, makes no difference between them, so it is taken
    out of every window first. A window counts once `_LATER` more have come: a gap that begins is
    found before it could pass for natural variation.

    Args:
        figures: how many there are.
    """

    def __init__(self, figures: int) -> None:
        self._found = Dispersion(figures)
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in range(figures)]

    def factor(self, figure: int) -> float:
        """Return the factor of a figure, 1 or more."""
        return self._found.factor(figure)

    def window(self, figure: int, apart: np.ndarray) -> None:
        """Take note of a window.

        Args:
            figure: of which figure.
            apart: how far each group's is from its past, in standard deviations of independent
                rows; of groups that say something, float64 [any].
        """
        freedom = len(apart) - 1
        if freedom < 1:
            self._later(figure, 0.0, 0)
            return
        square = float(((apart - apart.mean()) ** 2).sum()) / freedom
        self._later(figure, square, freedom)

    def _later(self, figure: int, square: float, freedom: int) -> None:
        waiting = self._waiting[figure]
        waiting.append((square, freedom))
        if len(waiting) > _LATER:
            self._found.add(figure, *waiting.pop(0))

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        waiting = [[list(each) for each in of_rate] for of_rate in self._waiting]
        return {**self._found.state(), "waiting": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        waiting = [[(float(s), int(f)) for s, f in of_rate] for of_rate in state["waiting"]]
        if len(waiting) != len(self._waiting):
            raise ValueError("the factors are of other things")
        self._found.restore(state)
        self._waiting = waiting
