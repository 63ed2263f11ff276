"""Publishes what a model answered to the monitor."""

from __future__ import annotations

import numpy as np

from serving.dataplane.hooks.columns import Columns, inputs_of, outputs_of
from serving.dataplane.hooks.publisher import EventPublisher
from serving.dataplane.hooks.records import BatchDone, RequestDone


class Events:
    """Gives a publisher every answer of one model version that no guard took back.

    Args:
        publisher: sends them.
        inputs: whether a monitor has a use for inputs, as drift has.
    """

    def __init__(self, publisher: EventPublisher, *, inputs: bool) -> None:
        self._publisher = publisher
        self._inputs = inputs

    def batch_done(self, done: BatchDone) -> None:
        """Publish the requests that have outputs, by the version that gave them."""
        if not done.output_rows:
            return
        # Rows that were sent together have one; only a batch that was bisected may have several.
        by_version: dict[str, list[RequestDone]] = {}
        for request in done.requests:
            if request.failure is None:
                of_it = by_version.get(request.upstream)
                if of_it is None:
                    by_version[request.upstream] = [request]
                else:
                    of_it.append(request)
        for upstream, requests in by_version.items():
            self._publish(done, requests, upstream)

    def _publish(self, done: BatchDone, requests: list[RequestDone], upstream: str) -> None:
        ids, rows, sensitive = [], [], False
        for request in requests:
            bound = request.bound
            ids.append(request.client_id)
            rows.append(bound.rows)
            if bound.sensitive:
                sensitive = True
        total = sum(rows)
        inputs: Columns = {}
        if self._inputs:
            inputs = done.inputs() if total == done.rows else inputs_of(done, requests)
        self._publisher.publish(
            done.model,
            done.version,
            done.time,
            ids,
            rows,
            inputs,
            done.outputs if total == done.output_rows else outputs_of(done, requests),
            _sensitive(requests, total) if sensitive else None,
            upstream,
        )


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
