"""What becomes of a guard that is too slow.

A check runs in the thread that serves, and nothing can interrupt it: when it is found to be late,
the time is spent and its decisions are there. So the decisions of a late check count, and a guard
that is late again and again is skipped for a while.
"""

from __future__ import annotations

from typing import Final

MOST_LATE: Final = 3
"""Late checks in a row after which a guard is skipped; a single one may be the machine's fault."""
FIRST_PAUSE_NS: Final = 1_000_000_000
LONGEST_PAUSE_NS: Final = 64_000_000_000
"""A pause is twice as long as the one before it while the first check after it is late again."""


class TimeBudget:
    """The time that one guard may take for a batch.

    Args:
        budget_ns: nanoseconds a batch.

    Attributes:
        late: late checks in a row.
        resume_ns: when it may run again; 0 while it is not skipped.
    """

    __slots__ = ("_pause_ns", "budget_ns", "late", "resume_ns")

    def __init__(self, budget_ns: int) -> None:
        self.budget_ns = budget_ns
        self.late = 0
        self.resume_ns = 0
        self._pause_ns = FIRST_PAUSE_NS

    def exceeded(self, now_ns: int) -> int:
        """Take note of a late check; return for how long the guard is skipped, 0 for not."""
        self.late += 1
        if self.late < MOST_LATE:
            return 0
        pause_ns = self._pause_ns
        self._pause_ns = min(2 * pause_ns, LONGEST_PAUSE_NS)
        self.resume_ns = now_ns + pause_ns
        return pause_ns

    def kept(self) -> None:
        """Take note of a check in time: all is forgiven."""
        self.late = 0
        self.resume_ns = 0
        self._pause_ns = FIRST_PAUSE_NS
