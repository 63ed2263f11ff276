"""Ends the driver of a local Ray as soon as one of the processes that carry that Ray has ended."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from typing import Final

from serving.engines.process import all_processes

LOST: Final = 70
"""Exit code of a driver that has lost its Ray."""
_CARRIERS: Final = ("raylet", "gcs_server")


def carriers(pid: int) -> list[int]:
    """Return those children of a process without which its local Ray is lost."""
    return [child for child, parent, name in all_processes() if parent == pid and name in _CARRIERS]


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
