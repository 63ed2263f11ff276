"""What becomes of batches that a replica was lost with, and of requests that end replicas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from serving.config import Replicas
from serving.dataplane.batching.deadly_requests import Deadly
from serving.dataplane.batching.quarantine import Quarantine
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ReplicaLink, ReplicaLost
from serving.dataplane.links.replica_ends import ReplicaEnds
from serving.dataplane.queue.request_queue import RequestQueue
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import ends_again, no_replica, settle

MOST_AGAIN: Final = 8
"""How often a request is sent again whose computation a lost replica had not begun."""


class LostBatches:
    """Sends lost requests again, with care where they may be what ended the replica.

    Belongs to the loop's thread.

    Args:
        name, version: of the model, for messages and the log.
        queue: what waits; takes back what is sent again.
        remains: returns whether there is somebody to send them to, or will be.
        replicas: by which replicas that are lost are judged; None where nothing is computed in
            them, and requests are sent again once.
        ends: how replicas ended.
        observer: told of requests that are sent again, and of those that end replicas.
        tell: calls the observer in a way that cannot fail.
        changed: called when there may be something to send, or nothing is left.

    Attributes:
        on_deadly: told of each request that is found to end replicas.
        quarantine: requests that may have ended a replica.
        refuses: whether requests are known that must not be computed.
    """

    def __init__(
        self,
        name: str,
        version: str,
        queue: RequestQueue,
        remains: Callable[[], bool],
        replicas: Replicas | None,
        ends: ReplicaEnds | None,
        observer: BatchObserver,
        tell: Callable[..., None],
        changed: Callable[[], None],
    ) -> None:
        self._name = name
        self._queue = queue
        self._remains = remains
        self._observer = observer
        self._tell = tell
        self._changed = changed
        self.on_deadly: Callable[[Deadly], None] = lambda _deadly: None
        self._suspects = replicas is not None
        self.refuses = False
        self.quarantine = Quarantine(
            name,
            version,
            replicas or Replicas(),
            ends or ReplicaEnds(),
            remains,
            changed,
            partial(tell, observer.retried),
            self._found_deadly,
        )

    # -- sent again ---------------------------------------------------------------------

    def take(
        self,
        link: ReplicaLink,
        batch: Batch,
        lost: ReplicaLost,
        remove_link: Callable[[ReplicaLink], None],
    ) -> None:
        """Take in a batch that a replica was lost with; `remove_link` is called if that is gone."""
        quarantine = self.quarantine
        suspected = self._suspects and (lost.begun is not False or quarantine.holds(batch))
        if suspected:
            quarantine.take(link, batch, lost)  # first, for with the last link all may end
        if lost.link_lost:
            remove_link(link)
        if not suspected:
            self._send_again(batch)

    def _send_again(self, batch: Batch) -> None:
        """Send what a lost replica had not begun elsewhere, ahead of what waits."""
        most = MOST_AGAIN if self._suspects else 1
        there = self._remains()
        again = [i for i in batch.items if not i.future.done() and i.attempts < most]
        for item in batch.items:
            if item.attempts >= most or not there:
                settle(item, no_replica(self._name))
        if not there or not again:
            return
        for item in again:
            item.attempts += 1
        self._queue.put_back(again)
        self._changed()
        self._tell(self._observer.retried, len(again))

    # -- refused ------------------------------------------------------------------------

    def require_harmless(self, item: Pending) -> None:
        """Refuse a request that is known to end replicas; asked only while there are any.

        Raises:
            ModelFailed: it is.
        """
        deadly = self.quarantine.deadly
        if how := deadly.how(item.bound):
            self._tell(self._observer.deadly)
            raise ends_again(self._name, how)
        if not deadly:  # the last one is forgotten
            self.refuses = False

    def refuse(self, deadly: Deadly) -> None:
        """Refuse requests with the same inputs for a while."""
        self.quarantine.refuse(deadly)
        self.quarantine.refuse_known(self._queue.items())
        self.refuses = True

    def _found_deadly(self, deadly: Deadly) -> None:
        self._tell(self._observer.deadly)
        self.refuse(deadly)
        self._tell(self.on_deadly, deadly)
