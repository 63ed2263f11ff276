"""What came back for a batch, given to its requests and to whoever keeps the books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from serving.channel.messages.inference import FLOAT32, BatchResult
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.batching.failed_batch import answer_all, answer_broken
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ReplicaLink
from serving.dataplane.requests.batch import Batch, split
from serving.dataplane.requests.rejections import no_replica, settle
from serving.errors import VigilError, named


class Answering:
    """Answers the requests of batches. Belongs to the loop's thread.

    Args:
        name, version: of the model, for messages and the log.
        guards: apply the decisions of the model's own guards.
        sizing: learns how long batches take.
        observer: told of each batch.
        tell: calls the observer in a way that cannot fail.
    """

    def __init__(
        self,
        name: str,
        version: str,
        guards: GuardStage,
        sizing: BatchSizing,
        observer: BatchObserver,
        tell: Callable[..., None],
    ) -> None:
        self._name, self._version = name, version
        self._guards = guards
        self._sizing = sizing
        self._observer = observer
        self._tell = tell
        self._loop = asyncio.get_running_loop()

    def finish(self, batch: Batch, result: BatchResult) -> None:
        """Give every request its rows, or its error.

        Raises:
            Exception: the result does not fit the batch; requests without an answer are left.
        """
        batch.ended = time.monotonic()
        meta = result.meta
        answered = batch.without(list(meta.failed)) if meta.failed else batch
        # First, so that a reply which does not fit its batch answers nobody.
        _check(batch, answered, result)
        parts = split(result.outputs, answered.rows) if answered.items else []
        for guard in meta.guards:
            if guard.rows:
                self._guards.apply(batch, guard)
        for position, response_parameters in meta.response_parameters.items():
            batch.items[position].response_parameters = response_parameters
        for position, message in meta.failed.items():
            kind = meta.kinds.get(position, "ModelFailed")
            error = named(kind, message, cause=meta.causes.get(position))
            error.batched = True
            settle(batch.items[position], error)
        for item, outputs in zip(answered.items, parts, strict=True):
            if item.timer is not None:
                item.timer.cancel()
            item.answer(outputs)
        # Else nobody asks what was learned; and a batch that was bisected took far longer than one.
        sizing = self._sizing
        if (sizing.deadlines or sizing.slo_s is not None) and not meta.failed:
            sizing.learn(batch.total, batch.formed, batch.ended, result, alone=batch.alone)
        # A turn later, when the answers are on their way: nobody shall wait for the books.
        self._loop.call_soon(self._tell, self._observer.answered, batch, result, time.monotonic())

    def fail(self, link: ReplicaLink, batch: Batch, error: BaseException) -> None:
        """Answer a batch without a result; nobody may wait for one.

        The error is looked at and not raised: in its traceback it would hold this frame, and so
        itself and the batch.
        """
        if isinstance(error, VigilError):
            answer_all(batch.items, error.anew())
        elif isinstance(error, asyncio.CancelledError):
            answer_all(batch.items, no_replica(self._name))
        else:
            said = f"a batch could not be sent to {link.id}, or its answer could not be read"
            answer_broken(self._name, self._version, said, batch.items, error)


def _check(batch: Batch, answered: Batch, result: BatchResult) -> None:
    """Refuse a reply that is about other requests, or without one row of outputs per row sent."""
    meta = result.meta
    if meta.failed or meta.response_parameters or meta.guards:
        for position in (*meta.failed, *meta.response_parameters):
            if not 0 <= position < len(batch.items):
                raise ValueError(f"request {position} of {len(batch.items)} is told of")
        for guard in meta.guards:
            for row, _action, _reason in guard.rows:
                if not 0 <= row < batch.total:
                    raise ValueError(f"guard '{guard.guard}' judged row {row} of {batch.total}")
            if guard.scores and len(guard.scores) != answered.total * FLOAT32.itemsize:
                raise ValueError(f"guard '{guard.guard}' has no score for each of its rows")
    if not answered.items:
        return
    for name, array in result.outputs.items():
        # Everybody would get another's.
        if array.shape[:1] != (answered.total,):
            raise ValueError(f"output '{name}' has shape {array.shape} for {answered.total} rows")
