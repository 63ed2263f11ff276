"""The time as connections see it, read once for all of them and not once for each request."""

from __future__ import annotations

import time
from email.utils import formatdate

from serving.gateway.direct.limits import Limits


class Clock:
    """The time, and until when a client that begins something now has to go on.

    Args:
        limits: what clients may take.

    Attributes:
        now: seconds of `time.monotonic`, one tick old at most: exact enough for slow clients.
        elapsed_s: seconds between the last two ticks.
        head_until: when the head of a request must be here, if it begins now.
        body_until: when a body must be here, if it begins now.
        idle_until: when a connection ends that says nothing from now on.
        stall_until: when a client is given up that reads nothing from now on.
        linger_until: when a connection is closed whose last answer is written now.
        date: the header line that says what time it is.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Read the clock."""
        before = self.now
        self.now = now = time.monotonic()
        self.elapsed_s = now - before
        limits = self.limits
        self.head_until = now + limits.head_s
        self.body_until = now + limits.body_s
        self.idle_until = now + limits.idle_s
        self.stall_until = now + limits.stall_s
        self.linger_until = now + limits.linger_s
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
