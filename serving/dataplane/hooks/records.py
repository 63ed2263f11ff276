"""What happened, as values: one record per batch, and one per request that no batch has answered.

Every request of a served version leads to exactly one of two things: a `RequestDone` in the
record of the batch that answered it, or a `RequestRefused`. Structs stay interpreted. What there is
one of for each request holds nothing that knows it, so the garbage collector need not look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from serving.dataplane.context import RequestContext
from serving.dataplane.requests.bound import Bound, Fitting
from serving.dataplane.requests.decisions import RowDecision
from serving.telemetry.logs.causes import Cause
from serving.telemetry.trace_context import SpanIds


class Failure(msgspec.Struct, frozen=True, gc=False):
    """An error that a client was answered with.

    Attributes:
        kind: class of the domain's error, as in `serving/errors.py`.
        outcome: what it counts as, one of `telemetry/outcomes.py`.
        status: as HTTP tells it.
        message: what the client was told; it may quote the client's values.
        cause: what the log may tell instead, where others raised.
        logged: whether the log has a line about it already.
    """

    kind: str
    outcome: str
    status: int
    message: str
    cause: Cause | None = None
    logged: bool = False


class RequestDone(msgspec.Struct, frozen=True, gc=False):
    """One request of a batch that is done.

    Attributes:
        client_id: the client's id of the request, or the one that it was given.
        bound: its arrays, rows and sensitive values.
        arrived: monotonic seconds.
        queue_s: seconds from its arrival until its (first) batch was formed.
        row: its first row in the batch; row i of it has the id (`BatchDone.id`, row + i).
        output_row: its first row in the batch's outputs; -1 where there are none.
        outcome: one of `telemetry/outcomes.py`.
        failure: what this batch answered it with; None where that was outputs.
        refused: whether a `RequestRefused` tells how it ended: its deadline passed, or its client
            left, before the result came. Then it is not counted here.
        decisions: of any guard.
        flags: guards that flagged it.
        upstream: version that another server gave the answer; empty where it is the served one.
        context: what it came with: who asked, and the client's trace.
        arm: of the traffic split that chose the version for it; empty where none did.
    """

    client_id: str
    bound: Bound
    arrived: float
    queue_s: float
    row: int
    output_row: int
    outcome: str
    failure: Failure | None
    refused: bool
    decisions: Sequence[RowDecision]
    flags: Sequence[str]
    upstream: str
    context: RequestContext
    arm: str = ""


class BatchDone(msgspec.Struct, frozen=True):
    """A batch that came back, or a request that was answered by itself.

    A request that was split over several batches has a record of its own, `split`, once its last
    part is answered. So has one without rows, which no replica computes: its `rows` are 0.

    Attributes:
        id: 16 bytes, a UUIDv7.
        model, version, revision: what answered, as it is served.
        time: seconds since the epoch, once the answers were on their way.
        formed, ended, answered: when it left the queue, its result was there, and its answers were
            on their way; monotonic seconds.
        compute_ns, guards_ns: in the model and in its guards, as the replica measured them.
        rest_ns: neither: joining, the ways there and back, waiting at the replica. `formed` and
            all that follows from it are those of the last part where a request was split.
        rows: all that were sent.
        output_rows: those of requests that did not fail.
        requests: in order, without parts of larger requests.
        failures: how many of them have a `failure`.
        input_names: in the order of the arrays of each request.
        inputs: returns the inputs of all rows by name; they are joined when first asked for.
        outputs: by name, of the requests that did not fail.
        split: whether this is a request that was computed in parts.
        parts: the contexts of the larger requests of which it computed a part.
        span: of the computation, where another server was told of it.
        observed: whether somebody else answered its requests, of which copies came: nothing is
            known of their time in a queue or in the model.
        scores: of guards, float32 [rows] by guard, NaN in rows that one has not judged; None where
            no guard gave any.
    """

    id: bytes
    model: str
    version: str
    revision: str
    time: float
    formed: float
    ended: float
    answered: float
    compute_ns: int
    guards_ns: int
    rest_ns: int
    rows: int
    output_rows: int
    requests: Sequence[RequestDone]
    failures: int
    input_names: tuple[str, ...]
    inputs: Callable[[], Mapping[str, np.ndarray]]
    outputs: Mapping[str, np.ndarray]
    split: bool = False
    parts: Sequence[RequestContext] = ()
    span: SpanIds | None = None
    observed: bool = False
    scores: Mapping[str, np.ndarray] | None = None


class RequestRefused(msgspec.Struct, frozen=True):
    """A request that no batch has answered: refused, lost, too late, or given up by its client.

    Attributes:
        id: 16 bytes, a UUIDv7.
        model, version, revision: as in `BatchDone`.
        arm: as in `RequestDone`.
        time: seconds since the epoch.
        client_id: as in `RequestDone`; empty where the request was not read.
        failure: what its client was told, or would have been.
        waited_s: seconds since its arrival.
        rows: 0 where nobody knows.
        decisions: of any guard.
        context: as in `RequestDone`.
        fitting: what of it fits the model, where its inputs may be the reason.
        scores: of guards of the gateway, float32 [rows] by guard; None where none gave any.
    """

    id: bytes
    model: str
    version: str
    revision: str
    arm: str
    time: float
    client_id: str
    failure: Failure
    waited_s: float
    rows: int
    decisions: Sequence[RowDecision]
    context: RequestContext
    fitting: Fitting | None = None
    scores: Mapping[str, np.ndarray] | None = None
