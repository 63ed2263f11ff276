"""Not a test: hand-written HTTP/1.1 and HTTP/2 over sockets, for what no client library sends."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from dataclasses import dataclass, field

import hpack

TIMEOUT_S = 60.0
"""No answer within this is a hang."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


@dataclass
class Reply:
    """What came back; `status` 0 means that the connection was closed without an answer."""

    status: int
    body: bytes = b""
    closed: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def connect(port: int, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """Open a connection whose every operation is bounded."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_reply(connection: socket.socket, *, may_close: bool = True) -> Reply:
    """Read one HTTP/1.1 answer.

    Raises:
        TimeoutError: nothing came for as long as the socket's timeout.
    """
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ConnectionError):
        assert may_close, "closed without an answer"
        return Reply(0, closed=True)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, body, response.will_close, headers)


def exchange(port: int, request: bytes) -> Reply:
    """Send bytes on a new connection, read one answer."""
    with connect(port) as connection:
        # Refused before all was sent: the answer may be there already.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        return read_reply(connection)


def is_closed(connection: socket.socket, within_s: float = TIMEOUT_S) -> bool:
    """Wait for the other end to close; whatever comes before is read and dropped."""
    connection.settimeout(within_s)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@dataclass
class Stream:
    """What has come on one HTTP/2 stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def finished(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def grpc_status(self) -> int | None:
        value = self.headers.get("grpc-status")
        return None if value is None else int(value)


class H2:
    """One HTTP/2 connection, frame by frame. Nothing stops it from sending nonsense."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = connect(port, timeout_s)
        self.streams: dict[int, Stream] = {}
        self.goaway: int | None = None
        self.closed = False
        self.pings = 0
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self._out = bytearray(PREFACE + frame(SETTINGS, 0, 0, b""))
        # So that answers are never held up by flow control.
        self._out += frame(WINDOW, 0, 0, (2**30).to_bytes(4, "big"))

    def __enter__(self) -> H2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def headers(self, stream: int, pairs: list[tuple[str, str]], *, end: bool = False) -> None:
        """Queue a HEADERS frame that opens a stream."""
        self.streams.setdefault(stream, Stream())
        block = self._encoder.encode(pairs)
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """Queue a frame."""
        self._out += frame(kind, flags, stream, payload)

    def flush(self) -> None:
        """Send what is queued; that the other end has closed shows in `closed`."""
        try:
            self.socket.sendall(self._out)
        except ConnectionError:
            self.closed = True
        self._out.clear()

    def grpc(self, stream: int, path: str, message: bytes = b"", *, end: bool = True) -> None:
        """Queue a gRPC call whose body is `message`, prefix included."""
        self.headers(stream, grpc_headers(path))
        if message or end:
            self.frame(DATA, END_STREAM if end else 0, stream, message)

    def wait(self, *wanted: int, timeout_s: float = TIMEOUT_S) -> list[Stream]:
        """Read until the wanted streams are finished or the connection is closed.

        Raises:
            TimeoutError: they were not.
        """
        self.flush()
        deadline = time.monotonic() + timeout_s
        while not self.closed and not all(self.streams[s].finished for s in wanted):
            if time.monotonic() > deadline:
                raise TimeoutError("streams hang")
            self.read()
        return [self.streams[stream] for stream in wanted]

    def alive(self) -> bool:
        """Whether a PING is answered."""
        before = self.pings
        self.frame(PING, 0, 0, b"12345678")
        self.flush()
        while not self.closed and self.pings == before:
            self.read()
        return not self.closed

    def read(self) -> None:
        """Take in what has come, at least one piece."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionError:
            piece = b""
        if not piece:
            self.closed = True
            return
        self._buffer += piece
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big")
            payload = self._buffer[9 : 9 + size]
            self._buffer = self._buffer[9 + size :]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self.streams.setdefault(number, Stream())
        if kind == HEADERS:
            stream.headers.update(self._decoder.decode(payload))
        elif kind == DATA:
            stream.data += payload
            if payload:
                self._out += frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big"))
        elif kind == RST:
            stream.reset = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == PING and flags & ACK:
            self.pings += 1
        elif kind == SETTINGS and not flags & ACK:
            self._out += frame(SETTINGS, ACK, 0, b"")
            self.flush()
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            stream.ended = True


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def grpc_headers(path: str, **more: str) -> list[tuple[str, str]]:
    """Return the headers of a gRPC call."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    pairs += [("content-type", "application/grpc"), ("te", "trailers")]
    return pairs + [(name.replace("_", "-"), value) for name, value in more.items()]


def prefixed(message: bytes, flag: int = 0, size: int | None = None) -> bytes:
    """Return a gRPC message with its prefix, which may lie about the size."""
    length = len(message) if size is None else size
    return bytes((flag,)) + length.to_bytes(4, "big") + message
