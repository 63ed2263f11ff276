"""gRPC over ASGI: unary calls from end to end. The methods are in `grpc_methods`."""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError

from serving import errors
from serving.dataplane.handler import DataPlane
from serving.gateway.client import client_of
from serving.gateway.grpc_frames import (
    INTERNAL,
    OK,
    Receive,
    Scope,
    Send,
    call_options,
    frame,
    read_message,
    send_end,
    send_start,
    status_trailers,
)
from serving.gateway.grpc_methods import METHODS
from serving.gateway.grpc_paths import STREAM_INFER
from serving.gateway.grpc_stream import serve_stream
from serving.protocol.status import grpc_status

_log = logging.getLogger("vigil.gateway")


async def serve_grpc(
    plane: DataPlane, max_body: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one call; whatever goes wrong becomes a gRPC status."""
    if scope["path"] == STREAM_INFER:
        await serve_stream(plane, max_body, scope, receive, send)
        return
    body = b""
    trailers = OK
    try:
        body = frame(await _call(plane, max_body, scope, receive))
    except errors.VigilError as error:
        trailers = status_trailers(grpc_status(error), error.message)
    except Exception:  # noqa: BLE001 - the client gets a status, the operator the traceback
        _log.exception("unexpected error in gRPC call %r", scope.get("path"))
        trailers = status_trailers(INTERNAL, "internal error; see the server's log")
    await send_start(send)
    await send_end(send, trailers, body)


async def _call(plane: DataPlane, max_body: int, scope: Scope, receive: Receive) -> bytes:
    method = METHODS.get(scope["path"])
    if method is None:
        raise errors.Unsupported(f"unknown gRPC method '{scope['path'][:200]}'")
    timeout_s, encoding = call_options(scope)
    payload = await read_message(max_body, encoding, receive)
    try:
        request = method.request.FromString(payload)
    except DecodeError:
        raise errors.InvalidInput(
            "the message is not a valid protobuf message of this method"
        ) from None
    if method.waits:
        reply = await method.call(plane, request, timeout_s, client_of(scope), receive)
    else:
        reply = await method.call(plane, request, timeout_s)
    answer: bytes = reply.SerializeToString()
    return answer
