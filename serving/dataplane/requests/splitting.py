"""Requests with more rows than a batch may have: cut into parts, and put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from serving.dataplane.batching.batch import Pending
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.rejections import not_joined, several_versions
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_AGAIN: Final = 3
"""How often parts are sent again because another version of the model answered the others."""


class SplitRequest:
    """A request whose parts travel by themselves; its future is settled when the last one is.

    The first part that fails fails the request; whatever ends the request ends its parts. It knows
    the futures of its parts and not them, for they know it: a large request must not have to wait
    for the garbage collector.

    Where the model is on another server, that may change the version between two parts. An answer
    is of one version, so the parts that another one answered than the last part are sent again.

    Args:
        item: the request; it is never queued itself.
        queue: queues parts.

    Attributes:
        upstream: version that another server gave the parts; empty where it is the served one.
        formed: when the first part left the queue, in monotonic seconds; 0 before.
    """

    def __init__(self, item: Pending, queue: Callable[[list[Pending]], None]) -> None:
        self.item = item
        self.upstream = ""
        self.formed = 0.0
        self._queue = queue
        self._size = 0
        self._outputs: dict[str, np.ndarray] | None = None
        self._counted = False
        self._futures: list[asyncio.Future[Answer]] = []
        self._left = 0
        self._again = MOST_AGAIN

    def cut(self, size: int) -> None:
        """Queue the parts, in order, of `size` rows each but the last; once."""
        self._size = size
        parts = [self._part(start) for start in range(0, self.item.bound.rows, size)]
        self._futures = [part.future for part in parts]
        self.item.future.add_done_callback(self._end)
        self._send(parts)

    def _send(self, parts: list[Pending]) -> None:
        # Parts leave in order, so the last one waits longest.
        parts[-1].receive = self.item.receive
        self._left = len(parts)
        for part in parts:
            part.future.add_done_callback(self._part_done)
        self._queue(parts)

    def _part(self, start: int) -> Pending:
        item, bound = self.item, self.item.bound
        stop = min(start + self._size, bound.rows)
        arrays = tuple(array[start:stop] for array in bound.arrays)
        cut = Bound(arrays, stop - start, bound.key, (), None, bound.forward, bound.alone)
        future: asyncio.Future[Answer] = item.future.get_loop().create_future()
        part = Pending(item.id, cut, future, item.enqueued, item.lane, item.context)
        part.receive = None  # one of them asks for all
        part.priority = item.priority
        part.whole = self
        return part

    def begins_with(self, part: Pending) -> bool:
        """Whether `part` is the first of them."""
        return self._futures[0] is part.future

    def first_row(self, part: Pending) -> int:
        """Return which row of the request is the first one of `part`."""
        return self._futures.index(part.future) * self._size

    def complete(self) -> bool:
        """Whether a batch has ended it, with outputs or an error; true once: it is one request."""
        whole = self.item.future
        if self._counted or not whole.done() or whole.cancelled():
            return False
        error = whole.exception()
        if error is not None and not (isinstance(error, VigilError) and error.batched):
            return False
        self._counted = True
        return True

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the rows of all parts in order; every part must have been answered."""
        if self._outputs is None:
            parts = [future.result().outputs for future in self._futures]
            self._outputs = {
                name: np.concatenate([part[name] for part in parts]) for name in parts[0]
            }
        return self._outputs

    def _part_done(self, future: asyncio.Future[Answer]) -> None:
        self._left -= 1
        whole = self.item.future
        if whole.done() or future.cancelled():
            return
        if (error := future.exception()) is not None:
            self.item.fail(error)
        elif not self._left:
            answers = [part.result() for part in self._futures]
            self.upstream = future.result().upstream
            if any(answer.upstream != self.upstream for answer in answers):
                self._ask_again(answers)
                return
            self.item.flags = list(dict.fromkeys(flag for each in answers for flag in each.flags))
            self.item.remarks = answers[0].remarks
            try:
                outputs = self.outputs()
            except (ValueError, MemoryError) as failure:  # parts whose outputs do not fit together
                said = "the outputs of the parts of a request could not be joined"
                report(Event.INTERNAL_ERROR, said, request_id=self.item.id, error=failure)
                self.item.fail(not_joined())
            else:
                self.item.answer(outputs)

    def _ask_again(self, answers: Sequence[Answer]) -> None:
        """Send the parts again that another version answered than the last one."""
        if not self._again:
            self.item.fail(several_versions(MOST_AGAIN))
            return
        self._again -= 1
        parts = []
        for place, answer in enumerate(answers):
            if answer.upstream != self.upstream:
                parts.append(self._part(place * self._size))
                self._futures[place] = parts[-1].future
        self._send(parts)

    def _end(self, whole: asyncio.Future[Answer]) -> None:
        if self.item.timer is not None:
            self.item.timer.cancel()
        for future in self._futures:
            future.cancel()


def finished(items: Sequence[Pending]) -> list[SplitRequest]:
    """Return the requests that are complete by the parts among `items`, each once."""
    return [item.whole for item in items if item.whole is not None and item.whole.complete()]
