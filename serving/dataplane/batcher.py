"""Continuous batching of one model version: a free slot takes everything compatible that waits.

There is no timer: while replicas are busy requests gather, and the next free slot takes them
all. Belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from guards.decisions import Action
from guards.guard import Guard
from serving.channel.inference import GuardResult
from serving.config import Batching
from serving.dataplane.batch import Answer, Batch, BatchResult, Pending, request_of_rows, split
from serving.dataplane.links import ReplicaLink, ReplicaLost
from serving.dataplane.observer import BatchObserver
from serving.errors import (
    DeadlineExceeded,
    GuardRejected,
    ModelFailed,
    NoReplica,
    PayloadTooLarge,
    QueueFull,
    VigilError,
    named,
)

DEFAULT_MAX_BATCH_ROWS = 1024
MAX_BATCH_BYTES = 256 << 20
"""Bytes of fixed-size inputs that are joined; far below what a frame may hold."""
SWEEP_S = 0.05

_log = logging.getLogger("vigil.gateway")


class ModelQueue:
    """The queue, the slots and the batches of one model version.

    Args:
        name: the model's name, for messages.
        input_names: inputs that the model sees, in order.
        batching: bounds from the model's configuration.
        guards: gateway guards, checked once per batch.
        observer: told what happened, for metrics and monitors.
    """

    def __init__(
        self,
        name: str,
        input_names: tuple[str, ...],
        batching: Batching,
        guards: list[Guard],
        observer: BatchObserver,
    ) -> None:
        self._name = name
        self._names = input_names
        self._max_rows = batching.max_batch_size or DEFAULT_MAX_BATCH_ROWS
        self._max_queue_rows = batching.max_queue_rows
        self._guards = guards
        self._observer = observer
        self._waiting: deque[Pending] = deque()
        self._links: list[ReplicaLink] = []
        self._loop = asyncio.get_running_loop()
        self._pump_scheduled = False
        self._under_way: set[asyncio.Future[BatchResult]] = set()
        self._on_idle: Callable[[], None] | None = None
        self._sweep_after = 0.0
        self.waiting_rows = 0

    # -- links --------------------------------------------------------------------------

    @property
    def links(self) -> list[ReplicaLink]:
        """Links that batches may be sent over."""
        return [link for link in self._links if link.open]

    def add_link(self, link: ReplicaLink) -> None:
        """Begin to use a replica."""
        self._links.append(link)
        self._schedule()

    def remove_link(self, link: ReplicaLink) -> None:
        """Stop using a replica; with the last one gone, what waits is answered now."""
        if link not in self._links:  # never proven, or given up already
            return
        self._links.remove(link)
        if not self.links:
            error = self._no_replica()
            while self._waiting:
                self._settle(self._waiting.popleft(), error)
            self.waiting_rows = 0
            self._look_idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Finish what was admitted; `on_idle` is called once nothing waits or is under way."""
        self._on_idle = on_idle
        self._look_idle()

    def _look_idle(self) -> None:
        if self._on_idle and not self._waiting and not any(link.busy for link in self._links):
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    # -- admission ----------------------------------------------------------------------

    def submit(self, item: Pending, timeout_s: float | None) -> None:
        """Queue an admitted request; its future gets the answer or the error.

        Raises:
            NoReplica: nobody is there who could compute it.
            PayloadTooLarge: it has more rows than a batch may have.
            QueueFull: the queue is at its bound.
            DeadlineExceeded: the deadline has passed already.
        """
        rows = item.bound.rows
        for link in self._links:
            if link.open:
                break
        else:
            raise self._no_replica()
        if rows > self._max_rows:
            raise PayloadTooLarge(
                f"request has {rows} rows; model '{self._name}' takes at most "
                f"{self._max_rows} per request"
            )
        if self.waiting_rows + rows > self._max_queue_rows and not self._make_room(rows):
            raise QueueFull(
                f"the queue of model '{self._name}' is full; retry later", retry_after_s=1
            )
        if timeout_s is not None:
            if timeout_s <= 0:
                raise self._too_late()
            item.timer = self._loop.call_later(timeout_s, self._expire, item)
        self._waiting.append(item)
        self.waiting_rows += rows
        self._schedule()

    def _make_room(self, rows: int) -> bool:
        """Drop requests that nobody waits for any more; whether `rows` fit then."""
        now = self._loop.time()
        if now < self._sweep_after:  # an overload must not spend its time here
            return False
        self._sweep_after = now + SWEEP_S
        for item in self._waiting:
            if item.future.done() and item.timer is not None:
                item.timer.cancel()
        self._waiting = deque(item for item in self._waiting if not item.future.done())
        self.waiting_rows = sum(item.bound.rows for item in self._waiting)
        return self.waiting_rows + rows <= self._max_queue_rows

    def _expire(self, item: Pending) -> None:
        # While it is queued and while its batch runs: the answer comes now either way. A queued
        # request whose future is done is skipped when its turn comes.
        self._settle(item, self._too_late())

    # -- dispatch -----------------------------------------------------------------------

    def _schedule(self) -> None:
        # One loop turn later, so that requests which arrived together leave together.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._waiting:
            link = self._free_link()
            if link is None:
                return
            batch = self._guard(self._form())
            if batch.items:
                self._dispatch(link, batch)
        self._look_idle()

    def _free_link(self) -> ReplicaLink | None:
        free = [link for link in self._links if link.busy < link.slots and link.open]
        return min(free, key=_load) if free else None

    def _form(self) -> Batch:
        """Take from the queue what fits together: the oldest, and all that are like it."""
        waiting, rows, key = self._waiting, 0, None
        taken: list[Pending] = []
        most = self._max_rows
        passed_over: list[Pending] = []
        while waiting:
            item = waiting.popleft()
            bound = item.bound
            if item.future.done():  # expired or cancelled while it waited
                self.waiting_rows -= bound.rows
                if item.timer is not None:  # else its arrays live until a deadline far away
                    item.timer.cancel()
                continue
            if key is None:
                key = bound.key
                row_bytes = sum(array.nbytes for array in bound.arrays) // bound.rows
                most = min(most, MAX_BATCH_BYTES // max(row_bytes, 1))
            if bound.key != key or (taken and bound.alone):
                passed_over.append(item)
            elif taken and rows + bound.rows > most:
                waiting.appendleft(item)
                break
            else:
                taken.append(item)
                rows += bound.rows
                if bound.alone:
                    break
        self.waiting_rows -= rows
        waiting.extendleft(reversed(passed_over))
        if not taken:
            return _NOTHING
        try:
            return Batch(self._names, taken, time.monotonic())
        except Exception:  # noqa: BLE001
            # For example no memory to join them: they are in no queue any more, so answer them.
            _log.exception("cannot form a batch of %d rows for model '%s'", rows, self._name)
            for item in taken:
                self._settle(item, self._broken())
            return _NOTHING

    def _guard(self, batch: Batch) -> Batch:
        """Check the gateway guards on the whole batch and answer what they reject."""
        for guard in self._guards:
            if not batch.items:
                break
            started = time.perf_counter_ns()
            try:
                decisions = guard.check(batch.inputs(), None)
                hit = np.flatnonzero(decisions.action)
                rows = tuple(
                    (int(r), int(decisions.action[r]), decisions.reasons.get(int(r), ""))
                    for r in hit
                )
                self._tell(self._observer.guard_time, guard.name, time.perf_counter_ns() - started)
                rejected = self._apply(batch, GuardResult(guard.name, rows)) if rows else []
                if rejected:
                    batch = batch.without(rejected)
            except Exception:  # noqa: BLE001
                # A guard's own fault must not fail requests, and never leave them unanswered.
                _log.exception("guard '%s' of model '%s' failed", guard.name, self._name)
        return batch

    def _apply(self, batch: Batch, result: GuardResult) -> list[int]:
        """Count a guard's decisions, mark flagged requests, settle rejected ones."""
        self._tell(self._observer.guard_decisions, result)
        position = request_of_rows(batch.rows)
        rejected: list[int] = []
        for row, action, reason in result.rows:
            at = int(position[row])
            item = batch.items[at]
            if action == Action.REJECT:
                self._settle(item, GuardRejected(f"rejected by guard '{result.guard}': {reason}"))
                if at not in rejected:
                    rejected.append(at)
            elif action == Action.FLAG and result.guard not in item.flags:
                item.flags.append(result.guard)
        return rejected

    def _dispatch(self, link: ReplicaLink, batch: Batch) -> None:
        link.busy += 1
        link.rows += batch.total
        under_way: asyncio.Future[BatchResult]
        try:
            under_way = asyncio.ensure_future(link.send(batch))
        except Exception as error:  # noqa: BLE001 - a batch that cannot be encoded, for example
            under_way = self._loop.create_future()
            under_way.set_exception(error)
        # Kept here, because the loop itself holds tasks weakly.
        self._under_way.add(under_way)
        under_way.add_done_callback(partial(self._done, link, batch))

    def _done(
        self, link: ReplicaLink, batch: Batch, under_way: asyncio.Future[BatchResult]
    ) -> None:
        self._under_way.discard(under_way)
        self._release(link, batch)
        try:
            self._finish(batch, under_way.result())
        except ReplicaLost:
            self._retry(link, batch)
        except VigilError as error:
            self._settle_all(batch, error)
        except asyncio.CancelledError:
            self._settle_all(batch, self._no_replica())
        except Exception:  # noqa: BLE001
            # A reply that cannot be read or does not fit its batch: nobody may wait for it.
            _log.exception("a batch of model '%s' failed on %s", self._name, link.id)
            self._settle_all(batch, self._broken())
        if self._on_idle:
            self._look_idle()

    def _release(self, link: ReplicaLink, batch: Batch) -> None:
        link.busy -= 1
        link.rows -= batch.total
        if self._waiting:
            self._schedule()

    def _retry(self, lost: ReplicaLink, batch: Batch) -> None:
        """Give what a dead replica held one more try elsewhere, ahead of what waits.

        Once per request, so that a request which kills replicas cannot walk through all of them.
        """
        self.remove_link(lost)
        again = [i for i in batch.items if not i.future.done() and i.attempts == 0]
        for item in batch.items:
            if item.attempts or not self.links:
                self._settle(item, self._no_replica())
        if not self.links:
            return
        for item in again:
            item.attempts = 1
            self.waiting_rows += item.bound.rows
        self._waiting.extendleft(reversed(again))
        self._schedule()
        self._tell(self._observer.retried, len(again))

    # -- answers ------------------------------------------------------------------------

    def _finish(self, batch: Batch, result: BatchResult) -> None:
        for guard in result.guards:
            self._apply(batch, guard)
        answered = batch
        if result.failed:
            for position, message in result.failed.items():
                kind = result.kinds.get(position, "ModelFailed")
                self._settle(batch.items[position], named(kind, message))
            answered = batch.without(list(result.failed))
        if answered.items:
            _check_rows(answered, result)
            parts = split(result.outputs, answered.rows)
            for item, outputs in zip(answered.items, parts, strict=True):
                if item.timer is not None:
                    item.timer.cancel()
                if not item.future.done():
                    item.future.set_result(Answer(outputs, item.flags))
        self._tell(self._observer.answered, batch, answered, result)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            what(*arguments)
        except Exception:  # noqa: BLE001 - requests get answers whatever becomes of the numbers
            _log.exception("a metric or event of model '%s' was not recorded", self._name)

    def _settle_all(self, batch: Batch, error: VigilError) -> None:
        for item in batch.items:
            self._settle(item, error)

    def _settle(self, item: Pending, error: VigilError) -> None:
        if item.timer is not None:
            item.timer.cancel()
        if not item.future.done():
            item.future.set_exception(error)

    def _no_replica(self) -> NoReplica:
        return NoReplica(
            f"no replica of model '{self._name}' is ready; retry later", retry_after_s=1
        )

    def _broken(self) -> ModelFailed:
        return ModelFailed(f"model '{self._name}' could not be asked; see the server's log")

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the deadline passed before model '{self._name}' answered; allow more time"
        )


def _load(link: ReplicaLink) -> tuple[int, int]:
    return (link.rows, link.busy)


def _check_rows(answered: Batch, result: BatchResult) -> None:
    """Refuse outputs that do not hold one row per row sent: everybody would get another's."""
    for name, array in result.outputs.items():
        if array.shape[:1] != (answered.total,):
            raise ValueError(f"output '{name}' has shape {array.shape} for {answered.total} rows")


_NOTHING = Batch((), [], 0.0)
