"""The spans of requests and batches: names, parents, links, times, and what counts as an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import numpy as np
import pytest

from serving.channel.messages.directory import Directory, ServedModel
from serving.config import ModelConfig
from serving.dataplane.context import GRPC, GRPC_STREAM, HTTP, RequestContext
from serving.dataplane.endpoint import Ticket
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failures import failure_of
from serving.dataplane.hooks.records import BatchDone
from serving.dataplane.hooks.request_spans import RequestSpans, RequestTraces
from serving.dataplane.hooks.server_span import in_span
from serving.errors import (
    ClientGone,
    DeadlineExceeded,
    GuardRejected,
    InvalidInput,
    LoadFailed,
    ModelFailed,
    QueueFull,
    VigilError,
)
from serving.protocol.messages import InferRequest, Tensor
from serving.telemetry.sampling import Sampler
from serving.telemetry.span import Span
from serving.telemetry.trace_context import RequestSpan, SpanIds, parent_of

Make = Callable[..., Any]
Wait = Callable[[Callable[[], object]], Awaitable[None]]
SIGNATURE = [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in "xy"]
CONFIG = {"format": "torch_export", "inputs": SIGNATURE[:1], "outputs": SIGNATURE[1:]}
ROUTE = "/v2/models/{model_name}[/versions/{model_version}]/infer"
SERVER = f"POST {ROUTE}"
ROUNDING_NS = 10
"""Of seconds as floating point, on a machine that has been up for a year."""


def traceparent(trace: int, flags: int = 1) -> bytes:
    return f"00-{trace:032x}-{trace + 1:016x}-{flags:02x}".encode()


def context(trace: int, transport: str = HTTP) -> RequestContext:
    span = RequestSpan(trace, trace + 10, trace + 1, "/v2/models/m/infer")
    return RequestContext(transport=transport, span=span)


class Told:
    """The spans that a hook made."""

    def __init__(self, sampler: str = "parentbased_always_off", **changes: Any) -> None:
        self.spans: list[Span] = []
        self.traces = RequestTraces(Sampler(sampler, 1), self.spans.append)  # type: ignore[arg-type]
        config = ModelConfig.model_validate({**CONFIG, **changes})
        self.hook = RequestSpans("m", "1", config, self.traces)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        [found] = self.named(name)
        return found


def test_a_request_is_a_server_span_with_its_queue_batch_and_model(
    make_request: Make, make_done: Make
) -> None:
    told = Told()
    done: BatchDone = make_done(make_request(context=context(7), x=[[1, 2], [3, 4]]))
    told.hook.batch_done(done)
    server, queue, batch, model = map(told.one, (SERVER, "queue", "batch", "model"))
    assert (server.ids.span, server.ids.parent, server.remote) == (17, 8, True)
    assert server.kind == "server"
    assert server.attributes == {
        "http.request.method": "POST", "http.route": ROUTE, "url.path": "/v2/models/m/infer",
        "url.scheme": "http", "http.response.status_code": 200, "vigil.model": "m",
        "vigil.version": "1", "vigil.outcome": "ok", "vigil.request.id": "r0", "vigil.rows": 2,
    }  # fmt: skip
    assert {queue.ids.parent, batch.ids.parent} == {17}
    assert model.ids.parent == batch.ids.span
    assert {span.ids.trace for span in told.spans} == {7}
    assert len({span.ids.span for span in told.spans}) == 4
    assert batch.attributes == {
        "vigil.model": "m", "vigil.version": "1", "vigil.batch.rows": 2, "vigil.batch.requests": 1,
        "vigil.batch.padding": 0,
    }  # fmt: skip
    assert [link.span for link in batch.links] == [17]
    assert not any(span.failed for span in told.spans)
    # Times are those of the record, as times of day.
    [request] = done.requests
    assert server.end_ns - server.start_ns == pytest.approx(
        (done.answered - request.arrived) * 1e9, abs=1e4
    )
    assert queue.end_ns - queue.start_ns == pytest.approx(request.queue_s * 1e9, abs=1e4)
    assert batch.end_ns - batch.start_ns == pytest.approx((done.ended - done.formed) * 1e9, abs=1e4)
    assert model.end_ns - model.start_ns == done.compute_ns
    assert server.start_ns <= queue.start_ns <= queue.end_ns <= batch.start_ns
    assert batch.start_ns < model.start_ns < model.end_ns < batch.end_ns < server.end_ns
    assert abs(server.end_ns - time.time_ns()) < 60e9


def test_a_batch_is_linked_to_every_traced_request_and_they_to_it(
    make_request: Make, make_done: Make
) -> None:
    told = Told()
    told.hook.batch_done(
        make_done(
            make_request("a"),
            make_request("b", context=context(100)),
            make_request("c", context=context(200)),
        )
    )
    batch = told.one("batch")
    assert (batch.ids.trace, batch.ids.parent) == (100, 110)
    assert [(link.trace, link.span) for link in batch.links] == [(100, 110), (200, 210)]
    assert batch.attributes["vigil.batch.rows"] == 3
    by_trace = {span.ids.trace: span for span in told.named(SERVER)}
    assert set(by_trace) == {100, 200}
    assert by_trace[100].links == ()  # the batch is below it
    assert by_trace[200].links == (batch.ids,)


def test_a_batch_that_nobody_traces_has_no_spans(make_request: Make, make_done: Make) -> None:
    told = Told()
    told.hook.batch_done(make_done(make_request("a"), make_request("b")))
    assert told.spans == []


def test_padding_of_compiled_models(make_request: Make, make_done: Make) -> None:
    told = Told(compile="default", batching={"buckets": [2, 8]})
    told.hook.batch_done(make_done(make_request(context=context(7), x=[[0, 0]] * 5)))
    assert told.one("batch").attributes["vigil.batch.padding"] == 3


OUTCOMES = [
    (InvalidInput("x"), 400, "INVALID_ARGUMENT", False, False),
    (GuardRejected("x"), 422, "FAILED_PRECONDITION", False, False),
    (QueueFull("x"), 503, "UNAVAILABLE", True, True),
    (DeadlineExceeded("x"), 504, "DEADLINE_EXCEEDED", True, True),
    (ModelFailed("x"), 500, "INTERNAL", True, True),
    (LoadFailed("x"), 500, "INTERNAL", True, True),
    (ClientGone("x"), None, "CANCELLED", False, False),
]


@pytest.mark.parametrize(("error", "status", "code", "http", "grpc"), OUTCOMES)
@pytest.mark.parametrize("transport", [HTTP, GRPC, GRPC_STREAM, ""])
@pytest.mark.parametrize("refused", [True, False])
def test_what_counts_as_an_error(
    make_request: Make, make_done: Make, make_refused: Make, error: VigilError,
    status: int | None, code: str, http: bool, grpc: bool, transport: str, refused: bool,
) -> None:  # fmt: skip
    told = Told()
    failure = failure_of(error)
    if refused:
        told.hook.request_refused(make_refused(failure, context=context(7, transport)))
    else:
        failed = make_request(context=context(7, transport), failure=failure, output_row=-1)
        told.hook.batch_done(make_done(failed))
        assert told.one("batch").failed
        assert told.one("model").failed
    span = next(span for span in told.spans if span.ids.span == 17)
    is_error = grpc if transport in (GRPC, GRPC_STREAM) else http
    assert span.failed is is_error
    assert span.attributes.get("error.type") == (type(error).__name__ if is_error else None)
    assert span.attributes["vigil.outcome"] == failure.outcome
    assert span.kind == ("server" if transport else "internal")
    if transport == HTTP:
        assert span.name == SERVER
        assert span.attributes.get("http.response.status_code") == status
    elif transport:
        method = "ModelInfer" if transport == GRPC else "ModelStreamInfer"
        assert (
            span.name == span.attributes["rpc.method"] == f"inference.GRPCInferenceService/{method}"
        )
        assert span.attributes["rpc.system.name"] == "grpc"
        assert span.attributes["rpc.response.status_code"] == code
    else:
        assert span.name == "infer"


def test_some_that_failed_do_not_make_the_batch_an_error(
    make_request: Make, make_done: Make
) -> None:
    told = Told()
    failure = failure_of(ModelFailed("no"))
    told.hook.batch_done(
        make_done(
            make_request("a", context=context(7)),
            make_request("b", context=context(70), failure=failure, output_row=-1),
        )
    )
    assert [span.ids.trace for span in told.spans if span.failed] == [70]


def test_a_refused_request_is_told_of_once(
    make_request: Make, make_done: Make, make_refused: Make
) -> None:
    told = Told()
    late = context(7)
    told.hook.request_refused(
        make_refused(failure_of(DeadlineExceeded("late")), 0.25, context=late)
    )
    told.hook.request_refused(make_refused(failure_of(DeadlineExceeded("late")), 0.25))
    told.hook.batch_done(make_done(make_request(context=late, refused=True)))
    span = told.one(SERVER)
    assert span.end_ns - span.start_ns == 250_000_000
    assert [link.span for link in told.one("batch").links] == [17]
    assert told.named("queue") == []


def test_spans_follow_the_time_of_day_when_it_is_set(
    make_refused: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    told.hook.request_refused(make_refused(context=context(7)))
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3600 * 10**9)
    told.hook.request_refused(make_refused(context=context(8)))
    before, after = told.spans
    assert 3600e9 <= after.start_ns - before.start_ns < 3660e9


def test_ids_of_clients_and_models_are_quoted_in_paths() -> None:
    request = InferRequest("a b/ü", "3", "r", ())
    span = in_span(RequestContext(transport=HTTP), SpanIds(1, 2), request).span
    assert span is not None
    assert span.path == "/v2/models/a%20b%2F%C3%BC/versions/3/infer"
    grpc = in_span(RequestContext(transport=GRPC), SpanIds(1, 2, 3), request)
    assert grpc.span == RequestSpan(1, 2, 3, "")
    assert grpc.trace == f"00-{1:032x}-{2:016x}-01"


# -- within a data plane -----------------------------------------------------------------


class World:
    """A served version with one replica that answers when told, and the spans of its requests."""

    def __init__(self, plane: DataPlane, link: Any, told: Told) -> None:
        self.plane, self.link, self.told = plane, link, told

    def begin(self, ident: str, rows: int = 1, trace: bytes = b"") -> Ticket:
        data = np.ones((rows, 2), np.float32)
        request = InferRequest("m", "", ident, (Tensor("x", "FP32", data.shape, data),))
        return self.plane.begin(request, RequestContext(traceparent=trace, transport=HTTP))

    async def end(self, ticket: Ticket) -> Any:
        async with asyncio.timeout(60):
            await asyncio.wait({ticket.item.future})
        return ticket.endpoint.finish(ticket)


@pytest.fixture
async def make_world(
    make_config: Make, make_link: Make, eventually: Wait
) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    plane = DataPlane("g")

    async def make(sampler: str | None = "parentbased_always_off", **changes: Any) -> World:
        told = Told(sampler or "always_on")
        plane.reconciler.traces = told.traces if sampler else None
        config = make_config(**changes)
        served = ServedModel("m", "1", config.model_dump_json().encode(), "nowhere", None, "rev")
        plane.apply(Directory(1, (served,)))
        link = make_link()
        plane.add_link("m", "1", link, "rev")
        await eventually(lambda: plane.ready()[0])
        told.spans.clear()
        return World(plane, link, told)

    yield make
    plane.close()


def traces_of(spans: Iterable[Span]) -> list[int]:
    return sorted({span.ids.trace for span in spans})


async def test_whoever_a_client_traces_is_traced(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world()
    headers = {"on": traceparent(5), "off": traceparent(6, 0), "none": b"", "broken": b"00-x-01"}
    for ident, header in headers.items():
        await world.end(world.begin(ident, trace=header))
    await eventually(lambda: world.told.spans)
    assert traces_of(world.told.spans) == [5]
    server = world.told.one(SERVER)
    assert (server.ids.parent, server.remote) == (6, True)
    assert server.attributes["vigil.request.id"] == "on"


async def test_traces_that_begin_here_are_roots(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world("parentbased_always_on")
    for number in range(3):
        await world.end(world.begin(f"r{number}"))
    await eventually(lambda: len(world.told.named(SERVER)) == 3)
    assert len(traces_of(world.told.spans)) == 3
    assert {(span.ids.parent, span.remote) for span in world.told.named(SERVER)} == {(0, False)}


async def test_a_split_request_has_one_span_and_one_batch_for_each_part(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world(batching={"max_batch_size": 2})
    await world.end(world.begin("large", 5, traceparent(5)))
    await eventually(lambda: world.told.named(SERVER))
    server, queue = world.told.one(SERVER), world.told.one("queue")
    batches = world.told.named("batch")
    assert sum(int(str(batch.attributes["vigil.batch.rows"])) for batch in batches) == 5
    assert len(batches) == len(world.told.named("model")) == 3
    assert {batch.ids.parent for batch in batches} == {server.ids.span} == {queue.ids.parent}
    assert [link.span for batch in batches for link in batch.links] == [server.ids.span] * 3
    assert server.attributes["vigil.rows"] == 5
    assert server.start_ns <= queue.end_ns
    first, last = min(b.start_ns for b in batches), max(b.end_ns for b in batches)
    assert abs(first - queue.end_ns) < ROUNDING_NS
    assert last < server.end_ns + ROUNDING_NS


async def test_a_request_that_is_refused_at_the_door(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world()
    request = InferRequest("m", "1", "odd", ())
    with pytest.raises(InvalidInput):
        world.plane.begin(request, RequestContext(traceparent=traceparent(5), transport=HTTP))
    span = world.told.one(SERVER)
    assert (span.ids.trace, span.ids.parent, span.failed) == (5, 6, False)
    assert span.attributes["http.response.status_code"] == 400
    assert span.attributes["url.path"] == "/v2/models/m/versions/1/infer"


async def test_the_span_of_the_model_is_the_one_that_an_upstream_is_told(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world(
        format="remote", remote={"url": "grpc://upstream.example:8001"}, compile="none"
    )
    world.link.manual = True
    first = world.begin("a", trace=traceparent(6, 0))
    second = world.begin("b", trace=traceparent(5))
    await eventually(lambda: world.link.held)
    [batch] = [held[0] for held in world.link.held]
    sent = parent_of(batch.traceparent)
    world.link.answer()
    await world.end(first)
    await world.end(second)
    await eventually(lambda: world.told.spans)
    model = world.told.one("model")
    assert sent == (5, model.ids.span, True)
    assert model.kind == "client"
    assert model.attributes["server.address"] == "upstream.example"
    assert model.ids.parent == world.told.one("batch").ids.span


async def test_an_upstream_does_not_trace_what_is_not_traced_here(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world(format="remote", remote={"url": "grpc://upstream.example:8001"})
    world.link.manual = True
    for given in (b"", traceparent(6, 0)):
        ticket = world.begin("a", trace=given)
        await eventually(lambda: world.link.held)
        [batch] = [held[0] for held in world.link.held]
        sent = parent_of(batch.traceparent)
        assert sent is not None
        assert not sent[2]
        assert batch.traceparent == (given or batch.traceparent)
        world.link.answer()
        await world.end(ticket)
    assert world.told.spans == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([b"", b""], b""),
        ([b"broken", traceparent(5, 0)], traceparent(5, 0)),
        ([traceparent(5, 0), traceparent(6, 0)], traceparent(5, 0)),
        ([traceparent(5, 0), b"", traceparent(6)], traceparent(6)),
        ([traceparent(5), traceparent(6)], traceparent(5)),
    ],
)
async def test_a_gateway_that_traces_nothing_passes_a_client_s_context_on(
    make_world: Callable[..., Awaitable[World]],
    eventually: Wait,
    given: list[bytes],
    told: bytes,
) -> None:
    remote = {"format": "remote", "remote": {"url": "grpc://upstream.example:8001"}}
    world = await make_world(None, **remote)
    world.link.manual = True
    tickets = [world.begin(f"r{number}", trace=trace) for number, trace in enumerate(given)]
    await eventually(lambda: world.link.held)
    [(batch, _)] = world.link.held
    assert batch.traceparent == told
    world.link.answer()
    for ticket in tickets:
        await world.end(ticket)
    assert world.told.spans == []


async def test_replicas_of_our_own_are_told_nothing(
    make_world: Callable[..., Awaitable[World]], eventually: Wait
) -> None:
    world = await make_world()
    await world.end(world.begin("a", trace=traceparent(5)))
    assert world.link.batches[-1].traceparent == b""
