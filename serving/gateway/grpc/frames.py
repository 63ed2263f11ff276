"""What gRPC puts around messages: length prefixes, compression, call options, statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from google.protobuf.message import Message

from serving import errors
from serving.gateway.asgi_types import Receive, Send
from serving.gateway.body_budget import Share
from serving.gateway.grpc.deadline import MALFORMED_TIMEOUT, NO_TIMEOUT, timeout_seconds
from serving.gateway.http.bodies import read_chunks
from serving.gateway.http.compression import ENCODINGS, pack, pays, unpack
from serving.gateway.http.headers import Headers
from serving.protocol.pb.open_inference_pb2 import ModelInferResponse, ModelStreamInferResponse

HEADERS = [(b"content-type", b"application/grpc")]
_ACCEPTED = (b"grpc-accept-encoding", b",".join([*(e.encode() for e in ENCODINGS), b"identity"]))
OK = [(b"grpc-status", b"0")]
MOST_TEXT = 2000
_SAFE = " !\"#$&'()*+,-./:;<=>?@[]^_`{|}~"


class Disconnected(Exception):
    """The client went away in the middle of a stream; nobody is there to be told."""


def call_options(headers: Headers) -> tuple[float | None, str]:
    """Return the seconds that the client allows (None without a deadline) and its encoding.

    Raises:
        InvalidInput: the deadline is none of the protocol's.
    """
    given = headers.get(b"grpc-timeout")
    timeout_s = None if given is None else timeout_seconds(given)
    if timeout_s == NO_TIMEOUT:
        raise errors.InvalidInput(MALFORMED_TIMEOUT)
    return timeout_s, headers.get(b"grpc-encoding", b"").decode("latin-1")


def answer_headers(headers: Headers) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return the headers of an answer, and the encoding that its messages may have.

    A client that compresses gets the same back, as servers in Go do it; one that does not gets
    nothing compressed, although its library may name what it could read in every call.
    """
    encoding = headers.get(b"grpc-encoding", b"").decode("latin-1")
    if not encoding:
        return HEADERS, ""
    answer = [*HEADERS, _ACCEPTED]
    accepted = headers.get(b"grpc-accept-encoding", b"").decode("latin-1")
    read = accepted.replace(" ", "").split(",")
    if encoding not in ENCODINGS or (accepted and encoding not in read):
        return answer, ""
    return [*answer, (b"grpc-encoding", encoding.encode())], encoding


def frame(payload: bytes) -> bytes:
    """Return an uncompressed message with its prefix."""
    return b"\x00" + len(payload).to_bytes(4, "big") + payload


async def packed_frame(message: Message, encoding: str) -> bytes:
    """Return a message with its prefix, compressed where that pays; "" leaves it as it is."""
    payload: bytes = message.SerializeToString()
    if encoding and _packs(message, len(payload)):
        packed = await pack(payload, encoding)
        if packed is not None:
            return b"\x01" + len(packed).to_bytes(4, "big") + packed
    return frame(payload)


def _packs(message: Message, size: int) -> bool:
    """Whether it is an inference answer that is worth compressing."""
    if isinstance(message, ModelStreamInferResponse):
        message = message.infer_response
    return isinstance(message, ModelInferResponse) and pays(size, message.outputs)


async def read_message(max_body: int, encoding: str, receive: Receive, share: Share) -> bytes:
    """Read the one message of a unary call.

    Raises:
        InvalidInput, PayloadTooLarge, Unsupported: there is not exactly one, it is too large, or
            it cannot be unpacked.
        Overloaded: all bodies together would be too long.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await read_chunks(body, receive, max_body + 5, share)
    else:
        share.receives(len(body))
    del message
    check_unary(body, max_body)
    flag, body = body[0], body[5:]
    return body if flag == 0 else await _unpacked(flag, body, encoding, max_body, share)


def plain_message(body: bytes, max_body: int) -> bytes:
    """Return the one message in the whole body of a unary call without an encoding.

    Raises:
        InvalidInput, PayloadTooLarge: as for `read_message`.
    """
    if len(body) < 5 or int.from_bytes(body[1:5], "big") != len(body) - 5 or len(body) > max_body:
        check_unary(body, max_body)
    if body[0]:
        raise _without_encoding()
    return body[5:]


def check_unary(body: bytes, max_body: int) -> None:
    """Refuse the body of a unary call that is not exactly one message."""
    if len(body) < 5:
        raise errors.InvalidInput("the call carries no message")
    size = _size(body, max_body)
    if len(body) != size + 5:
        raise errors.InvalidInput("a unary call carries exactly one message")


async def read_messages(
    max_body: int, encoding: str, receive: Receive, share: Share
) -> AsyncIterator[bytes]:
    """Read the messages of a client's stream, each as soon as it is whole.

    Each is charged with its length until whoever takes it gives that back.

    Raises:
        InvalidInput, PayloadTooLarge, Unsupported, Overloaded: as for `read_message`.
        Disconnected: the client went away.
    """
    buffer, more = bytearray(), True
    while True:
        while len(buffer) >= 5 and len(buffer) >= (end := _size(buffer, max_body) + 5):
            flag, payload = buffer[0], bytes(memoryview(buffer)[5:end])
            del buffer[:end]
            share.give_back(5)
            if flag:
                packed = len(payload)
                payload = await _unpacked(flag, payload, encoding, max_body, share)
                share.give_back(packed)
            yield payload
        if not more:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece = message.get("body", b"")
        share.add(len(piece))
        buffer += piece
        more = message.get("more_body", False)
    if buffer:
        raise errors.InvalidInput("the stream ends within a message")


def _size(prefix: bytes | bytearray, max_body: int) -> int:
    size = int.from_bytes(prefix[1:5], "big")
    if size > max_body:
        raise errors.PayloadTooLarge(f"the message is over the limit of {max_body} bytes")
    return size


async def _unpacked(flag: int, payload: bytes, encoding: str, max_body: int, share: Share) -> bytes:
    if flag != 1 or encoding in ("", "identity"):
        raise _without_encoding()
    try:
        return await unpack(payload, encoding, max_body, share)
    except errors.UnsupportedMedia as error:
        raise errors.Unsupported(error.message) from None


def _without_encoding() -> errors.InvalidInput:
    return errors.InvalidInput("the message is marked as compressed without grpc-encoding")


async def send_start(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    """Begin an answer; trailers will end it."""
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})


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
