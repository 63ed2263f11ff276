"""Requests with more rows than a batch may have: cut into parts, and put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from serving.dataplane.batch import Answer, Pending
from serving.dataplane.binding import Bound


class Whole:
    """A request whose parts travel by themselves; its future is settled when the last one is.

    The first part that fails fails the request; whatever ends the request ends its parts.

    Args:
        item: the request; it is never queued itself.
        size: rows of each part but the last.
    """

    def __init__(self, item: Pending, size: int) -> None:
        self.item = item
        self._outputs: dict[str, np.ndarray] | None = None
        self._answered = 0
        loop = item.future.get_loop()
        self.parts = [
            self._part(start, size, loop.create_future())
            for start in range(0, item.bound.rows, size)
        ]
        # Parts leave in order, so the last one waits longest.
        self.parts[-1].receive = item.receive
        self._left = len(self.parts)
        for part in self.parts:
            part.future.add_done_callback(self._part_done)
        item.future.add_done_callback(self._end)

    def _part(self, start: int, size: int, future: asyncio.Future[Answer]) -> Pending:
        item, bound = self.item, self.item.bound
        stop = min(start + size, bound.rows)
        arrays = tuple(array[start:stop] for array in bound.arrays)
        cut = Bound(arrays, stop - start, bound.key, (), None, bound.forward, bound.alone)
        part = Pending(item.id, cut, future, item.enqueued, item.lane)
        part.priority = item.priority
        part.whole = self
        return part

    def answered(self, part: Pending) -> bool:
        """Count one part as answered; whether all are now."""
        future = part.future
        if future.cancelled() or future.exception() is not None:  # so the whole fails, or has ended
            return False
        self._answered += 1
        return self._answered == len(self.parts)

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the rows of all parts in order; every part must have been answered."""
        if self._outputs is None:
            parts = [part.future.result().outputs for part in self.parts]
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
            flags = dict.fromkeys(flag for part in self.parts for flag in part.flags)
            self.item.flags = list(flags)
            self.item.remarks = self.parts[0].remarks
            try:
                outputs = self.outputs()
            except (ValueError, MemoryError) as failure:  # parts whose outputs do not fit together
                self.item.fail(failure)
            else:
                self.item.answer(outputs)

    def _end(self, whole: asyncio.Future[Answer]) -> None:
        if self.item.timer is not None:
            self.item.timer.cancel()
        for part in self.parts:
            part.future.cancel()


def unparted(items: Sequence[Pending]) -> list[Pending]:
    """Return `items` without parts of larger requests but the first of each."""
    return [item for item in items if item.whole is None or item.whole.parts[0] is item]


def finished(items: Sequence[Pending]) -> list[Whole]:
    """Count the parts among answered `items`; return the requests that are complete by it."""
    return [item.whole for item in items if item.whole is not None and item.whole.answered(item)]
