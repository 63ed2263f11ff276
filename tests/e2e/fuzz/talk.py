"""Not a test: sends a case to an instance, and says what the answer comes to.

What matters is whether a request was answered, and with what, or refused. How it was refused (the
status, a reset, the end of the connection) is each ingress's own matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass

import hpack
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

REFUSED = "refused"
LIMIT_S = 20.0
"""Past every time limit of the instances: whoever has not closed by then hangs."""
HANGS = "hangs"

SUBJECT, MARKER = 1, 101
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK = 1, 1


def until_refused(answers: list[str]) -> list[str]:
    """Return the answers before the first refusal: what two ways to answer must have alike."""
    answers = [answer for answer in answers if answer != "end"]
    cut = answers.index(REFUSED) if REFUSED in answers else len(answers)
    return answers[:cut]


def _content(status: int, body: bytes) -> str:
    """What an answer comes to; a request without an id gets one, which is never the same."""
    if not 200 <= status < 300:
        return REFUSED
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict):
            parsed.pop("id", None)
        return json.dumps(parsed, sort_keys=True)
    return repr(body)


def _message(body: bytes) -> str:
    """What the answer of a gRPC call comes to. Envoy leaves its status out without `te`."""
    answer = service_pb2.ModelInferResponse()
    with contextlib.suppress(DecodeError):
        answer.ParseFromString(body[5:])
        answer.id = ""
        return repr(answer.SerializeToString(deterministic=True))
    return repr(body)


async def http1(port: int, pieces: tuple[bytes, ...]) -> list[str]:
    """Send a case; return its answers in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    seen = b""
    try:
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionError):
                writer.write(pieces[0])
                await writer.drain()
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    seen += piece
    except TimeoutError:
        return [HANGS]
    finally:
        writer.close()
    return _answers(seen)


def _answers(seen: bytes) -> list[str]:
    found = []
    while seen.startswith(b"HTTP/1."):
        head, mark, rest = seen.partition(b"\r\n\r\n")
        if not mark:
            break
        status = int(head[9:12])
        if status < 200:
            seen = rest
            continue
        fields = head.lower().split(b"\r\n")[1:]
        headers = dict(line.split(b": ", 1) for line in fields if b": " in line)
        body, seen = _body(headers, rest)
        found.append(_content(status, body))
    return [*found, REFUSED]  # the connection ends: whatever comes after is not answered


def _body(headers: dict[bytes, bytes], rest: bytes) -> tuple[bytes, bytes]:
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            line, _, rest = rest.partition(b"\r\n")
            size = int(line or b"0", 16)
            body, rest = body + rest[:size], rest[size + 2 :]
            if not size:
                return body, rest
    size = int(headers.get(b"content-length", b"0"))
    if size and (not rest or rest.startswith(b"HTTP/1.")):
        return b"", rest  # the answer to HEAD has the length of a body that does not come
    return rest[:size], rest[size:]


@dataclass
class _Stream:
    status: int = 0
    grpc_status: int | None = None
    data: bytes = b""
    ended: bool = False
    reset: bool = False


class _Reader:
    """Reads frames, and keeps what they say of each stream."""

    def __init__(self) -> None:
        self.streams: dict[int, _Stream] = {}
        self.goaway = False
        self.reply = b""
        self._decoder = hpack.Decoder()
        self._data = b""

    def feed(self, piece: bytes) -> None:
        self._data += piece
        while len(self._data) >= 9:
            size = int.from_bytes(self._data[:3], "big")
            if len(self._data) < 9 + size:
                return
            kind, flags = self._data[3], self._data[4]
            stream = int.from_bytes(self._data[5:9], "big")
            self._take(kind, flags, stream, self._data[9 : 9 + size])
            self._data = self._data[9 + size :]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self.streams.setdefault(number, _Stream())
        if kind == HEADERS:
            for name, value in self._decoder.decode(payload):
                if name == ":status":
                    stream.status = int(value)
                elif name == "grpc-status":
                    stream.grpc_status = int(value)
        elif kind == DATA:
            stream.data += payload
        elif kind == RST:
            stream.reset = True
        elif kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
            self.goaway = True
        elif kind == SETTINGS and not flags & ACK:
            self.reply += b"\0\0\0\x04\x01\0\0\0\0"
        elif kind == PING and not flags & ACK:
            self.reply += b"\0\0\x08\x06\x01\0\0\0\0" + payload
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            stream.ended = True

    def done(self, number: int) -> bool:
        stream = self.streams.get(number)
        return self.goaway or bool(stream and (stream.ended or stream.reset))

    def content(self, number: int) -> str:
        stream = self.streams.get(number)
        if stream is None or not stream.ended or stream.grpc_status not in (None, 0):
            return REFUSED
        if stream.status == 200 and stream.data[:1] == b"\0":
            return _message(stream.data)
        return _content(stream.status, stream.data)


async def http2(port: int, pieces: tuple[bytes, ...]) -> list[str]:
    """Send the subject, and once it is answered or refused, the rest with the marker."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    read = _Reader()
    try:
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionError):
                for piece, wanted in zip(pieces, (SUBJECT, MARKER), strict=True):
                    writer.write(piece)
                    while not read.done(wanted):
                        got = await reader.read(65536)
                        if not got:
                            break
                        read.feed(got)
                        writer.write(read.reply)
                        read.reply = b""
    except TimeoutError:
        return [HANGS]
    finally:
        writer.close()
    return [read.content(SUBJECT), read.content(MARKER)]
