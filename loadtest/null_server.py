"""A server that answers at once and looks at nothing: what is left is the generator's own limit.

HTTP/1.1 with `Content-Length` and gRPC on one port. Run as a module in a process of its own:
`python -m loadtest.null_server PORT`.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from typing import Any

import hpack
import uvloop

from serving.http2 import frames as f

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_BODY = (
    b'{"model_name":"mlp","model_version":"1","outputs":[{"name":"probabilities",'
    b'"datatype":"FP32","shape":[1,2],"data":[0.5,0.5]}]}'
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY
_MESSAGE = b"\0\0\0\0\x40" + bytes(64)


def _grpc_answer() -> tuple[bytes, ...]:
    # A table of no size: the same bytes are right for each call.
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    encoder.encode([])  # takes the update of the size with it
    head = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    trailer = encoder.encode([("grpc-status", "0")])
    return (
        f.frame_head(len(head), f.HEADERS, f.END_HEADERS, 0)[:5],
        head + f.frame_head(len(_MESSAGE), f.DATA, 0, 0)[:5],
        _MESSAGE + f.frame_head(len(trailer), f.HEADERS, f.END_HEADERS | f.END_STREAM, 0)[:5],
        trailer,
    )


_CALL = _grpc_answer()


class Null(asyncio.Protocol):
    """One connection of either kind."""

    window = f.window_update(0, f.LARGEST_WINDOW - f.FIRST_WINDOW)

    def __init__(self) -> None:
        self._data = b""
        self._is_http2 = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._data = data = self._data + data if self._data else data
        if not self._is_http2 and data.startswith(f.PREFACE):
            self._is_http2 = True
            self._transport.write(f.settings({}) + self.window)
            self._data = data = data[len(f.PREFACE) :]
        if self._is_http2:
            self._calls(data)
        else:
            self._requests(data)

    def _requests(self, data: bytes) -> None:
        while (end := data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(data, 0, end + 2)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(data) < size:
                break
            self._transport.write(_ANSWER)
            data = data[size:]
        self._data = data

    def _calls(self, data: bytes) -> None:
        at, out = 0, []
        while at + 9 <= len(data):
            high, low, kind, flags, stream = f.read_head(data, at)
            end = at + 9 + (high << 8 | low)
            if end > len(data):
                break
            if kind == f.DATA and flags & f.END_STREAM:
                out.append(stream.to_bytes(4, "big").join(_CALL))
            elif kind == f.SETTINGS and not flags & f.ACK:
                out.append(f.frame(f.SETTINGS, f.ACK, 0, b""))
            elif kind == f.PING and not flags & f.ACK:
                out.append(f.frame(f.PING, f.ACK, 0, data[at + 9 : end]))
            at = end
        self._data = data[at:]
        if out:
            self._transport.write(b"".join(out))


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await loop.create_server(Null, "127.0.0.1", port)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
