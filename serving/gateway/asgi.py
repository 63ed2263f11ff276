"""The ASGI application: HTTP routes, and gRPC when the server offers ASGI trailers.

A plain ASGI 3 callable without a framework: routing and decoding here are the request path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from serving.access.decision import Access
from serving.access.web import WebAccess
from serving.dataplane.context import RequestContext
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi_types import Exchange, Receive, Scope, Send
from serving.gateway.body_budget import COUNTED, BodyBudget, Share
from serving.gateway.context import context_of
from serving.gateway.grpc.asgi import known_path, serve_grpc
from serving.gateway.http.bodies import read_chunks, too_large
from serving.gateway.http.compression import unpack
from serving.gateway.http.cors import Cors, merged
from serving.gateway.http.headers import Headers, by_name
from serving.gateway.http.inference import infer
from serving.gateway.http.replies import Reply, error_reply, packed_reply
from serving.gateway.http.routes import INFER, HttpCall, Target, target_of, without_route
from serving.gateway.internal_errors import client_error
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report
from serving.telemetry.trace_context import TRACEPARENT

MOST_PATHS = 1024


class VigilApp:
    """The gateway's ASGI app over one data plane.

    Args:
        plane: the transport-free handler; made in `startup`, which runs in the server's loop.
        startup: called at lifespan start; returns the data plane.
        shutdown: called at lifespan end.
        max_body: largest body in bytes, before and after decompression.
        cors_origins: web pages that may send requests and read answers; see `Cors`.
        access: decides what requests may ask for; none: as of a server that everybody reaches.
        bodies: the bytes that all requests together may hold; none: as many as the configuration
            would allow by itself.
    """

    def __init__(
        self,
        startup: Callable[[], Awaitable[DataPlane]],
        shutdown: Callable[[], Awaitable[None]],
        max_body: int,
        cors_origins: Sequence[str] = (),
        access: Access | None = None,
        bodies: BodyBudget | None = None,
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._max_body = max_body
        self.bodies = bodies or BodyBudget(max(256 << 20, 4 * max_body), max_body)
        self.cors = Cors(cors_origins) if cors_origins else None
        self.access = access or Access(WebAccess(cors_origins))
        # Paths that have led to an answer, so that the next request need not be routed.
        self._infer_paths: dict[str, Target] = {}
        self.plane: DataPlane | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            else:  # a websocket; closed before it is accepted, which the server answers with 403
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            return
        began = monotonic()
        plane = self.plane
        assert plane is not None
        headers = by_name(scope["headers"])
        share = Share(self.bodies, counted=COUNTED in (scope.get("extensions") or ()))
        try:
            kind = headers.get(b"content-type")
            if kind is not None and kind.startswith(b"application/grpc"):
                exchange = Exchange(scope, headers, receive, send, share)
                code = await serve_grpc(plane, self.access, self._max_body, exchange)
                if code is not None:
                    method = known_path(scope["path"])
                    plane.durations.call(method, code, monotonic() - began)
            else:
                target = self._target(scope["method"], scope["path"])
                reply = await self._reply(target, scope, headers, receive, share)
                share.end()
                await self._send(scope, headers, reply, send)
                plane.durations.request(
                    scope["method"], target.told, reply.status, monotonic() - began,
                    scope.get("scheme", "http"),
                )  # fmt: skip
        finally:
            share.end()

    def _target(self, method: str, path: str) -> Target:
        known = self._infer_paths.get(path) if method == "POST" else None
        return target_of(method, path) if known is None else known

    async def _reply(
        self, target: Target, scope: Scope, headers: Headers, receive: Receive, share: Share
    ) -> Reply:
        """Return the answer to one HTTP request; whatever goes wrong becomes one."""
        method, path = scope["method"], scope["path"]
        try:
            context = context_of(self.access.principal_of(headers), scope, headers, receive)
            refused = self.access.decide(
                target.scope, target.name, context.principal, method, headers
            )
            if refused is not None:
                raise refused
            body = await self._read(headers, receive, share)
            return await self._answer(target, scope, headers, body, context)
        except Exception as error:  # noqa: BLE001 - the client gets a sentence, the log the traceback
            said = "a request could not be answered"
            trace = headers.get(TRACEPARENT, b"")
            return error_reply(client_error(error, said, path=path, traceparent=trace))

    async def _send(self, scope: Scope, headers: Headers, reply: Reply, send: Send) -> None:
        accepted = headers.get(b"accept-encoding")
        if accepted is not None:
            reply = await packed_reply(reply, accepted)
        answer = reply.headers
        if self.cors is not None:
            added = self.cors.headers(scope["method"], scope["path"], headers)
            answer = merged(answer, added)
        answer.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": answer})
        body = b"" if scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body})

    async def _read(self, headers: Headers, receive: Receive, share: Share) -> bytes:
        """Return the body of a request as it was before its client packed it."""
        limit = self._max_body
        share.receives(_declared(headers, limit))
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await read_chunks(body, receive, limit, share)
        elif len(body) > limit:
            raise too_large(limit)
        else:
            share.receives(len(body))
        del message
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            body = await unpack(body, encoding.decode("latin-1"), limit, share)
        return body

    async def _answer(
        self, target: Target, scope: Scope, headers: Headers, body: bytes, context: RequestContext
    ) -> Reply:
        assert self.plane is not None
        method, path, route = scope["method"], scope["path"], target.route
        if route is INFER:
            reply = await infer(self.plane, headers, body, target.name, target.version, context)
            if len(self._infer_paths) < MOST_PATHS:
                self._infer_paths[path] = target  # answered, so the model exists
            return reply
        if route is None:
            return without_route(method, path, target.methods)
        return await route.handle(
            HttpCall(
                self.plane,
                headers,
                scope["query_string"],
                body,
                method,
                path,
                context,
                target.name,
                target.version,
                target.report,
                scope.get("root_path", ""),
                target.prediction,
                target.incident,
            )
        )

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self.plane = await self._startup()
                except Exception as error:  # noqa: BLE001 - told to the server, which then stops
                    report(Event.PROCESS_CRASHED, "the gateway did not start", error=error)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                try:
                    await self._shutdown()
                except Exception as error:  # noqa: BLE001 - told to the server
                    report(Event.INTERNAL_ERROR, "the gateway did not stop cleanly", error=error)
                    await send({"type": "lifespan.shutdown.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.shutdown.complete"})
                return


def _declared(headers: Headers, limit: int) -> int:
    """Return the length that a body is said to have, 0 without one.

    Raises:
        PayloadTooLarge: it is over the limit, so that no client sends it in vain.
    """
    text = headers.get(b"content-length", b"")
    length = int(text) if text.isdigit() and len(text) < 20 else 0
    if length > limit:
        raise too_large(limit)
    return length
