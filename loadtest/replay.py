"""A closed-loop client that sends prepared requests, and counts answers by their status.

wrk and h2load send one request again and again, or count errors without saying which. This one
gets every request as bytes, so it costs little more than reading answers. Run as a module in a
process of its own, `python -m loadtest.replay FILE PORT SECONDS STREAMS`; prints one line of JSON.
At the end it waits for what it has sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hpack
import numpy as np
import uvloop

from serving.http2 import frames as f

_GRACE_S = 15.0
"""How long answers are waited for once nothing more is sent."""
_WINDOW = 2**31 - 1


@dataclass(slots=True)
class Run:
    """What all connections of one measurement share."""

    ends: float
    tell_statuses: bool
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    last: float = 0.0
    working: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(self, status: str, sent: float, now: float) -> None:
        """Count an answer."""
        self.latencies.append(now - sent)
        self.statuses[status] += 1
        self.last = now

    def rest(self) -> None:
        """One connection has nothing under way any more."""
        self.working -= 1
        if not self.working:
            self.done.set()


class Requests(asyncio.Protocol):
    """One HTTP/1.1 connection: one request after the other."""

    def __init__(self, run: Run, requests: Iterator[bytes]) -> None:
        self._run = run
        self._requests = requests
        self._data = b""
        self._size = -1
        self._status = ""
        self._sent = 0.0
        self.resting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def begin(self, _streams: int) -> None:
        """Send the first request."""
        self._sent = time.perf_counter()
        self.transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        data = self._data = self._data + data if self._data else data
        if self._size < 0:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            if at < 0:
                self._run.problems["an answer has no content-length"] += 1
                self.transport.close()
                return
            length = int(head[at + 17 :].split(b"\r", 1)[0])
            self._size, self._status = end + 4 + length, data[9:12].decode("latin-1")
        if len(data) < self._size:
            return
        now = time.perf_counter()
        self._run.bytes += self._size
        self._run.answered(self._status, self._sent, now)
        self._data, self._size = b"", -1
        if now < self._run.ends:
            self._sent = now
            self.transport.write(next(self._requests))
        else:
            self.resting = True
            self._run.rest()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.resting:
            self.resting = True
            self._run.problems["connection lost"] += 1
            self._run.rest()


class Calls(asyncio.Protocol):
    """One HTTP/2 connection with some gRPC calls under way."""

    def __init__(self, run: Run, calls: Iterator[tuple[bytes, ...]]) -> None:
        self._run = run
        self._calls = calls
        self._data = b""
        self._stream = 1
        self._sent: dict[int, float] = {}
        self._has_data: set[int] = set()
        self._window = f.FIRST_WINDOW
        self._waiting = 0
        self._next: tuple[bytes, ...] | None = None
        self._out: list[bytes] = []
        self.resting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        # A table of no size lets one header block be read without those before it.
        table = {f.HEADER_TABLE_SIZE: 0} if self._run.tell_statuses else {}
        settings = f.settings({**table, f.INITIAL_WINDOW_SIZE: _WINDOW, f.ENABLE_PUSH: 0})
        window = f.window_update(0, _WINDOW - f.FIRST_WINDOW)
        self.transport.write(f.PREFACE + settings + window)

    def begin(self, streams: int) -> None:
        """Make the first calls."""
        self._waiting = streams
        self._send(time.perf_counter())

    def _send(self, now: float) -> None:
        if now >= self._run.ends:
            self._waiting = 0
        while self._waiting:
            call = self._next or next(self._calls)
            # All but the heads of its frames, five bytes each here, and the header block.
            size = sum(map(len, call)) - 5 * (len(call) - 1) - int.from_bytes(call[0][:3], "big")
            if size > self._window:
                self._next = call
                break
            self._next = None
            self._window -= size
            self._waiting -= 1
            self._sent[self._stream] = now
            self._out.append(self._stream.to_bytes(4, "big").join(call))
            self._stream += 2
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        at, size, now = 0, len(data), time.perf_counter()
        while at + 9 <= size:
            high, low, kind, flags, stream = f.read_head(data, at)
            end = at + 9 + (high << 8 | low)
            if end > size:
                break
            if kind == f.DATA:
                self._run.bytes += end - at - 9
                self._has_data.add(stream)
            elif kind != f.HEADERS:
                self._control(kind, flags, stream, data[at + 9 : end], now)
            if flags & f.END_STREAM and kind <= f.HEADERS:
                self._end(stream, data[at + 9 : end], now)
            at = end
        self._data = data[at:]
        self._send(now)

    def _end(self, stream: int, block: bytes, now: float) -> None:
        if stream in self._has_data:
            self._has_data.discard(stream)
            status = "200"
        elif self._run.tell_statuses:
            headers = {str(name): str(value) for name, value in hpack.Decoder().decode(block)}
            status = f"grpc-status {headers.get('grpc-status')}"
        else:
            status = "no message"
        self._finish(stream, status, now)

    def _finish(self, stream: int, status: str, now: float) -> None:
        sent = self._sent.pop(stream, None)
        if sent is None:
            return
        self._run.answered(status, sent, now)
        if now < self._run.ends:
            self._waiting += 1
        elif not self._sent:
            self.resting = True
            self._run.rest()

    def _control(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if kind == f.SETTINGS and not flags & f.ACK:
            if dict(f.read_settings(payload)).get(f.HEADER_TABLE_SIZE, 4096) < 4096:
                self._run.problems["the server's header table is under 4096 bytes"] += 1
            self._out.append(f.frame(f.SETTINGS, f.ACK, 0, b""))
        elif kind == f.PING and not flags & f.ACK:
            self._out.append(f.frame(f.PING, f.ACK, 0, payload))
        elif kind == f.WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == f.RST_STREAM:
            self._finish(stream, f"reset {int.from_bytes(payload, 'big')}", now)
        elif kind == f.GOAWAY:
            self._run.problems[f"GOAWAY {int.from_bytes(payload[4:8], 'big')}"] += 1

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.resting:
            self.resting = True
            self._run.problems["connection lost"] += 1
            self._run.rest()


async def replay(
    port: int, connections: Sequence[tuple[Sequence[Any], Sequence[Any]]], streams: int,
    seconds: float, tell_statuses: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Send for `seconds`: on each connection its first requests, then its others in turn.

    A request is bytes (HTTP/1.1) or a tuple of bytes around the stream's number (gRPC).
    """
    loop = asyncio.get_running_loop()
    run = Run(float("inf"), tell_statuses, working=len(connections))
    made: list[Requests | Calls] = []
    for first, ring in connections:
        requests = itertools.chain(first, itertools.cycle(ring))
        kind = Requests if isinstance(ring[0], bytes) else Calls
        _, protocol = await loop.create_connection(partial(kind, run, requests), "127.0.0.1", port)
        made.append(protocol)
    start, used = time.perf_counter(), time.process_time()
    run.ends = start + seconds
    for protocol in made:
        if not protocol.resting:
            protocol.begin(streams)
    try:
        async with asyncio.timeout(seconds + _GRACE_S):
            await run.done.wait()
    except TimeoutError:
        run.problems[f"no answer within {_GRACE_S:.0f} s"] += 1
    for protocol in made:
        protocol.transport.abort()
    took = max(run.last - start, 1e-9)
    milliseconds = np.array(run.latencies or [0.0]) * 1e3
    return {
        "seconds": took,
        "cpu": (time.process_time() - used) / took,
        "requests": len(run.latencies),
        "bytes": run.bytes,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "statuses": dict(run.statuses),
        "problems": [f"{count} times: {what}" for what, count in run.problems.items()],
    }


def main(path: str, port: str, seconds: str, streams: str, *how: str) -> None:
    """Send what the pickle `path` holds; print what came back. `statuses`: tell gRPC's."""
    connections = pickle.loads(Path(path).read_bytes())
    found = replay(int(port), connections, int(streams), float(seconds), "statuses" in how)
    print(json.dumps(uvloop.run(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
