"""The parts of the ray engine that import Ray but start none."""

import asyncio
import math
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.channel import frames
from serving.channel.messages.directory import Directory, Inventory, Member, ServedModel
from serving.channel.messages.inference import ResultMeta
from serving.config import Listen, ModelConfig, ServerConfig
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.errors import Forbidden, InvalidInput, Unreachable
from serving.gateway.grpc.methods import NAME
from serving.protocol.messages import Tensor
from serving.protocol.pb import health_pb2
from serving.protocol.pb import open_inference_pb2 as pb
from serving.protocol.repository import ControlMeta

with warnings.catch_warnings():
    # What Ray's own imports warn about is not ours to mend.
    warnings.simplefilter("ignore")
    from serving.engines.ray import cluster as ray_cluster
    from serving.engines.ray import deployments as ray_deployments
    from serving.engines.ray import gateway as ray_gateway
    from serving.engines.ray import handles as ray_handles
    from serving.engines.ray import supervisor as ray_supervisor
    from serving.engines.ray.instance import Instance
    from serving.engines.stop_order import StopOrder

pytestmark = pytest.mark.ray

LOCAL = "127.0.0.1"
MODEL = ServedModel("lab", "1", b"{}", "/models/lab/1")


def test_roles_of_one_machine_use_sockets(tmp_path: Path) -> None:
    instance = ray_supervisor.make_instance(ServerConfig(), [MODEL], tmp_path)
    assert instance.registry_address == f"unix:{tmp_path}/registry.sock"
    assert instance.secret is None
    assert instance.address("abc", "192.0.2.1") == f"unix:{tmp_path}/abc.sock"
    assert instance.runtime_dir() == tmp_path


def test_roles_of_a_cluster_use_tcp_and_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_supervisor, "head_address", lambda: "192.0.2.1")
    config = ServerConfig(ray_address="192.0.2.1:6379")
    instance = ray_supervisor.make_instance(config, [MODEL], tmp_path)
    assert instance.registry_address == "tcp:192.0.2.1:8003"
    assert instance.secret is not None
    assert len(instance.secret) == 32
    assert instance.address("abc", "192.0.2.2") == "tcp:192.0.2.2:0"


def test_object_store_is_larger_when_bodies_travel_through_it() -> None:
    listen = Listen(max_body_mib=64)
    small = ray_cluster.object_store_bytes(ServerConfig(listen=listen))
    large = ray_cluster.object_store_bytes(ServerConfig(listen=listen, ingress="serve"))
    assert small == 128 << 20
    assert large == 512 << 20


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
    made._app.plane = object()  # type: ignore[assignment]
    return made


async def live(_plane: object, _request: object, _context: object) -> Any:
    return pb.ServerLiveResponse(live=True)


async def test_grpc_answers(deployment: ray_gateway.GatewayDeployment) -> None:
    context = Context()
    method = ray_gateway.Method(pb.ServerLiveRequest, live, Scope.HEALTH)
    reply = await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert reply.live
    assert context.code is None


async def test_grpc_refuses_other_machines(deployment: ray_gateway.GatewayDeployment) -> None:
    context = Context("ipv4:192.0.2.7:4711")
    method = ray_gateway.Method(pb.ServerLiveRequest, live, Scope.HEALTH)
    await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert context.code.name == "PERMISSION_DENIED"


async def test_grpc_refuses_what_is_too_large(deployment: ray_gateway.GatewayDeployment) -> None:
    context = Context()
    request = pb.ModelInferRequest(raw_input_contents=[bytes(2 << 20)])
    await deployment.answer(
        ray_gateway.Method(pb.ModelInferRequest, live, Scope.INFER), request, context
    )
    assert context.code.name == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (InvalidInput("send better"), "INVALID_ARGUMENT", "send better"),
        (RuntimeError("secret"), "INTERNAL", "internal error; see the server's log"),
    ],
)
async def test_grpc_maps_errors(
    deployment: ray_gateway.GatewayDeployment, error: Exception, code: str, details: str
) -> None:
    async def fail(_plane: object, _request: object, _context: object) -> Any:
        raise error

    context = Context()
    method = ray_gateway.Method(pb.ServerLiveRequest, fail, Scope.HEALTH)
    await deployment.answer(method, pb.ServerLiveRequest(), context)
    assert (context.code.name, context.details) == (code, details)


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
    deployment: ray_gateway.GatewayDeployment, model: str, name: str, refused: bool
) -> None:
    deployment._app.access = Denying()
    known: list[Any] = []

    async def ready(_plane: object, _request: object, context: RequestContext) -> Any:
        known.append(context)
        return pb.ModelReadyResponse(ready=True)

    call = Context(x_name=name)
    method = ray_gateway.Method(pb.ModelReadyRequest, ready, Scope.HEALTH, NAME)
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
    method = ray_gateway.METHODS["/inference.GRPCInferenceService/RepositoryModelUnload"]
    await deployment.answer(method, pb.RepositoryModelUnloadRequest(model_name="m"), call)
    assert call.code.name == "PERMISSION_DENIED"


def test_every_grpc_method_is_a_method_of_the_deployment() -> None:
    for path in ray_gateway.METHODS:
        assert asyncio.iscoroutinefunction(
            getattr(ray_gateway.GatewayDeployment, path.rpartition("/")[2])
        )


class Admin(ray_deployments.AdminDeployment):
    """Outside Serve nobody awaits the destructor."""

    def __del__(self) -> None: ...


async def test_an_order_is_answered_once_the_driver_knows_of_it(tmp_path: Path) -> None:
    """Until then the actor that replaces a dead one would not have heard of it."""
    listen = Listen(http_port=0, grpc_port=0, admin_port=0)
    config = ServerConfig(listen=listen, data_dir=tmp_path / "data", models=tmp_path)
    admin = Admin(Instance(config, Inventory(), tmp_path, f"unix:{tmp_path}/registry.sock", None))
    try:
        first = await admin.wanted(ray_deployments.Order(), 0)
        order = ControlMeta("logging", settings={"log_verbose_level": 1})
        answer = asyncio.create_task(admin._room.commands.answer(order))
        told = await admin.wanted(first, 10)
        assert told.number > first.number
        assert told.chosen.log == {"log_verbose_level": 1}
        assert not answer.done()
        await admin.wanted(told, 0)
        assert (await answer)["log_verbose_level"] == 1
        await admin._room.commands.answer(ControlMeta("logging"))  # a question changes nothing
    finally:
        await ray_deployments.AdminDeployment.__del__(admin)


class Handle:
    """A deployment handle whose calls give what they are told, one after the other."""

    def __init__(self, results: list[Any]) -> None:
        self._results = results
        self.infer_frame = self

    def remote(self, frame: bytes) -> Any:
        async def result() -> Any:
            given = self._results.pop(0)
            if isinstance(given, Exception):
                raise given
            return frame + given

        return result()


def use(monkeypatch: pytest.MonkeyPatch, results: list[Any]) -> None:
    handle = Handle(results)
    monkeypatch.setattr(ray_handles.serve, "get_deployment_handle", lambda *_: handle)


async def test_call_is_tried_twice_where_serve_knows_no_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, [KeyError(), b"!"])
    assert await ray_handles.serve_call("app")(b"frame") == b"frame!"
    use(monkeypatch, [KeyError(), KeyError(), b"!"])
    with pytest.raises(ray_handles.ReplicaLost) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert (caught.value.begun, caught.value.link_lost) == (False, True)


async def test_call_is_not_sent_to_a_second_replica_when_the_first_one_dies_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, [ray_handles.RayActorError(), b"!"])
    with pytest.raises(ray_handles.ReplicaLost) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert (caught.value.begun, caught.value.link_lost) == (None, False)


async def test_call_raises_the_domain_error_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = InvalidInput("send better", retry_after_s=2)
    use(monkeypatch, [ray_handles.RayTaskError("infer_frame", "traceback", cause)])
    with pytest.raises(InvalidInput) as caught:
        await ray_handles.serve_call("app")(b"frame")
    assert caught.value is cause


async def test_call_hides_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("broken")
    use(monkeypatch, [ray_handles.RayTaskError("infer_frame", "Traceback ...", cause)])
    with pytest.raises(ray_handles.ModelFailed, match=r"^replica failed: RuntimeError: broken$"):
        await ray_handles.serve_call("app")(b"frame")


async def test_a_model_whose_server_is_gone_is_not_ready_over_handles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = False

    async def call(frame: bytes) -> bytes:
        if gone:
            raise Unreachable("nobody answers at grpc://other:1")
        (x,) = frames.decode(memoryview(frame)[4:]).tensors
        y = Tensor("y", "FP32", x.shape, x.data)
        return b"".join(frames.encode("reply", 1, ResultMeta({}, (), 1, 0), [y]))

    async def until(ready: bool) -> str:
        async with asyncio.timeout(60):
            while plane.ready()[0] is not ready:
                await plane.changed
        return " ".join(plane.ready()[1])

    monkeypatch.setattr(ray_handles, "serve_call", lambda _app: call)
    monkeypatch.setattr(ray_handles, "ASK_REMOTE_S", 0.01)
    config = ModelConfig.model_validate(
        {
            "format": "remote",
            "remote": {"url": "grpc://other:1"},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        }
    )
    served = ServedModel("m", "1", config.model_dump_json().encode(), "nowhere")
    plane = DataPlane("g", channel=False)
    links = ray_handles.HandleLinks(plane)
    plane.apply(Directory(1, (served,), (Member("replica", "r", 1, "", "m", "1", slots=2),)))
    await until(True)
    gone = True
    assert "nobody answers at grpc://other:1" in await until(False)
    gone = False
    await until(True)
    plane.close()
    await asyncio.gather(*links._keepers)


class Answer:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, timeout_s: float) -> Any:
        return self.value


class ReadyAdmin:
    """An admin actor that is ready until it leaves."""

    def __init__(self, ready: bool) -> None:
        self.is_ready = ready
        self.ready = self.leave = self
        self.asked = 0

    def remote(self) -> Answer:
        self.asked += 1
        return Answer((self.is_ready, []))


def supervisor(delay_s: float) -> ray_supervisor.RayEngine:
    config = ServerConfig(drain_delay_s=delay_s)
    instance = SimpleNamespace(config=config, inventory=Inventory((), ()))
    stop = StopOrder(threading.Event(), threading.Event())
    return ray_supervisor.RayEngine(instance, lambda _listen: None, stop)  # type: ignore[arg-type]


def test_the_delay_counts_although_the_driver_has_not_seen_the_instance_ready() -> None:
    engine, admin = supervisor(60), ReadyAdmin(ready=True)
    assert engine._left(admin) == math.inf
    engine._stop.give()
    assert 59 < engine._left(admin) <= 60
    admin.is_ready = False  # it leaves, which shortens nothing
    assert 59 < engine._left(admin) <= 60
    assert admin.asked == 1
    engine._stop.give()
    assert engine._left(admin) == 0


def test_there_is_no_delay_where_nobody_was_sent() -> None:
    engine, admin = supervisor(60), ReadyAdmin(ready=False)
    engine._stop.give()
    assert engine._left(admin) == 0
    admin.is_ready = True
    assert engine._left(admin) == 0
