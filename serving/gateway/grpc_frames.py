"""What gRPC puts around messages: length prefixes, compression, call options, statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from serving import errors
from serving.gateway.bodies import read_chunks
from serving.gateway.compression import decompress

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADERS = [(b"content-type", b"application/grpc")]
OK = [(b"grpc-status", b"0")]
INTERNAL = 13
MOST_TEXT = 2000
_SAFE = " !\"#$&'()*+,-./:;<=>?@[]^_`{|}~"
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Disconnected(Exception):
    """The client went away in the middle of a stream; nobody is there to be told."""


def call_options(scope: Scope) -> tuple[float | None, str]:
    """Return the seconds that the client allows (None without a deadline) and its encoding.

    Raises:
        InvalidInput: the deadline is none of the protocol's.
    """
    timeout_s: float | None = None
    encoding = ""
    for name, value in scope["headers"]:
        if name == b"grpc-timeout":
            timeout_s = _timeout(value)
        elif name == b"grpc-encoding":
            encoding = value.decode("latin-1")
    return timeout_s, encoding


def _timeout(value: bytes) -> float:
    unit = _UNITS.get(value[-1:])
    if unit is None or not value[:-1].isdigit() or len(value) > 9:
        raise errors.InvalidInput("grpc-timeout must be up to 8 digits and one of H M S m u n")
    return int(value[:-1]) * unit


def frame(payload: bytes) -> bytes:
    """Return an uncompressed message with its prefix."""
    return b"\x00" + len(payload).to_bytes(4, "big") + payload


async def read_message(max_body: int, encoding: str, receive: Receive) -> bytes:
    """Read the one message of a unary call.

    Raises:
        InvalidInput, PayloadTooLarge, Unsupported: there is not exactly one, it is too large, or
            it cannot be unpacked.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await read_chunks(body, receive, max_body + 5)
    return unary_message(body, encoding, max_body)


def unary_message(body: bytes, encoding: str, max_body: int) -> bytes:
    """Return the one message in the whole body of a unary call.

    Raises:
        InvalidInput, PayloadTooLarge, Unsupported: as for `read_message`.
    """
    if len(body) < 5:
        raise errors.InvalidInput("the call carries no message")
    size = _size(body, max_body)
    if len(body) != size + 5:
        raise errors.InvalidInput("a unary call carries exactly one message")
    return _unpacked(body[0], body[5:], encoding, max_body)


async def read_messages(max_body: int, encoding: str, receive: Receive) -> AsyncIterator[bytes]:
    """Read the messages of a client's stream, each as soon as it is whole.

    Raises:
        InvalidInput, PayloadTooLarge, Unsupported: as for `read_message`.
        Disconnected: the client went away.
    """
    buffer, more = bytearray(), True
    while True:
        while len(buffer) >= 5 and len(buffer) >= (end := _size(buffer, max_body) + 5):
            flag, payload = buffer[0], bytes(memoryview(buffer)[5:end])
            del buffer[:end]
            yield _unpacked(flag, payload, encoding, max_body)
        if not more:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        buffer += message.get("body", b"")
        more = message.get("more_body", False)
    if buffer:
        raise errors.InvalidInput("the stream ends within a message")


def _size(prefix: bytes | bytearray, max_body: int) -> int:
    size = int.from_bytes(prefix[1:5], "big")
    if size > max_body:
        raise errors.PayloadTooLarge(f"the message is over the limit of {max_body} bytes")
    return size


def _unpacked(flag: int, payload: bytes, encoding: str, max_body: int) -> bytes:
    if flag == 0:
        return payload
    if flag != 1 or encoding in ("", "identity"):
        raise errors.InvalidInput("the message is marked as compressed without grpc-encoding")
    try:
        return decompress(payload, encoding, max_body)
    except errors.UnsupportedMedia as error:
        raise errors.Unsupported(error.message) from None


async def send_start(send: Send) -> None:
    """Begin an answer; trailers will end it."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS, "trailers": True})


def status_trailers(code: int, text: str) -> list[tuple[bytes, bytes]]:
    """Return the trailers that end a call which failed."""
    # Percent-encoded as the gRPC protocol asks, so that any text survives as a header. Clients
    # bound what they take of headers, and none may begin or end with a space.
    text = text[:MOST_TEXT].strip()
    return [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", quote(text, _SAFE, errors="replace").encode()),
    ]


async def send_end(send: Send, trailers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    """End an answer: the rest of its body, then the trailers."""
    await send({"type": "http.response.body", "body": body})
    await send({"type": "http.response.trailers", "headers": trailers})
