"""What came back for a batch, given to its requests and to whoever keeps the books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from serving.channel.messages.inference import BatchResult
from serving.dataplane.batching.batch import Batch, split
from serving.dataplane.batching.batch_sizing import BatchSizing
from serving.dataplane.batching.failed_batch import answer_all, answer_broken
from serving.dataplane.guards.stage import GuardStage
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.links.link import ReplicaLink
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

    Attributes:
        parted: whether parts of larger requests may be among the requests.
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
        self.parted = False

    def finish(self, batch: Batch, result: BatchResult) -> None:
        """Give every request its rows, or its error.

        Raises:
            Exception: the result does not fit the batch; requests without an answer are left.
        """
        batch.ended = time.monotonic()
        for guard in result.meta.guards:
            if guard.rows:
                self._guards.apply(batch, guard)
        for position, remarks in result.meta.remarks.items():
            batch.items[position].remarks = remarks
        answered = batch
        if result.meta.failed:
            for position, message in result.meta.failed.items():
                kind = result.meta.kinds.get(position, "ModelFailed")
                cause = result.meta.causes.get(position)
                settle(batch.items[position], named(kind, message, cause=cause))
            answered = batch.without(list(result.meta.failed))
        if answered.items:
            _check_rows(answered, result)
            parts = split(result.outputs, answered.rows)
            for item, outputs in zip(answered.items, parts, strict=True):
                if item.timer is not None:
                    item.timer.cancel()
                item.answer(outputs)
        # Else nobody asks what was learned; and a batch that was bisected took far longer than one.
        sizing = self._sizing
        if (sizing.deadlines or sizing.slo_s is not None) and not result.meta.failed:
            sizing.learn(batch.total, batch.formed, batch.ended, result, alone=batch.alone)
        observe = self._observer.answered
        if self.parted:  # parts of larger requests may be among them
            observe = partial(observe, parted=True)
        # A turn later, when the answers are on their way: nobody shall wait for the books.
        self._loop.call_soon(self._tell, observe, batch, answered, result)

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


def _check_rows(answered: Batch, result: BatchResult) -> None:
    """Refuse outputs that do not hold one row per row sent: everybody would get another's."""
    for name, array in result.outputs.items():
        if array.shape[:1] != (answered.total,):
            raise ValueError(f"output '{name}' has shape {array.shape} for {answered.total} rows")
