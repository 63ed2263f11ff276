"""The gateway as a Serve deployment: Serve's ingress for HTTP and gRPC, and ours beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import grpc
from ray import serve
from ray.exceptions import RayError

from serving import errors
from serving.access.decision import access_of
from serving.access.scopes import Scope
from serving.config import ServerConfig
from serving.config.hosts import LOOPBACK
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.engines.gateway_child import GatewayChild
from serving.engines.ray.call_context import context_of, from_loopback, metadata_of
from serving.engines.ray.deployments import log_as, member_name
from serving.engines.ray.handles import HandleLinks
from serving.engines.ray.instance import Instance
from serving.gateway.app import GatewayComposition
from serving.gateway.asgi import VigilApp
from serving.gateway.asgi_types import Receive, Send
from serving.gateway.asgi_types import Scope as AsgiScope
from serving.gateway.body_budget import BodyBudget
from serving.gateway.grpc.health import model_asked, statuses
from serving.gateway.grpc.methods import METHODS
from serving.gateway.internal_errors import client_error
from serving.protocol.status import grpc_status

App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

_CODES = {code.value[0]: code for code in grpc.StatusCode}
START_TIMEOUT_S = 20.0
POLL_S = 0.05


class GatewayDeployment:
    """Answers Serve's proxies; unless they are the ingress it keeps a gateway process beside it."""

    def __init__(self, instance: Instance) -> None:
        log_as("gateway", instance)
        config = instance.config
        name = member_name("gateway")
        beside = config.ingress != "serve"
        ident = f"{name}-serve" if beside else name
        self._max_body = config.listen.max_body_mib << 20
        plane = None
        if config.transport == "handle":
            plane = DataPlane(ident, channel=False)
            HandleLinks(plane)
        self._composition = GatewayComposition(
            ident,
            instance.registry_address,
            instance.secret,
            plane,
            server_name=config.listen.server_name,
            traces=config.telemetry.traces,
            bodies=BodyBudget(config.listen.inflight_bytes, self._max_body),
        )
        self._app = VigilApp(
            self._composition.start,
            self._composition.stop,
            self._max_body,
            config.listen.cors_origins,
            access_of(config.listen),
            self._composition.bodies,
        )
        self._loopback_only = config.listen.host in LOOPBACK
        self._child = _child(instance, name) if beside else None
        if self._child:
            self._child.start()

    def __serve_build_asgi_app__(self) -> App:
        """Give Serve the ASGI app that this actor hosts."""
        return _hearing_of_the_end(self._app)

    async def check_health(self) -> None:
        """Raise while the gateway is not there; that this is answered shows that the loop is."""
        if self._child:
            # A bounded time, because a restart takes a moment.
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._child.alive():  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(POLL_S)

    async def __del__(self) -> None:
        """Let it finish what is in flight; Serve has waited for its own requests already."""
        if self._child:
            await self._child.stop()

    async def answer(self, path: str, request: Any, context: Any) -> Any:
        """Answer one unary gRPC call that came through Serve's proxy, of the method at `path`."""
        began, code, method = monotonic(), 0, METHODS[path]
        plane = self._app.plane
        assert plane is not None
        # With an error status no client reads the message, but Serve insists on one.
        answer = request
        try:
            known = self._admit(method.scope, request, context)
            answer = await method.answer(plane, self._app.access, request, known)
        except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
            code = _tell(context, client_error(error, "a gRPC call could not be answered"))
        plane.durations.call(path, code, monotonic() - began)
        return answer

    async def Watch(self, request: Any, grpc_context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer the health protocol's `Watch`; Serve cancels it when the client leaves."""
        try:
            known = self._admit(Scope.HEALTH, request, grpc_context)
            assert self._app.plane is not None
            asked = model_asked(request)
            refused = self._app.access.decide(Scope.HEALTH, asked, known.principal)
            if refused is not None:
                raise refused
            async for status in statuses(self._app.plane, request.service):
                yield status
        except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
            told = client_error(error, "a gRPC stream could not be answered")
            _tell(grpc_context, told)
            try:
                raise told from None
            finally:
                del told  # its traceback knows this frame

    async def ModelStreamInfer(  # noqa: N802
        self, requests: Any, grpc_context: Any
    ) -> AsyncIterator[Any]:
        """Refuse the stream in a sentence; Serve's own would list the methods of this class."""
        nothing: tuple[Any, ...] = ()
        for message in nothing:  # what makes this a stream
            yield message
        error = errors.Unsupported(
            "ModelStreamInfer is not offered with `ingress: serve`; use ModelInfer"
        )
        _tell(grpc_context, error)
        raise error

    def _admit(self, scope: Scope, request: Any, call: Any) -> RequestContext:
        """Return the context of a call that may be made.

        Raises:
            VigilError: it may not.
        """
        # Serve's gRPC proxy listens on every interface, whatever address it is given.
        if self._loopback_only and not from_loopback(call.peer()):
            raise errors.Forbidden("this server answers calls from its own machine only")
        if request.ByteSize() > self._max_body:
            raise errors.PayloadTooLarge(
                f"the message is over the limit of {self._max_body} bytes; send a smaller one"
            )
        access, metadata = self._app.access, metadata_of(call)
        context = context_of(access, call, metadata)
        refused = access.decide(scope, "", context.principal, "POST", metadata)
        if refused is not None:
            raise refused
        return context


def _hearing_of_the_end(app: App) -> App:
    """Return `app` for Serve, whose `receive` raises where others say that the client has left."""

    async def called(scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def received() -> Any:
            try:
                return await receive()
            except RayError:
                return {"type": "http.disconnect"}

        await app(scope, received, send)

    return called


def _tell(context: Any, error: errors.VigilError) -> int:
    """Set a call's status, and return its number.

    Serve hands it on with a message, or with an exception that follows.
    """
    code = grpc_status(error)
    context.set_code(_CODES[code])
    context.set_details(error.message)
    return code


def _child(instance: Instance, name: str) -> GatewayChild:
    return GatewayChild(
        instance.config,
        instance.config.listen,
        instance.runtime_dir(),
        name,
        instance.registry_address,
        instance.secret,
        # Ray's variables hold its token, which is no business of the process that meets clients.
        hidden=("RAY_",),
    )


def _grpc_method(name: str, path: str) -> Any:
    async def call(self: GatewayDeployment, request: Any, grpc_context: Any) -> Any:
        return await self.answer(path, request, grpc_context)

    call.__name__ = name
    call.__doc__ = f"The gRPC method {name}."
    return call


# Serve's proxy calls the method of the deployment that has the name of the gRPC method.
for _path in METHODS:
    _name = _path.rpartition("/")[2]
    setattr(GatewayDeployment, _name, _grpc_method(_name, _path))


def gateway_deployment(config: ServerConfig, **options: Any) -> Any:
    """Return the gateway as a Serve deployment that is an ingress."""
    ingress = serve.ingress()(GatewayDeployment)
    return serve.deployment(ingress, name="gateway", num_replicas=config.gateways, **options)
