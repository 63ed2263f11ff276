"""What gateways and replicas say to each other: one batch there, one result back."""

from __future__ import annotations

import msgspec


class BatchMeta(msgspec.Struct, array_like=True, frozen=True):
    """Meta of an `infer` message. Its tensors are the model's inputs, all requests' rows joined.

    Attributes:
        rows: rows of each request, in order.
    """

    rows: tuple[int, ...]


class GuardResult(msgspec.Struct, array_like=True, frozen=True):
    """What one model guard decided: only rows that did not pass are listed.

    Attributes:
        guard: the guard's name.
        rows: (row in the batch, `guards.decisions.Action`, public reason).
    """

    guard: str
    rows: tuple[tuple[int, int, str], ...]


class ResultMeta(msgspec.Struct, array_like=True, frozen=True):
    """Meta of the reply. Its tensors are the outputs of the requests that did not fail.

    Attributes:
        failed: message by position of the request in the batch.
        guards: decisions of the model guards; rows count over the whole batch.
        compute_ns: time in the model, nanoseconds.
        guard_ns: time in the guards, nanoseconds.
    """

    failed: dict[int, str]
    guards: tuple[GuardResult, ...]
    compute_ns: int
    guard_ns: int
