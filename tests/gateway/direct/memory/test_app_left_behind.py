"""The ASGI app under another server: what a call leaves behind, and its account of bodies."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from serving import errors
from serving.gateway.body_budget import BodyBudget
from serving.protocol.pb import health_pb2, reflection_v1_pb2
from serving.protocol.pb import open_inference_pb2 as pb

ROWS = 17_000
GRPC = ((b"content-type", b"application/grpc"),)
SERVICE = "/inference.GRPCInferenceService/"


def json_body() -> bytes:
    data = ",".join(["0.5"] * (2 * ROWS))
    text = '{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,2],"data":[%s]}]}'
    return (text % (ROWS, data)).encode()


def framed(payload: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(payload).to_bytes(4, "big") + payload


def message() -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="q")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[ROWS, 2])
    tensor.contents.fp32_contents.extend([0.5] * (2 * ROWS))
    return bytes(request.SerializeToString())


ASKED = reflection_v1_pb2.ServerReflectionRequest(list_services="*")
CALLS: dict[str, tuple[str, bytes, tuple[tuple[bytes, bytes], ...]]] = {
    "infer": ("/v2/models/m/infer", json_body(), ()),
    "packed": (
        "/v2/models/m/explain", gzip.compress(json_body(), 0), ((b"content-encoding", b"gzip"),)
    ),
    "call": (SERVICE + "ModelInfer", framed(message()), GRPC),
    "call packed": (
        SERVICE + "ModelInfer", framed(gzip.compress(message(), 0), 1),
        (*GRPC, (b"grpc-encoding", b"gzip")),
    ),
    "call explain": ("/vigil.Explain/Explain", framed(message()), GRPC),
    "stream": (SERVICE + "ModelStreamInfer", framed(message()) * 3, GRPC),
    "reflection": (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        framed(ASKED.SerializeToString()) * 3, GRPC,
    ),
    "watch": (
        "/grpc.health.v1.Health/Watch",
        framed(health_pb2.HealthCheckRequest(service="m").SerializeToString()), GRPC,
    ),
    "watch broken": ("/grpc.health.v1.Health/Watch", framed(b"\xff" * 70_000), GRPC),
    "stream broken": (SERVICE + "ModelStreamInfer", framed(message()) + b"\2" * 70_000, GRPC),
}  # fmt: skip


class Call:
    """One call of the app, by hand."""

    def __init__(self, app: Any, path: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.size = 0
        self.fails = False
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"",
            "headers": [*headers],
        }  # fmt: skip
        self.task: asyncio.Task[None] | None = asyncio.create_task(
            app(scope, self.coming.get, lambda sent: self.send(sent))
        )

    async def send(self, sent: Any) -> None:
        if self.fails:
            raise OSError
        self.size += len(sent.get("body", b""))

    def says(self, body: bytes, *, more: bool) -> None:
        for at in range(0, max(1, len(body)), 50_000):
            piece = body[at : at + 50_000]
            last = at + 50_000 >= len(body)
            self.coming.put_nowait(
                {"type": "http.request", "body": piece, "more_body": more or not last}
            )

    async def over(self) -> None:
        task, self.task = self.task, None
        assert task is not None
        async with asyncio.timeout(60):
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # or the loop would log it, with all its frames


@pytest.fixture
def bodies() -> BodyBudget:
    return BodyBudget(3 << 20, 2 << 20)


@pytest.mark.parametrize("end", ["answered", "failed", "left", "half", "cancelled", "unsent"])
@pytest.mark.parametrize("name", CALLS)
async def test_nothing_is_left_and_the_account_is_even(
    app: Any, link: Any, helper: Any, garbage: Any, wait_until: Any, name: str, end: str
) -> None:
    path, body, headers = CALLS[name]
    error = errors.ModelFailed if end == "failed" else None
    answered = link.send

    async def send(batch: Any) -> Any:
        if error is not None:
            raise error("no")
        return await answered(batch)

    link.send = send
    helper.does = "refuse" if end == "failed" else "answer"
    before = {id(task) for task in asyncio.all_tasks()}

    async def once() -> None:
        call = Call(app, path, headers)
        call.fails = end == "unsent"
        if end in ("left", "cancelled"):
            link.hold, helper.does = asyncio.Event(), "wait"
        call.says(body[: len(body) // 2] if end == "half" else body, more=end == "half")
        if end != "cancelled":
            call.coming.put_nowait({"type": "http.disconnect"})
        else:
            await asyncio.sleep(0.02)
            assert call.task is not None
            call.task.cancel()
        if end == "left":
            await asyncio.sleep(0.02)
            link.hold.set()
            if name in ("packed", "call explain"):  # nobody asks whether its client has left
                assert call.task is not None
                call.task.cancel()
        await call.over()
        if end == "cancelled":
            link.hold.set()
        await wait_until(lambda: not link.busy and not app.plane.resolve("m").queue.waiting_rows)
        app.plane.publisher.flush()
        await wait_until(lambda: not app.plane.publisher.kept_bytes)

    await once()
    garbage.start()
    await once()
    assert app.bodies.held == 0
    left = garbage.found()
    assert not left, f"only a collection frees: {sorted(set(left))}"
    held = garbage.held()
    assert sum(held.values()) < 50_000, held
    assert {id(task) for task in asyncio.all_tasks()} <= before


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("name", ["infer", "packed", "call", "call packed", "stream"])
async def test_what_finds_no_room_is_refused(
    app: Any, wait_until: Any, name: str, announced: bool
) -> None:
    path, body, headers = CALLS[name]
    first = Call(app, *("/v2/models/m/infer", ((b"content-length", b"2097152"),)))
    await wait_until(lambda: app.bodies.held == 2 << 20)
    app.bodies.large = (2 << 20) + 60_000
    if announced and name != "stream":
        headers = (*headers, (b"content-length", b"%d" % len(body)))
    sent: list[Any] = []

    async def send(each: Any) -> None:
        sent.append(each)

    call = Call(app, path, headers)
    call.send = send  # type: ignore[method-assign]
    call.says(body, more=False)
    await call.over()
    said = b"".join(value for each in sent for _, value in each.get("headers", ()))
    if name in ("infer", "packed"):
        assert sent[0]["status"] == 503
        assert (b"retry-after", b"1") in sent[0]["headers"]
    else:
        assert dict(sent[-1]["headers"])[b"grpc-status"] == b"14", said
    assert app.bodies.held == 2 << 20
    first.coming.put_nowait({"type": "http.disconnect"})
    await first.over()
    assert app.bodies.held == 0
