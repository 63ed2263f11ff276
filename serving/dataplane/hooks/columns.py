"""Rows of chosen requests out of the columns of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.dataplane.hooks.records import BatchDone, RequestDone

Columns = Mapping[str, np.ndarray]


def outputs_of(done: BatchDone, requests: Sequence[RequestDone]) -> Columns:
    """Return the outputs of some requests that have any, in order; a copy."""
    return _taken(done.outputs, requests, [request.output_row for request in requests])


def inputs_of(done: BatchDone, requests: Sequence[RequestDone]) -> Columns:
    """Return the inputs of some requests, in order; a copy."""
    return _taken(done.inputs(), requests, [request.row for request in requests])


def scores_of(done: BatchDone, requests: Sequence[RequestDone]) -> Columns | None:
    """Return what guards scored the rows of some requests, in order; a copy. None: nothing."""
    if done.scores is None:
        return None
    return _taken(done.scores, requests, [request.row for request in requests])


def _taken(columns: Columns, requests: Sequence[RequestDone], starts: Sequence[int]) -> Columns:
    spans = [
        np.arange(start, start + request.bound.rows)
        for start, request in zip(starts, requests, strict=True)
    ]
    at = np.concatenate(spans)
    return {name: array[at] for name, array in columns.items()}
