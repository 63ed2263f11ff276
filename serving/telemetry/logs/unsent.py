"""How many lines of this process's log no collector has got, although one is to have them."""

from __future__ import annotations

import threading


class UnsentLines:
    """Counts since the process began, over all handlers that there were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self, lines: int) -> None:
        """Count some more; from any thread."""
        with self._lock:
            self._count += lines

    @property
    def count(self) -> int:
        """How many there are so far."""
        return self._count


unsent_lines = UnsentLines()
