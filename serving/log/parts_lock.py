"""Who may change finished files: retention alone, or orders to forget, each of models of its own.

Retention deletes whole files and orders replace them by shorter ones: who replaces one that was
deleted meanwhile would bring it back. The lock is that of the spool's folder, so that it is between
all processes that write one log, and goes with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PAUSE_S: Final = 0.05


@contextlib.contextmanager
def parts_lock(spool: Path, *, alone: bool, timeout_s: float = 0.0) -> Iterator[bool]:
    """Lock the finished files of a log; yields whether they are locked.

    Args:
        spool: of the log.
        alone: for retention; orders to forget share it.
        timeout_s: how long it may take.

    Raises:
        OSError: the spool is not there and cannot be made.
    """
    spool.mkdir(parents=True, exist_ok=True)
    file = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        yield _locked(file, kind, time.monotonic() + timeout_s)
    finally:
        os.close(file)


def _locked(file: int, kind: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_S)
        else:
            return True
