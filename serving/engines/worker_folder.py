"""A folder in `data_dir` for each process that serves from it, the same one after a restart."""

from __future__ import annotations

import fcntl
import itertools
import os
from pathlib import Path

from serving.config import ConfigError


class WorkerFolder:
    """The first of `worker-0`, `worker-1`, … in `data_dir` that no other process holds.

    The kernel lets go of it when the process ends, however it ends.

    Args:
        data_dir: is made if it is missing.

    Raises:
        ConfigError: it cannot be written to.
    """

    def __init__(self, data_dir: Path) -> None:
        for number in itertools.count():
            self.path = data_dir / f"worker-{number}"
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise ConfigError(
                    f"data_dir: {self.path} cannot be written to ({error.strerror}); name another"
                ) from None
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                os.close(self._lock)

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
