"""HTTP to a collector that may answer anything, or nothing: bounded in time and in bytes.

The timeout of `requests` is one of each read from the socket, and it reads an answer to its end. A
collector that sends a byte a second would hold an exporter for hours, one whose answer does not
end would fill the memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

MOST_BYTES: Final = 64 * 1024
"""Of the body of an answer; those of collectors are a few bytes, and nobody reads them."""
DEFAULT_TIMEOUT_S: Final = 10.0
"""As long as OpenTelemetry's exporters wait."""


class BoundedSession(requests.Session):
    """A session whose requests end in time, and at once when it is closed.

    One request is under way at a time; `close` may come from any thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._ended = False
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._connections))

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:
        """Send a request and read what is answered.

        Raises:
            requests.RequestException: there is no whole answer within `timeout`, seconds.
        """
        if self._ended:
            raise requests.ConnectionError("the session is closed")
        late = threading.Event()

        def end() -> None:
            late.set()
            self._cut()

        cut = threading.Timer(more.get("timeout") or DEFAULT_TIMEOUT_S, end)
        cut.daemon = True
        cut.start()
        try:
            response = super().request(method, url, *args, **{**more, "stream": True})
            rest = response.raw.read(MOST_BYTES, decode_content=False)
            if len(rest) == MOST_BYTES:
                response.close()  # another request would read the rest
            if late.is_set() or self._ended:  # one that is cut off may look like a whole answer
                response.close()
                raise requests.ConnectionError("there was no whole answer in time")
            return response
        except requests.RequestException:
            raise
        except Exception as error:
            raise requests.ConnectionError(str(error)) from error
        finally:
            cut.cancel()

    def close(self) -> None:
        """End what is under way, and begin nothing any more."""
        self._ended = True
        self._cut()
        super().close()

    def _cut(self) -> None:
        for connection in list(self._connections):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    # Of the socket itself: who reads through TLS meanwhile must find it as it is.
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def bounded_session(signal: str) -> BoundedSession | None:
    """Return a session for an exporter of OpenTelemetry; None: a variable names another one.

    Args:
        signal: `traces`, `metrics` or `logs`.
    """
    names = ("CREDENTIAL_PROVIDER", f"{signal.upper()}_CREDENTIAL_PROVIDER")
    if any(os.environ.get(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{name}") for name in names):
        return None
    return BoundedSession()


class _Adapter(HTTPAdapter):
    """Knows the connections that it opens."""

    def __init__(self, connections: weakref.WeakSet[Any]) -> None:
        self._connections = connections
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _known(HTTPConnectionPool, self._connections),
            "https": _known(HTTPSConnectionPool, self._connections),
        }


def _known(pool: Any, connections: weakref.WeakSet[Any]) -> Any:
    """Return a kind of pool whose connections are among these once they are open."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def connect(self) -> None:
            connections.add(self)  # before it is open: TLS may take a while
            super().connect()

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
