"""Requests that wait, unread, for room in the full queue of their model.

To read a request only to refuse it can cost as much as to answer it, and a client that is refused
at once asks again at once. So whoever comes to a full queue waits with its body as it came; it is
read when there is room, in order of arrival, and refused if there is none in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from serving.dataplane.batcher import ModelQueue
from serving.dataplane.handler import DataPlane
from serving.dataplane.served import ServedVersion
from serving.errors import VigilError

WAIT_S: Final = 0.5
MOST_BYTES: Final = 128 << 20
"""Bytes of bodies that are kept; whoever comes later waits as long and is refused."""
AT_ONCE: Final = 16
"""Requests that are let go when there is room. Each that finds some lets the next one go, so that a
batch is followed by one as large; those that find none any more wait again."""


class Waiter:
    """One request that waits."""

    __slots__ = ("began", "entry", "kept", "resume", "serial", "size")

    def __init__(
        self, entry: ServedVersion, serial: int, began: float, size: int, kept: bool
    ) -> None:
        self.entry = entry
        self.serial = serial
        self.began = began
        self.size = size
        self.kept = kept
        """Whether its body is to be kept; without it, it is only refused later."""
        self.resume: Callable[[bool], None] | None = None

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.resume = None


class Backlog:
    """All that waits unread in one gateway process.

    Args:
        plane: its queues.
        wait_s: most seconds that a request waits.
        most_bytes: bytes of bodies that are kept.
    """

    def __init__(
        self, plane: DataPlane, wait_s: float = WAIT_S, most_bytes: int = MOST_BYTES
    ) -> None:
        self._plane = plane
        self._wait_s = wait_s
        self._most_bytes = most_bytes
        self._bytes = 0
        self._serial = count()
        self._waiting: dict[ModelQueue, list[tuple[int, Waiter]]] = {}
        self._timers: dict[ModelQueue, asyncio.TimerHandle] = {}

    def place(
        self, model: str, version: str, client: str, body: bytes | memoryview
    ) -> Waiter | None:
        """Return a place for a request that has to wait; None if it is to be read now.

        Asked only while a queue is crowded. Requests that a full queue might take all the same, in
        place of others, are read (`ServedVersion.may_make_room`).
        """
        try:
            entry = self._plane.resolve(model, version)
        except VigilError:
            return None  # it says why when it is read
        queue = entry.queue
        if not queue.full and queue not in self._waiting:
            return None
        if entry.may_make_room(client, body):
            return None
        kept = self._bytes + len(body) <= self._most_bytes
        began = asyncio.get_running_loop().time()
        return Waiter(entry, next(self._serial), began, len(body) if kept else 0, kept)

    def wait(self, waiter: Waiter, resume: Callable[[bool], None]) -> None:
        """Let a request wait, for the first time or again, in its place.

        Args:
            waiter: from `place`.
            resume: called once: with True when there may be room, in which case it asks
                `take_room` when it is its turn; with False when it has waited too long.
        """
        waiter.resume = resume
        queue = waiter.entry.queue
        if not waiter.kept:
            loop = asyncio.get_running_loop()
            loop.call_at(waiter.began + self._wait_s, self._let_go, waiter, False)
            return
        self._bytes += waiter.size
        waiting = self._waiting.get(queue)
        if waiting is None:
            waiting = self._waiting[queue] = []
            queue.on_room = partial(self._let_come, queue, AT_ONCE)
            self._watch(queue, waiter.began + self._wait_s)
        heappush(waiting, (waiter.serial, waiter))

    def take_room(self, waiter: Waiter) -> bool:
        """Whether the queue may still have room, now that it is this request's turn.

        Then the next one may come too.
        """
        queue = waiter.entry.queue
        if queue.full:
            return False
        if queue in self._waiting:
            self._let_come(queue, 1)
        return True

    def refuse(self, waiter: Waiter) -> VigilError:
        """Return the error of a request that has waited in vain; it is counted and logged."""
        waited_s = asyncio.get_running_loop().time() - waiter.began
        return self._plane.refuse_unread(waiter.entry, waited_s)

    def waited_s(self, waiter: Waiter) -> float:
        """Return for how long it has waited."""
        return asyncio.get_running_loop().time() - waiter.began

    def _let_come(self, queue: ModelQueue, left: int) -> None:
        waiting = self._waiting[queue]
        while waiting and left:
            left -= self._let_go(heappop(waiting)[1], True)
        if not waiting:
            self._forget(queue)

    def _let_go(self, waiter: Waiter, room: bool) -> bool:
        """End a wait; whether anybody still waited."""
        self._bytes -= waiter.size
        resume, waiter.resume = waiter.resume, None
        if resume is not None:
            resume(room)
        return resume is not None

    def _expire(self, queue: ModelQueue) -> None:
        now, waiting = asyncio.get_running_loop().time(), self._waiting[queue]
        while waiting and waiting[0][1].began + self._wait_s <= now:
            self._let_go(heappop(waiting)[1], False)
        if waiting:
            self._watch(queue, waiting[0][1].began + self._wait_s)
        else:
            self._forget(queue)

    def _watch(self, queue: ModelQueue, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[queue] = loop.call_at(until, self._expire, queue)

    def _forget(self, queue: ModelQueue) -> None:
        del self._waiting[queue]
        queue.on_room = None
        self._timers.pop(queue).cancel()
