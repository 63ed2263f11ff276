"""Finding out that clients have left while their requests wait.

Our own server cancels what it asked for. Others tell nobody: `receive` must be called to learn
it, and under Envoy each call costs a trip through two threads. So only those are asked about that
have waited long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from itertools import islice
from typing import Any

from serving.dataplane.requests.pending import Pending
from serving.dataplane.requests.rejections import gone, settle

SWEEP_S = 0.1
POLLS_PER_SWEEP = 50
"""At most 500 polls a second for each queue."""


class Disconnects:
    """Looks through one queue every 100 ms for as long as something waits in it.

    Args:
        waiting: what waits now.
        on_gone: called when nobody waits any more for some of it; takes that out.
    """

    def __init__(self, waiting: Callable[[], Iterable[Pending]], on_gone: Callable[[], None]):
        self._waiting = waiting
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._skip = 0
        self._polls: set[asyncio.Future[Any]] = set()
        self.watching = False

    def watch(self) -> None:
        """Begin to sweep; ends by itself when nothing waits."""
        self.watching = True
        self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        waiting = list(self._waiting())
        # Cancelled by the server, found out below, or too late: others may have their room.
        if any(item.future.done() for item in waiting):
            self._on_gone()
            waiting = list(self._waiting())
        old = time.monotonic() - SWEEP_S
        due = [item for item in waiting if item.receive is not None and item.enqueued < old]
        self._skip = self._skip if self._skip < len(due) else 0
        for item in islice(due, self._skip, self._skip + POLLS_PER_SWEEP):
            self._ask(item)
        self._skip += POLLS_PER_SWEEP  # with more than can be asked about, the next ones next
        if waiting:
            self._loop.call_later(SWEEP_S, self._sweep)
        else:
            self.watching = False

    def _ask(self, item: Pending) -> None:
        assert item.receive is not None
        receive, item.receive = item.receive, None

        def told(poll: asyncio.Future[MutableMapping[str, Any]]) -> None:
            self._polls.discard(poll)
            if poll.cancelled():
                return
            if poll.exception() is not None:
                return  # then the server cannot say, and the request simply stays
            if poll.result()["type"] == "http.disconnect":
                settle(item, gone())
            else:
                item.receive = receive  # still there: ask again later

        # Some servers answer at once, others only when the client leaves: those are asked once.
        poll = asyncio.ensure_future(receive())
        self._polls.add(poll)
        poll.add_done_callback(told)
        if isinstance(poll, asyncio.Task):  # a bare future is somebody else's to settle
            answered = partial(_cancel, poll)
            item.future.add_done_callback(answered)
            poll.add_done_callback(lambda _: item.future.remove_done_callback(answered))


def _cancel(poll: asyncio.Future[Any], _answered: asyncio.Future[Any]) -> None:
    poll.cancel()
