"""The order to stop, as signals give it: the first one asks, a second one hurries."""

from __future__ import annotations

import time
from typing import Generic, Protocol, TypeVar

from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Flag(Protocol):
    """An event, of asyncio or of threading."""

    def set(self) -> None:
        """Raise it."""

    def is_set(self) -> bool:
        """Whether it was raised."""


FlagT = TypeVar("FlagT", bound=Flag)


class StopOrder(Generic[FlagT]):
    """Whether an instance is to stop.

    Args:
        asked: set by the first order.
        now: set by an order that wants no delay: the second one, or `give_now`.

    Attributes:
        since: monotonic seconds of the first order; 0 before it.
    """

    def __init__(self, asked: FlagT, now: FlagT) -> None:
        self.asked = asked
        self.now = now
        self.since = 0.0

    def give(self) -> None:
        """Ask for the stop; if that was done before, for the end of its delay."""
        if self.asked.is_set():
            self.now.set()
        else:
            self.since = time.monotonic()
            self.asked.set()

    def give_now(self) -> None:
        """Ask for the stop without a delay: there is nothing left that could answer."""
        self.give()
        self.now.set()


def tell_delay(delay_s: float) -> None:
    """Log that the instance is not ready any more and still answers."""
    said = "not ready from now on; the drain begins after drain_delay_s, or at a second signal"
    report(Event.SERVER_LEAVES, said, seconds=delay_s)
