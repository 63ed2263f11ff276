"""Requests with more rows than a batch may have: cut into parts, and put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.pending import Pending, Whole
from serving.dataplane.requests.rejections import not_joined, several_versions
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_AGAIN: Final = 3
"""How often parts are sent again because another version of the model answered the others."""


class SplitRequest:
    """A request whose parts travel by themselves; its future is settled when the last one is.

    The first part that fails fails the request; whatever ends the request ends its parts.

    Where the model is on another server, that may change the version between two parts. An answer
    is of one version, so the parts that another one answered than the last part are sent again.

    Args:
        item: the request; it is never queued itself.
        queue: queues parts.
    """

    def __init__(self, item: Pending, queue: Callable[[list[Pending]], None]) -> None:
        self._item = item
        self._whole = Whole(item)
        self._queue = queue
        self._left = 0
        self._again = MOST_AGAIN

    def cut(self, size: int) -> None:
        """Queue the parts, in order, of `size` rows each but the last; once."""
        self._whole.size = size
        parts = [self._part(start) for start in range(0, self._item.bound.rows, size)]
        self._whole.futures = [part.future for part in parts]
        self._item.future.add_done_callback(self._end)
        self._send(parts)

    def _send(self, parts: list[Pending]) -> None:
        # Parts leave in order, so the last one waits longest.
        parts[-1].receive = self._item.receive
        self._left = len(parts)
        for part in parts:
            part.future.add_done_callback(self._part_done)
        self._queue(parts)

    def _part(self, start: int) -> Pending:
        item, bound = self._item, self._item.bound
        stop = min(start + self._whole.size, bound.rows)
        arrays = tuple(array[start:stop] for array in bound.arrays)
        cut = Bound(arrays, stop - start, bound.key, (), None, bound.forward, bound.alone)
        future: asyncio.Future[Answer] = item.future.get_loop().create_future()
        part = Pending(item.id, cut, future, item.enqueued, item.flow, item.context, item.arm)
        part.receive = None  # one of them asks for all
        part.priority = item.priority
        part.whole, part.first_row = self._whole, start
        return part

    def _part_done(self, future: asyncio.Future[Answer]) -> None:
        self._left -= 1
        whole = self._item.future
        if whole.done() or future.cancelled():
            return
        if (error := future.exception()) is not None:
            self._item.fail(error)
        elif not self._left:
            answers = [part.result() for part in self._whole.futures]
            self._whole.upstream = future.result().upstream
            if any(answer.upstream != self._whole.upstream for answer in answers):
                self._ask_again(answers)
                return
            self._item.flags = list(dict.fromkeys(flag for each in answers for flag in each.flags))
            self._item.response_parameters = answers[0].response_parameters
            try:
                outputs = self._whole.outputs()
            except (ValueError, MemoryError) as failure:  # parts whose outputs do not fit together
                said = "the outputs of the parts of a request could not be joined"
                context = self._item.context
                report(
                    Event.INTERNAL_ERROR,
                    said,
                    request_id=self._item.id,
                    span=context.span,
                    traceparent=context.traceparent,
                    error=failure,
                )
                self._item.fail(not_joined())
            else:
                self._item.answer(outputs)

    def _ask_again(self, answers: Sequence[Answer]) -> None:
        """Send the parts again that another version answered than the last one."""
        if not self._again:
            self._item.fail(several_versions(MOST_AGAIN))
            return
        self._again -= 1
        parts = []
        for place, answer in enumerate(answers):
            if answer.upstream != self._whole.upstream:
                parts.append(self._part(place * self._whole.size))
                self._whole.futures[place] = parts[-1].future
        self._send(parts)

    def _end(self, whole: asyncio.Future[Answer]) -> None:
        if self._item.timer is not None:
            self._item.timer.cancel()
        for future in self._whole.futures:
            future.cancel()


def finished(items: Sequence[Pending]) -> list[Whole]:
    """Return the requests that are complete by the parts among `items`, each once."""
    return [item.whole for item in items if item.whole is not None and item.whole.complete()]
