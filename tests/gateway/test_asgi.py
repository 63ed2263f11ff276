"""The HTTP half: routes, bodies, errors, and the server's lifespan."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest
import uvicorn

from serving import errors
from serving.gateway.asgi import VigilApp
from serving.protocol.pb import open_inference_pb2 as pb
from serving.telemetry.logs.report import FIELDS, Reporter, use

INFER = "/v2/models/m/infer"
LIMIT = 10_000


def body(*values: float, **more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": list(values) or [1.0, 2.0]}
    return json.dumps({"inputs": [tensor], **more}).encode()


@pytest.mark.parametrize(
    ("path", "status", "has"),
    [
        ("/v2", 200, "extensions"),
        ("/v2/", 200, "extensions"),
        ("/v2/health/live", 200, "live"),
        ("/v2/health/ready", 200, "ready"),
        ("/v2/models/m", 200, "inputs"),
        ("/v2/models/m/versions/1", 200, "inputs"),
        ("/v2/models/m/ready", 200, "ready"),
        ("/v2/models/m/versions/1/ready", 200, "ready"),
        ("/v2/models/q", 404, "error"),
        ("/v2/models/m/versions/7/ready", 404, "error"),
        ("/v2/models", 404, "error"),
        ("/v2/models/", 404, "error"),
        ("/v2/models//infer", 404, "error"),
        ("/v2/models/m/versions", 404, "error"),
        ("/v2/health", 404, "error"),
        ("/v2/health/live/", 200, "live"),
        ("/v2x", 404, "error"),
        ("/", 404, "error"),
        ("", 404, "error"),
        ("/" * 5000, 404, "error"),
        ("/openapi.json/x", 404, "error"),
    ],
)
async def test_get(ask: Any, path: str, status: int, has: str) -> None:
    answer = await ask("GET", path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body) < 1000
    assert has in answer.json()


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(app: VigilApp) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nobody waits for the body")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"%d" % (LIMIT + 1))]
    scope = {"type": "http", "method": "POST", "path": INFER, "headers": headers}
    await app(scope, receive, send)
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "X" * 1000])
async def test_methods_that_a_path_does_not_have(ask: Any, method: str) -> None:
    answer = await ask(method, INFER, body())
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert "use POST" in answer.json()["error"]
    assert len(answer.json()["error"]) < 400


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/models/stats", "GET, HEAD, OPTIONS"),
        ("/v2/models/m/", "GET, HEAD, OPTIONS"),
        ("/v2/models/m/versions/1/infer/", "POST, OPTIONS"),
    ],
)
async def test_options(ask: Any, path: str, allowed: str) -> None:
    answer = await ask("OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.body) == (200, allowed, b"")
    (wrong,) = {"GET", "POST"} - set(allowed.split(", "))
    answer = await ask(wrong, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/v2/models/m/nothing", "/v2/infer", "/v2/models/m/versions"])
async def test_paths_that_are_not_there(ask: Any, method: str, path: str) -> None:
    assert (await ask(method, path, body())).status == 404


@pytest.mark.parametrize(
    ("path", "status"), [("/v2", 200), ("/v2/models/m/stats", 200), ("/v2/models/q", 404),
                         ("/elsewhere", 404), (INFER, 405)],
)  # fmt: skip
async def test_head_is_get_without_the_body(ask: Any, path: str, status: int) -> None:
    head, get = await ask("HEAD", path), await ask("GET", path)
    assert (head.status, head.body) == (status, b"")
    assert get.status == status
    if status == 405:  # the method is in the sentence
        return
    assert head.headers == get.headers


@pytest.mark.parametrize("path", [INFER, INFER + "/", "/v2/models/m/versions/1/infer"])
async def test_infer(ask: Any, path: str) -> None:
    answer = await ask("POST", path, body(3, 4, id="mine"))
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "mine"
    assert answer.json() == {
        "model_name": "m", "model_version": "1", "id": "mine",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [6.0, 8.0]}],
    }  # fmt: skip


# -- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_body_in_chunks(ask: Any, size: int) -> None:
    whole = body(3, 4)
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert (await ask("POST", INFER, [b"", *chunks, b""])).status == 200


async def test_a_body_of_more_chunks_than_are_kept_apart(ask: Any) -> None:
    whole = body(3, 4) + b" " * 5000
    answer = await ask("POST", INFER, [bytes([byte]) for byte in whole])
    assert answer.json()["outputs"][0]["data"] == [6.0, 8.0]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit(ask: Any, chunked: bool) -> None:
    fits = body() + b" " * (LIMIT - len(body()))
    for content, status in ((fits, 200), (fits + b" ", 413)):
        chunks = [content[at : at + 3000] for at in range(0, len(content), 3000)]
        answer = await ask("POST", INFER, chunks if chunked else content)
        assert answer.status == status
    assert f"limit of {LIMIT} bytes" in answer.json()["error"]


async def test_the_rest_of_a_body_over_the_limit_is_not_read(ask: Any) -> None:
    chunks: list[Any] = [b"x" * 6000] * 10
    assert (await ask("POST", INFER, chunks)).status == 413


async def test_a_client_that_leaves_in_the_middle(ask: Any) -> None:
    answer = await ask("POST", INFER, [body()[:10], None])
    assert answer.status == 400


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("Deflate", zlib.compress),
     ("identity", bytes), ("", bytes)],
)  # fmt: skip
async def test_compressed_bodies(ask: Any, encoding: str, pack: Any) -> None:
    answer = await ask("POST", INFER, pack(body()), [("content-encoding", encoding)])
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("encoding", "content", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", b"", 400),
        ("gzip", gzip.compress(body())[:-9], 400),
        ("gzip", gzip.compress(body()) + b"more", 400),
        ("gzip", gzip.compress(body()) + gzip.compress(b"   "), 400),
        ("gzip", gzip.compress(bytes(50_000_000), 9)[:LIMIT], 413),
        ("deflate", zlib.compress(bytes(LIMIT + 1)), 413),
    ],
    ids=[
        "unknown",
        "twice",
        "no-gzip",
        "empty",
        "cut",
        "more",
        "another",
        "bomb",
        "over-the-limit",
    ],
)
async def test_wrong_compressed_bodies(
    ask: Any, encoding: str, content: bytes, status: int
) -> None:
    answer = await ask("POST", INFER, content, [("content-encoding", encoding)])
    assert answer.status == status


async def test_a_bomb_is_not_unpacked(ask: Any) -> None:
    bomb = zlib.compress(bytes(8_000_000), 9)
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        answer = await ask("POST", INFER, bomb, [("content-encoding", "deflate")])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 413
    assert peak < 2_000_000


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (errors.ModelFailed("it failed"), 500, None),
        (errors.QueueFull("full", retry_after_s=0.2), 503, "1"),
        (errors.QuotaExceeded("slow down", retry_after_s=7.6), 429, "8"),
    ],
)
async def test_errors(
    ask: Any, link: Any, error: errors.VigilError, status: int, retry: str | None
) -> None:
    link.error = error
    answer = await ask("POST", INFER, body())
    assert (answer.status, answer.json()) == (status, {"error": error.message})
    assert answer.headers.get("retry-after") == retry


async def test_an_unexpected_error_tells_the_client_nothing(
    ask: Any, plane: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(plane.router, "choose", broken)
    answer = await ask("POST", INFER, body())
    assert (answer.status, answer.json()) == (
        500, {"error": "internal error; see the server's log"},
    )  # fmt: skip
    assert "Traceback" in caplog.text
    assert caplog.records[-1].vigil_fields["error"] == "RuntimeError"


async def test_a_model_that_explains_nothing_says_so_at_once(
    ask: Any, plane: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(plane.explainers, "explain", lambda *_: 1 / 0)  # nobody is asked
    answer = await ask("POST", "/v2/models/m/explain", body(3, 4))
    assert answer.status == 501
    assert "explains nothing" in answer.json()["error"]


async def test_not_ready(ask: Any, plane: Any) -> None:
    plane.readiness.draining = True
    answer = await ask("GET", "/v2/health/ready")
    assert answer.status == 503
    assert "draining" in answer.json()["error"]
    assert (await ask("GET", "/v2/health/live")).status == 200


async def test_probes_leave_no_line(ask: Any, plane: Any, link: Any, caplog: Any) -> None:
    plane.readiness.draining = True
    (entry,) = plane.entries()
    for known in list(entry.batcher.links):
        entry.batcher.remove_link(known)
    for path in ("/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/1/ready"):
        assert (await ask("GET", path)).status == 503
    assert not [record for record in caplog.records if record.name == "vigil"]
    assert (await ask("GET", "/v2/trace/setting")).status == 503
    assert [record for record in caplog.records if record.name == "vigil"]


# -- the server -------------------------------------------------------------------------------


async def lifespan(app: VigilApp, *kinds: str) -> list[dict[str, Any]]:
    incoming = [{"type": f"lifespan.{kind}"} for kind in kinds]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_lifespan(plane: Any) -> None:
    calls: list[str] = []

    async def start() -> Any:
        calls.append("start")
        return plane

    async def stop() -> None:
        calls.append("stop")

    app = VigilApp(start, stop, 1)
    sent = await lifespan(app, "startup", "shutdown")
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert calls == ["start", "stop"]
    assert app.plane is plane


async def test_lifespan_failures_are_told(plane: Any) -> None:
    async def good() -> Any:
        return plane

    async def bad() -> Any:
        raise RuntimeError("no control plane")

    (sent,) = await lifespan(VigilApp(bad, good, 1), "startup")
    assert sent == {"type": "lifespan.startup.failed", "message": "no control plane"}
    sent = (await lifespan(VigilApp(good, bad, 1), "startup", "shutdown"))[-1]
    assert sent == {"type": "lifespan.shutdown.failed", "message": "no control plane"}


async def test_under_uvicorn(app: VigilApp) -> None:
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            answers = await asyncio.gather(
                *[client.post(INFER, content=body(i, -i)) for i in range(10)]
            )
            assert [a.json()["outputs"][0]["data"] for a in answers] == [
                [2 * i, -2 * i] for i in range(10)
            ]

            async def chunks() -> Any:
                for byte in body():
                    yield bytes([byte])

            assert (await client.post(INFER, content=chunks())).status_code == 200
            assert (await client.post(INFER, content=b"x" * (LIMIT + 1))).status_code == 413
            packed = gzip.compress(body())
            answer = await client.post(INFER, content=packed, headers={"content-encoding": "gzip"})
            assert answer.status_code == 200
            assert (await client.get("/v2/models/%2e%2e/ready")).status_code == 404
    finally:
        server.should_exit = True
        await task


async def test_every_answer_is_counted_once_by_its_route(ask, durations):
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
    infer = "/v2/models/{model_name}[/versions/{model_version}]/infer"
    for path in ("/v2/models/m/infer", "/v2/models/m/versions/1/infer", "/v2/models/m/infer/"):
        assert (await ask("POST", path, body)).status == 200
    assert (await ask("POST", "/v2/models/none/infer", body)).status == 404
    assert (await ask("POST", "/v2/models/m/infer", b"{")).status == 400
    assert (await ask("POST", "/v2/models/m/infer", b" " * 20_000)).status == 413
    assert (await ask("HEAD", "/v2")).status == 200
    assert (await ask("PUT", "/v2")).status == 405
    assert (await ask("OPTIONS", "/v2")).status == 200
    assert durations() == {
        ("POST", infer, "200"): 3,
        ("POST", infer, "404"): 1,
        ("POST", infer, "400"): 1,
        ("POST", infer, "413"): 1,
        ("HEAD", "/v2", "200"): 1,
        ("PUT", "_OTHER", "405"): 1,
        ("OPTIONS", "_OTHER", "200"): 1,
    }


async def test_no_client_makes_a_series(ask, durations):
    grpc = ("content-type", "application/grpc")
    for at in range(30):
        await ask(f"BREW{at}", "/v2")
        await ask("GET", f"/v2/x{at}")
        await ask("GET", f"/v2/models/{at}")
        await ask("POST", f"/inference.GRPCInferenceService/M{at}", b"", [grpc])
        await ask("POST", f"/some.Service{at}/ModelInfer", b"", [grpc])
    assert durations() == {
        ("_OTHER", "_OTHER", "405"): 30,
        ("GET", "_OTHER", "404"): 30,
        ("GET", "/v2/models/{model_name}[/versions/{model_version}]", "404"): 30,
        ("_OTHER", "UNIMPLEMENTED"): 60,
    }


async def test_a_stream_is_counted_with_its_status_and_not_if_its_client_left(client, durations):
    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    task = client.start(path)
    client.says(b"", more=False)
    await task
    assert durations() == {(path[1:], "OK"): 1}
    task = client.start(path)
    client.leaves()
    await task
    assert durations() == {(path[1:], "OK"): 1}
    task = client.start(path)
    client.says(b"\0", more=False)
    await task
    assert durations() == {(path[1:], "OK"): 1, (path[1:], "INVALID_ARGUMENT"): 1}


@pytest.mark.parametrize("transport", ["http", "grpc", "explain"])
async def test_lines_about_a_request_tell_its_trace(
    ask, link, caplog, monkeypatch, transport, plane
):
    before = use(Reporter())
    trace = f"{0xABC:032x}"
    given = ("traceparent", f"00-{trace}-{1:016x}-01")
    link.error = RuntimeError("it is broken")
    if transport == "http":
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
        answer = await ask("POST", "/v2/models/m/infer", body, [given])
        assert answer.status == 500
    elif transport == "grpc":
        message = pb.ModelInferRequest(model_name="m")
        message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
        message.inputs[0].contents.fp32_contents.extend([1, 2])
        payload = message.SerializeToString()
        framed = b"\0" + len(payload).to_bytes(4, "big") + payload
        grpc = ("content-type", "application/grpc")
        path = "/inference.GRPCInferenceService/ModelInfer"
        answer = await ask("POST", path, framed, [grpc, given])
        assert answer.trailers["grpc-status"] == "13"
    else:
        monkeypatch.setattr(plane, "served_version", lambda *_: 1 / 0)
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
        assert (await ask("POST", "/v2/models/m/explain", body, [given])).status == 500
    use(before)
    lines = [getattr(record, FIELDS) for record in caplog.records if record.name == "vigil"]
    assert lines
    assert {line.get("trace_id") for line in lines} == {trace}
