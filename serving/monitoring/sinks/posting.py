"""Posts over HTTP from a thread, each within a time that no receiver can stretch."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

MOST_READ: Final = 64 << 10
"""Bytes of an answer that are read; its connection is given up when it has more."""


class Poster:
    """Posts to one URL over one connection, which is kept as long as both sides like. One thread.

    Args:
        url: `http` or `https`.
        timeout_s: what a post may take from its beginning to the end of its answer.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> int:
        """Return the status of the answer.

        Args:
            body, headers: what is posted.
            timeout_s: what it may take; at most as long as every post may.

        Raises:
            OSError: there is no answer in time.
        """
        within = min(timeout_s, self._timeout_s)
        connection = self._connection
        if connection is not None:
            try:
                return self._exchange(connection, body, headers, within)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The receiver may have closed an idle connection; anything else is its answer.
                if not isinstance(error, ConnectionError | http.client.RemoteDisconnected):
                    raise OSError(_words(error)) from None
        self._connection = connection = self._connect(within)
        try:
            return self._exchange(connection, body, headers, within)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise OSError(_words(error)) from None

    def close(self) -> None:
        """Give up the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> int:
        if connection.sock is None:
            connection.connect()
        # The socket's own timeout is for each piece, and a receiver may send a byte at a time.
        late = threading.Event()
        guard = threading.Timer(timeout_s, _cut, [connection.sock, late])
        guard.daemon = True
        guard.start()
        try:
            connection.request("POST", self._path, body, dict(headers))
            response = connection.getresponse()
            # The status counts; what comes behind it is read for the sake of the connection.
            read = len(response.read(MOST_READ))
            if response.will_close or read == MOST_READ or late.is_set():
                self.close()
            return response.status
        except (OSError, http.client.HTTPException):
            if late.is_set():
                raise TimeoutError(f"no answer within {timeout_s:.1f} s") from None
            raise
        finally:
            guard.cancel()


def _cut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
