"""Continuous batching of one model version: a free slot takes everything compatible that waits.

Unless the model asks for one there is no timer: while replicas are busy requests gather, and the
next free slot takes them all. Belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from guards.guard import Guard
from serving.channel.busy_poll import ANSWER, REQUEST, BusyPoll
from serving.channel.messages.inference import BatchResult
from serving.config import Batching, Replicas
from serving.dataplane.batching.batch import Batch, Pending, split
from serving.dataplane.batching.deadly_requests import Deadly
from serving.dataplane.batching.quarantine import Quarantine
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ChannelLink, ReplicaLink, ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.queue.waiting_room import WaitingRoom, weigh
from serving.dataplane.requests.rejections import broken, ends_again, no_replica, settle, too_late
from serving.errors import VigilError, named
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MAX_BATCH_BYTES = 256 << 20
"""Bytes of fixed-size inputs that are joined; far below what a frame may hold."""
MOST_AGAIN = 8
"""How often a request is sent again whose computation a lost replica had not begun."""


class ModelQueue(WaitingRoom):
    """The queue, the slots and the batches of one model version.

    Args:
        name: the model's name, for messages.
        input_names: inputs that the model sees, in order.
        batching: bounds from the model's configuration.
        guards: gateway guards, checked once per batch.
        observer: told what happened, for metrics and monitors.
        row_bytes: bytes of a row's inputs; None when rows differ.
        version: of the model, for the log.
        replicas: by which replicas that are lost are judged; None where nothing is computed in
            them, and requests are sent again once.
        ends: how replicas ended.
    """

    def __init__(
        self,
        name: str,
        input_names: tuple[str, ...],
        batching: Batching,
        guards: list[Guard],
        observer: BatchObserver,
        row_bytes: int | None = None,
        version: str = "",
        replicas: Replicas | None = None,
        ends: ReplicaEnds | None = None,
    ) -> None:
        super().__init__(name, batching, observer, row_bytes)
        self._names = input_names
        self._version = version
        self._guards = GuardStage(name, guards, observer, self._tell, version)
        self._again: list[list[Pending]] = []
        self._delay: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Future[BatchResult]] = set()
        self._on_idle: Callable[[], None] | None = None
        self._busy_poll = BusyPoll(batching.busy_poll_us / 1e6)
        self.on_deadly: Callable[[Deadly], None] = lambda _deadly: None
        self._suspects = replicas is not None
        self._quarantine = Quarantine(
            name,
            version,
            replicas or Replicas(),
            ends or ReplicaEnds(),
            self._schedule,
            partial(self._tell, observer.retried),
            self._found_deadly,
        )

    # -- links --------------------------------------------------------------------------

    @property
    def links(self) -> list[ReplicaLink]:
        """Links that batches may be sent over."""
        return [link for link in self._links if link.open]

    def add_link(self, link: ReplicaLink) -> None:
        """Begin to use a replica."""
        self._links.append(link)
        self._quarantine.met(len(self._links))
        self._schedule()

    def remove_link(self, link: ReplicaLink) -> None:
        """Stop using a replica; with the last one gone, what waits is answered now."""
        if link not in self._links:  # never proven, or given up already
            return
        self._links.remove(link)
        self._quarantine.lost(link)
        if not self.links:
            error = no_replica(self._name)
            for items in self._again:
                self._settle_all(items, error)
            self._again.clear()
            while self._waiting:
                settle(self._waiting.popleft(), error)
            self.waiting_rows = self.waiting_bytes = 0
            self._look_for_room()
            self._look_idle()

    def landing(self, size: int, skip: int) -> memoryview | None:
        """Return memory that the least busy replica shares, for a body that is on its way here.

        Tensors of a request that leaves alone, and to that replica, are not copied any more. None:
        receive it elsewhere. The arguments are those of `Arena.landing`.
        """
        links = self.links
        link = min(links, key=_load) if links else None
        return link.connection.landing(size, skip) if isinstance(link, ChannelLink) else None

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Finish what was admitted; `on_idle` is called once nothing waits or is under way."""
        self._on_idle = on_idle
        self._look_idle()

    def _look_idle(self) -> None:
        if self._on_idle is None:  # nearly always
            return
        busy = self._waiting or self._again or any(link.busy for link in self._links)
        if not busy and not self._quarantine.busy:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    # -- dispatch -----------------------------------------------------------------------

    def _schedule(self) -> None:
        # One loop turn later, so that requests which arrived together leave together.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        while self._waiting or self._again:
            link = self._free_link()
            if link is None:
                if not self._departures.watching:
                    self._departures.watch()
                break
            if self._again:
                batch = self._form_again()
            elif self._pace.delay_s and self._may_grow():
                break
            else:
                batch = self._form()
                if self._guards.guards:
                    batch = self._guards.check(batch)
            if self._crowding.active or self.on_room is not None:
                self._look_for_room()
            if batch.items:
                self._dispatch(link, batch, self._answered)
        else:
            if self._mixed:
                self._back_to_one_lane()
            self._look_idle()
        if self._quarantine.held:  # last, so that others have their turn between two of them
            self._send_suspects()

    def _free_link(self) -> ReplicaLink | None:
        free = [link for link in self._links if link.busy < link.slots and link.open]
        if len(free) < 2:
            return free[0] if free else None
        return min(free, key=_load)

    def _may_grow(self) -> bool:
        """Whether the next batch should wait for company; then somebody looks again in time."""
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        left = self._next.enqueued + self._pace.delay_s - time.monotonic()
        if left <= 0 or self.waiting_rows >= self._most_rows():
            return False
        self._delay = self._loop.call_later(left, self._schedule)
        return True

    def _most_rows(self) -> int:
        """Rows that the next batch may have."""
        if self._pace.slo_s is None:
            return self._max_rows
        slots = max(link.slots for link in self._links)
        return self._pace.most_rows(self._next.enqueued, slots, time.monotonic())

    def _form(self) -> Batch:
        """Take from the queue what fits together: the oldest, and all that are like it."""
        most = self._max_rows if self._pace.slo_s is None else self._most_rows()
        if self._mixed and self.waiting_rows > most:
            self._take_turns()
        lost = self._lost_before(most) if self._timed else 0.0
        waiting, rows, key = self._waiting, 0, None
        taken: list[Pending] = []
        passed_over: list[Pending] = []
        while waiting:
            item = waiting.popleft()
            bound = item.bound
            if item.future.done():  # expired or cancelled while it waited
                self._forget(item)
                continue
            if lost and item.timer is not None and item.timer.when() < lost:
                settle(item, too_late(self._name))
                self._forget(item)
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
        waiting.extendleft(reversed(passed_over))
        self.waiting_rows -= rows
        if self._weighed:
            self.waiting_bytes -= sum(weigh(item.bound) for item in taken)
        return self._join(taken)

    def _lost_before(self, most: int) -> float:
        """Return the loop's time before which no deadline can be kept by the batch formed now.

        To compute a request whose answer would be late costs those behind it their own deadlines.
        """
        # Without a latency goal nobody has said that batches should be small enough for this.
        rows = 1 if self._pace.slo_s is None else min(self.waiting_rows, most)
        needed = self._pace.least_s(rows, 0, self._links, time.monotonic())
        return self._loop.time() + needed if needed else 0.0

    def _form_again(self) -> Batch:
        """Take what a lost replica held. It has passed the guards already."""
        items = self._again.pop(0)
        alive = []
        for item in items:
            if item.future.done():
                self._forget(item)
            else:
                self._left(item)
                alive.append(item)
        return self._join(alive)

    def _join(self, items: list[Pending]) -> Batch:
        if not items:
            return _NOTHING
        try:
            return Batch(self._names, items, time.monotonic())
        except Exception as error:  # noqa: BLE001
            # For example no memory to join them: they are in no queue any more, so answer them.
            self._report_failed("requests could not be joined to a batch", items, error)
            self._settle_all(items, broken(self._name))
            return _NOTHING

    def _send_suspects(self) -> None:
        """Send requests that may end a replica, over a link that holds nothing else."""
        link = self._quarantine.free_link(self.links)
        if link is not None:
            batch = self._join(self._quarantine.next())
            if batch.items:
                self._dispatch(link, batch, self._suspects_answered)
            else:
                self._quarantine.answered()

    def _suspects_answered(
        self, link: ReplicaLink, batch: Batch, result: BatchResult | BaseException
    ) -> None:
        self._answered(link, batch, result)
        self._quarantine.answered()
        self._schedule()

    def _dispatch(
        self,
        link: ReplicaLink,
        batch: Batch,
        take: Callable[[ReplicaLink, Batch, BatchResult | BaseException], None],
    ) -> None:
        batch.alone = not link.busy
        link.busy += 1
        link.rows += batch.total
        answered = partial(take, link, batch)
        self._busy_poll.expect(ANSWER, alone=batch.alone and len(batch.items) == 1)
        try:
            if isinstance(link, ChannelLink):
                link.ask(batch, answered)
                return
            under_way = asyncio.ensure_future(link.send(batch))
        except Exception as error:  # noqa: BLE001 - a batch that cannot be encoded, for example
            self._loop.call_soon(answered, error)
            return
        # Kept here, because the loop itself holds tasks weakly.
        self._under_way.add(under_way)
        under_way.add_done_callback(partial(self._done, answered))

    def _done(
        self,
        answered: Callable[[BatchResult | BaseException], None],
        under_way: asyncio.Future[BatchResult],
    ) -> None:
        self._under_way.discard(under_way)
        if under_way.cancelled():
            answered(asyncio.CancelledError())
        else:
            error = under_way.exception()
            answered(under_way.result() if error is None else error)

    def _answered(
        self, link: ReplicaLink, batch: Batch, result: BatchResult | BaseException
    ) -> None:
        """Take what came back for a batch; never raises."""
        self._release(link, batch)
        self._busy_poll.expect(REQUEST, alone=not link.busy and len(batch.items) == 1)
        if isinstance(result, BaseException):
            self._failed(link, batch, result)
        else:
            try:
                self._finish(batch, result)
            except Exception as error:  # noqa: BLE001 - a reply that does not fit its batch
                self._failed(link, batch, error)
        if self._on_idle:
            self._look_idle()

    def _failed(self, link: ReplicaLink, batch: Batch, error: BaseException) -> None:
        """Answer a batch without a result; nobody may wait for one.

        The error is looked at and not raised: in its traceback it would hold this frame, and so
        itself and the batch.
        """
        if isinstance(error, ReplicaLost):
            self._lost(link, batch, error)
        elif isinstance(error, VigilError):
            self._settle_all(batch.items, error.anew())
        elif isinstance(error, asyncio.CancelledError):
            self._settle_all(batch.items, no_replica(self._name))
        else:
            said = f"a batch could not be sent to {link.id}, or its answer could not be read"
            self._report_failed(said, batch.items, error)
            self._settle_all(batch.items, broken(self._name))

    def _release(self, link: ReplicaLink, batch: Batch) -> None:
        link.busy -= 1
        link.rows -= batch.total
        if self._waiting or self._again or self._quarantine.held:
            self._schedule()

    def _lost(self, link: ReplicaLink, batch: Batch, lost: ReplicaLost) -> None:
        """Send what a lost replica held elsewhere, with care where it may be what ended it."""
        suspected = self._suspects and (lost.begun is not False or self._quarantine.holds(batch))
        if suspected:
            self._quarantine.take(link, batch, lost)  # first, for with the last link all may end
        if lost.link_lost:
            self.remove_link(link)
        if not suspected:
            self._send_again(batch)

    def _send_again(self, batch: Batch) -> None:
        """Send what a lost replica had not begun elsewhere, ahead of what waits."""
        most = MOST_AGAIN if self._suspects else 1
        again = [i for i in batch.items if not i.future.done() and i.attempts < most]
        for item in batch.items:
            if item.attempts >= most or not self.links:
                settle(item, no_replica(self._name))
        if not self.links or not again:
            return
        for item in again:
            item.attempts += 1
            self.waiting_rows += item.bound.rows
            if self._weighed:
                self.waiting_bytes += weigh(item.bound)
        self._again.append(again)
        self._schedule()
        self._tell(self._observer.retried, len(again))

    # -- answers ------------------------------------------------------------------------

    def _finish(self, batch: Batch, result: BatchResult) -> None:
        batch.ended = time.monotonic()
        meta = result.meta
        answered = batch.without(list(meta.failed)) if meta.failed else batch
        # First, so that a reply which does not fit its batch answers nobody.
        _check(batch, answered, result)
        parts = split(result.outputs, answered.rows) if answered.items else []
        for guard in meta.guards:
            self._guards.apply(batch, guard)
        for position, remarks in meta.remarks.items():
            batch.items[position].remarks = remarks
        for position, message in meta.failed.items():
            kind = meta.kinds.get(position, "ModelFailed")
            error = named(kind, message, cause=meta.causes.get(position))
            error.batched = True
            settle(batch.items[position], error)
        for item, outputs in zip(answered.items, parts, strict=True):
            if item.timer is not None:
                item.timer.cancel()
            item.answer(outputs)
        # Else nobody asks what was learned; and a batch that was bisected took far longer than one.
        if (self._timed or self._pace.slo_s is not None) and not meta.failed:
            self._pace.learn(batch.total, batch.formed, batch.ended, result, alone=batch.alone)
        # A turn later, when the answers are on their way: nobody shall wait for the books.
        self._loop.call_soon(self._tell, self._observer.answered, batch, result, time.monotonic())

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            what(*arguments)
        except Exception as error:  # noqa: BLE001 - requests get answers whatever becomes of the numbers
            report(
                Event.OBSERVATION_FAILED,
                "a metric or an event was not recorded",
                model=self._name,
                version=self._version,
                error=error,
            )

    def _found_deadly(self, deadly: Deadly) -> None:
        self._tell(self._observer.deadly)
        self.refuse_deadly(deadly)
        self._tell(self.on_deadly, deadly)

    def refuse_deadly(self, deadly: Deadly) -> None:
        """Refuse requests with the same inputs for a while."""
        self._quarantine.refuse(deadly)
        self._quarantine.refuse_known(self._waiting)
        for items in self._again:
            self._quarantine.refuse_known(items)
        self._refuse = self._refuse_known

    def _refuse_known(self, item: Pending) -> None:
        """Refuse a request that is known to end replicas.

        Raises:
            ModelFailed: it is.
        """
        deadly = self._quarantine.deadly
        if how := deadly.how(item.bound):
            self._tell(self._observer.deadly)
            raise ends_again(self._name, how)
        if not deadly:  # the last one is forgotten
            self._refuse = None

    def _report_failed(self, said: str, items: list[Pending], error: BaseException) -> None:
        report(
            Event.BATCH_FAILED,
            said,
            model=self._name,
            version=self._version,
            request_id=items[0].id if items else "",
            error=error,
            requests=len(items),
        )

    def _settle_all(self, items: list[Pending], error: VigilError) -> None:
        for item in items:
            settle(item, error)


def _load(link: ReplicaLink) -> tuple[int, int]:
    return (link.rows, link.busy)


def _check(batch: Batch, answered: Batch, result: BatchResult) -> None:
    """Refuse a reply that is about other requests, or without one row of outputs per row sent."""
    meta = result.meta
    if meta.failed or meta.remarks or meta.guards:
        for position in (*meta.failed, *meta.remarks):
            if not 0 <= position < len(batch.items):
                raise ValueError(f"request {position} of {len(batch.items)} is told of")
        for guard in meta.guards:
            for row, _action, _reason in guard.rows:
                if not 0 <= row < batch.total:
                    raise ValueError(f"guard '{guard.guard}' judged row {row} of {batch.total}")
    if not answered.items:
        return
    for name, array in result.outputs.items():
        # Everybody would get another's.
        if array.shape[:1] != (answered.total,):
            raise ValueError(f"output '{name}' has shape {array.shape} for {answered.total} rows")


_NOTHING = Batch((), [], 0.0)
