"""Records as the data plane makes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.dataplane.context import NO_CONTEXT, RequestContext
from serving.dataplane.hooks.records import BatchDone, Failure, RequestDone, RequestRefused
from serving.dataplane.requests.bound import Bound
from serving.telemetry.outcomes import OUTCOME_OK, OUTCOME_OVERLOADED

REFUSED = Failure("QueueFull", OUTCOME_OVERLOADED, 503, "the queue is full")


@pytest.fixture(scope="session")
def make_request() -> Callable[..., RequestDone]:
    """Make the record of a request; its rows are an input `x` [rows, 2]."""

    def make(ident: str = "r0", x: Any = ((0.0, 0.0),), **more: Any) -> RequestDone:
        array = np.asarray(x, np.float32)
        sensitive = more.pop("sensitive", None)
        fields: dict[str, Any] = {
            "client_id": ident,
            "bound": Bound((array,), len(array), (array.shape[1:],), (), sensitive),
            "arrived": time.monotonic() - 0.5,
            "queue_s": 0.3,
            "row": 0,
            "output_row": 0,
            "outcome": OUTCOME_OK,
            "failure": None,
            "refused": False,
            "decisions": (),
            "flags": (),
            "upstream": "",
            "context": NO_CONTEXT,
        }
        return RequestDone(**{**fields, **more})

    return make


@pytest.fixture(scope="session")
def make_done() -> Callable[..., BatchDone]:
    """Make the record of a batch of requests, which stand in their order; its output is `y`."""

    def make(*requests: RequestDone, **more: Any) -> BatchDone:
        now = time.monotonic()
        joined = {"x": np.concatenate([request.bound.arrays[0] for request in requests])}
        kept = [r.bound.arrays[0] for r in requests if r.output_row >= 0]
        outputs = {"y": np.concatenate(kept) * 2} if kept else {}
        fields: dict[str, Any] = {
            "id": bytes(16),
            "model": "m",
            "version": "1",
            "revision": "r",
            "time": time.time(),
            "formed": now - 0.2,
            "ended": now - 0.001,
            "answered": now,
            "compute_ns": 1000,
            "guards_ns": 500,
            "rest_ns": 10**9,
            "rows": len(joined["x"]),
            "output_rows": sum(map(len, kept)),
            "requests": requests,
            "failures": sum(request.failure is not None for request in requests),
            "input_names": ("x",),
            "inputs": lambda: joined,
            "outputs": outputs,
        }
        return BatchDone(**{**fields, **more})

    return make


@pytest.fixture(scope="session")
def make_refused() -> Callable[..., RequestRefused]:
    def make(
        failure: Failure = REFUSED,
        waited_s: float = 0.25,
        ident: str = "r",
        context: RequestContext = NO_CONTEXT,
        **more: Any,
    ) -> RequestRefused:
        return RequestRefused(
            bytes(16), "m", "1", "r", "", time.time(), ident, failure, waited_s, 1, (), context,
            **more,
        )  # fmt: skip

    return make
