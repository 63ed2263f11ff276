"""A raw connection for clients that misbehave: it sends what it is given, and reads what comes.

Answers are thrown away, except that HTTP/2 windows are kept, so that a body gets through as far as
flow control lets it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from types import TracebackType
from typing import Final

from serving.http2 import frames as f

_SLICE: Final = 1 << 18


class Closed(Exception):
    """The other end has closed, or the time is up."""


class Link:
    """One connection to a port on loopback; every operation ends at `deadline` (monotonic).

    Raises:
        Closed: its time is up before it has greeted.
        OSError: nobody listens.
    """

    def __init__(self, port: int, deadline: float, http2: bool = False) -> None:
        self._deadline = deadline
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setblocking(False)
        self._data = b""
        self._http2 = http2
        self._window = {0: f.FIRST_WINDOW}
        self._first = f.FIRST_WINDOW
        self.sent = 0
        if not http2:
            return
        try:
            self.send(f.PREFACE + f.settings({}) + f.window_update(0, 1 << 30))
        except Closed:
            self._socket.close()  # whoever wanted it has nothing to close
            raise

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            Closed: it could not be sent.
        """
        view = memoryview(data)
        while view:
            readable, writable = self._wait(write=True)
            if readable:
                self._read()
            if writable:
                try:
                    count = self._socket.send(view[:_SLICE])
                except (BlockingIOError, InterruptedError):
                    continue
                except OSError as error:
                    raise Closed from error
                self.sent += count
                view = view[count:]

    def body(self, stream: int, data: bytes, end: bool = True) -> None:
        """Send `data` on an HTTP/2 stream in frames of 16 KiB, as its window lets it."""
        at = 0
        while at < len(data):
            size = min(f.SMALLEST_FRAME, len(data) - at, self.credit(stream))
            self.spend(stream, size)
            last = end and at + size == len(data)
            self.send(f.frame(f.DATA, f.END_STREAM * last, stream, data[at : at + size]))
            at += size

    def credit(self, stream: int) -> int:
        """Wait until something may be sent on `stream`, and return how much."""
        while True:
            room = min(self._window[0], self._window.setdefault(stream, self._first))
            if room > 0:
                return room
            self._wait(write=False)
            self._read()

    def spend(self, stream: int, size: int) -> None:
        """Note that `size` bytes of a body are sent."""
        self._window[0] -= size
        self._window[stream] = self._window.setdefault(stream, self._first) - size

    def pause(self, seconds: float) -> None:
        """Do nothing but read for `seconds`."""
        until = min(time.monotonic() + seconds, self._deadline)
        while (left := until - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                self._read()

    def _wait(self, write: bool) -> tuple[bool, bool]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Closed
        wanted = [self._socket] if write else []
        readable, writable, _ = select.select([self._socket], wanted, [], left)
        return bool(readable), bool(writable)

    def _read(self) -> None:
        try:
            piece = self._socket.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise Closed from error
        if not piece:
            raise Closed
        if not self._http2:
            return
        self._data += piece
        while len(self._data) >= 9:
            high, low, kind, flags, stream = f.read_head(self._data)
            end = 9 + (high << 8 | low)
            if len(self._data) < end:
                return
            payload, self._data = self._data[9:end], self._data[end:]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == f.WINDOW_UPDATE:
            grown = self._window.get(stream, self._first) + int.from_bytes(payload, "big")
            self._window[stream] = grown
        elif kind == f.SETTINGS and not flags & f.ACK:
            first = dict(f.read_settings(payload)).get(f.INITIAL_WINDOW_SIZE, self._first)
            for known in self._window.keys() - {0}:
                self._window[known] += first - self._first
            self._first = first
        elif kind == f.GOAWAY and int.from_bytes(payload[4:8], "big"):
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            raise Closed
