"""Continuous batching of one model version: a free slot takes everything compatible that waits.

Unless the model asks for one there is no timer: while replicas are busy requests gather, and the
next free slot takes them all. Belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from guards.runner import GuardRunner
from serving.channel.messages.inference import BatchResult
from serving.config import Batching, Replicas
from serving.dataplane.batching.answering import Answering
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.batching.dispatching import Dispatcher
from serving.dataplane.batching.failed_batch import answer_all
from serving.dataplane.batching.forming import BatchForming
from serving.dataplane.batching.lost_batches import LostBatches
from serving.dataplane.batching.replacement import Replacement
from serving.dataplane.batching.telling import Telling
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ReplicaLink, ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import abandoned_because, no_replica, settle
from serving.dataplane.requests.splitting import SplitRequest
from serving.errors import VigilError


class Batcher:
    """Moves the requests of one model version from its queue to its replicas and back.

    Args:
        name: the model's name, for messages.
        input_names: inputs that the model sees, in order.
        batching: bounds from the model's configuration.
        guards: the gateway's, run once per batch.
        observer: told what happened, for metrics and monitors.
        row_bytes: bytes of a row's inputs; None when rows differ.
        version: of the model, for the log.
        replicas: by which replicas that are lost are judged; None where nothing is computed in
            them, and requests are sent again once.
        ends: how replicas ended.
        forming: decides what the next batch is.

    Attributes:
        queue: the requests that wait.
        dispatcher: sends batches over the links.
        lost: sends lost requests again, and knows those that end replicas.
    """

    def __init__(
        self,
        name: str,
        input_names: tuple[str, ...],
        batching: Batching,
        guards: GuardRunner,
        observer: BatchObserver,
        row_bytes: int | None = None,
        version: str = "",
        replicas: Replicas | None = None,
        ends: ReplicaEnds | None = None,
        forming: type[BatchForming] = BatchForming,
    ) -> None:
        self._name, self._observer = name, observer
        self._tell = tell = Telling(name, version).tell
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        """Whether somebody looks for a free slot in the loop's next turn anyway."""
        self._on_idle: Callable[[], None] | None = None
        changed = self._schedule
        self._sizing = sizing = BatchSizing(batching)
        self.dispatcher = Dispatcher(batching.busy_poll_us / 1e6)
        self._links = links = self.dispatcher.links
        self.queue = queue = RequestQueue(name, batching, row_bytes, self._abandoned)
        self._forming = forming(name, version, input_names, queue, sizing, links, changed)
        self._guards = GuardStage(name, guards, observer, tell, version)
        self._answering = Answering(name, version, self._guards, sizing, observer, tell)
        self.lost = LostBatches(
            name, version, queue, self._remains, replicas, ends, observer, tell, changed
        )
        self._quarantine = self.lost.quarantine
        self._replacement = Replacement(self._give_up, expected=replicas is not None)
        self._several = replicas is not None and replicas.min > 1

    # -- requests -----------------------------------------------------------------------

    def submit(self, item: Pending, timeout_s: float | None) -> None:
        """Queue a bound request; its future gets the answer or the error.

        Raises:
            NoReplica: nobody is there who could compute it.
            PayloadTooLarge: it would not fit into an empty queue.
            QueueFull: the queue is at its bound.
            DeadlineExceeded: the deadline has passed already, or cannot be kept.
            ModelFailed: the same inputs have ended a replica.
        """
        for link in self._links:
            if link.open:
                break
        else:
            if not self.admits:
                raise no_replica(self._name)
        if self.lost.refuses:
            self.lost.require_harmless(item)
        rows, sizing = item.bound.rows, self._sizing
        needed_s = 0.0
        if timeout_s is not None:
            sizing.deadlines = True
            needed_s = sizing.least_s(rows, self.queue.ahead, self._links, time.monotonic())
        # What goes alone goes whole: half a step of a sequence would be another step.
        if rows > sizing.max_rows and not item.bound.alone:
            self.queue.append(item, timeout_s, needed_s, in_parts=True)
            SplitRequest(item, self._submit_parts).cut(sizing.max_rows)
            return
        self.queue.append(item, timeout_s, needed_s)
        if not self._scheduled:
            self._schedule()

    def _submit_parts(self, parts: list[Pending]) -> None:
        """Queue parts of a request that was admitted; some may come a second time."""
        if not self._remains():
            answer_all(parts, no_replica(self._name))
            return
        if self.lost.refuses:
            try:
                for part in parts:
                    self.lost.require_harmless(part)
            except VigilError as error:  # which ends them all
                settle(parts[0], error.anew())
                return
        self.queue.extend(parts)
        self._schedule()

    # -- links --------------------------------------------------------------------------

    @property
    def links(self) -> list[ReplicaLink]:
        """Links that batches may be sent over."""
        return self.dispatcher.open_links

    @property
    def admits(self) -> bool:
        """Whether requests may come although no link is open: several replicas are replaced.

        Of an only replica that was lost, callers are told at once, and may ask another server.
        """
        return self._several and self._awaited

    @property
    def _awaited(self) -> bool:
        """Whether the next link is awaited, or one that drains is about to be lost."""
        return self._replacement.expected and (bool(self._links) or self._replacement.awaited)

    def _remains(self) -> bool:
        """Whether there is somebody to send what was admitted to, or will be."""
        return any(link.open for link in self._links) or self._awaited

    def add_link(self, link: ReplicaLink) -> None:
        """Begin to use a replica."""
        self._links.append(link)
        self._replacement.end()
        self.queue.served = True
        self._quarantine.met(len(self._links))
        self._schedule()

    def remove_link(self, link: ReplicaLink) -> None:
        """Stop using a replica; with the last one gone, what waits waits for its replacement."""
        if link not in self._links:  # never proven, or given up already
            return
        self._links.remove(link)
        self._quarantine.lost(link)
        if self.links:
            return
        if not self._replacement.begin():
            self._give_up()
        elif not self._several:
            self.queue.unserved()

    def _give_up(self) -> None:
        """Answer what waits; nobody will compute it."""
        self.queue.served = False
        self.queue.evict(no_replica(self._name))
        self._quarantine.give_up()
        self._look_idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Finish what was admitted; `on_idle` is called once nothing waits or is under way."""
        self._on_idle = on_idle
        self.close()
        self._look_idle()

    def close(self) -> None:
        """Await no replica any more: none will be linked."""
        self._replacement.stop()
        if not self.links:
            self._give_up()

    def _look_idle(self) -> None:
        if self._on_idle is None:  # nearly always
            return
        busy = self.queue.waiting_rows or any(link.busy for link in self._links)
        if not busy and not self._quarantine.busy:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()

    # -- batches ------------------------------------------------------------------------

    def _schedule(self) -> None:
        # One loop turn later, so that requests which arrived together leave together.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        queue = self.queue
        while queue.waiting_rows:
            link = self.dispatcher.free_link()
            if link is None:
                if not queue.disconnects.watching:
                    queue.disconnects.watch()
                break
            if queue.returned:  # it has passed the guards already
                batch = self._forming.join(queue.take_returned())
            elif self._sizing.delay_s and self._forming.may_grow():
                break
            else:
                batch = self._forming.form()
                if not self._guards.empty:
                    batch = self._guards.check(batch)
            if batch.items:
                self.dispatcher.send(link, batch, self._answered)
        else:
            self._look_idle()
        if self._quarantine.held:  # last, so that others have their turn between two of them
            self._send_suspects()

    def _send_suspects(self) -> None:
        """Send requests that may end a replica, over a link that holds nothing else."""
        link = self._quarantine.free_link(self.links)
        if link is not None:
            batch = self._forming.join(self._quarantine.next())
            if batch.items:
                self.dispatcher.send(link, batch, self._suspects_answered)
            else:
                self._quarantine.answered()
                self._schedule()

    def _suspects_answered(
        self, link: ReplicaLink, batch: Batch, result: BatchResult | BaseException
    ) -> None:
        self._answered(link, batch, result)
        self._quarantine.answered()
        self._schedule()

    def _answered(
        self, link: ReplicaLink, batch: Batch, result: BatchResult | BaseException
    ) -> None:
        """Take what came back for a batch; never raises."""
        self.dispatcher.release(link, batch)
        if self.queue.waiting_rows or self._quarantine.held:
            self._schedule()
        if isinstance(result, BaseException):
            self._failed(link, batch, result)
        else:
            try:
                self._answering.finish(batch, result)
            except Exception as error:  # noqa: BLE001 - a reply that does not fit its batch
                self._failed(link, batch, error)
        if self._on_idle:
            self._look_idle()

    def _failed(self, link: ReplicaLink, batch: Batch, error: BaseException) -> None:
        if isinstance(error, ReplicaLost):
            self.lost.take(link, batch, error, self.remove_link)
        else:
            self._answering.fail(link, batch, error)

    def _abandoned(self, item: Pending) -> None:
        self._tell(self._observer.abandoned, abandoned_because(item), item.bound.rows)
