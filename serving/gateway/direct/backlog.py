"""Requests that wait, unread, for room in the full queue of their model.

To read a request only to refuse it can cost as much as to answer it, and a client that is refused
at once asks again at once. So whoever comes to a full queue waits with its body as it came; it is
read when there is room, in order of arrival, and refused if there is none in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from serving.dataplane.handler import DataPlane
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.served import ServedVersion
from serving.errors import VigilError
from serving.gateway.direct.time_slices import SAMPLE, TimeSlices
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

WAIT_S: Final = 0.5
MOST_BYTES: Final = 128 << 20
"""Bytes of bodies that are kept; whoever comes later waits as long and is refused."""


class Owner(Protocol):
    """The connection of a request that waits."""

    def abort(self) -> None:
        """End it: the request cannot go on."""


class Waiter:
    """One request that waits.

    Attributes:
        kept: whether its body is to be kept; without it, it is only refused later.
        owner: its connection, which ends if it cannot go on.
        resume: called once: with True when there is room, with False when it has waited too long;
            None when nobody waits for the answer any more.
    """

    __slots__ = ("began", "entry", "kept", "owner", "resume", "size")

    def __init__(self, entry: ServedVersion, began: float, size: int, kept: bool) -> None:
        self.entry = entry
        self.began = began
        self.size = size
        self.kept = kept
        self.owner: Owner | None = None
        self.resume: Callable[[bool], None] | None = None

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.resume = self.owner = None


class Backlog:
    """All that waits unread in one gateway process.

    What goes on is read in the loop's next turn, while its slice lasts, and the rest as one worker
    among the connections: were each connection to wait for a turn of its own, all that comes in
    would have to wait behind them.

    Args:
        plane: its queues.
        slices: the loop's turns.
        wait_s: most seconds that a request waits.
        most_bytes: bytes of bodies that are kept.
    """

    def __init__(
        self,
        plane: DataPlane,
        slices: TimeSlices,
        wait_s: float = WAIT_S,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._plane = plane
        self._slices = slices
        self._wait_s = wait_s
        self._most_bytes = most_bytes
        self._bytes = 0
        self._waiting: dict[RequestQueue, deque[Waiter]] = {}
        self._timers: dict[RequestQueue, asyncio.TimerHandle] = {}
        self._with_room: set[RequestQueue] = set()
        self._late: deque[Waiter] = deque()
        """Those that have waited too long and are to be refused."""
        self._coming = False
        self.queued = False
        self.greedy = False

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
        if not isinstance(entry, ServedVersion):
            return None  # it may answer without a queue
        queue = entry.queue
        if not queue.full and queue not in self._waiting:
            return None
        if entry.may_make_room(client, body):
            return None
        kept = self._bytes + len(body) <= self._most_bytes
        began = asyncio.get_running_loop().time()
        return Waiter(entry, began, len(body) if kept else 0, kept)

    def wait(self, waiter: Waiter, owner: Owner, resume: Callable[[bool], None]) -> None:
        """Let a request wait.

        Args:
            waiter: from `place`.
            owner: the request's connection, or its transport.
            resume: see `Waiter`.
        """
        waiter.owner = owner
        waiter.resume = resume
        queue = waiter.entry.queue
        if not waiter.kept:
            loop = asyncio.get_running_loop()
            loop.call_at(waiter.began + self._wait_s, self._too_late, waiter)
            return
        self._bytes += waiter.size
        waiting = self._waiting.get(queue)
        if waiting is None:
            waiting = self._waiting[queue] = deque()
            queue.on_room = partial(self._on_room, queue)
            self._watch(queue, waiter.began + self._wait_s)
        waiting.append(waiter)

    def refuse(self, waiter: Waiter) -> VigilError:
        """Return the error of a request that has waited in vain; it is counted and logged."""
        waited_s = asyncio.get_running_loop().time() - waiter.began
        return self._plane.refuse_unread(waiter.entry, waited_s)

    # -- turns --------------------------------------------------------------------------

    def work(self) -> bool:
        """Let those go on for which there is room, and refuse those that are late."""
        slices = self._slices
        while self._late:
            self._let_go(self._late.popleft(), False)
            if slices.spent >= SAMPLE and slices.over():
                return False
        while self._with_room:
            queue = next(iter(self._with_room))
            waiting = self._waiting.get(queue, ())
            while waiting and not queue.full:
                waiter = waiting.popleft()
                self._bytes -= waiter.size
                self._let_go(waiter, True)
                if slices.spent >= SAMPLE and slices.over():
                    return False
            self._with_room.discard(queue)
            if not waiting:
                self._forget(queue)
        return True

    def abort(self) -> None:
        """End nothing: each request that cannot go on has ended its own connection."""

    def _let_go(self, waiter: Waiter, room: bool) -> None:
        resume, owner = waiter.resume, waiter.owner
        waiter.cancel()
        if resume is None or owner is None:
            return
        self._slices.spent += 1
        try:
            resume(room)
        except Exception as error:  # noqa: BLE001 - the others go on all the same
            report(Event.INTERNAL_ERROR, "a request that waited could not go on", error=error)
            owner.abort()

    def _come(self) -> None:
        if not self._coming and not self.queued:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._coming = False
        self.greedy = False  # it is always somebody else's request
        if self._slices.closed or not self.work():
            self._slices.queue(self)

    def _on_room(self, queue: RequestQueue) -> None:
        self._with_room.add(queue)
        self._come()

    # -- time ---------------------------------------------------------------------------

    def _too_late(self, waiter: Waiter) -> None:
        self._late.append(waiter)
        self._come()

    def _expire(self, queue: RequestQueue) -> None:
        now, waiting = asyncio.get_running_loop().time(), self._waiting[queue]
        while waiting and waiting[0].began + self._wait_s <= now:
            waiter = waiting.popleft()
            self._bytes -= waiter.size
            self._too_late(waiter)
        if waiting:
            self._watch(queue, waiting[0].began + self._wait_s)
        else:
            self._forget(queue)

    def _watch(self, queue: RequestQueue, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[queue] = loop.call_at(until, self._expire, queue)

    def _forget(self, queue: RequestQueue) -> None:
        if self._waiting.pop(queue, None) is not None:
            queue.on_room = None
            self._timers.pop(queue).cancel()
