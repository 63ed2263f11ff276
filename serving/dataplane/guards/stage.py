"""The gateway's guards over a batch, and what any guard's decisions do to its requests."""

from __future__ import annotations

import time
from collections.abc import Callable

from guards.decisions import Action
from guards.guard import Guard
from serving.channel.messages.inference import GuardResult
from serving.dataplane.batching.batch import Batch, request_of_rows
from serving.dataplane.hooks.observer import BatchObserver
from serving.dataplane.requests.rejections import settle
from serving.errors import GuardRejected
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report


class GuardStage:
    """Checks batches before they are sent.

    Args:
        model: name of the model, for messages.
        guards: checked in this order, once per batch.
        observer: told times and decisions.
        tell: calls the observer in a way that cannot fail.
        version: of the model, for the log.
    """

    def __init__(
        self,
        model: str,
        guards: list[Guard],
        observer: BatchObserver,
        tell: Callable[..., None],
        version: str = "",
    ) -> None:
        self._model, self._version = model, version
        self.guards = guards
        self._observer = observer
        self._tell = tell

    def check(self, batch: Batch) -> Batch:
        """Answer what the guards reject; return the rest."""
        for guard in self.guards:
            if not batch.items:
                break
            started = time.perf_counter_ns()
            try:
                rows = guard.check(batch.inputs(), None).found()
                self._tell(self._observer.guard_time, guard.name, time.perf_counter_ns() - started)
                rejected = self.apply(batch, GuardResult(guard.name, rows)) if rows else []
                if rejected:
                    batch = batch.without(rejected)
            except Exception as error:  # noqa: BLE001
                # A guard's own fault must not fail requests, and never leave them unanswered.
                report(
                    Event.GUARD_FAILED,
                    f"guard '{guard.name}' raised {type(error).__name__} and judged no row of a "
                    "batch",
                    model=self._model,
                    version=self._version,
                    request_id=batch.items[0].id,
                    error=error,
                    guard=guard.name,
                    requests=len(batch.items),
                )
        return batch

    def apply(self, batch: Batch, result: GuardResult) -> list[int]:
        """Count a guard's decisions, mark flagged requests, settle rejected ones.

        Returns:
            Positions of the rejected requests.
        """
        self._tell(self._observer.guard_decisions, result)
        position = request_of_rows(batch.rows)
        rejected: list[int] = []
        for row, action, reason in result.rows:
            at = int(position[row])
            item = batch.items[at]
            item.decided(result.guard, row - int(position.searchsorted(at)), action, reason)
            if action == Action.REJECT:
                error = GuardRejected(f"rejected by guard '{result.guard}': {reason}")
                error.batched = batch.ended > 0  # else it was never sent
                settle(item, error)
                if at not in rejected:
                    rejected.append(at)
            elif action == Action.FLAG and result.guard not in item.flags:
                item.flags.append(result.guard)
        return rejected
