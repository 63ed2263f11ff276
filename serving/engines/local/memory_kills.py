"""Whether the kernel has killed a process for lack of memory: its signal looks like anybody's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LATELY_S: Final = 5.0
"""So long after a kill the end of a process is put down to it."""
_COUNTER: Final = b"oom_kill "


class MemoryKills:
    """Watches the kernel's count of processes that were killed for lack of memory.

    The count is that of the machine, so `look` must be called often for `lately` to mean anything.

    Args:
        path: the kernel's counters; where there are none, nothing is ever noticed.
        clock: monotonic seconds.
    """

    def __init__(
        self, path: Path = Path("/proc/vmstat"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._count = self._read()
        self._grew = -LATELY_S * 2

    def look(self) -> None:
        """Note whether the count has grown."""
        count = self._read()
        if count > self._count:
            self._grew = self._clock()
        self._count = count

    def lately(self) -> bool:
        """Whether a process was killed in the last seconds."""
        self.look()
        return self._clock() - self._grew < LATELY_S

    def _read(self) -> int:
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return 0
        return sum(int(line[len(_COUNTER) :]) for line in lines if line.startswith(_COUNTER))
