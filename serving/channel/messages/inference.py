"""What gateways and replicas say to each other: one batch there, one result back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from serving.telemetry.logs.causes import Cause


class BatchMeta(msgspec.Struct, array_like=True, frozen=True):
    """Meta of an `infer` message. Its tensors are the model's inputs, all requests' rows joined.

    Attributes:
        rows: rows of each request, in order.
        forward: an encoded `Passthrough` that all of them share, for models on other servers; empty
            when there is nothing to pass on; `PROBE` asks whether the model could be used.
        traceparent: W3C trace context for another server; empty without one.
    """

    rows: tuple[int, ...]
    forward: bytes = b""
    traceparent: bytes = b""


class Passthrough(msgspec.Struct, array_like=True, frozen=True):
    """What a model on another server is told beside the tensors.

    Attributes:
        parameters: the request's, without those that are for this server.
        inputs: those of its inputs, by input name.
        credential: the header `authorization` of whoever asks; empty: none is passed on.
    """

    parameters: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    credential: str = ""


PROBE: Final = b"probe"
"""In place of an encoded `Passthrough`: compute nothing, say whether the model is there."""


FLOAT32: Final = np.dtype("<f4")
"""How the scores of guards travel."""


class GuardResult(msgspec.Struct, array_like=True, frozen=True):
    """What became of one guard on a batch: only rows that did not pass are listed.

    Attributes:
        guard: the guard's name.
        rows: (row in the batch, `guards.decisions.Action`, public reason).
        nanoseconds: how long it took; 0 where it was skipped.
        failure: one of `guards.runner.REASONS`; empty where it judged in time.
        scores: float32, one per row that it judged, as bytes; see `guards.decisions.Decisions`.
    """

    guard: str
    rows: tuple[tuple[int, int, str], ...]
    nanoseconds: int = 0
    failure: str = ""
    scores: bytes = b""


class ResponseParameters(msgspec.Struct, array_like=True, frozen=True):
    """What a model on another server said beside the tensors.

    Attributes:
        parameters: the answer's.
        outputs: those of its outputs, by output name.
        version: of the model there; empty where it is the served one, or where none was told.
    """

    parameters: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    version: str = ""


class ResultMeta(msgspec.Struct, array_like=True, frozen=True):
    """Meta of the reply. Its tensors are the outputs of the requests that did not fail.

    Attributes:
        failed: message by position of the request in the batch.
        guards: what became of each guard of the model; rows count over the whole batch. Empty where
            no row was left for them.
        compute_ns: time in the model, nanoseconds.
        guard_ns: time in all guards, nanoseconds.
        kinds: name of the domain error by position, for those of `failed` that are no
            `ModelFailed`.
        response_parameters: by position of the request, for those that have some.
        causes: what the log may tell, by position, of those of `failed` that others raised.
    """

    failed: dict[int, str]
    guards: tuple[GuardResult, ...]
    compute_ns: int
    guard_ns: int
    kinds: dict[int, str] = {}
    response_parameters: dict[int, ResponseParameters] = {}
    causes: dict[int, Cause] = {}


class BatchResult(msgspec.Struct):
    """A replica's answer to a batch.

    Attributes:
        outputs: rows of the requests that did not fail, in order, by output name.
        meta: what became of the requests.
    """

    outputs: Mapping[str, np.ndarray]
    meta: ResultMeta
