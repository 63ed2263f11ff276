"""The ASGI application: HTTP routes, and gRPC when the server offers ASGI trailers.

A plain ASGI 3 callable without a framework: routing and decoding here are the request path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from serving import errors
from serving.access.web import WebAccess
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import log_failure
from serving.gateway.body_budget import COUNTED, BodyBudget, Share
from serving.gateway.client import context_of
from serving.gateway.grpc.asgi import refuse_grpc, serve_grpc
from serving.gateway.http.bodies import read_chunks, too_large
from serving.gateway.http.compression import unpack
from serving.gateway.http.cors import Cors, merged
from serving.gateway.http.headers import Headers, by_name
from serving.gateway.http.inference import infer
from serving.gateway.http.replies import JSON, Reply, error_reply, packed_reply
from serving.gateway.http.routes import Call, find, infer_route, without_handler
from serving.protocol.status import error_body
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

MOST_PATHS = 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class VigilApp:
    """The gateway's ASGI app over one data plane.

    Args:
        plane: the transport-free handler; made in `startup`, which runs in the server's loop.
        startup: called at lifespan start; returns the data plane.
        shutdown: called at lifespan end.
        max_body: largest body in bytes, before and after decompression.
        cors_origins: web pages that may send requests and read answers; see `Cors`.
        hosts: names of this server beside those of loopback; None: any. See `WebAccess`.
        bodies: the bytes that all requests together may hold; none: as many as the configuration
            would allow by itself.
    """

    def __init__(
        self,
        startup: Callable[[], Awaitable[DataPlane]],
        shutdown: Callable[[], Awaitable[None]],
        max_body: int,
        cors_origins: Sequence[str] = (),
        hosts: Iterable[str] | None = None,
        bodies: BodyBudget | None = None,
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._max_body = max_body
        self.bodies = bodies or BodyBudget(max(256 << 20, 4 * max_body), max_body)
        self.cors = Cors(cors_origins) if cors_origins else None
        self.access = WebAccess(cors_origins, hosts)
        # Paths that have led to an answer, so that the next request need not be routed.
        self._infer_paths: dict[str, tuple[str, str]] = {}
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
        headers = by_name(scope["headers"])
        share = Share(self.bodies, counted=COUNTED in (scope.get("extensions") or ()))
        try:
            kind = headers.get(b"content-type")
            if kind is not None and kind.startswith(b"application/grpc"):
                await self._grpc(scope, headers, receive, send, share)
            else:
                reply = await self._reply(scope, headers, receive, share)
                share.end()
                await self._send(scope, headers, reply, send)
        finally:
            share.end()

    async def _grpc(
        self, scope: Scope, headers: Headers, receive: Receive, send: Send, share: Share
    ) -> None:
        assert self.plane is not None
        # Whatever its method: a call asks for something.
        refused = self.access.refusal("POST", headers)
        if refused is not None:
            await refuse_grpc(errors.Forbidden(refused), scope, send)
            return
        if scope["method"] != "POST":
            await refuse_grpc(errors.Unsupported("a gRPC call has the method POST"), scope, send)
            return
        await serve_grpc(self.plane, self._max_body, scope, headers, receive, send, share)

    async def _reply(self, scope: Scope, headers: Headers, receive: Receive, share: Share) -> Reply:
        """Return the answer to one HTTP request; whatever goes wrong becomes one."""
        try:
            refused = self.access.refusal(scope["method"], headers)
            if refused is not None:
                raise errors.Forbidden(refused)
            body = await self._read(headers, receive, share)
            return await self._route(scope, headers, body, receive)
        except errors.VigilError as error:
            log_failure(error, path=scope["path"])
            return error_reply(error)
        except Exception as error:  # noqa: BLE001
            # Whatever it was, the client gets a sentence and the operator the traceback.
            said = "a request could not be answered"
            report(Event.INTERNAL_ERROR, said, path=scope["path"], error=error)
            return Reply(500, [JSON], error_body("internal error; see the server's log"))

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

    async def _route(self, scope: Scope, headers: Headers, body: bytes, receive: Receive) -> Reply:
        assert self.plane is not None
        method, path = scope["method"], scope["path"]
        context = context_of(scope, headers, disconnect=receive)
        if method == "POST":
            known = self._infer_paths.get(path)
            if known is not None:
                return await infer(self.plane, headers, body, *known, context)
        methods, named = find(path)
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            return without_handler(method, path, methods)
        call = Call(
            self.plane,
            headers,
            scope["query_string"],
            body,
            method,
            path,
            context,
            root_path=scope.get("root_path", ""),
            **named,
        )
        reply = await handler(call)
        if handler is infer_route and len(self._infer_paths) < MOST_PATHS:
            self._infer_paths[path] = (call.name, call.version)  # answered, so the model exists
        return reply

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
