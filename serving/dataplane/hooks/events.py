"""Publishes what became of a model's requests to the monitor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.channel.messages.observation import ANSWERED, ASKED, FAILED, REFUSED
from serving.dataplane.hooks.columns import Columns, inputs_of, outputs_of, scores_of
from serving.dataplane.hooks.event_batches import (
    EventBatch,
    EventKey,
    log_columns,
    refused_batch,
    some_of,
)
from serving.dataplane.hooks.guarded_rows import GuardedRows
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.records import BatchDone, RequestDone, RequestRefused
from serving.models.logged import Tensors


class Events:
    """Gives a publisher what became of the requests of one model version.

    Monitors judge answers that no guard took back; the prediction log has all requests.

    Args:
        key: model, version and revision.
        publisher: sends them.
        inputs: those that somebody has a use for, as drift has.
        outputs: the same of outputs.
        logged: whether the model is logged.
        kept: inputs that its log keeps; None where it keeps no values, of scores neither.
        guards: whose rates somebody watches.
    """

    def __init__(
        self,
        key: tuple[str, str, str],
        publisher: EventPublisher,
        *,
        inputs: Tensors,
        outputs: Tensors = True,
        logged: bool = False,
        kept: Tensors | None = None,
        guards: Sequence[str] = (),
    ) -> None:
        model, version, revision = key
        self._publisher = publisher
        self._inputs, self._outputs = inputs, outputs
        self._logged, self._kept = logged, kept
        self._guarded = GuardedRows(guards)
        self._answered = EventKey(model, version, revision)
        self._asked = self._answered._replace(kind=ASKED)
        self._failed = self._answered._replace(kind=FAILED)
        self._refused = self._answered._replace(kind=REFUSED)

    def batch_done(self, done: BatchDone) -> None:
        """Publish the requests of a batch, those with outputs by the version that gave them."""
        if done.observed and done.rows and not done.output_rows:
            if self._inputs or self._logged:
                self._publish(self._asked, done, list(done.requests))
            return
        # Rows that were sent together have one; only a batch that was bisected may have several.
        by_version: dict[str, list[RequestDone]] = {}
        failed: list[RequestDone] = []
        for request in done.requests:
            if request.failure is not None:
                failed.append(request)
                continue
            of_it = by_version.get(request.upstream)
            if of_it is None:
                by_version[request.upstream] = [request]
            else:
                of_it.append(request)
        for upstream, requests in by_version.items():
            key = self._answered._replace(upstream=upstream) if upstream else self._answered
            self._publish(key, done, requests)
        if failed and (self._logged or self._guarded):
            self._publish(self._failed, done, failed)

    def request_refused(self, refused: RequestRefused) -> None:
        """Publish a request that no batch has answered, with its inputs where they are known."""
        batch = refused_batch(refused, self._kept)
        # Others that were refused were not judged by any guard.
        if self._guarded and (refused.decisions or refused.scores):
            batch.guards = self._guarded.became([refused.rows], [refused.decisions], refused.scores)
        if not self._logged:
            if not batch.guards:
                return
            batch.log = None
        if self._kept is None:
            self._publisher.publish(self._refused, batch)
            return
        key = self._refused
        if batch.inputs:  # what has other inputs cannot share a message
            key = key._replace(inputs=tuple(batch.inputs))
        self._publisher.publish(key, batch)

    def _publish(self, key: EventKey, done: BatchDone, requests: list[RequestDone]) -> None:
        ids, rows, sensitive = [], [], False
        for request in requests:
            bound = request.bound
            ids.append(request.client_id)
            rows.append(bound.rows)
            if bound.sensitive:
                sensitive = True
        total = sum(rows)
        if not total and not self._logged:
            return
        inputs: Columns = {}
        if self._inputs:
            inputs = done.inputs() if total == done.rows else inputs_of(done, requests)
            if isinstance(self._inputs, frozenset):
                inputs = some_of(inputs, self._inputs)
        outputs: Columns = {}
        if self._outputs and key.kind is ANSWERED:
            outputs = done.outputs if total == done.output_rows else outputs_of(done, requests)
            if isinstance(self._outputs, frozenset):
                outputs = some_of(outputs, self._outputs)
        log = scores = became = None
        if done.scores and (self._kept is not None or self._guarded):
            scores = done.scores if total == done.rows else scores_of(done, requests)
        if self._guarded and not done.observed:
            became = self._guarded.became(rows, [each.decisions for each in requests], scores)
        if self._logged:
            log = log_columns(done.id, done.compute_ns, done.guards_ns, done.answered, requests)
        if not self._logged or self._kept is None:
            scores = None
        given = _sensitive(requests, total) if sensitive else None
        batch = EventBatch(done.time, ids, rows, inputs, outputs, given, log, scores, guards=became)
        self._publisher.publish(key, batch)


def _sensitive(requests: list[RequestDone], total: int) -> dict[str, np.ndarray]:
    """Join the requests' sensitive values; rows of requests that gave none hold None."""
    given = [request.bound.sensitive or {} for request in requests]
    joined = {}
    for name in {name for values in given for name in values}:
        column = np.full(total, None, dtype=np.object_)
        start = 0
        for request, values in zip(requests, given, strict=True):
            stop = start + request.bound.rows
            if name in values:
                column[start:stop] = values[name]
            start = stop
        joined[name] = column
    return joined
