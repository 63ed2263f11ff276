"""Requests with more rows than a batch may have: cut into parts, and put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from serving.dataplane.batch import Answer, Pending
from serving.dataplane.binding import Bound


class Whole:
    """A request whose parts travel by themselves; its future is settled when the last one is.

    The first part that fails fails the request; whatever ends the request ends its parts. It knows
    the futures of its parts and not them, for they know it: a large request must not have to wait
    for the garbage collector.

    Args:
        item: the request; it is never queued itself.
    """

    def __init__(self, item: Pending) -> None:
        self.item = item
        self._outputs: dict[str, np.ndarray] | None = None
        self._answered = 0
        self._futures: list[asyncio.Future[Answer]] = []
        self._left = 0

    def cut(self, size: int) -> list[Pending]:
        """Return the parts, in order, of `size` rows each but the last; once."""
        item = self.item
        parts = [self._part(start, size) for start in range(0, item.bound.rows, size)]
        # Parts leave in order, so the last one waits longest.
        parts[-1].receive = item.receive
        self._futures = [part.future for part in parts]
        self._left = len(parts)
        for future in self._futures:
            future.add_done_callback(self._part_done)
        item.future.add_done_callback(self._end)
        return parts

    def _part(self, start: int, size: int) -> Pending:
        item, bound = self.item, self.item.bound
        stop = min(start + size, bound.rows)
        arrays = tuple(array[start:stop] for array in bound.arrays)
        cut = Bound(arrays, stop - start, bound.key, (), None, bound.forward, bound.alone)
        future: asyncio.Future[Answer] = item.future.get_loop().create_future()
        part = Pending(item.id, cut, future, item.enqueued, item.lane)
        part.priority = item.priority
        part.whole = self
        return part

    def begins_with(self, part: Pending) -> bool:
        """Whether `part` is the first of them."""
        return self._futures[0] is part.future

    def answered(self, part: Pending) -> bool:
        """Count one part as answered; whether all are now."""
        future = part.future
        if future.cancelled() or future.exception() is not None:  # so the whole fails, or has ended
            return False
        self._answered += 1
        return self._answered == len(self._futures)

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
            self.item.flags = list(dict.fromkeys(flag for each in answers for flag in each.flags))
            self.item.remarks = answers[0].remarks
            try:
                outputs = self.outputs()
            except (ValueError, MemoryError) as failure:  # parts whose outputs do not fit together
                self.item.fail(failure)
            else:
                self.item.answer(outputs)

    def _end(self, whole: asyncio.Future[Answer]) -> None:
        if self.item.timer is not None:
            self.item.timer.cancel()
        for future in self._futures:
            future.cancel()


def unparted(items: Sequence[Pending]) -> list[Pending]:
    """Return `items` without parts of larger requests but the first of each."""
    return [item for item in items if item.whole is None or item.whole.begins_with(item)]


def finished(items: Sequence[Pending]) -> list[Whole]:
    """Count the parts among answered `items`; return the requests that are complete by it."""
    return [item.whole for item in items if item.whole is not None and item.whole.answered(item)]
