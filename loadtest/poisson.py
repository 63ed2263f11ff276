"""An open-loop HTTP generator: requests come when they come, whether the server keeps up or not.

Latency counts from the moment a request should have been sent, so a server that stalls is charged
for everybody who came meanwhile. Run as a module in a process of its own; prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import uvloop

CONNECTIONS = 256
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_GRACE_S = 5.0


class _Connection(asyncio.Protocol):
    """One connection; carries one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._data = b""
        self.due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._data, 0, end + 2)
        if found is None or len(self._data) < end + 4 + int(found[1]):
            return
        right = self._data.startswith(b"HTTP/1.1 200")
        self._data = b""
        self._run.answered(self, right)

    def connection_lost(self, _error: Exception | None) -> None:
        self._run.lost += 1


class _Run:
    """All arrivals of one measurement."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.free: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.last = 0.0
        self.wrong = 0
        self.lost = 0

    def arrive(self, due: float) -> None:
        if self.free:
            self._send(self.free.popleft(), due)
        else:
            self.waiting.append(due)

    def answered(self, connection: _Connection, right: bool) -> None:
        self.last = time.perf_counter()
        self.latencies.append(self.last - connection.due)
        self.wrong += not right
        if self.waiting:
            self._send(connection, self.waiting.popleft())
        else:
            self.free.append(connection)

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due = due
        assert connection.transport is not None
        connection.transport.write(self._request)


async def measure(port: int, request: bytes, rate: float, seconds: float, seed: int) -> str:
    """Offer `rate` requests a second and return what came back, as JSON."""
    run = _Run(request)
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    run.free.extend(protocol for _, protocol in opened)
    gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
    start = time.perf_counter() + 0.05
    due = deque((start + np.cumsum(gaps)).tolist())
    total = len(due)
    while due:
        now = time.perf_counter()
        while due and due[0] <= now:
            run.arrive(due.popleft())
        # Never a real sleep: timers are late by more than a request takes.
        await asyncio.sleep(0 if not due or due[0] - now < 0.002 else 0.001)
    deadline = time.perf_counter() + _GRACE_S
    while len(run.latencies) < total and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    lost = run.lost
    for transport, _ in opened:
        transport.close()
    milliseconds = np.array(run.latencies or [float("nan")]) * 1e3
    return json.dumps(
        {
            "offered_per_s": rate,
            "answered": len(run.latencies),
            "answered_per_s": len(run.latencies) / max(run.last - start, 1e-9),
            "of": total,
            "wrong": run.wrong,
            "lost_connections": lost,
            "p50_ms": float(np.percentile(milliseconds, 50)),
            "p99_ms": float(np.percentile(milliseconds, 99)),
        }
    )


if __name__ == "__main__":
    port, rate, seconds, seed = (float(argument) for argument in sys.argv[2:6])
    content = Path(sys.argv[1]).read_bytes()
    print(uvloop.run(measure(int(port), content, rate, seconds, int(seed))))
