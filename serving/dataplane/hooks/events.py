"""Publishes what a model answered to the monitor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.dataplane.hooks.columns import inputs_of, outputs_of
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
        kept = done.requests
        if done.failures:
            kept = [request for request in kept if request.failure is None]
        if not kept:
            return
        # Rows that were sent together have one; only a batch that was bisected may have several.
        versions = dict.fromkeys([request.upstream for request in kept])
        for version in versions:
            of_it = kept
            if len(versions) > 1:
                of_it = [request for request in kept if request.upstream == version]
            self._publish(done, of_it, version)

    def _publish(self, done: BatchDone, requests: Sequence[RequestDone], upstream: str) -> None:
        self._publisher.publish(
            done.model,
            done.version,
            done.time,
            [request.client_id for request in requests],
            [request.bound.rows for request in requests],
            inputs_of(done, requests) if self._inputs else {},
            outputs_of(done, requests),
            _sensitive(requests),
            upstream,
        )


def _sensitive(requests: Sequence[RequestDone]) -> dict[str, np.ndarray] | None:
    """Join the requests' sensitive values; rows of requests that gave none hold None."""
    given = [request.bound.sensitive for request in requests if request.bound.sensitive]
    if not given:
        return None
    total = sum([request.bound.rows for request in requests])
    joined = {}
    for name in {name for values in given for name in values}:
        column = np.full(total, None, dtype=np.object_)
        start = 0
        for request in requests:
            stop = start + request.bound.rows
            values = (request.bound.sensitive or {}).get(name)
            if values is not None:
                column[start:stop] = values
            start = stop
        joined[name] = column
    return joined
