"""The ASGI application: HTTP routes, and gRPC when the server offers ASGI trailers.

A plain ASGI 3 callable without a framework: routing and decoding here are the request path.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from serving import errors
from serving.dataplane.handler import DataPlane
from serving.gateway import extensions, metadata
from serving.gateway.bodies import read_chunks, too_large
from serving.gateway.client import client_of
from serving.gateway.compression import decompress
from serving.gateway.grpc_asgi import serve_grpc
from serving.gateway.model_config import model_config
from serving.gateway.repository_index import index, wants_only_ready
from serving.gateway.statistics import statistics
from serving.protocol.json_codec import (
    decode_raw_request,
    decode_request,
    encode_response,
    parse_json_length,
)
from serving.protocol.messages import InferRequest
from serving.protocol.metadata import encode_metadata
from serving.protocol.status import error_body, http_status

MOST_PATHS = 1024

Headers = dict[bytes, bytes]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("vigil.gateway")
_JSON = (b"content-type", b"application/json")
_OCTETS = (b"content-type", b"application/octet-stream")


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer: status, headers beside content-length, body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class VigilApp:
    """The gateway's ASGI app over one data plane.

    Args:
        plane: the transport-free handler; made in `startup`, which runs in the server's loop.
        startup: called at lifespan start; returns the data plane.
        shutdown: called at lifespan end.
        max_body: largest body in bytes, before and after decompression.
    """

    def __init__(
        self,
        startup: Callable[[], Awaitable[DataPlane]],
        shutdown: Callable[[], Awaitable[None]],
        max_body: int,
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._max_body = max_body
        # Paths that have led to an answer, so that the next request need not be routed.
        self._infer_paths: dict[str, tuple[str, str]] = {}
        self.plane: DataPlane | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            return
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type")
        if kind is not None and kind.startswith(b"application/grpc"):
            assert self.plane is not None
            await serve_grpc(self.plane, self._max_body, scope, receive, send)
            return
        try:
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await read_chunks(body, receive, self._max_body)
            elif len(body) > self._max_body:
                raise too_large(self._max_body)
            reply = await self._route(scope, headers, body, receive)
        except errors.VigilError as error:
            reply = _error_reply(error)
        except Exception:  # noqa: BLE001
            # Whatever it was, the client gets a sentence and the operator the traceback.
            _log.exception("unexpected error on %r", scope.get("path"))
            reply = Reply(500, [_JSON], error_body("internal error; see the server's log"))
        reply.headers.append((b"content-length", b"%d" % len(reply.body)))
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
        )
        await send({"type": "http.response.body", "body": reply.body})

    async def _route(self, scope: Scope, headers: Headers, body: bytes, receive: Receive) -> Reply:
        assert self.plane is not None
        method, path = scope["method"], scope["path"]
        if method == "POST":
            known = self._infer_paths.get(path)
            if known is not None:
                return await self._infer(scope, headers, body, receive, *known)
        parts = path.strip("/").split("/")
        if parts[0] != "v2":
            raise errors.NotFound(f"no such path: '{path[:200]}'; see /v2")
        if method == "POST":
            if len(parts) >= 4 and parts[1] == "models":
                name, version, verb = _model_path(parts)
                if verb == ["infer"]:
                    reply = await self._infer(scope, headers, body, receive, name, version)
                    if len(self._infer_paths) < MOST_PATHS:  # answered, so the model exists
                        self._infer_paths[path] = (name, version)
                    return reply
                if verb == ["explain"]:
                    return _json(await extensions.explain(self.plane, body, name, version))
                if verb == ["labels"] and not version:
                    return _json(await extensions.labels(self.plane, body, name))
            if parts[1:] == ["repository", "index"]:
                found = index(self.plane, wants_only_ready(body))
                return _json(msgspec.json.encode(found))
            raise _no_route(method, path)
        if method == "GET":
            return await self._get(parts, path, scope["query_string"])
        raise _no_route(method, path)

    async def _get(self, parts: list[str], path: str, query: bytes) -> Reply:
        plane = self.plane
        assert plane is not None
        if len(parts) == 1:
            return _json(encode_metadata(metadata.SERVER))
        if parts[1:] == ["health", "live"]:
            return _json(b'{"live":true}')
        if parts[1:] == ["health", "ready"]:
            ready, reasons = plane.ready()
            if not ready:
                raise errors.ModelNotReady("not ready: " + "; ".join(reasons))
            return _json(b'{"ready":true}')
        if parts[1:] == ["models", "stats"]:
            return _json(msgspec.json.encode(statistics(plane, "", "")))
        if parts[1] == "models" and len(parts) >= 3:
            name, version, verb = _model_path(parts)
            if not verb:
                return _json(encode_metadata(metadata.model_metadata(plane, name, version)))
            if verb == ["ready"]:
                metadata.require_ready(plane, name, version)
                return _json(b'{"ready":true}')
            if verb == ["stats"]:
                return _json(msgspec.json.encode(statistics(plane, name, version)))
            if verb == ["config"]:
                return _json(msgspec.json.encode(model_config(plane, name, version)))
            if verb == ["findings"] and not version:
                return _json(await extensions.findings(plane, name))
            if len(verb) == 2 and verb[0] == "reports" and not version:
                kind, content = await extensions.report(plane, name, verb[1], query)
                return Reply(200, [(b"content-type", kind)], content)
        raise _no_route("GET", path)

    async def _infer(
        self,
        scope: Scope,
        headers: Headers,
        body: bytes,
        receive: Receive,
        name: str,
        version: str,
    ) -> Reply:
        assert self.plane is not None
        header_id = headers.get(b"x-request-id")
        given_id = None if header_id is None else header_id.decode("latin-1")
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            body = decompress(body, encoding.decode("latin-1"), self._max_body)
        json_length: int | None = None
        length = headers.get(b"inference-header-content-length")
        if length is not None:
            json_length = parse_json_length(length.decode("latin-1"), len(body))
        if json_length == 0:
            request = self._raw_request(body, name, version, given_id)
        else:
            request = decode_request(body, json_length, name, version, given_id)
        response = await self.plane.infer(request, None, client_of(scope), receive)
        content, json_part = encode_response(response, request)
        answer = [_JSON] if json_part is None else [
            _OCTETS, (b"inference-header-content-length", b"%d" % json_part),
        ]  # fmt: skip
        ident = request.id
        # A header must not carry what could end it; ids are bounded by the codec.
        if ident.isascii() and ident.isprintable():
            answer.append((b"x-request-id", ident.encode()))
        return Reply(200, answer, content)

    def _raw_request(
        self, body: bytes, name: str, version: str, header_id: str | None
    ) -> InferRequest:
        assert self.plane is not None
        entry = self.plane.resolve(name, version)
        inputs = [
            metadata.tensor_metadata(spec) for spec in entry.config.inputs if not spec.sensitive
        ]
        return decode_raw_request(body, inputs, name, version, header_id)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self.plane = await self._startup()
                except Exception as error:  # noqa: BLE001 - told to the server, which then stops
                    _log.exception("the gateway did not start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                try:
                    await self._shutdown()
                except Exception as error:  # noqa: BLE001 - told to the server
                    _log.exception("the gateway did not stop cleanly")
                    await send({"type": "lifespan.shutdown.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.shutdown.complete"})
                return


def _model_path(parts: list[str]) -> tuple[str, str, list[str]]:
    """Split v2/models/{name}[/versions/{version}][/...] into name, version and the rest."""
    name, rest = parts[2], parts[3:]
    if rest[:1] == ["versions"] and len(rest) >= 2:
        return name, rest[1], rest[2:]
    return name, "", rest


def _json(body: bytes) -> Reply:
    return Reply(200, [_JSON], body)


def _no_route(method: str, path: str) -> errors.VigilError:
    return errors.NotFound(f"no such path: {method[:16]} '{path[:200]}'; see /v2")


def _error_reply(error: errors.VigilError) -> Reply:
    headers = [_JSON]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    return Reply(http_status(error), headers, error_body(error.message))
