"""Unary gRPC over ASGI: frames, deadlines, status trailers. The methods are in `grpc_methods`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from google.protobuf.message import DecodeError

from serving import errors
from serving.dataplane.handler import DataPlane
from serving.gateway.bodies import read_chunks
from serving.gateway.compression import decompress
from serving.gateway.grpc_methods import METHODS
from serving.protocol.status import grpc_status

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("vigil.gateway")
_HEADERS = [(b"content-type", b"application/grpc")]
_OK = [(b"grpc-status", b"0")]
_INTERNAL = 13
_SAFE = " !\"#$&'()*+,-./:;<=>?@[]^_`{|}~"
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


async def serve_grpc(
    plane: DataPlane, max_body: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one unary call; whatever goes wrong becomes a gRPC status."""
    try:
        answer = await _call(plane, max_body, scope, receive)
    except errors.VigilError as error:
        await _send_status(send, grpc_status(error), error.message)
        return
    except Exception:  # noqa: BLE001 - the client gets a status, the operator the traceback
        _log.exception("unexpected error in gRPC call %r", scope.get("path"))
        await _send_status(send, _INTERNAL, "internal error; see the server's log")
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
    )
    prefix = b"\x00" + len(answer).to_bytes(4, "big")
    await send({"type": "http.response.body", "body": prefix + answer})
    await send({"type": "http.response.trailers", "headers": _OK})


async def _call(plane: DataPlane, max_body: int, scope: Scope, receive: Receive) -> bytes:
    method = METHODS.get(scope["path"])
    if method is None:
        raise errors.Unsupported(f"unknown gRPC method '{scope['path'][:200]}'")
    timeout_s: float | None = None
    encoding = ""
    for name, value in scope["headers"]:
        if name == b"grpc-timeout":
            timeout_s = _timeout(value)
        elif name == b"grpc-encoding":
            encoding = value.decode("latin-1")
    payload = await _read_message(max_body, encoding, receive)
    try:
        request = method.request.FromString(payload)
    except DecodeError:
        raise errors.InvalidInput(
            "the message is not a valid protobuf message of this method"
        ) from None
    reply = await method.call(plane, request, timeout_s)
    answer: bytes = reply.SerializeToString()
    return answer


async def _read_message(max_body: int, encoding: str, receive: Receive) -> bytes:
    """Read the one length-prefixed message of a unary call."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await read_chunks(body, receive, max_body + 5)
    if len(body) < 5:
        raise errors.InvalidInput("the call carries no message")
    size = int.from_bytes(body[1:5], "big")
    if size > max_body:
        raise errors.PayloadTooLarge(f"the message is over the limit of {max_body} bytes")
    if len(body) != size + 5:
        raise errors.InvalidInput("a unary call carries exactly one message")
    payload = body[5:]
    if body[0] == 0:
        return payload
    if body[0] != 1 or encoding in ("", "identity"):
        raise errors.InvalidInput("the message is marked as compressed without grpc-encoding")
    try:
        return decompress(payload, encoding, max_body)
    except errors.UnsupportedMedia as error:
        raise errors.Unsupported(error.message) from None


def _timeout(value: bytes) -> float:
    unit = _UNITS.get(value[-1:])
    if unit is None or not value[:-1].isdigit() or len(value) > 9:
        raise errors.InvalidInput("grpc-timeout must be up to 8 digits and one of H M S m u n")
    return int(value[:-1]) * unit


async def _send_status(send: Send, code: int, text: str) -> None:
    # Percent-encoded as the gRPC protocol asks, so that any text survives as a header.
    trailers = [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", quote(text, _SAFE, errors="replace").encode()),
    ]
    await send(
        {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
    )
    await send({"type": "http.response.body", "body": b""})
    await send({"type": "http.response.trailers", "headers": trailers})
