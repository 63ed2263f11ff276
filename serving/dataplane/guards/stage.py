"""The gateway's guards over a batch, and what any guard's decisions do to its requests."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

import numpy as np

from guards.decisions import Action
from guards.rows import Requests, Rows
from guards.runner import GuardRunner, Outcome
from serving.channel.messages.inference import GuardResult
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.rejections import settle
from serving.errors import GuardRejected
from serving.models.guards.report import report_failure, results_of


class GuardStage:
    """Checks batches before they are sent.

    Args:
        model: name of the model, for messages.
        runner: the guards that need no model.
        observer: told what became of them.
        tell: calls the observer in a way that cannot fail.
        version: of the model, for the log.

    Attributes:
        empty: whether there is no guard.
    """

    def __init__(
        self,
        model: str,
        runner: GuardRunner,
        observer: BatchObserver,
        tell: Callable[..., None],
        version: str = "",
    ) -> None:
        self._model, self._version = model, version
        self._runner = runner
        self._with_inputs = runner.needs.inputs
        self._with_requests = runner.needs.requests
        self.empty = not runner.names
        self._observer = observer
        self._tell = tell

    def check(self, batch: Batch) -> Batch:
        """Answer what the guards reject; return the rest."""
        if not batch.items:
            return batch
        try:
            inputs = batch.inputs() if self._with_inputs else {}
            requests = _requests(batch) if self._with_requests else None
            outcomes = self._runner.run(Rows(batch.total, inputs, None, {}, requests))
        except Exception as error:  # noqa: BLE001 - for example no memory to join them
            outcomes = self._runner.failed(error, batch.total)
        results = results_of(outcomes)
        self._tell(self._observer.guards_judged, results)
        for outcome in outcomes:  # first: who is rejected is told of at once, with all of them
            if outcome.scores is not None:
                _note_scores(batch, outcome.guard, outcome.scores)
        rejected: list[int] = []
        for outcome, result in zip(outcomes, results, strict=True):
            if outcome.failure is not None:
                self._report(batch, outcome)
            if result.rows:
                rejected += self.apply(batch, result)
        return batch.without(rejected) if rejected else batch

    def apply(self, batch: Batch, result: GuardResult) -> list[int]:
        """Mark the requests that a guard flagged, settle those that it rejected.

        Returns:
            Positions of the rejected requests.
        """
        guard, items = result.guard, batch.items
        ends = list(accumulate(batch.rows))
        rejected: dict[int, None] = {}
        for row, action, reason in result.rows:
            at = bisect_right(ends, row)
            item = items[at]
            item.decided(guard, row - ends[at] + item.bound.rows, action, reason)
            if action == Action.REJECT:
                error = GuardRejected(f"rejected by guard '{guard}': {reason}")
                error.batched = batch.ended > 0  # else it was never sent
                settle(item, error)
                rejected[at] = None
            elif action == Action.FLAG and guard not in item.flags:
                item.flags.append(guard)
        return list(rejected)

    def _report(self, batch: Batch, outcome: Outcome) -> None:
        first, requests = batch.items[0].id, len(batch.items)
        report_failure(outcome, self._model, self._version, request_id=first, requests=requests)


def _note_scores(batch: Batch, guard: str, scores: np.ndarray) -> None:
    start = 0
    for item in batch.items:
        stop = start + item.bound.rows
        item.scored(guard, scores[start:stop])
        start = stop


def _requests(batch: Batch) -> Requests:
    ids = tuple([item.id for item in batch.items])
    return Requests(batch.rows, ids, tuple([item.context.client for item in batch.items]))
