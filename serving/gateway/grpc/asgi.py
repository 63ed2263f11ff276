"""gRPC over ASGI: which call goes where, and unary calls from end to end."""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from serving import errors
from serving.dataplane.handler import DataPlane
from serving.dataplane.hooks.failed_requests import log_failure
from serving.gateway.body_budget import Share
from serving.gateway.client import context_of
from serving.gateway.grpc.frames import (
    INTERNAL,
    OK,
    Receive,
    Scope,
    Send,
    answer_headers,
    call_options,
    packed_frame,
    read_message,
    send_end,
    send_start,
    status_trailers,
)
from serving.gateway.grpc.health import watch
from serving.gateway.grpc.methods import METHODS
from serving.gateway.grpc.paths import REFLECTION, REFLECTION_ALPHA, STREAM_INFER, WATCH
from serving.gateway.grpc.reflection import reflect, reflect_alpha
from serving.gateway.grpc.stream import stream_infer
from serving.gateway.grpc.stream_call import serve_stream
from serving.gateway.http.headers import Headers
from serving.protocol.parameters import NO_SHARED_MEMORY
from serving.protocol.status import grpc_status
from serving.telemetry.logs.events import Event
from serving.telemetry.logs.report import report

STREAMS = {
    STREAM_INFER: stream_infer,
    WATCH: watch,
    REFLECTION: reflect,
    REFLECTION_ALPHA: reflect_alpha,
}
"""Methods whose client or server sends a stream, by their path."""


async def serve_grpc(
    plane: DataPlane,
    max_body: int,
    scope: Scope,
    headers: Headers,
    receive: Receive,
    send: Send,
    share: Share,
) -> None:
    """Answer one call; whatever goes wrong becomes a gRPC status."""
    stream = STREAMS.get(scope["path"])
    if stream is not None:
        await serve_stream(stream, plane, max_body, scope, headers, receive, send, share)
        return
    answer, encoding = answer_headers(headers)
    body = b""
    trailers = OK
    try:
        reply = await _call(plane, max_body, scope, headers, receive, share)
        body = await packed_frame(reply, encoding)
    except errors.VigilError as error:
        log_failure(error, path=scope["path"])
        trailers = status_trailers(grpc_status(error), error.message)
    except Exception as error:  # noqa: BLE001 - the client gets a status, the operator the traceback
        said = "a gRPC call could not be answered"
        report(Event.INTERNAL_ERROR, said, path=scope["path"], error=error)
        trailers = status_trailers(INTERNAL, "internal error; see the server's log")
    share.end()
    await send_start(send, answer)
    await send_end(send, trailers, body)


async def refuse_grpc(error: errors.VigilError, scope: Scope, send: Send) -> None:
    """Answer a call that is not even read."""
    log_failure(error, path=scope["path"])
    await send_start(send, answer_headers({})[0])
    await send_end(send, status_trailers(grpc_status(error), error.message), b"")


async def _call(
    plane: DataPlane,
    max_body: int,
    scope: Scope,
    headers: Headers,
    receive: Receive,
    share: Share,
) -> Message:
    path = scope["path"]
    method = METHODS.get(path)
    if method is None:
        unknown = f"unknown gRPC method '{path[:200]}'"
        raise errors.Unsupported(NO_SHARED_MEMORY if "SharedMemory" in path else unknown)
    timeout_s, encoding = call_options(headers)
    context = context_of(scope, headers, timeout_s=timeout_s, disconnect=receive)
    payload = await read_message(max_body, encoding, receive, share)
    try:
        request = method.request.FromString(payload)
    except DecodeError:
        raise errors.InvalidInput(
            "the message is not a valid protobuf message of this method"
        ) from None
    answer: Message = await method.call(plane, request, context)
    return answer
