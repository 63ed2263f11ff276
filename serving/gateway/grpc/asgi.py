"""gRPC over ASGI: which call goes where, and unary calls from end to end."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message

from serving import errors
from serving.access.decision import Access
from serving.access.principals import Principal
from serving.access.scopes import Scope
from serving.dataplane.context import GRPC
from serving.dataplane.handler import DataPlane
from serving.gateway.asgi_types import Exchange
from serving.gateway.context import context_of
from serving.gateway.grpc.frames import (
    OK,
    answer_headers,
    call_options,
    packed_frame,
    read_message,
    send_end,
    send_start,
)
from serving.gateway.grpc.health import watch
from serving.gateway.grpc.methods import METHODS, Method
from serving.gateway.grpc.paths import REFLECTION, REFLECTION_ALPHA, STREAM_INFER, WATCH
from serving.gateway.grpc.reflection import reflect, reflect_alpha
from serving.gateway.grpc.replies import failed
from serving.gateway.grpc.stream import stream_infer
from serving.gateway.grpc.stream_call import StreamMethod, serve_stream
from serving.protocol.parameters import NO_SHARED_MEMORY
from serving.telemetry.metrics.servers import OTHER

STREAMS: Final = {
    STREAM_INFER: StreamMethod(stream_infer, Scope.INFER),
    WATCH: StreamMethod(watch, Scope.HEALTH),
    REFLECTION: StreamMethod(reflect, Scope.METADATA),
    REFLECTION_ALPHA: StreamMethod(reflect_alpha, Scope.METADATA),
}
"""Methods whose client or server sends a stream, by their path."""


def known_path(path: str) -> str:
    """Return the path of a method as metrics tell it: `OTHER` for one that nobody knows."""
    return path if path in METHODS or path in STREAMS else OTHER


async def serve_grpc(
    plane: DataPlane, access: Access, max_body: int, exchange: Exchange
) -> int | None:
    """Answer one call; whatever goes wrong becomes a gRPC status.

    Returns:
        The number of its status; None if its client went away first.
    """
    path = exchange.scope["path"]
    stream, method = STREAMS.get(path), METHODS.get(path)
    try:
        principal = _admit(stream or method, access, exchange)
    except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
        said = "a gRPC call could not be answered"
        trailers, code = failed(error, said, path, exchange.headers)
        await send_start(exchange.send, answer_headers({})[0])
        await send_end(exchange.send, trailers, b"")
        return code
    if stream is not None:
        return await serve_stream(stream, plane, access, max_body, exchange, principal)
    return await _serve_unary(method, plane, access, max_body, exchange, principal)


def _admit(known: StreamMethod | Method | None, access: Access, exchange: Exchange) -> Principal:
    """Return who calls, if the method may be called; nothing of the call has been read.

    Raises:
        VigilError: it may not.
    """
    principal = access.principal_of(exchange.headers)
    scope = None if known is None else known.scope
    # Whatever its method of HTTP: a call asks for something.
    refused = access.decide(scope, "", principal, "POST", exchange.headers)
    if refused is not None:
        raise refused
    if exchange.scope["method"] != "POST":
        raise errors.Unsupported("a gRPC call has the method POST")
    return principal


async def _serve_unary(
    method: Method | None,
    plane: DataPlane,
    access: Access,
    max_body: int,
    exchange: Exchange,
    principal: Principal,
) -> int:
    answer, encoding = answer_headers(exchange.headers)
    body = b""
    trailers, code = OK, 0
    try:
        reply = await _call(method, plane, access, max_body, exchange, principal)
        body = await packed_frame(reply, encoding)
    except Exception as error:  # noqa: BLE001 - the client gets a status, the log the traceback
        said = "a gRPC call could not be answered"
        trailers, code = failed(error, said, exchange.scope["path"], exchange.headers)
    exchange.share.end()
    await send_start(exchange.send, answer)
    await send_end(exchange.send, trailers, body)
    return code


async def _call(
    method: Method | None,
    plane: DataPlane,
    access: Access,
    max_body: int,
    exchange: Exchange,
    principal: Principal,
) -> Message:
    if method is None:
        path = exchange.scope["path"]
        unknown = f"unknown gRPC method '{path[:200]}'"
        raise errors.Unsupported(NO_SHARED_MEMORY if "SharedMemory" in path else unknown)
    scope, headers, receive = exchange.scope, exchange.headers, exchange.receive
    timeout_s, encoding = call_options(headers)
    context = context_of(principal, scope, headers, receive, timeout_s, GRPC)
    payload = await read_message(max_body, encoding, receive, exchange.share)
    try:
        message = method.request.FromString(payload)
    except DecodeError:
        raise errors.InvalidInput(
            "the message is not a valid protobuf message of this method"
        ) from None
    answer: Message = await method.answer(plane, access, message, context)
    return answer
