"""One admitted request on its way to an answer, and one that travels in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

import numpy as np

from serving.channel.messages.inference import ResponseParameters
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.requests.answer import Answer
from serving.dataplane.requests.bound import Bound
from serving.dataplane.requests.decisions import RowDecision
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class Pending:
    """One admitted request on its way to an answer, or a part of one that is too large.

    Attributes:
        flow: who it takes turns with others for: its client, with its priority where a model
            has levels. Empty where nobody takes turns.
        priority: its level, 1 the highest; 0 where the model has none.
        context: what it came with.
        flags: guards that flagged it.
        decisions: what any guard said of its rows; None: nothing.
        scores: float32 [rows] by guard, of the gateway's guards; of a request that travels in parts
            also of those beside the model. NaN in rows that none has judged; None without any.
        arm: of its route; empty where traffic is not split.
        receive: tells whether the client has left; None when nobody can say, or is asked already.
        response_parameters: what a model on another server said beside the tensors.
        turn: its place among the flows; there only while flows take turns.
        on_done: called once it is answered, in the same turn of the loop; it must not raise.
        whole: what it is a part of; None where it travels whole.
        first_row: which row of `whole` its first one is; there only where it is a part.
    """

    __slots__ = (
        "arm", "attempts", "bound", "context", "decisions", "enqueued", "first_row", "flags",
        "flow", "future", "id", "on_done", "priority", "receive", "response_parameters", "scores",
        "timer", "turn", "whole",
    )  # fmt: skip

    turn: tuple[float, int] | None
    first_row: int

    def __init__(
        self,
        ident: str,
        bound: Bound,
        future: asyncio.Future[Answer],
        enqueued: float,
        flow: Hashable = "",
        context: RequestContext = NO_CONTEXT,
        arm: str = "",
    ) -> None:
        self.id = ident
        self.bound = bound
        self.future = future
        self.enqueued = enqueued
        self.flow = flow
        self.context = context
        self.arm = arm
        self.receive = context.disconnect
        self.priority = 0
        self.attempts = 0
        self.flags: list[str] = []
        self.decisions: list[RowDecision] | None = None
        self.scores: dict[str, np.ndarray] | None = None
        self.response_parameters: ResponseParameters | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.whole: Whole | None = None
        self.on_done: Callable[[], None] | None = None

    def answer(self, outputs: dict[str, np.ndarray]) -> None:
        """Settle it with its outputs, unless it is settled already."""
        future = self.future
        if not future.done():
            future.set_result(Answer(outputs, self.flags, self.response_parameters))
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
            row += self.first_row
        if item.decisions is None:
            item.decisions = []
        item.decisions.append(RowDecision(guard, row, action, reason))

    def scored(self, guard: str, scores: np.ndarray) -> None:
        """Note what a guard scored its rows, float32 [rows]."""
        whole = self.whole
        item = self if whole is None else whole.item
        if item.scores is None:
            item.scores = {}
        if whole is None:
            item.scores[guard] = scores
            return
        of_all = item.scores.get(guard)
        if of_all is None:
            of_all = item.scores[guard] = np.full(item.bound.rows, np.nan, np.float32)
        of_all[self.first_row : self.first_row + len(scores)] = scores

    def _not_passed_on(self, error: Exception) -> None:
        said = "an answer was not passed on to its client"
        report(
            Event.INTERNAL_ERROR,
            said,
            request_id=self.id,
            span=self.context.span,
            traceparent=self.context.traceparent,
            error=error,
        )


class Whole:
    """A request that travels in parts: what its parts, and who books them, know of it.

    It knows the futures of its parts and not them, for they know it: a large request must not have
    to wait for the garbage collector.

    Attributes:
        item: the request; it is never queued itself.
        size: rows of each part but the last.
        futures: of its parts, in the order of their rows.
        upstream: version that another server gave the parts; empty where it is the served one.
        formed: when the first part left the queue, in monotonic seconds; 0 before.
    """

    __slots__ = ("_counted", "_outputs", "formed", "futures", "item", "size", "upstream")

    def __init__(self, item: Pending) -> None:
        self.item = item
        self.size = 0
        self.futures: list[asyncio.Future[Answer]] = []
        self.upstream = ""
        self.formed = 0.0
        self._outputs: dict[str, np.ndarray] | None = None
        self._counted = False

    def begins_with(self, part: Pending) -> bool:
        """Whether `part` is the first of them."""
        return self.futures[0] is part.future

    def awaits(self, part: Pending) -> bool:
        """Whether `part` counts: one that was asked for again has another one in its place."""
        return self.futures[part.first_row // self.size] is part.future

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
            parts = [future.result().outputs for future in self.futures]
            self._outputs = {
                name: np.concatenate([part[name] for part in parts]) for name in parts[0]
            }
        return self._outputs
