"""Another decision than today's reaches every route and method of the app: no transport changes."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest

from serving.access.scopes import Scope
from serving.gateway.grpc.asgi import STREAMS
from serving.gateway.grpc.methods import METHODS, MODEL_NAME, NAME, Method
from serving.gateway.grpc.paths import EXPLAIN, LABELS_PUSH, SERVICE, STREAM_INFER, WATCH
from serving.gateway.http.routes import ROUTES
from serving.protocol.pb import health_pb2
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.status import PERMISSION_DENIED

SAYS = "the decision says no"
GRPC = ("content-type", "application/grpc")
OFFERED = [(path, method) for path, methods in ROUTES.items() for method in methods]
OF_A_MODEL = [(path, method) for path, method in OFFERED if "{name}" in path]
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
NAMING = [path for path, method in METHODS.items() if method.model is not None]


def at(path: str, model: str = "m") -> str:
    return path.format(name=model, version="1", report="drift", prediction="r", incident="i")


def message(method: Method, model: str) -> bytes:
    fields = {NAME: "name", MODEL_NAME: "model_name", None: ""}
    field = fields.get(method.model, "service")
    return framed(method.request(**({field: model} if field else {})))


def framed(message: Any) -> bytes:
    payload: bytes = message.SerializeToString()
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def is_denied(answer: Any) -> bool:
    """Whether the decision was what refused a request, over HTTP or gRPC."""
    said = answer.trailers.get("grpc-status")
    if said is not None:
        if unquote(answer.trailers.get("grpc-message", "")) != SAYS:
            return False
        assert int(said) == PERMISSION_DENIED
        return True
    if answer.status != 403:
        return False
    assert answer.json() == {"error": SAYS}
    return True


@pytest.mark.parametrize("denied", Scope)
@pytest.mark.parametrize(("path", "method"), OFFERED)
async def test_a_scope_over_http(
    ask: Any, deny: Any, path: str, method: str, denied: Scope
) -> None:
    deny(lambda scope, _model, _name: scope is denied)
    scope = ROUTES[path][method].scope
    # Of an empty list nothing can be read: what is refused is not read.
    answer = await ask(method, at(path), [] if scope is denied else BODY)
    assert is_denied(answer) is (scope is denied)


@pytest.mark.parametrize(("path", "method"), OF_A_MODEL)
async def test_a_model_and_who_asks_over_http(ask: Any, deny: Any, path: str, method: str) -> None:
    deny(lambda _scope, model, name: model == "m" and name == "mallory")
    assert is_denied(await ask(method, at(path), BODY, [("authorization", "mallory")]))
    assert not is_denied(await ask(method, at(path), BODY, [("authorization", "alice")]))
    assert not is_denied(await ask(method, at(path, "other"), BODY, [("authorization", "mallory")]))


@pytest.mark.parametrize("headers", [[], [GRPC]])
@pytest.mark.parametrize(
    "path", ["/v2/models/m/infer", SERVICE + "ModelInfer", STREAM_INFER, "/no"]
)
async def test_a_decision_that_fails_lets_nothing_through(
    ask: Any, deny: Any, path: str, headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bool:
        raise ZeroDivisionError("secret")

    deny(fails)
    answer = await ask("POST", path, [], headers)
    said = answer.trailers["grpc-message"] if headers else answer.json()["error"]
    assert said == "internal error; see the server's log"
    assert answer.status == (200 if headers else 500)
    assert "ZeroDivisionError" in caplog.text


async def test_a_path_that_was_answered_is_decided_again(ask: Any, deny: Any) -> None:
    for _ in range(2):
        assert (await ask("POST", "/v2/models/m/infer", BODY)).status == 200
    deny(lambda scope, model, _name: (scope, model) == (Scope.INFER, "m"))
    assert is_denied(await ask("POST", "/v2/models/m/infer", BODY))


async def test_head_is_decided_as_get(ask: Any, deny: Any) -> None:
    deny(lambda scope, _model, _name: scope is Scope.METADATA)
    assert (await ask("HEAD", "/v2")).status == 403


@pytest.mark.parametrize("denied", Scope)
@pytest.mark.parametrize("path", [*METHODS, *STREAMS])
async def test_a_scope_over_grpc(ask: Any, deny: Any, path: str, denied: Scope) -> None:
    deny(lambda scope, _model, _name: scope is denied)
    scope = METHODS[path].scope if path in METHODS else STREAMS[path].scope
    answer = await ask("POST", path, [] if scope is denied else b"", [GRPC])
    assert is_denied(answer) is (scope is denied)


@pytest.mark.parametrize("path", NAMING)
async def test_a_model_and_who_asks_over_grpc(ask: Any, deny: Any, path: str) -> None:
    deny(lambda _scope, model, name: model == "m" and name == "mallory")
    method = METHODS[path]
    mallory, alice = [GRPC, ("authorization", "mallory")], [GRPC, ("authorization", "alice")]
    assert is_denied(await ask("POST", path, message(method, "m"), mallory))
    assert not is_denied(await ask("POST", path, message(method, "m"), alice))
    assert not is_denied(await ask("POST", path, message(method, "other"), mallory))


async def test_a_model_in_a_stream_is_refused_and_the_stream_goes_on(ask: Any, deny: Any) -> None:
    deny(lambda _scope, model, _name: model == "denied")
    asked = [pb.ModelInferRequest(model_name=name, id=name) for name in ("m", "denied", "q")]
    answer = await ask("POST", STREAM_INFER, b"".join(map(framed, asked)), [GRPC])
    assert answer.trailers == {"grpc-status": "0"}
    body, said = answer.body, []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        said.append(pb.ModelStreamInferResponse.FromString(body[5:end]).error_message)
        body = body[end:]
    assert len(said) == 3
    assert [text == SAYS for text in said] == [False, True, False]


async def test_a_model_whose_health_is_watched(client: Any, deny: Any) -> None:
    deny(lambda scope, model, _name: (scope, model) == (Scope.HEALTH, "m"))
    call = client.start(WATCH)
    client.says(framed(health_pb2.HealthCheckRequest(service="m")), more=False)
    await asyncio.wait_for(call, 60)
    assert client.status() == PERMISSION_DENIED


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
async def test_the_health_of_the_server_is_no_models(ask: Any, deny: Any, service: str) -> None:
    deny(lambda _scope, model, _name: model != "")
    body = framed(health_pb2.HealthCheckRequest(service=service))
    answer = await ask("POST", "/grpc.health.v1.Health/Check", body, [GRPC])
    assert answer.trailers["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("path", "method", "call"),
    [
        ("/v2", "GET", SERVICE + "ServerMetadata"),
        ("/v2/health/live", "GET", SERVICE + "ServerLive"),
        ("/v2/health/ready", "GET", SERVICE + "ServerReady"),
        ("/v2/models/stats", "GET", SERVICE + "ModelStatistics"),
        ("/v2/models/{name}", "GET", SERVICE + "ModelMetadata"),
        ("/v2/models/{name}/ready", "GET", SERVICE + "ModelReady"),
        ("/v2/models/{name}/infer", "POST", SERVICE + "ModelInfer"),
        ("/v2/models/{name}/infer", "POST", STREAM_INFER),
        ("/v2/models/{name}/config", "GET", SERVICE + "ModelConfig"),
        ("/v2/repository/index", "POST", SERVICE + "RepositoryIndex"),
        ("/v2/repository/models/{name}/load", "POST", SERVICE + "RepositoryModelLoad"),
        ("/v2/repository/models/{name}/unload", "POST", SERVICE + "RepositoryModelUnload"),
        ("/v2/trace/setting", "POST", SERVICE + "TraceSetting"),
        ("/v2/logging", "GET", SERVICE + "LogSettings"),
        ("/v2/models/{name}/explain", "POST", EXPLAIN),
        ("/v2/models/{name}/labels", "POST", LABELS_PUSH),
        ("/v2/health/ready", "GET", WATCH),
    ],
)
def test_what_is_the_same_over_both_protocols_is_asked_for_as_the_same(
    path: str, method: str, call: str
) -> None:
    scope = METHODS[call].scope if call in METHODS else STREAMS[call].scope
    assert ROUTES[path][method].scope is scope
