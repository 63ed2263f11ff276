"""An open-loop HTTP generator that sleeps between requests, for servers that share its cores.

Latency counts from the moment a request should have been sent, whether the server or the generator
was late, so nobody is left out who came during a stall. `loadtest.poisson` takes a core for itself,
and beside servers on two cores it measures its own appetite. Run as a module in a process of its
own: FILE PORT RATE SECONDS SEED; prints one line of JSON.
"""

from __future__ import annotations

import json
import re
import resource
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final

import numpy as np

CONNECTIONS: Final = 256
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_GRACE_S: Final = 5.0
_RECEIVED: Final = 1 << 16


class _Connection:
    """One connection; carries one request at a time."""

    __slots__ = ("data", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.data = b""
        self.due = 0.0

    def answered(self) -> bool | None:
        """Read what has come; whether an answer is whole and right, None where it is not whole.

        Raises:
            ConnectionError: the server has closed the connection.
        """
        received = self.socket.recv(_RECEIVED)
        if not received:
            raise ConnectionResetError("closed by the server")
        self.data += received
        end = self.data.find(b"\r\n\r\n")
        found = _LENGTH.search(self.data, 0, end + 2) if end >= 0 else None
        if found is None or len(self.data) < end + 4 + int(found[1]):
            return None
        right = self.data.startswith(b"HTTP/1.1 200")
        self.data = b""
        return right


class _Run:
    """All arrivals of one measurement, in one thread that sleeps while there is nothing to do."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        connections = [_Connection(port) for _ in range(CONNECTIONS)]
        self._by_file = {each.socket.fileno(): each for each in connections}
        self._free = deque(connections)
        self._waiting: deque[float] = deque()
        self._events = select.epoll()
        for file in self._by_file:
            self._events.register(file, select.EPOLLIN)
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.wrong = self.lost = 0

    def run(self, due: deque[float]) -> None:
        """Send a request at each of the times, and wait for the answers."""
        total, end = len(due), due[-1] + _GRACE_S
        while len(self.latencies) + self.lost < total and (now := time.perf_counter()) < end:
            while due and due[0] <= now:
                self._arrive(due.popleft())
            # `epoll` by itself sleeps whole milliseconds.
            until = due[0] if due else end
            select.select([self._events], (), (), max(0.0, until - time.perf_counter()))
            for file, _ in self._events.poll(0):
                self._readable(self._by_file[file])

    def _arrive(self, due: float) -> None:
        if self._free:
            self._send(self._free.popleft(), due)
        else:
            self._waiting.append(due)

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due = due
        self.late.append(time.perf_counter() - due)
        # A request is far smaller than a socket's buffer, and the connection is idle.
        connection.socket.sendall(self._request)

    def _readable(self, connection: _Connection) -> None:
        try:
            right = connection.answered()
        except ConnectionError:
            self.lost += 1
            self._events.unregister(connection.socket)
            return
        if right is None:
            return
        self.latencies.append(time.perf_counter() - connection.due)
        self.wrong += not right
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def close(self) -> None:
        """Close all connections."""
        self._events.close()
        for connection in self._by_file.values():
            connection.socket.close()


def measure(port: int, request: bytes, rate: float, seconds: float, seed: int) -> dict[str, float]:
    """Offer `rate` requests a second, Poisson arrivals; return what came back.

    Latencies are milliseconds from when a request was due. `late_p99_ms` is how late requests
    were sent, and `cpu` how much of a core the generator took.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, max(1, round(rate * seconds)))
    run = _Run(port, request)
    start = time.perf_counter() + 0.05
    due = deque((start + np.cumsum(gaps)).tolist())
    total = len(due)
    used = _cpu_s()
    try:
        run.run(due)
    finally:
        run.close()
    took = time.perf_counter() - start
    milliseconds = np.array(run.latencies or [float("nan")]) * 1e3
    late = np.array(run.late or [float("nan")]) * 1e3
    return {
        "offered_per_s": rate,
        "answered": len(run.latencies),
        "answered_per_s": len(run.latencies) / took,
        "of": total,
        "wrong": run.wrong,
        "lost_connections": run.lost,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "late_p99_ms": float(np.percentile(late, 99)),
        "cpu": (_cpu_s() - used) / took,
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    port, rate, seconds, seed = (float(argument) for argument in sys.argv[2:6])
    content = Path(sys.argv[1]).read_bytes()
    print(json.dumps(measure(int(port), content, rate, seconds, int(seed))))
