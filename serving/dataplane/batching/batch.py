"""Joining requests into one batch and cutting its result apart again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.channel.messages.inference import ResponseParameters
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.decisions import RowDecision
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

if TYPE_CHECKING:
    from serving.dataplane.requests.splitting import SplitRequest


class Pending:
    """One admitted request on its way to an answer, or a part of one that is too large.

    Attributes:
        lane: who it takes turns with others for: its client, with its priority where a model
            has levels. Empty where nobody takes turns.
        priority: its level, 1 the highest; 0 where the model has none.
        context: what it came with.
        flags, decisions: guards that flagged it, and what any guard said of its rows.
        receive: tells whether the client has left; None when nobody can say, or is asked already.
        remarks: what a model on another server said beside the tensors.
        turn: its place among the lanes; there only while lanes take turns.
        on_done: called once it is answered, in the same turn of the loop; it must not raise.
        whole: what it is a part of.
    """

    __slots__ = (
        "attempts", "bound", "context", "decisions", "enqueued", "flags", "future", "id", "lane",
        "on_done", "priority", "receive", "remarks", "timer", "turn", "whole",
    )  # fmt: skip

    turn: tuple[float, int] | None

    def __init__(
        self,
        ident: str,
        bound: Bound,
        future: asyncio.Future[Answer],
        enqueued: float,
        lane: Hashable = "",
        context: RequestContext = NO_CONTEXT,
    ) -> None:
        self.id = ident
        self.bound = bound
        self.future = future
        self.enqueued = enqueued
        self.lane = lane
        self.context = context
        self.receive = context.disconnect
        self.priority = 0
        self.attempts = 0
        self.flags: list[str] = []
        self.decisions: tuple[RowDecision, ...] = ()
        self.remarks: ResponseParameters | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.whole: SplitRequest | None = None
        self.on_done: Callable[[], None] | None = None

    def answer(self, outputs: dict[str, np.ndarray]) -> None:
        """Settle it with its outputs, unless it is settled already."""
        future = self.future
        if not future.done():
            future.set_result(Answer(outputs, self.flags, self.remarks))
            if self.on_done is not None:
                on_done, self.on_done = self.on_done, None  # kept, each would keep the other
                try:
                    on_done()
                except Exception as error:  # noqa: BLE001 - the others in the batch have answers too
                    self._not_passed_on(error)

    def fail(self, error: BaseException) -> None:
        """Settle it with an error, unless it is settled already."""
        future = self.future
        if not future.done():
            future.set_exception(error)
            if self.on_done is not None:
                on_done, self.on_done = self.on_done, None
                try:
                    on_done()
                except Exception as broken:  # noqa: BLE001 - as above
                    self._not_passed_on(broken)

    def decided(self, guard: str, row: int, action: int, reason: str) -> None:
        """Note that a guard did not let one of its rows pass."""
        item = self
        if self.whole is not None:
            item = self.whole.item
            row += self.whole.first_row(self)
        item.decisions += (RowDecision(guard, row, action, reason),)

    def _not_passed_on(self, error: Exception) -> None:
        said = "an answer was not passed on to its client"
        report(Event.INTERNAL_ERROR, said, request_id=self.id, error=error)


class Batch:
    """Requests that go to a replica together, in order.

    Attributes:
        formed, ended: when, in monotonic seconds; 0 before its answer has come.
        alone: whether its replica had nothing else to do.
    """

    __slots__ = ("_arrays", "alone", "ended", "formed", "items", "names", "rows", "total")

    def __init__(self, names: tuple[str, ...], items: list[Pending], formed: float) -> None:
        self.names = names
        self.items = items
        self.formed = formed
        self.ended = 0.0
        # A list first: a generator would be resumed for every request.
        self.rows = tuple([item.bound.rows for item in items])
        self.total = sum(self.rows)
        self.alone = False
        self._arrays: tuple[np.ndarray, ...] | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All rows of every input; joined when first asked for."""
        if self._arrays is None:
            self._arrays = join(self.items) if self.items else ()
        return self._arrays

    def parts(self) -> list[tuple[np.ndarray, ...]] | None:
        """Return each input's arrays, one per request, while nobody has asked for them joined."""
        if self._arrays is not None or len(self.items) == 1:
            return None
        return list(zip(*[item.bound.arrays for item in self.items], strict=True))

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the joined arrays by input name."""
        return dict(zip(self.names, self.arrays, strict=True))

    def without(self, rejected: Sequence[int]) -> Batch:
        """Return the batch of the requests whose positions are not in `rejected`."""
        drop = set(rejected)
        kept = [item for index, item in enumerate(self.items) if index not in drop]
        return Batch(self.names, kept, self.formed)


def join(items: Sequence[Pending]) -> tuple[np.ndarray, ...]:
    """Concatenate the arrays of compatible requests along the row axis."""
    if len(items) == 1:
        return items[0].bound.arrays
    return tuple(
        np.concatenate(parts) for parts in zip(*[item.bound.arrays for item in items], strict=True)
    )


def split(outputs: Mapping[str, np.ndarray], rows: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Cut outputs into one dictionary of views per request; the inverse of `join`."""
    if len(rows) == 1:
        return [dict(outputs)]
    named = list(outputs.items())
    parts = []
    start = 0
    if len(named) == 1:  # nearly every model: no loop within the loop
        [(only, array)] = named
        for count in rows:
            stop = start + count
            parts.append({only: array[start:stop]})
            start = stop
        return parts
    for count in rows:
        stop = start + count
        parts.append({name: array[start:stop] for name, array in named})
        start = stop
    return parts


def request_of_rows(rows: Sequence[int]) -> np.ndarray:
    """Return for each row of a batch the position of its request, int64 [total]."""
    return np.repeat(np.arange(len(rows)), rows)
