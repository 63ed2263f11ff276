"""Rows of chosen requests out of the columns of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.dataplane.hooks.records import BatchDone, RequestDone

Columns = Mapping[str, np.ndarray]


def outputs_of(done: BatchDone, requests: Sequence[RequestDone]) -> Columns:
    """Return the outputs of some requests that have any, in order; a copy unless of all rows."""
    rows = [request.bound.rows for request in requests]
    if sum(rows) == done.output_rows:
        return done.outputs
    return _taken(done.outputs, [request.output_row for request in requests], rows)


def inputs_of(done: BatchDone, requests: Sequence[RequestDone]) -> Columns:
    """Return the inputs of some requests, in order; a copy unless of all rows."""
    rows = [request.bound.rows for request in requests]
    if sum(rows) == done.rows:
        return done.inputs()
    return _taken(done.inputs(), [request.row for request in requests], rows)


def _taken(columns: Columns, starts: Sequence[int], rows: Sequence[int]) -> Columns:
    at = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, rows, strict=True)])
    return {name: array[at] for name, array in columns.items()}
