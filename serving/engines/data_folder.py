"""`data_dir` belongs to one running instance: two would write over each other's state."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.config import ConfigError


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Keep every other instance out of `data_dir`, which is made if it is missing.

    The kernel lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: another instance uses it, or it cannot be written to.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"data_dir: {data_dir} cannot be written to ({error.strerror}); name another"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigError(
            f"data_dir: {data_dir} is in use by another Vigil, whose state this one would write "
            f"over; give it one of its own with --data-dir"
        ) from None
    try:
        yield
    finally:
        os.close(lock)
