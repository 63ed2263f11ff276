"""When the garbage collector of a gateway or a monitor runs: seldom, and never for long."""

from __future__ import annotations

import gc
from typing import Final

from serving.upkeep.periodic import Periodic

INTERVAL_S: Final = 60.0


class Collector:
    """Runs the collector by time instead of by what requests, events and labels allocate.

    No way in which a request ends may leave a cycle behind: the collector counts objects and not
    bytes, and a body of 64 MB is one object (`tests/gateway/direct/memory` looks at every way).
    With that, hundreds of collections a second, as they are by default, find nothing. What a
    library leaves all the same is freed by a full one every minute. In a monitor a push of a
    thousand labels would run it a dozen times, for a third of the time that labels take.

    Args:
        interval_s: seconds between two full collections.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._periodic = Periodic(interval_s, gc.collect)

    def start(self) -> None:
        """Begin, in the running loop, with what has been made so far set apart."""
        # Start-up's objects live as long as the process: no collection needs to walk them, so
        # that a full one takes a few milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        self._periodic.start()

    def stop(self) -> None:
        """Collect no more by time."""
        self._periodic.stop()
