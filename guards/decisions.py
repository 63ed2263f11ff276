"""What a guard decides about each row of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np


class Action(IntEnum):
    """What happens to a row; higher is stronger, so decisions combine by maximum."""

    PASS = 0
    SHADOW = 1
    FLAG = 2
    REJECT = 3


ACTION_OF = {"shadow": Action.SHADOW, "flag": Action.FLAG, "reject": Action.REJECT}
"""Actions by their name in the configuration."""

MOST_SCORE: Final = 1e6
"""What a larger score is told as, an infinite one too: in a sum it would hide all the others."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """One guard's decisions about n rows.

    Attributes:
        guard: the guard's name.
        action: `Action` per row, uint8 [n].
        reasons: public reason by row index, for rows that did not pass; it never holds a score.
        score: float32 [n] in multiples of the guard's threshold, at most `MOST_SCORE`: a row does
            not pass where it is above 1. None for guards without a score.
    """

    guard: str
    action: np.ndarray
    reasons: dict[int, str]
    score: np.ndarray | None = None

    def found(self) -> tuple[tuple[int, int, str], ...]:
        """Return row, action and public reason of every row that did not pass, in their order."""
        action = self.action
        rows = action.nonzero()[0]
        if not rows.size:  # most batches pass as a whole
            return ()
        reasons = self.reasons.get
        return tuple([(row, int(action[row]), reasons(row, "")) for row in rows.tolist()])
