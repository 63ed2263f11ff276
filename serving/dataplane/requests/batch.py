"""Joining requests into one batch and cutting its result apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serving.dataplane.requests.pending import Pending
from serving.telemetry.trace_context import SpanIds


class Batch:
    """Requests that go to a replica together, in order.

    Attributes:
        formed, ended: when, in monotonic seconds; 0 before its answer has come.
        alone: whether its replica had nothing else to do.
        span: the step of a trace in which it is computed, where somebody else's server is told of
            it; a batch that no traced request is in has none.
        traceparent: what that server is told; empty where it is told nothing.
    """

    __slots__ = (
        "_arrays", "alone", "ended", "formed", "items", "names", "rows", "span", "total",
        "traceparent",
    )  # fmt: skip

    def __init__(self, names: tuple[str, ...], items: list[Pending], formed: float) -> None:
        self.names = names
        self.items = items
        self.formed = formed
        self.ended = 0.0
        # A list first: a generator would be resumed for every request.
        self.rows = tuple([item.bound.rows for item in items])
        self.total = sum(self.rows)
        self.alone = False
        self.span: SpanIds | None = None
        self.traceparent = b""
        self._arrays: tuple[np.ndarray, ...] | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All rows of every input; joined when first asked for."""
        if self._arrays is None:
            self._arrays = join(self.items) if self.items else ()
        return self._arrays

    def parts(self) -> list[tuple[np.ndarray, ...]] | None:
        """Return each input's arrays, one per request, while nobody has asked for them joined."""
        if self._arrays is not None or len(self.items) == 1:
            return None
        return list(zip(*[item.bound.arrays for item in self.items], strict=True))

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the joined arrays by input name."""
        return dict(zip(self.names, self.arrays, strict=True))

    def without(self, rejected: Sequence[int]) -> Batch:
        """Return the batch of the requests whose positions are not in `rejected`."""
        drop = set(rejected)
        kept = [item for index, item in enumerate(self.items) if index not in drop]
        return Batch(self.names, kept, self.formed)


def join(items: Sequence[Pending]) -> tuple[np.ndarray, ...]:
    """Concatenate the arrays of compatible requests along the row axis."""
    if len(items) == 1:
        return items[0].bound.arrays
    return tuple(
        np.concatenate(parts) for parts in zip(*[item.bound.arrays for item in items], strict=True)
    )


def split(outputs: Mapping[str, np.ndarray], rows: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Cut outputs into one dictionary of views per request; the inverse of `join`."""
    if len(rows) == 1:
        return [dict(outputs)]
    named = list(outputs.items())
    parts = []
    start = 0
    if len(named) == 1:  # nearly every model: no loop within the loop
        [(only, array)] = named
        for count in rows:
            stop = start + count
            parts.append({only: array[start:stop]})
            start = stop
        return parts
    for count in rows:
        stop = start + count
        parts.append({name: array[start:stop] for name, array in named})
        start = stop
    return parts
