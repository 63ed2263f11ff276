"""How often one cause may write a line: the first at once, then one in a while, with a count."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from serving.telemetry.token_bucket import TokenBucket

BURST: Final = 5
INTERVAL_S: Final = 10.0
MOST_CAUSES: Final = 512

LineT = TypeVar("LineT")


@dataclass(slots=True)
class _Known(Generic[LineT]):
    bucket: TokenBucket
    suppressed: int = 0
    last: LineT | None = None


class RateLimit(Generic[LineT]):
    """A token bucket per cause. What it keeps back is counted, and its last line is kept.

    The number of lines written plus the sum of their `suppressed` is the number of facts.

    Args:
        burst: lines of one cause that are written at once.
        interval_s: seconds until it may write one more.
        most_causes: causes that are remembered; the one unused for longest is forgotten first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        burst: int = BURST,
        interval_s: float = INTERVAL_S,
        most_causes: int = MOST_CAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self.interval_s: Final = interval_s
        self._most = most_causes
        self._clock = clock
        self._known: OrderedDict[Hashable, _Known[LineT]] = OrderedDict()
        self._forgotten: list[tuple[LineT, int]] = []
        # One thread may be interrupted by a line of its own, by a destructor for example.
        self._lock = threading.RLock()

    def admit(self, cause: Hashable, line: LineT) -> int | None:
        """Ask for a line.

        Args:
            cause: what it is one more of.
            line: what is kept for `due` when it may not be written now.

        Returns:
            How many were kept back since the last one that was written; None: keep it back.
        """
        with self._lock:
            now = self._clock()
            known = self._known.get(cause)
            if known is None:
                known = self._known[cause] = _Known(TokenBucket(self.interval_s, self._burst, now))
                self._forget()
            self._known.move_to_end(cause)
            if known.bucket.take(now):
                suppressed, known.suppressed, known.last = known.suppressed, 0, None
                return suppressed
            known.suppressed += 1
            known.last = line
            return None

    def due(self, *, everything: bool = False) -> list[tuple[LineT, int]]:
        """Return the last line of each cause that was kept back and may be written now.

        Args:
            everything: also those that would have to wait, for the end of the process.

        Returns:
            Lines, each with how many others of its cause were kept back before it.
        """
        with self._lock:
            now = self._clock()
            lines, self._forgotten = self._forgotten, []
            for known in self._known.values():
                if known.last is not None and (known.bucket.take(now) or everything):
                    lines.append((known.last, known.suppressed - 1))
                    known.suppressed, known.last = 0, None
            return lines

    @property
    def pending(self) -> bool:
        """Whether something is kept back."""
        with self._lock:
            known = self._known.values()
            return bool(self._forgotten) or any(each.suppressed for each in known)

    def _forget(self) -> None:
        while len(self._known) > self._most:
            _, known = self._known.popitem(last=False)
            if known.last is not None:
                self._forgotten.append((known.last, known.suppressed - 1))
