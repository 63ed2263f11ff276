"""What the next batch is: how many rows it may have, whether it waits for company, what is in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.batching.failed_batch import answer_broken
from serving.dataplane.links.link import ReplicaLink
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.pending import Pending

MAX_BATCH_BYTES = 256 << 20
"""Bytes of fixed-size inputs that are joined; far below what a frame may hold."""


class BatchForming:
    """Forms the batches of one queue. Belongs to the loop's thread.

    Args:
        name, version: of the model, for messages and the log.
        input_names: inputs that the model sees, in order.
        queue: what waits.
        sizing: what is known of batch times.
        links: replicas that may compute them; whoever holds them changes the list.
        changed: called when a batch has waited for company for long enough.
    """

    def __init__(
        self,
        name: str,
        version: str,
        input_names: tuple[str, ...],
        queue: RequestQueue,
        sizing: BatchSizing,
        links: Sequence[ReplicaLink],
        changed: Callable[[], None],
    ) -> None:
        self._name, self._version = name, version
        self._names = input_names
        self._queue = queue
        self._sizing = sizing
        self._links = links
        self._changed = changed
        self._delay: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def form(self) -> Batch:
        """Take from the queue what fits together; there must be something that was not returned."""
        sizing = self._sizing
        most = sizing.max_rows if sizing.slo_s is None else self.most_rows()
        lost_before = self.lost_before(most) if sizing.deadlines else 0.0
        return self.join(self._queue.take(most, MAX_BATCH_BYTES, lost_before))

    def join(self, items: list[Pending]) -> Batch:
        """Make a batch of requests that were taken; one without any if that is not possible."""
        if not items:
            return _NOTHING
        try:
            return Batch(self._names, items, time.monotonic())
        except Exception as error:  # noqa: BLE001
            # For example no memory to join them: they are in no queue any more, so answer them.
            said = "requests could not be joined to a batch"
            answer_broken(self._name, self._version, said, items, error)
            return _NOTHING

    def may_grow(self) -> bool:
        """Whether the next batch should wait for company; then somebody is called in time."""
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        left = self._queue.head.enqueued + self._sizing.delay_s - time.monotonic()
        if left <= 0 or self._queue.waiting_rows >= self.most_rows():
            return False
        self._delay = self._loop.call_later(left, self._changed)
        return True

    def most_rows(self) -> int:
        """Return the rows that the next batch may have."""
        if self._sizing.slo_s is None:
            return self._sizing.max_rows
        slots = max(link.slots for link in self._links)
        return self._sizing.most_rows(self._queue.head.enqueued, slots, time.monotonic())

    def lost_before(self, most: int) -> float:
        """Return the loop's time before which no deadline can be kept by the batch formed now.

        To compute a request whose answer would be late costs those behind it their own deadlines.
        """
        # Without a latency goal nobody has said that batches should be small enough for this.
        rows = 1 if self._sizing.slo_s is None else min(self._queue.waiting_rows, most)
        needed = self._sizing.least_s(rows, 0, self._links, time.monotonic())
        return self._loop.time() + needed if needed else 0.0


_NOTHING = Batch((), [], 0.0)
