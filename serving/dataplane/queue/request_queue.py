"""The requests of one model version that wait: bounds in rows and bytes, order, deadlines, room."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from serving.config import Batching
from serving.dataplane.queue.crowding import Crowding
from serving.dataplane.queue.disconnects import Disconnects
from serving.dataplane.queue.fair_queue import FairQueue
from serving.dataplane.queue.taking import take_alike
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import (
    cannot_be_in_time,
    queue_full,
    settle,
    too_heavy,
    too_large,
    too_late,
)
from serving.errors import VigilError
from serving.protocol.weight import weight

SWEEP_S = 0.05


class RequestQueue:
    """Who may wait, and in which order they leave. Belongs to the loop's thread.

    One client at one priority waits in a plain deque. Turns are taken only once there are several
    and not everything that waits fits into the next batch.

    It knows nothing of replicas: its owner says how long an answer takes at least, whether there is
    anybody who computes (`served`), and when something is taken.

    Args:
        name: the model's name, for messages.
        batching: bounds from the model's configuration.
        row_bytes: bytes of a row's inputs; None when rows differ.
        on_abandoned: told of each request that has waited and is not computed; must not raise.

    Attributes:
        waiting_rows: rows of all that waits; 0 when nothing does.
        waiting_bytes: their bytes, where rows differ.
        returned: what was sent in vain and goes again, ahead of all, each list by itself.
        disconnects: looks for clients that have left, while it watches.
        served: whether there is anybody who computes; without, the queue is never `full`.
        crowded: the queues that have refused somebody lately; several queues share it.
        on_room: called when there may be room in a queue that was `full`, or nobody computes.
    """

    def __init__(
        self,
        name: str,
        batching: Batching,
        row_bytes: int | None,
        on_abandoned: Callable[[Pending], None],
    ) -> None:
        self._name = name
        self._on_abandoned = on_abandoned
        self._max_bytes = batching.max_queue_mib << 20
        self._max_rows = batching.max_queue_rows
        if row_bytes is not None:
            # Every row weighs the same, so the bound in bytes is one in rows.
            within = self._max_bytes // max(1, row_bytes)
            self._max_rows = max(1, min(self._max_rows, within))
        self._weighed = row_bytes is None
        # Rows up to which nothing has to be asked; with rows that differ, always.
        self._free_rows = -1 if self._weighed else self._max_rows
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Pending] | FairQueue = deque()
        self._flow: object = ""
        self._mixed = False
        self._sweep_after = 0.0
        self._crowding = Crowding(self._max_rows, self._max_bytes)
        self.waiting_rows = 0
        self.waiting_bytes = 0
        self.returned: list[list[Pending]] = []
        self.disconnects = Disconnects(lambda: self._waiting, self.drop_answered)
        self.served = False
        self.crowded: set[RequestQueue] = set()
        self.on_room: Callable[[], None] | None = None

    # -- coming in ----------------------------------------------------------------------

    def append(
        self,
        item: Pending,
        timeout_s: float | None = None,
        needed_s: float = 0.0,
        *,
        in_parts: bool = False,
    ) -> None:
        """Let a request wait; from now on it is answered when its deadline passes.

        Args:
            timeout_s: seconds until its deadline.
            needed_s: seconds that its answer takes at least; 0 when nothing is known.
            in_parts: it is admitted and does not wait itself; its parts follow (`extend`).

        Raises:
            DeadlineExceeded: the deadline has passed already, or cannot be kept.
            PayloadTooLarge: it would not fit into an empty queue.
            QueueFull: the queue is at its bound.
        """
        rows = item.bound.rows
        if timeout_s is not None:  # first, since nobody shall make room for what is refused then
            if timeout_s <= 0:
                raise too_late(self._name)
            if needed_s > timeout_s:
                raise cannot_be_in_time(self._name, needed_s)
        if self.waiting_rows + rows > self._free_rows:
            self._require_room(item, rows)
        if timeout_s is not None:
            item.timer = self._loop.call_later(timeout_s, self._expire, item)
        if item.flow != self._flow:
            self._meet(item)
        if in_parts:
            return
        self._waiting.append(item)
        self.waiting_rows += rows
        if self._weighed:
            self.waiting_bytes += weigh(item.bound)

    def extend(self, parts: list[Pending]) -> None:
        """Let parts of a request wait that was admitted."""
        if parts[0].flow != self._flow:
            self._meet(parts[0])
        self._waiting.extend(parts)
        self._count(parts)

    def put_back(self, items: list[Pending]) -> None:
        """Let what was taken, and sent in vain, go again ahead of all that waits."""
        self._count(items)
        self.returned.append(items)

    def _count(self, items: list[Pending]) -> None:
        for item in items:
            self.waiting_rows += item.bound.rows
            if self._weighed:
                self.waiting_bytes += weigh(item.bound)

    # -- leaving ------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """Rows that certainly leave before another request."""
        # Among several flows a request may go ahead of everything that waits.
        return 0 if self._mixed else self.waiting_rows

    @property
    def head(self) -> Pending:
        """The request whose turn it is, of those that were not returned; there must be one."""
        waiting = self._waiting
        return waiting.first if isinstance(waiting, FairQueue) else waiting[0]

    def items(self) -> list[Pending]:
        """Return all that waits."""
        return [item for items in (*self.returned, self._waiting) for item in items]

    def take(self, most: int, most_bytes: int, lost_before: float) -> list[Pending]:
        """Take what fits together; the arguments are those of `take_alike`."""
        if self._mixed and self.waiting_rows > most:
            self._take_turns()
        waiting = self._waiting
        taken, rows, dropped = take_alike(waiting, most, most_bytes, lost_before)
        self.waiting_rows -= rows
        if self._weighed:
            self.waiting_bytes -= sum(weigh(item.bound) for item in taken)
        if self._mixed and not waiting:
            self._back_to_one_lane()
        for item in dropped:  # last: who is answered may ask again at once
            settle(item, too_late(self._name))
            self._forget(item)
        if self._crowding.active or self.on_room is not None:
            self._look_for_room()
        return taken

    def take_returned(self) -> list[Pending]:
        """Take the first of `returned`, without those that nobody waits for any more."""
        alive = []
        for item in self.returned.pop(0):
            if item.future.done():
                self._forget(item)
            else:
                self._left(item)
                alive.append(item)
        if self._crowding.active or self.on_room is not None:
            self._look_for_room()
        return alive

    def evict(self, error: VigilError) -> None:
        """Answer all that waits with an error."""
        items = self.items()
        self.returned.clear()
        self._back_to_one_lane()
        self.waiting_rows = self.waiting_bytes = 0
        for item in items:
            settle(item, error)
        self._look_for_room()

    def unserved(self) -> None:
        """Nobody computes for now, and what waits goes on waiting."""
        self.served = False
        self._look_for_room()

    def drop_answered(self) -> None:
        """Forget requests that nobody waits for any more."""
        done = [item for item in self._waiting if item.future.done()]
        if not done:
            return
        kept = [item for item in self._waiting if not item.future.done()]
        turns = isinstance(self._waiting, FairQueue)
        self._waiting = FairQueue(kept) if turns else deque(kept)
        for item in done:
            self._forget(item)

    def _left(self, item: Pending) -> None:
        self.waiting_rows -= item.bound.rows
        if self._weighed:
            self.waiting_bytes -= weigh(item.bound)

    def _forget(self, item: Pending) -> None:
        """Count out a request that is answered and was not computed."""
        self._left(item)
        if item.timer is not None:  # else its arrays live until a deadline far away
            item.timer.cancel()
        self._on_abandoned(item)

    def _expire(self, item: Pending) -> None:
        # While it is queued and while its batch runs: the answer comes now either way. A queued
        # request whose future is done is skipped when its turn comes.
        settle(item, too_late(self._name))

    # -- bounds -------------------------------------------------------------------------

    def _require_room(self, item: Pending, rows: int) -> None:
        most = self._max_rows
        if rows > most:
            raise too_large(self._name, rows, most)
        weight = weigh(item.bound) if self._weighed else 0
        if weight > self._max_bytes:
            raise too_heavy(self._name, self._max_bytes)
        if not self._fits(rows, weight):
            now = self._loop.time()
            if now >= self._sweep_after:  # an overload must not spend its time here
                self._sweep_after = now + SWEEP_S
                self.drop_answered()
            if not self._fits(rows, weight) and not self._push_out(item, rows, weight):
                self._crowding.refused(rows, weight, now)
                self.crowded.add(self)
                raise queue_full(self._name)

    def _fits(self, rows: int, weight: int) -> bool:
        return (
            self.waiting_rows + rows <= self._max_rows
            and self.waiting_bytes + weight <= self._max_bytes
        )

    @property
    def full(self) -> bool:
        """Whether the next request would be refused, as far as that can be told unread."""
        return self._crowding.full(self.waiting_rows, self.waiting_bytes) and self.served

    def may_make_room(self, flow: Hashable) -> bool:
        """Whether a full queue might refuse another request instead of one of this flow."""
        if not self._mixed:
            return flow != self._flow
        return self._take_turns().has_share_left(flow)

    def _look_for_room(self) -> None:
        """Some of what waited has left."""
        if self._crowding.active:
            rows, size = self.waiting_rows, self.waiting_bytes
            if self._crowding.eased(rows, size, self._loop.time()):
                self.crowded.discard(self)
        if self.on_room is not None and not self.full:
            self.on_room()

    def _push_out(self, item: Pending, rows: int, weight: int) -> bool:
        """Refuse others instead of `item` where it has a better right; whether it fits now."""
        if item.flow != self._flow:
            self._meet(item)
        if not self._mixed:
            return False
        need = max(rows + self.waiting_rows - self._max_rows, 1)
        for other in self._take_turns().push_out(item, need):
            self._left(other)
            settle(other, queue_full(self._name))
        return self._fits(rows, weight)

    # -- turns --------------------------------------------------------------------------

    def _meet(self, item: Pending) -> None:
        """Note that a request is of another flow than the one before it."""
        if self._waiting:
            self._mixed = True
        else:
            self._flow = item.flow

    def _take_turns(self) -> FairQueue:
        """From now on, and until the queue is empty, flows take turns."""
        if not isinstance(self._waiting, FairQueue):
            self._waiting = FairQueue(self._waiting)
        return self._waiting

    def _back_to_one_lane(self) -> None:
        self._mixed = False
        self._waiting = deque()


def weigh(bound: Bound) -> int:
    """Return the bytes of a request's inputs, values of BYTES included."""
    return sum(map(weight, bound.arrays))
