"""HTTP to a collector that may answer anything, or nothing: bounded in time and in bytes.

The timeout of `requests` is one of each read from the socket, and it reads an answer to its end. A
collector that sends a byte a second would hold an exporter for hours, one whose answer does not
end would fill the memory.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from serving.telemetry.cancellable_sockets import CancellableSockets
from serving.telemetry.collector import Signal

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
        self._sockets = CancellableSockets()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(self._sockets))

    def request(self, method: Any, url: Any, *args: Any, **more: Any) -> requests.Response:
        """Send a request and read what is answered.

        Raises:
            requests.RequestException: there is no whole answer within `timeout`, seconds, or it
                sends us elsewhere.
        """
        try:
            number = self._sockets.begin()
        except OSError as error:
            raise requests.ConnectionError(str(error)) from None
        timeout_s = more.get("timeout")
        cut = threading.Timer(
            DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s, self._sockets.cancel, [number]
        )
        cut.daemon = True
        cut.start()
        more["stream"] = True
        if self.verify is not True:  # else `REQUESTS_CA_BUNDLE` goes before it
            more.setdefault("verify", self.verify)
        try:
            response = super().request(method, url, *args, **more)
            rest = response.raw.read(MOST_BYTES, decode_content=False)
            if len(rest) == MOST_BYTES:
                response.close()  # another request would read the rest
            if self._sockets.cancelled:  # an answer that is cut off may look like a whole one
                response.close()
                raise requests.ConnectionError("there was no whole answer in time")
            if 300 <= response.status_code < 400:  # which the SDK takes for a success
                raise requests.TooManyRedirects(f"the collector answers {response.status_code}")
            return response
        except requests.RequestException:
            raise
        except Exception as error:
            raise requests.ConnectionError(str(error)) from error
        finally:
            cut.cancel()
            self._sockets.tidy()

    def close(self) -> None:
        """End what is under way, and begin nothing any more."""
        self._sockets.cancel()
        super().close()
        self._sockets.tidy()


def bounded_session(signal: Signal) -> BoundedSession | None:
    """Return a session for an exporter of OpenTelemetry; None: a variable names another one."""
    names = ("CREDENTIAL_PROVIDER", f"{signal.upper()}_CREDENTIAL_PROVIDER")
    if any(os.environ.get(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{name}") for name in names):
        return None
    return BoundedSession()


class _Adapter(HTTPAdapter):
    """Has its connections made by the sockets of a session."""

    def __init__(self, sockets: CancellableSockets) -> None:
        self._classes = {
            "http": _pool_class(HTTPConnectionPool, sockets),
            "https": _pool_class(HTTPSConnectionPool, sockets),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        if not proxy.lower().startswith("socks"):  # which connects in a way of its own
            manager.pool_classes_by_scheme = self._classes
        return manager


def _pool_class(pool: Any, sockets: CancellableSockets) -> Any:
    """Return a kind of pool whose connections are made by `sockets`."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def _new_conn(self) -> Any:
            where = self._dns_host, self.port
            try:
                return sockets.connect(self, *where, self.timeout, self.socket_options or ())
            except OSError as error:
                raise NewConnectionError(self, f"no connection: {error}") from error

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
