"""Which replica takes the next batch, and sending it there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from serving.channel.busy_poll import ANSWER, REQUEST, BusyPoll
from serving.channel.messages.inference import BatchResult
from serving.dataplane.links.link import ChannelLink, ReplicaLink
from serving.dataplane.requests.batch import Batch

Take = Callable[[ReplicaLink, Batch, BatchResult | BaseException], None]
"""Takes what came back for a batch; must not raise."""


class Dispatcher:
    """The links of one model version and their slots. Belongs to the loop's thread.

    Args:
        busy_poll_s: for how long the loop may poll for an answer instead of sleeping.

    Attributes:
        links: all links; the batcher adds and removes them.
        trace: gives a batch its trace context, for another server; None: none is told any.
    """

    def __init__(self, busy_poll_s: float) -> None:
        self.links: list[ReplicaLink] = []
        self.trace: Callable[[Batch], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Future[BatchResult]] = set()
        self._busy_poll = BusyPoll(busy_poll_s)

    @property
    def open_links(self) -> list[ReplicaLink]:
        """Links that batches may be sent over."""
        return [link for link in self.links if link.open]

    def free_link(self) -> ReplicaLink | None:
        """Return the least busy link that takes another batch, if there is one."""
        best: ReplicaLink | None = None
        for link in self.links:
            if link.busy < link.slots and link.open and (best is None or _busier(best, link)):
                best = link
        return best

    def receive_buffer(self, size: int, skip: int) -> memoryview | None:
        """Return memory that the least busy replica shares, for a body that is on its way here.

        Tensors of a request that leaves alone, and to that replica, are not copied any more. None:
        receive it elsewhere. The arguments are those of `Arena.receive_buffer`.
        """
        best: ReplicaLink | None = None
        for link in self.links:
            if link.open and (best is None or _busier(best, link)):
                best = link
        return best.connection.receive_buffer(size, skip) if isinstance(best, ChannelLink) else None

    def send(self, link: ReplicaLink, batch: Batch, take: Take) -> None:
        """Send a batch; `take` is called once with what came back, in a later turn of the loop."""
        batch.alone = not link.busy
        link.busy += 1
        link.rows += batch.total
        if self.trace is not None:
            self.trace(batch)
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

    def release(self, link: ReplicaLink, batch: Batch) -> None:
        """Give a batch's slot back."""
        link.busy -= 1
        link.rows -= batch.total
        self._busy_poll.expect(REQUEST, alone=not link.busy and len(batch.items) == 1)


def _busier(one: ReplicaLink, other: ReplicaLink) -> bool:
    return (one.rows, one.busy) > (other.rows, other.busy)
