"""What may wait for a slot: bounds in rows and bytes, deadlines, and who makes room for whom."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable

from serving.config import Batching
from serving.dataplane.batching.batch import Pending
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ReplicaLink
from serving.dataplane.queue.crowding import Crowding
from serving.dataplane.queue.disconnects import Disconnects
from serving.dataplane.queue.fair_queue import FairQueue
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.rejections import (
    abandoned_because,
    cannot_be_in_time,
    no_replica,
    queue_full,
    settle,
    too_heavy,
    too_large,
    too_late,
)
from serving.dataplane.requests.splitting import SplitRequest
from serving.errors import VigilError

SWEEP_S = 0.05


class WaitingRoom:
    """The queue of one model version: who may come in, and in which order they leave.

    One client at one priority waits in a plain deque. Turns are taken only once there are several
    and not everything that waits fits into the next batch.

    Args:
        name: the model's name, for messages.
        batching: bounds from the model's configuration.
        observer: told what waited in vain.
        row_bytes: bytes of a row's inputs; None when rows differ.

    Attributes:
        waiting_rows: rows of all that waits.
        crowded: the queues that have refused somebody lately; several queues share it.
        on_room: called when there may be room in a queue that was `full`, or no replica any more.
    """

    def __init__(
        self, name: str, batching: Batching, observer: BatchObserver, row_bytes: int | None
    ) -> None:
        self._name = name
        self._observer = observer
        self._pace = BatchSizing(batching)
        self._max_rows = self._pace.max_rows
        self._max_queue_bytes = batching.max_queue_mib << 20
        self._max_queue_rows = batching.max_queue_rows
        if row_bytes is not None:
            # Every row weighs the same, so the bound in bytes is one in rows.
            within = self._max_queue_bytes // max(1, row_bytes)
            self._max_queue_rows = max(1, min(self._max_queue_rows, within))
        self._weighed = row_bytes is None
        # Rows up to which nothing has to be asked; with rows that differ, always.
        self._free_rows = -1 if self._weighed else self._max_queue_rows
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Pending] | FairQueue = deque()
        self._links: list[ReplicaLink] = []
        self._lane: object = ""
        self._mixed = False
        self._timed = False
        self._scheduled = False
        """Whether somebody looks for a free slot in the loop's next turn anyway."""
        self._sweep_after = 0.0
        self._refuse: Callable[[Pending], None] | None = None
        """Raises for requests that must not be computed; None while there are none."""
        self._departures = Disconnects(lambda: self._waiting, self._drop_answered)
        self.waiting_rows = 0
        self.waiting_bytes = 0
        self._crowding = Crowding(self._max_queue_rows, self._max_queue_bytes)
        self.crowded: set[WaitingRoom] = set()
        self.on_room: Callable[[], None] | None = None

    def submit(self, item: Pending, timeout_s: float | None) -> None:
        """Queue a bound request; its future gets the answer or the error.

        Raises:
            NoReplica: nobody is there who could compute it.
            PayloadTooLarge: it would not fit into an empty queue.
            QueueFull: the queue is at its bound.
            DeadlineExceeded: the deadline has passed already, or cannot be kept.
            ModelFailed: the same inputs have ended a replica.
        """
        rows = item.bound.rows
        for link in self._links:
            if link.open:
                break
        else:
            raise no_replica(self._name)
        if self._refuse is not None:
            self._refuse(item)
        if timeout_s is not None:  # first, since nobody shall make room for what is refused then
            self._timed = True
            self._require_time(rows, timeout_s)
        if self.waiting_rows + rows > self._free_rows:
            self._require_room(item, rows)
        if timeout_s is not None:
            item.timer = self._loop.call_later(timeout_s, self._expire, item)
        if item.lane != self._lane:
            self._meet(item)
        # What goes alone goes whole: half a step of a sequence would be another step.
        if rows > self._max_rows and not item.bound.alone:
            SplitRequest(item, self._queue_parts).cut(self._max_rows)
            return
        self._waiting.append(item)
        self.waiting_rows += rows
        if self._weighed:
            self.waiting_bytes += weigh(item.bound)
        if not self._scheduled:
            self._schedule()

    def _queue_parts(self, parts: list[Pending]) -> None:
        """Queue parts of a request that was admitted; some may come a second time."""
        if not any(link.open for link in self._links):
            for part in parts:
                settle(part, no_replica(self._name))
            return
        if self._refuse is not None:
            try:
                for part in parts:
                    self._refuse(part)
            except VigilError as error:  # which ends them all
                settle(parts[0], error.anew())
                return
        if parts[0].lane != self._lane:
            self._meet(parts[0])
        self._waiting.extend(parts)
        for part in parts:
            self.waiting_rows += part.bound.rows
            if self._weighed:
                self.waiting_bytes += weigh(part.bound)
        self._schedule()

    def _schedule(self) -> None:
        """Look soon for a free slot."""
        raise NotImplementedError

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Tell the observer; never raises."""
        raise NotImplementedError

    # -- bounds -------------------------------------------------------------------------

    def _require_room(self, item: Pending, rows: int) -> None:
        most = self._max_queue_rows
        if rows > most:
            raise too_large(self._name, rows, most)
        weight = weigh(item.bound) if self._weighed else 0
        if weight > self._max_queue_bytes:
            raise too_heavy(self._name, self._max_queue_bytes)
        if not self._fits(rows, weight):
            self._sweep()
            if not self._fits(rows, weight) and not self._push_out(item, rows, weight):
                self._crowding.refused(rows, weight, self._loop.time())
                self.crowded.add(self)
                raise queue_full(self._name)

    def _fits(self, rows: int, weight: int) -> bool:
        return (
            self.waiting_rows + rows <= self._max_queue_rows
            and self.waiting_bytes + weight <= self._max_queue_bytes
        )

    @property
    def full(self) -> bool:
        """Whether the next request would be refused, as far as that can be told unread."""
        return self._crowding.full(self.waiting_rows, self.waiting_bytes) and bool(self._links)

    def may_make_room(self, lane: Hashable) -> bool:
        """Whether a full queue might refuse another request instead of one of this lane."""
        if not self._mixed:
            return lane != self._lane
        return self._take_turns().has_share_left(lane)

    def _look_for_room(self) -> None:
        """Some of what waited has left."""
        if self._crowding.active:
            rows, size = self.waiting_rows, self.waiting_bytes
            if self._crowding.eased(rows, size, self._loop.time()):
                self.crowded.discard(self)
        if self.on_room is not None and not self.full:
            self.on_room()

    def _sweep(self) -> None:
        now = self._loop.time()
        if now >= self._sweep_after:  # an overload must not spend its time here
            self._sweep_after = now + SWEEP_S
            self._drop_answered()

    def _push_out(self, item: Pending, rows: int, weight: int) -> bool:
        """Refuse others instead of `item` where it has a better right; whether it fits now."""
        if item.lane != self._lane:
            self._meet(item)
        if not self._mixed:
            return False
        need = max(rows + self.waiting_rows - self._max_queue_rows, 1)
        for other in self._take_turns().push_out(item, need):
            self._left(other)
            settle(other, queue_full(self._name))
        return self._fits(rows, weight)

    def _left(self, item: Pending) -> None:
        self.waiting_rows -= item.bound.rows
        if self._weighed:
            self.waiting_bytes -= weigh(item.bound)

    def _drop_answered(self) -> None:
        """Forget requests that nobody waits for any more."""
        done = [item for item in self._waiting if item.future.done()]
        if not done:
            return
        kept = [item for item in self._waiting if not item.future.done()]
        turns = isinstance(self._waiting, FairQueue)
        self._waiting = FairQueue(kept) if turns else deque(kept)
        for item in done:
            self._forget(item)

    def _forget(self, item: Pending) -> None:
        """Count out a request that is answered and was not computed."""
        self._left(item)
        if item.timer is not None:  # else its arrays live until a deadline far away
            item.timer.cancel()
        self._tell(self._observer.abandoned, abandoned_because(item), item.bound.rows)

    # -- turns --------------------------------------------------------------------------

    def _meet(self, item: Pending) -> None:
        """Note that a request is of another lane than the one before it."""
        if self._waiting:
            self._mixed = True
        else:
            self._lane = item.lane

    def _take_turns(self) -> FairQueue:
        """From now on, and until the queue is empty, lanes take turns."""
        if not isinstance(self._waiting, FairQueue):
            self._waiting = FairQueue(self._waiting)
        return self._waiting

    @property
    def _next(self) -> Pending:
        """The request whose turn it is, of those that wait."""
        waiting = self._waiting
        return waiting.first if isinstance(waiting, FairQueue) else waiting[0]

    def _back_to_one_lane(self) -> None:
        self._mixed = False
        if isinstance(self._waiting, FairQueue):
            self._waiting = deque()

    # -- deadlines ----------------------------------------------------------------------

    def _require_time(self, rows: int, timeout_s: float) -> None:
        if timeout_s <= 0:
            raise too_late(self._name)
        # Among several lanes a request may go ahead of everything that waits.
        ahead = 0 if self._mixed else self.waiting_rows
        needed = self._pace.least_s(rows, ahead, self._links, time.monotonic())
        if needed > timeout_s:
            raise cannot_be_in_time(self._name, needed)

    def _expire(self, item: Pending) -> None:
        # While it is queued and while its batch runs: the answer comes now either way. A queued
        # request whose future is done is skipped when its turn comes.
        settle(item, too_late(self._name))


def weigh(bound: Bound) -> int:
    """Return the bytes of a request's inputs, values of BYTES included."""
    total = 0
    for array in bound.arrays:
        total += array.nbytes
        if array.dtype.hasobject:
            total += sum(map(len, array.flat))
    return total
