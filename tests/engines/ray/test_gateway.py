"""The gateway as a deployment: what it refuses, and the status that a call gets."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.channel.messages.directory import Inventory
from serving.config import Listen, ServerConfig
from serving.dataplane.context import RequestContext
from serving.errors import Forbidden, InvalidInput, Unsupported
from serving.gateway.grpc.methods import NAME, Method
from serving.protocol.pb import health_pb2
from serving.protocol.pb import open_inference_pb2 as pb

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import gateway as ray_gateway
    from serving.engines.ray.instance import Instance

pytestmark = pytest.mark.ray

LOCAL = "127.0.0.1"


class Context:
    """What the deployment needs of Serve's gRPC context."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:4711", **metadata: str) -> None:
        self._peer = peer
        self._metadata = list(metadata.items())
        self.code: Any = None
        self.details = ""

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata

    def set_code(self, code: Any) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


class Deployment(ray_gateway.GatewayDeployment):
    """Outside Serve nobody awaits the destructor."""

    def __del__(self) -> None: ...


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ray_gateway.GatewayDeployment:
    monkeypatch.setattr(ray_gateway, "member_name", lambda prefix: f"{prefix}-0")
    config = ServerConfig(ingress="serve", listen=Listen(max_body_mib=1))
    instance = Instance(config, Inventory(), tmp_path, f"unix:{tmp_path}/registry.sock", None)
    made = Deployment(instance)
    counted: list[tuple[str, int]] = []
    durations = SimpleNamespace(
        call=lambda path, code, seconds: counted.append((path, code)), counted=counted
    )
    made._app.plane = SimpleNamespace(durations=durations)  # type: ignore[assignment]
    return made


PATH = "/vigil.Test/Call"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a method into the table; returns its path."""

    def put(*method: Any) -> str:
        monkeypatch.setitem(ray_gateway.METHODS, PATH, Method(*method))
        return PATH

    return put


async def live(_plane: object, _request: object, _context: object) -> Any:
    return pb.ServerLiveResponse(live=True)


async def test_grpc_answers(
    deployment: ray_gateway.GatewayDeployment, at: Callable[..., str]
) -> None:
    context = Context()
    method = at(pb.ServerLiveRequest, live, Scope.HEALTH)
    reply = await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert reply.live
    assert context.code is None


async def test_grpc_refuses_other_machines(
    deployment: ray_gateway.GatewayDeployment, at: Callable[..., str]
) -> None:
    context = Context("ipv4:192.0.2.7:4711")
    method = at(pb.ServerLiveRequest, live, Scope.HEALTH)
    await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert context.code.name == "PERMISSION_DENIED"


async def test_grpc_refuses_what_is_too_large(
    deployment: ray_gateway.GatewayDeployment, at: Callable[..., str]
) -> None:
    context = Context()
    request = pb.ModelInferRequest(raw_input_contents=[bytes(2 << 20)])
    await deployment.answer(at(pb.ModelInferRequest, live, Scope.INFER), request, context)
    assert context.code.name == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (InvalidInput("send better"), "INVALID_ARGUMENT", "send better"),
        (RuntimeError("secret"), "INTERNAL", "internal error; see the server's log"),
    ],
)
async def test_grpc_maps_errors(
    deployment: ray_gateway.GatewayDeployment,
    at: Callable[..., str],
    error: Exception,
    code: str,
    details: str,
) -> None:
    async def fail(_plane: object, _request: object, _context: object) -> Any:
        raise error

    context = Context()
    method = at(pb.ServerLiveRequest, fail, Scope.HEALTH)
    await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert (context.code.name, context.details) == (code, details)
    assert deployment._app.plane.durations.counted == [(PATH, context.code.value[0])]


class Denying(Access):
    """Refuses mallory what is asked of the model m; who asks is in the metadata."""

    def principal_of(self, headers: Any) -> Principal:
        return Principal(headers.get(b"x_name", b"").decode())

    def decide(self, scope: Any, model: str, principal: Principal, *_: Any) -> Any:
        refused = (scope, model, principal.name) == (Scope.HEALTH, "m", "mallory")
        return Forbidden("the decision says no") if refused else None


@pytest.mark.parametrize(
    ("model", "name", "refused"),
    [("m", "mallory", True), ("m", "alice", False), ("other", "mallory", False)],
)
async def test_another_decision_reaches_calls_through_the_proxy(
    deployment: ray_gateway.GatewayDeployment,
    at: Callable[..., str],
    model: str,
    name: str,
    refused: bool,
) -> None:
    deployment._app.access = Denying()
    known: list[Any] = []

    async def ready(_plane: object, _request: object, context: RequestContext) -> Any:
        known.append(context)
        return pb.ModelReadyResponse(ready=True)

    call = Context(x_name=name)
    method = at(pb.ModelReadyRequest, ready, Scope.HEALTH, NAME)
    await deployment.answer(method, pb.ModelReadyRequest(name=model), call)
    assert (call.code and call.code.name) == ("PERMISSION_DENIED" if refused else None)
    assert [(c.principal.name, c.client) for c in known] == ([] if refused else [(name, LOCAL)])


async def test_another_decision_reaches_a_watch_through_the_proxy(
    deployment: ray_gateway.GatewayDeployment,
) -> None:
    deployment._app.access = Denying()
    call = Context(x_name="mallory")
    with pytest.raises(Forbidden):
        await anext(deployment.Watch(health_pb2.HealthCheckRequest(service="m"), call))
    assert call.code.name == "PERMISSION_DENIED"


async def test_an_order_from_a_page_is_refused(
    deployment: ray_gateway.GatewayDeployment,
) -> None:
    call = Context(origin="https://evil.example")
    method = "/inference.GRPCInferenceService/RepositoryModelUnload"
    await deployment.answer(method, pb.RepositoryModelUnloadRequest(model_name="m"), call)
    assert call.code.name == "PERMISSION_DENIED"


def test_every_grpc_method_is_a_method_of_the_deployment() -> None:
    for path in ray_gateway.METHODS:
        assert asyncio.iscoroutinefunction(
            getattr(ray_gateway.GatewayDeployment, path.rpartition("/")[2])
        )


async def test_a_message_may_have_the_size_of_the_limit(
    deployment: ray_gateway.GatewayDeployment, at: Callable[..., str]
) -> None:
    method = at(pb.ModelInferRequest, live, Scope.INFER)
    for size, code in ((1 << 20, None), ((1 << 20) + 1, "RESOURCE_EXHAUSTED")):
        request = pb.ModelInferRequest()
        request.raw_input_contents.append(bytes(size - 4))
        assert request.ByteSize() == size
        call = Context()
        await deployment.answer(method, request, call)
        assert (call.code and call.code.name) == code


async def test_a_stream_of_inferences_is_refused_in_a_sentence(
    deployment: ray_gateway.GatewayDeployment,
) -> None:
    call = Context()
    with pytest.raises(Unsupported, match="use ModelInfer"):
        await anext(deployment.ModelStreamInfer(None, call))
    assert (call.code.name, "ModelInfer" in call.details) == ("UNIMPLEMENTED", True)
