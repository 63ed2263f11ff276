"""Ends the process of a replica whose batch computes for too long, from within.

Serve's own health checks find that out too, but only as soon as its controller gets round to three
of them. On a busy machine that may take minutes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from serving.channel.messages.directory import ServedModel
from serving.engines.exits import tell_hung

LOOK_S: Final = 0.25


class HangWatch:
    """Looks at one replica, in a daemon thread: the loop of the replica is what hangs.

    A model that keeps Python's global lock keeps this thread from running too. For that there are
    Serve's checks.

    Args:
        busy_s: returns for how many seconds one batch has computed; called in the thread.
        limit_s: from which of these on the batch hangs.
        on_hung: told for how long it has computed; the watch is over then.
    """

    def __init__(
        self, busy_s: Callable[[], float], limit_s: float, on_hung: Callable[[float], None]
    ) -> None:
        self._busy_s = busy_s
        self._limit_s = limit_s
        self._on_hung = on_hung
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang-watch", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, whatever computes still."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            busy_s = self._busy_s()
            if busy_s > self._limit_s:
                self._on_hung(busy_s)
                return


def end_hung(served: ServedModel, ident: str, busy_s: float) -> None:
    """Say that this process hangs, and end it; Serve starts another one."""
    tell_hung(ident, served.name, served.version, busy_s)
    os.kill(os.getpid(), signal.SIGKILL)
