"""How much more the groups' rates vary from window to window than independent rows would."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from monitors.statistics.dispersion import Dispersion

_LATER: Final = 32
"""Windows after which one counts."""
_FEWEST: Final = 5.0
"""Expected hits, and expected others, that a group's window needs to say anything."""


class Overdispersion:
    """The factor of each rate; see `Dispersion`.

    What all groups share, as the hour of the day, makes no difference between them, so it is taken
    out of every window first. A window counts once `_LATER` more have come: a gap that begins is
    found before it could pass for natural variation.

    Args:
        rates: how many rates there are.
    """

    def __init__(self, rates: int) -> None:
        self._found = Dispersion(rates)
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in range(rates)]

    def factor(self, rate: int) -> float:
        """Return the factor of a rate, 1 or more."""
        return self._found.factor(rate)

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
        groups = int(counted.sum())
        if groups < 2:
            self._later(rate, 0.0, 0)
            return
        hits, rows, share = hits[counted], rows[counted], share[counted]
        # The past is not known exactly either.
        variance = share * (1 - share) * rows * (1 + rows / past_rows[counted])
        apart = (hits - share * rows) / np.sqrt(variance)
        square = float(((apart - apart.mean()) ** 2).sum()) / (groups - 1)
        self._later(rate, square, groups - 1)

    def _later(self, rate: int, square: float, freedom: int) -> None:
        waiting = self._waiting[rate]
        waiting.append((square, freedom))
        if len(waiting) > _LATER:
            self._found.add(rate, *waiting.pop(0))

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
