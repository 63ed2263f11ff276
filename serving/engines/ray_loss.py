"""Ends the driver of a local Ray as soon as one of the processes that carry that Ray has ended."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOST: Final = 70
"""Exit code of a driver that has lost its Ray."""
_CARRIERS: Final = ("raylet", "gcs_server")


def carriers(pid: int) -> list[int]:
    """Return those children of a process without which its local Ray is lost."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            head, _, tail = stat.read_text().rpartition(")")
            if int(tail.split()[1]) == pid and head.partition("(")[2] in _CARRIERS:
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def ending_with_ray() -> Iterator[None]:
    """Within this, end this process at once when its local Ray is lost.

    Ray would do so as well, sooner or later: calls that are under way wait for a minute first.
    """
    # Kept open for as long as the process lives: it ends with the thread or soon after this.
    poll = select.poll()
    for pid in carriers(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            poll.register(os.pidfd_open(pid), select.POLLIN)
    leaving = threading.Event()

    def watch() -> None:
        poll.poll()
        if not leaving.is_set():
            os._exit(LOST)

    threading.Thread(target=watch, name="ray-loss", daemon=True).start()
    try:
        yield
    finally:
        leaving.set()
