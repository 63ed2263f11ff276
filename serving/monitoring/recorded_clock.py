"""The time at which a message was taken in, for everybody who looks while it is dealt with.

Whoever replays the messages later with the same times comes to the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class RecordedClock:
    """A clock that stands still while a message is dealt with.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at: float | None = None

    def __call__(self) -> float:
        """Return seconds since the epoch: those of the message, between messages the real ones."""
        return self._clock() if self._at is None else self._at

    @contextmanager
    def stopped(self, at: float) -> Iterator[None]:
        """Return `at` meanwhile."""
        self._at = at
        try:
            yield
        finally:
            self._at = None
