"""Makes the records of one model version, each once, and gives them to its hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np

from serving.channel.messages.inference import BatchResult, GuardResult
from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.hooks.event_counters import EventCounters
from serving.dataplane.hooks.failures import failure_of, outcome_of
from serving.dataplane.hooks.guard_scores import (
    Scores,
    add_gateway_scores,
    model_scores,
    note_scores_of_parts,
)
from serving.dataplane.hooks.hook import BatchHook, RefusalHook
from serving.dataplane.hooks.record_ids import new_record_id
from serving.dataplane.hooks.records import BatchDone, RequestDone, RequestRefused
from serving.dataplane.requests.batch import Batch
from serving.dataplane.requests.bound import Bound, Fitting
from serving.dataplane.requests.decisions import RowDecision
from serving.dataplane.requests.pending import Pending, Whole
from serving.dataplane.requests.rejections import gone
from serving.dataplane.requests.splitting import finished
from serving.errors import VigilError
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.outcomes import ABOUT_INPUTS, OUTCOME_ABANDONED, OUTCOME_OK


class Recorder:
    """Is told by a model's queue and the data plane what happened, and tells the hooks.

    A hook that raises keeps neither the others nor the request from anything.

    Args:
        key: model, version and revision.
        counters: of single events.
        batch_hooks: told of every batch, in this order.
        refusal_hooks: told of every request that no batch has answered, in this order.
        input_names: in the order of the arrays of each request.
        logged: whether somebody has a use for inputs of requests that no batch has answered.
    """

    def __init__(
        self,
        key: tuple[str, str, str],
        counters: EventCounters,
        batch_hooks: tuple[BatchHook, ...],
        refusal_hooks: tuple[RefusalHook, ...],
        input_names: tuple[str, ...] = (),
        *,
        logged: bool = False,
    ) -> None:
        self._input_names = input_names
        self._logged = logged
        self._model, self._version, self._revision = key
        self._counters = counters
        self.batch_hooks = batch_hooks
        self.refusal_hooks = refusal_hooks
        self._scored_here = False
        """Whether a guard of the gateway has given a score yet."""

    # -- single events ------------------------------------------------------------------

    def guards_judged(self, results: tuple[GuardResult, ...]) -> None:
        """The gateway's guards have looked at a batch."""
        if not self._scored_here:
            for result in results:
                if result.scores:
                    self._scored_here = True
        self._counters.guards.judged(results)

    def retried(self, requests: int) -> None:
        """Requests of a lost replica go to another one."""
        self._counters.retried(requests)

    def deadly(self) -> None:
        """A request is answered 500 because computing it ends replicas."""
        self._counters.deadly()

    def abandoned(self, reason: str, rows: int) -> None:
        """Rows waited and are not computed because nobody wants the answer any more."""
        self._counters.abandoned(reason, rows)

    # -- batches ------------------------------------------------------------------------

    def answered(self, batch: Batch, result: BatchResult, now: float) -> None:
        """Record a batch whose requests all have their answers since `now` (monotonic seconds)."""
        requests, failures, output_rows = _requests(batch.items, batch.formed, result.meta.failed)
        parts = len(requests) < len(batch.items)
        contexts: Sequence[RequestContext] = ()
        if parts:
            of_parts = [item for item in batch.items if item.whole is not None]
            contexts = [item.context for item in of_parts]
            for item in of_parts:
                if item.whole is not None and item.whole.begins_with(item):
                    item.whole.formed = batch.formed
        meta = result.meta
        scores: dict[str, np.ndarray] = {}
        if meta.guards:
            self._counters.guards.judged(meta.guards)
        if meta.guards or self._scored_here:
            scores = model_scores(batch, meta.guards, meta.failed)
            if parts:
                note_scores_of_parts(batch.items, scores)
            if self._scored_here:
                add_gateway_scores(scores, batch)
        self._batch_done(
            batch, now, meta.compute_ns, meta.guard_ns, output_rows, requests, failures,
            result.outputs, scores or None, contexts=contexts,
        )  # fmt: skip
        if parts:
            for whole in finished(batch.items):
                self._split_done(whole, batch, now, meta.compute_ns, meta.guard_ns)

    def _split_done(
        self, whole: Whole, batch: Batch, now: float, compute_ns: int, guards_ns: int
    ) -> None:
        """Record a request whose last part is answered, or a part of which has failed."""
        item = whole.item
        one = Batch(batch.names, [item], batch.formed)
        one.ended = batch.ended
        answered = item.future.exception() is None
        # A later part may fail while the first one is still computed.
        formed = whole.formed or batch.formed
        requests, failures, output_rows = _requests([item], formed, () if answered else (0,))
        outputs = whole.outputs() if answered else {}
        self._batch_done(
            one, now, compute_ns, guards_ns, output_rows, requests, failures, outputs, item.scores,
            split=True,
        )  # fmt: skip

    def answered_at_once(
        self, item: Pending, input_names: tuple[str, ...], outputs: Mapping[str, np.ndarray]
    ) -> None:
        """Record a request without rows, which no replica computes."""
        now = time.monotonic()
        batch = Batch(input_names, [item], now)
        batch.ended = now
        requests, failures, _none = _requests([item], now, ())
        self._batch_done(batch, now, 0, 0, 0, requests, failures, outputs)

    def _batch_done(
        self,
        batch: Batch,
        now: float,
        compute_ns: int,
        guards_ns: int,
        output_rows: int,
        requests: list[RequestDone],
        failures: int,
        outputs: Mapping[str, np.ndarray],
        scores: Scores | None = None,
        *,
        split: bool = False,
        contexts: Sequence[RequestContext] = (),
    ) -> None:
        rest_ns = int((batch.ended - batch.formed) * 1e9) - compute_ns - guards_ns
        done = BatchDone(
            new_record_id(), self._model, self._version, self._revision, time.time(),
            batch.formed, batch.ended, now, compute_ns, guards_ns, max(0, rest_ns), batch.total,
            output_rows, requests, failures, batch.names, batch.inputs, outputs, split,
            contexts, batch.span, False, scores,
        )  # fmt: skip
        self._tell(done)

    def observed(
        self,
        client_id: str,
        bound: Bound,
        input_names: tuple[str, ...],
        outputs: Mapping[str, np.ndarray],
        *,
        when: float,
        took_s: float = 0.0,
        upstream: str = "",
    ) -> None:
        """Record a request that somebody else answered.

        Args:
            client_id: as in `RequestDone`.
            bound: its arrays, checked against the model.
            input_names: in their order.
            outputs: all that the model has, or none where nobody knows the answer.
            when: it was answered, in seconds since the epoch.
            took_s: seconds until then; 0: unknown.
            upstream: as in `RequestDone`.
        """
        now = time.monotonic()
        rows, known = bound.rows, bool(outputs)
        request = RequestDone(
            client_id, bound, now - took_s, 0.0, 0, 0 if known else -1, OUTCOME_OK, None, False,
            (), (), upstream, NO_CONTEXT,
        )  # fmt: skip
        inputs = dict(zip(input_names, bound.arrays, strict=True))
        done = BatchDone(
            new_record_id(), self._model, self._version, self._revision, when, now, now, now,
            0, 0, 0, rows, rows if known else 0, [request], 0, input_names, lambda: inputs,
            outputs, observed=True,
        )  # fmt: skip
        self._tell(done)

    def _tell(self, done: BatchDone) -> None:
        for hook in self.batch_hooks:
            try:
                hook.batch_done(done)
            except Exception as error:  # noqa: BLE001 - the other hooks are told all the same
                self._hook_failed(hook, error)

    # -- requests -----------------------------------------------------------------------

    def failed(self, item: Pending, error: VigilError, waited_s: float) -> None:
        """Record an admitted request that is answered with `error`, unless its batch's record does.

        Args:
            item: the request.
            error: what its future holds.
            waited_s: seconds since its arrival.
        """
        if error.batched:
            return
        self.refused(
            error, waited_s, item.id, item.context, item.bound.rows, tuple(item.decisions or ()),
            item.arm, partial(self._all_of, item.bound), item.scores,
        )  # fmt: skip

    def _all_of(self, bound: Bound) -> Fitting:
        inputs = dict(zip(self._input_names, bound.arrays, strict=False))
        return Fitting(bound.rows, inputs, bound.sensitive)

    def given_up(self, item: Pending, waited_s: float) -> None:
        """Record an admitted request that its client gave up, unless it has been answered."""
        future = item.future
        if not future.done() or future.cancelled():
            self.failed(item, gone(), waited_s)
        elif isinstance(error := future.exception(), VigilError):  # of which nobody was told
            self.failed(item, error, waited_s)

    def refused(
        self,
        error: VigilError,
        waited_s: float,
        client_id: str = "",
        context: RequestContext = NO_CONTEXT,
        rows: int = 0,
        decisions: tuple[RowDecision, ...] = (),
        arm: str = "",
        fitting: Callable[[], Fitting | None] | None = None,
        scores: Scores | None = None,
    ) -> None:
        """Record a request that no batch has answered; the arguments are its record's.

        Args:
            fitting: tells what of it fits the model; asked where its inputs may be the reason and
                somebody wants to know. What it raises is logged.
        """
        known = None if fitting is None else self._fitting(error, fitting)
        refused = RequestRefused(
            new_record_id(), self._model, self._version, self._revision, arm, time.time(),
            client_id, failure_of(error), waited_s, known.rows if known else rows, decisions,
            context, known, scores,
        )  # fmt: skip
        error.logged = True  # by the hooks, if it is worth a line
        for hook in self.refusal_hooks:
            try:
                hook.request_refused(refused)
            except Exception as raised:  # noqa: BLE001 - as above
                self._hook_failed(hook, raised)

    def _fitting(self, error: VigilError, fitting: Callable[[], Fitting | None]) -> Fitting | None:
        if not self._logged or outcome_of(error) not in ABOUT_INPUTS:
            return None
        try:
            return fitting()
        except Exception as raised:  # noqa: BLE001 - its client is told of `error` all the same
            self._report("what fits the model of a request that was refused is not known", raised)
            return None

    def _hook_failed(self, hook: object, error: Exception) -> None:
        said = f"{type(hook).__name__} could not take in the record of a batch or a request"
        self._report(said, error)

    def _report(self, said: str, error: Exception) -> None:
        report(
            Event.OBSERVATION_FAILED,
            said,
            model=self._model,
            version=self._version,
            error=error,
        )


def _requests(
    items: Sequence[Pending], formed: float, failed: Collection[int]
) -> tuple[list[RequestDone], int, int]:
    """Return the records of the requests in a batch that is done.

    It is one loop over all of them: a call for each would cost more than what it does.

    Args:
        items: requests in order; parts of larger ones have no records here.
        formed: when the first batch of each left the queue, in monotonic seconds.
        failed: positions of those that have no outputs.

    Returns:
        The records, how many of them have a failure, and the rows of outputs.
    """
    requests: list[RequestDone] = []
    row = output_row = failures = 0
    for position, item in enumerate(items):
        bound = item.bound
        has_outputs = not failed or position not in failed
        if item.whole is None:
            future = item.future
            failure = None
            outcome, refused = OUTCOME_OK, False
            if future.cancelled():
                outcome, refused = OUTCOME_ABANDONED, True
            elif (error := future.exception()) is not None:
                outcome, refused = outcome_of(error), True
                if isinstance(error, VigilError) and error.batched:
                    failure, refused = failure_of(error), False
                    failures += 1
            said, decisions = item.response_parameters, item.decisions
            requests.append(
                RequestDone(
                    item.id, bound, item.enqueued, formed - item.enqueued, row,
                    output_row if has_outputs else -1, outcome, failure, refused,
                    () if decisions is None else tuple(decisions), item.flags,
                    "" if said is None else said.version, item.context, item.arm,
                )
            )  # fmt: skip
        row += bound.rows
        if has_outputs:
            output_row += bound.rows
    return requests, failures, output_row
