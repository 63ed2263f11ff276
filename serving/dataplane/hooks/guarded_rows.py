"""What became of rows in guards, for those who watch how many each guard flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.channel.messages.observation import FLAGGED, PASSED, UNJUDGED
from serving.dataplane.requests.decisions import RowDecision

Became = dict[str, np.ndarray]
"""Uint8 [rows] by guard."""


class GuardedRows:
    """Tells of the guards of one model version which rows they flagged.

    A guard that gives scores has judged the rows that have one; a row is flagged where it is above
    1, whatever the guard's action. Of other guards nobody knows which rows they failed to judge.

    Args:
        guards: their names; none: nobody watches their rates.
    """

    def __init__(self, guards: Sequence[str]) -> None:
        self._guards = tuple(guards)
        self._scoring: set[str] = set()

    def __bool__(self) -> bool:
        """Whether anybody watches."""
        return bool(self._guards)

    def became(
        self,
        sizes: Sequence[int],
        decisions: Sequence[Sequence[RowDecision]],
        scores: Mapping[str, np.ndarray] | None,
    ) -> Became:
        """Return what became of the rows of some requests.

        Args:
            sizes: rows of each request.
            decisions: of any guard, of each request.
            scores: float32 [rows] by guard, NaN in rows that one has not judged; None: no guard
                gave any.
        """
        total = sum(sizes)
        found: Became = {}
        for guard in self._guards:
            given = None if scores is None else scores.get(guard)
            if given is not None:
                self._scoring.add(guard)
                flagged = np.where(given > 1, FLAGGED, PASSED)
                found[guard] = np.where(np.isnan(given), UNJUDGED, flagged).astype(np.uint8)
            elif guard not in self._scoring:
                found[guard] = np.full(total, PASSED, np.uint8)
        first = 0
        for size, made in zip(sizes, decisions, strict=True):
            for each in made:
                if each.guard in found and each.guard not in self._scoring:
                    found[each.guard][first + each.row] = FLAGGED
            first += size
        return found
