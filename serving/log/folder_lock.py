"""Who may change the files of a folder: a lock between processes, which goes with them.

That of the spool's folder is about the finished files of its log: retention has it alone, orders
to forget share it, each for models of its own. Retention deletes whole files and orders replace
them by shorter ones: who replaces one that was deleted meanwhile would bring it back.
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
def folder_lock(folder: Path, *, alone: bool, timeout_s: float = 0.0) -> Iterator[bool]:
    """Lock a folder; yields whether it is locked.

    Args:
        folder: made when it is missing.
        alone: whether nobody else may have it; others share it.
        timeout_s: how long it may take.

    Raises:
        OSError: the folder is not there and cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
